"""`contimg export`: light curves and what varies, for other tools."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.core import names
from contimg.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg export`."""
    from contimg.config.files import take_tree

    parser.add_argument("file", type=Path, help="what to write: .vot, .csv, .parquet or .fits")
    parser.add_argument("--what", choices=("curves", "sources", "epochs"), default="curves")
    parser.add_argument("--source", nargs="+", default=[], metavar="NAME", help="only these sources")
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file and say how many rows it has."""
    from contimg.config.load import tree_of
    from contimg.variability import curves, metrics
    from contimg.variability.export import export, of_curves

    tree = tree_of(args)
    known = {column.name: (column.unit, column.text) for column in curves.COLUMNS}
    if args.what == "curves":
        rows: Iterator[pd.DataFrame] = of_curves(tree / names.LIGHTCURVES, args.source)
    else:
        rows = _table(tree / f"variability/{args.what}.parquet", args.source)
        known = dict(metrics.COLUMNS)
    print(f"{export(rows, args.file, known)} rows in {args.file}")
    return 0


def _table(path: Path, sources: list[str]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: expected a table; make it: snakemake lightcurves")
    table = pd.read_parquet(path)
    if sources and "source_id" in table:
        table = table[table["source_id"].isin(sources)]
    yield table
