"""Variability by time scale: pairs of epochs in bins of lag, a bounded number of them.

All pairs of 3,650 epochs of 10,000 sources would be 6.7e10. Here each epoch has one partner a lag: the nearest to 1,
2, 4 … 2048 days later, if one is within a factor of the square root of 2.
"""

from __future__ import annotations

import numba
import numpy as np
import pandas as pd

from contimg.variability.ensemble_kernels import Floats, Ints

LAGS_D: tuple[float, ...] = tuple(2.0**k for k in range(12))
"""Middles of the bins of lag, days."""


def by_lag(starts: Ints, mjd: Floats, flux: Floats, error: Floats) -> pd.DataFrame:
    """Mean |V_s| and |m|, structure function and number of pairs of each source and lag.

    Parameters
    ----------
    starts : array (n_sources + 1,) of int
        Rows of source s are ``starts[s]:starts[s + 1]``, in order of time.
    mjd, flux, error : array (n,)
        d, Jy, Jy.

    Returns
    -------
    DataFrame
        `vs_lag`, `m_lag`, `sf_lag`, `n_lag` (each a list by `LAGS_D`, NaN without a pair), `vs_mean`, `m_mean`.
    """
    n = len(starts) - 1
    shape = (n, len(LAGS_D))
    count, vs, m, sf = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    _pairs(starts, mjd, flux, error, np.array(LAGS_D), count, vs, m, sf)
    with np.errstate(invalid="ignore", divide="ignore"):
        vs, m, sf = (np.where(count > 0, values / count, np.nan) for values in (vs, m, sf))
    some = (count > 0).sum(axis=1)
    means = [
        np.where(some > 0, np.nansum(values, axis=1) / np.maximum(some, 1), np.nan) for values in (vs, m)
    ]
    return pd.DataFrame(
        {
            "vs_lag": list(vs.astype(np.float32)),
            "m_lag": list(m.astype(np.float32)),
            "sf_lag": list(sf.astype(np.float32)),
            "n_lag": list(count.astype(np.int32)),
            "vs_mean": means[0],
            "m_mean": means[1],
        }
    )


@numba.njit(cache=True, nogil=True)
def _pairs(
    starts: Ints,
    mjd: Floats,
    flux: Floats,
    error: Floats,
    lags: Floats,
    count: Floats,
    vs: Floats,
    m: Floats,
    sf: Floats,
) -> None:
    """Sum over the pairs of every source and lag; writes the last four."""
    for s in range(len(starts) - 1):
        begin, end = starts[s], starts[s + 1]
        if end == begin:
            continue
        mean = 0.0
        for i in range(begin, end):
            mean += flux[i] / (end - begin)
        for b in range(len(lags)):
            j = begin
            for i in range(begin, end):
                wanted = mjd[i] + lags[b]
                while j < end and mjd[j] < wanted:
                    j += 1
                k = j
                if j == end or (j - 1 > i and wanted - mjd[j - 1] < mjd[j] - wanted):
                    k = j - 1
                lag = mjd[k] - mjd[i]
                if k <= i or lag < lags[b] / 2.0**0.5 or lag >= lags[b] * 2.0**0.5:
                    continue
                step = flux[k] - flux[i]
                variance = error[k] ** 2 + error[i] ** 2
                middle = 0.5 * abs(flux[k] + flux[i])
                count[s, b] += 1.0
                vs[s, b] += abs(step) / variance**0.5
                m[s, b] += abs(step) / middle if middle > 0 else 0.0
                sf[s, b] += (step**2 - variance) / mean**2 if mean != 0 else 0.0
