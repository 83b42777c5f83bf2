"""The noise that a simulated tile's image would have at best: from the truth, not from what the pipeline measured."""

from __future__ import annotations

import numpy as np

from contimg.simulate import rfi, signal
from contimg.simulate.options import mjd
from contimg.simulate.truth import Truth


def natural_jy(truth: Truth, tile: str) -> float:
    """Noise (Jy/beam) of the naturally weighted Stokes I image of a tile's clean data, every gain known.

    1 / √(Σ 1/σ²) over both hands, σ = SEFD / √(2 Δν Δt) times the noise of both receivers (`signal.receiver_noise`).
    Clean data: cross-correlations of the antennas that are neither dead nor sick, without the channels of narrow
    interference and without the integrations of bursts where they reach.
    """
    options = truth.options
    names = [a.name for a in truth.antennas if a.name not in {*options.dead_antennas, *options.sick_antennas}]
    weight = signal.receiver_noise(options, names) ** -2.0
    pairs = 0.5 * (weight.sum(axis=0) ** 2 - (weight**2).sum(axis=0))
    return float(signal.noise_sigma_jy(options) / np.sqrt(_clean(truth, tile) * pairs.sum()))


def _clean(truth: Truth, tile: str) -> int:
    """How many pairs of integration and channel have no interference; `tile` may be late by the files' clock."""
    options = truth.options
    freq = np.concatenate([signal.subband_freq_hz(options, subband) for subband in range(options.n_subbands)])
    good = np.ones((options.n_integrations, len(freq)), dtype=bool)
    half = 0.5e6 * options.rfi_line_width_mhz
    for line_mhz in options.rfi_lines_mhz:
        low, high = 1e6 * line_mhz - half, 1e6 * line_mhz + half
        good[:, rfi.overlap(freq, options.channel_width_hz, low, high) > 0.0] = False
    made = min(truth.tiles, key=lambda one: abs(one.start_mjd - mjd(tile)))
    for burst in made.bursts:
        reached = rfi.overlap(freq, options.channel_width_hz, burst.freq_low_hz, burst.freq_high_hz) > 0.0
        good[burst.integration, reached] = False
    return int(good.sum())
