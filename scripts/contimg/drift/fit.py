"""Fluxes, slopes, places and sizes of sources, fitted to the visibilities through the drifting beam.

With m what a source of 1 Jy shows (`contimg.drift.predict`), S its flux and D = S (α - α₀), both linear,

    V = S m (ν/ν₀)^α₀ + D m (ν/ν₀)^α₀ ln(ν/ν₀);   place: m 2πi ν (∂τ₁ - ∂τ₂), of flux times displacement (radians).

Gauss-Newton, exact gradient and approximate normal matrix: x ← x + (H̃ + C)⁻¹ Aᵀ W (d - V(x)), H̃ ≈ Aᵀ W A from a random
sample of the data, whose cost `contimg.drift.normal.DESIGN_FLOPS` bounds, C the curvature of the model at the places of
the sources, once it is near. Where it ends depends on neither.
Errors: the diagonal of H̃⁻¹ times the residuals' variance over the promised one; what calibration and the beam's model
do stands beside them (`contimg.drift.systematic`).

Which parameters are free, what counts as bad data, how errors hold: docs/drift.md, "The fit". References: Nocedal &
Wright (2006), sections 10.2 and 10.3 (Gauss-Newton); Huber & Ronchetti (2009), section 7 (robust scale).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg
from threadpoolctl import threadpool_limits

from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import InputError
from contimg.drift.budget import Budget
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.normal import EAST, FLUX, NORTH, SLOPE, Limits, Problem, Sweep, block_edges, curvature
from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.size import RESOLVED_SIGMA, fitted_sizes
from contimg.drift.state import FitOptions, State
from contimg.drift.systematic import relative_error
from contimg.drift.taken import taken
from contimg.ms.sets import read_meta
from contimg.telescope.beam import PowerBeam

Array = NDArray[Any]
logger = logging.getLogger(__name__)
WORST_CONDITION = 1e-7
"""Combinations of parameters with a smaller eigenvalue than this part of the largest are left as they are."""
SIZE_ROUNDS = 3
"""How often sources that turned out to be no points are given a size: a bright one hides what a faint one is."""
COARSE = 50.0
"""How much more than usual bad data must stand out while the model is far off: a bright source whose place is wrong
by an arcsecond leaves ten times the noise on the longest baselines, which tell where it is."""
SETTLED_SIGMA = 30.0
"""The model is near when no step is larger than this times its error."""
BENT_SIGMA = 1.0
"""With a Gaussian in the model the normal matrix is made anew after a step of more than this times its error: what a
visibility says of a size depends on the size."""
BENT_SHIFT = 0.2
"""The same after a place has moved by more than this part of the scale over which its fringes stay together: sources
beside each other couple otherwise then."""
SETTLED_WIDE_SIGMA = 3.0
"""The same with a Gaussian in the model: what a wrong size leaves of a bright one on the short baselines, which tell
how large it is, stands out like bad data."""


@dataclass(frozen=True)
class Fit:
    """What was fitted.

    Attributes
    ----------
    table : DataFrame
        One row a source, in the order given; see `fit`.
    covariance : ndarray, (nsrc, nsrc)
        Of the fluxes, Jy².
    chi2, n_visibilities : float, int
        Σ w |r|² of the visibilities that were used, and their number: two real numbers each.
    noise_scale : float
        Variance of the residuals over what the weights promise.
    clipped_fraction : float
        Of the visibilities with weight.
    passes : int
    converged : bool
    stopped : str
        Why it ended before it should have: its budget was spent. Empty where it did not.
    neighbour_noise : float
        Median factor by which errors were widened for sources in no model (`contimg.drift.neighbours`).
    taken : float
        Part of a faint source, and of the variance of the noise, that the parameters take up (`contimg.drift.taken`);
        0 where it was not asked for.
    """

    table: pd.DataFrame
    covariance: Array
    chi2: float
    n_visibilities: int
    noise_scale: float
    clipped_fraction: float
    passes: int
    converged: bool
    stopped: str = ""
    neighbour_noise: float = 1.0
    taken: float = 0.0

    @property
    def gain(self) -> float:
        """What residuals are multiplied by, so that sources in no model have their flux."""
        return 1.0 / (1.0 - self.taken)

    @property
    def n_resolved(self) -> int:
        """Sources that are no points."""
        return int(self.table["flags"].str.contains("resolved", regex=False).sum())

    def summary(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "n_sources": len(self.table),
            "n_resolved": self.n_resolved,
            "chi2_reduced": self.chi2 / max(2 * self.n_visibilities - 1, 1),
            "n_visibilities": self.n_visibilities,
            "noise_scale": self.noise_scale,
            "clipped_fraction": self.clipped_fraction,
            "passes": self.passes,
            "converged": self.converged,
            "stopped": self.stopped,
            "neighbour_noise": self.neighbour_noise,
            "taken": self.taken,
        }


def fit(
    ms: Path,
    sources: pd.DataFrame,
    *,
    beam: PowerBeam | None,
    freq_average: int = 1,
    options: FitOptions | None = None,
    threads: int = 1,
) -> Fit:
    """Fit sources to a calibrated Measurement Set, which is only read.

    Parameters
    ----------
    ms
        As `contimg.gains.apply` writes it.
    sources
        Columns ``ra_deg, dec_deg`` (ICRS) and, where known, ``name, flux_jy`` (at 1.4 GHz), ``spectral_index``. Fluxes
        are only where the iteration starts; spectral indices and places are held for faint sources. Sources with
        ``major_arcsec, minor_arcsec, angle_deg`` are Gaussians, which is where their shape starts.
    beam
        Power pattern of a dish; None: no beam.
    freq_average
        Raw channels that were averaged into each channel of the set.
    options
        How; the defaults if left out.
    threads
        For the compiled loops.

    Returns
    -------
    Fit
        Its table has the columns ``name, ra_deg, dec_deg, ra_err_arcsec, dec_err_arcsec`` (on the sky; NaN: held),
        ``flux_jy, flux_err_jy, cal_err_jy`` (at 1.4 GHz, beam taken out; errors from noise, and from gains and the
        beam's model), ``spectral_index, spectral_index_err`` (NaN: held),
        ``band_slope, band_slope_err, band_score`` (spectral index that the band tells, free or held, of sources above
        `FitOptions.band_snr`, else NaN; by how many errors it is off the one that was held), ``band1_hz, band1_jy,
        band1_err_jy`` to ``band4_…`` (flux of the same sources in four parts of the band, their middles), ``snr``,
        ``beam`` (mean power over the weights of the data), ``chi2`` (reduced) and ``chi2_dof`` of the
        residual at the source's place in cells of time, baseline length and frequency, ``major_arcsec, minor_arcsec,
        angle_deg`` (of the Gaussian that was fitted; 0: a point), ``fwhm_arcsec`` (√((major² + minor²) / 2); of a point
        the circular Gaussian that its residuals suggest, see `contimg.drift.size`), ``fwhm_err_arcsec`` (NaN: a point,
        or as narrow as can be told) and ``flags``: "" or, with commas,
        "blended" (its flux is correlated with another's by more than half), "moved" (its fit ran more than a beam
        away, so the place was held), "resolved" (it is no point, and was fitted as a Gaussian).

    Raises
    ------
    InputError
        The table has no source, or lacks columns or positions.
    Rejected
        There are no data.
    """
    options = options or FitOptions()
    array = DriftArray(read_meta(ms), beam=beam, freq_average=freq_average)
    with StokesI(ms, uvmin_klambda=options.uvmin_klambda, uv_m=array.uv_m()) as data:
        return fit_data(data, array, sources, options=options, threads=threads)


def fit_data(
    data: StokesI | AveragedI,
    array: DriftArray,
    sources: pd.DataFrame,
    *,
    options: FitOptions,
    budget: Budget | None = None,
    near: bool = False,
    threads: int = 1,
) -> Fit:
    """Fit sources to visibilities at hand; `array` is made from their `meta`, the rest is as for `fit`.

    `FitOptions.uvmin_klambda` is the business of who made `data`. Where a `budget` is spent, the fit ends after the
    pass it is in, with what it has. `near`: the sources are as an earlier fit to these data left them, ``snr`` too,
    but for faint ones; so nothing is fitted in fluxes alone first, and bad data stand out from the first pass on.
    """
    budget = budget or Budget()
    start = PointSources.from_table(sources, default_index=options.default_index)
    if len(start) == 0:
        raise InputError("no source to fit; give a table with at least one row")
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    # a second BLAS thread waits for cores that the compiled loops' threads hold: ten times slower
    with threadpool_limits(limits=1, user_api="blas"):
        problem = Problem(data, array)
        state = State.begin(start, sources["snr"].to_numpy(dtype=float) if near else None)
        rounds, passes = 0, 0
        while True:
            sweep, limits, made, converged = _iterate(problem, state, options, budget, near and not rounds)
            passes += made
            left = _left(problem, state, sweep, limits)
            new = left.resolved & state.may_widen & (state.snr >= options.shape_snr)
            trace = state.sources.widths[:, 0] + state.sources.widths[:, 2]
            doubtful = trace < RESOLVED_SIGMA * np.sqrt(np.maximum(left.reduced, 1.0)) * state.trace_errors()
            stopped = budget.used_up()
            if not (new | doubtful).any() or rounds == SIZE_ROUNDS or stopped:
                found = _report(problem, state, sweep, left, passes, converged, options.band_snr)
                inverse = state.covariance / sweep.scale()
                part = taken(problem, state.sources, *state.parameters, inverse, options.probes)
                return replace(found, stopped="" if converged else stopped, taken=part)
            rounds += 1
            state.flatten(doubtful)
            state.widen(new, left.fwhm_arcsec)


def _iterate(
    problem: Problem, state: State, options: FitOptions, budget: Budget, near: bool
) -> tuple[Sweep, Limits, int, bool]:
    """Gauss-Newton passes until no parameter moves; returns the last pass and the limits it used."""
    clip = options.clip_sigma, options.clip_row_sigma
    view = problem.array.view(state.sources)
    few = max(1, problem.array.meta.n_times // 4)
    coarse, kept, largest, at = not near, 0.0, np.inf, state.sources
    limits = problem.sweep(view, Limits(), every=few).limits(*clip, COARSE if coarse else 1.0)
    inverse: Array | None = None
    for number in range(1, options.max_passes + 1):
        parameters = state.free(options, flux_only=number == 1 and not near)
        source, kind = parameters
        view = problem.array.view(state.sources)
        sweep = problem.sweep(view, limits, places=bool((kind >= EAST).any()))
        budget.spend(len(state.sources))
        same = all(np.array_equal(*pair) for pair in zip(parameters, state.parameters, strict=True))
        share = float(sweep.count[sweep.used].sum())
        bent = (state.wide.any() and largest > BENT_SIGMA) or state.shift(at) > BENT_SHIFT
        if inverse is None or not same or bent or abs(share - kept) > 0.01 * share:
            state.parameters, kept, at = parameters, share, state.sources
            normal = problem.normal_matrix(view, source, kind, sweep.used)
            inverse = _inverse(normal)
        state.covariance = inverse * sweep.scale()
        to_step = inverse
        if not coarse:
            more = curvature(normal, sweep.gradient, state.sources.flux_jy, source, kind)
            to_step = _inverse(normal + more)
        step = to_step @ sweep.gradient[source, kind]
        error = np.sqrt(np.diag(state.covariance))
        largest = float(np.max(np.abs(step) / error))
        n_src = len(state.sources)
        state.snr = (state.sources.flux_jy + step[:n_src]) / error[:n_src]
        state.move(step)
        logger.info("pass %d: %d parameters, largest step %.3g of its error", number, len(step), largest)
        if not coarse and number > (1 if near else 2) and largest < options.converged_sigma:
            return sweep, limits, number, True
        last = limits
        if budget.used_up():
            return sweep, last, number, False
        settled = SETTLED_WIDE_SIGMA if state.wide.any() else SETTLED_SIGMA
        coarse = coarse and (number == 1 or largest > settled)
        limits = sweep.limits(*clip, COARSE if coarse else 1.0)
    return sweep, last, options.max_passes, False


def _inverse(normal: Array) -> Array:
    """Inverse of a symmetric matrix after scaling to a unit diagonal, without what the data do not determine."""
    size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    value, vector = linalg.eigh(normal / np.outer(size, size))
    inverse = np.where(value > WORST_CONDITION * value[-1], 1.0 / np.maximum(value, 1e-300), 0.0)
    return (vector * inverse) @ vector.T / np.outer(size, size)


@dataclass(frozen=True)
class _Left:
    """What is left at the sources' places after a fit; one entry a source but for the last two."""

    reduced: Array  # χ²
    dof: Array
    fwhm_arcsec: Array
    resolved: Array
    along: (
        Array  # (nsrc, CHANNEL_BLOCKS): flux that each part of the band has beyond the model, Jy at 1.4 GHz
    )
    along_err: Array
    weights: Array  # (nt, nchan), of the data that were used
    total: float  # χ² of all of them


def _left(problem: Problem, state: State, sweep: Sweep, limits: Limits) -> _Left:
    """Go through the residuals once more for the χ² and the size of each source."""
    cells, weights, total = problem.residuals(problem.array.view(state.sources), limits, sweep.used)
    scale = sweep.scale()
    source, _ = state.parameters
    squares = np.divide(
        (cells[..., :2] ** 2).sum(axis=-1),
        cells[..., 2] * scale,
        out=np.zeros(cells.shape[:-1]),
        where=cells[..., 2] > 0,
    )
    dof = 2 * (cells[..., 2] > 0).sum(axis=(1, 2, 3)) - np.bincount(source, minlength=len(state.sources))
    reduced = squares.sum(axis=(1, 2, 3)) / np.maximum(dof, 1)
    size, resolved = fitted_sizes(state.sources.flux_jy, cells, problem.uv_squared(), scale, reduced)
    parts = cells[..., [0, 2]].sum(axis=(1, 2))  # (nsrc, nchannel, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        along, error = parts[..., 0] / parts[..., 1], np.sqrt(scale / parts[..., 1])
    return _Left(reduced, dof, size, resolved, along, error, weights, total)


def _band_fluxes(problem: Problem, state: State, left: _Left, least_snr: float) -> pd.DataFrame:
    """Flux in each part of the band of the sources above a S/N, NaN for the others.

    The model's flux and what the residual has at the source's place in that part alone, other sources as they were
    fitted: a spectrum that is no power law, or a slope that was held, shows.
    """
    channels = np.array_split(problem.array.freq_hz, block_edges(len(problem.array.freq_hz))[1:-1])
    wanted = state.snr >= least_snr
    found: dict[str, Array] = {}
    for k, own in enumerate(channels):
        hz = float(np.mean(own)) if len(own) else np.nan
        factor = np.where(wanted, (hz / REFERENCE_HZ) ** state.sources.spectral_index, np.nan)
        found[f"band{k + 1}_hz"] = np.full(len(wanted), hz)
        found[f"band{k + 1}_jy"] = factor * (state.sources.flux_jy + left.along[:, k])
        found[f"band{k + 1}_err_jy"] = factor * left.along_err[:, k]
    return pd.DataFrame(found)


def _band_slopes(problem: Problem, state: State, sweep: Sweep, least_snr: float) -> pd.DataFrame:
    """What the band says of the slopes of the sources above a S/N, (nsrc,), NaN for the others.

    Of a slope that was held it is the Gauss-Newton step that a free one would take from where the fit came to rest,
    all other free parameters with it: to first order the same slope and error, for one normal matrix more.
    """
    table = pd.DataFrame(
        np.nan, index=range(len(state.sources)), columns=["band_slope", "band_slope_err", "band_score"]
    )
    wanted = state.snr >= least_snr
    source, kind = state.parameters
    held = np.flatnonzero(wanted & ~np.isin(np.arange(len(wanted)), source[kind == SLOPE]))
    if not wanted.any():
        return table
    covariance, step = state.covariance, np.zeros(len(source))
    if len(held):
        source, kind = np.append(source, held), np.append(kind, np.full(len(held), SLOPE))
        view = problem.array.view(state.sources)
        inverse = _inverse(problem.normal_matrix(view, source, kind, sweep.used))
        step = inverse @ sweep.gradient[source, kind]
        covariance = inverse * sweep.scale()
    slopes = np.flatnonzero((kind == SLOPE) & wanted[source])
    of, flux = source[slopes], np.maximum(state.sources.flux_jy[source[slopes]], 1e-12)
    error = np.sqrt(np.diag(covariance)[slopes])
    change = np.where(np.isin(of, held), step[slopes], 0.0)
    table.loc[of, "band_slope"] = state.sources.spectral_index[of] + change / flux
    table.loc[of, "band_slope_err"] = error / flux
    table.loc[of, "band_score"] = change / error
    return table


def _report(
    problem: Problem,
    state: State,
    sweep: Sweep,
    left: _Left,
    passes: int,
    converged: bool,
    band_snr: float,
) -> Fit:
    """Tabulate the fit."""
    sources, n_src = state.sources, len(state.sources)
    flux_error = state.errors(FLUX)
    table = sources.to_table()
    flux = np.maximum(sources.flux_jy, 1e-12)
    place_error = [np.where(state.hold_place, np.nan, state.errors(k)) / flux for k in (EAST, NORTH)]
    table.insert(3, "ra_err_arcsec", np.degrees(place_error[0]) * 3600.0)
    table.insert(4, "dec_err_arcsec", np.degrees(place_error[1]) * 3600.0)
    table.insert(6, "flux_err_jy", flux_error)
    table["spectral_index_err"] = state.errors(SLOPE) / flux
    table["snr"] = sources.flux_jy / flux_error
    power = problem.array.power(sources.ra_rad, sources.dec_rad)
    table["beam"] = np.einsum("stc,tc->s", power, left.weights) / left.weights.sum()
    cal_error = relative_error(table["beam"]) * np.abs(sources.flux_jy)
    table.insert(7, "cal_err_jy", cal_error)
    table["chi2"] = left.reduced
    table["chi2_dof"] = left.dof
    table = table.join(_band_slopes(problem, state, sweep, band_snr))
    table = table.join(_band_fluxes(problem, state, left, band_snr))
    covariance = state.covariance[:n_src, :n_src]
    table["fwhm_arcsec"] = np.where(
        state.wide, np.hypot(table["major_arcsec"], table["minor_arcsec"]) / np.sqrt(2), left.fwhm_arcsec
    )
    arcsec2 = np.degrees(3600.0) ** 2
    table["fwhm_err_arcsec"] = (
        state.trace_errors() * arcsec2 / (4.0 * np.maximum(table["fwhm_arcsec"], 1e-12))
    )
    correlation = np.abs(covariance / np.outer(flux_error, flux_error)) - np.eye(n_src)
    blended = correlation.max(axis=1) > 0.5
    table["flags"] = [
        ",".join(word for word, set_ in (("blended", b), ("moved", m), ("resolved", r)) if set_)
        for b, m, r in zip(blended, state.hold_place, state.wide, strict=True)
    ]
    weighted = problem.count_weighted()
    return Fit(
        table=table,
        covariance=covariance,
        chi2=left.total,
        n_visibilities=int(sweep.count[sweep.used].sum()),
        noise_scale=sweep.scale(),
        clipped_fraction=1.0 - int(sweep.count[sweep.used].sum()) / max(weighted, 1),
        passes=passes,
        converged=converged,
    )
