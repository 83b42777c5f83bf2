"""Interpolate a tile onto the part of a mosaic's grid that it covers, and add it to the sums there.

Interpolation is reproject's (`reproject_interp`). What is ours is that it is asked block by block: the
coordinates of a block of 512 x 512 output pixels are a cubic polynomial in the pixel numbers, fitted to 16
exact transforms by astropy (1e-7 pixel at 3 arcsec; a test holds it below 1e-5), instead of 262,144
transforms; and a block reads only its own piece of the tile, so that splines are prefiltered once and
blocks run in threads. See docs/decisions/0001-reprojection.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.wcs.wcsapi import BaseLowLevelWCS

from contimg.mosaic.grid import image_outline

if TYPE_CHECKING:
    from astropy.wcs import WCS

ORDERS = {"nearest": 0, "bilinear": 1, "bicubic": 3}
BLOCK_PX = 512
SPLINE_MARGIN_PX = 16
"""Pixels read around a block's piece: a cubic spline's memory is 0.27^16 = 7e-10 there."""
_NODES = np.cos(np.pi * (np.arange(4) + 0.5) / 4)
_FIT = np.linalg.inv(np.vander(_NODES, 4, increasing=True))


class BlockCoordinates(BaseLowLevelWCS):
    """Pixel coordinates as a WCS that reproject understands; its "world" is a block's output pixels.

    Without coefficients it is the identity. With them, `world_to_pixel_values` evaluates two cubic
    polynomials.

    Parameters
    ----------
    coefficients : numpy.ndarray (2, 4, 4) or None
        [axis x or y][power of Y][power of X], X and Y being output pixels scaled to -1 ... 1 over the block.
    half : (float, float)
        Half the block's extent in x and in y, pixels.
    """

    def __init__(
        self, coefficients: np.ndarray | None = None, half: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        self._coefficients = coefficients
        self._half = half

    @property
    def pixel_n_dim(self) -> int:
        return 2

    @property
    def world_n_dim(self) -> int:
        return 2

    @property
    def world_axis_physical_types(self) -> list[str]:
        return ["custom:mosaic.x", "custom:mosaic.y"]

    @property
    def world_axis_units(self) -> list[str]:
        return ["pix", "pix"]

    @property
    def world_axis_object_components(self) -> list[tuple[str, int, str]]:
        return [("x", 0, "value"), ("y", 0, "value")]

    @property
    def world_axis_object_classes(self) -> dict[str, tuple[Any, ...]]:
        return {"x": (u.Quantity, (), {"unit": "pix"}), "y": (u.Quantity, (), {"unit": "pix"})}

    def pixel_to_world_values(self, *pixel_arrays: Any) -> Any:
        if self._coefficients is not None:
            raise NotImplementedError("these coordinates go from the mosaic to the tile only")
        return pixel_arrays

    def world_to_pixel_values(self, *world_arrays: Any) -> Any:
        if self._coefficients is None:
            return world_arrays
        x = np.asarray(world_arrays[0], dtype=np.float64) / self._half[0] - 1
        y = np.asarray(world_arrays[1], dtype=np.float64) / self._half[1] - 1
        return tuple(_cubic(c, x, y) for c in self._coefficients)


def _cubic(c: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of c[j, i] y^j x^i, i and j to 3, by Horner's rule, in place."""
    total = np.zeros(np.broadcast(x, y).shape)
    row = np.empty_like(total)
    for power in c[::-1]:
        np.multiply(x, power[3], out=row)
        row += power[2]
        row *= x
        row += power[1]
        row *= x
        row += power[0]
        total *= y
        total += row
    return total


@dataclass(frozen=True)
class Block:
    """A rectangle of the mosaic, rows y0:y1 and columns x0:x1, and where its pixels lie in a tile.

    ``coefficients`` are those of `BlockCoordinates`, in tile pixels; ``reach`` is (x min, x max, y min, y
    max) of the block's outline in the tile.
    """

    y0: int
    y1: int
    x0: int
    x1: int
    coefficients: np.ndarray
    reach: tuple[float, float, float, float]

    @property
    def half(self) -> tuple[float, float]:
        """Half the extent in x and y, pixels, never 0."""
        return max((self.x1 - self.x0 - 1) / 2, 0.5), max((self.y1 - self.y0 - 1) / 2, 0.5)


def covered_rectangle(
    wcs_tile: WCS, shape_tile: tuple[int, int], wcs_mosaic: WCS, shape_mosaic: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Rows and columns (y0, y1, x0, x1) of the mosaic that a tile can touch; None if there are none.

    Straight edges of one SIN projection are arcs of ellipses in another: between two of the 33 points taken
    on each edge they bulge by less than a pixel for tiles of 4 degrees, and 2 pixels are added.
    """
    ra_deg, dec_deg = image_outline(wcs_tile, shape_tile, samples=33)
    x, y = wcs_mosaic.wcs_world2pix(ra_deg, dec_deg, 0)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    y0, y1 = max(int(np.floor(y.min())) - 2, 0), min(int(np.ceil(y.max())) + 3, shape_mosaic[0])
    x0, x1 = max(int(np.floor(x.min())) - 2, 0), min(int(np.ceil(x.max())) + 3, shape_mosaic[1])
    return (y0, y1, x0, x1) if y1 > y0 and x1 > x0 else None


def blocks_of(
    rectangle: tuple[int, int, int, int], wcs_tile: WCS, wcs_mosaic: WCS, *, size: int = BLOCK_PX
) -> Iterator[Block]:
    """Cut a rectangle of the mosaic into blocks and fit each one's coordinates in the tile.

    All exact transforms (16 a block, at Chebyshev nodes) are made in one call.
    """
    y0, y1, x0, x1 = rectangle
    corners = [
        (top, min(top + size, y1), left, min(left + size, x1))
        for top in range(y0, y1, size)
        for left in range(x0, x1, size)
    ]
    node_x, node_y = np.meshgrid(_NODES, _NODES)
    bounds = np.array(corners, dtype=np.float64)
    half_y = np.maximum((bounds[:, 1] - bounds[:, 0] - 1) / 2, 0.5)
    half_x = np.maximum((bounds[:, 3] - bounds[:, 2] - 1) / 2, 0.5)
    grid_x = bounds[:, 2, None, None] + half_x[:, None, None] * (1 + node_x)
    grid_y = bounds[:, 0, None, None] + half_y[:, None, None] * (1 + node_y)
    sky = wcs_mosaic.wcs_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
    in_tile = np.array(wcs_tile.wcs_world2pix(*sky, 0)).reshape(2, len(corners), 4, 4)
    edge = np.linspace(-1, 1, 5)
    for (top, bottom, left, right), values in zip(corners, in_tile.swapaxes(0, 1), strict=True):
        if not np.isfinite(values).all():
            continue
        coefficients = _FIT @ values @ _FIT.T
        outline_x, outline_y = np.meshgrid(edge, edge)
        x, y = (_cubic(c, outline_x, outline_y) for c in coefficients)
        reach = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
        yield Block(top, bottom, left, right, coefficients, reach)


def interpolate_block(
    block: Block, image: np.ndarray, weight: np.ndarray, *, order: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Image and weight of a tile at the pixels of one block.

    The image (finite everywhere) is interpolated at ``order``, the weight bilinearly: it is smooth, must not
    ring below zero, and its NaN spread by less than a pixel, so that exactly the pixels with four valid
    neighbours are valid.

    Returns
    -------
    (values, weights) : numpy.ndarray (rows, columns), float64
        Weights are NaN where the tile gives nothing; None if that is everywhere.
    """
    from reproject import reproject_interp

    rows, columns = image.shape
    left, right = int(block.reach[0]) - SPLINE_MARGIN_PX, int(block.reach[1]) + SPLINE_MARGIN_PX + 2
    low, high = int(block.reach[2]) - SPLINE_MARGIN_PX, int(block.reach[3]) + SPLINE_MARGIN_PX + 2
    left, right, low, high = max(left, 0), min(right, columns), max(low, 0), min(high, rows)
    if right - left < 2 or high - low < 2:
        return None
    piece = np.s_[low:high, left:right]
    if not np.isfinite(weight[piece]).any():
        return None
    coefficients = block.coefficients.copy()
    coefficients[0, 0, 0] -= left
    coefficients[1, 0, 0] -= low
    coordinates = BlockCoordinates(coefficients, block.half)
    wanted = {
        "output_projection": BlockCoordinates(),
        "shape_out": (block.y1 - block.y0, block.x1 - block.x0),
        "roundtrip_coords": False,
        "return_footprint": False,
    }
    weights = reproject_interp((weight[piece], coordinates), order=min(order, 1), **wanted)
    if not np.isfinite(weights).any():
        return None
    return reproject_interp((image[piece], coordinates), order=order, **wanted), weights


@dataclass(frozen=True)
class Sums:
    """Running sums on the mosaic's grid, float32 (ny, nx); a mosaic holds these and one tile in memory.

    Weighted: ``image`` = sum of w I, ``weight`` = sum of w. Mean: ``image`` = sum of I, ``count`` = number
    of tiles, ``weight`` = sum of 1/w, the variances.
    """

    image: np.ndarray
    weight: np.ndarray
    count: np.ndarray | None

    @classmethod
    def zeros(cls, shape: tuple[int, int], *, method: str) -> Sums:
        """Empty sums for the method weighted or mean."""
        count = np.zeros(shape, dtype=np.uint16) if method == "mean" else None
        return cls(np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32), count)

    def add(self, block: Block, values: np.ndarray, weights: np.ndarray) -> float:
        """Add one tile's block; returns the weight that it brought."""
        valid = np.isfinite(weights) & (weights > 0) & np.isfinite(values)
        where = np.s_[block.y0 : block.y1, block.x0 : block.x1]
        weights = np.where(valid, weights, 0)
        if self.count is None:
            self.image[where] += np.where(valid, values, 0) * weights
            self.weight[where] += weights
        else:
            self.image[where] += np.where(valid, values, 0)
            self.weight[where] += np.divide(1, weights, where=valid, out=np.zeros_like(weights))
            self.count[where] += valid
        return float(weights.sum())

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mosaic (Jy/beam) and inverse variance, NaN and 0 where no tile is, in the sums' memory."""
        image, weight = self.image, self.weight
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.count is None:
                np.divide(image, weight, out=image)
            else:
                np.divide(image, self.count, out=image)
                np.divide(np.square(self.count, dtype=np.float32), weight, out=weight)
                weight[self.count == 0] = 0
        return image, weight


def add_tile(
    sums: Sums,
    image: np.ndarray,
    weight: np.ndarray,
    *,
    wcs_tile: WCS,
    wcs_mosaic: WCS,
    order: int,
    threads: int,
) -> float:
    """Interpolate a tile onto the blocks it covers and add it to the sums.

    Parameters
    ----------
    sums : Sums
        Changed in place.
    image, weight : numpy.ndarray (ny, nx) float32
        As `contimg.mosaic.tiles.load_planes` returns them.
    wcs_tile, wcs_mosaic : astropy.wcs.WCS
        Celestial, ICRS.
    order : int
        0 nearest, 1 bilinear, 3 bicubic.
    threads : int
        Blocks worked on at once; no two touch the same output pixel.

    Returns
    -------
    float
        Sum of the weights that the tile brought, (Jy/beam)^-2; 0 if it covers nothing.
    """
    rectangle = covered_rectangle(wcs_tile, image.shape, wcs_mosaic, sums.image.shape)
    if rectangle is None:
        return 0.0

    def work(block: Block) -> float:
        found = interpolate_block(block, image, weight, order=order)
        return 0.0 if found is None else sums.add(block, *found)

    blocks = list(blocks_of(rectangle, wcs_tile, wcs_mosaic))
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        return sum(pool.map(work, blocks))
