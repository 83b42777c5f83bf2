"""Bright sources far outside the field, which the far sidelobes of the dishes let through.

What comes through differs between hands and changes with time and frequency, alike in all antennas: a complex gain of
mean amplitude 1 whose phase runs at a random rate and whose amplitude swings by 30 % within minutes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from contimg.simulate import geometry
from contimg.simulate.options import SimOptions, Source
from contimg.simulate.streams import Stream, generator

if TYPE_CHECKING:
    from contimg.simulate.model import TileModel

SWING, SWING_MINUTES = 0.3, 4.0
ACROSS_BAND_RAD = 1.0
SUN_ARCMIN, SUN_INDEX = 30.0, 0.5


def leak(options: SimOptions, number: int, key: int, minutes: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Return the gains (2, nt, nchan) of X and Y for a far source, `minutes` (nt,) after a tile's middle."""
    rng = generator(options.seed, Stream.FAR, number, key)
    phase = rng.uniform(0.0, 2.0 * np.pi, 2)
    rate = np.radians(options.far_drift_deg_per_minute) * rng.standard_normal(2)
    start = rng.uniform(0.0, 2.0 * np.pi, 2)
    across = ACROSS_BAND_RAD * rng.uniform(-1.0, 1.0, 2)
    band = (freq_hz - options.band_centre_hz) / (options.band_high_hz - options.band_low_hz)
    turn = phase[:, None] + rate[:, None] * minutes
    size = 1.0 + SWING * np.sin(2.0 * np.pi * minutes / SWING_MINUTES + start[:, None])
    in_time = size * np.exp(1j * turn)
    return in_time[:, :, None] * np.exp(1j * across[:, None] * band)[:, None, :]


def _places(
    options: SimOptions, times_jd: np.ndarray
) -> tuple[list[tuple[Source, float]], np.ndarray, np.ndarray]:
    """Return the sources and their widths (arcmin), and their hour angles and declinations, (nt, nsrc), rad."""
    sources = [(source, options.far_size_arcmin) for source in options.far_sources]
    ra, dec = (np.array([getattr(s, name) for s, _ in sources]) for name in ("ra_deg", "dec_deg"))
    ha, apparent_dec = geometry.hour_angle_dec(ra, dec, times_jd)
    if options.sun_jy:
        sun = geometry.sun_hour_angle_dec(times_jd)
        ha, apparent_dec = (np.column_stack(pair) for pair in zip((ha, apparent_dec), sun, strict=True))
        sources.append((Source("Sun", np.nan, np.nan, options.sun_jy, SUN_INDEX), SUN_ARCMIN))
    return sources, ha, apparent_dec


def add(vis: np.ndarray, model: TileModel, freq_hz: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> None:
    """Add the far sources above the horizon to visibilities (nt, nbl, nchan, npol) in place, before the gains."""
    options = model.options
    if not options.far_sources and not options.sun_jy:
        return
    sources, ha, apparent_dec = _places(options, model.times_jd)
    pointing = math.radians(model.dec_deg)
    path, rate = geometry.excess_path(model.positions_m, ha, apparent_dec, pointing)
    cross = model.ant1 != model.ant2
    lit = cross & model.alive[model.ant1] & model.alive[model.ant2]
    one, two = model.ant1[lit], model.ant2[lit]
    baseline = geometry.to_meridian_frame(model.positions_m[two] - model.positions_m[one])
    minutes = (model.times_jd - model.times_jd.mean()) * 1440.0
    for number, (source, size_arcmin) in enumerate(sources):
        gain = leak(options, number, model.key, minutes, freq_hz)
        for t in range(len(model.times_jd)):
            if not geometry.above_horizon(ha[t, number], apparent_dec[t, number]):
                continue
            delay = (path[t, two, number] - path[t, one, number]) / geometry.SPEED_OF_LIGHT_M_S
            speed = (rate[t, two, number] - rate[t, one, number]) / geometry.SPEED_OF_LIGHT_M_S
            toward = geometry.direction(ha[t, number], apparent_dec[t, number])
            across = np.linalg.norm(np.cross(baseline, toward), axis=1) / geometry.SPEED_OF_LIGHT_M_S
            fringe = np.exp(2j * np.pi * np.outer(delay, freq_hz))
            fringe *= np.sinc(delay * options.channel_width_hz)[:, None]
            fringe *= np.sinc(np.outer(speed * options.integration_s, freq_hz))
            size = math.radians(size_arcmin / 60.0)
            fringe *= np.exp(-((np.pi * size * np.outer(across, freq_hz)) ** 2) / (4.0 * np.log(2.0)))
            fringe *= source.flux_jy * (freq_hz / 1.4e9) ** source.spectral_index
            for p, (first, second) in enumerate(pairs):
                if first == second:
                    vis[t, lit, :, p] += (fringe * gain[first, t]).astype(np.complex64)
