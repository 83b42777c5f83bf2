"""A tile's flags in one picture, from what its sidecar says.

By antenna, subband, time and baseline length; and the most flagged baselines against time and channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.convert.waterfall import cells
from contimg.core.pictures import BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


_CHARACTER_PT, _GAP_PT, _PANEL_PT = 4.2, 3.0, 380.0
"""Points: a character of the labels, room between two, the width of a panel. Labels that take more stand upright."""


def plot_flags(record: Mapping[str, Any], title: str = "") -> Figure:
    """Draw the flag fractions of a tile.

    Parameters
    ----------
    record
        The contents of a tile's sidecar, `ms/science/{date}/{tile}.json`, that are not from a rejected group.
    title
        Of the figure.

    Returns
    -------
    Figure
        Four panels of bars, in per cent, antennas that were dropped hatched; below them a waterfall of each of the
        most flagged baselines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = record["metrics"]
    baselines = metrics.get("most_flagged_baselines", [])
    figure = Figure(figsize=(12, 9.5 if baselines else 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title} {100 * metrics['flag_fraction']:.1f} % flagged".strip())
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1)) if baselines else None
    above = figure if grid is None else figure.add_subfigure(grid[0])
    antennas, subbands, times, lengths = above.subplots(2, 2).ravel()
    by_antenna = metrics["flag_fraction_by_antenna"]
    _bars(antennas, list(by_antenna.values()), list(by_antenna), "antenna (hatched: dropped altogether)")
    for bar, name in zip(antennas.patches, by_antenna, strict=True):
        if name in metrics["dead_antennas"]:
            bar.set(facecolor=VERMILION, hatch="////", edgecolor="w")
    by_subband = metrics["flag_fraction_by_subband"]
    _bars(subbands, by_subband, range(len(by_subband)), "sixteenth of the band, ascending")
    by_time = metrics["flag_fraction_by_time"]
    _bars(times, by_time, range(len(by_time)), "integration")
    by_length = metrics["flag_fraction_by_length"]
    labels = [f"{octave['from_m']:.0f}–{octave['to_m']:.0f}" for octave in by_length]
    _bars(lengths, [octave["fraction"] for octave in by_length], labels, "baseline length (m)")
    if grid is not None:
        _waterfalls(figure.add_subfigure(grid[1]), baselines)
    return figure


def _bars(axes: Axes, fractions: Sequence[float], labels: Sequence[Any], label: str) -> None:
    axes.bar(np.arange(len(fractions)), 100 * np.asarray(fractions), color=BLUE)
    step = max(1, len(labels) // 24)
    shown = [str(name) for name in labels][::step]
    axes.set_xticks(np.arange(0, len(labels), step), shown, fontsize=7)
    if len(shown) * (_CHARACTER_PT * max(map(len, shown), default=0) + _GAP_PT) > _PANEL_PT:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(label)
    axes.set_ylabel("flagged (%)")
    axes.set_ylim(0, 100)
    axes.grid(axis="y", alpha=0.3)


def _waterfalls(figure: SubFigure, baselines: Sequence[Mapping[str, Any]]) -> None:
    """The most flagged baselines, side by side: time upward, sixteenths of the band to the right."""
    panels = figure.subplots(1, len(baselines), sharey=True, squeeze=False)[0]
    for axes, entry in zip(panels, baselines, strict=True):
        shown = axes.imshow(
            100 * cells(entry), aspect="auto", origin="lower", cmap="cividis_r", vmin=0, vmax=100,
            interpolation="nearest", extent=(0, 16, 0, 100),
        )  # fmt: skip
        axes.set_title(f"baseline {entry['baseline']}: {100 * entry['fraction']:.0f} %", fontsize=9)
        axes.set_xlabel("sixteenth of the band")
        axes.set_xticks((0, 4, 8, 12, 16))
    panels[0].set_ylabel("time (% of the tile)")
    figure.colorbar(shown, ax=list(panels), label="flagged (%)", ticks=(0, 25, 50, 75, 100), aspect=15)
