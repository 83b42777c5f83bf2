"""Where antennas stand and what time it is, from phases that are left in a tile of one source.

An antenna that stands d from its stated place turns by 2π ν d·(s(t) - s(0)) / c more than expected. Stamps that
are late
by δ add -2π ν δ p·(ds/dt - its mean) / c in all antennas together: of second order, for a constant rate of phase
is what
a frequency makes. So half a second needs a steady sky, and errors come from leaving antennas out in turn (jackknife).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.robust import mad_sigma
from contimg.firstlight.fringes import Solved
from contimg.firstlight.piece import Array, Sky

GROUPS = 8
LEAST_OFF_M = 0.5
SIGMAS = 5.0


@dataclass(frozen=True)
class Places:
    """What the phases say.

    Attributes
    ----------
    late_s, late_err_s : float
        Time stamps less true time.
    east_m, east_err_m : ndarray, (nant,)
        Antennas' true places less their stated ones, along east; the mean antenna is where it is said to be.
    north_m, north_err_m : ndarray, (nant,)
        Weaker: the source moves little along north.
    """

    late_s: float
    late_err_s: float
    east_m: Array
    east_err_m: Array
    north_m: Array
    north_err_m: Array

    @property
    def off(self) -> np.ndarray:
        """Antennas that do not stand where they are said to, (nant,) bool."""
        far = np.zeros(self.east_m.shape, bool)
        for value, error in ((self.east_m, self.east_err_m), (self.north_m, self.north_err_m)):
            away = np.abs(value - np.nanmedian(value))
            # the source's neighbours turn phases as slowly as a wrong place does, in all antennas alike
            usual = mad_sigma(value)
            far |= away > np.maximum(LEAST_OFF_M, SIGMAS * np.maximum(error, usual))
        return far


def places(solved: list[Solved], sky: Sky, good: np.ndarray) -> Places:
    """Fit the phases of good antennas (nant,) bool; the others' places are NaN."""
    path = _path_m(solved)[:, good]
    position = solved[0].piece.enu_m[good]
    east, north, error = _each(path, sky)
    # antennas that are off would tilt what all share
    shared = np.abs(east - np.median(east)) < np.maximum(LEAST_OFF_M, 5 * mad_sigma(east, about=0.0))
    late = _late(path[:, shared], position[shared], sky)
    group = np.arange(int(shared.sum())) % GROUPS
    without = np.array(
        [
            _late(path[:, shared][:, group != k], position[shared][group != k], sky)
            for k in range(GROUPS)
            if (group != k).sum() >= 3
        ]
    )
    jack = np.sqrt((len(without) - 1) / len(without) * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    around = position - np.median(position, axis=0)
    if abs(late[1]) > SIGMAS * jack[1]:
        east, north, error = _each(path - late[1] * (sky.rate - sky.rate.mean(axis=0)) @ around.T, sky)
    filled = [np.full(good.size, np.nan) for _ in range(4)]
    for whole, part in zip(filled, (east, error[:, 0], north, error[:, 1]), strict=True):
        whole[good] = part
    return Places(float(-late[1]), float(jack[1]), *filled)


def _path_m(solved: list[Solved]) -> Array:
    """Excess paths (nt, nant), m: phases of both hands and all subbands, unwrapped in time, less the mean antenna's."""
    total = np.zeros(solved[0].phases.shape[:2])
    for part in solved:
        per_turn = SPEED_OF_LIGHT_M_S / part.piece.freq_hz.mean() / (2 * np.pi)
        total += per_turn * np.unwrap(part.phases, axis=0).mean(axis=2) / len(solved)
    total -= np.median(total, axis=1, keepdims=True)
    return np.asarray(total - total.mean(axis=0))


def _late(path: Array, position: Array, sky: Sky) -> Array:
    """Factors of the expected fringe and of its rate in paths (nt, nant): (stretch, minus how late)."""
    moved = sky.source - sky.source.mean(axis=0)
    rate = sky.rate - sky.rate.mean(axis=0)
    around = position - np.median(position, axis=0)
    rows = np.stack([(moved @ around.T).ravel(), (rate @ around.T).ravel()], axis=1)
    fitted, *_ = np.linalg.lstsq(rows, (path - path.mean(axis=1, keepdims=True)).ravel(), rcond=None)
    return np.asarray(fitted)


def _each(path: Array, sky: Sky) -> tuple[Array, Array, Array]:
    """East and north offsets (nant,) of antennas and their errors (nant, 2), each by itself."""
    rows = (sky.source - sky.source.mean(axis=0))[:, :2]
    covariance = np.linalg.pinv(rows.T @ rows)
    fitted = covariance @ rows.T @ path
    left = path - rows @ fitted
    variance = np.sum(left**2, axis=0) / max(1, len(path) - 3)
    # a path that is shared by few integrations may fit by chance: never below the array's own scatter
    variance = np.maximum(variance, np.median(variance))
    return fitted[0], fitted[1], np.sqrt(variance[:, None] * np.diag(covariance))


def shifted_names(found: Places, enu_m: Array, other_m: Array) -> float:
    """Part of the antennas that stand where another one, at `other_m` (nant, 3), is said to, 0 to 1.

    Of antennas for which that is 2 m or more and 5 errors farther east or west than for the median one: the others tell
    nothing, and the mean antenna's place is free.
    """
    known = np.isfinite(found.east_m)
    shift = other_m[:, 0] - enu_m[:, 0]
    shift = shift - np.median(shift[known])
    error = np.where(known, found.east_err_m, 0.0)
    telling = known & (np.abs(shift) > np.maximum(2.0, SIGMAS * error))
    if not telling.any():
        return 0.0
    apart = found.east_m - np.nanmedian(found.east_m) - shift
    return float(np.mean(np.abs(apart[telling]) < np.maximum(1.0, SIGMAS * error[telling])))
