"""Whether a source is a point: how its visibilities fall off with baseline length, after it was fitted as one.

A circular Gaussian of full width θ at half maximum shows exp(-q u²) of its flux on a baseline of u wavelengths,
q = (π θ)² / (4 ln 2) (Thompson, Moran & Swenson 2017, section 10.4). The residuals at the place of a fitted point,
in ranges of baseline length and parts of the band, give the flux in each; of a grid of sizes the best is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIZES_ARCSEC = np.concatenate([[0.0], np.geomspace(1.0, 400.0, 120)])
RESOLVED_SIGMA = 5.0
RESOLVED_LOSS = 0.05
"""A source is resolved if a point is that much worse, in standard deviations of what its χ² says, and if its size takes
this part of its flux on the mean of the baselines. What other sources leave raises χ² in all cells alike, a size does
it in one way; gains that scatter take some of every bright source on long baselines."""


def fitted_sizes(
    flux_jy: Array, cells: Array, uv_squared: Array, scale: float, chi2: Array
) -> tuple[Array, Array]:
    """Sizes of sources that were fitted as points.

    Parameters
    ----------
    flux_jy : (nsrc,) float
        Fitted fluxes.
    cells : (nsrc, ntime, nlength, nchannel, 3) float
        From `contimg.drift.normal.Problem.residuals`.
    uv_squared : (nlength, nchannel) float
        Mean square of the baselines in each, λ².
    scale : float
        Variance of the residuals over what the weights promise.
    chi2 : (nsrc,) float
        Reduced χ² of each source as a point; where it is above 1 it scales the errors.

    Returns
    -------
    fwhm_arcsec : (nsrc,) float64
        Best circular Gaussian; 0 is a point.
    resolved : (nsrc,) bool
    """
    along, norm = cells[..., 0].sum(axis=1), cells[..., 2].sum(axis=1)  # (nsrc, nlength, nchannel)
    left = np.divide(along, norm, out=np.zeros_like(along), where=norm > 0)
    flux = (flux_jy[:, np.newaxis, np.newaxis] + left).reshape(len(flux_jy), -1)
    weight = norm.reshape(flux.shape) / scale
    q = (np.pi * np.radians(SIZES_ARCSEC / 3600)) ** 2 / (4 * np.log(2))
    fall = np.exp(-np.outer(q, uv_squared.ravel()))  # (nsize, ncell)
    seen, square = (weight * flux) @ fall.T, weight @ (fall**2).T
    gain = np.divide(
        seen**2, square, out=np.zeros_like(seen), where=square > 0
    )  # χ² less what no size changes
    gain = np.where(seen > 0, gain, 0.0)
    best = np.argmax(gain, axis=1)
    better = np.take_along_axis(gain, best[:, np.newaxis], axis=1)[:, 0] - gain[:, 0]
    total = np.maximum(weight.sum(axis=1), 1e-300)
    lost = 1.0 - np.sum(weight * fall[best], axis=1) / total
    resolved = (better > RESOLVED_SIGMA**2 * np.maximum(chi2, 1.0)) & (lost > RESOLVED_LOSS)
    return SIZES_ARCSEC[best], resolved
