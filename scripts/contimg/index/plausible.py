"""What a header may say at all: each bound once, with the function that holds a value to it.

The bounds are wide: they tell a slip (MHz for Hz, degrees for radians, a lost clock) from an instrument.
``docs/index.md`` lists them for users.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contimg.core.errors import InputError

FREQ_HZ = (5e7, 5e10)
"""From the longest waves to the shortest that dishes with such receivers see."""
CHANNEL_WIDTH_HZ = (10.0, 1e8)
FREQ_TOLERANCE = 0.01
"""Channel spacing may depart from `channel_width` by this fraction of it."""
INTEGRATION_S = (1e-4, 3600.0)
TIMES_JD = (2441684.5, 2488069.5)
"""From 1973, when the tables of Earth's rotation begin, to 2100. Where they end, the index asks the tables."""
SPAN_DAYS = 1.0
"""A file is one drift of the sky past the array, of at most a day."""
BASELINE_M = 1e5
"""An antenna is this close to the reference point; farther ones are counted from the centre of the Earth."""
FLAT = 0.1
"""Thickness over width of an array whose plane tells where the zenith is."""
TILT_DEG = 30.0
"""More than any ground or a shifted clock explains; a latitude in radians, or positions in local axes, look so."""
HEIGHT_M = (-500.0, 9000.0)
COUNTS = {"Ntimes": 100_000, "Nbls": 1_000_000, "Nfreqs": 65_536, "Npols": 4, "Nants_data": 10_000}
"""More than these is no raw file."""
MAX_DATA_BYTES = 1 << 37
"""Visibilities that a file may declare: 128 GiB; a full subband has 86 MB."""


def check_frequencies(path: str, freq_hz: NDArray[np.float64], width_hz: float, n_chan: int) -> None:
    """Hold channel centres (nchan,) and width, Hz, to their bounds and to each other.

    Raises
    ------
    InputError
        They are not finite, out of bounds, not as many as the header says, or not evenly spaced by the width.
    """
    if freq_hz.shape != (n_chan,) or not np.all(np.isfinite(freq_hz) & (freq_hz > 0)) or not width_hz > 0:
        raise InputError(
            f"{path}: Header/freq_array holds {freq_hz.size} channels of {width_hz} Hz, expected "
            f"{n_chan}, positive and finite; leave the file out or repair its header"
        )
    low, high = float(freq_hz.min()), float(freq_hz.max())
    if not (FREQ_HZ[0] <= low and high <= FREQ_HZ[1]):
        raise InputError(
            f"{path}: frequencies of {low:g} to {high:g} Hz cannot be right, expected {FREQ_HZ[0]:g} to "
            f"{FREQ_HZ[1]:g} Hz; repair the header (are they in MHz?)"
        )
    if not CHANNEL_WIDTH_HZ[0] <= width_hz <= CHANNEL_WIDTH_HZ[1]:
        raise InputError(
            f"{path}: channels {width_hz:g} Hz wide cannot be right, expected {CHANNEL_WIDTH_HZ[0]:g} to "
            f"{CHANNEL_WIDTH_HZ[1]:g} Hz; repair the header"
        )
    steps = np.diff(freq_hz)
    if steps.size and np.max(np.abs(np.sign(steps[0]) * steps - width_hz)) > FREQ_TOLERANCE * width_hz:
        raise InputError(
            f"{path}: channels are not evenly spaced by channel_width = {width_hz} Hz (steps of "
            f"{steps.min()} to {steps.max()} Hz); leave the file out or repair its header"
        )


def check_times(path: str, first_jd: float, last_jd: float, integration_s: float) -> None:
    """Hold the first and last time (JD UTC) and the integration (s) to their bounds."""
    if not (
        TIMES_JD[0] <= first_jd <= last_jd <= min(TIMES_JD[1], first_jd + SPAN_DAYS)
        and INTEGRATION_S[0] <= integration_s <= INTEGRATION_S[1]
    ):
        raise InputError(
            f"{path}: times cannot be right: time_array runs from {first_jd} to {last_jd} (JD; expected from 1973 on, "
            f"a day at most), integration_time is {integration_s} s; leave the file out or repair its header"
        )


def check_site(path: str, longitude_deg: float, latitude_deg: float, height_m: float) -> None:
    """Hold the reference point to the surface of the Earth."""
    if not (abs(longitude_deg) <= 360 and abs(latitude_deg) <= 90 and HEIGHT_M[0] <= height_m <= HEIGHT_M[1]):
        raise InputError(
            f"{path}: the site cannot be right: longitude {longitude_deg} deg, latitude {latitude_deg} deg, "
            f"altitude {height_m} m; repair the header"
        )


def tilt_deg(positions_m: NDArray[np.float64], longitude_deg: float, latitude_deg: float) -> float | None:
    """Angle between the plane of an array and the horizon of its reference point, deg; None where it is in no plane.

    Parameters
    ----------
    positions_m
        (nant, 3) along Earth-fixed axes, relative to the reference point.
    longitude_deg, latitude_deg
        Of the reference point.
    """
    placed = positions_m[np.isfinite(positions_m).all(axis=1)]
    if len(placed) < 4:
        return None
    _, extents, axes = np.linalg.svd(placed - placed.mean(axis=0), full_matrices=False)
    if not extents[2] < FLAT * extents[1]:
        return None
    longitude, latitude = math.radians(longitude_deg), math.radians(latitude_deg)
    up = (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )
    return math.degrees(math.acos(min(1.0, abs(float(axes[2] @ up)))))


def check_pointing(path: str, name: str, dec_rad: float, latitude_deg: float) -> None:
    """Hold a pointing (rad, apparent) to the sky above the site's horizon."""
    if not -math.pi / 2 <= dec_rad <= math.pi / 2:
        raise InputError(
            f"{path}: {name} = {dec_rad} rad is no declination; repair the header (is it in degrees?)"
        )
    if abs(math.degrees(dec_rad) - latitude_deg) > 90.0:
        raise InputError(
            f"{path}: {name} = {math.degrees(dec_rad):.3f} deg is below the horizon of latitude {latitude_deg:.3f} "
            "deg; repair the header"
        )


def check_antennas(
    path: str,
    names: Sequence[str],
    numbers: NDArray[np.int64],
    positions_m: NDArray[np.float64],
    diameters_m: NDArray[np.float64],
) -> None:
    """Hold the antenna table to itself: one row an antenna, no name or number twice, positions near the site."""
    n_ant = numbers.size
    if len(names) != n_ant or positions_m.shape != (n_ant, 3) or diameters_m.shape != (n_ant,):
        raise InputError(
            f"{path}: the antenna table contradicts itself: {n_ant} numbers, {len(names)} names, "
            f"positions {positions_m.shape}, diameters {diameters_m.shape}; repair the header"
        )
    for what, values in (("name", list(names)), ("number", numbers.tolist())):
        twice = sorted({str(value) for value in values if values.count(value) > 1}) if n_ant < 2000 else []
        if len(set(values)) != n_ant:
            raise InputError(
                f"{path}: two antennas have the same {what}"
                + (f", {', '.join(twice[:3])}" if twice else "")
                + "; repair the header"
            )
    far = np.abs(positions_m).max(axis=1, initial=0.0)
    if np.any(far > BASELINE_M):
        worst = int(np.nanargmax(far))
        raise InputError(
            f"{path}: antenna {names[worst]} is {far[worst] / 1e3:.4g} km from the reference point, expected at most "
            f"{BASELINE_M / 1e3:g} km; repair the header (are positions counted from the centre of the Earth?)"
        )


def check_placed(path: str, positions_m: NDArray[np.float64], n_used: int) -> None:
    """Require a position of as many antennas as have data; those of others may be NaN."""
    placed = int(np.isfinite(positions_m).all(axis=1).sum())
    if placed < n_used:
        raise InputError(
            f"{path}: {placed} of {len(positions_m)} antennas have a finite position, {n_used} have data; repair the "
            "header"
        )


def check_counts(path: str, counts: dict[str, int], bytes_each: int) -> None:
    """Hold what a header says it counts to its bounds, and what follows from it."""
    for name, most in COUNTS.items():
        if counts.get(name, 1) > most:
            raise InputError(
                f"{path}: Header/{name} = {counts[name]}, expected at most {most}; leave the file out"
            )
    total = math.prod(counts[name] for name in ("Ntimes", "Nbls", "Nfreqs", "Npols")) * bytes_each
    if total > MAX_DATA_BYTES:
        raise InputError(
            f"{path}: the header declares {total / 1e9:.4g} GB of visibilities, expected at most "
            f"{MAX_DATA_BYTES / 1e9:.0f} GB; leave the file out"
        )
