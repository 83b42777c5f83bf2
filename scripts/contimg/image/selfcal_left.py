"""What is left of the antennas' gains when a tile is imaged, and what it does to fluxes.

D of a baseline (`contimg.image.selfcal_data`) is the product of what is left of two antennas' gains. Its weighted mean
over the baselines of antenna a, over that of the usual antenna (the median of the real parts in an interval and hand),
is 1 + ε, of error s/√W in either part; W is the sum of the baselines' weights, s² the scatter of their D over what the
weights promise, at least 1: a sky that is not in the model counts as noise. Of all baselines,

    Σ W D / Σ W = 1 + 2 Σ W_a ε_a / Σ W_a,

so that antennas which departed since the transit change the scale of all fluxes by the real part of that; phases that
scatter by σ leave exp(−σ²) of a flux. docs/qa.md, "What antennas do to fluxes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.core.robust import nanmedian
from contimg.image.selfcal_data import Divided, by_antenna
from contimg.ms.meta import MsMeta

Array = NDArray[Any]
LEAST_SNR = 10.0
"""Of the median antenna in an interval: its phase is then known to 6 deg."""
CERTAIN = 5.0
"""Errors by which an antenna must be off to count: in thirty full tiles noise has one of 9,000 values each there."""
NAMED = 0.1
"""Antennas that are off by more, certainly, are named."""
CHANGED = 0.3
"""Of a gain, within a tile: its amplitude's range, or its phase (rad) from the mean. Six times what noise does to a
solution; 30 deg/hour make a tenth of it."""


@dataclass(frozen=True)
class Left:
    """What antennas do to the fluxes of a tile.

    Attributes
    ----------
    intervals : int
        Parts of the tile that were looked at one by one.
    scale : float
        Fluxes over what the usual antenna alone would give, less 1, by antennas that are certainly off.
    loss, loss_error : float
        Part of the flux that phases take which scatter from interval to interval and antenna to antenna.
    antennas : dict of str to str
        Those that are off by more than `NAMED`, and how.
    """

    intervals: int
    scale: float
    loss: float
    loss_error: float
    antennas: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "intervals": self.intervals,
            "scale": round(self.scale, 5),
            "loss": round(self.loss, 5),
            "loss_error": round(self.loss_error, 5),
            "antennas": self.antennas,
        }


def left(divided: Divided, bad: Array) -> Left | None:
    """What is left of the gains of a tile; None where its sources are too faint to see that.

    Parameters
    ----------
    divided : Divided
        As the tile is imaged.
    bad : (nant, nhands) bool
        Left out of the image.
    """
    meta = divided.meta
    divided = divided.without(bad)
    usual = _usual_power(divided)
    count = min(int(usual / LEAST_SNR**2), meta.n_times)
    if not count:
        return None
    mean, weight = divided.binned(count)
    one, two = (ants[meta.ant1 != meta.ant2] for ants in (meta.ant1, meta.ant2))
    total, shown = (
        np.stack([by_antenna(part, meta, cross=True) for part in values])
        for values in (weight, weight * mean)
    )
    known = total > 0
    gain = np.divide(shown, total, out=np.full(shown.shape, np.nan, complex), where=known)
    np.divide(gain, nanmedian(gain.real, axis=1)[:, np.newaxis], out=gain, where=known)
    noise = _noise(mean, weight, gain, one, two)
    error = np.divide(noise, np.sqrt(total), out=np.full(total.shape, np.inf), where=known)
    off = np.where(known, gain - 1.0, 0.0)
    certain = np.abs(off) > CERTAIN * error
    power = np.where(known, noise**2, 0.0)
    return Left(
        intervals=count,
        scale=float(2.0 * np.sum((total * off.real)[certain]) / total.sum()),
        loss=float(np.sum(total * off.imag**2 - power) / total.sum()),
        # the sky that is not in the model is much the same in all intervals
        loss_error=float(np.sqrt(2.0 * count * np.sum(power**2)) / total.sum()),
        antennas=_named(gain, np.where(certain, np.abs(off) - CERTAIN * error, 0.0), meta),
    )


def _usual_power(divided: Divided) -> float:
    """S/N² of the median antenna and hand that have data, over the tile; 0 without any."""
    total = by_antenna(divided.weight.sum(axis=0), divided.meta)
    return float(np.median(total[total > 0])) if (total > 0).any() else 0.0


def _noise(mean: Array, weight: Array, gain: Array, one: Array, two: Array) -> Array:
    """Scatter of an antenna's baselines about its own gain over what weights promise, at least 1, (1, nant, nhands).

    The median leaves an antenna alone whose baselines to a few others are bad; of noise
    W |D − g|² / 2 is exponential, of median ln 2.
    """
    usual = np.ones((1, *gain.shape[1:]))
    for k in range(gain.shape[1]):
        rows = np.concatenate([mean[:, one == k], mean[:, two == k].conj()], axis=1)
        total = np.concatenate([weight[:, one == k], weight[:, two == k]], axis=1)
        square = total * np.abs(rows - gain[:, k][:, np.newaxis]) ** 2
        for hand in range(gain.shape[2]):
            some = square[..., hand][total[..., hand] > 0]
            if some.size:
                usual[0, k, hand] = max(1.0, np.sqrt(np.median(some) / (2.0 * np.log(2.0))))
    return usual


def _named(gain: Array, beyond: Array, meta: MsMeta) -> dict[str, str]:
    """How antennas are off that are so by more than `NAMED`: at their worst."""
    said = {}
    for k in np.flatnonzero((beyond > NAMED).any(axis=(0, 2))):
        when, hand = np.unravel_index(int(np.argmax(beyond[:, k])), beyond[:, k].shape)
        worst = gain[when, k, hand]
        said[meta.antenna_names[k]] = (
            f"amplitude {abs(worst):.2f}, phase {np.degrees(np.angle(worst)):+.0f} deg in part {when + 1} of "
            f"{len(gain)}, polarisation {hand}"
        )
    return said


def changed(gains: Array, meta: MsMeta) -> dict[str, str]:
    """Antennas whose gains, (nt, nant, 2), as they were solved for, changed by more than `CHANGED` within the tile."""
    size, steady = np.abs(gains), gains.mean(axis=0)
    turn = np.angle(np.divide(gains, steady, out=np.ones(gains.shape, complex), where=np.abs(steady) > 0))
    spread = np.ptp(size, axis=0) / np.maximum(size.mean(axis=0), 1e-12)
    worst = np.maximum(spread, np.abs(turn).max(axis=0))
    said = {}
    for k in np.flatnonzero((worst > CHANGED).any(axis=1)):
        hand = int(np.argmax(worst[k]))
        low, high, degrees = (
            size[:, k, hand].min(),
            size[:, k, hand].max(),
            np.degrees(np.ptp(turn[:, k, hand])),
        )
        said[meta.antenna_names[k]] = (
            f"amplitude {low:.2f} to {high:.2f}, phase by {degrees:.0f} deg, polarisation {hand}"
        )
    return said
