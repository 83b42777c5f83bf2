"""Normalised light curves of many sources with a known truth, as arrays: what a search is measured with.

A flux relative to its mean is

    (1 + walk(source, t)) × event(source, t) × (1 + share(source) × season(right ascension, t)) + noise,

with a damped random walk, seasons that an hour of right ascension shares, nights that are missing in gaps and one by
one, the Sun's passage, and fluxes that are wrong beyond their errors. The whole workflow's errors are simulated by
`contimg.simulate.lightcurves`; this is for millions of epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contimg.simulate.scattering import Event

Floats = npt.NDArray[np.float64]
_HOUR_DEG = 15.0
SLOPE_ERROR_SNR = 26.0


@dataclass(frozen=True)
class SurveyOptions:
    """What to simulate; scatters are standard deviations of fractions of the flux.

    Attributes
    ----------
    seed, n_sources, days : int
    width_deg : float
        Sources lie within this of right ascension 0.
    snr : float
        Signal to noise of one epoch.
    red : bool
        Whether sources vary: amplitudes log-normal about `red_rms` with 0.6 in ln, time scales 20 to 300 d.
    season_rms : float
        Errors of months shared by an hour of right ascension; each source has 1 ± 0.3 of it.
    missing, gap_days, gap_fraction, solar_days : float
        Part of the nights missing one by one; mean length of outages and the part of the time they take; days lost when
        the Sun passes.
    outliers, outlier_sigma : float
        Part of the fluxes wrong beyond their errors, and by how many errors (standard deviation).
    """

    seed: int = 1
    n_sources: int = 1000
    days: int = 365
    width_deg: float = 360.0
    snr: float = 20.0
    red: bool = True
    red_rms: float = 0.02
    season_rms: float = 0.015
    missing: float = 0.08
    gap_days: float = 4.0
    gap_fraction: float = 0.07
    solar_days: float = 12.0
    outliers: float = 1e-3
    outlier_sigma: float = 8.0


@dataclass(frozen=True)
class Survey:
    """Curves and what they were made from.

    Attributes
    ----------
    source_ids : list of str
    ra_deg, dec_deg : ndarray, (S,)
    starts : ndarray of int, (S + 1,)
    mjd, flux, error, slope, slope_error : ndarray, (E,)
        Epochs of all sources, one source after the other; flux 1 on the mean.
    events : list of Event or None
        Of each source.
    """

    source_ids: list[str]
    ra_deg: Floats
    dec_deg: Floats
    starts: npt.NDArray[np.int64]
    mjd: Floats
    flux: Floats
    error: Floats
    slope: Floats
    slope_error: Floats
    events: list[Event | None]


def nights(options: SurveyOptions, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which nights the array observes, (days,): outages of some days, the same for all sources."""
    begin = options.gap_fraction / max(1.0 - options.gap_fraction, 1e-9) / options.gap_days
    there, out = np.ones(options.days, dtype=bool), False
    for day, (start, stop) in enumerate(rng.uniform(size=(options.days, 2))):
        out = stop > 1.0 / options.gap_days if out else start < begin
        there[day] = not out
    return there


def walks(options: SurveyOptions, rng: np.random.Generator) -> Floats:
    """Damped random walks, (S, days)."""
    n = options.n_sources
    if not options.red:
        return np.zeros((n, options.days))
    rms = options.red_rms * np.exp(0.6 * rng.standard_normal(n))
    keep = np.exp(-1.0 / np.exp(rng.uniform(np.log(20.0), np.log(300.0), n)))
    walk, state = np.empty((n, options.days)), rng.standard_normal(n)
    for day in range(options.days):
        walk[:, day] = rms * state
        state = keep * state + np.sqrt(1.0 - keep**2) * rng.standard_normal(n)
    return walk


def season(options: SurveyOptions, ra_deg: Any, mjd: Any, rng: np.random.Generator) -> Floats:
    """Errors that go with the solar time of a right ascension, (S, days)."""
    hour = np.deg2rad(ra_deg[:, None] - (280.46 + 0.9856474 * (mjd[None, :] - 51544.5)))
    phase = rng.uniform(0.0, 2.0 * np.pi, 3)
    wave = np.sin(hour + phase[0]) + 0.6 * np.sin(2.0 * hour + phase[1])
    wave += 0.6 * np.tanh(4.0 * np.cos(hour + phase[2]))
    share = 1.0 + 0.3 * rng.standard_normal(len(ra_deg))
    errors: Floats = options.season_rms * share[:, None] * wave
    return errors


def simulate(
    options: SurveyOptions, events: Sequence[Event | None] = (), *, first_mjd: float = 61000.0
) -> Survey:
    """Make the curves.

    Parameters
    ----------
    options : SurveyOptions
    events : sequence of Event or None
        Of the first sources, one each; the others have none.
    first_mjd : float
        The first night.
    """
    rng = np.random.default_rng([options.seed, 17])
    n, days = options.n_sources, options.days
    ra = np.sort(rng.uniform(0.0, options.width_deg, n))
    dec = 55.0 + rng.uniform(-1.4, 1.4, n)
    night = first_mjd + np.arange(days) * 0.99727
    transit = night[None, :] + ra[:, None] / 360.0 + rng.normal(0.0, 0.001, (n, days))
    keep = nights(options, rng)[None, :] & (rng.uniform(size=(n, days)) > options.missing)
    sun = (280.46 + 0.9856474 * (night[None, :] - 51544.5) - ra[:, None] + 180.0) % 360.0 - 180.0
    keep &= np.abs(sun) > 0.5 * options.solar_days * 0.9856
    true = 1.0 + walks(options, rng)
    padded = list(events) + [None] * (n - len(events))
    bend = np.full((n, days), -0.7)
    for s, event in enumerate(padded):
        if event is not None:
            true[s] *= event.factor(transit[s])
            bend[s] += event.slope(transit[s])
    seen: Floats = true * (1.0 + season(options, ra, night, rng))
    error = rng.uniform(0.85, 1.3, (n, days)) / options.snr
    flux = seen + error * rng.standard_normal((n, days))
    wrong = rng.uniform(size=(n, days)) < options.outliers
    flux += wrong * options.outlier_sigma * error * rng.standard_normal((n, days))
    slope_error = SLOPE_ERROR_SNR * error / np.maximum(true, 0.05)
    slope = bend + slope_error * rng.standard_normal((n, days))
    return Survey(
        source_ids=[f"S{s:06d}" for s in range(n)],
        ra_deg=ra,
        dec_deg=dec,
        starts=np.append(0, np.cumsum(keep.sum(axis=1))).astype(np.int64),
        mjd=transit[keep],
        flux=flux[keep],
        error=error[keep],
        slope=slope[keep],
        slope_error=slope_error[keep],
        events=padded,
    )
