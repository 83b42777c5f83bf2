"""Fluxes on the common scale: zero points applied, offsets of pointings, full errors, which points count.

The error of a normalised flux F is sqrt((s σ / z)² + (a₀² + a₁² q⁴) F² + (σ_z / z)² F²): noise, what calibration and
beam leave at a distance q from the beam's centre (in units of its half-power radius, nominally), and the zero point.
s, a₀ and a₁ are those of the constant population (`contimg.variability.error_model`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from contimg.core.constants import EARTH_TURNS_AT_J2000, EARTH_TURNS_PER_DAY, MJD_J2000
from contimg.photometry.table import UNRELIABLE
from contimg.variability import ensemble_kernels as kernels
from contimg.variability.ensemble import Ensemble, Flags
from contimg.variability.ensemble_kernels import Floats, Ints

SITE_LONGITUDE_DEG = -118.2830
BEAM_RADIUS_DEG = 1.35
"""Half-power radius of the beam at mid-band, that beam distances are counted in."""
UNRELIABLE_BITS = int(UNRELIABLE)


@dataclass(frozen=True)
class ErrorModel:
    """Factor of the noise and fractions of the flux that make errors true.

    Attributes
    ----------
    noise_factor : float
        s: the true noise over the stated one.
    residual, residual_edge : float
        a₀, a₁: what calibration leaves, at the beam's centre and what it grows by at the half-power radius.
    n_sources : int
        Sources that it was fitted to; 0: not fitted.
    """

    noise_factor: float = 1.0
    residual: float = 0.0
    residual_edge: float = 0.0
    n_sources: int = 0

    def variance(self, noise: Floats, flux: Floats, distance_deg: Floats) -> Floats:
        """Variance of fluxes (Jy²) without that of their zero points."""
        share = self.residual**2 + self.residual_edge**2 * (distance_deg / BEAM_RADIUS_DEG) ** 4
        variance: Floats = (self.noise_factor * noise) ** 2 + share * flux**2
        return variance


@dataclass(frozen=True)
class Points:
    """Measurements, sorted by source and time: those of source s are ``starts[s]:starts[s + 1]``.

    Attributes
    ----------
    starts : array (n_sources + 1,) of int
    reference : array (n_sources,) of int
        Which reference of the ensemble each source is; -1: none.
    ra_deg : array (n_sources,)
    known_flux : array (n_sources,)
        Median flux (Jy) from earlier nights, NaN where there is none.
    mosaic, pointing : array (n,) of int
    x, y : array (n,)
        Place in the mosaic, -1 to 1.
    mjd, flux, flux_err, noise, distance_deg : array (n,)
        As measured.
    flags : array (n,) of int
    """

    starts: Ints
    reference: Ints
    ra_deg: Floats
    known_flux: Floats
    mosaic: Ints
    pointing: Ints
    x: Floats
    y: Floats
    mjd: Floats
    flux: Floats
    flux_err: Floats
    noise: Floats
    distance_deg: Floats
    flags: Ints


@dataclass(frozen=True)
class Normalised:
    """What `normalise` adds to measurements, and what it learned of each source in each pointing.

    Attributes
    ----------
    epoch : array (n,) of int
    flux, error, zero_point, zero_point_err : array (n,)
    normalised, used : array (n,) of bool
    unit_value, unit_weight : array (n_sources, n_pointings)
        Weighted mean flux (Jy) of each source in each pointing before its offset, and 1 / variance of that as a
        fraction; weight 0 where there is none.
    offset, offset_var : array (n_sources, n_pointings)
        Offsets of a source's flux in a pointing, as a fraction, and their variance.
    """

    epoch: Ints
    flux: Floats
    error: Floats
    zero_point: Floats
    zero_point_err: Floats
    normalised: Flags
    used: Flags
    unit_value: Floats
    unit_weight: Floats
    offset: Floats
    offset_var: Floats


@dataclass(frozen=True)
class Units:
    """What earlier nights know of sources in pointings, arrays (n_sources, n_pointings) as in `Normalised`.

    A pointing is `held` where its offset is known: NaN elsewhere.
    """

    value: Floats
    weight: Floats
    offset: Floats
    offset_var: Floats


def epochs(mjd: Floats, ra_deg: Floats) -> Ints:
    """Number of the transit nearest to each time, in sidereal days since 2000-01-01: one a day for each source.

    Parameters
    ----------
    mjd : array (n,)
        MJD UTC.
    ra_deg : array (n,)
        Right ascensions of the sources.
    """
    turns = EARTH_TURNS_AT_J2000 + EARTH_TURNS_PER_DAY * (mjd - MJD_J2000)  # Earth rotation angle, IAU 2000
    number: Ints = np.floor(turns + (SITE_LONGITUDE_DEG - ra_deg) / 360.0 + 0.5).astype(np.int64)
    return number


def normalise(
    points: Points, ensemble: Ensemble, model: ErrorModel, known: Units | None = None
) -> Normalised:
    """Put measurements on the common scale.

    Parameters
    ----------
    points : Points
        Whole light curves of some sources.
    ensemble : Ensemble
        Zero points of their mosaics.
    model : ErrorModel
        Of the errors.
    known : Units, optional
        Offsets and means from earlier nights.

    Returns
    -------
    Normalised
    """
    n, n_sources = len(points.mosaic), len(points.starts) - 1
    source = np.repeat(np.arange(n_sources), np.diff(points.starts))
    clean = (points.flags & UNRELIABLE_BITS) == 0
    clean &= np.isfinite(points.flux) & np.isfinite(points.noise) & (points.noise > 0)
    n_pointings = ensemble.value.shape[1]
    reference = points.reference[source]
    unit = np.where(reference >= 0, reference * n_pointings + points.pointing, -1)
    value, value_var = ensemble.value.ravel(), ensemble.value_var.ravel()
    unit = np.where((unit >= 0) & np.isfinite(value[unit]), unit, -1)
    gain, gain_var = np.ones(n), np.zeros(n)
    kernels.zero_points(
        points.mosaic, unit, np.maximum(reference, 0), clean, points.x, points.y, points.flux, points.noise,
        ensemble.c, ensemble.cov, value, value_var, ensemble.extra, gain, gain_var,
    )  # fmt: skip
    good = ensemble.good[points.mosaic] & (gain > 0.05)
    gain, gain_var = np.where(good, gain, 1.0), np.where(good, gain_var, 0.0)
    use = good & clean
    level = np.where(
        np.isfinite(points.known_flux), points.known_flux, medians(points.starts, points.flux / gain, use)
    )
    units = _offsets(points, gain, use, model, level, ensemble, known)
    unit_value, unit_weight, offset, offset_var = units
    factor = 1.0 + offset[source, points.pointing] * good
    zero = gain * factor
    flux = points.flux / zero
    zero_var = gain_var / gain**2 + np.where(good, offset_var[source, points.pointing], 0.0)
    # a point's own noise must not set its calibration error: that of faint sources would go with the sign of the noise
    near = np.abs(flux - level[source]) < 5.0 * model.noise_factor * points.noise / gain
    at = np.where(near & np.isfinite(level[source]), level[source], flux)
    variance = model.variance(points.noise / zero, at, points.distance_deg) + zero_var * at**2
    error = np.where(good, np.sqrt(variance), points.flux_err)
    epoch = epochs(points.mjd, points.ra_deg[source])
    used = np.zeros(n, dtype=bool)
    choose(points.starts, epoch, error, use & np.isfinite(error), used)
    return Normalised(
        epoch=epoch,
        flux=flux,
        error=error,
        zero_point=np.where(good, zero, np.nan),
        zero_point_err=np.where(good, zero * np.sqrt(zero_var), np.nan),
        normalised=good,
        used=used,
        unit_value=unit_value,
        unit_weight=unit_weight,
        offset=offset,
        offset_var=offset_var,
    )


def _offsets(
    points: Points,
    gain: Floats,
    use: Flags,
    model: ErrorModel,
    level: Floats,
    ensemble: Ensemble,
    known: Units | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Means and offsets of each source in each pointing (see `Normalised`); earlier ones hold."""
    n_sources = len(points.starts) - 1
    n_pointings, pointing_var = ensemble.value.shape[1], ensemble.pointing_var
    source = np.repeat(np.arange(n_sources), np.diff(points.starts))
    scale = np.maximum(np.abs(level), 1e-6)
    share = (
        np.maximum(model.residual, 2e-3) ** 2
        + model.residual_edge**2 * (points.distance_deg / BEAM_RADIUS_DEG) ** 4
    )
    variance = (model.noise_factor * points.noise / gain / scale[source]) ** 2 + share
    value, weight = np.zeros((n_sources, n_pointings)), np.zeros((n_sources, n_pointings))
    weighted_means(
        points.starts, points.pointing, points.flux / gain / scale[source], variance, use, value, weight
    )
    value *= scale[:, None]
    offset, offset_var = np.zeros((n_sources, n_pointings)), np.zeros((n_sources, n_pointings))
    if known is not None:
        old = known.weight > 0
        value, weight = np.where(old, known.value, value), np.where(old, known.weight, weight)
    if n_pointings == 1:
        return value, weight, offset, offset_var
    found = weight > 0
    var = 1.0 / np.where(found, weight, 1.0)
    trust = np.where(found, 1.0 / (var + pointing_var), 0.0)
    total = np.maximum(trust.sum(axis=1), 1e-30)
    mean = (trust * value).sum(axis=1) / total
    several = found & (found.sum(axis=1) > 1)[:, None] & (mean > 0)[:, None]
    # a faint source says nothing of its offset: it keeps none, and the population's width as its error
    raw = np.where(several, value / np.where(mean > 0, mean, 1.0)[:, None] - 1.0, 0.0)
    limit = 4.0 * np.sqrt(pointing_var)
    offset = np.clip(raw * pointing_var / (pointing_var + var), -limit, limit)
    offset_var = np.where(several, pointing_var * var / (pointing_var + var), 0.0)
    if known is not None:
        held = np.isfinite(known.offset)
        offset, offset_var = (
            np.where(held, known.offset, offset),
            np.where(held, known.offset_var, offset_var),
        )
    return value, weight, offset, offset_var


@numba.njit(cache=True, nogil=True)
def weighted_means(
    starts: Ints, pointing: Ints, z: Floats, variance: Floats, use: Flags, value: Floats, weight: Floats
) -> None:
    """Robust weighted mean of each source in each pointing, and 1 / its variance; weights as in the ensemble."""
    n_pointings = value.shape[1]
    for s in range(len(starts) - 1):
        centre = np.ones(n_pointings)
        for _ in range(3):
            total, weights = np.zeros(n_pointings), np.zeros(n_pointings)
            for r in range(starts[s], starts[s + 1]):
                if use[r]:
                    p = pointing[r]
                    size = abs(z[r] - centre[p]) / np.sqrt(variance[r])
                    w = 1.0 / variance[r] if size <= kernels.HUBER else kernels.HUBER / size / variance[r]
                    total[p] += w * z[r]
                    weights[p] += w
            for p in range(n_pointings):
                if weights[p] > 0:
                    centre[p] = total[p] / weights[p]
        for p in range(n_pointings):
            value[s, p] = centre[p]
            weight[s, p] = weights[p]


@numba.njit(cache=True, nogil=True)
def medians(starts: Ints, values: Floats, use: Flags) -> Floats:
    """Median of the values in use of each source; NaN without any."""
    found = np.full(len(starts) - 1, np.nan)
    for s in range(len(starts) - 1):
        some = values[starts[s] : starts[s + 1]][use[starts[s] : starts[s + 1]]]
        if len(some):
            found[s] = np.median(some)
    return found


@numba.njit(cache=True, nogil=True)
def choose(starts: Ints, epoch: Ints, error: Floats, use: Flags, used: npt.NDArray[np.bool_]) -> None:
    """Mark the measurement of least error of each source's epochs: overlapping windows of a day are one epoch."""
    for s in range(len(starts) - 1):
        best = -1
        for r in range(starts[s], starts[s + 1]):
            if not use[r]:
                continue
            if best >= 0 and epoch[r] == epoch[best]:
                if error[r] < error[best]:
                    used[best] = False
                    used[r] = True
                    best = r
                continue
            used[r] = True
            best = r
