"""`contimg compare`: two images with each other, or what was measured with what was simulated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.products import read_json

DESCRIPTION = """\
Two images, FIRST and SECOND, are compared with each other: difference, noise, beams, fluxes of the same sources.
With --truth and --products, the mosaics of a simulated night are compared with the sky that was simulated."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg compare`."""
    parser.description = f"{DESCRIPTION}\n\n{(parser.description or '').partition(chr(10) * 2)[2]}"
    images = parser.add_argument_group("two images")
    images.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="FIRST SECOND",
        help="directory of a mosaic, a tile's image or a published version; or its FITS file",
    )
    images.add_argument(
        "--output",
        type=Path,
        default=Path("comparison"),
        metavar="DIR",
        help="where difference, picture, table of sources and JSON go (comparison)",
    )
    night = parser.add_argument_group("a simulated night and its truth")
    night.add_argument("--truth", type=Path, help="truth.json that `contimg simulate` wrote")
    night.add_argument("--products", type=Path, help="the products tree made from that night")
    night.add_argument("--tiles", action="store_true", help="compare the tiles' images too")


def run(args: argparse.Namespace) -> int:
    """Compare what was given."""
    simulated = args.truth is not None or args.products is not None or args.tiles
    if simulated and not args.images and args.truth is not None and args.products is not None:
        return with_truth(args)
    if simulated or len(args.images) != 2:
        also = " with --truth, --products or --tiles" if simulated else ""
        raise InputError(
            "give two images, `contimg compare FIRST SECOND`, or a simulated night, `contimg compare --truth "
            f"truth.json --products DIR`; found {len(args.images)} images{also}"
        )
    first, second = args.images
    return two_images(first, second, args.output)


def two_images(first: Path, second: Path, output: Path) -> int:
    """Compare two images; print the numbers and where the files are."""
    from contimg.photometry import comparison, comparison_files
    from contimg.photometry.measured import Mosaic
    from contimg.photometry.options import PhotometryOptions

    images = Mosaic.of(first), Mosaic.of(second)
    _say(f"files go to {output.absolute()} (--output DIR: elsewhere)")
    found = comparison.compare(*images, PhotometryOptions(), say=_say)
    for line in comparison_files.table(found):
        print(line, flush=True)
    _say("difference, table and picture are written")
    comparison_files.write(found, output)
    files = (
        comparison_files.PICTURE,
        comparison_files.DIFFERENCE,
        comparison_files.SOURCES,
        comparison_files.NUMBERS,
    )
    print(f"{output}: {', '.join(files)}")
    return 0


def _say(line: str) -> None:
    print(f"contimg compare: {line}", file=sys.stderr, flush=True)


def with_truth(args: argparse.Namespace) -> int:
    """Compare every mosaic of a products tree with the truth; 1 if one of them is not right."""
    from contimg.qa.truth import compare_product, judge
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
