"""The search of one light curve, and of many one after the other: compiled, and free of Python's lock.

For each source: its noise; a first pass with few shapes over all times and durations; for the windows that gain most,
the noise again with the window left out, the whole bank in finer steps, and the rivals. The epochs of what is found
are left out from then on, and the search begins again, so that repeated events are found apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from contimg.variability.lens import HALF_GRID, REACH
from contimg.variability.match import N_RIVALS, Curve, curve, event, rivals
from contimg.variability.red_noise import N_NODES, grid_likelihood, posterior_noise
from contimg.variability.whiten import outside_prediction

WINDOWS = 2
"""Windows of each first pass that are looked at closely."""
CONFIRMED = 0.6
"""A deviation is confirmed by an epoch beside it that deviates the same way, by this part of it at least."""
EVENTS = 8
"""Most events of one source."""
DOUBT = 2.0
"""What an event gains over its best rival counts so often: noise is told from an event by all of the gain, a step or a
flare by the difference alone."""
COLUMNS = (
    "statistic", "gain", "middle", "width", "shape", "amplitude", "rival_step", "rival_trend", "rival_flare",
    "rival_spike", "step_epoch", "sigma", "sigma_epoch", "pair", "jitter2", "a2", "rate", "first", "last",
)  # fmt: skip
(
    STATISTIC, GAIN, MIDDLE, WIDTH, SHAPE, AMPLITUDE, RIVAL, _R1, _R2, _R3, STEP_EPOCH, SIGMA, SIGMA_EPOCH, PAIR,
    JITTER2, A2, RATE, FIRST, LAST,
) = range(len(COLUMNS))  # fmt: skip
_JIT = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"})
_PER_WIDTH = 5.0
_ALONE = 4.0
_MOST_LEFT_OUT = 0.6
_FAR = 1.5
_FINE = (0.7, 0.83, 1.0, 1.2, 1.43)
_OUT_OF_DATA = 0.3


class Shapes(NamedTuple):
    """The bank as arrays: shapes, first, last, peak of each, and which a first pass tries."""

    table: np.ndarray
    first: np.ndarray
    last: np.ndarray
    peak: np.ndarray
    coarse: np.ndarray
    core_first: np.ndarray
    core_last: np.ndarray


@_JIT
def tame(flux: np.ndarray, error: np.ndarray, variance: np.ndarray) -> None:
    """Raise the variance of an epoch that stands alone: far from the two before and the two after, which agree.

    Written to `variance`: a third of the deviation, squared, so that one bad epoch is no noise of the source and no
    event. The last epoch of a curve that deviates so is not believed before the next confirms it.
    """
    unit = np.median(error)
    for k in range(flux.size):
        low, high = max(0, k - 2), min(flux.size, k + 3)
        others = np.empty(high - low - 1)
        count = 0
        for n in range(low, high):
            if n != k:
                others[count] = flux[n]
                count += 1
        if count < 2:
            continue
        middle = np.median(others)
        off = flux[k] - middle
        spread = 0.0
        for value in others:
            spread = max(spread, abs(value - middle)) if count < 3 else spread + abs(value - middle) / count
        scale = np.sqrt(error[k] ** 2 + 0.5 * unit**2 + spread**2)
        alone = abs(off) > _ALONE * scale
        for n in (k - 1, k + 1):
            alone = alone and (n < 0 or n >= flux.size or (flux[n] - middle) * off < 0.5 * off * off)
        if alone:
            variance[k] = max(variance[k], off * off / 9.0)


@_JIT
def _coarse(of: Curve, bank: Shapes, widths: np.ndarray, since: float, found: np.ndarray) -> int:
    """First pass: write (gain, middle, width, shape) of the best shape at each time and duration."""
    count = 0
    begin, end = of.t[0], of.t[-1]
    for width in widths:
        stride = width / _PER_WIDTH
        middle = max(begin - _OUT_OF_DATA * width, since - REACH * width)
        low = 0
        while middle <= end + _OUT_OF_DATA * width and count < len(found):
            while low < of.t.size and of.t[low] < middle - REACH * width:
                low += 1
            best, which = 0.0, -1
            for shape in bank.coarse:
                if middle + bank.core_last[shape] * width < since:
                    continue
                gain, _ = event(
                    of, bank.table[shape], bank.first[shape], bank.last[shape], bank.peak[shape], low, middle, width
                )  # fmt: skip
                if gain > best:
                    best, which = gain, shape
            if which >= 0:
                found[count, 0], found[count, 1] = best, middle
                found[count, 2], found[count, 3] = width, which
                count += 1
            middle += stride
    return count


@_JIT
def _best_windows(found: np.ndarray, count: int, chosen: np.ndarray) -> int:
    """Choose the windows that gain most and lie apart."""
    n = 0
    while n < len(chosen):
        best, at = 0.0, -1
        for k in range(count):
            if found[k, 0] > best:
                apart = True
                for c in range(n):
                    gap = abs(found[k, 1] - found[chosen[c], 1])
                    apart = apart and gap > 0.8 * max(found[k, 2], found[chosen[c], 2])
                if apart:
                    best, at = found[k, 0], k
        if at < 0:
            break
        chosen[n] = at
        n += 1
    return n


@_JIT
def _windows(
    t: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    a2: float,
    quiet_a2: float,
    rate: float,
    bank: Shapes,
    widths: np.ndarray,
    since: float,
    found: np.ndarray,
    chosen: np.ndarray,
    windows: np.ndarray,
) -> int:
    """Write middle, width and shape of the windows worth a closer look.

    An event that fills much of a curve passes for its noise: so the first pass is made with the population's quiet
    noise too, where that is less.
    """
    n = 0
    for quiet in range(2):
        if quiet == 1 and a2 <= quiet_a2:
            break
        walk2 = min(a2, quiet_a2) if quiet == 1 else a2
        count = _coarse(curve(t, y, v, walk2, rate), bank, widths, since, found)
        for k in range(_best_windows(found, count, chosen)):
            windows[n] = found[chosen[k], 1:4]
            known = False
            for other in range(n):
                gap = abs(windows[other, 0] - windows[n, 0])
                known = known or (gap < 0.3 * windows[other, 1] and windows[other, 1] == windows[n, 1])
            n += 0 if known else 1
    return n


@_JIT
def _try(
    of: Curve, bank: Shapes, middle: float, width: float, since: float, shape: int, out: np.ndarray
) -> None:
    """Try one shape at one place; write it if it gains more than what is written."""
    if middle > of.t[-1] + _OUT_OF_DATA * width or middle < of.t[0] - _OUT_OF_DATA * width:
        return
    if middle + bank.core_last[shape] * width < since:
        return
    low = np.searchsorted(of.t, middle - REACH * width)
    gain, amplitude = event(
        of, bank.table[shape], bank.first[shape], bank.last[shape], bank.peak[shape], low, middle, width
    )
    if gain > out[GAIN]:
        out[GAIN], out[MIDDLE], out[WIDTH], out[SHAPE] = gain, middle, width, shape
        out[AMPLITUDE] = amplitude


@_JIT
def _refine(of: Curve, bank: Shapes, middle: float, width: float, since: float, out: np.ndarray) -> None:
    """Try the whole bank about a window, then the best shape in finer steps; write the best."""
    out[GAIN] = 0.0
    for factor in (0.75, 1.0, 1.33):
        for number in (-1, 0, 1):
            for shape in range(len(bank.table)):
                _try(of, bank, middle + 0.25 * number * width, width * factor, since, shape, out)
    if out[GAIN] <= 0.0:
        return
    middle, width, best = out[MIDDLE], out[WIDTH], int(out[SHAPE])
    for factor in _FINE:
        for number in range(-4, 5):
            _try(of, bank, middle + 0.08 * number * width, width * factor, since, best, out)


@_JIT
def _value(bank: Shapes, shape: int, x: float) -> float:
    """Give the value of a shape at x full widths from its middle."""
    place = (x / REACH + 1.0) * HALF_GRID
    k = int(place)
    if x < -REACH or k < 0 or k >= 2 * HALF_GRID:
        return 0.0
    table = bank.table[shape]
    return table[k] + (place - k) * (table[k + 1] - table[k])


@_JIT
def _leave_out(t: np.ndarray, masked: np.ndarray, bank: Shapes, row: np.ndarray, hidden: np.ndarray) -> None:
    """Leave the epochs of an event, where its shape is above CORE of its peak, out of the noise, beside those masked.

    Writes `hidden`, and the event's first and last time to its row. What fills most of the curve cannot be left out:
    the rest would tell no noise.
    """
    shape = int(row[SHAPE])
    low = row[MIDDLE] + bank.core_first[shape] * row[WIDTH]
    high = row[MIDDLE] + bank.core_last[shape] * row[WIDTH]
    margin = 0.1 * (high - low)
    row[FIRST], row[LAST] = max(low - margin, t[0]), min(high + margin, t[-1])
    count = 0
    for n in range(t.size):
        inside = row[FIRST] <= t[n] <= row[LAST]
        hidden[n] = np.inf if inside else masked[n]
        count += 1 if inside else 0
    if count > _MOST_LEFT_OUT * t.size:
        hidden[:] = masked


@_JIT
def _deviations(
    t: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    more: np.ndarray,
    a2: float,
    rate: float,
    near_d: float,
    sigma: np.ndarray,
) -> None:
    """Write each epoch's deviation from a baseline that leaves it and its window out, over its full error.

    `more` is added to the variance of an epoch where it serves as baseline: infinite within events. The baseline is the
    mean of the epochs outside the events' windows, and what the damped random walk predicts from the
    epochs outside them and more than `near_d` away. The error is that of epoch, walk and mean.
    """
    n = t.size
    outside = np.empty(n)
    for k in range(n):
        outside[k] = v[k] + more[k]
    of = curve(t, y, outside, a2, rate)
    mean, mean_variance = of.cd / of.cc, min(1.0 / of.cc, 1e6)
    walk, variance, reach, free = np.empty(n), np.empty(n), np.full(n, near_d), np.empty(n)
    for k in range(n):
        free[k] = y[k] - mean
    outside_prediction(t, free, outside, a2, rate, reach, walk, variance)
    for k in range(n):
        sigma[k] = (free[k] - walk[k]) / np.sqrt(v[k] + variance[k] + mean_variance)


@_JIT
def search_one(
    t: np.ndarray,
    flux: np.ndarray,
    error: np.ndarray,
    log_prior: np.ndarray,
    quiet_a2: float,
    bank: Shapes,
    widths: np.ndarray,
    since: float,
    again: float,
    near_d: float,
    out: np.ndarray,
) -> None:
    """Search a light curve.

    Parameters
    ----------
    t, flux, error : ndarray, (N,)
        Times (d), relative fluxes, errors.
    log_prior : ndarray, (N_NODES,)
        Of the noise (`red_noise.learn_prior`).
    quiet_a2 : float
        Variance of the damped random walk of the population's quieter half.
    bank : Shapes
    widths : ndarray
        Durations of the first pass, in d.
    since : float
        Only events that reach beyond this time.
    again : float
        A further event is looked for where the last has at least this statistic.
    near_d : float
        Half-width of the window of an epoch outside events, in d.
    out : ndarray, (EVENTS, columns)
        Written: a row an event, best first found; statistic −1 where there is none. Behind the last one, with statistic
        −2, what made the largest gain of all but had a better rival: it tells what a deviation is.
    """
    n = t.size
    y, variance = flux, error * error
    tame(flux, error, variance)
    unit = np.median(error)
    likelihood, masked = np.empty(N_NODES), np.zeros(n)
    room = 0
    for width in widths:
        room += int((t[-1] - t[0] + 2.0 * (_OUT_OF_DATA + REACH) * width) / width * _PER_WIDTH) + 2
    found, chosen = np.empty((room, 4)), np.empty(WINDOWS, dtype=np.int64)
    windows = np.empty((2 * WINDOWS + 1, 3))
    row, loud = np.empty(out.shape[1]), np.empty(out.shape[1])
    hidden, v, sigma = np.empty(n), np.empty(n), np.empty(n)
    for number in range(EVENTS):
        out[number, :] = 0.0
        out[number, STATISTIC] = -1.0
        grid_likelihood(t, y, variance + masked, unit, likelihood)
        jitter2, a2, rate = posterior_noise(likelihood, log_prior, unit)
        if number == 0:
            out[0, JITTER2], out[0, A2], out[0, RATE] = jitter2, a2, rate
        loud[:] = 0.0
        n_windows = _windows(
            t, y, variance + jitter2, a2, quiet_a2, rate, bank, widths, since, found, chosen, windows
        )
        for k in range(n_windows):
            row[:] = 0.0
            row[MIDDLE], row[WIDTH], row[SHAPE] = windows[k, 0], windows[k, 1], windows[k, 2]
            _leave_out(t, masked, bank, row, hidden)
            grid_likelihood(t, y, variance + hidden, unit, likelihood)
            row[JITTER2], row[A2], row[RATE] = posterior_noise(likelihood, log_prior, unit)
            of = curve(t, y, variance + row[JITTER2], row[A2], row[RATE])
            _refine(of, bank, row[MIDDLE], row[WIDTH], since, row)
            if row[GAIN] <= 0.0:
                continue
            _leave_out(t, masked, bank, row, v)  # for its first and last time
            row[STEP_EPOCH] = rivals(of, row[MIDDLE], row[WIDTH], row[RIVAL : RIVAL + N_RIVALS])
            over_rival = row[GAIN] - max(0.0, np.max(row[RIVAL : RIVAL + N_RIVALS]))
            row[STATISTIC] = min(row[GAIN], DOUBT * over_rival)
            if row[STATISTIC] > out[number, STATISTIC]:
                out[number, :] = row
            if row[GAIN] > loud[GAIN]:
                loud[:] = row
        best = out[number]
        window = best if best[STATISTIC] >= again else loud
        hidden[:] = masked
        if window[GAIN] > 0.0:
            _leave_out(t, masked, bank, window, hidden)
        v[:] = error * error + window[JITTER2]
        _deviations(t, y, v, variance - error * error + hidden, window[A2], window[RATE], near_d, sigma)
        _extreme(t, sigma, masked, window, best, since, number)
        if best[STATISTIC] < again:
            if number + 1 < EVENTS:
                out[number + 1, :] = loud
                out[number + 1, STATISTIC] = -2.0
            break
        shape = int(best[SHAPE])
        low = best[MIDDLE] + max(bank.first[shape], -_FAR) * best[WIDTH]
        high = best[MIDDLE] + min(bank.last[shape], _FAR) * best[WIDTH]
        for k in range(n):
            if low <= t[k] <= high:
                masked[k], variance[k] = np.inf, np.inf


@_JIT
def confirmed(sigma: np.ndarray, k: int) -> float:
    """Deviation of an epoch as far as the epochs beside it confirm it.

    Two of three epochs in a row with it that deviate the same way by `CONFIRMED` of it confirm it in full, one alone
    the half of it: two nights in a row may both be bad.
    """
    best = 0.0
    for first in (k - 2, k - 1, k):
        least = abs(sigma[k])
        for other in range(first, first + 3):
            if other != k:
                same = 0 <= other < sigma.size and sigma[other] * sigma[k] > 0.0
                least = min(least, abs(sigma[other]) / CONFIRMED if same else 0.0)
        best = max(best, least)
    for other in (k - 1, k + 1):
        if 0 <= other < sigma.size and sigma[other] * sigma[k] > 0.0:
            best = max(best, 0.5 * min(abs(sigma[k]), abs(sigma[other]) / CONFIRMED))
    return best


@_JIT
def _extreme(
    t: np.ndarray,
    sigma: np.ndarray,
    masked: np.ndarray,
    window: np.ndarray,
    row: np.ndarray,
    since: float,
    number: int,
) -> None:
    """Write the largest deviation: of the whole curve for the first event, else of the event's epochs."""
    own = number > 0
    best = -1.0
    for k in range(t.size):
        new = window[FIRST] <= t[k] <= window[LAST]
        if t[k] < since or masked[k] == np.inf or (own and not new):
            continue
        if abs(sigma[k]) > best:
            best = abs(sigma[k])
            row[SIGMA], row[SIGMA_EPOCH] = sigma[k], k
        row[PAIR] = max(row[PAIR], confirmed(sigma, k))


@_JIT
def search_many(
    t: np.ndarray,
    flux: np.ndarray,
    error: np.ndarray,
    starts: np.ndarray,
    log_prior: np.ndarray,
    quiet_a2: float,
    bank: Shapes,
    widths: np.ndarray,
    since: np.ndarray,
    again: float,
    near_d: float,
    out: np.ndarray,
) -> None:
    """Search many light curves: source s has the epochs starts[s] to starts[s + 1]; see `search_one`."""
    for s in range(len(starts) - 1):
        a, b = starts[s], starts[s + 1]
        if b - a < 4:
            out[s] = 0.0
            out[s, :, STATISTIC] = -1.0
            continue
        search_one(
            t[a:b], flux[a:b], error[a:b], log_prior, quiet_a2, bank, widths, since[s], again, near_d, out[s]
        )


@_JIT
def likelihoods(
    t: np.ndarray, flux: np.ndarray, error: np.ndarray, starts: np.ndarray, out: np.ndarray
) -> None:
    """Log likelihood of many light curves at each node of the grid of noise (`red_noise`)."""
    for s in range(len(starts) - 1):
        a, b = starts[s], starts[s + 1]
        if b - a < 4:
            out[s] = 0.0
            continue
        grid_likelihood(t[a:b], flux[a:b], error[a:b] ** 2, np.median(error[a:b]), out[s])
