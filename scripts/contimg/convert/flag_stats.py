"""Statistics that tell a good antenna from a bad one, in one compiled pass over a block of baselines.

Medians are numpy's: compiled, they would cost every fresh clone ten seconds in its first job.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from contimg.core.robust import nanmedian

GROUP_CHANNELS = 16
"""Channels whose mean is taken before the median over the band: interference fills few groups."""
WILD = 1e6
"""Power over its baseline's usual power from which a visibility is absurd, beyond what interference does: a thousand
times the amplitude. One such value would fill the image, and the search for interference around it."""
SHORTEST_M = 25.0
"""The first octave of baseline lengths ends at twice this."""


def usual_power(data: NDArray[np.complex64], flags: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean squared amplitude of each baseline of a block, (n, ncorr); 0 where there are no good data.

    The median over groups of `GROUP_CHANNELS` channels of means over the group and all integrations.

    Parameters
    ----------
    data, flags
        (nt, n, nchan, ncorr).
    """
    _, n_baselines, n_chan, n_corr = data.shape
    sums = np.zeros((n_baselines, n_corr, max(1, n_chan // GROUP_CHANNELS), 2))
    _squares(data, flags, sums)
    return _median_of_means(sums[..., 0], sums[..., 1])


@numba.njit(nogil=True, cache=True)
def _squares(data: NDArray[np.complex64], flags: NDArray[np.bool_], sums: NDArray[np.float64]) -> None:
    """Add to `sums`, (n, ncorr, ngroups, 2), squares and their number."""
    n_times, n_baselines, n_chan, n_corr = data.shape
    n_groups = sums.shape[2]
    for b in range(n_baselines):
        for t in range(n_times):
            for group in range(n_groups):
                last = n_chan if group == n_groups - 1 else (group + 1) * GROUP_CHANNELS
                for corr in range(n_corr):
                    total, count = 0.0, 0
                    for chan in range(group * GROUP_CHANNELS, last):
                        if not flags[t, b, chan, corr]:
                            value = np.complex128(data[t, b, chan, corr])
                            total += value.real * value.real + value.imag * value.imag
                            count += 1
                    sums[b, corr, group, 0] += total
                    sums[b, corr, group, 1] += count


def block_power(
    data: NDArray[np.complex64],
    flags: NDArray[np.bool_],
    power: NDArray[np.float64],
    noise: NDArray[np.float64],
    noise_in_time: NDArray[np.float64],
) -> None:
    """Mean squared amplitude and noise of each baseline of a block, whose noise is flat over the band.

    Both are medians over groups of `GROUP_CHANNELS` channels of means over the group and all integrations. The
    noise comes from second differences of neighbouring channels, (V[k-1] - 2 V[k] + V[k+1]) / sqrt(6), in which a
    source whose phase turns by p rad a channel is left with p^2 / sqrt(6) of its flux: 3e-3 for one at 1 deg
    on the longest baseline.

    Parameters
    ----------
    data, flags
        (nt, n, nchan, ncorr).
    power, noise
        (n, ncorr), written: <|V|^2> and the noise's share of it (twice the variance of the real part); 0 where
        there are no good data.
    noise_in_time
        (nt, n, ncorr), written: the noise of each integration, its mean over the band; 0 where there are no good
        data.
    """
    n_times, n_baselines, n_chan, n_corr = data.shape
    sums = np.zeros((n_baselines, n_corr, max(1, n_chan // GROUP_CHANNELS), 2))
    in_time = np.zeros((n_times, n_baselines, n_corr, 2))
    _squared_bends(data, flags, sums, in_time)
    noise_in_time[:] = 0.0
    np.divide(in_time[..., 0], in_time[..., 1], out=noise_in_time, where=in_time[..., 1] > 0)
    power[:] = usual_power(data, flags)
    noise[:] = _median_of_means(sums[..., 0], sums[..., 1])


@numba.njit(nogil=True, cache=True)
def _squared_bends(
    data: NDArray[np.complex64],
    flags: NDArray[np.bool_],
    sums: NDArray[np.float64],
    in_time: NDArray[np.float64],
) -> None:
    """Add squared second differences and their number to `sums`, (n, ncorr, ngroups, 2), and `in_time`, (nt, n, …)."""
    n_times, n_baselines, n_chan, n_corr = data.shape
    n_groups = sums.shape[2]
    for b in range(n_baselines):
        for corr in range(n_corr):
            for t in range(n_times):
                for chan in range(1, n_chan - 1):
                    if flags[t, b, chan - 1, corr] or flags[t, b, chan, corr] or flags[t, b, chan + 1, corr]:
                        continue
                    bend = (
                        np.complex128(data[t, b, chan - 1, corr])
                        + data[t, b, chan + 1, corr]
                        - 2.0 * np.complex128(data[t, b, chan, corr])
                    )
                    square = (bend.real * bend.real + bend.imag * bend.imag) / 6.0
                    group = min(chan // GROUP_CHANNELS, n_groups - 1)
                    sums[b, corr, group, 0] += square
                    sums[b, corr, group, 1] += 1.0
                    in_time[t, b, corr, 0] += square
                    in_time[t, b, corr, 1] += 1.0


def flag_wild(data: NDArray[np.complex64], flags: NDArray[np.bool_], power: NDArray[np.float64]) -> int:
    """Flag what is absurdly strong for its baseline, and what is not finite; returns how much that is.

    Parameters
    ----------
    data, flags
        (nt, n, nchan, ncorr), changed in place: what is wild is flagged, and 0 for who looks at the block next.
    power
        (n, ncorr) `usual_power`, a median over groups of channels that a few wild values do not
        move; where there are too few groups for that, the median over all visibilities is taken.
    """
    usual = power
    if data.shape[2] < 3 * GROUP_CHANNELS:
        square = np.square(data.real, dtype=np.float64) + np.square(data.imag, dtype=np.float64)
        usual = nanmedian(
            np.where(flags, np.nan, square).transpose(1, 3, 0, 2).reshape(*power.shape, -1), axis=-1
        )
    return int(_flag_above(data, flags, WILD * usual))


@numba.njit(nogil=True, cache=True)
def _flag_above(data: NDArray[np.complex64], flags: NDArray[np.bool_], limit: NDArray[np.float64]) -> int:
    n_times, n_baselines, n_chan, n_corr = data.shape
    found = 0
    for t in range(n_times):
        for b in range(n_baselines):
            for chan in range(n_chan):
                for corr in range(n_corr):
                    if flags[t, b, chan, corr] or not limit[b, corr] > 0.0:
                        continue
                    value = np.complex128(data[t, b, chan, corr])
                    if not value.real * value.real + value.imag * value.imag <= limit[b, corr]:
                        flags[t, b, chan, corr] = True
                        data[t, b, chan, corr] = 0.0
                        found += 1
    return found


def _median_of_means(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over the last axis of `sums` / `counts` where there are any, else 0."""
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    some = (counts > 0).any(axis=-1)
    median = np.zeros(some.shape)
    median[some] = np.nanmedian(means[some], axis=-1)
    return median


@numba.njit(nogil=True, cache=True)
def count_flags(
    flags: NDArray[np.bool_],
    cross: NDArray[np.bool_],
    per_baseline: NDArray[np.int64],
    per_channel: NDArray[np.int64],
) -> None:
    """Add the flags of one integration, (nbl, nchan, ncorr), to those of each baseline, (nbl,), and channel.

    `per_channel`, (nchan,), counts only baselines where `cross`, (nbl,), is true.
    """
    n_baselines, n_chan, n_corr = flags.shape
    for b in range(n_baselines):
        for chan in range(n_chan):
            for corr in range(n_corr):
                if flags[b, chan, corr]:
                    per_baseline[b] += 1
                    per_channel[chan] += cross[b]


def octaves(
    length_m: NDArray[np.float64], used: NDArray[np.bool_]
) -> Iterator[tuple[float, float, NDArray[np.bool_]]]:
    """Sort baselines by length into octaves from `SHORTEST_M` on; what is shorter is in the first.

    Parameters
    ----------
    length_m, used
        (nbl,); baselines not used are in none.

    Yields
    ------
    low_m, high_m : float
    chosen : ndarray of bool, (nbl,)
        Never empty.
    """
    octave = np.floor(np.log2(np.maximum(length_m, SHORTEST_M) / SHORTEST_M)).astype(int)
    for number in np.unique(octave[used]):
        low = float(SHORTEST_M * 2.0**number)
        yield (low if number else 0.0), 2.0 * low, used & (octave == number)


def antenna_terms(
    baseline_values: NDArray[np.float64], ant1: NDArray[np.int64], ant2: NDArray[np.int64], n_antennas: int
) -> NDArray[np.float64]:
    """Split positive values of baselines into factors of antennas, value[i, j] = term[i] x term[j], robustly.

    Parameters
    ----------
    baseline_values
        (nbl,); values that are not positive are left out.
    ant1, ant2
        (nbl,) indices of different antennas.
    n_antennas
        Length of the answer.

    Returns
    -------
    ndarray, (n_antennas,)
        The factors: the fixed point of "the median over an antenna's baselines of value / the other's factor",
        in logarithms; NaN for an antenna without a value.
    """
    matrix = np.full((n_antennas, n_antennas), np.nan)
    good = (baseline_values > 0) & (ant1 != ant2)
    logs = np.log(baseline_values[good])
    matrix[ant1[good], ant2[good]] = matrix[ant2[good], ant1[good]] = logs
    present = np.isfinite(matrix).any(axis=1)
    terms = np.full(n_antennas, np.nan)
    if not present.any():
        return terms
    square = matrix[np.ix_(present, present)]
    found = np.full(len(square), np.nanmedian(square) / 2)
    for _ in range(30):  # halves the error each time
        found = 0.5 * (found + np.nanmedian(square - found[np.newaxis, :], axis=1))
    terms[present] = found
    return np.exp(terms)
