"""The primary beam: the power pattern of one dish, and what a drifting source sees of it.

The array never tracks: it points at the meridian at one apparent declination, so what a source meets follows from
(hour angle, apparent declination) and the pointing (0, declination). A pattern is anything with the methods of
`PowerBeam`: `AiryBeam` here, `contimg.telescope.beam_file.SampledBeam` for one that was measured. `load_beam`
makes it from the configuration. Times are JD UTC, angles radians, frequencies Hz, the dish diameter metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.telescope.geometry import pointing_separation
from contimg.telescope.options import BeamOptions

_SOURCES_AT_ONCE = 4096


class PowerBeam(Protocol):
    """A power pattern about the direction that the dishes point at, absolute (1 where they see best)."""

    def power(
        self, ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float, freq_hz: ArrayLike
    ) -> NDArray[np.float64]:
        """Power toward hour angles and apparent declinations (...), at frequencies (nchan,): (..., nchan)."""

    def weighted(
        self,
        ha_rad: ArrayLike,
        dec_rad: ArrayLike,
        pointing_dec_rad: float,
        freq_hz: ArrayLike,
        weights: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Sum over the last axis of the directions (..., nt) and over channels of weights (nt, nchan) times power."""

    def radius(self, level: float, freq_hz: float) -> float:
        """Angle (rad) beyond which the main lobe is below `level` (0 < level < 1) in every direction."""


@dataclass(frozen=True)
class AiryBeam:
    """The pattern of a uniformly lit circular aperture; see `airy_power`.

    Attributes
    ----------
    diameter_m : float
    """

    diameter_m: float

    def power(
        self, ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float, freq_hz: ArrayLike
    ) -> NDArray[np.float64]:
        """See `PowerBeam.power`."""
        separation = pointing_separation(ha_rad, dec_rad, pointing_dec_rad)
        return airy_power(separation[..., np.newaxis], np.atleast_1d(freq_hz), self.diameter_m)

    def weighted(
        self,
        ha_rad: ArrayLike,
        dec_rad: ArrayLike,
        pointing_dec_rad: float,
        freq_hz: ArrayLike,
        weights: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """See `PowerBeam.weighted`."""
        separation = pointing_separation(ha_rad, dec_rad, pointing_dec_rad)
        freq = np.atleast_1d(freq_hz)
        total = np.zeros(separation.shape[:-1])
        for channel in range(freq.size):
            if weights[:, channel].any():
                total += airy_power(separation, freq[channel], self.diameter_m) @ weights[:, channel]
        return total

    def radius(self, level: float, freq_hz: float) -> float:
        """See `PowerBeam.radius`."""
        from scipy import optimize

        null = np.arcsin(min(1.0, 1.2196 * SPEED_OF_LIGHT_M_S / freq_hz / self.diameter_m))
        return float(optimize.brentq(lambda x: airy_power(x, freq_hz, self.diameter_m) - level, 0.0, null))


def load_beam(options: BeamOptions) -> PowerBeam:
    """Make the power pattern that the configuration asks for.

    Raises
    ------
    InputError
        The beam file is not there, or holds something else.
    """
    if options.file is None:
        return AiryBeam(options.diameter_m)
    return _sampled(options.file, options.file.stat().st_mtime_ns if options.file.exists() else 0)


@lru_cache(maxsize=2)
def _sampled(path: Path, _changed_ns: int) -> PowerBeam:
    from contimg.telescope.beam_file import read_beam

    return read_beam(path)


def describe_beam(options: BeamOptions) -> dict[str, Any]:
    """Give the beam as plain values for a sidecar or a rule's params: another content of its file is another beam."""
    from contimg.core.provenance import file_digest

    described: dict[str, Any] = options.model_dump(mode="json")
    if options.file is not None:
        described["digest"] = file_digest(options.file)
    return described


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
    from scipy.special import j1

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


def drift_power(
    ra_rad: ArrayLike,
    dec_rad: ArrayLike,
    times_jd: ArrayLike,
    loc: object,
    pointing_dec_rad: float,
    freq_hz: ArrayLike,
    beam: PowerBeam,
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
    beam
        The power pattern.

    Returns
    -------
    ndarray, float64, (nsrc, nt, nchan)
    """
    ha, dec_app = _apparent(ra_rad, dec_rad, times_jd, loc)
    return beam.power(ha, dec_app, pointing_dec_rad, freq_hz)


def drift_average(
    ra_rad: ArrayLike,
    dec_rad: ArrayLike,
    times_jd: ArrayLike,
    loc: object,
    pointing_dec_rad: float,
    freq_hz: ArrayLike,
    weights: ArrayLike,
    beam: PowerBeam,
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
    beam
        The power pattern.

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
        ha, dec_app = _apparent(ra[block], dec[block], times, loc)
        mean[block] = beam.weighted(ha, dec_app, pointing_dec_rad, freq, weight) / total
    return mean


def _apparent(
    ra_rad: ArrayLike, dec_rad: ArrayLike, times_jd: ArrayLike, loc: object
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hour angles and apparent declinations (nsrc, nt) of ICRS sources, rad."""
    from contimg.telescope.geometry import hour_angle_dec

    return hour_angle_dec(np.atleast_1d(ra_rad), np.atleast_1d(dec_rad), np.atleast_1d(times_jd), loc)
