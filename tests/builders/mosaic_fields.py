"""Mosaics made of a known list of points and of noise that is correlated like the beam."""

from dataclasses import dataclass

import numpy as np
from astropy.io.fits import Header
from scipy import fft

BEAM_PIX = (5.0, 3.6)
ANGLE_DEG = 30.0
CELL_DEG = 6.0 / 3600


def header(shape, beam_pix=BEAM_PIX, angle_deg=ANGLE_DEG):
    """2-D header of a mosaic at 8 h 30 m, +55, with a restoring beam."""
    made = Header()
    for key, value in (
        ("NAXIS", 2), ("NAXIS1", shape[1]), ("NAXIS2", shape[0]),
        ("CTYPE1", "RA---SIN"), ("CTYPE2", "DEC--SIN"), ("CUNIT1", "deg"), ("CUNIT2", "deg"),
        ("CRVAL1", 127.5), ("CRVAL2", 55.0), ("CDELT1", -CELL_DEG), ("CDELT2", CELL_DEG),
        ("CRPIX1", shape[1] / 2), ("CRPIX2", shape[0] / 2), ("RADESYS", "ICRS"),
        ("BMAJ", beam_pix[0] * CELL_DEG), ("BMIN", beam_pix[1] * CELL_DEG), ("BPA", angle_deg),
        ("RESTFRQ", 1.405e9), ("BUNIT", "Jy/beam"),
    ):  # fmt: skip
        made[key] = value
    return made


def widths(beam_pix=BEAM_PIX, angle_deg=ANGLE_DEG):
    """Covariance matrix (x, y) of the beam, pixels²; x grows to the west."""
    angle = np.radians(angle_deg)
    along = np.array([-np.sin(angle), np.cos(angle)])
    across = np.array([np.cos(angle), np.sin(angle)])
    a, b = (axis**2 / (8 * np.log(2)) for axis in beam_pix)
    return a * np.outer(along, along) + b * np.outer(across, across)


def points(shape, x, y, flux):
    """Sum of beams, peak `flux`, at places."""
    inverse = np.linalg.inv(widths())
    image = np.zeros(shape)
    for px, py, jy in zip(x, y, flux, strict=True):
        x1, x2 = max(0, int(px) - 20), min(shape[1], int(px) + 21)
        y1, y2 = max(0, int(py) - 20), min(shape[0], int(py) + 21)
        if x1 >= x2 or y1 >= y2:
            continue
        yy, xx = np.mgrid[y1:y2, x1:x2]
        dx, dy = xx - px, yy - py
        square = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
        image[y1:y2, x1:x2] += jy * np.exp(-0.5 * square)
    return image


def noise(shape, rng):
    """Unit noise whose autocorrelation is the beam: its power spectrum is the beam's transform."""
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")
    c = widths()
    square = c[0, 0] * fx**2 + 2 * c[0, 1] * fx * fy + c[1, 1] * fy**2
    power = np.exp(-2 * np.pi**2 * square)
    made = fft.irfft2(fft.rfft2(rng.normal(size=shape)) * np.sqrt(power), s=shape)
    return made / np.sqrt(np.mean(made**2))


@dataclass(frozen=True)
class Field:
    """A mosaic and what is in it; places in pixels, 0-based."""

    image: np.ndarray
    rms: np.ndarray
    header: Header
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def field(shape=(700, 900), count=400, rms_jy=1e-3, snr=(20.0, 200.0), seed=1, apart_pix=25.0):
    """Sources on a jittered grid, `apart_pix` from each other, in noise that rises by two toward one side."""
    rng = np.random.default_rng(seed)
    at_y, at_x = np.meshgrid(np.arange(40, shape[0] - 40, apart_pix), np.arange(40, shape[1] - 40, apart_pix))
    chosen = rng.permutation(at_x.size)[:count]
    x, y = (axis.ravel()[chosen] + rng.uniform(-2, 2, len(chosen)) for axis in (at_x, at_y))
    level = rms_jy * np.linspace(1.0, 2.0, shape[1])[np.newaxis, :] * np.ones(shape)
    flux = np.geomspace(*snr, len(x)) * rms_jy
    image = points(shape, x, y, flux) + level * noise(shape, rng)
    return Field(image.astype(np.float32), level.astype(np.float32), header(shape), x, y, flux)
