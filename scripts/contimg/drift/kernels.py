"""The compiled loops of the drift model: one integration's rows, all sources, all channels.

A source's fringe separates into antennas, so the sines and cosines are made once for each antenna, source
and channel, and a visibility costs one complex product a source. What does not separate is smearing: each
row and source has three coefficients, its value being g₀ + g₁ f + g₂ f² with f running from -1 to 1 across
the band.

Precision: turns (tens across a beam, 10⁵ rad at most) are taken in float64 and reduced before sine and cosine;
between seeds, every `RESEED_CHANNELS` channels, the phasor advances by multiplication in float64, which errs
by 1e-14 at most; only then is it rounded to float32. A product of two of them errs by 2e-7 of the source's
flux, a tenth of a microjansky for a source of 1 Jy, and at random; the data are stored to the same precision.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from contimg.drift.shape import FALL

Array = NDArray[Any]
RESEED_CHANNELS = 64
"""Channels between two exact sines and cosines."""
SMEAR_TURNS = 11
"""Numbers for each source and antenna that say what averaging and a source's size take (`predict_rows`)."""
CHANNEL_BLOCKS = 4
"""Parts of the band that `residual_rows` keeps apart."""


@numba.njit(cache=True, nogil=True)
def _sinc(x: float) -> float:  # pragma: no cover
    """Return sin(x) / x; a series near zero (its error is x^14 / 15! < 1e-11 below 1.2), where most rows are."""
    if abs(x) < 1.2:
        y = x * x
        return 1.0 - y / 6.0 * (
            1.0 - y / 20.0 * (1.0 - y / 42.0 * (1.0 - y / 72.0 * (1.0 - y / 110.0 * (1.0 - y / 156.0))))
        )
    return math.sin(x) / x


@numba.njit(cache=True, nogil=True)
def _dirichlet(n: int, x: float) -> float:  # pragma: no cover
    """Return sin(n x) / (n sin x), the mean of exp(2i k x) over n values of k about zero."""
    if abs(x) < 0.5:
        return _sinc(n * x) / _sinc(x)
    turns = round(x / math.pi)
    rest = x - turns * math.pi
    sign = -1.0 if (turns * (n - 1)) % 2 else 1.0
    return sign * _sinc(n * rest) / _sinc(rest)


@numba.njit(cache=True, nogil=True)
def _smear(
    channel_turns: float, delay_turns: float, n_average: int, rate_turns: Array, size: Array, out: Array
) -> None:  # pragma: no cover
    """Fill `out` (3,) with the smearing of one row and source as a parabola across the band.

    `channel_turns` across a raw channel (from where the raw data are phased to), `delay_turns` from one raw
    channel to the next (from the phase centre), `rate_turns` across an integration at the band's lower edge,
    middle and upper edge (from the point the fringe stopper follows); `size` is what the source's size leaves there.
    """
    fixed = _sinc(math.pi * channel_turns)
    if n_average > 1:
        fixed *= _dirichlet(n_average, math.pi * delay_turns)
    low, middle, high = (
        size[0] * _sinc(math.pi * rate_turns[0]),
        size[1] * _sinc(math.pi * rate_turns[1]),
        size[2] * _sinc(math.pi * rate_turns[2]),
    )
    out[0] = fixed * middle
    out[1] = fixed * 0.5 * (high - low)
    out[2] = fixed * (0.5 * (high + low) - middle)


@numba.njit(cache=True, nogil=True)
def _row_smear(
    one: int, two: int, smear_turns: Array, n_average: int, out: Array
) -> None:  # pragma: no cover
    """Fill `out` (nsrc, 3) with the smearing of the baseline of antennas `one` and `two`."""
    rate, size = np.empty(3, np.float64), np.empty(3, np.float64)
    for s in range(out.shape[0]):
        for k in range(3):
            rate[k] = smear_turns[s, one, 2 + k] - smear_turns[s, two, 2 + k]
            x = smear_turns[s, one, 5 + 2 * k] - smear_turns[s, two, 5 + 2 * k]
            y = smear_turns[s, one, 6 + 2 * k] - smear_turns[s, two, 6 + 2 * k]
            size[k] = math.exp(-(x * x + y * y)) if x != 0.0 or y != 0.0 else 1.0
        _smear(
            smear_turns[s, one, 0] - smear_turns[s, two, 0],
            smear_turns[s, one, 1] - smear_turns[s, two, 1],
            n_average,
            rate,
            size,
            out[s],
        )


@numba.njit(parallel=True, cache=True, nogil=True)
def antenna_phasors(
    delay_s: Array, freq_hz: Array, uniform: bool, real: Array, imag: Array
) -> None:  # pragma: no cover
    """Fill `real` and `imag` (nsrc, nant, nchan) with exp(2πi delay ν).

    Parameters
    ----------
    delay_s : float64, (nsrc, nant)
    freq_hz : float64, (nchan,)
    uniform
        Whether the channels are equidistant, so that the phase may advance by multiplication.
    """
    n_src, n_ant, n_chan = real.shape
    width = freq_hz[1] - freq_hz[0] if n_chan > 1 else 0.0
    for k in numba.prange(n_src * n_ant):
        s, a = k // n_ant, k % n_ant
        delay = delay_s[s, a]
        angle = 2.0 * math.pi * delay * width
        step_re, step_im = math.cos(angle), math.sin(angle)
        re, im = 1.0, 0.0
        for c in range(n_chan):
            if not uniform or c % RESEED_CHANNELS == 0:
                turns = delay * freq_hz[c]
                angle = 2.0 * math.pi * (turns - round(turns))
                re, im = math.cos(angle), math.sin(angle)
            real[s, a, c] = re
            imag[s, a, c] = im
            re, im = re * step_re - im * step_im, re * step_im + im * step_re


@numba.njit(cache=True, nogil=True, fastmath=True)
def _row_model(
    one: int,
    two: int,
    real: Array,
    imag: Array,
    apparent: Array,
    f: Array,
    smear: Array,
    re: Array,
    im: Array,
) -> None:  # pragma: no cover
    """Fill `re` and `im` (nchan,) with the sum of all sources on one row."""
    strength = np.empty(re.shape[0], np.float32)
    re[:] = 0
    im[:] = 0
    for s in range(apparent.shape[0]):
        g0, g1, g2 = np.float32(smear[s, 0]), np.float32(smear[s, 1]), np.float32(smear[s, 2])
        r1, i1, r2, i2, amp = real[s, one], imag[s, one], real[s, two], imag[s, two], apparent[s]
        # three loops, as a compiler gives up on one with so many arrays that may overlap
        for c in range(re.shape[0]):
            strength[c] = amp[c] * (g0 + f[c] * (g1 + f[c] * g2))
        for c in range(re.shape[0]):
            re[c] += strength[c] * (r1[c] * r2[c] + i1[c] * i2[c])
        for c in range(re.shape[0]):
            im[c] += strength[c] * (i1[c] * r2[c] - r1[c] * i2[c])


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def predict_rows(
    ant1: Array,
    ant2: Array,
    real: Array,
    imag: Array,
    apparent: Array,
    f: Array,
    smear_turns: Array,
    n_average: int,
    out: Array,
) -> None:  # pragma: no cover
    """Fill `out` with Σₛ apparentₛ(ν) smearₛ(row, ν) eₛ₁(ν) eₛ₂*(ν) for every row of one integration.

    Parameters
    ----------
    ant1, ant2 : int, (nbl,)
        Antennas of the rows, as in the phasors.
    real, imag : float32, (nsrc, nant, nchan)
        From `antenna_phasors`.
    apparent : float32, (nsrc, nchan)
        Flux times beam, Jy.
    f : float32, (nchan,)
        -1 at the band's lower edge, 1 at its upper edge.
    smear_turns : float64, (nsrc, nant, 11)
        Turns across a raw channel, from one raw channel to the next, and across an integration at f = -1, 0, 1; then
        x and y of a Gaussian source at f = -1, 0, 1, which leaves exp(-(x₁ - x₂)² - (y₁ - y₂)²) on a baseline. The
        parabola through the three is within 2e-4 of a source's flux over 14 % of bandwidth.
    n_average
        Raw channels in a channel.
    out : complex64, (nbl, nchan)
    """
    n_src, n_chan = apparent.shape
    for b in numba.prange(len(ant1)):
        one, two = ant1[b], ant2[b]
        smear = np.empty((n_src, 3), np.float64)
        re, im = np.empty(n_chan, np.float32), np.empty(n_chan, np.float32)
        _row_smear(one, two, smear_turns, n_average, smear)
        _row_model(one, two, real, imag, apparent, f, smear, re, im)
        for c in range(n_chan):
            out[b, c] = complex(re[c], im[c])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _row_project(
    one: int,
    two: int,
    s: int,
    real: Array,
    imag: Array,
    shape: Array,
    f: Array,
    smear: Array,
    log_freq: Array,
    re: Array,
    im: Array,
) -> tuple[Any, Any, Any]:  # pragma: no cover
    """Return Re Σ m* x, Re Σ m* x ln(ν / ν₀) and Im Σ m* x ν / ν₀ of one row, x = re + i im, m a source of 1 Jy."""
    g0, g1, g2 = np.float32(smear[s, 0]), np.float32(smear[s, 1]), np.float32(smear[s, 2])
    r1, i1, r2, i2, amp = real[s, one], imag[s, one], real[s, two], imag[s, two], shape[s]
    flux, slope, place = np.float32(0), np.float32(0), np.float32(0)
    for c in range(re.shape[0]):
        strength = amp[c] * (g0 + f[c] * (g1 + f[c] * g2))
        pr = r1[c] * r2[c] + i1[c] * i2[c]
        pi = i1[c] * r2[c] - r1[c] * i2[c]
        along = strength * (pr * re[c] + pi * im[c])
        across = strength * (pr * im[c] - pi * re[c])
        flux += along
        slope += along * log_freq[c]
        place += across * (np.float32(1) + log_freq[c] * (np.float32(1) + np.float32(0.5) * log_freq[c]))
    return flux, slope, place


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def gradient_rows(
    vis: Array,
    weight: Array,
    ant1: Array,
    ant2: Array,
    real: Array,
    imag: Array,
    shape: Array,
    flux_jy: Array,
    f: Array,
    log_freq: Array,
    smear_turns: Array,
    n_average: int,
    turn_per_rad: Array,
    largest: float,
    scale: float,
    row_limit: float,
    out: Array,
    chi2: Array,
    count: Array,
    used: Array,
) -> None:  # pragma: no cover
    """Residuals of one integration, what is bad in them, and their product with the model's derivatives.

    Parameters
    ----------
    vis : complex64, (nbl, nchan)
    weight : float32, (nbl, nchan)
        1 / σ² of the real part; 0 is bad.
    shape : float32, (nsrc, nchan)
        Beam times (ν / ν₀)^α: what a source of 1 Jy at ν₀ shows.
    flux_jy : float64, (nsrc,)
    log_freq : float32, (nchan,)
        ln(ν / ν₀).
    turn_per_rad : float64, (nsrc, nant, 2)
        Turns at ν₀ by which an antenna's phase changes as the source moves by one radian east, and north (u and v).
    largest
        A residual with w |r|² above this is left out.
    scale, row_limit
        A row is left out whose mean of w |r|² / (2 scale), less 1, exceeds `row_limit` / sqrt(channels).
    out : float64, (nbl, nsrc, 7)
        Re Σ w (∂V/∂x)* r for x = flux, flux times spectral index, flux times place east, and north (Jy rad), and flux
        times width east-east, east-north, north-north (Jy rad²; with (ν / ν₀)² to first order in ln(ν / ν₀)).
    chi2, count, used : (nbl,)
        Σ w |r|² and the number of visibilities in it; whether the row was used.
    """
    n_src, n_chan = shape.shape
    for b in numba.prange(len(ant1)):
        one, two = ant1[b], ant2[b]
        out[b] = 0
        chi2[b], count[b], used[b] = 0.0, 0, False
        any_weight = np.float32(0)
        for c in range(n_chan):
            any_weight += weight[b, c]
        if not any_weight > 0:
            continue
        smear = np.empty((n_src, 3), np.float64)
        apparent = np.empty((n_src, n_chan), np.float32)
        for s in range(n_src):
            flux = np.float32(flux_jy[s])
            for c in range(n_chan):
                apparent[s, c] = shape[s, c] * flux
        re, im = np.empty(n_chan, np.float32), np.empty(n_chan, np.float32)
        _row_smear(one, two, smear_turns, n_average, smear)
        _row_model(one, two, real, imag, apparent, f, smear, re, im)
        total, n = 0.0, 0
        for c in range(n_chan):
            w = weight[b, c]
            x, y = vis[b, c].real - re[c], vis[b, c].imag - im[c]
            square = w * (x * x + y * y)
            good = w > 0 and square <= largest
            total += square if good else 0.0
            n += 1 if good else 0
            re[c] = w * x if good else 0.0
            im[c] = w * y if good else 0.0
        chi2[b], count[b] = total, n
        if n == 0 or (total / (2.0 * n * scale) - 1.0) * math.sqrt(n) > row_limit:
            continue
        used[b] = True
        for s in range(n_src):
            flux, slope, place = _row_project(one, two, s, real, imag, shape, f, smear, log_freq, re, im)
            out[b, s, 0] = flux
            out[b, s, 1] = slope
            for k in range(2):
                turns = turn_per_rad[s, one, k] - turn_per_rad[s, two, k]
                out[b, s, 2 + k] = 2.0 * math.pi * turns * place
            u = turn_per_rad[s, one, 0] - turn_per_rad[s, two, 0]
            v = turn_per_rad[s, one, 1] - turn_per_rad[s, two, 1]
            width = -FALL * (flux + 2.0 * slope)
            out[b, s, 4], out[b, s, 5], out[b, s, 6] = width * u * u, 2.0 * width * u * v, width * v * v


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def design_rows(
    weight: Array,
    channel: Array,
    baseline: Array,
    ant1: Array,
    ant2: Array,
    real: Array,
    imag: Array,
    shape: Array,
    f: Array,
    log_freq: Array,
    smear_turns: Array,
    n_average: int,
    turn_per_rad: Array,
    source: Array,
    kind: Array,
    out: Array,
) -> None:  # pragma: no cover
    """Fill `out` (2 nrow nsample, npar) with the model's derivatives times sqrt(weight), real and imaginary parts.

    Parameters
    ----------
    weight : float32, (nrow, nsample)
        Of each baseline that is taken and each channel that is.
    channel, baseline : int, (nsample,), (nrow,)
        Which those are.
    source, kind : int, (npar,)
        Whose derivative, in the order of `gradient_rows`.
    """
    n_sample, n_par, n_src = len(channel), len(source), shape.shape[0]
    for row in numba.prange(len(baseline)):
        one, two = ant1[baseline[row]], ant2[baseline[row]]
        smear = np.empty((n_src, 3), np.float64)
        _row_smear(one, two, smear_turns, n_average, smear)
        for k in range(n_sample):
            c = channel[k]
            x = f[c]
            root = math.sqrt(weight[row, k])
            here = 2 * (row * n_sample + k)
            for p in range(n_par):
                s = source[p]
                strength = root * shape[s, c] * (smear[s, 0] + x * (smear[s, 1] + x * smear[s, 2]))
                r1, i1, r2, i2 = real[s, one, c], imag[s, one, c], real[s, two, c], imag[s, two, c]
                re, im = strength * (r1 * r2 + i1 * i2), strength * (i1 * r2 - r1 * i2)
                if kind[p] == 0:
                    out[here, p], out[here + 1, p] = re, im
                elif kind[p] == 1:
                    out[here, p], out[here + 1, p] = re * log_freq[c], im * log_freq[c]
                elif kind[p] >= 4:
                    u = turn_per_rad[s, one, 0] - turn_per_rad[s, two, 0]
                    v = turn_per_rad[s, one, 1] - turn_per_rad[s, two, 1]
                    square = u * u if kind[p] == 4 else (2.0 * u * v if kind[p] == 5 else v * v)
                    factor = -FALL * square * (1.0 + 2.0 * log_freq[c])
                    out[here, p], out[here + 1, p] = factor * re, factor * im
                else:
                    turns = turn_per_rad[s, one, kind[p] - 2] - turn_per_rad[s, two, kind[p] - 2]
                    factor = 2.0 * math.pi * turns * math.exp(log_freq[c])
                    out[here, p], out[here + 1, p] = -factor * im, factor * re


@numba.njit(parallel=True, cache=True, nogil=True, fastmath=True)
def residual_rows(
    vis: Array,
    weight: Array,
    used: Array,
    ant1: Array,
    ant2: Array,
    real: Array,
    imag: Array,
    shape: Array,
    f: Array,
    smear_turns: Array,
    n_average: int,
    largest: float,
    out: Array,
) -> None:  # pragma: no cover
    """Fill `out` (nbl, nsrc, CHANNEL_BLOCKS, 3) with Re Σ w m* r, Im Σ w m* r and Σ w |m|² by parts of the band.

    `vis` holds the residuals r, m is what a source of 1 Jy shows; rows that are not `used` give zeros, as do
    residuals with w |r|² above `largest`.
    """
    n_src, n_chan = shape.shape
    for b in numba.prange(len(ant1)):
        out[b] = 0
        if not used[b]:
            continue
        one, two = ant1[b], ant2[b]
        smear = np.empty((n_src, 3), np.float64)
        _row_smear(one, two, smear_turns, n_average, smear)
        w = np.empty(n_chan, np.float32)
        for c in range(n_chan):
            x, y = vis[b, c].real, vis[b, c].imag
            w[c] = weight[b, c] if weight[b, c] * (x * x + y * y) <= largest else 0.0
        for s in range(n_src):
            g0, g1, g2 = np.float32(smear[s, 0]), np.float32(smear[s, 1]), np.float32(smear[s, 2])
            r1, i1, r2, i2 = real[s, one], imag[s, one], real[s, two], imag[s, two]
            for k in range(CHANNEL_BLOCKS):
                first, last = k * n_chan // CHANNEL_BLOCKS, (k + 1) * n_chan // CHANNEL_BLOCKS
                along, across, norm = np.float32(0), np.float32(0), np.float32(0)
                for c in range(first, last):
                    strength = shape[s, c] * (g0 + f[c] * (g1 + f[c] * g2))
                    x, y = vis[b, c].real, vis[b, c].imag
                    pr = r1[c] * r2[c] + i1[c] * i2[c]
                    pi = i1[c] * r2[c] - r1[c] * i2[c]
                    weighted = w[c] * strength
                    along += weighted * (pr * x + pi * y)
                    across += weighted * (pr * y - pi * x)
                    norm += weighted * strength
                out[b, s, k, 0], out[b, s, k, 1], out[b, s, k, 2] = along, across, norm


@numba.njit(parallel=True, cache=True, nogil=True)
def stokes_i(
    data: Array, flag: Array, weight: Array, hands: Array, out: Array, out_weight: Array
) -> None:  # pragma: no cover
    """Fill `out` and `out_weight` (nbl, nchan) with the weighted mean of the parallel hands and its weight.

    `data`, `flag`, `weight` are (nbl, nchan, ncorr); what is flagged, without weight or not finite takes no part.
    """
    for b in numba.prange(data.shape[0]):
        for c in range(data.shape[1]):
            total, norm = np.complex64(0), np.float32(0)
            for k in range(len(hands)):
                value, w = data[b, c, hands[k]], weight[b, c, hands[k]]
                if flag[b, c, hands[k]] or not w > 0 or not math.isfinite(value.real + value.imag):
                    continue
                total += w * value
                norm += w
            out[b, c] = total / norm if norm > 0 else np.complex64(0)
            out_weight[b, c] = norm
