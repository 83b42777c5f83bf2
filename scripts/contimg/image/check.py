"""Whether a CLEAN can be believed: what its images say that its log does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from contimg.sky.noise import robust_rms

GAIN_RESIDUE = 0.02  # of a bright source, by gain errors of 5 % or 3 deg in each of 20 antennas
NOISE_PEAK = 10.0  # times the rms: nothing below this is held against an image
GROWTH = 1.1  # the residual may not be higher than the dirty image, but for the noise in both
BOWL_BEAMS = 10.0  # side of the boxes in which a bowl is looked for
BOWL_SIGMA = 1.5  # the mean of such a box, of about 100 beams, scatters by a tenth of the noise
OVERSHOOT = 0.1  # part of the data's flux at its components that a model may have too much


@dataclass(frozen=True)
class Planes:
    """What an imager made of a tile, each (ny, nx).

    Attributes
    ----------
    restored, residual : float32
        Jy/beam.
    model : float32
        Jy/pixel.
    dirty : float32, optional
        What CLEAN began with, Jy/beam; None where the imager leaves none.
    psf : float32, optional
        Point spread function, 1 at its middle; None where the imager leaves none.
    """

    restored: np.ndarray
    residual: np.ndarray
    model: np.ndarray
    dirty: np.ndarray | None = None
    psf: np.ndarray | None = None


def implausible(planes: Planes, *, beam_pix: float, subtracted_jy: float = 0.0) -> str | None:
    """Why an image cannot be believed although its imager was content; None if nothing speaks against it.

    Sky is positive, and CLEAN only takes away. So there is something wrong with an image whose deepest hole is deeper
    than its highest peak; with a residual whose peak exceeds the image's, or the dirty image's; with a residual that
    is negative over many beams; and with a model that has more flux than the data. The last is measured at its
    components: with D the dirty and R the residual image, m the model, Σ m R / Σ m D is what the data have beyond
    the model, as part of what they have.

    Parameters
    ----------
    planes : Planes
    beam_pix : float
        Mean FWHM of the restoring beam, pixels.
    subtracted_jy : float
        Highest apparent flux of a source that was subtracted before: round it errors of gains leave up to
        `GAIN_RESIDUE` of it, of either sign.
    """
    restored, residual = planes.restored, planes.residual
    high, low = float(np.nanmax(restored)), float(np.nanmin(restored))
    noise = robust_rms(residual)
    floor = max(NOISE_PEAK * noise, GAIN_RESIDUE * subtracted_jy)
    if -low > high and -low > floor:
        return f"CLEAN diverged: the image reaches from {low:.4g} to {high:.4g} Jy/beam, noise {noise:.3g}"
    left = float(np.nanmax(np.abs(residual)))
    if left > max(1.2 * high, floor):
        return (
            f"CLEAN diverged: a residual of {left:.4g} Jy/beam is left in an image with a peak of {high:.4g}"
        )
    bowl = float(ndimage.uniform_filter(np.nan_to_num(residual), round(BOWL_BEAMS * beam_pix)).min())
    if bowl < -max(BOWL_SIGMA * noise, 0.1 * GAIN_RESIDUE * subtracted_jy):
        return (
            f"CLEAN dug a bowl: the residual is {bowl:.4g} Jy/beam in the mean of {BOWL_BEAMS:g} x {BOWL_BEAMS:g} "
            f"beams, noise {noise:.3g}"
        )
    return None if planes.dirty is None else _against_dirty(planes, planes.dirty, floor)


def _against_dirty(planes: Planes, dirty: np.ndarray, floor_jy: float) -> str | None:
    """What a comparison with the dirty image says against a CLEAN."""
    before, after = (float(np.nanmax(np.abs(plane))) for plane in (dirty, planes.residual))
    if after > max(GROWTH * before, floor_jy):
        return f"CLEAN diverged: the residual reaches {after:.4g} Jy/beam, the dirty image {before:.4g}"
    seen = float(np.nansum(planes.model * dirty, dtype=np.float64))
    left = float(np.nansum(planes.model * planes.residual, dtype=np.float64))
    if np.any(planes.model) and (seen <= 0 or left < -OVERSHOOT * seen):
        flux = float(np.nansum(planes.model, dtype=np.float64))
        much = "more than they have" if seen <= 0 else f"{-left / seen:.0%} too much"
        return f"CLEAN found more flux than the data hold: at its components, {flux:.4g} Jy in all, {much}"
    return None
