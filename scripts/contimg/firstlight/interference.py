"""Interference by frequency and hour, from two integrations of some tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from contimg.core.robust import mad_sigma
from contimg.firstlight.piece import Array, Piece, read_piece
from contimg.index.tile import Tile

KNOWN_MHZ = (1350.0, 1395.0, 1405.0, 1422.0, 1475.0)
SIGMAS = 6.0
EXCESS = 0.1
BURST = 0.05
NEIGHBOURS = 9


@dataclass(frozen=True)
class Heard:
    """What one tile shows: all its channels' frequencies (Hz), and which of them stand out."""

    tile: str
    freq_hz: Array
    channel_hz: float
    loud: np.ndarray


def quiet(piece: Piece) -> Piece:
    """A piece without its loud channels, as long as half of them are left."""
    loud = _loud(_power(piece))
    if not loud.any() or loud.mean() > 0.5:
        return piece
    keep = ~loud
    return replace(
        piece, vis=piece.vis[:, :, keep], autos=piece.autos[:, :, keep], freq_hz=piece.freq_hz[keep]
    )


def calm(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one tile without the integrations in which any of them has a burst, as long as half of them are left.

    One of 100 Jy on a baseline outshines a calibrator, and looks like a beam that is a degree wide.
    """
    loud = np.any([_burst(np.mean(np.abs(piece.vis) ** 2, axis=(1, 2, 3))) for piece in pieces], axis=0)
    if not loud.any() or loud.mean() > 0.5:
        return pieces
    keep = ~loud
    return [
        replace(piece, vis=piece.vis[keep], autos=piece.autos[keep], times_jd=piece.times_jd[keep])
        for piece in pieces
    ]


def _burst(power: Array) -> np.ndarray:
    """Integrations above the running median of their neighbours by 6 robust deviations and a twentieth, (nt,)."""
    from scipy.ndimage import median_filter

    if power.size < 3 or not np.all(power > 0):
        return np.zeros(power.size, bool)
    excess = power / median_filter(power, size=min(NEIGHBOURS, power.size), mode="mirror") - 1.0
    return np.asarray(excess > np.maximum(BURST, SIGMAS * mad_sigma(excess, about=0.0)))


def listen(tile: Tile) -> Heard:
    """Find the channels whose correlated power, in units of the antennas' powers, stands out of their neighbours'.

    Noise gives ⟨\\|V\\|²⟩ Δν Δt / (A₁ A₂) = 1 in every channel whatever the band looks like; the sky adds smoothly.
    """
    freqs, powers, width = [], [], 0.0
    for path in tile.files:
        piece = read_piece(path, times=slice(tile.n_times // 2, tile.n_times // 2 + 2))
        width = piece.channel_hz
        powers.append(_power(piece))
        freqs.append(piece.freq_hz)
    freq, power = np.concatenate(freqs), np.concatenate(powers)
    order = np.argsort(freq)
    return Heard(tile.name, freq[order], width, _loud(power[order]))


def _power(piece: Piece) -> Array:
    """Correlated power of each channel over what noise alone gives it, (nchan,)."""
    auto = piece.autos.mean(axis=0)
    expected = auto[piece.ant1] * auto[piece.ant2]
    usable = (expected > 0).all(axis=(1, 2))
    if not usable.any():
        return np.full(piece.freq_hz.size, np.nan)
    size = np.mean(np.abs(piece.vis[:, usable]) ** 2, axis=0) / expected[usable]
    return np.asarray(size.mean(axis=(0, 2)) * piece.channel_hz * piece.integration_s)


def _loud(power: Array) -> np.ndarray:
    """Channels above the running median of their neighbours by 6 robust deviations and a tenth."""
    from scipy.ndimage import median_filter

    filled = np.where(np.isfinite(power), power, np.nanmedian(power) if np.isfinite(power).any() else 1.0)
    smooth = median_filter(filled, size=min(NEIGHBOURS, filled.size), mode="nearest")
    excess = filled / smooth - 1.0
    scatter = mad_sigma(excess, about=0.0)
    return np.asarray(excess > np.maximum(EXCESS, SIGMAS * scatter))


def ranges_mhz(heard: list[Heard], part: float = 0.5) -> list[tuple[float, float]]:
    """Ranges of frequency that stand out in at least so large a part of the tiles."""
    if not heard:
        return []
    freq, width = heard[0].freq_hz, heard[0].channel_hz
    same = [one.loud for one in heard if one.freq_hz.shape == freq.shape]
    loud = np.mean(same, axis=0) >= part
    found: list[tuple[float, float]] = []
    for low, high in zip((freq[loud] - width / 2) / 1e6, (freq[loud] + width / 2) / 1e6, strict=True):
        if found and low - found[-1][1] < 0.1 * width / 1e6:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found


def unknown_mhz(ranges: list[tuple[float, float]], width_mhz: float) -> list[tuple[float, float]]:
    """Those that none of the known lines lies in, or within a channel of."""
    return [
        (low, high)
        for low, high in ranges
        if not any(low - width_mhz <= line <= high + width_mhz for line in KNOWN_MHZ)
    ]
