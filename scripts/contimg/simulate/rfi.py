"""Interference: persistent narrow lines and short broadband bursts, from transmitters that stand still.

A transmitter couples to each antenna with its own amplitude and phase. The fringe stopper turns what stands
still, so that long east-west baselines lose it within an integration: sinc(nu / c * rate * T).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.simulate.geometry import SPEED_OF_LIGHT_M_S
from contimg.simulate.options import SimOptions
from contimg.simulate.streams import Stream, generator

SHORTEST_BURST_FRACTION = 0.3


@dataclass(frozen=True)
class Burst:
    """A broadband burst: its tile and integration, frequencies (Hz), typical flux density (Jy), number."""

    tile: int
    integration: int
    freq_low_hz: float
    freq_high_hz: float
    flux_jy: float
    number: int


def draw_bursts(options: SimOptions, tile: int, tile_key: int) -> list[Burst]:
    """Draw the bursts of a tile; `tile_key` (an integer of its start time) and the seed decide."""
    rng = generator(options.seed, Stream.BURSTS, tile_key)
    band_hz = options.band_high_hz - options.band_low_hz
    bursts = []
    for number in range(options.rfi_bursts):
        width = band_hz * rng.uniform(SHORTEST_BURST_FRACTION, 1.0)
        low = options.band_low_hz + rng.uniform() * (band_hz - width)
        flux = options.rfi_burst_jy * np.exp(0.3 * rng.standard_normal())
        when = int(rng.integers(options.n_integrations))
        bursts.append(Burst(tile, when, float(low), float(low + width), float(flux), number))
    return bursts


def coupling(rng: np.random.Generator, n_antennas: int) -> np.ndarray:
    """Draw complex couplings (n_antennas, 2) of median amplitude 1 and random phase, X and Y."""
    size = np.exp(0.4 * rng.standard_normal((n_antennas, 2)))
    return size * np.exp(2j * np.pi * rng.uniform(size=(n_antennas, 2)))


def line_coupling(options: SimOptions, line: int, antenna_numbers: np.ndarray) -> np.ndarray:
    """Return the couplings (nant, 2) of a line: the same all night, each antenna's its own."""
    return np.concatenate(
        [coupling(generator(options.seed, Stream.LINES, line, 1 + int(n)), 1) for n in antenna_numbers]
    )


def burst_coupling(
    options: SimOptions, burst: Burst, tile_key: int, antenna_numbers: np.ndarray
) -> np.ndarray:
    """Return the couplings (nant, 2) of a burst."""
    keys = (tile_key, 1 + burst.number)
    return np.concatenate(
        [coupling(generator(options.seed, Stream.BURSTS, *keys, 1 + int(n)), 1) for n in antenna_numbers]
    )


def line_levels(options: SimOptions, line: int, tile_key: int) -> np.ndarray:
    """Return the flux density (nt,) in Jy of a line in each integration: its level with 20 % variation."""
    rng = generator(options.seed, Stream.LINES, line, 0, tile_key)
    return options.rfi_line_jy * np.exp(0.2 * rng.standard_normal(options.n_integrations))


def overlap(freq_hz: np.ndarray, channel_width_hz: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Return (nchan,) the fraction of each channel that lies between two frequencies."""
    low = np.maximum(freq_hz - 0.5 * channel_width_hz, low_hz)
    high = np.minimum(freq_hz + 0.5 * channel_width_hz, high_hz)
    return np.clip(high - low, 0.0, None) / channel_width_hz


def add(
    vis: np.ndarray,
    *,
    options: SimOptions,
    tile_key: int,
    bursts: list[Burst],
    freq_hz: np.ndarray,
    ant1: np.ndarray,
    ant2: np.ndarray,
    antenna_numbers: np.ndarray,
    alive: np.ndarray,
    rate_m_s: np.ndarray,
    pol_pairs: tuple[tuple[int, int], ...],
) -> None:
    """Add the interference to visibilities in place, before the gains.

    Parameters
    ----------
    vis : ndarray of complex64, (nt, nbl, nchan, npol)
    freq_hz : ndarray, (nchan,)
    ant1, ant2 : ndarray of int, (nbl,)
        Indices into the antennas of `antenna_numbers`, `alive` (bool) and `rate_m_s` (nant,).
    rate_m_s : ndarray, (nant,)
        Rate of the stopper's path, m/s (`geometry.stopper_rate`).
    pol_pairs : tuple of (int, int)
        Receptor (0 X, 1 Y) of antenna 1 and antenna 2 for each polarisation product.
    """
    smear = np.sinc(
        (rate_m_s[ant2] - rate_m_s[ant1]) * options.integration_s * freq_hz.mean() / SPEED_OF_LIGHT_M_S
    )
    products = []
    half_hz = 0.5e6 * options.rfi_line_width_mhz
    for line, centre_mhz in enumerate(options.rfi_lines_mhz):
        share = overlap(
            freq_hz, options.channel_width_hz, 1e6 * centre_mhz - half_hz, 1e6 * centre_mhz + half_hz
        )
        if share.any():
            level = line_levels(options, line, tile_key)
            products.append((level, share, line_coupling(options, line, antenna_numbers)))
    for burst in bursts:
        share = overlap(freq_hz, options.channel_width_hz, burst.freq_low_hz, burst.freq_high_hz)
        if share.any():
            level = np.zeros(options.n_integrations)
            level[burst.integration] = burst.flux_jy
            products.append((level, share, burst_coupling(options, burst, tile_key, antenna_numbers)))
    for level, share, couple in products:
        couple = couple * alive[:, None]
        channels = np.flatnonzero(share)
        for p, (r1, r2) in enumerate(pol_pairs):
            pair = smear * couple[ant1, r1] * np.conj(couple[ant2, r2])
            for t in np.flatnonzero(level):
                vis[t][:, channels, p] += (level[t] * pair[:, None] * share[channels]).astype(np.complex64)
