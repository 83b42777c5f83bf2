"""Fringes of one source: how fast they turn, what antennas make of them, and what is left.

A source that drifts past turns the phase of a baseline b by 2π ν b·(s(t) - s(0)) / c whatever constants the
electronics add.
So the rate tells what no calibration can hide: the sign of the phases, the true frequency of each channel, whether data
follow the sky, where antennas stand and what time it is. What is constant is left to delays, which tell the
direction data were stopped at, for cables are short against the array (Thompson, Moran & Swenson, 3rd ed., 4.1 and
12.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.robust import mad_sigma
from contimg.firstlight.piece import Array, Piece, Sky

Complex = NDArray[np.complex128]
SCANNED_BASELINES = 300
SCANNED_CHANNELS = 6
STRETCH = 0.17
"""Rates are looked for as far as the ends of a band taken for each other are apart."""
FEWEST_SIGMAS = 8.0
GROUPS = 8


@dataclass(frozen=True)
class Rate:
    """Measured over expected rate of the fringes in a block of channels: true over stated frequency, and its sign.

    Attributes
    ----------
    freq_hz : float
        Stated middle of the block.
    factor, error : float
        1: as stated; -1: phases have the other sign; 0: data follow the source.
    sigmas : float
        How far the best factor stands out of all others.
    """

    freq_hz: float
    factor: float
    error: float
    sigmas: float

    @property
    def seen(self) -> bool:
        """Whether there are fringes at all."""
        return self.sigmas >= FEWEST_SIGMAS


def rates(piece: Piece, sky: Sky) -> list[Rate]:
    """Rates in the lower and in the upper part of a subband."""
    moved = sky.source - sky.source.mean(axis=0)
    path = moved @ piece.baselines_m.T
    chosen = np.argsort(-np.ptp(path, axis=0), kind="stable")[:SCANNED_BASELINES]
    quarter = max(1, piece.freq_hz.size // 4)
    blocks = [np.arange(quarter), np.arange(piece.freq_hz.size - quarter, piece.freq_hz.size)]
    found = []
    for block in blocks if piece.freq_hz.size > 1 else blocks[:1]:
        channels = block[:: max(1, block.size // SCANNED_CHANNELS)]
        found.append(_rate(piece.vis[:, chosen][:, :, channels], path[:, chosen], piece.freq_hz[channels]))
    return found


def _rate(vis: NDArray[np.complex64], path: Array, freq_hz: Array) -> Rate:
    """The factor of the expected rate at which a block is most coherent in time."""
    turns = path[:, :, None] * (freq_hz / SPEED_OF_LIGHT_M_S)
    step = 0.2 / np.ptp(turns, axis=0).max()
    around = np.arange(-STRETCH, STRETCH + step, step)
    factors = np.concatenate([centre + around for centre in (-1.0, 0.0, 1.0)])
    power = np.array([_coherent(vis, turns, factor) for factor in factors])
    best = int(np.argmax(power))
    fine = factors[best] + step * np.linspace(-1.5, 1.5, 31)
    fine_power = np.array([_coherent(vis, turns, factor) for factor in fine])
    top = int(np.argmax(fine_power))
    use = slice(max(0, top - 4), top + 5)
    bend = np.polyfit(fine[use] - fine[top], fine_power[use], 2)
    factor = fine[top] - (bend[1] / (2 * bend[0]) if bend[0] < 0 else 0.0)
    away = power[np.abs(factors - factors[best]) > 3 * step]
    middle = np.median(away) if away.size else 0.0
    scatter = mad_sigma(away) if away.size else np.inf
    # noise of one visibility and amplitude of the source, from what adds up and what does not
    n_times = vis.shape[0]
    total, coherent = float(np.mean(np.abs(vis) ** 2)), float(fine_power[top])
    noise = max(total - coherent, 0.0) * n_times / max(n_times - 1, 1)
    signal = max(coherent - noise / n_times, 1e-30)
    swing = np.sum((2 * np.pi * (turns - turns.mean(axis=0))) ** 2) * vis.shape[3]
    error = float(np.sqrt(noise / 2 / signal / swing))
    return Rate(
        float(freq_hz.mean()), float(factor), error, float((power[best] - middle) / max(scatter, 1e-30))
    )


def _coherent(vis: NDArray[np.complex64], turns: Array, factor: float) -> float:
    turned = vis * np.exp(-2j * np.pi * factor * turns)[..., None].astype(np.complex64)
    return float(np.mean(np.abs(turned.mean(axis=0)) ** 2))


@dataclass(frozen=True)
class Solved:
    """What antennas make of the source in one subband, its expected fringe taken out.

    Attributes
    ----------
    x : ndarray, (nant, nchan, 2)
        V(1, 2) = x_2 conj(x_1) f(t) e_2 conj(e_1), e the expected fringe.
    phases : ndarray, (nt, nant, 2)
        rad, what is left of each antenna's phase in time.
    flux : ndarray, (nt, 2)
        f: the source's flux through the beam, in units of its mean.
    flux_err : ndarray, (nt, 2)
    groups, group_weight : ndarray, (GROUPS, nt, 2) and (GROUPS, 2)
        The same of groups of baselines, in which the source's neighbours beat differently.
    expected : ndarray, (nt, nant, nchan)
        e.
    """

    piece: Piece
    x: Complex
    phases: Array
    flux: Array
    flux_err: Array
    groups: Array
    group_weight: Array
    expected: Complex

    def without(self, group: int) -> Solved:
        """The same with the flux of all groups of baselines but one."""
        kept = np.arange(GROUPS) != group
        weight = self.group_weight[kept]
        flux = np.sum(weight[:, None] * self.groups[kept], axis=0) / weight.sum(axis=0)
        return replace(self, flux=flux)


def expected(piece: Piece, sky: Sky, *, factor: float, tracked: bool) -> Complex:
    """Fringe of each antenna (nt, nant, nchan): toward the source less toward where data are thought to be stopped."""
    toward = np.zeros_like(sky.source) if tracked else sky.source - sky.stop
    path = toward @ piece.enu_m.T
    return np.asarray(np.exp(2j * np.pi * factor * path[:, :, None] * piece.freq_hz / SPEED_OF_LIGHT_M_S))


def solve(piece: Piece, fringe: Complex) -> Solved:
    """Solve each channel's antennas on the mean over time, then each integration's."""
    one, two = piece.ant1, piece.ant2
    still = piece.vis * (fringe[:, one] * fringe[:, two].conj())[..., None]
    x = rank_one(still.mean(axis=0), one, two, len(piece.names))
    model = x[two] * x[one].conj()
    worth = np.sum(np.abs(model) ** 2, axis=1)
    turned = still * model.conj()
    left = turned.sum(axis=2) / np.maximum(worth, 1e-30)
    phases = np.stack([_phases(left[t], worth, one, two, len(piece.names)) for t in range(len(left))])
    # the flux without what turns within the tile: an antenna that stands elsewhere, or the air
    turned *= np.exp(1j * (phases[:, one] - phases[:, two]))[:, :, None, :]
    weight = worth.sum(axis=0)
    flux = turned.real.sum(axis=(1, 2)) / weight
    number = np.arange(one.size) % GROUPS
    group_weight = np.array([worth[number == k].sum(axis=0) for k in range(GROUPS)])
    groups = np.array([turned.real[:, number == k].sum(axis=(1, 2)) for k in range(GROUPS)])
    groups /= np.maximum(group_weight, 1e-30)[:, None]
    scatter = np.std(turned.imag, axis=(1, 2)) * np.sqrt(turned.shape[1] * turned.shape[2])
    return Solved(piece, x, phases, flux, scatter / weight, groups, group_weight, fringe)


def rank_one(values: Complex, one: NDArray[np.int64], two: NDArray[np.int64], n_ant: int) -> Complex:
    """x of values (nbl, nchan, 2) = x_2 conj(x_1): the main eigenvector, then least squares without the diagonal."""
    matrix = np.zeros((*values.shape[1:], n_ant, n_ant), np.complex128)
    matrix[..., two, one] = np.moveaxis(values, 0, -1)
    matrix[..., one, two] = np.moveaxis(values.conj(), 0, -1)
    size, vectors = np.linalg.eigh(matrix)
    x = vectors[..., -1] * np.sqrt(np.maximum(size[..., -1:], 0.0))
    for _ in range(30):
        power = np.sum(np.abs(x) ** 2, axis=-1, keepdims=True) - np.abs(x) ** 2
        new = (matrix @ x[..., None])[..., 0] / np.maximum(power, 1e-30)
        x = 0.5 * (x + new)
    return np.moveaxis(x, -1, 0)


def _phases(left: Complex, worth: Array, one: NDArray[np.int64], two: NDArray[np.int64], n_ant: int) -> Array:
    """Phases (nant, 2) of one integration's calibrated data (nbl, 2), weighted by what baselines are worth."""
    x = rank_one((left * np.sqrt(worth))[:, None, :], one, two, n_ant)[:, 0]
    return np.angle(
        x * np.exp(-1j * np.angle(x.sum(axis=0)))
    )  # the sign of an eigenvector is anybody's guess


def delays(solved: list[Solved]) -> Array:
    """Delay of each antenna and hand (nant, 2) s against the strongest antenna, the same in all subbands."""
    piece = solved[0].piece
    band = piece.freq_hz.size * piece.channel_hz
    grid = np.arange(-0.5 / piece.channel_hz, 0.5 / piece.channel_hz, 1.0 / (16.0 * band))
    power = np.zeros((grid.size, len(piece.names), 2))
    strongest = int(np.argmax(sum(np.abs(part.x).mean(axis=(1, 2)) for part in solved)))
    for part in solved:
        against = part.x * part.x[strongest].conj()
        against /= np.maximum(np.abs(against), 1e-30)
        turn = np.exp(-2j * np.pi * grid[:, None] * (part.piece.freq_hz - part.piece.freq_hz.mean()))
        power += np.abs(np.einsum("gc,ach->gah", turn, against)) ** 2
    top = np.clip(np.argmax(power, axis=0), 1, grid.size - 2)
    below, at, above = (np.take_along_axis(power, (top + k)[None], axis=0)[0] for k in (-1, 0, 1))
    curve = np.minimum(below - 2 * at + above, -1e-30)
    return np.asarray(grid[top] + (grid[1] - grid[0]) * np.clip(0.5 * (below - above) / curve, -1, 1))


def stopped_at(
    delay_s: Array, enu_m: Array, good: NDArray[np.bool_], period_s: float, hypotheses: list[Array]
) -> tuple[Array, Array]:
    """Direction cosines (east, north) by which data are stopped elsewhere than thought, and their errors.

    Delays times c over the antennas' places: cables scatter by nanoseconds, a wrong direction is linear in the place.
    Delays are known up to the period 1 / channel width: each hypothesis is where to count from, and the one that leaves
    least is taken. Both hands are fitted together, each with its own mean; what lies beyond 4 robust deviations is
    left out.
    """
    n_good = int(good.sum())
    around = enu_m[good, :2] - np.median(enu_m[good, :2], axis=0)
    rows = np.concatenate([np.tile(around, (2, 1)), np.repeat(np.eye(2), n_good, axis=0)], axis=1)
    fits = []
    for assumed in hypotheses:
        less = delay_s[good] - (around @ assumed / SPEED_OF_LIGHT_M_S)[:, None]
        turn = np.exp(2j * np.pi * less / period_s)
        middle = np.angle(turn * np.exp(-1j * np.angle(turn.mean(axis=0)))) * period_s / (2 * np.pi)
        path = (SPEED_OF_LIGHT_M_S * middle).T.ravel()
        keep = np.ones(path.size, bool)
        for _ in range(5):
            fitted, *_ = np.linalg.lstsq(rows[keep], path[keep], rcond=None)
            left = path - rows @ fitted
            spread = mad_sigma(left, about=0.0)
            keep = np.abs(left) <= 4 * max(spread, 1e-6)
        covariance = np.linalg.pinv(rows[keep].T @ rows[keep]) * np.var(left[keep])
        fits.append((float(spread), assumed + fitted[:2], np.sqrt(np.diag(covariance)[:2])))
    _, off, error = min(fits, key=lambda fit: fit[0])
    return off, error
