"""The local noise of an image: a robust rms in boxes, interpolated to every pixel."""

from __future__ import annotations

import numba
import numpy as np
from scipy import ndimage

from contimg.core.constants import MAD_TO_SIGMA

MOST_PIXELS = 20000
"""So many pixels give the rms of an image to better than 2 %; of more, every n-th is taken."""
BOX_PIXELS = 5000
"""The same in a box of 30 by 30 beams, which has some five pixels in a beam then: its 900 beams are what limits."""
START_PIXELS = 1000
"""So many give a median to begin with."""
LEAST_PIXELS = 16


def local_rms(image: np.ndarray, box_pix: float, *, clip_sigma: float = 3.5, rounds: int = 4) -> np.ndarray:
    """Local rms, sources left out.

    The image is cut into boxes of about `box_pix`, half overlapping; in each the rms about zero of the
    pixels below `clip_sigma` times the running rms is found, starting from 1.4826 x the median of |x|, and
    corrected for the clipped tails of a normal distribution. Linear interpolation through
    the box centres gives every pixel its value; a 3 x 3 median keeps one box full of source from showing.

    Parameters
    ----------
    image : (ny, nx) float
        Jy/beam, zero mean; NaN is ignored.
    box_pix : float
        Side of a box in pixels (about 30 beams).
    clip_sigma, rounds
        Where and how often to clip.

    Returns
    -------
    (ny, nx) float32
        Jy/beam; NaN everywhere if the image has no finite pixel that is not zero.
    """
    ny, nx = image.shape
    centres_y, centres_x = _centres(ny, box_pix), _centres(nx, box_pix)
    half = int(np.ceil(box_pix / 2))
    grid = np.empty((len(centres_y), len(centres_x)))
    _box_rms(
        image,
        centres_y.astype(np.int64),
        centres_x.astype(np.int64),
        half,
        clip_sigma,
        rounds,
        _clipped_normal_rms(clip_sigma),
        grid,
    )
    if not np.isfinite(grid).any():
        return np.full(image.shape, np.nan, dtype=np.float32)
    grid = _fill(grid)
    if min(grid.shape) >= 3:
        grid = ndimage.median_filter(grid, size=3, mode="nearest")
    return _interpolate(grid, centres_y, centres_x, ny, nx)


def robust_rms(values: np.ndarray, clip_sigma: float = 3.5, rounds: int = 4) -> float:
    """Rms about zero of the finite values without their outliers (Jy/beam); NaN when there is none."""
    values = np.ascontiguousarray(values).reshape(-1)
    return float(_robust_rms(values, MOST_PIXELS, clip_sigma, rounds, _clipped_normal_rms(clip_sigma)))


@numba.njit(cache=True, nogil=True)
def _robust_rms(
    values: np.ndarray, most: int, clip_sigma: float, rounds: int, tails: float
) -> float:  # pragma: no cover
    """See `robust_rms`; `values` is flat, `tails` what clipping makes of the rms of a normal distribution."""
    n_finite = 0
    for value in values:
        n_finite += np.isfinite(value)
    if n_finite < LEAST_PIXELS:
        return np.nan
    step = max(1, n_finite // most)
    size = np.empty(-(-n_finite // step), np.float64)
    seen = 0
    for value in values:
        if np.isfinite(value):
            if seen % step == 0:
                size[seen // step] = abs(value)
            seen += 1
    rms = MAD_TO_SIGMA * np.median(size[:: max(1, len(size) // START_PIXELS)])
    if rms == 0.0:
        return np.nan
    for _ in range(rounds):
        total, kept = 0.0, 0
        for value in size:
            if value < clip_sigma * rms:
                total += value * value
                kept += 1
        rms = np.sqrt(total / kept) / tails
    return rms


@numba.njit(parallel=True, cache=True, nogil=True)
def _box_rms(
    image: np.ndarray,
    centres_y: np.ndarray,
    centres_x: np.ndarray,
    half: int,
    clip_sigma: float,
    rounds: int,
    tails: float,
    grid: np.ndarray,
) -> None:  # pragma: no cover
    """Fill `grid` (ny, nx) with the robust rms of the boxes of side 2 `half` + 1 round whole pixels."""
    nx = len(centres_x)
    for k in numba.prange(len(centres_y) * nx):
        y, x = centres_y[k // nx], centres_x[k % nx]
        box = image[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
        grid[k // nx, k % nx] = _robust_rms(box.copy().reshape(-1), BOX_PIXELS, clip_sigma, rounds, tails)


def _clipped_normal_rms(clip: float) -> float:
    """Rms of a unit normal distribution cut at +-clip: sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1))."""
    from scipy.special import erf

    density = np.exp(-(clip**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.sqrt(1 - 2 * clip * density / erf(clip / np.sqrt(2))))


def _centres(length: int, box: float) -> np.ndarray:
    """Box centres in pixels, half a box apart, symmetric about the middle."""
    count = max(1, round(2 * length / box) - 1)
    return (np.arange(count) + 1) * length / (count + 1)


def _fill(grid: np.ndarray) -> np.ndarray:
    """Replace NaN by the nearest finite value."""
    bad = ~np.isfinite(grid)
    nearest = ndimage.distance_transform_edt(bad, return_distances=False, return_indices=True)
    return grid[tuple(nearest)]


def _interpolate(grid: np.ndarray, cy: np.ndarray, cx: np.ndarray, ny: int, nx: int) -> np.ndarray:
    """Linear interpolation through the box centres, constant beyond the outer ones."""
    lower, part = _between(cx, nx)
    along_x = grid[:, lower] * (1 - part) + grid[:, np.minimum(lower + 1, len(cx) - 1)] * part
    along_x = along_x.astype(np.float32)
    lower, part = _between(cy, ny)
    part = part.astype(np.float32)[:, np.newaxis]
    full = along_x[lower]
    full *= 1 - part
    full += along_x[np.minimum(lower + 1, len(cy) - 1)] * part
    return full


def _between(centres: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the centre before it and how far it is to the next, 0 to 1; constant beyond the outer ones."""
    pixels = np.clip(np.arange(length), centres[0], centres[-1])
    lower = np.clip(np.searchsorted(centres, pixels, side="right") - 1, 0, max(len(centres) - 2, 0))
    if len(centres) == 1:
        return lower, np.zeros(length)
    return lower, (pixels - centres[lower]) / np.diff(centres)[lower]
