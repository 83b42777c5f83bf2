"""What sources that are in no model add to the errors of those that were fitted.

Errors of a fit are those of independent visibilities. But what is too faint to be fitted is in all of them: it
beats with a
source as the sidelobes of the natural weighting have it, which is that of a fit by least squares. So the
residuals, imaged
with natural weights, scatter by as much as the fluxes do: over the thermal noise of that image, and never less than
1, the local rms at a source's place is the factor of its errors (Condon 1974, ApJ 188, 279, for confusion; the image is
the gradient of χ² by the flux of a source at each place).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.drift.data import AveragedI
from contimg.drift.fit import Fit
from contimg.drift.gridder import Gridder, Visibilities
from contimg.drift.kernels import CHANNEL_BLOCKS
from contimg.drift.predict import DriftArray
from contimg.sky.noise import local_rms

Array = NDArray[Any]
ACCURACY = 1e-3
WIDENED = (
    "flux_err_jy", "ra_err_arcsec", "dec_err_arcsec", "spectral_index_err", "band_slope_err", "fwhm_err_arcsec",
    *(f"band{k}_err_jy" for k in range(1, CHANNEL_BLOCKS + 1)),
)  # fmt: skip
NARROWED = ("snr", "band_score")


def with_neighbours(
    found: Fit, data: AveragedI, array: DriftArray, header: Header, *, rms_box_pix: float, threads: int = 1
) -> Fit:
    """Widen the errors of a fit by what its residuals scatter by beyond the noise.

    Parameters
    ----------
    found : Fit
    data : AveragedI
        The data that were fitted.
    array : DriftArray
        Of them.
    header : Header
        2-D: the grid of the image, with the synthesised beam.
    rms_box_pix : float
        Side of the boxes of the local rms.
    threads : int
    """
    left = Visibilities.residual(data, array, found.table)
    cell_rad = float(np.radians(abs(header["CDELT2"])))
    places = SkyCoord(found.table["ra_deg"], found.table["dec_deg"], unit="deg")
    x, y = WCS(header).celestial.world_to_pixel(places)
    distance = np.nan_to_num(np.hypot(x - header["CRPIX1"] + 1, y - header["CRPIX2"] + 1))
    gridder = Gridder(
        left,
        header,
        cell_rad=cell_rad,
        robust=None,
        uvmin_klambda=0.0,
        farthest_rad=cell_rad * float(distance.max()),
        accuracy=ACCURACY,
        threads=threads,
    )
    thermal = float(np.sqrt(found.noise_scale / gridder.total))
    noise = local_rms(gridder.dirty(left.vis), rms_box_pix)
    row, column = (
        np.clip(np.rint(np.nan_to_num(at)).astype(int), 0, size - 1)
        for at, size in zip((y, x), noise.shape, strict=True)
    )
    factor = np.fmax(noise[row, column] / thermal, 1.0)
    table = found.table.copy()
    for name in WIDENED:
        table[name] = table[name] * factor
    for name in NARROWED:
        table[name] = table[name] / factor
    return replace(
        found,
        table=table,
        covariance=found.covariance * np.outer(factor, factor),
        neighbour_noise=float(np.median(factor)),
    )
