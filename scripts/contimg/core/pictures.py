"""What pictures of images share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7"
"""Of Okabe and Ito's colours, which colour-blind readers tell apart."""
_MARGIN = 0.02


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Brightest pixel of each factor x factor block, so that point sources stay visible."""
    rows, columns = (size // factor * factor for size in image.shape)
    blocks = image[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    filled = np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1)
    return np.asarray(filled)


def where_data_are(image: NDArray[np.floating]) -> tuple[slice, slice]:
    """Rows and columns of an image that hold numbers, with a margin of 2 % of them; all of it where none does."""
    spans = []
    for axis in (1, 0):
        filled = np.flatnonzero(np.isfinite(image).any(axis=axis))
        size = image.shape[1 - axis]
        if not len(filled):
            return slice(0, image.shape[0]), slice(0, image.shape[1])
        margin = math.ceil(_MARGIN * (filled[-1] - filled[0] + 1))
        spans.append(slice(max(0, int(filled[0]) - margin), min(size, int(filled[-1]) + margin + 1)))
    return spans[0], spans[1]


def draw_beam(axes: Axes, header: Header, factor: int, columns: int) -> None:
    """The restoring beam in the lower left corner, enlarged to at least 1/50 of the picture.

    Parameters
    ----------
    axes : Axes
        Of an image with north up.
    header : Header
        With BMAJ, BMIN, CDELT2 (deg) and BPA (deg, from north to east).
    factor : int
        Pixels of the image to one of the picture.
    columns : int
        Of the picture.
    """
    from matplotlib.patches import Ellipse

    major, minor = (header[key] / header["CDELT2"] / factor for key in ("BMAJ", "BMIN"))
    enlarged = max(1, math.ceil(columns / 50 / major))
    x = y = 0.03 * columns + 0.5 * major * enlarged
    # matplotlib turns the width's axis from x; the position angle counts from y toward -x (east)
    axes.add_patch(
        Ellipse((x, y), minor * enlarged, major * enlarged, angle=header["BPA"], fc=ORANGE, ec="k", lw=0.6)
    )
    axes.text(
        x + 0.7 * major * enlarged,
        y,
        "beam" if enlarged == 1 else f"beam × {enlarged}",
        fontsize=8,
        va="center",
        bbox={"fc": "w", "ec": "none", "alpha": 0.6},
    )


def label_bar(bar: Colorbar, noise: float, sigmas: tuple[int, ...]) -> None:
    """Ticks of a colour bar at multiples of the noise (in the bar's unit), the ends among them."""
    ticks = [noise * sigma for sigma in sigmas]
    bar.set_ticks(ticks, labels=[f"{float(f'{tick:.2g}'):g}" for tick in ticks])
