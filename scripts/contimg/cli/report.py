"""`contimg report`: what a run has come to."""

from __future__ import annotations

import argparse

from contimg.core.errors import InputError
from contimg.report import contents
from contimg.report.facts import make, summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg report`."""
    from contimg.config.files import take_configuration

    parser.add_argument(
        "--index",
        action="store_true",
        help="write the front page of the products tree, index.html, and nothing else",
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and the front page, print the summary; exit status 1 where a job ended with an error."""
    from contimg.config.load import of_arguments
    from contimg.night.night import plan

    config = of_arguments(args, check=not args.index)
    if args.index:
        if not config.products.is_dir():
            raise InputError(
                f"products: {config.products}: expected a products tree; there is no such directory"
            )
        print(contents.write(config.products))
        return 0
    facts, html = make(config, plan(config, cache=config.products / "state" / "index"))
    for line in [*summary(facts), str(html), str(contents.write(config.products))]:
        print(line)
    return 1 if facts["counts"]["errors"] else 0
