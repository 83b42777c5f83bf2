"""`contimg compare`: what was measured against what was simulated."""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.qa.truth import compare_product, judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg compare`."""
    parser.add_argument("--truth", required=True, type=Path, help="truth.json that `contimg simulate` wrote")
    parser.add_argument("--products", required=True, type=Path, help="the products tree made from that night")
    parser.add_argument("--tiles", action="store_true", help="compare the tiles' images too")


def run(args: argparse.Namespace) -> int:
    """Compare every mosaic of a products tree with the truth; 1 if one of them is not right."""
    from contimg.simulate.truth import read_truth

    truth = read_truth(args.truth)
    kinds = ["mosaics", "images"] if args.tiles else ["mosaics"]
    found = sorted(path.parent for kind in kinds for path in args.products.glob(f"{kind}/*/*/status.json"))
    if not found:
        raise InputError(f"{args.products}: no mosaics; make them with `snakemake --cores 2 mosaic`")
    wrong = 0
    for directory in found:
        state = read_json(directory / "status.json")
        print(f"\n{directory.relative_to(args.products)}")
        if state["status"] != "ok":
            print(f"  rejected: {state['reason']}")
            continue
        verdict = judge(compare_product(directory, truth.sources))
        wrong += not verdict.good
        picture, *_ = sorted(directory.glob("*.png"))
        print(f"  {verdict.line()}")
        print(f"  picture  {picture}")
        planes = (picture.with_suffix(end) for end in (".fits", ".pbcor.fits"))
        print(f"  FITS     {next(plane for plane in planes if plane.is_file())}")
        print(f"  summary  {directory / 'status.json'}")
    return 1 if wrong else 0
