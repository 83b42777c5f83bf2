"""The inner loop: many sources onto many baselines and channels."""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def _sinc_and_slope(x: float) -> tuple[float, float]:
    """Return sin(x) / x and its derivative; a series near 0."""
    if abs(x) < 0.3:
        y = x * x
        value = 1.0 - y / 6.0 * (1.0 - y / 20.0 * (1.0 - y / 42.0 * (1.0 - y / 72.0)))
        slope = -x / 3.0 * (1.0 - y / 10.0 * (1.0 - y / 28.0 * (1.0 - y / 54.0)))
        return value, slope
    value = math.sin(x) / x
    return value, (math.cos(x) - value) / x


@numba.njit(parallel=True, cache=True, fastmath=True)
def add_sky(
    vis: np.ndarray,
    phasor: np.ndarray,
    step: np.ndarray,
    channel_angle: np.ndarray,
    time_angle: np.ndarray,
    step_fraction: float,
    extent: np.ndarray,
    flux: np.ndarray,
    gain: np.ndarray,
    alive: np.ndarray,
    ant1: np.ndarray,
    ant2: np.ndarray,
    pairs: np.ndarray,
) -> None:
    """Add the sky to (nt, nbl, nchan, npol) visibilities and multiply all by the gains, in place.

    Parameters
    ----------
    phasor, step : complex128, (nt, nant, nsrc)
        exp(2 pi i nu path / c) of the first channel, and its factor from one channel to the next.
    channel_angle, time_angle : float64, (nt, nant, nsrc)
        Half the turn of the fringe across a channel and, at the first channel, across an integration (rad):
        each averages the fringe by sin(x) / x. The second grows with frequency by `step_fraction` a channel
        and is followed to first order.
    extent : float64, (nt, nant, nsrc, 2)
        A Gaussian source keeps exp(-x² - y²) of its fringe at the first channel, x and y the differences of the
        antennas' two numbers, which grow with frequency; all 0 for a point.
    flux : float64, (2, nt, nchan, nsrc)
        As the receptors X and Y see it.
    gain : complex64, (nt, nant, nchan, 2)
    alive : bool, (nant,)
        Antennas that see the sky.
    ant1, ant2 : int, (nbl,)
        Indices of antennas.
    pairs : int, (npol, 2)
        Receptor (0 X, 1 Y) of antenna 1 and of antenna 2 for each polarisation product.
    """
    n_times, n_baselines, n_channels, n_pols = vis.shape
    n_sources = flux.shape[3]
    for row in numba.prange(n_times * n_baselines):
        t = row // n_baselines
        b = row % n_baselines
        i, j = ant1[b], ant2[b]
        real, imag = np.empty(n_sources), np.empty(n_sources)
        step_real, step_imag = np.empty(n_sources), np.empty(n_sources)
        loss, loss_step = np.empty(n_sources), np.empty(n_sources)
        # exp(-x² (1 + c r)²) by recurrence: its ratio from channel to channel changes by one factor
        fall, ratio, bend = np.ones(n_sources), np.ones(n_sources), np.ones(n_sources)
        for s in range(n_sources):
            start = phasor[t, j, s] * phasor[t, i, s].conjugate()
            turn = step[t, j, s] * step[t, i, s].conjugate()
            real[s], imag[s], step_real[s], step_imag[s] = start.real, start.imag, turn.real, turn.imag
            by_channel, _ = _sinc_and_slope(channel_angle[t, j, s] - channel_angle[t, i, s])
            x = time_angle[t, j, s] - time_angle[t, i, s]
            by_time, slope = _sinc_and_slope(x)
            loss[s] = by_channel * by_time
            loss_step[s] = by_channel * slope * x * step_fraction
            wide = (extent[t, j, s, 0] - extent[t, i, s, 0]) ** 2 + (
                extent[t, j, s, 1] - extent[t, i, s, 1]
            ) ** 2
            if wide > 0.0:
                fall[s] = math.exp(-wide)
                ratio[s] = math.exp(-wide * step_fraction * (2.0 + step_fraction))
                bend[s] = math.exp(-2.0 * wide * step_fraction**2)
        lit = alive[i] and alive[j]
        for c in range(n_channels):
            x_real, x_imag, y_real, y_imag = 0.0, 0.0, 0.0, 0.0
            if lit:
                for s in range(n_sources):
                    left = (loss[s] + c * loss_step[s]) * fall[s]
                    fall[s] *= ratio[s]
                    ratio[s] *= bend[s]
                    strength = flux[0, t, c, s] * left
                    x_real += strength * real[s]
                    x_imag += strength * imag[s]
                    strength = flux[1, t, c, s] * left
                    y_real += strength * real[s]
                    y_imag += strength * imag[s]
                    turned = real[s] * step_real[s] - imag[s] * step_imag[s]
                    imag[s] = real[s] * step_imag[s] + imag[s] * step_real[s]
                    real[s] = turned
            for p in range(n_pols):
                first, second = pairs[p, 0], pairs[p, 1]
                value = vis[t, b, c, p]
                if first == second:
                    value += complex(x_real, x_imag) if first == 0 else complex(y_real, y_imag)
                value *= gain[t, i, c, first] * gain[t, j, c, second].conjugate()
                if i == j and first == second:
                    value = complex(value.real, 0.0)
                vis[t, b, c, p] = value
