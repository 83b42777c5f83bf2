"""Antennas that became unsteady after the transit, by more than solutions follow.

Such an antenna shows less of the sources on all its baselines than the others do. Where it keeps less than
`LEAST_COHERENT` of what the median antenna has, its hand is flagged: it would take 2 / N of every flux.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.image.selfcal_data import SIGNIFICANT, Divided, by_antenna

Array = NDArray[Any]
LEAST_COHERENT = 0.6
"""What phases of 58 deg rms leave. A sky that is not in the model takes less than that from an antenna, and not from
one alone."""
MOST_DEPARTED = 0.25
"""Where more of the antennas lack coherence it is the sky or the night, and none is flagged."""


def coherence(divided: Divided) -> Array:
    """How much of the sources each antenna shows in each hand, (nant, nhands): Σ W Re D / Σ W; NaN without data."""
    total = by_antenna(divided.weight.sum(axis=0), divided.meta)
    seen = by_antenna((divided.weight * divided.ratio.real).sum(axis=0), divided.meta)
    return np.divide(seen, total, out=np.full(total.shape, np.nan), where=total > 0)


def departs(divided: Divided, coherent: Array) -> Array:
    """Which antennas and hands lack coherence beyond doubt, (nant, nhands)."""
    known = np.isfinite(coherent)
    if not known.any(axis=0).all():
        return np.zeros(coherent.shape, bool)
    usual = np.nanmedian(coherent, axis=0)
    error = 1.0 / np.sqrt(np.maximum(by_antenna(divided.weight.sum(axis=0), divided.meta), 1e-300))
    lack = usual - np.where(known, coherent, np.inf)
    bad = (lack > (1.0 - LEAST_COHERENT) * usual) & (lack > SIGNIFICANT * error) & (usual > 0)
    return bad if bad.sum() <= MOST_DEPARTED * known.sum() else np.zeros(bad.shape, bool)
