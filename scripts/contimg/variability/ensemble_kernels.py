"""The loops of the ensemble: zero points of mosaics from sources, means of sources from mosaics.

A row is one measurement of a reference: its flux `f` and noise `e` (Jy), its place `x`, `y` in the mosaic (-1 to 1
along right ascension and declination), its mosaic, its source and its unit, which is the source in one pointing. The
model is f = value[unit] × (basis(x, y) · c[mosaic]), and the variance of f / value is (e / value)² + extra[source].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt

from contimg.core.constants import MAD_TO_SIGMA

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TERMS = 6
"""Terms of the zero point over the field: constant, two slopes, three of second order."""
HUBER = 2.5
"""A residual counts in full up to this many of its standard deviations, less beyond (Huber 1964)."""
CLIP = 3.0
CLIPPED = 0.99501
"""Expectation of min(z², CLIP²) for a normal deviate z."""


def in_threads(pool: Executor, kernel: Callable[..., None], n: int, *arguments: object) -> None:
    """Run a kernel over its n mosaics, units or sources, in pieces; each piece writes its own places."""
    edges = np.linspace(0, n, 17).astype(np.int64)
    pieces = [(int(first), int(last)) for first, last in pairwise(edges) if last > first]
    for done in [pool.submit(kernel, first, last, *arguments) for first, last in pieces]:
        done.result()


@numba.njit(cache=True, nogil=True)
def basis(x: float, y: float, out: Floats) -> None:
    """Terms of the zero point at a place; the even ones have no mean over a uniform field."""
    out[0] = 1.0
    out[1] = x
    out[2] = y
    out[3] = x * x - 1.0 / 3.0
    out[4] = x * y
    out[5] = y * y - 1.0 / 3.0


@numba.njit(cache=True, nogil=True)
def _weight(residual: float, variance: float) -> float:
    """Weight of a residual: 1 / variance, less where it is an outlier."""
    size = abs(residual) / math.sqrt(variance)
    return 1.0 / variance if size <= HUBER else HUBER / size / variance


@numba.njit(cache=True, nogil=True)
def fit_mosaics(
    first: int,
    last: int,
    starts: Ints,
    unit: Ints,
    source: Ints,
    x: Floats,
    y: Floats,
    f: Floats,
    e: Floats,
    value: Floats,
    value_var: Floats,
    extra: Floats,
    prior_var: Floats,
    c: Floats,
    cov: Floats,
    n_used: Ints,
    scatter: Floats,
) -> None:
    """Zero points of mosaics from the values of their references: weighted least squares with a prior on each term.

    Rows are sorted by mosaic: those of mosaic j are ``starts[j]:starts[j + 1]``. `value_var` is the variance of
    value / its estimate, `extra` the variance each source has beyond its noise, `prior_var` that of each term.
    Writes `c` (n_mosaics, TERMS), `cov` (n_mosaics, TERMS, TERMS), `n_used` and `scatter`, the robust width of the
    residuals in their errors, of mosaics `first` up to `last`.
    """
    for j in range(first, last):
        begin, end = starts[j], starts[j + 1]
        n_used[j] = end - begin
        scatter[j] = np.nan
        if end == begin:
            continue
        b = np.empty(TERMS)
        sizes = np.empty(end - begin)
        for _ in range(3):
            normal = np.zeros((TERMS, TERMS))
            right = np.zeros(TERMS)
            for k in range(TERMS):
                normal[k, k] = 1.0 / prior_var[k]
            right[0] = 1.0 / prior_var[0]
            for r in range(begin, end):
                u = unit[r]
                basis(x[r], y[r], b)
                z = f[r] / value[u]
                variance = (e[r] / value[u]) ** 2 + extra[source[r]] + value_var[u]
                g = 0.0
                for k in range(TERMS):
                    g += b[k] * c[j, k]
                w = _weight(z - g, variance)
                for k in range(TERMS):
                    right[k] += w * b[k] * z
                    for m in range(k + 1):
                        normal[k, m] += w * b[k] * b[m]
            for k in range(TERMS):
                for m in range(k):
                    normal[m, k] = normal[k, m]
            inverse = np.linalg.inv(normal)
            for k in range(TERMS):
                total = 0.0
                for m in range(TERMS):
                    total += inverse[k, m] * right[m]
                    cov[j, k, m] = inverse[k, m]
                c[j, k] = total
        for r in range(begin, end):
            u = unit[r]
            basis(x[r], y[r], b)
            g = 0.0
            for k in range(TERMS):
                g += b[k] * c[j, k]
            variance = (e[r] / value[u]) ** 2 + extra[source[r]] + value_var[u]
            sizes[r - begin] = abs(f[r] / value[u] - g) / math.sqrt(variance)
        scatter[j] = MAD_TO_SIGMA * np.median(sizes)


@numba.njit(cache=True, nogil=True)
def gain_without(
    x: float, y: float, z: float, variance: float, c: Floats, cov: Floats, b: Floats
) -> tuple[float, float, float]:
    """Zero point at a row of the fit, the row left out: value, variance and the row's leverage.

    The Sherman–Morrison downdate of the normal equations by one row of weight w and residual r:
    g' = g − h r / (1 − h), var' = v / (1 − h), with v = bᵀ C b and h = w v.
    """
    basis(x, y, b)
    g, v = 0.0, 0.0
    for k in range(TERMS):
        g += b[k] * c[k]
        for m in range(TERMS):
            v += b[k] * cov[k, m] * b[m]
    residual = z - g
    h = min(_weight(residual, variance) * v, 0.9)
    return g - h * residual / (1.0 - h), v / (1.0 - h), h


@numba.njit(cache=True, nogil=True)
def average_units(
    first: int,
    last: int,
    unit_starts: Ints,
    order: Ints,
    mosaic: Ints,
    source: Ints,
    x: Floats,
    y: Floats,
    f: Floats,
    e: Floats,
    c: Floats,
    good: npt.NDArray[np.bool_],
    value: Floats,
    extra: Floats,
    mean: Floats,
    weight: Floats,
    count: Ints,
) -> None:
    """Weighted mean of each unit's fluxes over their zero points, relative to its present value.

    Rows of unit u are ``order[unit_starts[u]:unit_starts[u + 1]]``. Writes `mean` (of f / g / value), `weight` (1 / its
    variance) and `count`; 0 where no row is in a good mosaic.
    """
    for u in range(first, last):
        b = np.empty(TERMS)
        total, weights, n = 0.0, 0.0, 0
        for place in range(unit_starts[u], unit_starts[u + 1]):
            r = order[place]
            if not good[mosaic[r]]:
                continue
            basis(x[r], y[r], b)
            g = 0.0
            for k in range(TERMS):
                g += b[k] * c[mosaic[r], k]
            if g <= 0.05:
                continue
            z = f[r] / (g * value[u])
            variance = (e[r] / (g * value[u])) ** 2 + extra[source[r]]
            w = _weight(z - 1.0, variance)
            total += w * z
            weights += w
            n += 1
        mean[u] = total / weights if n else 1.0
        weight[u] = weights
        count[u] = n


@numba.njit(cache=True, nogil=True)
def extra_scatter(
    first: int,
    last: int,
    source_starts: Ints,
    order: Ints,
    mosaic: Ints,
    unit: Ints,
    source: Ints,
    x: Floats,
    y: Floats,
    f: Floats,
    e: Floats,
    c: Floats,
    cov: Floats,
    good: npt.NDArray[np.bool_],
    value: Floats,
    extra: Floats,
    n_units: Ints,
    found: Floats,
    count: Ints,
) -> None:
    """Variance of each source beyond its noise (Honeycutt 1992), from residuals that leave the source out.

    Solves Σ min(r² / (σ² + a²), CLIP²) = CLIPPED × (n − n_units) for a² by bisection. Writes `found` and `count`.
    """
    for s in range(first, last):
        begin, end = source_starts[s], source_starts[s + 1]
        r2, v = np.empty(end - begin), np.empty(end - begin)
        b = np.empty(TERMS)
        n = 0
        for place in range(begin, end):
            r = order[place]
            j = mosaic[r]
            if not good[j]:
                continue
            u = unit[r]
            z = f[r] / value[u]
            noise = (e[r] / value[u]) ** 2
            g, g_var, _ = gain_without(x[r], y[r], z, noise + extra[source[r]], c[j], cov[j], b)
            r2[n] = (z - g) ** 2
            v[n] = noise + g_var
            n += 1
        count[s] = n
        target = CLIPPED * (n - n_units[s])
        if target <= 0.0:
            found[s] = np.nan
            continue
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            total = 0.0
            for k in range(n):
                total += min(r2[k] / (v[k] + middle), CLIP * CLIP)
            if total > target:
                low = middle
            else:
                high = middle
        found[s] = 0.5 * (low + high)


@numba.njit(cache=True, nogil=True)
def zero_points(
    mosaic: Ints,
    unit: Ints,
    reference: Ints,
    clean: npt.NDArray[np.bool_],
    x: Floats,
    y: Floats,
    f: Floats,
    e: Floats,
    c: Floats,
    cov: Floats,
    value: Floats,
    value_var: Floats,
    extra: Floats,
    gain: Floats,
    gain_var: Floats,
) -> None:
    """Zero point of any rows, references (unit >= 0, clean) left out of their own; writes `gain` and `gain_var`."""
    b = np.empty(TERMS)
    for r in range(len(mosaic)):
        j = mosaic[r]
        u = unit[r]
        if u >= 0 and clean[r]:
            variance = (e[r] / value[u]) ** 2 + extra[reference[r]] + value_var[u]
            gain[r], gain_var[r], _ = gain_without(x[r], y[r], f[r] / value[u], variance, c[j], cov[j], b)
            continue
        basis(x[r], y[r], b)
        g, v = 0.0, 0.0
        for k in range(TERMS):
            g += b[k] * c[j, k]
            for m in range(TERMS):
                v += b[k] * cov[j, k, m] * b[m]
        gain[r], gain_var[r] = g, v
