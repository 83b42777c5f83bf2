"""The primary beam that belongs to an image: averaged over times and channels as the image itself is."""

from __future__ import annotations

import numpy as np
from astropy.coordinates import EarthLocation
from astropy.io.fits import Header
from astropy.wcs import WCS
from scipy.interpolate import RectBivariateSpline

from contimg.ms.meta import MsMeta
from contimg.telescope import geometry
from contimg.telescope.beam import PowerBeam, drift_average

GRID_STEP_RAD = np.radians(0.15)
"""Spacing of the places where the beam is computed. A cubic spline of a pattern with a half width s errs by
about (step / s)^4 / 384 of the peak: 1e-6 for s = 1.35 deg."""


def beam_map(header: Header, meta: MsMeta, weights: np.ndarray, beam: PowerBeam) -> np.ndarray:
    """Drift-averaged power beam at every pixel, absolute (1 on the axis of a beam that stays).

    P(pixel) = sum over t, nu of w(t, nu) A(separation(t), nu) / sum of w, with A the pattern and the
    separation of the pixel's apparent place from (hour angle 0, pointing declination). It is computed on a
    coarse grid of pixels and interpolated with a cubic spline (to better than 1e-4).

    Parameters
    ----------
    header : Header
        2-D celestial.
    meta : MsMeta
        Times, frequencies (of the columns of `weights`), pointing and place of the array.
    weights : (nt, nchan) float
        How much each integration and channel counts in the image.
    beam : PowerBeam

    Returns
    -------
    (ny, nx) float32
    """
    ny, nx = header["NAXIS2"], header["NAXIS1"]
    step = GRID_STEP_RAD / np.radians(abs(header["CDELT2"]))
    x, y = _nodes(nx, step), _nodes(ny, step)
    grid_x, grid_y = np.meshgrid(x, y)
    sky = WCS(header).celestial.pixel_to_world_values(grid_x.ravel(), grid_y.ravel())
    ra, dec = (np.radians(values) for values in sky)
    on_sky = np.isfinite(ra) & np.isfinite(dec)
    power = np.zeros(grid_x.size)
    loc: EarthLocation = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    power[on_sky] = drift_average(
        ra[on_sky],
        dec[on_sky],
        meta.times_jd,
        loc,
        meta.pointing_dec_rad,
        meta.freq_hz,
        weights,
        beam,
    )
    spline = RectBivariateSpline(y, x, power.reshape(grid_x.shape), kx=3, ky=3)
    return np.clip(spline(np.arange(ny), np.arange(nx)), 0.0, 1.0).astype(np.float32)


def _nodes(pixels: int, step: float) -> np.ndarray:
    """Pixel coordinates from edge to edge, at most `step` apart, at least four."""
    return np.linspace(0, pixels - 1, max(4, int(np.ceil((pixels - 1) / step)) + 1))
