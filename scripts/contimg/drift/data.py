"""Stokes I of a Measurement Set, one integration at a time, kept in memory when it fits.

The weighted mean of the parallel hands holds all that the set says about unpolarised sources: fitting it
and fitting the hands together give the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numba
import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.drift import kernels
from contimg.ms.meta import parallel_hands
from contimg.ms.sets import read_meta

Array = NDArray[Any]

MAX_CACHED_BYTES = 1.2e9
"""Stokes I of at most this is kept: a full tile at full resolution takes 1.0 GB, averaged by four 0.26 GB."""


class StokesI:
    """The visibilities of a set, averaged over parallel hands; a context manager.

    Parameters
    ----------
    ms
        Calibrated; DATA, FLAG and WEIGHT_SPECTRUM (WEIGHT where that is missing) are read.
    uvmin_klambda
        Shorter baselines, at the middle of the band, have weight 0.
    uv_m
        Their lengths, (nbl,).
    hand
        Index of the one correlation that is read; None: all parallel hands.
    """

    def __init__(
        self, ms: Path, *, uvmin_klambda: float = 0.0, uv_m: Array | None = None, hand: int | None = None
    ) -> None:
        self.meta = read_meta(ms)
        n_times, n_bl, n_chan, n_corr = self.meta.shape
        self._hands = parallel_hands(self.meta) if hand is None else np.array([hand])
        self._table = tables.table(str(ms), readonly=True, ack=False)
        self._spectrum = "WEIGHT_SPECTRUM" in self._table.colnames()
        self._data = np.empty((n_bl, n_chan, n_corr), np.complex64)
        self._flag = np.empty((n_bl, n_chan, n_corr), bool)
        self._weight = np.empty((n_bl, n_chan, n_corr), np.float32)
        cross = self.meta.ant1 != self.meta.ant2
        if uvmin_klambda > 0 and uv_m is not None:
            wavelength_m = SPEED_OF_LIGHT_M_S / float(np.mean(self.meta.freq_hz))
            cross &= uv_m >= 1e3 * uvmin_klambda * wavelength_m
        self._left_out = ~cross
        self._cache: dict[int, tuple[Array, Array]] = {}
        self._keep = n_times * n_bl * n_chan * 12 <= MAX_CACHED_BYTES

    def read(self, i: int) -> tuple[Array, Array]:
        """Visibilities (nbl, nchan), complex64, Jy, and weights, float32, 1/σ² of the real part, of integration `i`.

        The weight is 0 where there is nothing good, and for autocorrelations.
        """
        if i in self._cache:
            return self._cache[i]
        n_bl, n_chan = self.meta.shape[1:3]
        columns: list[tuple[str, Array]] = [("DATA", self._data), ("FLAG", self._flag)]
        if self._spectrum:
            columns.append(("WEIGHT_SPECTRUM", self._weight))
        else:
            self._weight[:] = self._table.getcol("WEIGHT", i * n_bl, n_bl)[:, np.newaxis]
        for name, array in columns:
            self._table.getcolnp(name, array, i * n_bl, n_bl)
        vis, weight = np.empty((n_bl, n_chan), np.complex64), np.empty((n_bl, n_chan), np.float32)
        kernels.stokes_i(self._data, self._flag, self._weight, self._hands, vis, weight)
        weight[self._left_out] = 0.0
        if self._keep:
            self._cache[i] = (vis, weight)
        return vis, weight

    def __enter__(self) -> StokesI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the table and forget what was read."""
        self._table.close()
        self._cache.clear()

    def uvw(self, i: int) -> Array:
        """Coordinates (nbl, 3) of integration `i`, m, in the sign of the set."""
        n_bl = self.meta.n_baselines
        return self._table.getcol("UVW", i * n_bl, n_bl)


class AveragedI:
    """Stokes I averaged over channels, in memory; `meta`, `read` and `uvw` as of `StokesI`.

    Parameters
    ----------
    data
        Open; it is read once, and again for `uvw`.
    step
        Channels averaged into one; a divisor of their number.
    """

    def __init__(self, data: StokesI, step: int) -> None:
        meta = data.meta
        self.meta = replace(
            meta,
            freq_hz=meta.freq_hz.reshape(-1, step).mean(axis=1),
            channel_width_hz=step * meta.channel_width_hz,
        )
        self._data = data
        self._averaged = [_averaged(*data.read(i), step) for i in range(meta.n_times)]

    def read(self, i: int) -> tuple[Array, Array]:
        """Visibilities (nbl, nchan / step) and their weights, of integration `i`."""
        return self._averaged[i]

    def uvw(self, i: int) -> Array:
        """As `StokesI.uvw`."""
        return self._data.uvw(i)


def _averaged(vis: Array, weight: Array, step: int) -> tuple[Array, Array]:
    """Weighted means over runs of `step` channels, and the sums of weights."""
    shape = len(vis), vis.shape[1] // step
    mean, total = np.empty(shape, np.complex64), np.empty(shape, np.float32)
    _average(vis, weight, step, mean, total)
    return mean, total


@numba.njit(parallel=True, cache=True, nogil=True)
def _average(vis: Array, weight: Array, step: int, mean: Array, total: Array) -> None:  # pragma: no cover
    """Fill `mean` and `total` (nbl, nchan / step)."""
    for b in numba.prange(len(vis)):
        for c in range(mean.shape[1]):
            product, norm = np.complex64(0), np.float32(0)
            for k in range(c * step, (c + 1) * step):
                product += weight[b, k] * vis[b, k]
                norm += weight[b, k]
            mean[b, c] = product / norm if norm > 0 else np.complex64(0)
            total[b, c] = norm
