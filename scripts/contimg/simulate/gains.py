"""The complex gains of the antennas: amplitudes, phases, delays, band shapes and their drift.

A visibility V is observed as g_1 * conj(g_2) * V for antennas 1 and 2; each polarisation has its own

    g(t, nu) = a b(nu) (1 + r sin(2 pi (nu - nu0) / P + psi)) exp(i [phi + drift(t) + 2 pi tau (nu - nu0)]) j(t, nu)

with nu0 the middle of the band, b the band's shape (a slope in dB, edges that roll off, a factor for each subband), and
j what jumps: factor * exp(2 pi i delay nu) from its moment on, nu the sky's frequency, as a cable that changes its
length makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from contimg.simulate.options import SimOptions
from contimg.simulate.streams import Stream, generator

WANDER_TERMS = 4
SICK_RMS_DEG = 60.0
SICK_PERIOD_HOURS = 0.01, 0.04


@dataclass(frozen=True)
class AntennaGain:
    """The gain parameters of one antenna, X then Y in every pair.

    `drift_deg_per_hour` is the slope of a linear drift since `epoch_mjd`; `wander` holds, for each
    polarisation, (amplitude_deg, period_hours, phase_rad) of the sine waves that make a smooth wander.
    """

    name: str
    amplitude: tuple[float, float]
    phase_deg: tuple[float, float]
    delay_ns: tuple[float, float]
    ripple: tuple[float, float]
    ripple_period_mhz: tuple[float, float]
    ripple_phase_rad: tuple[float, float]
    drift_deg_per_hour: tuple[float, float]
    wander: tuple[tuple[tuple[float, float, float], ...], tuple[tuple[float, float, float], ...]]
    epoch_mjd: float
    band_centre_hz: float
    band_width_hz: float
    slope_db: tuple[float, float] = (0.0, 0.0)
    edge_db: float = 0.0
    edge_hz: float = 1.0
    scale: tuple[tuple[float, float], ...] = ()
    jumps: tuple[tuple[float, float, float], ...] = ()


def draw(options: SimOptions, name: str, epoch_mjd: float) -> AntennaGain:
    """Draw the gain of the antenna called `name`; it depends on the seed and the name alone.

    A wander's rate has the standard deviation `phase_drift_deg_per_hour` over time: each of n waves of
    amplitude A and period P has a rate of rms 2 pi A / (sqrt(2) P). A sick antenna has waves of 36 to 144 s beside it,
    `SICK_RMS_DEG` together.
    """
    rng = generator(options.seed, Stream.GAINS, int(name))
    amplitude = np.exp(options.gain_amplitude_scatter * rng.standard_normal(2))
    phase = rng.uniform(-1.0, 1.0, 2) * options.gain_phase_scatter_deg
    delay = options.delay_scatter_ns * rng.standard_normal(2)
    ripple = options.band_ripple * rng.uniform(0.5, 1.0, 2)
    period = options.band_ripple_period_mhz * rng.uniform(0.8, 1.2, 2)
    ripple_phase = rng.uniform(0.0, 2.0 * np.pi, 2)
    slope = options.phase_drift_deg_per_hour * rng.standard_normal(2)
    hours = rng.uniform(0.7, 6.0, (2, WANDER_TERMS))
    size = options.phase_drift_deg_per_hour * np.sqrt(2.0 / WANDER_TERMS) * hours / (2.0 * np.pi)
    start = rng.uniform(0.0, 2.0 * np.pi, (2, WANDER_TERMS))
    wander: tuple = ((), ())
    if options.phase_drift == "wander":
        wander = tuple(
            tuple(zip(size[p].tolist(), hours[p].tolist(), start[p].tolist(), strict=True)) for p in (0, 1)
        )
    if name in options.sick_antennas:
        periods = rng.uniform(*SICK_PERIOD_HOURS, (2, WANDER_TERMS)).tolist()
        starts = rng.uniform(0.0, 2.0 * np.pi, (2, WANDER_TERMS)).tolist()
        swing = [SICK_RMS_DEG * float(np.sqrt(2.0 / WANDER_TERMS))] * WANDER_TERMS
        wander = tuple((*wander[p], *zip(swing, periods[p], starts[p], strict=True)) for p in (0, 1))
    if options.phase_drift != "linear":
        slope = np.zeros(2)
    return AntennaGain(
        name=name,
        amplitude=_pair(amplitude),
        phase_deg=_pair(phase),
        delay_ns=_pair(delay),
        ripple=_pair(ripple),
        ripple_period_mhz=_pair(period),
        ripple_phase_rad=_pair(ripple_phase),
        drift_deg_per_hour=_pair(slope),
        wander=wander,
        epoch_mjd=epoch_mjd,
        band_centre_hz=options.band_centre_hz,
        band_width_hz=options.band_high_hz - options.band_low_hz,
        edge_db=options.band_edge_db,
        edge_hz=1e6 * options.band_edge_mhz,
        jumps=_jumps(options, name, epoch_mjd),
        **_band(options, name),
    )


def _band(options: SimOptions, name: str) -> dict[str, Any]:
    """Draw the band's slope and the subbands' scales of an antenna, from a stream of their own."""
    rng = generator(options.seed, Stream.BAND, int(name))
    slope = options.band_slope_db + options.band_slope_scatter_db * rng.standard_normal(2)
    scale = np.exp(options.digitiser_scatter * rng.standard_normal((options.n_subbands, 2)))
    if options.subband_steps:
        scale *= np.resize(options.subband_steps, options.n_subbands)[:, np.newaxis]
    if not options.subband_steps and not options.digitiser_scatter:
        return {"slope_db": _pair(slope)}
    return {"slope_db": _pair(slope), "scale": tuple(_pair(row) for row in scale)}


def _jumps(options: SimOptions, name: str, epoch_mjd: float) -> tuple[tuple[float, float, float], ...]:
    """Return (MJD UTC, factor, delay_ns) of an antenna's jumps; `epoch_mjd` is the start of tile 0."""
    tile_days = options.n_integrations * options.integration_s / 86400.0
    return tuple(
        (epoch_mjd + (jump.tile + jump.fraction) * tile_days, jump.factor, jump.delay_ns)
        for jump in options.jumps
        if jump.antenna in (name, "all")
    )


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def drift_deg(gain: AntennaGain, polarization: int, times_mjd: np.ndarray) -> np.ndarray:
    """Return the phase (nt,) in deg that has drifted since the epoch, MJD UTC."""
    hours = 24.0 * (np.asarray(times_mjd) - gain.epoch_mjd)
    total = gain.drift_deg_per_hour[polarization] * hours
    for size, period, start in gain.wander[polarization]:
        total = total + size * (np.sin(2.0 * np.pi * hours / period + start) - np.sin(start))
    return total


def band_shape(gain: AntennaGain, polarization: int, freq_hz: np.ndarray) -> np.ndarray:
    """Return the amplitude (nchan,) of slope, edges and subbands; 1 in the middle of a band without scales."""
    across = (np.asarray(freq_hz) - gain.band_centre_hz) / gain.band_width_hz
    decibel = gain.slope_db[polarization] * across
    if gain.edge_db:
        inside = (0.5 - np.abs(across)) * gain.band_width_hz / gain.edge_hz
        decibel = decibel - 0.5 * gain.edge_db * (1.0 + np.cos(np.pi * np.clip(inside, 0.0, 1.0)))
    shape = 10.0 ** (decibel / 20.0)
    if gain.scale:
        subband = np.clip(((across + 0.5) * len(gain.scale)).astype(int), 0, len(gain.scale) - 1)
        shape = shape * np.array(gain.scale)[subband, polarization]
    return np.asarray(shape)


def evaluate(gains: list[AntennaGain], times_mjd: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Return complex gains (nt, nant, nchan, 2), complex128, at times (MJD UTC) and frequencies (Hz)."""
    out = np.empty((len(times_mjd), len(gains), len(freq_hz), 2), complex)
    for a, g in enumerate(gains):
        offset_hz = np.asarray(freq_hz) - g.band_centre_hz
        for p in (0, 1):
            angle = 2.0 * np.pi * offset_hz / (1e6 * g.ripple_period_mhz[p]) + g.ripple_phase_rad[p]
            band = g.amplitude[p] * (1.0 + g.ripple[p] * np.sin(angle)) * band_shape(g, p, freq_hz)
            phase = np.radians(g.phase_deg[p]) + 2.0 * np.pi * 1e-9 * g.delay_ns[p] * offset_hz
            turn = np.exp(1j * np.radians(drift_deg(g, p, times_mjd)))
            out[:, a, :, p] = turn[:, None] * (band * np.exp(1j * phase))[None, :]
        for moment, factor, delay_ns in g.jumps:
            later = np.asarray(times_mjd) >= moment
            step = factor * np.exp(2j * np.pi * 1e-9 * delay_ns * np.asarray(freq_hz))
            out[later, a] *= step[:, None]
    return out
