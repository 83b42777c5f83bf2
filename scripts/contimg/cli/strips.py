"""`contimg strips`: how each strip of the sky is calibrated, by which calibrator or on its own sources."""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from contimg.cli.numbers import number
from contimg.config.files import take_configuration

COUNTED_JY = (0.02, 1.0)
"""Without a catalogue: fluxes of a random sky that follows published counts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--first", type=number(-90, 90), default=-30.0, metavar="DEG", help="first strip (default: -30)"
    )
    parser.add_argument(
        "--last", type=number(-90, 90), default=84.0, metavar="DEG", help="last strip (default: 84)"
    )
    parser.add_argument(
        "--step",
        type=number(0.01, 180),
        default=2.0,
        metavar="DEG",
        help="from strip to strip (default: 2)",
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from contimg.calibrate.strips import table, ways
    from contimg.config.files import read_configuration
    from contimg.config.load import load
    from contimg.sky.calibrators import read_calibrators
    from contimg.sky.catalog import Catalog
    from contimg.telescope.beam import load_beam

    with tempfile.TemporaryDirectory() as empty:  # no raw file is looked at, so that none has to be there
        values = {**read_configuration(args.configfile, args.config), "incoming": empty}
        config = load(values).resolved(Path.cwd())
    catalog = Catalog.of(config.catalog_params)
    if catalog is None:
        sources = counted()
        print("Fields without `catalog`: of a random sky by published counts (Hopkins et al. 2003).\n")
    else:
        sources = catalog.read()
    strips = np.arange(args.first, args.last + 0.5 * args.step, args.step)
    calibrators = read_calibrators(config.calibrators)
    for line in table(ways(strips, calibrators, sources, config.calibration, load_beam(config.beam))):
        print(line)
    return 0


def counted(seed: int = 1) -> pd.DataFrame:
    """A random sky by published counts, without sources above 1 Jy: what is brighter is in the list of calibrators."""
    from contimg.simulate import counts

    rng = np.random.default_rng(seed)
    flux = counts.draw(rng, *COUNTED_JY, 4.0 * math.pi)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, len(flux))))
    return pd.DataFrame({"ra_deg": rng.uniform(0.0, 360.0, len(flux)), "dec_deg": dec, "flux_jy": flux})
