"""What a Measurement Set holds beside its visibilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import InputError

PARALLEL_HANDS = (5, 8, 9, 12)
"""CASA correlation types RR, LL, XX, YY: the ones that an unpolarised source has."""


@dataclass(frozen=True)
class MsMeta:
    """What a Measurement Set says beside its visibilities."""

    tile: str
    times_jd: NDArray[np.float64]  # (nt,) integration midpoints, JD UTC
    integration_s: NDArray[np.float64]  # (nt,)
    antenna_names: list[str]  # (nant,)
    antenna_positions_m: NDArray[np.float64]  # (nant, 3) ITRF axes, relative to the reference point
    diameters_m: NDArray[np.float64]  # (nant,)
    ant1: NDArray[np.int64]  # (nbl,) INDEX into the antenna table, <= ant2
    ant2: NDArray[np.int64]  # (nbl,)
    freq_hz: NDArray[np.float64]  # (nchan,) channel centres, ascending, topocentric
    channel_width_hz: float
    correlations: tuple[int, ...]  # CASA types: XX 9, XY 10, YX 11, YY 12
    phase_ra_rad: float  # ICRS
    phase_dec_rad: float  # ICRS
    field_name: str
    pointing_dec_rad: float  # apparent of date; the pointing is (hour angle 0, this)
    longitude_deg: float  # of the reference point, WGS84, east positive
    latitude_deg: float
    height_m: float
    telescope_name: str

    @property
    def n_times(self) -> int:
        """Number of integrations."""
        return len(self.times_jd)

    @property
    def n_baselines(self) -> int:
        """Number of baselines, with autocorrelations."""
        return len(self.ant1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the data: (nt, nbl, nchan, ncorr)."""
        return self.n_times, self.n_baselines, len(self.freq_hz), len(self.correlations)

    def baseline_lengths_m(self) -> NDArray[np.float64]:
        """Distance between the antennas of each baseline, (nbl,)."""
        positions = self.antenna_positions_m
        return np.asarray(np.linalg.norm(positions[self.ant2] - positions[self.ant1], axis=1))


def parallel_hands(meta: MsMeta) -> NDArray[np.int64]:
    """Indices of the parallel hands among the correlations.

    Raises
    ------
    InputError
        There is none.
    """
    hands = np.array([k for k, code in enumerate(meta.correlations) if code in PARALLEL_HANDS])
    if len(hands) == 0:
        raise InputError(
            f"tile {meta.tile}: correlations {meta.correlations} hold no parallel hand (5, 8, 9 or 12); "
            "unpolarised sources are not in them"
        )
    return hands


def times_mjd_s(times_jd: NDArray[np.float64]) -> NDArray[np.float64]:
    """JD to the Measurement Set's unit, MJD in seconds (both UTC; the subtraction is exact)."""
    return (times_jd - MJD_EPOCH_JD) * SECONDS_PER_DAY
