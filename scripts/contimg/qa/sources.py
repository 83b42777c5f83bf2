"""What an image shows by itself: its sources, its false ones, and how it looks round the bright ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.io.fits import Header
from numpy.typing import NDArray

from contimg.core.tables import Columns
from contimg.qa.gates import Near
from contimg.sky.measure import PixelBeam, find, peaks
from contimg.sky.noise import robust_rms

Plane = NDArray[np.float32]
BRIGHT_SNR = 200.0
"""The noise's own deepest hole in an annulus is 4 to 5 σ: 2.5 % of such a source, half of the limit."""
LEAST_EXCESS = 0.3
"""Of the noise, near a bright source: the annulus has some 300 beams, its rms is good to 4 %, and 8 % of a variance are
the square of this."""
MOST_BRIGHT = 10
FALSE_PART = 0.3
"""Where there are more holes than this part of the peaks, only what stands above the deepest hole is measured:
thousands of fits to noise would say nothing and take minutes."""
COMPACT = 1.05
"""A source that holds this many times what a point of its peak does within a beam of its middle is resolved, if that is
beyond 3 times the error,"""
COMPACT_ERROR = 0.8
"""which is this over the S/N: 0.76 as computed for an amplitude fitted to the same pixels in noise that is correlated
like the beam; 0.74 drawn, with a free place."""
COLUMNS: Columns = {
    "ra_deg": ("deg", "right ascension, ICRS, fitted"),
    "dec_deg": ("deg", "declination, ICRS, fitted"),
    "flux_jy": ("Jy", "peak flux density at freq_hz, corrected for the primary beam"),
    "stat_err_jy": ("Jy", "its error from noise alone; contimg sources adds that of calibration"),
    "local_rms_jy": ("Jy", "noise of the image there"),
    "snr": ("", "flux_jy / local_rms_jy"),
    "offset_major_err_beam": ("beam", "error of the place along the beam's major axis, from noise"),
    "offset_minor_err_beam": ("beam", "the same along its minor axis"),
    "residual_jy": ("Jy", "rms of image less fit in the window of the fit"),
    "x_pix": ("pixel", "column of the place, 0-based"),
    "y_pix": ("pixel", "row of the place, 0-based"),
    "flags": ("", "edge, moved, blended, held: joined by commas (docs/image.md)"),
    "compact": ("", "whether it looks like the beam, or may"),
    "pb": ("of peak", "power beam that it was divided by"),
    "pb_east": ("1/deg", "change of ln pb toward east"),
    "pb_north": ("1/deg", "the same toward north"),
    "name": ("", "its name in the reference catalogue; none where it has no counterpart"),
    "catalog_jy": ("Jy", "flux density of the catalogue, brought to freq_hz"),
    "catalog_err_jy": ("Jy", "error of catalog_jy"),
    "ratio": ("", "flux_jy / catalog_jy"),
    "ratio_err": ("", "error of ratio, from both"),
    "offset_east_arcsec": ("arcsec", "place less the catalogue's, east, on the sky"),
    "offset_north_arcsec": ("arcsec", "the same, north"),
    "offset_major_beam": ("beam", "the same along the beam's major axis"),
    "offset_minor_beam": ("beam", "the same along its minor axis"),
    "comparable": ("", "whether both are isolated and the source compact"),
}
"""The table of what was found: unit and meaning of its columns. Those of the catalogue are there if there is one."""

FROM_PEAK = ["offset_ra_arcsec", "offset_dec_arcsec", "offset_major_beam", "offset_minor_beam"]
"""What `find` says of places is from the highest pixel: of no use to anybody who reads the table."""

ANNULUS_BEAMS = (1.5, 10.0)
"""Inner and outer radius (FWHM) of what is near: outside the source itself, inside its strongest sidelobes."""


@dataclass(frozen=True)
class Seen:
    """What was seen in an image.

    Attributes
    ----------
    sources : DataFrame
        From `contimg.sky.measure.find`, and whether each is `compact`.
    n_positive, n_negative : int
        Peaks of the image and of its negative.
    near : Near
    """

    sources: pd.DataFrame
    n_positive: int
    n_negative: int
    near: Near


def look(image: Plane, rms: Plane, header: Header, detection_snr: float) -> Seen:
    """Find sources and their mirror images, and look round the bright ones.

    Parameters
    ----------
    image, rms : (ny, nx) float32
        Corrected for the primary beam, Jy/beam; NaN where there is nothing.
    header : Header
        2-D, with the restoring beam.
    detection_snr : float
    """
    above, below = (peaks(plane, header, rms, detection_snr) for plane in (image, -image))
    measured_snr = detection_snr
    if len(below[0]) > FALSE_PART * len(above[0]):
        columns, rows = (axis.astype(int) for axis in below)
        measured_snr = max(detection_snr, float(np.max(-image[rows, columns] / rms[rows, columns])))
    sources = find(image, header, rms, measured_snr)
    sources = sources.assign(compact=compact(image, header, sources)).drop(columns=FROM_PEAK)
    return Seen(sources, len(above[0]), len(below[0]), look_near(image, header, sources))


def compact(image: Plane, header: Header, sources: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether sources, (n,), look like the beam, or may: what they hold within a beam of their places tells."""
    beam = PixelBeam.from_header(header)
    half_x, half_y = beam.box(1.0)
    ny, nx = image.shape
    answer = np.ones(len(sources), bool)
    for k, (x, y, flux, snr) in enumerate(sources[["x_pix", "y_pix", "flux_jy", "snr"]].to_numpy(float)):
        x1, x2 = max(0, round(x) - half_x), min(nx, round(x) + half_x + 1)
        y1, y2 = max(0, round(y) - half_y), min(ny, round(y) + half_y + 1)
        yy, xx = np.mgrid[y1:y2, x1:x2]
        used = (np.hypot(*beam.offsets(xx - x, yy - y)) <= 1.0) & np.isfinite(image[y1:y2, x1:x2])
        point = flux * float(beam.value(xx - x, yy - y)[used].sum())
        held = float(image[y1:y2, x1:x2][used].sum(dtype=np.float64))
        answer[k] = held <= (COMPACT + 3.0 * COMPACT_ERROR / snr) * point
    return answer


def look_near(image: Plane, header: Header, sources: pd.DataFrame) -> Near:
    """Noise and holes round the sources above `BRIGHT_SNR`, the `MOST_BRIGHT` brightest of them."""
    bright = sources[sources["snr"] >= BRIGHT_SNR].nlargest(MOST_BRIGHT, "snr")
    if bright.empty:
        return Near(0, float("nan"), float("nan"))
    beam = PixelBeam.from_header(header)
    holes, first = [], float("nan")
    for number, (x, y, peak) in enumerate(bright[["x_pix", "y_pix", "flux_jy"]].to_numpy(float)):
        values = _around(image, beam, x, y, sources)
        if len(values) == 0:
            continue
        holes.append(max(0.0, -float(values.min())) / peak)
        if number == 0:
            noise = robust_rms(image)
            excess = robust_rms(values) ** 2 - noise**2
            first = peak / max(math.sqrt(max(excess, 0.0)), LEAST_EXCESS * noise)
    return Near(len(holes), first, max(holes, default=float("nan")))


def _around(image: Plane, beam: PixelBeam, x: float, y: float, sources: pd.DataFrame) -> NDArray[np.float32]:
    """Finite pixels of the annulus round a place, other sources left out."""
    inner, outer = ANNULUS_BEAMS
    half_x, half_y = beam.box(outer)
    ny, nx = image.shape
    x1, x2 = max(0, round(x) - half_x), min(nx, round(x) + half_x + 1)
    y1, y2 = max(0, round(y) - half_y), min(ny, round(y) + half_y + 1)
    yy, xx = np.mgrid[y1:y2, x1:x2]
    distance = np.hypot(*beam.offsets(xx - x, yy - y))
    wanted = (distance >= inner) & (distance <= outer) & np.isfinite(image[y1:y2, x1:x2])
    margin = inner * beam.major_pix
    for px, py in sources[["x_pix", "y_pix"]].to_numpy(float):
        if x1 - margin <= px <= x2 + margin and y1 - margin <= py <= y2 + margin:
            wanted &= np.hypot(*beam.offsets(xx - px, yy - py)) >= inner
    return image[y1:y2, x1:x2][wanted]
