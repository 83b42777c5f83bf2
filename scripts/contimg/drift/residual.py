"""What is left of a tile when its bright sources are taken out, in Measurement Sets made for the imager.

Stokes I alone, and short baselines averaged more than long ones: a baseline of b wavelengths turns by
2π b sin r over a source at r, so that the core of the array needs neither all channels nor all times. Each group of
baselines is a set of its own with its own channels and times; an imager takes them all together. Only faint
sources are in them, and averaging takes at most `plan_groups`' bound from a source at half power.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.drift.data import StokesI
from contimg.drift.predict import EARTH_ROTATION_RAD_S, DriftArray, PointSources
from contimg.ms.meta import MsMeta
from contimg.ms.sets import MsWriter

Array = NDArray[Any]
LEVELS = ((1, 1), (2, 1), (2, 2), (4, 3), (8, 6))
"""Channels and integrations averaged into one, by steps that at least halve the data."""
CORRELATION, POLARISATION = 9, "XX"
"""What the sets call Stokes I, as a Measurement Set and as an imager name it: both know a single hand, and not every
imager a set of Stokes I."""


@dataclass(frozen=True)
class Group:
    """Baselines that are averaged alike.

    Attributes
    ----------
    rows : (n,) int64
        Indices into the baselines of the tile.
    channels, times : int
        Averaged into one.
    """

    rows: Array
    channels: int
    times: int


def plan_groups(meta: MsMeta, length_m: Array, *, radius_rad: float, loss: float) -> list[Group]:
    """Sort the cross-correlations into groups by how much averaging they bear.

    Averaging over a channel of width D and a time T takes (π D τ)² / 6 + (π T f)² / 6 of a source's visibilities,
    τ = b sin r / c, f = ω b sin r ν / c (both at most; Thompson, Moran & Swenson 2017, sections 6.4.1 and 6.4.2). Each
    baseline is averaged as long as that stays below one limit, which is the highest for which the mean over all
    baselines is allowed.

    Parameters
    ----------
    meta : MsMeta
        Of the data before this averaging.
    length_m : (nbl,) float64
        Length of each baseline across the line of sight.
    radius_rad : float
        Distance of a source from the phase centre at which `loss` holds.
    loss : float
        Largest part of its peak that averaging may take there. All baselines count alike; Briggs weighting counts
        the short ones, which lose most, less.

    Returns
    -------
    list of Group
        Without empty ones, the least averaged first.
    """
    delay_s = length_m * np.sin(radius_rad) / SPEED_OF_LIGHT_M_S
    rate_hz = EARTH_ROTATION_RAD_S * delay_s * float(meta.freq_hz[-1])
    width_hz, span_s = meta.channel_width_hz, float(np.max(meta.integration_s))
    levels = [(c, t) for c, t in LEVELS if len(meta.freq_hz) % c == 0 and t <= meta.n_times]
    taken = np.array(
        [
            ((c**2 - 1) * (np.pi * width_hz * delay_s) ** 2 + (t**2 - 1) * (np.pi * span_s * rate_hz) ** 2)
            / 6
            for c, t in levels
        ]
    )
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    taken = taken[:, cross]
    choices = np.sort(taken[1:].ravel())
    low, high = 0, len(choices)
    while low < high:  # how many of the values, in order, may be the limit
        middle = (low + high + 1) // 2
        mean = _chosen_loss(taken, choices[middle - 1]).mean()
        low, high = (middle, high) if mean <= loss else (low, middle - 1)
    limit = choices[low - 1] if low else -1.0
    level = _level(taken, limit)
    groups = [Group(cross[level == number], *levels[number]) for number in range(len(levels))]
    return [group for group in groups if len(group.rows)]


def _level(taken: Array, limit: float) -> Array:
    """Number of the last level at which each baseline loses no more than `limit`; level 0 is no averaging."""
    within = taken <= limit
    within[0] = True
    return len(taken) - 1 - np.argmax(within[::-1], axis=0)


def _chosen_loss(taken: Array, limit: float) -> Array:
    return np.take_along_axis(taken, _level(taken, limit)[np.newaxis], axis=0)[0]


def write_residuals(
    data: StokesI, array: DriftArray, sources: pd.DataFrame | None, groups: Sequence[Group], folder: Path
) -> list[Path]:
    """Write the data less the sources, one Measurement Set for each group.

    Parameters
    ----------
    data : StokesI
    array : DriftArray
        Made from `data.meta`.
    sources : DataFrame or None
        The table of `contimg.drift.fit.fit`.
    groups : sequence of Group
        From `plan_groups`.
    folder : Path
        Existing scratch directory.

    Returns
    -------
    list of Path
        In the order of the groups.
    """
    view = None if sources is None else array.view(PointSources.from_table(sources))
    paths = [folder / f"residual{number}.ms" for number in range(len(groups))]
    writers = [_GroupWriter(path, data.meta, group) for path, group in zip(paths, groups, strict=True)]
    try:
        for i in range(data.meta.n_times):
            vis, weight = data.read(i)
            left = vis if view is None else vis - view.predict(i)
            uvw = data.uvw(i)
            for writer in writers:
                writer.add(i, left, weight, uvw)
    finally:
        for writer in writers:
            writer.close()
    return paths


class _GroupWriter:
    """Averages the baselines of a group and writes their set from front to back."""

    def __init__(self, path: Path, meta: MsMeta, group: Group) -> None:
        self.group = group
        self.spans = np.array_split(np.arange(meta.n_times), -(-meta.n_times // group.times))
        small = replace(
            meta,
            ant1=meta.ant1[group.rows],
            ant2=meta.ant2[group.rows],
            times_jd=np.array([meta.times_jd[span].mean() for span in self.spans]),
            integration_s=np.array([meta.integration_s[span].sum() for span in self.spans]),
            freq_hz=meta.freq_hz.reshape(-1, group.channels).mean(axis=1),
            channel_width_hz=meta.channel_width_hz * group.channels,
            correlations=(CORRELATION,),
        )
        self.writer = MsWriter(path, small, weight_spectrum=True)
        self.shape = len(group.rows), len(small.freq_hz)
        self._order: Iterator[tuple[int, Array]] = iter(enumerate(self.spans))
        self._next()

    def _next(self) -> None:
        self.number, self.span = next(self._order, (-1, np.array([], int)))
        self.product = np.zeros(self.shape, np.complex64)
        self.total = np.zeros(self.shape, np.float32)
        self.uvw = np.zeros((self.shape[0], 3))

    def add(self, i: int, vis: Array, weight: Array, uvw: Array) -> None:
        """Add integration `i` (all baselines and channels); writes when a span is complete."""
        rows = self.group.rows
        blocks = (*self.shape, self.group.channels)
        weighted = weight[rows]
        self.total += weighted.reshape(blocks).sum(axis=-1)
        self.product += (vis[rows] * weighted).reshape(blocks).sum(axis=-1)
        self.uvw += uvw[rows]
        if i != self.span[-1]:
            return
        good = self.total > 0
        mean = np.divide(self.product, self.total, out=self.product, where=good)
        spectrum = self.total[..., np.newaxis]
        count = np.maximum(good.sum(axis=1), 1)[:, np.newaxis]
        self.writer.write_time(
            self.number,
            self.uvw / len(self.span),
            mean[..., np.newaxis],
            ~good[..., np.newaxis],
            self.total.sum(axis=1, keepdims=True) / count.astype(np.float32),
            spectrum,
        )
        self._next()

    def close(self) -> None:
        self.writer.close()
