"""The noise of each source: jitter and a damped random walk, shrunk to what the population of sources shows.

A grid of jitter, amplitude and time scale; the likelihood of a curve at each node; a prior on the nodes that is learnt
from all curves by expectation and maximisation (empirical Bayes). A source's noise is the mean of its posterior: a
curve of few epochs gets the population's noise and a long one its own. The mean flux is integrated over.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from contimg.variability.whiten import log_likelihood

JITTER = (0.0, 0.6, 1.2, 2.5)
"""Jitter in units of the curve's median error."""
AMPLITUDE = (0.0, 0.007, 0.013, 0.024, 0.04, 0.065, 0.11, 0.2, 0.4)
"""Standard deviation of the damped random walk, relative to the source's flux."""
TIMESCALE_D = (5.0, 15.0, 40.0, 100.0, 250.0)
"""Its time scale in days."""
N_NODES = len(JITTER) * (1 + (len(AMPLITUDE) - 1) * len(TIMESCALE_D))
_FLOOR = 0.02
_JIT = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"})

Array = NDArray[np.float64]


@_JIT
def grid_likelihood(t: np.ndarray, y: np.ndarray, variance: np.ndarray, unit: float, out: np.ndarray) -> None:
    """Write the log likelihood of a curve at each node of the grid.

    Parameters
    ----------
    t, y, variance : ndarray, (N,)
        Times (d), relative fluxes, variance of their errors (infinite: left out).
    unit : float
        The curve's median error, the unit of jitter.
    out : ndarray, (N_NODES,)
        Written.
    """
    decay = np.zeros((len(TIMESCALE_D), t.size))
    for k in range(len(TIMESCALE_D)):
        for n in range(1, t.size):
            decay[k, n] = math.exp(-(t[n] - t[n - 1]) / TIMESCALE_D[k])
    v = np.empty(t.size)
    node = 0
    for jitter in JITTER:
        for n in range(t.size):
            v[n] = variance[n] + (jitter * unit) ** 2
        for amplitude in AMPLITUDE:
            for k in range(len(TIMESCALE_D)):
                if amplitude == 0.0 and k > 0:
                    break
                out[node] = log_likelihood(t, y, v, amplitude * amplitude, decay[k])
                node += 1


@_JIT
def posterior_noise(log_like: np.ndarray, log_prior: np.ndarray, unit: float) -> tuple[float, float, float]:
    """Mean of the posterior: variance of jitter, variance of the walk, and 1/τ (1/d)."""
    highest = -1e300
    for node in range(N_NODES):
        highest = max(highest, log_like[node] + log_prior[node])
    total, jitter2, a2, log_tau, of_walk = 0.0, 0.0, 0.0, 0.0, 0.0
    node = 0
    for jitter in JITTER:
        for amplitude in AMPLITUDE:
            for k in range(len(TIMESCALE_D)):
                if amplitude == 0.0 and k > 0:
                    break
                p = math.exp(log_like[node] + log_prior[node] - highest)
                total += p
                jitter2 += p * (jitter * unit) ** 2
                a2 += p * amplitude * amplitude
                log_tau += p * amplitude * amplitude * math.log(TIMESCALE_D[k])
                of_walk += p * amplitude * amplitude
                node += 1
    tau = math.exp(log_tau / of_walk) if of_walk > 0.0 else TIMESCALE_D[2]
    a2 /= total
    return jitter2 / total, a2 if a2 > 1e-8 else 0.0, 1.0 / tau


def learn_prior(log_likelihoods: Array, base: Array | None = None, rounds: int = 30) -> Array:
    """Learn how often each node of noise occurs.

    Parameters
    ----------
    log_likelihoods : ndarray, (sources, N_NODES)
        From `grid_likelihood`.
    base : ndarray, (N_NODES,), optional
        Log of what is believed before, which counts as much as one source a node; by default all nodes alike.
    rounds : int
        Of expectation and maximisation.

    Returns
    -------
    ndarray, (N_NODES,)
        Log of the prior. A node that no curve favours keeps 2 % of its even share, so that the first source of its kind
        is not denied.
    """
    even = np.full(N_NODES, 1.0 / N_NODES)
    before = even if base is None else np.exp(base)
    if not len(log_likelihoods):
        return np.log(before)
    weights = np.exp(log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
    prior = before
    for _ in range(rounds):
        share = weights * prior
        share /= share.sum(axis=1, keepdims=True)
        prior = (share.sum(axis=0) + N_NODES * before) / (len(share) + N_NODES)
    return np.log((1.0 - _FLOOR) * prior + _FLOOR * even)
