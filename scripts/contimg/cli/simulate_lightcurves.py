"""`contimg simulate lightcurves`: photometry of many simulated nights, and its truth."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from contimg.cli.numbers import any_of
from contimg.simulate.lightcurve_options import LightcurveOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: a directory, and every option by its name."""
    parser.add_argument(
        "out_dir", type=Path, help="becomes a products tree with photometry, the truth beside it"
    )
    for item in dataclasses.fields(LightcurveOptions):
        parser.add_argument(
            "--" + item.name.replace("_", "-"),
            type=any_of(type(item.default)),
            default=item.default,
            help=f"{item.metadata['help'].replace('%', '%%')} (default: {item.default})",
        )


def run(args: argparse.Namespace) -> int:
    """Simulate and say what was written."""
    from contimg.simulate.lightcurve_files import simulate_lightcurves
    from contimg.simulate.lightcurves import Simulation

    options = LightcurveOptions(
        **{item.name: getattr(args, item.name) for item in dataclasses.fields(LightcurveOptions)}
    )
    args.out_dir.mkdir(parents=True, exist_ok=True)
    written = simulate_lightcurves(Simulation(options), args.out_dir)
    nights = len({path.parent for path in written})
    print(f"{len(written)} mosaics of {nights} nights, {options.n_sources} sources in {args.out_dir}")
    return 0
