"""Errors that are true: what noise and calibration leave, from the sources that do not vary.

For each source the mean squared residual in its errors is compared with what was stated. Most sources are constant: in
each bin of signal to noise and beam distance the median source is one of them, and the model's three terms are fitted
to these medians (non-negative least squares), until errors and residuals agree.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.special import chdtri

from contimg.variability.scale import BEAM_RADIUS_DEG, ErrorModel, Normalised, Points

log = logging.getLogger(__name__)

_ROUNDS = 8
_PER_BIN = 12
_LEAST_EPOCHS = 4
_LEAST_SOURCES = 8
_CLIP = 4.0


def fit(points: Points, normalised: Normalised) -> ErrorModel:
    """Fit the terms of the error model.

    Parameters
    ----------
    points : Points
        Light curves of bright and faint sources.
    normalised : Normalised
        The same, on the common scale.

    Returns
    -------
    ErrorModel
        With `n_sources` 0, and errors as stated, where there are too few sources of 4 epochs or more.
    """
    source = np.repeat(np.arange(len(points.starts) - 1), np.diff(points.starts))
    keep = normalised.used
    source, flux = source[keep], normalised.flux[keep]
    zero = normalised.zero_point[keep]
    noise = (points.noise[keep] / zero) ** 2
    zero_var = (normalised.zero_point_err[keep] / zero) ** 2
    quartic = (points.distance_deg[keep] / BEAM_RADIUS_DEG) ** 4
    n_sources = len(points.starts) - 1
    count = np.bincount(source, minlength=n_sources)
    free = count - np.array([(row > 0).sum() for row in normalised.unit_weight])
    enough = (count >= _LEAST_EPOCHS) & (free >= _LEAST_EPOCHS - 1)
    if enough.sum() < _LEAST_SOURCES:
        return ErrorModel()
    terms = np.array([1.0, 0.005**2, 0.0])
    for _ in range(_ROUNDS):
        level = _sums(source, flux, n_sources) / np.maximum(count, 1)
        base = zero_var * level[source] ** 2
        parts = np.stack([noise, level[source] ** 2, level[source] ** 2 * quartic])
        variance = terms @ parts + base
        weights = _sums(source, 1.0 / variance, n_sources)
        mean = _sums(source, flux / variance, n_sources) / np.maximum(weights, 1e-30)
        pull2 = np.minimum((flux - mean[source]) ** 2 / variance, _CLIP**2)
        ratio = _sums(source, pull2, n_sources) / np.maximum(free, 1)
        share = np.stack([_sums(source, part / variance, n_sources) for part in [*parts, base]]) / np.maximum(
            count, 1
        )
        terms = _update(ratio, share, free, enough)
    log.info("error model: noise %.3f, residual %.4f, at the edge %.4f", *np.sqrt(terms))
    factor, residual, edge = (float(np.sqrt(term)) for term in terms)
    return ErrorModel(factor, residual, edge, int(enough.sum()))


def _update(
    ratio: npt.NDArray[np.float64],
    share: npt.NDArray[np.float64],
    free: npt.NDArray[np.int64],
    enough: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Terms that make the median source of every bin have a mean squared pull of one."""
    rows = np.flatnonzero(enough)
    # bins: by the noise's share of the variance, then by the edge's
    rows = rows[np.argsort(share[0, rows], kind="stable")]
    groups = [
        part
        for chunk in np.array_split(rows, max(len(rows) // (4 * _PER_BIN), 1))
        for part in np.array_split(
            chunk[np.argsort(share[2, chunk], kind="stable")], max(len(chunk) // _PER_BIN, 1)
        )
    ]
    matrix, right = [], []
    for group in groups:
        # the median of χ²/ν of a constant is below 1; only that of the typical number of epochs is needed
        usual = chdtri(np.median(free[group]), 0.5) / np.median(free[group])
        weight = np.sqrt(len(group))
        found = np.median(ratio[group]) / usual
        means = share[:, group].mean(axis=1)
        matrix.append(weight / found * means[:3])
        right.append(weight / found * (found - means[3]))
    # a term that no source tells of stays near what the tables state
    scale = 0.1 * np.sqrt(_PER_BIN)
    matrix.append(scale * np.array([1.0, 0.0, 0.0]))
    right.append(scale)
    terms: npt.NDArray[np.float64] = nnls(np.array(matrix), np.array(right))[0]
    return np.maximum(terms, [0.1, 1e-8, 0.0])


def _sums(source: npt.NDArray[np.int64], values: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    return np.bincount(source, values, n).astype(np.float64)
