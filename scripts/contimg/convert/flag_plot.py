"""A tile's flags in one picture, from what its sidecar says: by antenna, subband, time and baseline length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEAD_COLOUR = "tab:red"


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
        Four panels of bars, in per cent; antennas that were dropped are red.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = record["metrics"]
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    antennas, subbands, times, lengths = figure.subplots(2, 2).ravel()
    figure.suptitle(f"{title} {100 * metrics['flag_fraction']:.1f} % flagged".strip())
    by_antenna = metrics["flag_fraction_by_antenna"]
    _bars(antennas, list(by_antenna.values()), list(by_antenna), "antenna")
    for bar, name in zip(antennas.patches, by_antenna, strict=True):
        if name in metrics["dead_antennas"]:
            bar.set_color(DEAD_COLOUR)
    by_subband = metrics["flag_fraction_by_subband"]
    _bars(subbands, by_subband, range(len(by_subband)), "sixteenth of the band, ascending")
    by_time = metrics["flag_fraction_by_time"]
    _bars(times, by_time, range(len(by_time)), "integration")
    by_length = metrics["flag_fraction_by_length"]
    labels = [f"{octave['from_m']:.0f}–{octave['to_m']:.0f}" for octave in by_length]
    _bars(lengths, [octave["fraction"] for octave in by_length], labels, "baseline length (m)")
    return figure


def _bars(axes: Axes, fractions: Sequence[float], labels: Sequence[Any], label: str) -> None:
    axes.bar(np.arange(len(fractions)), 100 * np.asarray(fractions), color="tab:blue")
    step = max(1, len(labels) // 24)
    axes.set_xticks(np.arange(0, len(labels), step), [str(name) for name in labels][::step], fontsize=7)
    if step > 1:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(label)
    axes.set_ylabel("flagged (%)")
    axes.set_ylim(0, 100)
    axes.grid(axis="y", alpha=0.3)
