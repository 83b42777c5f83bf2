"""Width, squint and pointing of the beam: from the drift of the calibrator, and from the fluxes of a field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.firstlight.fringes import GROUPS, Solved
from contimg.firstlight.piece import Array, sky_of
from contimg.telescope.beam import airy_power
from contimg.telescope.geometry import hour_angle_dec, location

HALF_POWER = 1.029
"""Full width at half power of the Airy pattern in λ / D."""


@dataclass(frozen=True)
class Drift:
    """The beam as one source crosses it, X and Y: angles in degrees on the sky, west positive.

    Attributes
    ----------
    west_deg, west_err_deg : ndarray, (2,)
        Where the beams of X and Y point.
    diameter_m, diameter_err_m : float
        Of the Airy beam that fits both.
    """

    west_deg: Array
    west_err_deg: Array
    diameter_m: float
    diameter_err_m: float


def drift(solved: list[Solved], ra_deg: float, dec_deg: float, start_m: float) -> Drift:
    """Fit f(t) of all subbands with Airy beams of one diameter; what the declination adds is taken as stated.

    Neighbours beat with the source slowly: errors are those of leaving groups of baselines out in turn (jackknife).
    """
    fitted = _drift(solved, ra_deg, dec_deg, start_m)
    less = np.array(
        [_drift([part.without(k) for part in solved], ra_deg, dec_deg, fitted[2]) for k in range(GROUPS)]
    )
    error = np.sqrt((GROUPS - 1) / GROUPS * np.sum((less - less.mean(axis=0)) ** 2, axis=0))
    return Drift(np.degrees(fitted[:2]), np.degrees(error[:2]), float(fitted[2]), float(error[2]))


def _drift(solved: list[Solved], ra_deg: float, dec_deg: float, start_m: float) -> Array:
    """Where X and Y point (rad west) and the diameter (m)."""
    from scipy.optimize import least_squares

    times: list[Array] = []
    freqs: list[Array] = []
    flux: list[Array] = []
    error: list[Array] = []
    hands: list[Array] = []
    for part in solved:
        for hand in (0, 1):
            times.append(part.piece.times_jd)
            freqs.append(np.full(len(part.flux), part.piece.freq_hz.mean()))
            flux.append(part.flux[:, hand])
            error.append(part.flux_err[:, hand])
            hands.append(np.full(len(part.flux), hand + 2 * len(flux)))
    piece = solved[0].piece
    jd, freq, y, sigma, which = (np.concatenate(values) for values in (times, freqs, flux, error, hands))
    ha, dec = hour_angle_dec(np.radians(ra_deg), np.radians(dec_deg), jd, location(*piece.site))
    west, north = ha[0] * np.cos(dec[0]), dec[0] - piece.dec_rad
    series = np.unique(which, return_inverse=True)[1]
    is_x = which % 2 == 0

    def left(values: Array) -> Array:
        centre = np.where(is_x, values[0], values[1])
        power = airy_power(np.hypot(west - centre, north), freq, max(values[2], 0.5))
        # the mean of each series is 1 by its own gains
        mean = np.bincount(series, power) / np.bincount(series)
        level = np.bincount(series, y) / np.bincount(series)
        return np.asarray((y - level[series] * power / mean[series]) / sigma)

    fit = least_squares(left, np.array([0.0, 0.0, start_m]), x_scale=[1e-3, 1e-3, 0.1])
    return np.asarray(fit.x)


@dataclass(frozen=True)
class FieldBeam:
    """The beam by the fluxes of a field's sources against a catalogue; deg, west and north positive."""

    west_deg: float
    west_err_deg: float
    north_deg: float
    north_err_deg: float
    diameter_m: float
    diameter_err_m: float
    n_sources: int


def field_beam(
    solved: list[Solved], calibrator: tuple[float, float], sources: pd.DataFrame, start_m: float
) -> FieldBeam | None:
    """Fit all sources' apparent fluxes to the visibilities at once, then pointing and width to the fluxes.

    Parameters
    ----------
    solved
        Subbands whose antennas are solved.
    calibrator
        ICRS place (deg) of the source that they are solved on.
    sources
        `ra_deg, dec_deg, flux_jy, spectral_index`; the calibrator among them, first.
    start_m
        Diameter to begin with.

    Returns
    -------
    FieldBeam or None
        None with fewer than 6 sources above 8 of their errors.
    """
    from scipy.optimize import least_squares

    fluxes, errors, separations = [], [], []
    for part in solved:
        flux, error, west, north = _fluxes(part, calibrator, sources)
        fluxes.append(flux)
        errors.append(error)
        separations.append((west, north, part.piece.freq_hz.mean()))
    flux, error = np.array(fluxes), np.array(errors)
    model = sources["flux_jy"].to_numpy()
    index = sources["spectral_index"].to_numpy()
    seen = np.median(flux / error, axis=0) > 8.0 / np.sqrt(len(solved))
    if seen.sum() < 6:
        return None

    def left(values: Array) -> Array:
        out = []
        for number, (west, north, freq) in enumerate(separations):
            away = np.hypot(west - values[0], north - values[1])
            power = airy_power(away, freq, max(values[2], 0.5)).mean(axis=0)
            expected = values[3 + number] * model * (freq / 1.4e9) ** index * power
            sigma = np.hypot(error[number], 0.02 * expected)  # a catalogue's own errors
            out.append(((flux[number] - expected) / sigma)[seen])
        return np.concatenate(out)

    begin = np.array([0.0, 0.0, start_m, *np.ones(len(solved))])
    # what the calibrator's gains were scaled by is free, subband by subband
    begin[3:] = flux[:, 0] / np.maximum(model[0], 1e-30)
    fit = least_squares(left, begin, x_scale=[1e-3, 1e-3, 0.1, *begin[3:]], loss="soft_l1")
    scale = max(1.0, 2 * fit.cost / max(1, fit.fun.size - fit.x.size))
    spread = np.sqrt(scale * np.diag(np.linalg.pinv(fit.jac.T @ fit.jac)))
    degrees, degree_errors = np.degrees(fit.x[:2]), np.degrees(spread[:2])
    return FieldBeam(
        float(degrees[0]), float(degree_errors[0]), float(degrees[1]), float(degree_errors[1]),
        float(fit.x[2]), float(spread[2]), int(seen.sum()),
    )  # fmt: skip


def _fluxes(
    part: Solved, calibrator: tuple[float, float], sources: pd.DataFrame
) -> tuple[Array, Array, Array, Array]:
    """Mean apparent flux of each source over the calibrator's, its error, and its way through the beam (nt, nsrc)
    rad."""
    piece = part.piece
    one, two = piece.ant1, piece.ant2
    channels = np.unique(np.linspace(0, piece.freq_hz.size - 1, 4).round().astype(int))
    own = sky_of(piece, *calibrator).source
    waves = piece.freq_hz[channels] / SPEED_OF_LIGHT_M_S
    power = np.abs(part.x[:, channels]) ** 2
    good = (power.mean(axis=(1, 2)) > 0)[one] & (power.mean(axis=(1, 2)) > 0)[two]
    fringe = (part.expected[:, two] * part.expected[:, one].conj())[:, :, channels]
    gain = (part.x[two] * part.x[one].conj())[:, channels]
    data = (piece.vis[:, :, channels] * np.conj(fringe[..., None] * gain)).sum(axis=3)[:, good]
    weight = (np.abs(gain) ** 2).sum(axis=2)[good]
    west, north, models = [], [], []
    for ra_deg, dec_deg in sources[["ra_deg", "dec_deg"]].to_numpy(dtype=np.float64):
        toward = sky_of(piece, ra_deg, dec_deg).source
        path = (toward - own) @ piece.baselines_m[good].T
        models.append(np.exp(2j * np.pi * path[:, :, None] * waves).astype(np.complex64))
        ha, dec = hour_angle_dec(
            np.radians(ra_deg), np.radians(dec_deg), piece.times_jd, location(*piece.site)
        )
        west.append(ha[0] * np.cos(dec[0]))
        north.append(dec[0] - piece.dec_rad)
    count = len(models)
    matrix, right = np.empty((count, count)), np.empty(count)
    for k, model in enumerate(models):
        right[k] = np.vdot(model, data).real
        for j in range(k + 1):
            matrix[k, j] = matrix[j, k] = np.sum((model.conj() * models[j]).real * weight)
    flux = np.linalg.solve(matrix, right)
    noise = float(np.std(data.imag / np.sqrt(weight)))
    return (
        np.asarray(flux),
        np.asarray(noise * np.sqrt(np.diag(np.linalg.inv(matrix)))),
        np.array(west).T,
        np.array(north).T,
    )
