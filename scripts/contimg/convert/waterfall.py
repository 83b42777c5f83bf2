"""Flags of a tile's most flagged baselines against time and channel, as a few thousand characters of its sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BASELINES = 4
MOST_TIMES, MOST_CHANNELS = 24, 48
"""Cells of a waterfall: neighbouring integrations and channels share one where there are more."""
_STEPS = 9


def worst(
    flags: NDArray[np.bool_],
    per_baseline: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """Waterfalls of the most flagged baselines.

    Parameters
    ----------
    flags : (nt, nbl, nchan, ncorr)
        True is flagged.
    per_baseline : (nbl,)
        How many each baseline has.
    chosen : (nbl,)
        Baselines to choose from.
    labels : sequence of str
        Of the baselines.

    Returns
    -------
    list of dict
        `baseline`, `fraction`, and `cells`: rows of time, parted by blanks, of a digit each from 0 (no flag) to 9 (all
        flagged).
    """
    order = np.flatnonzero(chosen)[np.argsort(-per_baseline[chosen], kind="stable")][:BASELINES]
    return [
        {
            "baseline": labels[number],
            "fraction": float(flags[:, number].mean()),
            "cells": _written(flags[:, number].mean(axis=-1)),
        }
        for number in order.tolist()
        if per_baseline[number]
    ]


def cells(entry: Mapping[str, Any]) -> NDArray[np.float64]:
    """Flagged fraction of each cell of a waterfall, (times, channels)."""
    return np.array([list(row) for row in entry["cells"].split()], dtype=float) / _STEPS


def _written(plane: NDArray[np.float64]) -> str:
    """Means of (nt, nchan) in at most `MOST_TIMES` x `MOST_CHANNELS` cells, rounded to a digit."""
    for axis, most in ((0, MOST_TIMES), (1, MOST_CHANNELS)):
        edges = np.linspace(0, plane.shape[axis], min(most, plane.shape[axis]) + 1).astype(int)
        sums = np.add.reduceat(plane, edges[:-1], axis=axis)
        plane = sums / np.expand_dims(np.diff(edges), 1 - axis)
    return " ".join("".join(str(round(_STEPS * value)) for value in row) for row in plane.tolist())
