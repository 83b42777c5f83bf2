"""Shapes of Gaussian sources: axes on the sky, the matrix that enters the visibilities, and steps of a fit in it.

A Gaussian of full widths a ≥ b at half maximum, its major axis at position angle p (north through east), shows

    exp(-π² / (4 ln 2) · (u, v) W (u, v)ᵀ),   W = a² e eᵀ + b² n nᵀ,   e = (sin p, cos p), n = (-cos p, sin p)

of its flux on the baseline (u, v) in wavelengths (Thompson, Moran & Swenson 2017, section 10.4). W, in rad², adds up
when Gaussians are convolved, is zero for a point, and is what is fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FALL = float(np.pi**2 / (4 * np.log(2)))
LARGEST_STEP = 0.5
"""Of W in one step of a fit, as a part of its larger eigenvalue: farther the visibilities are not linear in it."""


def matrices(widths: Array) -> Array:
    """W (n, 2, 2) of its elements east-east, east-north, north-north (n, 3)."""
    return widths[:, [[0, 1], [1, 2]]]


def widths_of(major_arcsec: Array, minor_arcsec: Array, angle_deg: Array) -> Array:
    """Elements of W, east-east, east-north, north-north, rad², (n, 3)."""
    a, b = (
        np.radians(np.asarray(axis, dtype=np.float64) / 3600.0) ** 2 for axis in (major_arcsec, minor_arcsec)
    )
    sine, cosine = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    return np.column_stack(
        [a * sine**2 + b * cosine**2, (a - b) * sine * cosine, a * cosine**2 + b * sine**2]
    )


def axes_of(widths: Array) -> tuple[Array, Array, Array]:
    """Major and minor axis (FWHM, arcsec) and position angle (deg, 0 to 180) of elements of W (n, 3)."""
    value, vector = np.linalg.eigh(matrices(widths))
    minor, major = np.degrees(np.sqrt(np.maximum(value, 0.0))).T * 3600.0
    angle = np.degrees(np.arctan2(vector[:, 0, 1], vector[:, 1, 1])) % 180.0
    return major, minor, np.where(major > minor, angle, 0.0)


def roots(widths: Array) -> Array:
    """R (n, 2, 2) with Rᵀ R = π² / (4 ln 2) W: visibilities fall by exp(-|R (u, v)ᵀ|²)."""
    value, vector = np.linalg.eigh(matrices(widths))
    return np.sqrt(FALL * np.maximum(value, 0.0))[:, :, np.newaxis] * np.swapaxes(vector, 1, 2)


def moved(widths: Array, step: Array) -> tuple[Array, Array]:
    """Elements of W after a step, and which of them had to be held at a width of zero.

    Parameters
    ----------
    widths, step : (n, 3) float64
        rad².
    """
    largest = np.linalg.eigvalsh(matrices(widths))[:, 1]
    size = np.abs(np.linalg.eigvalsh(matrices(step))).max(axis=1)
    share = np.minimum(1.0, LARGEST_STEP * largest / np.maximum(size, 1e-300))
    value, vector = np.linalg.eigh(matrices(widths + share[:, np.newaxis] * step))
    kept = np.maximum(value, 0.0)
    result = np.einsum("nik,nk,njk->nij", vector, kept, vector)
    return np.column_stack([result[:, 0, 0], result[:, 0, 1], result[:, 1, 1]]), value[:, 0] < 0
