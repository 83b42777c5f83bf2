"""The search of all light curves: population's noise first, then every source by itself, on some threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from contimg.variability import kernel
from contimg.variability.lens import REACH, bank
from contimg.variability.match import CORE, N_RIVALS
from contimg.variability.red_noise import AMPLITUDE, JITTER, N_NODES, TIMESCALE_D, learn_prior
from contimg.variability.series import Floats, Series

SHORTEST_D, LONGEST_D, RATIO = 2.0, 365.0, 1.5
NEAR_D = 7.0
AGAIN = 16.0
"""A further event of a source is looked for where the last has this statistic."""
LOUD = -2.0
"""In the column of the statistic: no event, but what gained most (`kernel.search_one`)."""
MARGIN = 4.0
"""A deviation is believed where the best event is likelier than its best rival by this, in ln L."""
_BATCH = 64
_LEARN_FROM = 3000


@dataclass(frozen=True)
class Prior:
    """What the population's noise is like.

    Attributes
    ----------
    log_prior : ndarray
        Of each node of the grid of noise (`red_noise`).
    quiet_a2 : float
        Median variance of the damped random walk.
    """

    log_prior: Floats
    quiet_a2: float


@cache
def shapes() -> kernel.Shapes:
    """Give the bank as the kernels take it."""
    made = bank()
    peak = np.abs(made.shapes).max(axis=1)
    x = np.linspace(-REACH, REACH, made.shapes.shape[1])
    core = [x[np.abs(shape) > CORE * high] for shape, high in zip(made.shapes, peak, strict=True)]
    return kernel.Shapes(
        made.shapes,
        made.first,
        made.last,
        peak,
        made.coarse,
        np.array([places[0] for places in core]),
        np.array([places[-1] for places in core]),
    )


def durations() -> Floats:
    """Full widths at half maximum of the first pass, in d."""
    steps = int(np.ceil(np.log(LONGEST_D / SHORTEST_D) / np.log(RATIO)))
    return SHORTEST_D * (LONGEST_D / SHORTEST_D) ** (np.arange(steps + 1) / steps)


def learn(series: Series, *, base: Floats | None = None, threads: int = 1) -> Prior:
    """Learn the population's noise from the curves, or from some thousand of them; `base` is what few of them go by."""
    n = len(series)
    some = series if n <= _LEARN_FROM else series.chosen(np.linspace(0, n - 1, _LEARN_FROM).astype(np.int64))
    found = np.zeros((len(some), N_NODES))

    def one(first: int) -> None:
        last = min(first + _BATCH, len(some))
        kernel.likelihoods(some.mjd, some.flux, some.error, some.starts[first : last + 1], found[first:last])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(0, len(some), _BATCH)))
    log_prior = learn_prior(found[np.diff(some.starts) >= 4], base)
    amplitude2 = np.array(
        [a * a for _ in JITTER for a in AMPLITUDE for _ in (TIMESCALE_D if a else TIMESCALE_D[:1])]
    )
    order = np.argsort(amplitude2)
    middle = int(np.searchsorted(np.cumsum(np.exp(log_prior[order])), 0.5))
    return Prior(log_prior, float(amplitude2[order][min(middle, N_NODES - 1)]))


def search(series: Series, prior: Prior, *, since_mjd: float | Floats = -np.inf, threads: int = 1) -> Floats:
    """Search curves for events.

    Parameters
    ----------
    series : Series
    prior : Prior
        From `learn`.
    since_mjd : float or ndarray, (S,)
        Only events that reach beyond this time: what a night adds.
    threads : int
        How many work.

    Returns
    -------
    ndarray, (S, events, columns)
        Columns as in `kernel.COLUMNS`; best event first, statistic −1 where there is none.
    """
    n = len(series)
    out = np.zeros((n, kernel.EVENTS, len(kernel.COLUMNS)))
    out[:, :, kernel.STATISTIC] = -1.0
    since = np.broadcast_to(np.asarray(since_mjd, dtype=np.float64), (n,)).copy()
    widths, forms = durations(), shapes()

    def one(first: int) -> None:
        last = min(first + _BATCH, n)
        kernel.search_many(
            series.mjd,
            series.flux,
            series.error,
            series.starts[first : last + 1],
            prior.log_prior,
            prior.quiet_a2,
            forms,
            widths,
            since[first:last],
            AGAIN,
            NEAR_D,
            out[first:last],
        )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(0, n, _BATCH)))
    return out


def unrivalled(rows: Floats) -> NDArray[np.bool_]:
    """Whether the best event of rows (…, columns) is likelier than step, trend, flare and bad epoch by `MARGIN`."""
    rivals = rows[..., kernel.RIVAL : kernel.RIVAL + N_RIVALS].max(axis=-1)
    return np.asarray(rows[..., kernel.GAIN] - rivals >= MARGIN)


def believed(found: Floats) -> Floats:
    """Give the confirmed deviation of each curve, (S,), of `search`'s (S, events, columns); 0 where a rival says it.

    What gained most tells: it stands behind the first row where there is no event.
    """
    behind = found[:, 1, kernel.STATISTIC] == LOUD
    loudest = np.where(behind[:, None], found[:, 1], found[:, 0])
    return np.where(unrivalled(loudest), found[:, 0, kernel.PAIR], 0.0)
