"""Bright sources subtracted from the visibilities before CLEAN, and restored into the image.

What drifts through the beam is constant neither in time nor over the band, and CLEAN takes it for both: the
residue of a bright source, not the noise, limits the image then. Fitted and subtracted through the drifting
beam (`contimg.drift.fit`), it leaves weak sources only, which CLEAN handles well; the image gets each fitted
source back as a restoring beam of the flux that CLEAN would have given a perfect point; what was fitted as a Gaussian,
as that Gaussian convolved with the beam.
"""

from __future__ import annotations

from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.shape import matrices
from contimg.ms.private import PrivateSet
from contimg.sky.measure import PixelBeam
from contimg.telescope.beam import PowerBeam

RESTORE_BEAMS = 3.0
"""Radius (FWHM) within which a source is restored: exp(-4 ln 2 · 9) = 1e-11."""
STEP = 10 * u.arcsec
"""Over which the pixel grid is compared with east and north."""


def subtract(
    ms: PrivateSet, sources: pd.DataFrame, *, beam: PowerBeam | None, freq_average: int = 1, threads: int = 1
) -> None:
    """Subtract sources, as they drift through the beam, from calibrated data.

    Parameters
    ----------
    ms : PrivateSet
    sources : DataFrame
        The table of `contimg.drift.fit.fit`.
    beam : PowerBeam or None
        Power pattern of a dish; None: no beam.
    freq_average : int
        Raw channels in each channel of the set.
    threads : int
    """
    import numba

    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    array = DriftArray(ms.meta, beam=beam, freq_average=freq_average)
    ms.subtract(array.view(PointSources.from_table(sources)).predict)


def restore(
    image: NDArray[np.float32], header: Header, pb: NDArray[np.float32], sources: pd.DataFrame
) -> NDArray[np.float32]:
    """Add fitted sources to an apparent image: points as the restoring beam, Gaussians convolved with it.

    Parameters
    ----------
    image, pb : (ny, nx) float32
        Apparent residual image (Jy/beam) and absolute drift-averaged power beam.
    header : Header
        2-D, with the restoring beam and RESTFRQ (Hz).
    sources : DataFrame
        ``ra_deg, dec_deg, flux_jy`` (1.4 GHz) and ``spectral_index``; of Gaussians ``major_arcsec, minor_arcsec,
        angle_deg``.

    Returns
    -------
    (ny, nx) float32
        A new image.
    """
    seen = PointSources.from_table(sources)
    places = SkyCoord(seen.ra_rad, seen.dec_rad, unit="rad")
    wcs = WCS(header).celestial
    x, y = wcs.world_to_pixel(places)
    flux = seen.flux_jy * seen.spectrum(header["RESTFRQ"])[:, 0]
    to_beam = PixelBeam.from_header(header).to_beam
    # widths add up when Gaussians are convolved (`contimg.drift.shape`)
    beam = np.linalg.inv(to_beam.T @ to_beam)
    widths = beam + _pixel_widths(wcs, places, seen.widths)
    peak = flux * np.sqrt(np.linalg.det(beam) / np.linalg.det(widths))
    restored = image.copy()
    ny, nx = image.shape
    for px, py, jy, width in zip(x, y, peak, widths, strict=True):
        if not (0 <= px <= nx - 1 and 0 <= py <= ny - 1):
            continue
        half_x, half_y = np.ceil(RESTORE_BEAMS * np.sqrt(np.diag(width))).astype(int)
        x1, x2 = max(0, round(px) - half_x), min(nx, round(px) + half_x + 1)
        y1, y2 = max(0, round(py) - half_y), min(ny, round(py) + half_y + 1)
        dy, dx = np.mgrid[y1:y2, x1:x2] - np.array([py, px])[:, np.newaxis, np.newaxis]
        (a, b), (_, c) = np.linalg.inv(width)
        shape = np.exp(-4 * np.log(2) * (a * dx**2 + 2 * b * dx * dy + c * dy**2))
        restored[y1:y2, x1:x2] += (jy * pb[round(py), round(px)] * shape).astype(np.float32)
    return restored


def _pixel_widths(wcs: WCS, places: SkyCoord, widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widths on the sky (n, 3), rad², as matrices on the pixel grid at those places, (n, 2, 2), pixels²."""
    result = np.zeros((len(widths), 2, 2))
    for k in np.flatnonzero(widths.any(axis=1)):
        at = np.array(wcs.world_to_pixel(places[k]))
        steps = (places[k].directional_offset_by(angle * u.deg, STEP) for angle in (90, 0))
        per_rad = np.column_stack([wcs.world_to_pixel(step) - at for step in steps]) / STEP.to_value(u.rad)
        result[k] = per_rad @ matrices(widths[k : k + 1])[0] @ per_rad.T
    return result


def summary(sources: pd.DataFrame) -> dict[str, Any]:
    """What a sidecar says of the fitted sources."""
    return {
        "n_fitted": len(sources),
        "brightest_fitted_jy": float(sources["flux_jy"].max()) if len(sources) else 0.0,
        "worst_fit_chi2": float(sources["chi2"].max()) if len(sources) else 0.0,
    }
