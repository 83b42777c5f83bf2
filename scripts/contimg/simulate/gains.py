"""The complex gains of the antennas: amplitudes, phases, delays, band shapes and their drift.

A visibility V is observed as g_1 * conj(g_2) * V for antennas 1 and 2; each polarisation has its own

    g(t, nu) = a (1 + r sin(2 pi (nu - nu0) / P + psi)) exp(i [phi + drift(t) + 2 pi tau (nu - nu0)])

with nu0 the middle of the band.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def evaluate(gains: list[AntennaGain], times_mjd: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Return complex gains (nt, nant, nchan, 2), complex128, at times (MJD UTC) and frequencies (Hz)."""
    out = np.empty((len(times_mjd), len(gains), len(freq_hz), 2), complex)
    for a, g in enumerate(gains):
        offset_hz = np.asarray(freq_hz) - g.band_centre_hz
        for p in (0, 1):
            angle = 2.0 * np.pi * offset_hz / (1e6 * g.ripple_period_mhz[p]) + g.ripple_phase_rad[p]
            band = g.amplitude[p] * (1.0 + g.ripple[p] * np.sin(angle))
            phase = np.radians(g.phase_deg[p]) + 2.0 * np.pi * 1e-9 * g.delay_ns[p] * offset_hz
            turn = np.exp(1j * np.radians(drift_deg(g, p, times_mjd)))
            out[:, a, :, p] = turn[:, None] * (band * np.exp(1j * phase))[None, :]
    return out
