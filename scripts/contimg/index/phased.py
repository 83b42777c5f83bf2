"""Where the data of a file are phased: what its header says, and what its `uvw_array` says of that.

The instrument phases each integration to (hour angle 0, pointing declination) and calls that "drift"; to everybody else
"drift" and "unprojected" are raw correlations. `uvw_array` tells them apart: baselines projected toward that place, or
east, north and up. Where it tells nothing (zeros, or neither), the fringe-stopper's keywords do.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.index.uvh5_file import Uvh5File

UVW_AGREEMENT_M = 0.5
"""`uvw_array` is float32 (1e-4 m) and made with somebody's Earth: the two cases differ by tens of metres."""


@dataclass(frozen=True)
class Phased:
    """A place, other than the meridian at the pointing, that each integration is phased to."""

    words: str  # what it is, for people
    ha_rad: NDArray[np.float64] | None  # (nt,) hour angle; None: nowhere, raw correlations
    dec_rad: NDArray[np.float64] | None  # (nt,) apparent declination

    def same(self, other: Phased | None) -> bool:
        """Whether another file is phased to the same place, within 0.1 mas."""
        if other is None or (self.ha_rad is None) != (other.ha_rad is None):
            return False
        if self.ha_rad is None or other.ha_rad is None or self.dec_rad is None or other.dec_rad is None:
            return True
        return np.allclose(self.ha_rad, other.ha_rad, rtol=0, atol=5e-10) and np.allclose(
            self.dec_rad, other.dec_rad, rtol=0, atol=5e-10
        )


RAW = Phased("raw correlations, phased to nowhere", None, None)


def unprojected(
    file: Uvh5File,
    numbers: NDArray[np.int64],
    positions_m: NDArray[np.float64],
    ant1: NDArray[np.int64],
    ant2: NDArray[np.int64],
    dec_rad: float,
) -> bool:
    """Whether data that are said to drift are raw correlations, and not fringe-stopped on the meridian.

    Parameters
    ----------
    file
        The open file.
    numbers, positions_m
        (nant,), (nant, 3) the antenna table.
    ant1, ant2
        (nbl,) antenna numbers of the file's first rows: one integration, or what there is of it.
    dec_rad
        Pointing, apparent.
    """
    from contimg.telescope import geometry

    stopped = file.extra("ha_phase_center") is not None or not file.has("phase_center_catalog")
    if not file.has("uvw_array"):
        return not stopped
    stored = file.dataset_id("uvw_array")
    if len(stored.shape) != 2:
        return not stopped
    uvw = h5py.Dataset(stored)[: ant1.size].astype(np.float64)
    if uvw.shape != (ant1.size, 3) or not np.isfinite(uvw).all() or not uvw.any():
        return not stopped
    longitude, latitude, height = file.site()
    loc = geometry.location(longitude, latitude, height)
    place = {int(number): i for i, number in enumerate(numbers)}
    one, two = ([place[int(number)] for number in numbers_] for numbers_ in (ant1, ant2))
    decs = np.array([dec_rad, np.radians(latitude)])
    antennas = geometry.antenna_uvw_toward(np.nan_to_num(positions_m), np.zeros(2), decs, loc)
    off_meridian, off_enu = np.abs(antennas[:, two] - antennas[:, one] - uvw).max(axis=(1, 2))
    if off_enu < UVW_AGREEMENT_M <= off_meridian:
        return True
    return not (stopped or off_meridian < UVW_AGREEMENT_M)
