"""Matched filters: how much likelier an event, or its best rival, makes a light curve than its noise alone.

All amplitudes are linear: with a template g and flux d, whitened, and the mean projected out of both, the gain of the
log likelihood is (g·d)² / (2 g·g), its amplitude (g·d) / (g·g). Templates of events are positive multiples of a shape
of the bank (at most `MOST`, for the lens magnifies no more than the whole source); the rivals are a step for good, a
flare, a linear trend and one bad epoch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from contimg.variability.lens import HALF_GRID, REACH
from contimg.variability.whiten import factor, whiten

MOST = 1.2
"""Most that a shape is multiplied by: 1 where all of the source is lensed, and a margin for its error."""
CORE = 0.3
"""A template counts an epoch where it is above this part of its peak; it needs `FEWEST` of them."""
FEWEST = 3
"""Two bad nights in a row are not rare enough: by shape, an event has three."""
STEP, TREND, FLARE, SPIKE = 0, 1, 2, 3
N_RIVALS = 4

_JIT = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"})
_TAIL = 1e-6
_UNBOUND = 1e30
_STEPS = 32
_STARTS = 24
_SPIKES = 6


class Curve(NamedTuple):
    """A light curve with its noise factored: times, the factor (`whiten.factor`), whitened flux and whitened 1."""

    t: np.ndarray
    a2: float
    phi: np.ndarray
    w: np.ndarray
    isd: np.ndarray
    dw: np.ndarray
    cw: np.ndarray
    cc: float
    cd: float


@_JIT
def curve(t: np.ndarray, y: np.ndarray, v: np.ndarray, a2: float, rate: float) -> Curve:
    """Factor the noise of a light curve and whiten it: times (d), fluxes, white variance, A² and 1/τ."""
    n = t.size
    phi, w, isd, dw, cw = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    factor(t, v, a2, rate, phi, w, isd)
    whiten(y, a2, phi, w, isd, dw)
    whiten(np.ones(n), a2, phi, w, isd, cw)
    cc, cd = 0.0, 0.0
    for k in range(n):
        cc += cw[k] * cw[k]
        cd += cw[k] * dw[k]
    return Curve(t, a2, phi, w, isd, dw, cw, max(cc, 1e-300), cd)


@_JIT
def _take(
    of: Curve, n: int, y: float, f: float, num: float, den: float, nc: float
) -> tuple[float, float, float, float]:
    """Whiten epoch `n` of a template, `y`, given what is carried to it (`f`), and add it to g·d, g·g and g·1.

    Gives what it carries on, and the sums.
    """
    z = y - of.a2 * f
    out = z * of.isd[n]
    return of.w[n] * z, num + out * of.dw[n], den + out * out, nc + out * of.cw[n]


@_JIT
def solve(num: float, den: float, nc: float, of: Curve, most: float) -> tuple[float, float]:
    """Give gain of log likelihood and amplitude of a whitened template; a negative amplitude gains nothing.

    ``num`` = g·d, ``den`` = g·g, ``nc`` = g·1; ``most`` is the largest amplitude allowed.
    """
    number = num - nc * of.cd / of.cc
    weight = den - nc * nc / of.cc
    if weight <= 1e-3 * den or number <= 0.0:
        return 0.0, 0.0
    amplitude = min(number / weight, most)
    return amplitude * number - 0.5 * amplitude * amplitude * weight, amplitude


@_JIT
def event(
    of: Curve,
    shape: np.ndarray,
    first: float,
    last: float,
    peak: float,
    begin: int,
    middle: float,
    width: float,
) -> tuple[float, float]:
    """Gain and amplitude of one event.

    Parameters
    ----------
    of : Curve
    shape : ndarray, (2 HALF_GRID + 1,)
        Of the bank, with where it begins and ends (`first`, `last`, full widths) and its largest value (`peak`).
    begin : int
        An epoch not after the event's first.
    middle, width : float
        Time of the shape's middle and its full width at half maximum, in d.
    """
    start, end = middle + first * width, middle + last * width
    n = begin
    while n < of.t.size and of.t[n] < start:
        n += 1
    scale = HALF_GRID / (REACH * width)
    f, carried = 0.0, 0.0
    num, den, nc, core = 0.0, 0.0, 0.0, 0
    while n < of.t.size:
        y = 0.0
        f = of.phi[n] * (f + carried)
        if of.t[n] <= end:
            place = (of.t[n] - middle) * scale + HALF_GRID
            k = min(max(int(place), 0), 2 * HALF_GRID - 1)
            y = shape[k] + (place - k) * (shape[k + 1] - shape[k])
            if of.isd[n] > 0.0 and abs(y) > CORE * peak:
                core += 1
        elif of.a2 * of.a2 * f * f * of.isd[n] * of.isd[n] <= _TAIL * den:
            break
        carried, num, den, nc = _take(of, n, y, f, num, den, nc)
        n += 1
    if core < FEWEST:
        return 0.0, 0.0
    return solve(num, den, nc, of, MOST)


@_JIT
def step(of: Curve, k: int) -> tuple[float, float]:
    """Gain and amplitude of a step for good, before epoch `k`; of either sign."""
    f, carried, num, den, nc = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(k, of.t.size):
        f = of.phi[n] * (f + carried)
        carried, num, den, nc = _take(of, n, 1.0, f, num, den, nc)
    return _either(num, den, nc, of)


@_JIT
def spike(of: Curve, k: int) -> tuple[float, float]:
    """Gain and amplitude of one bad epoch, of either sign."""
    f, carried, num, den, nc = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(k, of.t.size):
        f = of.phi[n] * (f + carried)
        before = den
        carried, num, den, nc = _take(of, n, 1.0 if n == k else 0.0, f, num, den, nc)
        if n > k and den - before < _TAIL * den:
            break
    return _either(num, den, nc, of)


@_JIT
def trend(of: Curve) -> tuple[float, float]:
    """Gain and slope (1/d) of a linear trend, of either sign."""
    f, carried, num, den, nc = 0.0, 0.0, 0.0, 0.0, 0.0
    middle = 0.5 * (of.t[0] + of.t[-1])
    for n in range(of.t.size):
        f = of.phi[n] * (f + carried)
        carried, num, den, nc = _take(of, n, of.t[n] - middle, f, num, den, nc)
    return _either(num, den, nc, of)


@_JIT
def flare(of: Curve, begin: float, rise: float, fall: float) -> tuple[float, float]:
    """Gain and amplitude of a flare: it rises and falls exponentially, in `rise` and `fall` days; positive only."""
    f, carried, num, den, nc = 0.0, 0.0, 0.0, 0.0, 0.0
    reach = begin - 6.0 * rise
    n = np.searchsorted(of.t, reach)
    end = begin + 8.0 * fall
    while n < of.t.size:
        f = of.phi[n] * (f + carried)
        y = 0.0
        if of.t[n] < begin:
            y = math.exp((of.t[n] - begin) / rise)
        elif of.t[n] <= end:
            y = math.exp((begin - of.t[n]) / fall)
        elif of.a2 * of.a2 * f * f * of.isd[n] * of.isd[n] <= _TAIL * den:
            break
        carried, num, den, nc = _take(of, n, y, f, num, den, nc)
        n += 1
    return solve(num, den, nc, of, _UNBOUND)


@_JIT
def _either(num: float, den: float, nc: float, of: Curve) -> tuple[float, float]:
    gain, amplitude = solve(num, den, nc, of, _UNBOUND)
    if gain > 0.0:
        return gain, amplitude
    gain, amplitude = solve(-num, den, -nc, of, _UNBOUND)
    # the mean's term must change sign with the template: g → −g
    return gain, -amplitude


@_JIT
def best_step(of: Curve, begin: float, end: float) -> tuple[float, int]:
    """Best step between two times: its gain and the first epoch behind it."""
    low = max(1, int(np.searchsorted(of.t, begin)))
    high = min(of.t.size - 1, int(np.searchsorted(of.t, end)))
    best, at = 0.0, low
    stride = max(1, (high - low) // _STEPS)
    for k in range(low, high + 1, stride):
        gain, _ = step(of, k)
        if gain > best:
            best, at = gain, k
    if stride > 1:
        finer = max(1, stride // 8)
        for k in range(max(low, at - stride + 1), min(high, at + stride - 1) + 1, finer):
            gain, _ = step(of, k)
            if gain > best:
                best, at = gain, k
    return best, at


@_JIT
def best_flare(of: Curve, begin: float, end: float, width: float) -> float:
    """Gain of the best flare that begins to fall between two times, with time scales like an event's width."""
    best = 0.0
    for number in range(_STARTS):
        at = begin + (end - begin) * number / (_STARTS - 1)
        for fall in (0.25, 0.6, 1.5, 4.0):
            for rise in (0.03, 0.4):
                gain, _ = flare(of, at, rise * fall * width, fall * width)
                best = max(best, gain)
    return best


@_JIT
def best_spike(of: Curve, begin: float, end: float) -> float:
    """Gain of the best bad epoch between two times: the most deviant few are tried."""
    low, high = np.searchsorted(of.t, begin), np.searchsorted(of.t, end)
    mean = of.cd / of.cc
    tried = np.full(_SPIKES, -1)
    best = 0.0
    for number in range(_SPIKES):
        most, at = 0.0, -1
        for k in range(low, high):
            off = abs(of.dw[k] - mean * of.cw[k])
            if off > most and not (tried == k).any():
                most, at = off, k
        if at < 0:
            break
        tried[number] = at
        gain, _ = spike(of, at)
        best = max(best, gain)
    return best


@_JIT
def rivals(of: Curve, middle: float, width: float, out: np.ndarray) -> int:
    """Write the gains of step, trend, flare and bad epoch about an event; returns the first epoch after the step."""
    gain, at = best_step(of, middle - 1.5 * width, middle + 1.5 * width)
    out[STEP] = gain
    out[TREND] = trend(of)[0]
    out[FLARE] = best_flare(of, middle - 1.5 * width, middle + 1.0 * width, width)
    out[SPIKE] = best_spike(of, middle - width, middle + width)
    return at
