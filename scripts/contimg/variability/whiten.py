"""Light curves whitened by their own noise: white noise plus a damped random walk, in O(N).

The covariance of two epochs is K_ij = δ_ij v_i + A² exp(−|t_i − t_j| / τ): measurement errors and jitter in v, a
damped random walk of standard deviation A and time scale τ. Its Cholesky factor K = L D Lᵀ follows from a recursion
of rank one (Foreman-Mackey et al. 2017, AJ 154, 220, section 5; celerite2 has it for any kernel, and the tests hold
these kernels to it). Here it is compiled, because a search calls it some hundred million times.

Times are in days, fluxes relative to the source's median, ``rate`` is 1/τ in 1/d.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_JIT = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"})


@_JIT
def factor(
    t: np.ndarray,
    v: np.ndarray,
    a2: float,
    rate: float,
    phi: np.ndarray,
    w: np.ndarray,
    isd: np.ndarray,
) -> float:
    """Factor the covariance of N epochs.

    Parameters
    ----------
    t : ndarray, (N,)
        Times, ascending, in d.
    v : ndarray, (N,)
        Variance of white noise at each epoch; infinite where an epoch is left out.
    a2 : float
        Variance A² of the damped random walk.
    rate : float
        1/τ in 1/d.
    phi, w, isd : ndarray, (N,)
        Written: decay from the epoch before, W of the factor, D^(−1/2).

    Returns
    -------
    float
        ln det K over the epochs that are not left out.
    """
    logdet, s, d_before, w_before = 0.0, 0.0, 0.0, 0.0
    for n in range(t.size):
        decay = math.exp(-rate * (t[n] - t[n - 1])) if n > 0 else 0.0
        phi[n] = decay
        s = decay * decay * (s + d_before * w_before * w_before)
        if v[n] == np.inf:
            w[n], isd[n] = 0.0, 0.0
            d_before, w_before = 0.0, 0.0
            continue
        d = v[n] + a2 - a2 * a2 * s
        w_before = (1.0 - a2 * s) / d
        d_before = d
        w[n] = w_before
        isd[n] = 1.0 / math.sqrt(d)
        logdet += math.log(d)
    return logdet


@_JIT
def whiten(
    y: np.ndarray, a2: float, phi: np.ndarray, w: np.ndarray, isd: np.ndarray, out: np.ndarray
) -> None:
    """Write D^(−1/2) L⁻¹ y, which has unit covariance if y has K; 0 where an epoch is left out."""
    f, z = 0.0, 0.0
    for n in range(y.size):
        f = phi[n] * (f + (w[n - 1] * z if n > 0 else 0.0))
        z = y[n] - a2 * f
        out[n] = z * isd[n]


@_JIT
def log_likelihood(
    t: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    a2: float,
    decay: np.ndarray,
) -> float:
    """Restricted log likelihood of a curve: the mean has a flat prior and is integrated over.

    Parameters
    ----------
    t, y, v : ndarray, (N,)
        Times, fluxes, white variance; infinite variance leaves an epoch out.
    a2 : float
        Variance of the damped random walk.
    decay : ndarray, (N,)
        exp(−(t_n − t_{n−1})/τ); the first is 0.

    Returns
    -------
    float
        ln ∫ L dμ, without the constant of 2π. 0 for a curve without epochs.
    """
    logdet, s, d, w = 0.0, 0.0, 0.0, 0.0
    fy, fc, zy, zc = 0.0, 0.0, 0.0, 0.0
    yy, yc, cc = 0.0, 0.0, 0.0
    scale = 1.0
    for n in range(t.size):
        p = decay[n]
        s = p * p * (s + d * w * w)
        fy = p * (fy + w * zy)
        fc = p * (fc + w * zc)
        if v[n] == np.inf:
            d, w = 0.0, 0.0
            continue
        d = v[n] + a2 - a2 * a2 * s
        w = (1.0 - a2 * s) / d
        zy = y[n] - a2 * fy
        zc = 1.0 - a2 * fc
        i = 1.0 / d
        yy += zy * zy * i
        yc += zy * zc * i
        cc += zc * zc * i
        scale *= d
        if scale < 1e-200 or scale > 1e200:
            logdet += math.log(scale)
            scale = 1.0
    if cc <= 0.0:
        return 0.0
    return -0.5 * (yy - yc * yc / cc + logdet + math.log(scale) + math.log(cc))


@_JIT
def outside_prediction(
    t: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    a2: float,
    rate: float,
    reach: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> None:
    """Predict each epoch from those that are farther from it than its window.

    The damped random walk is a Markov process, so that what lies before the window and what lies after it enter
    through one state each: two Kalman filters, joined at the epoch.

    Parameters
    ----------
    t, y, v : ndarray, (N,)
        Times, fluxes less their mean, white variance; infinite variance leaves an epoch out of all predictions.
    a2, rate : float
        The damped random walk.
    reach : ndarray, (N,)
        Half-width of each epoch's window in d.
    mean, variance : ndarray, (N,)
        Written: the walk's predicted value and its variance, without that of the measurement.
    """
    n_epochs = t.size
    before_m, before_p = np.zeros(n_epochs), np.full(n_epochs, a2)
    after_m, after_p = np.zeros(n_epochs), np.full(n_epochs, a2)
    for direction in range(2):
        m, p = 0.0, a2
        for step in range(n_epochs):
            n = step if direction == 0 else n_epochs - 1 - step
            if step > 0:
                e = math.exp(-rate * abs(t[n] - t[n - 1 if direction == 0 else n + 1]))
                m, p = e * m, a2 + e * e * (p - a2)
            if v[n] < np.inf and a2 > 0.0:
                gain = p / (p + v[n])
                m += gain * (y[n] - m)
                p *= 1.0 - gain
            if direction == 0:
                before_m[n], before_p[n] = m, p
            else:
                after_m[n], after_p[n] = m, p
    low, high = 0, 0
    for n in range(n_epochs):
        while t[low] < t[n] - reach[n]:
            low += 1
        while low > 0 and t[low - 1] >= t[n] - reach[n]:
            low -= 1
        high = max(high, n)
        while high < n_epochs and t[high] <= t[n] + reach[n]:
            high += 1
        while high > n + 1 and t[high - 1] > t[n] + reach[n]:
            high -= 1
        mean[n], variance[n] = 0.0, a2
        if a2 <= 0.0:
            continue
        weight, total = 1.0 / a2, 0.0
        if low > 0:
            e = math.exp(-rate * (t[n] - t[low - 1]))
            p = a2 + e * e * (before_p[low - 1] - a2)
            weight += 1.0 / p - 1.0 / a2
            total += e * before_m[low - 1] / p
        if high < n_epochs:
            e = math.exp(-rate * (t[high] - t[n]))
            p = a2 + e * e * (after_p[high] - a2)
            weight += 1.0 / p - 1.0 / a2
            total += e * after_m[high] / p
        mean[n], variance[n] = total / weight, 1.0 / weight
