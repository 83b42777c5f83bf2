"""How a tile's image came to be, in one picture: image, dirty image, what CLEAN left, uv coverage."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import Header

from contimg.core.pictures import label_bar
from contimg.image.picture import largest_of_blocks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from contimg.ms.weights import Coverage

PIXELS = 500
RESIDUAL_SIGMA = 5


def save_steps(
    path: Path,
    image: np.ndarray,
    header: Header,
    *,
    dirty: np.ndarray | None,
    residual: np.ndarray,
    coverage: Coverage,
    rms_jy: float,
    fitted: bool,
) -> None:
    """Write a PNG of four panels: image, dirty image, residual, uv coverage.

    The image and the dirty one share their grey scale, from -5 to +100 times the rms; the residual's ends at 5 times.

    Parameters
    ----------
    path : Path
        Where to write.
    image : (ny, nx) float
        Apparent, Jy/beam.
    header : Header
        Of the image.
    dirty : (ny, nx) float or None
        What CLEAN began with, Jy/beam; None where the imager leaves none.
    residual : (ny, nx) float
        What CLEAN left, Jy/beam.
    coverage : Coverage
        Of the uv plane.
    rms_jy : float
        Median rms in the middle.
    fitted : bool
        Whether the bright sources were fitted and subtracted before CLEAN.
    """
    from matplotlib import colors
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    noise = 1e3 * rms_jy
    ny, nx = image.shape
    figure = Figure(figsize=(11.0, 1.2 + min(max(9.0 * ny / nx, 5.0), 11.0)), dpi=90)
    FigureCanvasAgg(figure)
    figure.suptitle(f"{header['OBJECT']} UTC: how the image came to be", fontsize=11)
    # places by hand: matplotlib's own layout draws everything twice, which doubles what the picture costs
    grid = {"left": 0.06, "right": 0.94, "bottom": 0.06, "top": 0.91, "wspace": 0.2, "hspace": 0.25}
    (whole, before), (after, plane) = figure.subplots(2, 2, gridspec_kw=grid)
    wide = colors.AsinhNorm(linear_width=3 * noise, vmin=-5 * noise, vmax=100 * noise)
    narrow = colors.Normalize(-RESIDUAL_SIGMA * noise, RESIDUAL_SIGMA * noise)
    without = ", bright sources subtracted" if fitted else ""
    scale = (-5, 0, 5, 20, 100)
    _panel(figure, whole, image, header, "the image", wide, noise, scale)
    if dirty is None:
        before.set_axis_off()
        before.text(0.5, 0.5, "this imager leaves no dirty image", ha="center", fontsize=9)
    else:
        _panel(figure, before, dirty, header, f"dirty{without}", wide, noise, scale)
    ends = (-RESIDUAL_SIGMA, 0, RESIDUAL_SIGMA)
    _panel(figure, after, residual, header, "left by CLEAN", narrow, noise, ends)
    _coverage(figure, plane, coverage)
    figure.savefig(path, metadata={"Software": str(header.get("ORIGIN", "contimg"))})


def _panel(
    figure: Figure,
    axes: Axes,
    image: np.ndarray,
    header: Header,
    title: str,
    norm: Normalize,
    noise: float,
    sigmas: tuple[int, ...],
) -> None:
    """An image in degrees from its middle, east to the left; `noise` in mJy."""
    ny, nx = image.shape
    small = 1e3 * largest_of_blocks(image, max(1, ceil(max(image.shape) / PIXELS)))
    east, north = 0.5 * nx * abs(header["CDELT1"]), 0.5 * ny * abs(header["CDELT2"])
    shown = axes.imshow(
        small, origin="lower", cmap="gray_r", norm=norm, interpolation="nearest",
        extent=(east, -east, -north, north),
    )  # fmt: skip
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("degrees east of the middle", fontsize=8)
    axes.set_ylabel("degrees north", fontsize=8)
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(shown, ax=axes, label="mJy/beam", shrink=0.8, pad=0.02, extend="both")
    label_bar(bar, noise, sigmas)


def _coverage(figure: Figure, axes: Axes, coverage: Coverage) -> None:
    """Both halves of the uv plane: a visibility and its conjugate; the shade is the logarithm of the weight."""
    from matplotlib.colors import LogNorm

    density = coverage.density
    both = np.concatenate([density[::-1, ::-1], density])
    most = float(both.max())
    u, v = coverage.u_klambda, coverage.v_klambda
    shown = axes.imshow(
        np.where(both > 0, both / most, np.nan), origin="lower", cmap="cividis_r", norm=LogNorm(1e-4, 1.0),
        interpolation="nearest", extent=(-u, u, -v, v),
    )  # fmt: skip
    axes.set_title("uv coverage, all channels", fontsize=10)
    axes.set_xlabel("u (kλ)", fontsize=8)
    axes.set_ylabel("v (kλ)", fontsize=8)
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(shown, ax=axes, label="weight over the densest cell's", shrink=0.8, pad=0.02)
    bar.set_ticks([1e-4, 1e-3, 1e-2, 1e-1, 1.0], labels=["0.0001", "0.001", "0.01", "0.1", "1"])
