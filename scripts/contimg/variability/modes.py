"""What the sources of one right ascension do together: seasons of a transit array, taken out of each curve.

A transit array sees a source at a solar time that goes round in a year: gains of day and night, the Sun's sidelobes and
the ionosphere make errors of months that neighbours in right ascension share. Each source's common mode is the robust
mean of the others of its hour of right ascension in bins of time, smoothed; how much of it the source has is fitted,
with a prior of 1 ± 0.3. The source itself has no part in its mode, so that its event cannot hide in it.
"""

from __future__ import annotations

import numpy as np

from contimg.variability.series import Floats, Series

BIN_D = 8.0
MIN_SOURCES = 12
"""Fewer sources in an hour of right ascension tell no common mode."""
_HOUR_DEG = 15.0
_CLIP = 3.0
_OWN_SCATTER = 0.02
_PRIOR = 0.3
_SMOOTH = (0.25, 0.5, 0.25)


def common_modes(series: Series) -> Floats:
    """Find what each epoch shares with the other sources of its hour of right ascension.

    Parameters
    ----------
    series : Series
        With right ascensions; sources without one have no common mode.

    Returns
    -------
    ndarray, (E,)
        Relative flux to subtract from each epoch.
    """
    n = len(series)
    mode = np.zeros(len(series.mjd))
    known = np.isfinite(series.ra_deg)
    if not known.any() or not len(mode):
        return mode
    hour = np.where(known, np.floor(np.nan_to_num(series.ra_deg) % 360.0 / _HOUR_DEG), -1).astype(np.int64)
    owner = series.owner
    begin = series.mjd.min()
    bins = np.floor((series.mjd - begin) / BIN_D).astype(np.int64)
    n_bins = int(bins.max()) + 1
    total_error = np.hypot(series.error, _OWN_SCATTER)
    clipped = np.clip(series.flux, -_CLIP * total_error, _CLIP * total_error)
    weight = 1.0 / total_error**2
    cell = owner * n_bins + bins
    own_weight = np.bincount(cell, weight, n * n_bins).reshape(n, n_bins)
    own_sum = np.bincount(cell, weight * clipped, n * n_bins).reshape(n, n_bins)
    for group in np.unique(hour[hour >= 0]):
        members = np.nonzero(hour == group)[0]
        if len(members) < MIN_SOURCES:
            continue
        weights, sums = own_weight[members], own_sum[members]
        others_weight = weights.sum(axis=0) - weights
        others_sum = sums.sum(axis=0) - sums
        smooth = _smoothed(others_sum) / np.maximum(_smoothed(others_weight), 1e-300)
        for row, s in enumerate(members):
            where = series.of(int(s))
            place = (series.mjd[where] - begin) / BIN_D - 0.5
            shared = np.interp(place, np.arange(n_bins), smooth[row])
            shared -= np.average(shared, weights=weight[where]) if where.stop > where.start else 0.0
            mode[where] = shared * _share(shared, clipped[where], weight[where])
    return mode


def _smoothed(table: Floats) -> Floats:
    """Smooth along time with the weights ¼, ½, ¼; sums outside the table are 0."""
    padded = np.pad(table, ((0, 0), (1, 1)))
    smooth: Floats = _SMOOTH[0] * padded[:, :-2] + _SMOOTH[1] * padded[:, 1:-1] + _SMOOTH[2] * padded[:, 2:]
    return smooth


def _share(shared: Floats, flux: Floats, weight: Floats) -> float:
    """How much of the common mode a source has: least squares with the prior 1 ± 0.3."""
    if not len(flux):
        return 0.0
    free = flux - np.average(flux, weights=weight)
    prior = 1.0 / _PRIOR**2
    # an epoch's flux is no independent witness of a mode of weeks: red noise makes them worth fewer
    number, norm = np.sum(weight * shared * free) / 4.0, np.sum(weight * shared**2) / 4.0
    return float((number + prior) / (norm + prior))
