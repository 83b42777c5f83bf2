"""A picture of a tile's image for a person: quick to make, with everything needed to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from astropy.io.fits import Header

from contimg.core.pictures import draw_beam, label_bar

MAX_PIXELS = 1400


def save_picture(
    path: Path,
    image: np.ndarray,
    header: Header,
    *,
    pb: np.ndarray,
    rms_jy: float,
    pb_levels: Sequence[float] = (0.2, 0.5),
    sources: Sequence[tuple[float, float]] = (),
) -> None:
    """Write a PNG of an apparent image.

    Grey scale as the arsinh from -5 to +100 times the rms; where the image has more than 1400 pixels on a
    side, each pixel of the picture is the one of largest magnitude in its block, so that point sources and
    artefacts both stay visible. Sources found are circled, the power beam is contoured, the restoring beam is
    drawn (enlarged as the legend says, when it would be too small to see).

    Parameters
    ----------
    path : Path
        Where to write.
    image : (ny, nx) float
        Jy/beam.
    header : Header
        Of the image.
    pb : (ny, nx) float
        Power beam.
    rms_jy : float
        Median rms in the middle.
    pb_levels : sequence of float
        Contours of the power beam.
    sources : sequence of (x, y)
        0-based pixels of sources to circle.
    """
    from astropy.wcs import WCS
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import AsinhNorm
    from matplotlib.figure import Figure

    factor = max(1, ceil(max(image.shape) / MAX_PIXELS))
    small = largest_of_blocks(image, factor) * 1e3
    ny, nx = small.shape
    noise = rms_jy * 1e3
    wide = 9.0
    figure = Figure(figsize=(wide + 1.6, wide * ny / nx + 1.3), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(projection=WCS(header).celestial[::factor, ::factor])
    norm = AsinhNorm(linear_width=3 * noise, vmin=-5 * noise, vmax=100 * noise)
    shown = axes.imshow(small, origin="lower", cmap="gray_r", norm=norm, interpolation="nearest")
    middle = slice(factor // 2, None, factor)
    contours = axes.contour(
        pb[middle, middle][:ny, :nx],
        levels=sorted(set(pb_levels)),
        colors="tab:red",
        linewidths=0.8,
        alpha=0.8,
    )
    axes.clabel(contours, fmt=lambda level: f"PB {level:g}", fontsize=8)
    if len(sources):
        x, y = (np.asarray(sources, dtype=float).T - (factor - 1) / 2) / factor
        axes.scatter(x, y, s=90, facecolors="none", edgecolors="tab:blue", linewidths=0.8)
    draw_beam(axes, header, factor, nx)
    axes.set_xlabel("Right ascension (ICRS)")
    axes.set_ylabel("Declination (ICRS)")
    axes.coords.grid(color="tab:blue", alpha=0.2, linewidth=0.5)
    axes.coords[0].set_major_formatter("hh:mm")
    axes.coords[1].set_major_formatter("dd:mm")
    peak = float(np.nanmax(image))
    axes.set_title(
        f"{header['OBJECT']} UTC   {header['RESTFRQ'] / 1e6:.0f} MHz, Stokes I, apparent flux\n"
        f"beam {header['BMAJ'] * 3600:.1f}″ × {header['BMIN'] * 3600:.1f}″ at {header['BPA']:.0f}°,  "
        f"rms {noise:.3g} mJy/beam,  peak {_flux(peak)},  {len(sources)} sources",
        fontsize=10,
    )
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, aspect=30, pad=0.02, extend="both")
    bar.set_label("mJy/beam")
    label_bar(bar, noise, (-5, 0, 5, 10, 20, 50, 100))
    figure.savefig(path, metadata={"Software": str(header.get("ORIGIN", "contimg"))})


def largest_of_blocks(image: np.ndarray, factor: int) -> np.ndarray:
    """Value of largest magnitude in each factor x factor block; NaN where a block holds nothing."""
    if factor == 1:
        return image
    ny, nx = (size // factor for size in image.shape)
    rows = image[: ny * factor, : nx * factor].reshape(
        ny, factor, -1
    )  # first along whole rows: five times as fast
    high = np.fmax.reduce(np.fmax.reduce(rows, axis=1).reshape(ny, nx, factor), axis=2)
    low = np.fmin.reduce(np.fmin.reduce(rows, axis=1).reshape(ny, nx, factor), axis=2)
    return np.asarray(np.where(high >= -low, high, low))


def _flux(value_jy: float) -> str:
    """A flux density with the unit that suits it."""
    return f"{value_jy:.3g} Jy" if abs(value_jy) >= 1 else f"{1e3 * value_jy:.3g} mJy"
