"""A picture of a mosaic for a person: right ascension and declination, grey scale in mJy/beam."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contimg.core.pictures import draw_beam, label_bar, shrink, where_data_are

if TYPE_CHECKING:
    from astropy.io.fits import Header

MAX_PIXELS = 1600
"""Columns or rows of the picture's image at most."""


def save_picture(path: Path, image: np.ndarray, rms: np.ndarray, header: Header) -> None:
    """Write a PNG of a mosaic: the part of its grid that holds data, with the beam.

    The grey scale runs from -3 to +30 times the median rms, as the arsinh. Where that part is larger than
    1600 pixels, each pixel of the picture shows the brightest of a block.

    Parameters
    ----------
    path : Path
        The PNG.
    image, rms : numpy.ndarray (ny, nx)
        Jy/beam, NaN outside.
    header : astropy.io.fits.Header
        Of the mosaic (WCS, OBJECT, DATE-OBS, NTILES, beam).
    """
    from astropy.wcs import WCS
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import AsinhNorm
    from matplotlib.figure import Figure

    noise, best = 1e3 * float(np.nanmedian(rms[::2, ::2])), 1e3 * float(np.nanmin(rms))
    rows_held, columns_held = where_data_are(image)
    image = image[rows_held, columns_held]
    factor = max(1, math.ceil(max(image.shape) / MAX_PIXELS))
    small = shrink(image, factor) * 1e3
    wcs = WCS(header).celestial[rows_held, columns_held][::factor, ::factor]

    rows, columns = small.shape
    width_in = 12.0 if columns >= rows else max(6.0, 12.0 * columns / rows)
    height_in = min(max((width_in - 2.0) * rows / columns + 1.6, 3.6), 14.0)
    figure = Figure(figsize=(width_in, height_in), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(projection=wcs)
    shown = axes.imshow(
        small,
        origin="lower",
        cmap="gray_r",
        norm=AsinhNorm(linear_width=3 * noise, vmin=-3 * noise, vmax=30 * noise),
        interpolation="nearest",
    )
    axes.set_facecolor("0.93")
    axes.set_xlabel("Right ascension (ICRS)")
    axes.set_ylabel("Declination (ICRS)")
    axes.coords.grid(color="tab:blue", alpha=0.25, linewidth=0.5)
    axes.coords[0].set_major_formatter("hh:mm")
    axes.coords[1].set_major_formatter("dd:mm")
    beam = f"{header['BMAJ'] * 3600:.1f}″ × {header['BMIN'] * 3600:.1f}″, {header['BPA']:.0f}°"
    axes.set_title(
        f"{header['OBJECT']}   {header['DATE-OBS'][:19]} UTC   {header['NTILES']} tiles\n"
        f"rms over the whole area {noise:.3g} mJy/beam (median; lowest {best:.3g}); "
        f"beam {beam} ({header['BEAMMODE']})",
        fontsize=10,
    )
    draw_beam(axes, header, factor, columns)
    bar = figure.colorbar(shown, ax=axes, label="mJy/beam", shrink=0.9, pad=0.02, extend="both")
    label_bar(bar, noise, (-3, 0, 3, 10, 30))
    figure.savefig(path)
