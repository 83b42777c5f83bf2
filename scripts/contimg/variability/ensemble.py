"""One flux scale for all nights: zero points of the mosaics and means of the references, by least squares together.

The flux of reference s in mosaic j of pointing p is m_s (1 + o_sp) g_j(x), where g_j is a second-order polynomial of
the place in the mosaic, m_s the source's mean and o_sp an offset that the source has in every mosaic of a pointing (a
beam model that is wrong by so much where the source then stands). Each source has a variance of its own beyond its
noise (Honeycutt 1992, PASP 104, 435), so that what varies does not set the scale. Terms of the field and offsets have
a prior of zero mean whose width is that of the population (expectation maximisation): where references do not suffice
for a slope, it is not fitted, and its width stays in the errors. The normal equations are solved by block Gauss-Seidel:
mosaics, then sources, to convergence.
"""

from __future__ import annotations

import logging
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contimg.variability import ensemble_kernels as kernels
from contimg.variability.ensemble_kernels import TERMS, Floats, Ints
from contimg.variability.options import VariabilityOptions

log = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]
MAX_ITERATIONS = 60
CONVERGED = 1e-5
"""Largest change of a reference's mean, as a fraction, that ends the iteration."""
_FIRST_WIDTH = 0.02  # of the field's terms and the offsets, where the iteration begins
_LEAST_WIDTH = 1e-4
_CONSTANT_WIDTH = 0.5  # of a mosaic's flux scale: no prior, but a number
_LEAST_EXTRA = 1e-3**2
_SHRINK = 5.0  # epochs that the population's extra scatter counts for in a source's own
_OFFSET_LIMIT = 4.0  # widths of the population: a larger step is no error of the beam


@dataclass(frozen=True)
class Rows:
    """Measurements of the references, sorted by mosaic.

    Attributes
    ----------
    mosaic, source, pointing : array (n,) of int
        Indices.
    x, y : array (n,)
        Place in the mosaic, -1 to 1 along right ascension and declination.
    flux, noise : array (n,)
        Jy; the noise is the statistical error alone.
    """

    mosaic: Ints
    source: Ints
    pointing: Ints
    x: Floats
    y: Floats
    flux: Floats
    noise: Floats
    n_mosaics: int
    n_sources: int
    n_pointings: int


@dataclass(frozen=True)
class Known:
    """The references' fluxes on the common scale: what a solution hands on to that of later nights.

    Attributes
    ----------
    value, value_var : array (n_sources, n_pointings)
        Flux of each reference in each pointing (Jy), and its variance as a fraction; NaN where there is none.
    mean, mean_var : array (n_sources,)
        The same over all pointings.
    extra : array (n_sources,)
        Variance of each reference beyond its noise, as a fraction.
    prior_var : array (TERMS,)
        Variance of the terms of zero points over the mosaics.
    pointing_var : float
        Variance of the offsets between pointings.
    """

    value: Floats
    value_var: Floats
    mean: Floats
    mean_var: Floats
    extra: Floats
    prior_var: Floats
    pointing_var: float


@dataclass(frozen=True)
class Ensemble(Known):
    """Zero points of mosaics, and the references' fluxes on the common scale (`Known`).

    Attributes
    ----------
    c, cov : array (n_mosaics, TERMS), (n_mosaics, TERMS, TERMS)
        Terms of each zero point and their covariance, the uncertainty of the references' means included.
    n_used : array (n_mosaics,) of int
        References measured.
    scatter : array (n_mosaics,)
        Width of their residuals in their errors.
    good : array (n_mosaics,) of bool
        Whether the mosaic has a zero point.
    reasons : list of str
        Why it has none; "" where it has.
    iterations : int
        How many it took.
    """

    c: Floats
    cov: Floats
    n_used: Ints
    scatter: Floats
    good: Flags
    reasons: list[str]
    iterations: int


class _Solution:
    """The state of the iteration: units are the pairs of source and pointing that are measured."""

    def __init__(self, rows: Rows, options: VariabilityOptions, known: Known | None, pool: Executor) -> None:
        self.pool = pool
        self.rows, self.options, self.known = rows, options, known
        pair = rows.source * rows.n_pointings + rows.pointing
        pairs, unit = np.unique(pair, return_inverse=True)
        self.unit = unit.astype(np.int64)
        self.source_of, self.pointing_of = pairs // rows.n_pointings, pairs % rows.n_pointings
        self.starts = np.searchsorted(rows.mosaic, np.arange(rows.n_mosaics + 1)).astype(np.int64)
        self.by_unit = np.argsort(self.unit, kind="stable").astype(np.int64)
        self.unit_starts = np.searchsorted(self.unit[self.by_unit], np.arange(len(pairs) + 1)).astype(
            np.int64
        )
        self.by_source = np.argsort(rows.source, kind="stable").astype(np.int64)
        self.source_starts = np.searchsorted(
            rows.source[self.by_source], np.arange(rows.n_sources + 1)
        ).astype(np.int64)
        self.n_units = np.bincount(self.source_of, minlength=rows.n_sources).astype(np.int64)
        self.frozen = np.zeros(len(pairs), dtype=bool)
        self.value_var = np.zeros(len(pairs))
        self.extra = np.full(rows.n_sources, 0.005**2)
        self.pointing_var = _FIRST_WIDTH**2
        self.prior_var = np.array([_CONSTANT_WIDTH**2] + [_FIRST_WIDTH**2] * (TERMS - 1))
        self.mean = np.ones(rows.n_sources)
        for s in range(rows.n_sources):
            of = self.by_source[self.source_starts[s] : self.source_starts[s + 1]]
            if len(of):
                self.mean[s] = np.median(rows.flux[of])
        self.mean_var = np.zeros(rows.n_sources)
        self.old = np.zeros(rows.n_sources, dtype=bool)  # sources that the earlier solution knows
        if known is not None:
            self.old = np.isfinite(known.mean)
            self.mean = np.where(self.old, known.mean, self.mean)
            self.extra = np.where(self.old, known.extra, self.extra)
            self.prior_var, self.pointing_var = known.prior_var.copy(), known.pointing_var
        self.value = self.mean[self.source_of]
        if known is not None:
            there = known.value[self.source_of, self.pointing_of]
            self.frozen = np.isfinite(there)
            self.value = np.where(self.frozen, there, self.value)
            new_var = np.where(self.old, known.mean_var + known.pointing_var, 0.0)[self.source_of]
            self.value_var = np.where(self.frozen, known.value_var[self.source_of, self.pointing_of], new_var)
        n = rows.n_mosaics
        self.c = np.zeros((n, TERMS))
        self.c[:, 0] = 1.0
        self.cov = np.zeros((n, TERMS, TERMS))
        self.n_used, self.scatter = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
        self.good = np.ones(n, dtype=bool)

    def fit_mosaics(self, *, with_means: bool) -> None:
        """Zero points from the present values; `with_means`: their uncertainty counts."""
        rows = self.rows
        kernels.in_threads(
            self.pool, kernels.fit_mosaics, rows.n_mosaics,
            self.starts, self.unit, rows.source, rows.x, rows.y, rows.flux, rows.noise, self.value,
            self.value_var if with_means else np.zeros_like(self.value_var), self.extra, self.prior_var,
            self.c, self.cov, self.n_used, self.scatter,
        )  # fmt: skip
        with np.errstate(invalid="ignore"):
            self.good = (
                (self.n_used >= self.options.min_references)
                & (self.scatter <= self.options.max_scatter)
                & (self.c[:, 0] > 0.5)
                & (self.c[:, 0] < 2.0)
            )

    def average(self, *, offsets: bool) -> float:
        """Values from the present zero points; gives the largest change of one.

        An offset's posterior width has a share of its prior's; means and offsets of earlier nights hold.
        """
        rows = self.rows
        mean, weight = np.ones(len(self.value)), np.zeros(len(self.value))
        kernels.in_threads(
            self.pool, kernels.average_units, len(self.value),
            self.unit_starts, self.by_unit, rows.mosaic, rows.source, rows.x, rows.y, rows.flux, rows.noise,
            self.c, self.good, self.value, self.extra, mean, weight, np.zeros(len(self.value), dtype=np.int64),
        )  # fmt: skip
        found = weight > 0
        var = 1.0 / np.where(found, weight, 1.0)
        value = np.maximum(self.value * mean, 1e-9)
        wide = self.pointing_var * (self.n_units > 1)[self.source_of]
        trust = np.where(found, 1.0 / (var + wide), 0.0)
        total = np.bincount(self.source_of, trust, rows.n_sources)
        summed = np.bincount(self.source_of, trust * value, rows.n_sources)
        means = np.where(total > 0, summed / np.where(total > 0, total, 1.0), self.mean)
        mean_var = 1.0 / np.maximum(total, 1e-30)
        if self.known is not None:
            means, mean_var = self._held(means, mean_var)
        # a source in one pointing has its mean; one whose mean is from earlier nights may have an offset in a new one
        several = (self.n_units > 1)[self.source_of] | (self.old[self.source_of] & ~self.frozen)
        own_var = np.where(self.old, mean_var, 0.0)[self.source_of] + self.pointing_var
        share = own_var / (own_var + var)
        offset = np.where(several & found & offsets, (value / means[self.source_of] - 1.0) * share, 0.0)
        offset = self._centred(offset, trust * several)
        limit = _OFFSET_LIMIT * np.sqrt(self.pointing_var)
        values = means[self.source_of] * (1.0 + np.clip(offset, -limit, limit))
        value_var = np.where(several, var * share, 0.0) + mean_var[self.source_of] * ~self.old[self.source_of]
        change = np.where(self.frozen, 0.0, np.abs(values / self.value - 1.0))
        self.mean, self.mean_var = means, mean_var
        self.value = np.where(self.frozen, self.value, values)
        self.value_var = np.where(self.frozen, self.value_var, value_var)
        use = several & found
        if offsets and use.any() and self.known is None:
            spread = np.median(offset[use] ** 2) / 0.455 + np.mean((var * share)[use])
            self.pointing_var = max(float(spread), _LEAST_WIDTH**2)
        return float(np.max(change, initial=0.0))

    def _held(self, mean: Floats, mean_var: Floats) -> tuple[Floats, Floats]:
        """Means with those of the earlier solution in their place."""
        if self.known is None:
            return mean, mean_var
        return np.where(self.old, self.known.mean, mean), np.where(self.old, self.known.mean_var, mean_var)

    def _centred(self, offset: Floats, weight: Floats) -> Floats:
        """Offsets without their mean in each pointing: the mosaics' zero points have that."""
        n = self.rows.n_pointings
        held = np.bincount(self.pointing_of, self.frozen, n) > 0
        total = np.bincount(self.pointing_of, weight, n)
        mean = np.bincount(self.pointing_of, weight * offset, n) / np.where(total > 0, total, 1.0)
        mean[held] = 0.0
        return np.where(weight > 0, offset - mean[self.pointing_of], offset)

    def scatters(self) -> None:
        """Each source's variance beyond its noise, drawn to the population's where epochs are few."""
        rows = self.rows
        found, count = np.full(rows.n_sources, np.nan), np.zeros(rows.n_sources, dtype=np.int64)
        kernels.in_threads(
            self.pool, kernels.extra_scatter, rows.n_sources,
            self.source_starts, self.by_source, rows.mosaic, self.unit, rows.source, rows.x, rows.y, rows.flux,
            rows.noise, self.c, self.cov, self.good, self.value, self.extra, self.n_units, found, count,
        )  # fmt: skip
        known = np.isfinite(found)
        usual = float(np.median(found[known])) if known.any() else 0.005**2
        own = np.where(known, found, usual)
        drawn = (count * own + _SHRINK * usual) / (count + _SHRINK)
        self.extra = np.where(self.old, self.extra, np.maximum(drawn, _LEAST_EXTRA))

    def widths(self) -> None:
        """Variance of the field's terms over the good mosaics."""
        if self.good.any() and self.known is None:
            c, cov = self.c[self.good], self.cov[self.good]
            spread = np.mean(c**2, axis=0) + np.mean(np.diagonal(cov, axis1=1, axis2=2), axis=0)
            self.prior_var[1:] = np.maximum(spread[1:], _LEAST_WIDTH**2)


def solve(
    rows: Rows, options: VariabilityOptions, known: Known | None = None, *, threads: int = 1
) -> Ensemble:
    """Solve for zero points and means.

    Parameters
    ----------
    rows : Rows
        Clean measurements of the references.
    options : VariabilityOptions
        How few references are too few, and how bad a mosaic may fit.
    known : Known, optional
        An earlier solution: its means hold, and only the mosaics (and new pointings) are solved for.
    threads : int
        Threads to keep busy.

    Returns
    -------
    Ensemble
    """
    with ThreadPoolExecutor(threads) as pool:
        at = _Solution(rows, options, known, pool)
        rounds = _iterate(at)
    log.info("ensemble: %d mosaics, %d references, %d rounds", rows.n_mosaics, rows.n_sources, rounds)
    shape = (rows.n_sources, rows.n_pointings)
    value, value_var = np.full(shape, np.nan), np.full(shape, np.nan)
    value[at.source_of, at.pointing_of] = at.value
    value_var[at.source_of, at.pointing_of] = at.value_var
    return Ensemble(
        c=at.c,
        cov=at.cov,
        n_used=at.n_used,
        scatter=at.scatter,
        good=at.good,
        reasons=[_reason(at, j, options) for j in range(rows.n_mosaics)],
        value=value,
        value_var=value_var,
        mean=at.mean,
        mean_var=at.mean_var,
        extra=at.extra,
        prior_var=at.prior_var,
        pointing_var=at.pointing_var,
        iterations=rounds,
    )


def _iterate(at: _Solution) -> int:
    """Mosaics and sources in turn until the means stand still; gives how many rounds that took."""
    rounds = 0
    for rounds in range(1, MAX_ITERATIONS + 1):
        at.fit_mosaics(with_means=at.known is not None)
        change = at.average(offsets=rounds > 3)
        if rounds > 1:
            at.scatters()
            at.widths()
        if rounds > 6 and change < CONVERGED:
            break
    at.fit_mosaics(with_means=True)
    return rounds


def _reason(at: _Solution, j: int, options: VariabilityOptions) -> str:
    """Why a mosaic has no zero point; "" if it has one."""
    if at.good[j]:
        return ""
    if at.n_used[j] < options.min_references:
        return f"{at.n_used[j]} references, fewer than min_references {options.min_references}"
    if not 0.5 < at.c[j, 0] < 2.0:
        return f"zero point {at.c[j, 0]:.2f} is not within 0.5 to 2"
    limit = f"max_scatter {options.max_scatter:g}"
    return f"references scatter by {at.scatter[j]:.1f} times their errors, more than {limit}"
