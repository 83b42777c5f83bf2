"""`contimg diff`: what a changed table, setting or version did to every light curve."""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.cli.numbers import count
from contimg.core import names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg diff`."""
    parser.add_argument("before", type=Path, help="products tree, or its variability/lightcurves.parquet")
    parser.add_argument("after", type=Path, help="another, or another version of it")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write a page with the curves before and after"
    )
    parser.add_argument(
        "--most",
        type=count(1, 10**6),
        default=20,
        metavar="N",
        help="sources listed and drawn (default: 20)",
    )
    parser.add_argument("--csv", action="store_true", help="every source, as comma-separated values")


def run(args: argparse.Namespace) -> int:
    """Print which light curves changed; 1 if one did."""
    import pandas as pd

    from contimg.variability import difference

    before, after = (_folder(path) for path in (args.before, args.after))
    changes = pd.DataFrame(difference.compare(before, after), columns=list(difference.COLUMNS))
    changed = difference.changed(changes)
    if args.csv:
        print(changes.to_csv(index=False), end="")
    else:
        print(f"{len(changed)} of {len(changes)} light curves changed")
        if len(changed):
            worst = changed.sort_values("max_sigma", ascending=False, na_position="first").head(args.most)
            print(worst.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    if args.page is not None:
        args.page.write_text(difference.page(changes, before, after, args.most))
    return 1 if len(changed) else 0


def _folder(path: Path) -> Path:
    inside = path / names.LIGHTCURVES
    return inside if inside.is_dir() else path
