"""One pass over the visibilities: residuals, what is bad in them, their projection on the model; and the normal matrix.

The method is described in `contimg.drift.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.errors import Rejected
from contimg.core.robust import mad_sigma
from contimg.drift import kernels
from contimg.drift.predict import DriftArray, DriftView
from contimg.drift.shape import FALL

Array = NDArray[Any]
FLUX, SLOPE, EAST, NORTH, EAST_EAST, EAST_NORTH, NORTH_NORTH = range(7)
KINDS = 7
DESIGN_FLOPS = 2e10
"""Most multiplications spent on one normal matrix: about half a second on two cores."""
MOST_SAMPLES = 150_000
"""Most visibilities in its sample: their number is what its entries are good to, 0.26 % of the diagonal."""
SAMPLE_TIMES, SAMPLE_CHANNELS = 32, 12
"""Most integrations and channels in the sample for the normal matrix; a source beyond the half-power point changes
from one integration to the next, so that few will not do."""
SINGULAR = 1e-3
"""Part of its trace that the matrix of a place is larger by where it is divided by (`curvature`)."""
SIZE_BINS = 4
"""Ranges of baseline length in the χ² of a source."""
TIME_BINS = 6
"""Parts of the tile in the χ² of a source."""


def curvature(normal: Array, gradient: Array, flux_jy: Array, source: Array, kind: Array) -> Array:
    """What Gauss-Newton leaves out of the second derivatives of χ² / 2: those of the places, where they are positive.

    With q the flux S times the displacement, V = S m(q / S), and -Re Σ w r* ∂²V/∂q∂q' = (2π)² / S Re Σ w m* r u u';
    that by flux and place vanishes. A faint source beside others has as much of it as of the rest: the steps of
    Gauss-Newton go twice too far there, back and forth. Where it is negative it would make steps longer, and
    sources run into each other.

    Parameters
    ----------
    normal : (npar, npar)
        Aᵀ W A.
    gradient : (nsrc, KINDS)
        Of the same data; that by a Gaussian's widths holds the sums.
    flux_jy : (nsrc,)
        Sources without a positive flux get none.
    source, kind : (npar,) int
        The free parameters.

    Returns
    -------
    (npar, npar)
        To be added to `normal`.
    """
    east = np.flatnonzero(kind == EAST)
    north = np.flatnonzero(kind == NORTH)  # of the same sources, in the same order
    some = (flux_jy[source[east]] > 0) & (np.diag(normal)[east] + np.diag(normal)[north] > 0)
    pair = np.stack([east[some], north[some]], axis=1)
    here = pair[:, :, np.newaxis], pair[:, np.newaxis, :]
    own = source[east[some]]
    ee, en, nn = gradient[own, EAST_EAST:].T / (-FALL * flux_jy[own])
    second = (2 * np.pi) ** 2 * np.stack([ee, en / 2, en / 2, nn], axis=1).reshape(-1, 2, 2)
    block = normal[here]
    # a line of antennas tells nothing of one direction; single precision, less than nothing
    root = np.linalg.cholesky(block + SINGULAR * np.trace(block, axis1=1, axis2=2)[:, None, None] * np.eye(2))
    inner = np.linalg.solve(root, np.linalg.solve(root, second).transpose(0, 2, 1))
    value, vector = np.linalg.eigh(inner)
    found = np.zeros_like(normal)
    outer = root @ vector
    found[here] = (outer * np.maximum(value, 0.0)[:, np.newaxis, :]) @ outer.transpose(0, 2, 1)
    return found


def block_edges(n_channels: int) -> Array:
    """First channel of each part of the band that `Problem.residuals` keeps apart, and the number of channels."""
    return np.arange(kernels.CHANNEL_BLOCKS + 1) * n_channels // kernels.CHANNEL_BLOCKS


@dataclass
class Limits:
    """Where data begin to be bad."""

    largest: float = float("inf")  # of w |r|²
    scale: float = 1.0
    row: float = float("inf")


@dataclass
class Sweep:
    """What one pass over the data gives.

    Attributes
    ----------
    gradient : ndarray, (nsrc, 7)
        Re Σ w (∂V/∂x)* r for x = flux, flux times spectral index, flux times place east, and north (Jy rad), and flux
        times the widths of a Gaussian (Jy rad²).
    chi2, count, used : ndarray, (nt, nbl)
        Σ w |r|² and the number of visibilities in it; whether the row took part in the gradient.
    """

    gradient: Array
    chi2: Array
    count: Array
    used: Array

    def scale(self) -> float:
        """Variance of the residuals over what the weights promise: the median over rows."""
        rows = self.count > 0
        return float(np.median(self.chi2[rows] / (2.0 * self.count[rows])))

    def limits(self, clip_sigma: float, clip_row_sigma: float, ease: float = 1.0) -> Limits:
        """Limits for the next pass, from this one's rows; `ease` times as much is let through.

        Raises
        ------
        Rejected
            There is no row with data.
        """
        rows = self.count > 0
        if not rows.any():
            raise Rejected("no visibility is left to fit sources to: all are flagged or without weight")
        scale = self.scale()
        if not scale > 0:
            raise Rejected("more than half of the data are exactly the model: they are not observations")
        root = np.sqrt(self.count[rows])
        normal = (self.chi2[rows] / (2.0 * self.count[rows] * scale) - 1.0) * root
        spread = max(1.0, mad_sigma(normal))
        row = float(np.median(normal)) + clip_row_sigma * spread
        return Limits(
            largest=ease * scale * clip_sigma**2,
            scale=scale,
            row=max(row, (ease - 1.0) * float(root.max())),
        )


class Visible(Protocol):
    """Visibilities and weights of a tile, an integration at a time."""

    def read(self, i: int, /) -> tuple[Array, Array]:
        """(nbl, nchan) of both."""


class Problem:
    """The data of one tile and the sources that are being fitted."""

    def __init__(self, data: Visible, array: DriftArray) -> None:
        self.data = data
        self.array = array
        self._random = np.random.default_rng(20251030)

    def sweep(self, view: DriftView, limits: Limits, *, every: int = 1, places: bool = False) -> Sweep:
        """Gradient and residuals of every `every`-th integration."""
        array, meta = self.array, self.array.meta
        n_times, n_bl, _, _ = meta.shape
        n_src = len(view.sources)
        result = Sweep(
            gradient=np.zeros((n_src, KINDS)),
            chi2=np.zeros((n_times, n_bl)),
            count=np.zeros((n_times, n_bl), np.int64),
            used=np.zeros((n_times, n_bl), bool),
        )
        rows = np.empty((n_bl, n_src, KINDS))
        for i in range(0, n_times, every):
            vis, weight = self.data.read(i)
            part = view.integration(i, places=places)
            kernels.gradient_rows(
                vis,
                weight,
                array.ant1,
                array.ant2,
                part.real,
                part.imag,
                part.shape,
                view.sources.flux_jy,
                array.f,
                view.log_freq,
                part.smear_turns,
                array.freq_average,
                part.turn_per_rad,
                limits.largest,
                limits.scale,
                limits.row,
                rows,
                result.chi2[i],
                result.count[i],
                result.used[i],
            )
            result.gradient += rows.sum(axis=0)
        return result

    def normal_matrix(self, view: DriftView, source: Array, kind: Array, used: Array | None) -> Array:
        """Sampled Aᵀ W A of the parameters (source, kind), (npar, npar); `used` rows only (nt, nbl)."""
        array, meta = self.array, self.array.meta
        n_times, n_bl, n_chan, _ = meta.shape
        n_par = len(source)
        times = np.array_split(np.arange(n_times), min(SAMPLE_TIMES, n_times))
        bands = np.array_split(np.arange(n_chan), min(SAMPLE_CHANNELS, n_chan))
        cross = np.flatnonzero(array.ant1 != array.ant2)
        most = int(min(DESIGN_FLOPS / n_par**2 / 2, MOST_SAMPLES) / (len(times) * len(bands)))
        taken = max(min(len(cross), most), min(len(cross), 64))
        total = np.zeros((n_par, n_par))
        for group in times:
            i = int(group[len(group) // 2])
            weight = np.zeros((n_bl, len(bands)))
            for j in group:
                found = self.data.read(int(j))[1]
                kept = found if used is None else found * used[j, :, np.newaxis]
                weight += np.add.reduceat(kept, [band[0] for band in bands], axis=1, dtype=np.float64)
            chosen = np.sort(self._random.permutation(cross)[:taken])
            share = weight[cross].sum() / max(weight[chosen].sum(), 1e-300)
            channel = np.array([self._random.choice(band) for band in bands])
            part = view.integration(i, places=True)
            design = np.empty((2 * taken * len(bands), n_par), np.float32)
            kernels.design_rows(
                (weight[chosen] * share).astype(np.float32),
                channel,
                chosen,
                array.ant1,
                array.ant2,
                part.real,
                part.imag,
                part.shape,
                array.f,
                view.log_freq,
                part.smear_turns,
                array.freq_average,
                part.turn_per_rad,
                source,
                kind,
                design,
            )
            total += linalg.blas.ssyrk(1.0, design.T, lower=1)
        return np.tril(total) + np.tril(total, -1).T

    def residuals(self, view: DriftView, limits: Limits, used: Array) -> tuple[Array, Array, float]:
        """What is left at the sources' places when the model is subtracted.

        Returns
        -------
        cells : ndarray, (nsrc, ntime, nsize, nchannel, 3)
            Re Σ w m* r, Im Σ w m* r and Σ w |m|² in parts of the tile, ranges of baseline length, parts of the band.
        weights : ndarray, (nt, nchan)
            Sum over the rows that were used.
        chi2 : float
            Σ w |r|² of the visibilities that were used.
        """
        meta = self.array.meta
        n_times, _, n_chan, _ = meta.shape
        size = self.length_bins()
        n_parts = min(TIME_BINS, n_times)
        cells = np.zeros((len(view.sources), n_parts, SIZE_BINS, kernels.CHANNEL_BLOCKS, 3))
        weights, chi2 = np.zeros((n_times, n_chan)), 0.0
        for i in range(n_times):
            vis, weight = self.data.read(i)
            residual = vis - view.predict(i)
            square = weight * (residual.real**2 + residual.imag**2)
            good = (square <= limits.largest) & used[i][:, np.newaxis]
            chi2 += float(square[good].sum(dtype=np.float64))
            weights[i] = np.where(good, weight, 0.0).sum(axis=0, dtype=np.float64)
            rows = view.project(i, residual, weight, used[i], limits.largest)
            for k in range(SIZE_BINS):
                cells[:, i * n_parts // n_times, k] += rows[size == k].sum(axis=0, dtype=np.float64)
        return cells, weights, chi2

    def length_bins(self) -> Array:
        """Range of lengths, 0 to SIZE_BINS - 1, that each baseline is in, (nbl,)."""
        length = self.array.uv_m()
        cross = self.array.ant1 != self.array.ant2
        edges = np.quantile(length[cross], np.linspace(0, 1, SIZE_BINS + 1)[1:-1])
        return np.searchsorted(edges, length)

    def uv_squared(self) -> Array:
        """Mean square of the baselines in wavelengths, (SIZE_BINS, CHANNEL_BLOCKS), as `residuals` divides them."""
        array, size = self.array, self.length_bins()
        cross = array.ant1 != array.ant2
        total = np.bincount(size[cross], weights=array.uv_m()[cross] ** 2, minlength=SIZE_BINS)
        square = total / np.maximum(np.bincount(size[cross], minlength=SIZE_BINS), 1)
        blocks = block_edges(len(array.freq_hz))
        per_metre = (array.freq_hz / SPEED_OF_LIGHT_M_S) ** 2
        parts = [per_metre[a:b].mean() if b > a else 0.0 for a, b in pairwise(blocks)]
        return np.outer(square, parts)

    def count_weighted(self) -> int:
        """Visibilities with weight, before anything is clipped."""
        return sum(int((self.data.read(i)[1] > 0).sum()) for i in range(self.array.meta.n_times))
