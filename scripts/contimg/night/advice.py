"""What a range lacks, and what is nearest: dates that have data, calibrators that would serve."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contimg.calibrate.transits import transit_mjd
from contimg.config.model import Config
from contimg.core import names
from contimg.core.constants import REFERENCE_HZ
from contimg.index.tile import Tile
from contimg.night.night import Night
from contimg.sky.calibrators import Calibrator, read_calibrators

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d.*\.hdf5")
_MOST = 3
_MOST_DATES = 8


def uncalibrated(night: Night) -> list[str]:
    """Tiles of the range that no caltable is for."""
    return [tile for tile in night.selected if not night.candidates[tile]]


def nearest_calibrators(tile: Tile, calibrators: Sequence[Calibrator], config: Config) -> list[str]:
    """The catalogue's calibrators that come nearest to serving a tile, best first, each with why it does not.

    First those that are bright enough in the beam, by the time from the tile to their transit; then by declination.
    """
    from contimg.telescope.beam import load_beam

    pattern, least = load_beam(config.beam), config.calibration.min_flux_jy
    found = []
    for entry in calibrators:
        offset = entry.dec_deg - tile.dec_icrs_deg
        power = float(pattern.power(0.0, np.radians(offset), 0.0, REFERENCE_HZ)[0])
        apparent, instant = entry.flux_jy * power, transit_mjd(tile, entry.ra_deg)
        hours = abs(instant - tile.mid_mjd) * 24.0
        serves = apparent >= least and power >= config.calibration.min_pb
        when = names.utc(instant).strftime("%Y-%m-%dT%H:%M")
        why = (
            f"{entry.name} transits {when}, {hours:.1f} h away, in no complete tile of this strip"
            if serves
            else f"{entry.name} passes {abs(offset):.1f} deg from the centre, {apparent:.2g} Jy in the beam "
            f"(calibration.min_flux_jy: {least:g})"
        )
        found.append((not serves, hours if serves else abs(offset), entry.name, why))
    return [entry[-1] for entry in sorted(found)[:_MOST]]


def dates(incoming: Path) -> list[str]:
    """UTC dates in the names of the raw files below a directory."""
    found: set[str] = set()
    for _, _, files in os.walk(incoming, followlinks=True):
        found.update(match[1] for name in files if (match := _DATE.fullmatch(name)))
    return sorted(found)


def lines(config: Config, night: Night) -> list[str]:
    """Say what the range lacks; nothing where it lacks nothing.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night
    """
    if not night.selected and not night.left_out:
        known = dates(Path(config.incoming))
        there = ", ".join(known[:_MOST_DATES]) if len(known) <= _MOST_DATES else f"{known[0]} to {known[-1]}"
        return [
            f"no raw files in this range; {config.incoming} has data of {len(known)} date"
            f"{'s' * (len(known) != 1)}{': ' * bool(known)}{there}"
        ]
    lacking = uncalibrated(night)
    if not lacking:
        return []
    calibrators = read_calibrators(Path(config.calibrators))
    near = nearest_calibrators(night.tiles[lacking[0]], calibrators, config)
    return [
        f"{len(lacking)} of {len(night.selected)} tiles cannot be calibrated: no transit within "
        f"{config.calibration.valid_hours:g} h (calibration.valid_hours) in the tiles of their strip; nearest to "
        f"{lacking[0]}: {'; '.join(near) or 'none in the catalogue'}"
    ]
