"""Whether the noise of calibrated visibilities is what their weights stand for, without knowing the sky.

The sky is the same in XX and YY, and nearly so from one integration to the next: the difference of the
differences, (XX - YY)(t) - (XX - YY)(t - 1), is noise alone. Its variance against the sum of the four weights'
tells whether SEFD and system noise, which the weights carry, are right in this tile.
"""

from __future__ import annotations

import math
from typing import Any

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
        self._before: tuple[Array, Array] | None = None

    def add(self, data: Array, weight: Array, flag: Array) -> None:
        """Add an integration: (nbl, nchan, ncorr) complex64, float32 (1 / variance of the real part), bool."""
        if len(self._pols) != 2:
            return
        one, two = self._pols
        rows = self._rows
        bad = flag[rows, :, one] | flag[rows, :, two]
        with np.errstate(divide="ignore"):
            variance = 1.0 / weight[rows, :, one] + 1.0 / weight[rows, :, two]
        variance[bad] = np.inf
        difference = data[rows, :, one] - data[rows, :, two]
        if self._before is not None:
            step = difference - self._before[0]
            total = variance + self._before[1]
            self._sums += ((step.real**2 + step.imag**2) / total).sum(axis=1)
            self._counts += np.isfinite(total).sum(axis=1)
        self._before = difference, variance

    def ratio(self) -> float | None:
        """Scatter over expected scatter, median over baselines; None without two integrations of two polarisations."""
        used = self._counts > 0
        if not used.any():
            return None
        return float(np.sqrt(np.median(self._sums[used] / self._counts[used]) / 2.0))


def sefd_jy(sum_weight: float, n_visibilities: float, channel_width_hz: float, integration_s: float) -> float:
    """SEFD of a typical antenna from the mean weight w of a visibility: σ² = 1/w = SEFD² / (2 Δν t)."""
    if not (sum_weight > 0 and n_visibilities > 0):
        return math.nan
    return math.sqrt(2.0 * channel_width_hz * integration_s * n_visibilities / sum_weight)


def uniformity(weights: np.ndarray) -> float:
    """(Σw)² / (N Σw²), the effective part of the N weights (Kish 1965, section 11.7); NaN if all are zero."""
    squares = float(np.sum(np.square(weights, dtype=np.float64)))
    return float(np.sum(weights, dtype=np.float64)) ** 2 / (weights.size * squares) if squares else math.nan
