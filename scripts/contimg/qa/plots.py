"""Pictures of a night for its page, as PNG bytes: nothing is written."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from contimg.core.html import COLOURS
from contimg.core.pictures import BLUE, ORANGE, VERMILION, draw_beam, label_bar, shrink, where_data_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = {"ok": "o", "failed": "^", "rejected": "x", "error": "*"}
"""Markers; the colours are those of all pages."""
_STEPS_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240)
PICTURE_PIXELS = 1000
SMALL_PIXELS = 760


def canvas(width_in: float, height_in: float, **layout: Any) -> Figure:
    """Give an empty figure that no window system is needed for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=100, layout="constrained", **layout)
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """Draw a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def against_time(tiles: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Noise of the tiles' images with what is expected, and flags below it; None without a number."""
    known = [tile for tile in tiles if "rms_jy" in tile["metrics"]]
    if not known:
        return None
    table = pd.DataFrame([{**tile["metrics"], "state": tile["state"]} for tile in known])
    hours = 24.0 * (table["mid_mjd"] - math.floor(table["mid_mjd"].min()))
    from matplotlib.ticker import MultipleLocator

    figure = canvas(9.0, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(
        hours, 1e3 * table["expected_rms_jy"], color="0.5", lw=1.2, label="expected: thermal and confusion"
    )
    for name, marker in STATES.items():
        chosen = (table["state"] == name).to_numpy()
        look = {"color": COLOURS[name], "marker": marker}
        if chosen.any():
            above.scatter(hours[chosen], 1e3 * table["rms_jy"][chosen], s=22, label=name, **look)
            below.scatter(hours[chosen], 100 * table["flag_fraction"][chosen], s=18, **look)
    above.set_ylabel("rms at the middle (mJy/beam)")
    if table["rms_jy"].max() > 5 * table["rms_jy"].median():
        above.set_yscale("log")
    else:
        above.set_ylim(0.0, 1.3e3 * float(table[["rms_jy", "expected_rms_jy"]].max().max()))
    above.legend(fontsize=8, ncols=4)
    below.set_ylabel("flagged (%)")
    below.set_ylim(0, 100)
    below.set_xlabel("UTC")
    span_min = 60.0 * float(np.ptp(hours))
    step_min = next((step for step in _STEPS_MIN if step >= span_min / 8), _STEPS_MIN[-1])
    below.xaxis.set_major_locator(MultipleLocator(step_min / 60.0))
    below.xaxis.set_major_formatter(_clock)
    for axes in (above, below):
        axes.grid(alpha=0.25)
    return as_png(figure)


def _clock(hours: float, _: int | None = None) -> str:
    """Hours since some midnight as HH:MM."""
    minutes = round(60.0 * hours)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def flags(record: Mapping[str, Any], title: str) -> bytes:
    """Where a tile's flags are, from its sidecar: `contimg.convert.flag_plot`."""
    from contimg.convert.flag_plot import plot_flags

    return as_png(plot_flags(record, title))


def against_catalogue(tables: Sequence[pd.DataFrame], flux_snr: float) -> bytes | None:
    """Flux ratio against catalogue flux, and offsets along the beam's axes; None without a matched source."""
    with_ratio = [table for table in tables if "comparable" in table]
    pairs = pd.concat(with_ratio) if with_ratio else pd.DataFrame({"ratio": []})
    pairs = pairs[pairs["ratio"].notna()]
    if pairs.empty:
        return None
    bright = pairs[(pairs["snr"] >= flux_snr) & pairs["comparable"].astype(bool)]
    figure = canvas(9.0, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    left.scatter(1e3 * pairs["catalog_jy"], pairs["ratio"], s=6, color="0.7", label="all pairs")
    left.scatter(
        1e3 * bright["catalog_jy"],
        bright["ratio"],
        s=10,
        color=BLUE,
        label=f"isolated points, > {flux_snr:g} σ",
    )
    left.axhline(1.0, color="k", lw=0.8)
    if len(bright):
        median = float(bright["ratio"].median())
        left.axhline(median, color=VERMILION, lw=1.2, label=f"median {median:.3f}")
    left.set_xscale("log")
    left.set_ylim(0.5, 1.5)
    left.set_xlabel("catalogue flux (mJy)")
    left.set_ylabel("measured / catalogue")
    left.legend(fontsize=8)
    _offsets(right, bright)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return as_png(figure)


def _offsets(axes: Axes, bright: pd.DataFrame) -> None:
    axes.scatter(bright["offset_east_arcsec"], bright["offset_north_arcsec"], s=8, color=BLUE)
    east, north = bright["offset_east_arcsec"].median(), bright["offset_north_arcsec"].median()
    axes.axhline(0.0, color="k", lw=0.8)
    axes.axvline(0.0, color="k", lw=0.8)
    if len(bright):
        axes.plot([east], [north], "+", ms=14, mew=2, color=VERMILION)
        reach = (
            1.2 * float(bright[["offset_east_arcsec", "offset_north_arcsec"]].abs().to_numpy().max()) + 0.1
        )
        axes.set_xlim(reach, -reach)
        axes.set_ylim(-reach, reach)
        axes.set_title(f"median {east:+.2f}″ east, {north:+.2f}″ north", fontsize=9)
    axes.set_aspect("equal")
    axes.set_xlabel("east (arcsec)")
    axes.set_ylabel("north (arcsec)")


_BEAM_STEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_LEAST_OF_STEP = 3


def against_beam(rows: pd.DataFrame) -> bytes | None:
    """Flux ratio against the response of the beam: flat where the beam is right; None without a ratio.

    Parameters
    ----------
    rows : DataFrame
        From `contimg.qa.response.rows_of`: a source's flux in a tile over its mean in all tiles, and over the
        catalogue's.
    """
    if rows.empty:
        return None
    shared = rows.groupby("source")["flux_jy"].transform("size") > 1
    over_mean = (rows["flux_jy"] / rows.groupby("source")["flux_jy"].transform("mean")).where(shared)
    over_catalogue = rows["flux_jy"] / rows["catalog_jy"]
    kinds = (
        ("over the source's mean in all tiles", over_mean, BLUE, "o"),
        ("over the catalogue", over_catalogue, VERMILION, "^"),
    )
    known = [kind for kind in kinds if kind[1].notna().any()]
    if not known:
        return None
    figure = canvas(9.0, 3.6)
    axes = figure.subplots()
    for label, ratio, colour, marker in known:
        axes.scatter(rows["pb"], ratio, s=10, color=colour, marker=marker, alpha=0.4, lw=0)
        medians = beam_medians(rows["pb"], ratio)
        axes.plot(
            list(medians), list(medians.values()), f"{marker}-", color=colour, ms=5, label=f"{label}: medians"
        )
    axes.axhline(1.0, color="k", lw=0.8)
    reach = max(0.1, 1.3 * max(float((kind[1] - 1.0).abs().quantile(0.95)) for kind in known))
    axes.set_ylim(1.0 - reach, 1.0 + reach)
    axes.set_xlim(0.05, 1.05)
    axes.set_xlabel("response of the power beam at the source")
    axes.set_ylabel("flux ratio")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)
    return as_png(figure)


def beam_medians(pb: pd.Series, ratio: pd.Series) -> dict[float, float]:
    """Median ratio by the middle of a step of the beam's response, where a step holds enough."""
    middles = [0.5 * (low + high) for low, high in pairwise(_BEAM_STEPS)]
    of_step = ratio.groupby(pd.cut(pb, _BEAM_STEPS, labels=middles).astype(float))
    medians = of_step.median()[of_step.count() >= _LEAST_OF_STEP]
    return dict(zip(medians.index.tolist(), medians.tolist(), strict=True))


def completeness(injections: Sequence[Mapping[str, Any]]) -> bytes:
    """Recovered part of the injected sources and their median flux ratio against true S/N, all tiles together."""
    table = pd.DataFrame([step for metrics in injections for step in metrics["steps"]])
    curve = table.groupby("snr")[["injected", "recovered"]].sum()
    part = curve["recovered"] / curve["injected"]
    figure = canvas(9.0, 3.4)
    left, right = figure.subplots(1, 2)
    error = np.sqrt(part * (1 - part) / curve["injected"])
    left.errorbar(curve.index, part, yerr=error, fmt="o-", color=BLUE, ms=4)
    left.set_ylim(-0.03, 1.03)
    left.set_ylabel("recovered")
    # what is recovered by luck is too bright: below half the median says nothing
    ratio = table[table["recovered"] >= 0.5 * table["injected"]].groupby("snr")["median_ratio"].median()
    right.plot(ratio.index, ratio, "o-", color=BLUE, ms=4)
    right.axhline(1.0, color="k", lw=0.8)
    right.set_ylabel("measured / true flux")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks([2, 5, 10, 20, 50], labels=["2", "5", "10", "20", "50"])
        axes.set_xticks([], minor=True)
        axes.set_xlim(1.8, 56.0)
        axes.set_xlabel("true signal to noise")
        axes.grid(alpha=0.25)
    return as_png(figure)


def mosaic(image: Path, rms: Path, sources: pd.DataFrame) -> bytes:
    """The part of a mosaic that holds data, with its beam and its sources.

    Blue circles: what the catalogue has; orange squares: what it has not; grey circles without a catalogue.
    """
    from astropy.io import fits
    from astropy.wcs import WCS
    from matplotlib.colors import AsinhNorm

    with fits.open(image, memmap=True) as hdus:
        header, plane = hdus[0].header, hdus[0].data
        held = where_data_are(plane)
        plane = plane[held]
        factor = max(1, math.ceil(max(plane.shape) / PICTURE_PIXELS))
        small = 1e3 * shrink(plane, factor)
    with fits.open(rms, memmap=True) as hdus:
        noise = 1e3 * float(np.nanmedian(hdus[0].data[::4, ::4]))
    rows, columns = small.shape
    figure = canvas(9.5, min(max(9.0 * rows / columns + 0.9, 3.0), 9.0))
    axes = figure.add_subplot(projection=WCS(header).celestial[held][::factor, ::factor])
    norm = AsinhNorm(linear_width=3 * noise, vmin=-3 * noise, vmax=30 * noise)
    shown = axes.imshow(small, origin="lower", cmap="gray_r", norm=norm, interpolation="nearest")
    axes.set_facecolor("0.93")
    if len(sources):
        x, y = (
            (sources[axis] - span.start - (factor - 1) / 2) / factor
            for axis, span in (("x_pix", held[1]), ("y_pix", held[0]))
        )
        known = sources["ratio"].notna() if "ratio" in sources else pd.Series(data=True, index=sources.index)
        blue = BLUE if "ratio" in sources else "0.4"
        for chosen, marker, colour in ((known, "o", blue), (~known, "s", ORANGE)):
            axes.scatter(
                x[chosen], y[chosen], s=40, marker=marker, facecolors="none", edgecolors=colour, lw=0.8
            )
    draw_beam(axes, header, factor, columns)
    bar = figure.colorbar(shown, ax=axes, label="mJy/beam", shrink=0.9, pad=0.02, extend="both")
    label_bar(bar, noise, (-3, 0, 3, 10, 30))
    axes.set_xlabel("right ascension")
    axes.set_ylabel("declination")
    axes.coords[0].set_major_formatter("hh:mm")
    axes.coords[1].set_major_formatter("dd:mm")
    return as_png(figure)


def smaller(path: Path) -> bytes:
    """A PNG file, shrunk to the width of the page."""
    from matplotlib.image import imread, thumbnail

    width = imread(path).shape[1]
    if width <= SMALL_PIXELS:
        return path.read_bytes()
    buffer = io.BytesIO()
    thumbnail(str(path), buffer, scale=SMALL_PIXELS / width, interpolation="bilinear")
    return buffer.getvalue()
