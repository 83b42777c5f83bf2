"""Medians, and scatter that outliers do not make larger. What is not known (NaN) does not count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contimg.core.constants import MAD_TO_SIGMA


def nanmedian(values: ArrayLike, axis: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Median along axes; NaN, without a warning, where nothing is known."""
    given = np.asarray(values)
    axes = (axis,) if isinstance(axis, int) else axis
    moved = np.moveaxis(given, axes, range(-len(axes), 0))
    rows = moved.reshape(*moved.shape[: -len(axes)], -1)
    some = np.isfinite(rows).any(axis=-1)
    found = np.full(some.shape, np.nan)
    if some.any():
        found[some] = np.nanmedian(rows[some], axis=-1)
    return found


def mad_sigma(values: ArrayLike, *, about: float | None = None) -> float:
    """Standard deviation of the normal distribution that has these values' median absolute deviation.

    Parameters
    ----------
    values
        Any shape.
    about
        What they deviate from: 0 for residuals; by default their own median.

    Returns
    -------
    float
        NaN where nothing is known.
    """
    given: NDArray[Any] = np.asarray(values)
    known = given[~np.isnan(given)]
    if not known.size:
        return float("nan")
    middle = np.median(known) if about is None else about
    return MAD_TO_SIGMA * float(np.median(np.abs(known - middle)))
