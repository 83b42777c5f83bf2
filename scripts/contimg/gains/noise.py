"""Whether the noise of calibrated visibilities is what their weights stand for, without knowing the sky.

The sky is the same in XX and YY, and nearly so from one integration to the next: the difference of the
differences, (XX - YY)(t) - (XX - YY)(t - 1), is noise alone. Its variance against the sum of the four weights'
tells whether SEFD and system noise, which the weights carry, are right in this tile.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class PolarisationDifferences:
    """Gathers |difference|² over variance, integration by integration.

    Parameters
    ----------
    rows : ndarray of int
        Cross-correlations among the rows of an integration.
    polarisations : ndarray of int
        The two parallel hands among the correlations; with another number nothing is gathered.
    """

    def __init__(self, rows: Array, pols: Array) -> None:
        self._rows, self._pols = rows, pols
        self._sums = np.zeros(len(rows))
        self._counts = np.zeros(len(rows))
        self._difference = np.zeros((0, 0), np.complex64)
        self._variance = np.zeros((0, 0), np.float32)

    def add(self, data: Array, weight: Array, flag: Array) -> None:
        """Add an integration: (nbl, nchan, ncorr) complex64, float32 (1 / variance of the real part), bool."""
        if len(self._pols) != 2:
            return
        if not self._difference.size:
            shape = len(self._rows), data.shape[1]
            self._difference, self._variance = (
                np.zeros(shape, np.complex64),
                np.full(shape, np.inf, np.float32),
            )
        _add(
            data, weight, flag, self._rows, *self._pols, self._difference, self._variance, self._sums, self._counts
        )  # fmt: skip

    def ratio(self) -> float | None:
        """Scatter over expected scatter, median over baselines; None without two integrations of two polarisations."""
        used = self._counts > 0
        if not used.any():
            return None
        return float(np.sqrt(np.median(self._sums[used] / self._counts[used]) / 2.0))


@numba.njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def _add(
    data: Array,
    weight: Array,
    flag: Array,
    rows: Array,
    one: int,
    two: int,
    difference: Array,
    variance: Array,
    sums: Array,
    counts: Array,
) -> None:  # pragma: no cover
    """Add an integration to `sums` and `counts`, (nrow,), and leave its `difference` and `variance`, (nrow, nchan)."""
    for r in numba.prange(len(rows)):
        b = rows[r]
        for c in range(data.shape[1]):
            new = data[b, c, one] - data[b, c, two]
            spread = np.float32(np.inf)
            if not (flag[b, c, one] or flag[b, c, two]):
                spread = 1 / weight[b, c, one] + 1 / weight[b, c, two]
            total = spread + variance[r, c]
            if np.isfinite(total):
                step = new - difference[r, c]
                sums[r] += (step.real**2 + step.imag**2) / total
                counts[r] += 1
            difference[r, c], variance[r, c] = new, spread


def sefd_jy(sum_weight: float, n_visibilities: float, channel_width_hz: float, integration_s: float) -> float:
    """SEFD of a typical antenna from the mean weight w of a visibility: σ² = 1/w = SEFD² / (2 Δν t)."""
    if not (sum_weight > 0 and n_visibilities > 0):
        return math.nan
    return math.sqrt(2.0 * channel_width_hz * integration_s * n_visibilities / sum_weight)


def uniformity(weights: np.ndarray) -> float:
    """(Σw)² / (N Σw²), the effective part of the N weights (Kish 1965, section 11.7); NaN if all are zero."""
    squares = float(np.sum(np.square(weights, dtype=np.float64)))
    return float(np.sum(weights, dtype=np.float64)) ** 2 / (weights.size * squares) if squares else math.nan
