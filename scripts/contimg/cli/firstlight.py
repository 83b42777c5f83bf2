"""`contimg firstlight`: do raw files bear out what the pipeline takes for granted?"""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.cli.numbers import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg firstlight`."""
    parser.add_argument("incoming", type=Path, help="directory of raw files, searched recursively")
    parser.add_argument(
        "--catalog", type=Path, metavar="FILE", help="reference catalogue: tells the pointing and the beam"
    )
    parser.add_argument(
        "--calibrators", type=Path, metavar="CSV", help="calibrator catalogue (default: the shipped one)"
    )
    parser.add_argument("--from", dest="first", metavar="UTC", help="first time, inclusive")
    parser.add_argument("--to", dest="last", metavar="UTC", help="last time, exclusive")
    parser.add_argument(
        "--subbands",
        type=count(1, 64),
        metavar="N",
        help="subbands that are read of one tile (default 4)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("firstlight"),
        metavar="DIR",
        help="where page and JSON go (firstlight)",
    )


def run(args: argparse.Namespace) -> int:
    """Look, write, print; 1 if an assumption is not borne out."""
    from contimg.config.model import SHIPPED_CALIBRATORS
    from contimg.core.provenance import REPOSITORY
    from contimg.core.values import instant, mjd
    from contimg.firstlight.finding import Verdict
    from contimg.firstlight.job import PAGE, FirstLight, summary, verdicts
    from contimg.firstlight.options import FirstLightOptions
    from contimg.sky.catalog import Catalog

    options = FirstLightOptions(**({"subbands": args.subbands} if args.subbands else {}))
    look = FirstLight(
        incoming=args.incoming,
        calibrators=args.calibrators or REPOSITORY / SHIPPED_CALIBRATORS,
        catalog=Catalog(args.catalog) if args.catalog else None,
        options=options,
        start_mjd=mjd(instant(args.first)),
        end_mjd=mjd(instant(args.last)),
    )
    found = look.write(args.output)
    *lines, counts = summary(found)
    for line in lines:
        print(line)
    print(f"{counts}; {args.output / PAGE}")
    return 1 if verdicts(found)[str(Verdict.FAILS)] else 0
