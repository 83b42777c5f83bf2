"""`contimg plan`: what a run would do and cost."""

from __future__ import annotations

import argparse
import os

from contimg.cli.numbers import count
from contimg.core.errors import InputError
from contimg.plan.facts import make, summary
from contimg.report import contents


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg plan`."""
    from contimg.config.files import take_configuration

    parser.add_argument("target", nargs="?", default="all", help="what the run would be asked for (all)")
    parser.add_argument(
        "--cores",
        type=count(1, 10**6),
        default=os.cpu_count() or 1,
        help="of this machine (default: all of them)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="ask Snakemake for the jobs, instead of counting them from index, products and its records",
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Plan, print the summary; exit status 1 where the run is not feasible."""
    from contimg.config.load import of_arguments
    from contimg.night.night import plan

    if "=" in args.target:
        raise InputError(
            f"found {args.target}; settings stand behind --config: contimg plan --config {args.target}"
        )
    config = of_arguments(args)
    night = plan(config, cache=config.products / "state" / "index")
    facts = make(config, night, target=args.target, cores=args.cores, exact=args.exact)
    contents.write(config.products)
    for line in [*summary(facts), *facts["files"]]:
        print(line)
    return 0 if facts["feasible"] else 1
