"""The primary beam: the Airy power pattern of one dish, and what a drifting source sees of it.

The array never tracks: it points at the meridian at one apparent declination, so the offset of a source
from the beam's centre is the angle between (hour angle, apparent declination) and (0, pointing declination).
Times are JD UTC, angles radians, frequencies Hz, the dish diameter metres.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import j1

SPEED_OF_LIGHT_M_S = 299792458.0

_SOURCES_AT_ONCE = 4096


def airy_power(separation_rad: ArrayLike, freq_hz: ArrayLike, diameter_m: float) -> NDArray[np.float64]:
    r"""Power pattern of a uniformly lit circular aperture, 1 on the axis.

    .. math:: P = \left(\frac{2 J_1(x)}{x}\right)^2, \qquad x = \pi D \sin\theta\,\nu / c

    (Born & Wolf, *Principles of Optics*, 8.5.2.) The full width at half power is 1.029 λ/D and the first
    null lies at 1.220 λ/D.

    Parameters
    ----------
    separation_rad
        Angle θ from the beam's centre, any shape; beyond 90° the dish sees nothing and the power is 0.
    freq_hz
        Frequency, broadcast against `separation_rad`.
    diameter_m
        Dish diameter D.

    Returns
    -------
    ndarray, float64
        Power relative to the axis, of the broadcast shape.

    Raises
    ------
    ValueError
        If the diameter is not positive.
    """
    if not diameter_m > 0:
        raise ValueError(f"the dish diameter must be positive, found {diameter_m} m")
    separation = np.asarray(separation_rad, dtype=np.float64)
    sine = np.where(np.abs(separation) < 0.5 * np.pi, np.sin(separation), np.inf)
    x = (np.pi * diameter_m / SPEED_OF_LIGHT_M_S) * np.abs(sine) * np.asarray(freq_hz, dtype=np.float64)
    # Below 1e-6 the pattern differs from 1 by x²/4 < 3e-13; the quotient itself would be 0/0 on the axis.
    near = x < 1e-6
    behind = np.isinf(x)
    safe = np.where(near | behind, 1.0, x)
    voltage = 2.0 * j1(safe) / safe
    return np.where(behind, 0.0, np.where(near, 1.0, voltage * voltage))


def pointing_separation(
    ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float
) -> NDArray[np.float64]:
    """Angle between (hour angle, apparent declination) and the pointing (0, `pointing_dec_rad`).

    The haversine form, exact at every separation and free of cancellation near zero.

    Parameters
    ----------
    ha_rad, dec_rad
        Hour angle and apparent declination of date, broadcast against each other.
    pointing_dec_rad
        Apparent declination the dishes point at.

    Returns
    -------
    ndarray, float64
        Separation in radians, 0 to π.
    """
    ha = np.asarray(ha_rad, dtype=np.float64)
    dec = np.asarray(dec_rad, dtype=np.float64)
    haversine = (
        np.sin(0.5 * (dec - pointing_dec_rad)) ** 2
        + np.cos(dec) * np.cos(pointing_dec_rad) * np.sin(0.5 * ha) ** 2
    )
    return 2.0 * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0)))


def drift_power(
    ra_rad: ArrayLike,
    dec_rad: ArrayLike,
    times_jd: ArrayLike,
    loc: object,
    pointing_dec_rad: float,
    freq_hz: ArrayLike,
    diameter_m: float,
) -> NDArray[np.float64]:
    """Power beam on ICRS sources at each integration and channel of a drift tile.

    Parameters
    ----------
    ra_rad, dec_rad : (nsrc,)
        ICRS positions.
    times_jd : (nt,)
        Integration midpoints, JD UTC.
    loc : astropy.coordinates.EarthLocation
        Where the array stands.
    pointing_dec_rad
        Apparent declination the dishes point at.
    freq_hz : (nchan,)
        Channel centres.
    diameter_m
        Dish diameter.

    Returns
    -------
    ndarray, float64, (nsrc, nt, nchan)
    """
    separation = _drift_separation(ra_rad, dec_rad, times_jd, loc, pointing_dec_rad)
    return airy_power(separation[..., np.newaxis], np.atleast_1d(freq_hz), diameter_m)


def drift_average(
    ra_rad: ArrayLike,
    dec_rad: ArrayLike,
    times_jd: ArrayLike,
    loc: object,
    pointing_dec_rad: float,
    freq_hz: ArrayLike,
    weights: ArrayLike,
    diameter_m: float,
) -> NDArray[np.float64]:
    """Weighted mean of the power beam over the integrations and channels of a drift tile.

    A source of constant flux S, imaged with data weights w over integrations t and channels ν, appears with
    S Σ w P / Σ w: the factor that this returns.

    Parameters
    ----------
    ra_rad, dec_rad : (nsrc,)
        ICRS positions.
    times_jd : (nt,)
        Integration midpoints, JD UTC.
    loc : astropy.coordinates.EarthLocation
        Where the array stands.
    pointing_dec_rad
        Apparent declination the dishes point at.
    freq_hz : (nchan,)
        Channel centres.
    weights : (nt, nchan)
        Sum of the weights of the unflagged data, any scale.
    diameter_m
        Dish diameter.

    Returns
    -------
    ndarray, float64, (nsrc,)
        Mean power, never renormalised: 1 only for a source that stays in the beam's centre.

    Raises
    ------
    ValueError
        If the weights have another shape than (nt, nchan), or their sum is not positive.
    """
    ra, dec = np.atleast_1d(ra_rad), np.atleast_1d(dec_rad)
    times, freq = np.atleast_1d(times_jd), np.atleast_1d(freq_hz)
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != (times.size, freq.size):
        raise ValueError(
            f"beam weights must have shape (integrations, channels) = {(times.size, freq.size)}, "
            f"found {weight.shape}"
        )
    total = weight.sum()
    if not total > 0:
        raise ValueError("beam weights sum to zero: no unflagged data, nothing to average over")
    mean = np.empty(ra.size)
    for first in range(0, ra.size, _SOURCES_AT_ONCE):
        block = slice(first, first + _SOURCES_AT_ONCE)
        separation = _drift_separation(ra[block], dec[block], times, loc, pointing_dec_rad)
        accumulated = np.zeros(separation.shape[0])
        for channel in range(freq.size):
            if weight[:, channel].any():
                accumulated += airy_power(separation, freq[channel], diameter_m) @ weight[:, channel]
        mean[block] = accumulated / total
    return mean


def _drift_separation(
    ra_rad: ArrayLike, dec_rad: ArrayLike, times_jd: ArrayLike, loc: object, pointing_dec_rad: float
) -> NDArray[np.float64]:
    """Separation (nsrc, nt) of ICRS sources from the beam's centre at each integration, rad."""
    from contimg.geometry import hour_angle_dec

    ha, dec_app = hour_angle_dec(np.atleast_1d(ra_rad), np.atleast_1d(dec_rad), np.atleast_1d(times_jd), loc)
    return pointing_separation(ha, dec_app, pointing_dec_rad)
