"""`contimg report`: what a run has come to."""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.report.facts import make, summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg report`."""
    from contimg.config.files import take_configuration

    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print its summary; exit status 1 where a job ended with an error."""
    from contimg.config.files import read_configuration
    from contimg.config.load import load
    from contimg.night.night import plan

    config = load(read_configuration(args.configfile, args.config)).resolved(Path.cwd())
    facts, html = make(config, plan(config, cache=config.products / "state" / "index"))
    for line in [*summary(facts), str(html)]:
        print(line)
    return 1 if facts["counts"]["errors"] else 0
