"""Whether the files of a tile belong together, which of their rows are its baselines, and where they are phased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.index.groups import DEC_TOLERANCE_DEG, SAME_TIME_S
from contimg.telescope import geometry

if TYPE_CHECKING:
    from astropy.coordinates import EarthLocation

    from contimg.index import uvh5

DEC_AGREEMENT_RAD = np.radians(DEC_TOLERANCE_DEG)
"""Files of a tile may point so far apart: each is rotated from where it says that it is stopped."""
POSITION_M = 1e-3
"""Positions of an antenna in two files may differ by this: 0.03 rad of phase on its baselines."""
INTEGRATION_AGREEMENT_S = 1e-6
_TOLERANCES = {"integration_s": INTEGRATION_AGREEMENT_S, "antenna_positions_m": POSITION_M}


@dataclass(frozen=True)
class FileRows:
    """Which rows of an integration in a file are the tile's baselines, and how they are phased."""

    layout: uvh5.Layout
    order: NDArray[np.int64] | None  # (nbl,) the file's row of each baseline; None: the same order
    swapped: NDArray[np.bool_]  # (nbl,) the file names the two antennas the other way round


def antennas_of(layout: uvh5.Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into the antenna table of a file's baselines, (nbl,) each."""
    index = {int(number): i for i, number in enumerate(layout.antenna_numbers)}
    one, two = (np.array([index[int(n)] for n in numbers]) for numbers in (layout.ant1, layout.ant2))
    return one, two


def rows_of(first_path: str, first: uvh5.Layout, path: str, layout: uvh5.Layout) -> FileRows:
    """Find the baselines of the first file in another, in whatever order and direction."""
    pairs = []
    for one, two in (antennas_of(first), antennas_of(layout)):
        pairs.append(np.minimum(one, two) * len(layout.antenna_names) + np.maximum(one, two))
    wanted, there = pairs
    if len(np.unique(there)) < there.size or set(wanted.tolist()) != set(there.tolist()):
        raise InputError(f"{path}: its baselines are not those of {first_path}; they are not one tile")
    order = np.argsort(there)[np.searchsorted(np.sort(there), wanted)]
    one, two = antennas_of(layout)
    same = np.array_equal(order, np.arange(order.size))
    return FileRows(layout, None if same else order, (one > two)[order])


def require_same(first_path: str, first: uvh5.Layout, path: str, layout: uvh5.Layout) -> None:
    """Raise where two subbands of one tile cannot be two parts of the same observation."""
    if abs(first.dec_rad - layout.dec_rad) > DEC_AGREEMENT_RAD:
        raise InputError(
            f"{path}: points to declination {np.degrees(layout.dec_rad):.4f} deg, {first_path} to "
            f"{np.degrees(first.dec_rad):.4f}; they are not one tile"
        )
    off_s = np.inf
    if first.times_jd.shape == layout.times_jd.shape:
        off_s = float(np.max(np.abs(first.times_jd - layout.times_jd))) * SECONDS_PER_DAY
    if off_s > SAME_TIME_S:
        raise InputError(
            f"{path}: times differ from those of {first_path} by up to {off_s:.3g} s; they are not one tile"
        )
    if (layout.phased is not None and not layout.phased.same(first.phased)) or (
        first.phased and not layout.phased
    ):
        said = [of.phased.words if of.phased else "fringe-stopped on the meridian" for of in (layout, first)]
        raise InputError(f"{path}: {said[0]}, {first_path} is {said[1]}; they are not one tile")
    for what in ("integration_s", "antenna_names", "antenna_numbers", "antenna_positions_m", "polarizations"):
        one, other = np.asarray(getattr(first, what)), np.asarray(getattr(layout, what))
        tolerance = _TOLERANCES.get(what)
        same = one.shape == other.shape and (
            np.array_equal(one, other)
            if tolerance is None
            else np.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
        )
        if not same:
            raise InputError(f"{path}: {what} differ from those of {first_path}; they are not one tile")


def w_of_files(
    layout: uvh5.Layout, loc: EarthLocation, positions_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each antenna's w toward where the files are phased, m: (nant,), or (nt, nant) if that moves.

    Parameters
    ----------
    layout
        Of the file.
    loc
        The array's reference point.
    positions_m
        (nant, 3) relative to it, Earth-fixed.
    """
    phased = layout.phased
    if phased is None:
        return geometry.antenna_w_meridian(positions_m, layout.dec_rad, loc)
    if phased.ha_rad is None or phased.dec_rad is None:  # raw correlations
        return np.zeros(len(positions_m))
    return geometry.antenna_uvw_toward(positions_m, phased.ha_rad, phased.dec_rad, loc)[:, :, 2]
