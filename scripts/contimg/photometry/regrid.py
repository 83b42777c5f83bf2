"""An image put onto another one's grid, to be subtracted from it.

Interpolated with cubic splines where the two overlap. Where a pixel lies in the other image is computed exactly for
every `STEP_PX`-th pixel, and by cubic splines between: both projections are smooth, the error is below 1e-4 pixel.
Mosaics are made by `contimg.mosaic.regrid`, which is fitted to weights and to many tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

Plane = NDArray[np.float32]

STEP_PX = 32
ROWS = 512
"""Worked on at a time: the coordinates of a whole mosaic would be four times its size."""
MARGIN_PX = 2
_OUTLINE = 33


def onto(planes: Sequence[Plane], own: Header, wanted: Header) -> list[Plane]:
    """Planes of one image on another image's grid; NaN where that image does not reach.

    Parameters
    ----------
    planes : sequence of (ny, nx) float32
        The first is interpolated with cubic splines, the others, which are smooth, linearly.
    own, wanted : Header
        Of the planes, and of the other image.
    """
    shape = int(wanted["NAXIS2"]), int(wanted["NAXIS1"])
    moved = [np.full(shape, np.nan, np.float32) for _ in planes]
    there = overlap(planes[0].shape, own, wanted)
    if there is None:
        return moved
    y1, y2, x1, x2 = there
    to_x, to_y = _coordinates(there, own, wanted)
    # a spline knows no blank pixel: what they touch is blanked afterwards
    blank = ~np.all([np.isfinite(plane) for plane in planes], axis=0)
    sources = [np.where(blank, np.float32(0), plane) for plane in planes]
    sources[0] = ndimage.spline_filter(sources[0], 3, np.float32)
    columns = np.arange(x1, x2, dtype=float)
    for row in range(y1, y2, ROWS):
        rows = np.arange(row, min(row + ROWS, y2), dtype=float)
        at = np.array([to_y(rows, columns), to_x(rows, columns)])
        touched = ndimage.map_coordinates(
            blank.view(np.uint8), at, np.float32, order=1, mode="constant", cval=1.0
        )
        for number, source in enumerate(sources):
            order = 3 if number == 0 else 1
            values = ndimage.map_coordinates(
                source, at, np.float32, order=order, mode="constant", cval=np.nan, prefilter=False
            )
            values[touched > 0] = np.nan
            moved[number][row : row + len(rows), x1:x2] = values
    return moved


def overlap(shape: tuple[int, ...], own: Header, wanted: Header) -> tuple[int, int, int, int] | None:
    """Rows and columns (y1, y2, x1, x2) of the wanted grid that an image of a shape (ny, nx) can reach, or None."""
    ny, nx = shape
    along, low, high = np.linspace(-0.5, 0.5, _OUTLINE), np.full(_OUTLINE, -0.5), np.full(_OUTLINE, 0.5)
    x = nx * np.concatenate([along, along, low, high]) + (nx - 1) / 2
    y = ny * np.concatenate([low, high, along, along]) + (ny - 1) / 2
    sky = WCS(own).celestial.wcs_pix2world(x, y, 0)
    x, y = WCS(wanted).celestial.wcs_world2pix(*sky, 0)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    y1, x1 = (max(int(np.floor(axis.min())) - MARGIN_PX, 0) for axis in (y, x))
    y2 = min(int(np.ceil(y.max())) + MARGIN_PX + 1, int(wanted["NAXIS2"]))
    x2 = min(int(np.ceil(x.max())) + MARGIN_PX + 1, int(wanted["NAXIS1"]))
    return (y1, y2, x1, x2) if y2 > y1 and x2 > x1 else None


def _coordinates(
    there: tuple[int, int, int, int], own: Header, wanted: Header
) -> tuple[RectBivariateSpline, RectBivariateSpline]:
    """Functions of rows and columns of the wanted grid: x and y in the image."""
    y1, y2, x1, x2 = there
    nodes_y, nodes_x = (
        np.linspace(low, high - 1, max(4, (high - low) // STEP_PX + 1)) for low, high in ((y1, y2), (x1, x2))
    )
    grid_x, grid_y = np.meshgrid(nodes_x, nodes_y)
    sky = WCS(wanted).celestial.wcs_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
    x, y = WCS(own).celestial.wcs_world2pix(*sky, 0)
    to_x, to_y = (RectBivariateSpline(nodes_y, nodes_x, axis.reshape(grid_x.shape)) for axis in (x, y))
    return to_x, to_y
