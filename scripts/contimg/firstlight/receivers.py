"""Noise, sensitivity, clipping and hands, from what is left of the visibilities and from autocorrelations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.firstlight.fringes import Solved
from contimg.firstlight.piece import Array

LEAST_FRINGE = 0.1


@dataclass(frozen=True)
class Receivers:
    """Numbers of the antennas, X and Y apart.

    Attributes
    ----------
    sefd_jy : ndarray, (nant, 2)
        Autocorrelation over the source's power gain, less the source.
    radiometer : float
        Measured over expected variance of a visibility, A₁ A₂ / (2 Δν Δt) in each part: 1, if integration, channel
        width and autocorrelations are what they say.
    band_slope : float or None
        d ln(noise) / d ln √(A₁ A₂) over the channels: 1 if noise has the band's shape, 0 if it has not; None: flat.
    auto_slope, auto_slope_err : ndarray, (nant,)
        Measured over expected change of the autocorrelation while the source drifts past: below 1 where a
        digitiser clips.
    seen : ndarray of bool, (nant,)
        Antennas with fringes in both hands.
    """

    sefd_jy: Array
    radiometer: float
    band_slope: float | None
    auto_slope: Array
    auto_slope_err: Array
    seen: np.ndarray


def receivers(solved: list[Solved], apparent_jy: Array) -> Receivers:
    """Measure them; `apparent_jy` (one of each subband) is the source's mean apparent flux."""
    power = np.stack([np.mean(np.abs(part.x) ** 2, axis=1) for part in solved])
    auto = np.stack([part.piece.autos.mean(axis=(0, 2)) for part in solved])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = power / auto
        sefd = np.median(np.asarray(apparent_jy)[:, None, None] / share, axis=0) - np.mean(apparent_jy)
    typical = np.nanmedian(share, axis=1, keepdims=True)
    seen = np.nanmedian(np.nan_to_num(share / typical), axis=0).min(axis=1) > LEAST_FRINGE
    noise = [_noise(part) for part in solved]
    slope, slope_err = _auto_slope(solved)
    return Receivers(sefd, _radiometer(solved, noise), _band_slope(solved, noise), slope, slope_err, seen)


def _noise(part: Solved) -> Array:
    """Variance (nbl, nchan, 2) of the real part of a visibility: differences in time, of neighbouring channels'
    differences.

    The source is taken out first; of its neighbours what is alike in both channels goes.
    """
    piece = part.piece
    one, two = piece.ant1, piece.ant2
    model = part.x[two] * part.x[one].conj()
    fringe = part.expected[:, two] * part.expected[:, one].conj()
    left = piece.vis - model * fringe[..., None] * part.flux[:, None, None, :]
    step = np.diff(left, axis=0)
    if step.shape[2] < 2:
        return np.asarray(np.mean(np.abs(step) ** 2, axis=0) / 4.0)
    pairs = np.mean(np.abs(np.diff(step, axis=2)) ** 2, axis=0) / 8.0
    both = np.concatenate([pairs[:, :1], pairs, pairs[:, -1:]], axis=1)
    return np.asarray(0.5 * (both[:, 1:] + both[:, :-1]))


def _radiometer(solved: list[Solved], noise: list[Array]) -> float:
    ratios = []
    for part, variance in zip(solved, noise, strict=True):
        piece = part.piece
        auto = piece.autos.mean(axis=0)
        expected = auto[piece.ant1] * auto[piece.ant2] / (2.0 * piece.channel_hz * piece.integration_s)
        usable = (expected > 0) & (variance > 0)
        if usable.any():
            # of each baseline, then the median one: interference and neighbours are in few
            ratio = np.where(usable, variance, 0).sum(axis=1) / np.maximum(
                np.where(usable, expected, 0).sum(axis=1), 1e-30
            )
            ratios.append(np.median(ratio[usable.any(axis=1)]))
    return float(np.median(ratios)) if ratios else float("nan")


def _band_slope(solved: list[Solved], noise: list[Array]) -> float | None:
    """Regress ln noise on ln √(A₁ A₂) over all channels, baselines' means taken out in the whole band."""
    shape, level = [], []
    for part, variance in zip(solved, noise, strict=True):
        auto = part.piece.autos.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            shape.append(0.5 * (np.log(auto[part.piece.ant1]) + np.log(auto[part.piece.ant2])))
            level.append(0.5 * np.log(variance))
    x, y = np.concatenate(shape, axis=1), np.concatenate(level, axis=1)
    usable = np.isfinite(x).all(axis=(1, 2)) & np.isfinite(y).all(axis=(1, 2))
    if not usable.any():
        return None
    x, y = (np.median(values[usable], axis=0) for values in (x, y))  # of the median baseline
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    swing = float(np.sqrt(np.mean(x**2)))
    return float(np.sum(x * y) / np.sum(x**2)) if swing > 0.02 else None


def _auto_slope(solved: list[Solved]) -> tuple[Array, Array]:
    """Slope of autocorrelations on what the source should add, both hands together, and its error."""
    n_ant = len(solved[0].piece.names)
    slope, weight = np.zeros(n_ant), np.zeros(n_ant)
    for part in solved:
        auto = part.piece.autos.mean(axis=2)
        added = np.mean(np.abs(part.x) ** 2, axis=1)[None] * part.flux[:, None, :]
        for hand in range(2):
            x = added[:, :, hand] - added[:, :, hand].mean(axis=0)
            y = auto[:, :, hand] - auto[:, :, hand].mean(axis=0)
            square = np.sum(x**2, axis=0)
            with np.errstate(divide="ignore", invalid="ignore"):
                one = np.sum(x * y, axis=0) / square
                variance = np.sum((y - one * x) ** 2, axis=0) / max(1, len(x) - 2) / square
            usable = np.isfinite(one) & (variance > 0)
            worth = np.where(usable, 1.0 / np.where(usable, variance, 1.0), 0.0)
            slope += worth * np.where(usable, one, 0.0)
            weight += worth
    with np.errstate(divide="ignore", invalid="ignore"):
        return slope / weight, 1.0 / np.sqrt(weight)


def hands_alike(solved: list[Solved]) -> list[float]:
    """Of each subband but the first: correlation over antennas of ln(A_X / A_Y) with the other subbands' median.

    Hands that are exchanged in one file have it near -1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = [
            np.log(part.piece.autos[..., 0].mean(axis=(0, 2)) / part.piece.autos[..., 1].mean(axis=(0, 2)))
            for part in solved
        ]
    usable = np.all(np.isfinite(ratio), axis=0)
    values = [one[usable] - np.median(one[usable]) for one in ratio]
    found = []
    for number, one in enumerate(values):
        others = np.median([other for k, other in enumerate(values) if k != number], axis=0)
        size = float(np.sqrt(np.sum(one**2) * np.sum(others**2)))
        found.append(float(np.sum(one * others) / size) if size > 0 else 0.0)
    return found
