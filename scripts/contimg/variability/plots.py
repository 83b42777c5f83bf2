"""Pictures of light curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd


def plot(
    path: Path,
    source_id: str,
    curve: pd.DataFrame,
    beside: Mapping[str, pd.DataFrame],
    tiles: pd.DataFrame | None = None,
) -> None:
    """Draw a light curve, and its neighbours' below on the scale of their medians.

    Parameters
    ----------
    path : Path
        PNG, PDF or SVG.
    source_id : str
        Its name.
    curve : DataFrame
        Rows of `contimg.variability.curves.read_source`; points that do not count are drawn hollow.
    beside : mapping of str to DataFrame
        The neighbours' rows, by a title.
    tiles : DataFrame, optional
        What `contimg.variability.tile_series.series` has of it: drawn behind the points.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.2 + 1.3 * len(beside)), layout="constrained")
    axes = figure.subplots(
        1 + len(beside), 1, sharex=True, squeeze=False, height_ratios=[2.4, *[1.0] * len(beside)]
    )[:, 0]
    used = curve[curve["used"].astype(bool)]
    rest = curve[~curve["used"].astype(bool)]
    if tiles is not None:
        axes[0].errorbar(
            tiles["mjd"],
            1e3 * tiles["flux_norm"],
            1e3 * tiles["flux_norm_err"],
            fmt=".",
            ms=3,
            lw=0.5,
            color="0.6",
            zorder=0,
        )
    axes[0].errorbar(used["mjd"], 1e3 * used["flux_norm"], 1e3 * used["flux_norm_err"], fmt="o", ms=3, lw=0.8)
    axes[0].errorbar(
        rest["mjd"],
        1e3 * rest["flux_norm"],
        1e3 * rest["flux_norm_err"],
        fmt="o",
        ms=3,
        mfc="none",
        lw=0.5,
        alpha=0.4,
    )
    axes[0].set_ylabel("flux density (mJy)")
    grey = "" if tiles is None else f"; grey: {len(tiles)} tiles"
    axes[0].set_title(f"{source_id}: {len(used)} epochs (hollow: not counted{grey})", fontsize=10)
    for axis, (title, rows) in zip(axes[1:], beside.items(), strict=True):
        some = rows[rows["used"].astype(bool)]
        middle = some["flux_norm"].median()
        axis.errorbar(
            some["mjd"],
            some["flux_norm"] / middle,
            some["flux_norm_err"] / abs(middle),
            fmt=".",
            ms=3,
            lw=0.6,
        )
        axis.axhline(1.0, color="0.7", lw=0.6, zorder=0)
        axis.set_title(title, fontsize=8)
    axes[-1].set_xlabel("MJD (UTC)")
    figure.savefig(path, dpi=130)
