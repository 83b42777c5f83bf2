"""The local noise of an image: a robust rms in boxes, interpolated to every pixel."""

from __future__ import annotations

import numpy as np
from scipy import interpolate, ndimage


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
    grid = np.full((len(centres_y), len(centres_x)), np.nan)
    for j, cy in enumerate(centres_y):
        rows = image[max(0, int(cy) - half) : int(cy) + half + 1]
        for i, cx in enumerate(centres_x):
            grid[j, i] = robust_rms(rows[:, max(0, int(cx) - half) : int(cx) + half + 1], clip_sigma, rounds)
    if not np.isfinite(grid).any():
        return np.full(image.shape, np.nan, dtype=np.float32)
    grid = _fill(grid)
    if min(grid.shape) >= 3:
        grid = ndimage.median_filter(grid, size=3, mode="nearest")
    return _interpolate(grid, centres_y, centres_x, ny, nx)


def robust_rms(values: np.ndarray, clip_sigma: float = 3.5, rounds: int = 4) -> float:
    """Rms about zero of the finite values without their outliers (Jy/beam); NaN when there is none."""
    values = values[np.isfinite(values)]
    if values.size < 16:
        return float("nan")
    step = max(1, values.size // 20000)  # 20,000 pixels give the rms of a box to better than 2 %
    values = np.abs(values[::step])
    rms = 1.4826 * float(np.median(values))
    if rms == 0.0:
        return float("nan")
    for _ in range(rounds):
        kept = values[values < clip_sigma * rms]
        rms = float(np.sqrt(np.mean(kept.astype(np.float64) ** 2))) / _clipped_normal_rms(clip_sigma)
    return rms


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
    y = np.clip(np.arange(ny), cy[0], cy[-1])
    x = np.clip(np.arange(nx), cx[0], cx[-1])
    along_x = interpolate.interp1d(cx, grid, axis=1)(x) if len(cx) > 1 else np.repeat(grid, nx, axis=1)
    full = interpolate.interp1d(cy, along_x, axis=0)(y) if len(cy) > 1 else np.repeat(along_x, ny, axis=0)
    return full.astype(np.float32)
