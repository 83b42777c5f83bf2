"""Bring images with different restoring beams to one beam.

Beams are handled as covariance matrices of Gaussians, in degrees squared, in the plane of an image with axes
(l east, m north): they add under convolution, subtract under deconvolution, and turn with the axes.

The tiles of a drift-scan strip have nearly the same beam in their own axes, but north at the centre of a
tile is not north at the centre of the mosaic: at declination +70 the axes turn by up to 7 degrees across an
hour. The beam that tiles have in common is therefore looked for in the axes of the mosaic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contimg.core.errors import InputError

if TYPE_CHECKING:
    from astropy.wcs import WCS

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))


@dataclass(frozen=True)
class GaussianBeam:
    """A restoring beam: full widths at half power and position angle (north through east), degrees."""

    major_deg: float
    minor_deg: float
    pa_deg: float

    def covariance(self) -> np.ndarray:
        """(2, 2) covariance in (l, m), degrees squared: the major axis points along (sin pa, cos pa)."""
        pa = math.radians(self.pa_deg)
        along = np.array([math.sin(pa), math.cos(pa)])
        across = np.array([math.cos(pa), -math.sin(pa)])
        major, minor = self.major_deg / FWHM_PER_SIGMA, self.minor_deg / FWHM_PER_SIGMA
        return major**2 * np.outer(along, along) + minor**2 * np.outer(across, across)

    @classmethod
    def from_covariance(cls, covariance: np.ndarray) -> GaussianBeam:
        """Beam of a positive definite (2, 2) covariance in (l, m), degrees squared; pa in [0, 180)."""
        values, vectors = np.linalg.eigh(covariance)
        along = vectors[:, 1]
        pa_deg = math.degrees(math.atan2(along[0], along[1])) % 180.0
        minor, major = np.sqrt(values) * FWHM_PER_SIGMA
        return cls(major_deg=float(major), minor_deg=float(minor), pa_deg=pa_deg)


def axes_jacobian(wcs_from: WCS, wcs_to: WCS) -> np.ndarray:
    """Linear map from the (l, m) axes of one image to those of another, at the first one's reference pixel.

    Holds the turn of north between the two and the foreshortening of the second projection. Over a tile of 2
    degrees radius it changes by less than 0.5 % at 7.5 degrees from the mosaic's centre. Over a slanted one it does by
    2.5 % in area, 1.5 degrees off at declination -5 (`contimg.photometry.foreshortened`).

    Parameters
    ----------
    wcs_from, wcs_to : astropy.wcs.WCS
        Celestial WCS of both images.

    Returns
    -------
    numpy.ndarray, (2, 2)
        Dimensionless; columns are the images of the unit steps in l and m.
    """
    step = 4.0
    x0, y0 = (float(v) - 1 for v in wcs_from.wcs.crpix)
    x = x0 + step * np.array([1.0, -1.0, 0.0, 0.0])
    y = y0 + step * np.array([0.0, 0.0, 1.0, -1.0])
    px, py = wcs_to.wcs_world2pix(*wcs_from.wcs_pix2world(x, y, 0), 0)
    pixels = np.array([[px[0] - px[1], px[2] - px[3]], [py[0] - py[1], py[2] - py[3]]]) / (2 * step)
    scale_from, scale_to = np.asarray(wcs_from.pixel_scale_matrix), np.asarray(wcs_to.pixel_scale_matrix)
    return scale_to @ pixels @ np.linalg.inv(scale_from)


def covering_factor(shape: np.ndarray, covariances: Sequence[np.ndarray]) -> float:
    """Factor by which a covariance must grow to leave no negative eigenvalue minus any of several others.

    With S = L L^T it is the largest eigenvalue of any L^-1 C_i L^-T.
    """
    inverse = np.linalg.inv(np.linalg.cholesky(shape))
    return max(float(np.linalg.eigvalsh(inverse @ c @ inverse.T)[-1]) for c in covariances)


def enclosing_covariance(covariances: Sequence[np.ndarray]) -> np.ndarray:
    """Smallest covariance all can be convolved to, among multiples of their mean, of each, of a circle.

    Always exists. For beams that differ by a turn it is within 0.4 % in area of the optimum
    (docs/decisions/0001-reprojection.md).
    """
    shapes = [np.mean(covariances, axis=0), *covariances, np.eye(2)]
    grown = [shape * covering_factor(shape, covariances) * (1 + 1e-9) for shape in shapes]
    return min(grown, key=np.linalg.det)


def common_covariance(covariances: Sequence[np.ndarray]) -> np.ndarray:
    """Covariance of the smallest common beam of several Gaussians, all in the same axes.

    radio-beam looks for it (`Beams.common_beam`: minimum-volume ellipse about all beams' outlines), once: for
    beams that are nearly alike it often finds none, and a smaller tolerance takes up to a minute to find none
    either. The smaller of its answer and `enclosing_covariance` is taken.

    Parameters
    ----------
    covariances : sequence of (2, 2) arrays
        Degrees squared.

    Returns
    -------
    numpy.ndarray, (2, 2)
        Degrees squared; minus any of the inputs it is positive semi-definite.
    """
    enclosing = enclosing_covariance(covariances)
    if np.linalg.det(enclosing) <= (1 + 1e-3) * max(np.linalg.det(c) for c in covariances):
        return enclosing
    found = _radio_beam_covariance([GaussianBeam.from_covariance(c) for c in covariances])
    if found is None:
        return enclosing
    found *= max(covering_factor(found, covariances), 1.0) * (1 + 1e-9)
    return min(found, enclosing, key=np.linalg.det)


def _radio_beam_covariance(beams: Sequence[GaussianBeam]) -> np.ndarray | None:
    """Common beam as radio-beam finds it, degrees squared; None where it does not."""
    from astropy import units as u
    from radio_beam import Beams
    from radio_beam.utils import BeamError

    table = Beams(
        major=[beam.major_deg for beam in beams] * u.deg,
        minor=[beam.minor_deg for beam in beams] * u.deg,
        pa=[beam.pa_deg for beam in beams] * u.deg,
    )
    try:
        found = table.common_beam()
    except (BeamError, ValueError):
        return None
    major, minor, pa = (getattr(found, name).to_value(u.deg) for name in ("major", "minor", "pa"))
    return GaussianBeam(major, minor, pa).covariance()


def kernel_covariance(own: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Covariance of the Gaussian that takes one beam to another; zero where they agree to 1e-6.

    Parameters
    ----------
    own, target : numpy.ndarray, (2, 2)
        Covariances in the same axes, same unit.

    Raises
    ------
    InputError
        If the target is not larger than the beam in every direction.
    """
    difference = target - own
    values, vectors = np.linalg.eigh(difference)
    scale = float(np.trace(own))
    if values[0] < -1e-4 * scale:
        raise InputError(
            f"the beam of {GaussianBeam.from_covariance(own)} does not fit into the common beam "
            f"{GaussianBeam.from_covariance(target)}: leave the tile out or use mosaic.beam=native"
        )
    if values[1] < 1e-6 * scale:
        return np.zeros((2, 2))
    return (vectors * np.clip(values, 0, None)) @ vectors.T


def convolve_gaussian(
    image: np.ndarray, covariance_px: np.ndarray, *, scale: float = 1.0, threads: int = 1
) -> np.ndarray:
    """Convolve an image with a Gaussian of unit area, by FFT.

    The kernel is not sampled: its transform exp(-2 pi^2 u^T C u) is exact also where it is narrower than a
    pixel. Zeros are assumed outside the image.

    Parameters
    ----------
    image : numpy.ndarray, (ny, nx), float32
        Finite everywhere.
    covariance_px : numpy.ndarray, (2, 2)
        Covariance of the kernel in (x, y), pixels squared.
    scale : float
        Multiplies the result; the ratio of the beams' solid angles keeps Jy/beam right.
    threads : int
        FFT threads.

    Returns
    -------
    numpy.ndarray, (ny, nx), float32
    """
    from scipy import fft

    rows, columns = image.shape
    pad = kernel_reach_px(covariance_px)
    shape = (fft.next_fast_len(rows + pad, real=False), fft.next_fast_len(columns + pad, real=True))
    spectrum = fft.rfft2(np.asarray(image, dtype=np.float32), s=shape, workers=threads)
    u = np.fft.rfftfreq(shape[1]).astype(np.float32)
    v = np.fft.fftfreq(shape[0]).astype(np.float32)
    c_xx, c_xy, c_yy = (np.float32(-2 * math.pi**2 * covariance_px[i]) for i in ((0, 0), (0, 1), (1, 1)))
    for first in range(0, shape[0], 256):
        part = slice(first, first + 256)
        v_part = v[part, None]
        spectrum[part] *= np.float32(scale) * np.exp(c_xx * u**2 + 2 * c_xy * u * v_part + c_yy * v_part**2)
    out = fft.irfft2(spectrum, s=shape, workers=threads, overwrite_x=True)
    return np.ascontiguousarray(out[:rows, :columns])


def kernel_reach_px(covariance_px: np.ndarray) -> int:
    """Pixels beyond which a Gaussian kernel is below 1e-5 of its peak (4.8 sigma)."""
    return math.ceil(4.8 * math.sqrt(max(float(np.linalg.eigvalsh(covariance_px)[-1]), 0.0)))
