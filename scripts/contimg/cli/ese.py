"""`contimg ese`: search the light curves of a products tree, or of any table, for extreme scattering events."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.cli.numbers import count, number
from contimg.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from contimg.variability.ese_options import EseOptions
    from contimg.variability.series import Series


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg ese`."""
    from contimg.config.files import take_tree

    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="a table of light curves (CSV, VOTable or parquet: source_id, mjd, flux_jy, flux_err_jy and, if known, "
        "ra_deg, dec_deg, pointing, band_slope, band_slope_err); default: the light curves of the products tree",
    )
    parser.add_argument("--output", type=Path, help="write the table of candidates to this CSV file")
    parser.add_argument(
        "--column",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=THEIRS",
        help="what the table calls a column: mjd=TIME flux_jy=S",
    )
    parser.add_argument(
        "--flux-unit", choices=("Jy", "mJy", "uJy"), default="Jy", help="unit of the table's fluxes"
    )
    parser.add_argument(
        "--normalise",
        action="store_true",
        help="first bring the nights of the table to one scale by its own sources",
    )
    parser.add_argument(
        "--min-sigma", type=number(0, 1e6), help="threshold in sigma (default: ese.min_sigma, 5)"
    )
    parser.add_argument(
        "--preset",
        choices=("conservative", "moderate", "sensitive"),
        help="5, 3.5 or 2.5 sigma; wins over --min-sigma",
    )
    parser.add_argument("--source", nargs="+", action="extend", default=[], dest="source_ids", metavar="ID")
    parser.add_argument("--recompute", action="store_true", help="search all of every curve again")
    parser.add_argument(
        "--null-epochs", type=count(0, 10**12), help="source-epochs without events to measure chance with"
    )
    parser.add_argument(
        "--threads",
        type=count(1, 1024),
        default=os.cpu_count() or 1,
        help="how many work (default: all cores)",
    )
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="of a tree: write a page a candidate to this folder"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the candidates in the observatory's fields"
    )
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Search; print the candidates."""
    from contimg.config.load import of_arguments, tree_of
    from contimg.core import threads

    threads.limit(args.threads)
    config = of_arguments(args, check=False)
    options = _options(args, config.ese)
    from contimg.variability import ese, vetting
    from contimg.variability.candidates import answer

    tree = tree_of(args, config)
    earlier = None
    if args.file is None:
        series, where = _of_tree(tree), str(tree / "variability" / "lightcurves.parquet")
        earlier = ese.read_scores(tree / "variability" / "ese_scores.parquet")
    else:
        series, where = _of_file(args), str(args.file)
    outcome = ese.run(series, options, earlier=earlier, threads=args.threads)
    listed = outcome.candidates
    if args.file is None:
        listed = vetting.with_status(listed, vetting.read(tree / vetting.FILE))
        if args.page is not None:
            _pages(args.page, tree, outcome, listed)
    if args.output is not None:
        from contimg.core.products import building

        with building(args.output.absolute()) as part:
            listed.to_csv(part, index=False, float_format="%.8g")
    if args.json:
        only = args.source_ids[0] if len(args.source_ids) == 1 else None
        found = answer(listed, options, products_db=where, source_id=only, catalogue_mjy=_catalogue(tree))
        print(json.dumps(found, indent=1))
        return 0
    _show(listed)
    print(f"{len(listed)} candidates in {len(outcome.series)} sources, {len(outcome.series.mjd)} epochs")
    return 0


def _options(args: argparse.Namespace, configured: EseOptions) -> EseOptions:
    changed: dict[str, Any] = {
        "preset": args.preset,
        "min_sigma": args.min_sigma,
        "null_epochs": args.null_epochs,
        "source_ids": tuple(args.source_ids) or None,
        "recompute": args.recompute or None,
    }
    asked = {name: value for name, value in changed.items() if value is not None}
    if "min_sigma" in asked and "preset" not in asked:
        asked["preset"] = None  # the command line's threshold wins over a file's preset
    return type(configured).model_validate({**configured.model_dump(), **asked})


def _of_tree(tree: Path) -> Series:
    from contimg.core.names import LIGHTCURVES
    from contimg.variability.ese_job import read_series

    return read_series(tree / LIGHTCURVES)


def _of_file(args: argparse.Namespace) -> Series:
    import sys

    import numpy as np

    from contimg.variability.ese_table import normalised, read_table, usable
    from contimg.variability.series import MIN_EPOCHS, from_frame

    mapping = {}
    for pair in args.column:
        name, equals, theirs = pair.partition("=")
        if not equals or not name or not theirs:
            raise InputError(f"--column: found {pair!r}; write NAME=THEIRS, such as mjd=TIME")
        mapping[name] = theirs
    frame, notes = usable(read_table(args.file, mapping, flux_unit=args.flux_unit))
    if args.normalise:
        frame = normalised(frame)
    series = from_frame(frame, flux="flux_jy", error="flux_err_jy")
    short = int((np.diff(series.starts) < MIN_EPOCHS).sum())
    if short:
        notes.append(f"not searched: {short} sources with fewer than {MIN_EPOCHS} epochs")
    for note in notes:
        print(f"{args.file}: {note}", file=sys.stderr)
    return series


def _catalogue(tree: Path) -> dict[str, float]:
    """Fluxes of the reference catalogue by source, mJy; none without a list of sources."""
    from contimg.core.names import SOURCE_LIST

    path = tree / SOURCE_LIST
    if not path.is_file():
        return {}
    import pandas as pd

    table = pd.read_parquet(path)
    column = next((name for name in ("catalog_flux_jy", "flux_jy") if name in table), None)
    if column is None or "source_id" not in table:
        return {}
    known = table[table[column].notna()]
    return dict(zip(known["source_id"].astype(str), 1e3 * known[column].astype(float), strict=True))


def _pages(folder: Path, tree: Path, outcome: Any, listed: pd.DataFrame) -> None:
    from contimg.core.names import LIGHTCURVES
    from contimg.variability.ese_job import page_of
    from contimg.variability.notice import records

    folder.mkdir(parents=True, exist_ok=True)
    for row in records(listed):
        name = row["source_id"] + ("" if row["event"] == 1 else f"_{row['event']}")
        (folder / f"{name}.html").write_text(page_of(tree / LIGHTCURVES, outcome, row, tree=tree))


def _show(listed: pd.DataFrame) -> None:
    line = "{:22} {:>11} {:>7} {:>9} {:>10} {:>8} {:>9} {:>7}  {}".format
    print(line("source", "type", "sigma", "mjd_max", "middle", "days", "far/10^6", "colour", "status"))
    for row in listed.to_dict("records"):
        print(
            line(
                row["source_id"],
                row["type"],
                f"{row['sigma_max']:.1f}",
                f"{row['mjd_max']:.1f}",
                f"{row['middle_mjd']:.1f}",
                f"{row['duration_d']:.1f}",
                f"{row['far']:.2g}",
                f"{row['chromatic_sigma']:+.1f}",
                row["status"],
            )
        )
