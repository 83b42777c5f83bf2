"""Cut-outs of images: a part of a FITS file round a position, as FITS with its own header or as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np

from contimg.core.errors import InputError
from contimg.core.robust import mad_sigma

MOST_PIXELS = 2000
Scale = Literal["linear", "log", "sqrt", "asinh"]


def cut(
    path: Path, ra_deg: float, dec_deg: float, width_arcsec: float, height_arcsec: float
) -> tuple[Any, Any]:
    """Cut a part out of an image; what lies beyond its edge is blank.

    Parameters
    ----------
    path : Path
        FITS image with a celestial plane.
    ra_deg, dec_deg : float
        Centre, ICRS.
    width_arcsec, height_arcsec : float
        Along the image's axes.

    Returns
    -------
    data : ndarray, shape (ny, nx), float32
    header : astropy.io.fits.Header

    Raises
    ------
    InputError
        The position is not in the image, or the part is too large.
    """
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.nddata import Cutout2D, NoOverlapError
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with fits.open(path, memmap=True) as hdus:
        hdu: Any = hdus[0]
        wcs = WCS(hdu.header).celestial
        plane = hdu.data.reshape(hdu.data.shape[-2:])
        scale_arcsec = proj_plane_pixel_scales(wcs) * 3600.0
        nx = max(1, round(width_arcsec / scale_arcsec[0]))
        ny = max(1, round(height_arcsec / scale_arcsec[1]))
        if max(nx, ny) > MOST_PIXELS:
            raise InputError(f"{nx} × {ny} pixels; a cut-out has at most {MOST_PIXELS} on a side")
        centre = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs")
        try:
            part = Cutout2D(plane, centre, (ny, nx), wcs=wcs, mode="partial", fill_value=np.nan, copy=True)
        except (NoOverlapError, ValueError):
            raise InputError("the position is not in this image") from None
        header = part.wcs.to_header()
        for key in ("BUNIT", "BMAJ", "BMIN", "BPA", "OBJECT", "DATE-OBS", "TELESCOP"):
            if key in hdu.header:
                header[key] = hdu.header[key]
        return part.data.astype(np.float32), header


def as_fits(data: Any, header: Any) -> bytes:
    """A cut-out as a FITS file."""
    from astropy.io import fits

    told = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(told)
    return told.getvalue()


def as_png(data: Any, scale: Scale) -> bytes:
    """A cut-out as a picture, north as in the image, from -3 robust standard deviations to the 99.9th percentile."""
    from matplotlib import image as mpl_image

    told = io.BytesIO()
    mpl_image.imsave(
        told, stretched(data, scale), cmap="gray", vmin=0.0, vmax=1.0, origin="lower", format="png"
    )
    return told.getvalue()


def stretched(data: Any, scale: Scale) -> Any:
    """Values brought to [0, 1]; blank pixels are 0."""
    good = data[np.isfinite(data)]
    if not good.size:
        return np.zeros(data.shape)
    middle = float(np.median(good))
    sigma = mad_sigma(good, about=middle)
    low, high = middle - 3.0 * sigma, float(np.percentile(good, 99.9))
    if not high > low:
        high = low + 1.0
    part = np.clip((np.nan_to_num(data, nan=low) - low) / (high - low), 0.0, 1.0)
    if scale == "log":
        return np.log1p(1000.0 * part) / np.log1p(1000.0)
    if scale == "sqrt":
        return np.sqrt(part)
    if scale == "asinh":
        return np.arcsinh(10.0 * part) / np.arcsinh(10.0)
    return part
