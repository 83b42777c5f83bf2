"""`contimg sources`: the sources of an image, printed or as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contimg.cli.numbers import count, number

KINDS = ("csv", "votable", "parquet", "reg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg sources`."""
    parser.add_argument(
        "image",
        type=Path,
        help="directory of a mosaic, a tile's image or a published version; or its FITS file",
    )
    parser.add_argument("--top", type=count(1, 10**9), metavar="N", help="only the N brightest")
    parser.add_argument(
        "--pybdsf",
        type=Path,
        metavar="PYTHON",
        help="let PyBDSF find the places, in the environment of this Python; fluxes are measured as ever",
    )
    parser.add_argument(
        "--time-limit",
        type=number(1, 1e6),
        default=600.0,
        metavar="S",
        help="how long PyBDSF may take (default: 600 s)",
    )
    for kind in KINDS:
        what = "DS9 and CARTA regions" if kind == "reg" else kind
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write {what} into FILE (- prints)")


def run(args: argparse.Namespace) -> int:
    """Print the sources, or write them."""
    from contimg.photometry import catalogue
    from contimg.photometry.measured import Mosaic
    from contimg.photometry.options import PhotometryOptions

    options = PhotometryOptions()
    mosaic, places = Mosaic.of(args.image), None
    if args.pybdsf is not None:
        from contimg.photometry import bdsf

        threshold = {"threshold_sigma": catalogue.FOUND_SIGMA, "timeout_s": args.time_limit}
        places = bdsf.find(mosaic.image, python=args.pybdsf, **threshold)
    rows, header = catalogue.found_in(mosaic, options, places=places)
    rows = rows if args.top is None else rows.head(args.top)
    asked = {kind: getattr(args, kind) for kind in KINDS if getattr(args, kind) is not None}
    for kind, path in asked.items():
        if str(path) == "-":
            catalogue.write(Path("/dev/stdout"), rows, header, options, kind=kind)
        else:
            catalogue.write(path, rows, header, options, kind=kind)
            print(f"{path}: {len(rows)} sources", file=sys.stderr)
    if not asked:
        print(f"{len(rows)} sources at {header['RESTFRQ'] / 1e6:.1f} MHz; errors with the calibration term")
        print(f"{'name':19} {'ra_deg':>10} {'dec_deg':>9} {'flux_mjy':>10} {'± mJy':>8} {'snr':>8}  flags")
        for row in rows.to_dict("records"):
            print(
                f"{row['source_id']:19} {row['ra_deg']:10.5f} {row['dec_deg']:+9.5f} {1e3 * row['flux_jy']:10.3f} "
                f"{1e3 * row['flux_err_jy']:8.3f} {row['snr']:8.1f}  {row['flag_words']}"
            )
    return 0
