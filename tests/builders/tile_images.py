"""Image directories of imaginary tiles with a known sky: Gaussians in an Airy-like beam, and noise."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from scipy.ndimage import fourier_gaussian
from scipy.optimize import least_squares
from scipy.special import j1

FWHM = np.sqrt(8 * np.log(2))
CELL_ARCSEC = 30.0
TILE_MINUTES = 5.154


@dataclass(frozen=True)
class Beam:
    major_arcsec: float = 200.0
    minor_arcsec: float = 120.0  # 4 pixels
    pa_deg: float = 20.0


def options(**changes):
    """The settings of a mosaic, bilinear and native where a test says so."""
    values = dict(min_tiles=2, pb_limit=0.2, method="weighted", beam="common", interpolation="bicubic")
    return SimpleNamespace(**(values | changes))


def tile_wcs(ra_deg, dec_deg, size, cell_arcsec=CELL_ARCSEC, slant=(0.0, 0.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [ra_deg % 360, dec_deg]
    wcs.wcs.cdelt = [-cell_arcsec / 3600, cell_arcsec / 3600]
    wcs.wcs.crpix = [size / 2 + 1, size / 2 + 1]
    wcs.wcs.radesys = "ICRS"
    if any(slant):
        wcs.wcs.set_pv([(2, 1, slant[0]), (2, 2, slant[1])])
    wcs.wcs.set()
    return wcs


def airy(separation_deg):
    """Power of a 4.65 m aperture at 1.4 GHz."""
    x = np.pi * 4.65 / 0.21414 * np.sin(np.deg2rad(separation_deg)) + 1e-12
    return (2 * j1(x) / x) ** 2


def separation_deg(x, y, wcs):
    """From a tile's centre to its pixels: l^2 + m^2 is the sine squared in a SIN projection."""
    offset = np.hypot(x - wcs.wcs.crpix[0] + 1, y - wcs.wcs.crpix[1] + 1) * abs(wcs.wcs.cdelt[1])
    return np.rad2deg(np.arcsin(np.clip(np.deg2rad(offset), 0, 1)))


def gaussian(dx, dy, beam, cell_arcsec):
    """Peak 1; dx grows to the west (RA falls with x), dy to the north, pixels."""
    pa = np.deg2rad(beam.pa_deg)
    east, north = -dx * cell_arcsec, dy * cell_arcsec
    along = (east * np.sin(pa) + north * np.cos(pa)) / (beam.major_arcsec / FWHM)
    across = (east * np.cos(pa) - north * np.sin(pa)) / (beam.minor_arcsec / FWHM)
    return np.exp(-(along**2 + across**2) / 2)


def beam_noise(rng, size, beam, cell_arcsec):
    """Unit-variance noise with the beam as its autocorrelation (circular of the beam's geometric mean width)."""
    sigma = np.sqrt(beam.major_arcsec * beam.minor_arcsec) / FWHM / cell_arcsec / np.sqrt(2)
    white = rng.normal(size=(size, size))
    noise = np.fft.ifft2(fourier_gaussian(np.fft.fft2(white), sigma)).real
    return noise / noise.std()


def write_tile(
    root, name, ra_deg, dec_deg, *, sources=(), size=512, beam=None, noise_jy=0.0, rms_jy=1e-3, seed=0,
    cell_arcsec=CELL_ARCSEC, start="2025-10-30T13:00:00", blank=None, slant=(0.0, 0.0),
):  # fmt: skip
    """Write images/{name}; sources are (ra_deg, dec_deg, flux_jy). The rms map says ``rms_jy`` over the beam; `slant`
    is (PV2_1, PV2_2).
    """
    beam = beam or Beam()
    path = root / name
    path.mkdir(parents=True)
    wcs = tile_wcs(ra_deg, dec_deg, size, cell_arcsec, slant)
    y, x = np.mgrid[:size, :size].astype(float)
    power = airy(separation_deg(x, y, wcs))
    image = noise_jy * beam_noise(np.random.default_rng(seed), size, beam, cell_arcsec)
    for ra, dec, flux in sources:
        px, py = wcs.wcs_world2pix([ra], [dec], 0)
        px, py = px[0], py[0]
        if not (np.isfinite(px) and -20 < px < size + 20 and -20 < py < size + 20):
            continue
        apparent = flux * airy(separation_deg(px, py, wcs))
        part = np.s_[max(int(py) - 20, 0) : int(py) + 22, max(int(px) - 20, 0) : int(px) + 22]
        image[part] += apparent * gaussian(x[part] - px, y[part] - py, beam, cell_arcsec)
    if blank is not None:
        image[blank] = np.nan
    used = np.where(power >= 0.2, power, np.nan)
    header = wcs.to_header()
    begin = Time(start, scale="utc")
    header["BMAJ"], header["BMIN"] = beam.major_arcsec / 3600, beam.minor_arcsec / 3600
    header["BPA"], header["BUNIT"], header["RESTFRQ"] = beam.pa_deg, "Jy/beam", 1.4e9
    header["FREQMIN"], header["FREQMAX"] = 1.31e9, 1.5e9
    header["DATE-OBS"], header["TELESCOP"] = begin.isot, "OVRO_MMA"
    header["DATE-END"] = Time(begin.mjd + TILE_MINUTES / 1440, format="mjd", scale="utc").isot
    planes = {"image": image, "pb": power, "rms": rms_jy / used, "pbcor": image / used}
    for plane, data in planes.items():
        fits.writeto(path / f"{name}.{plane}.fits", data.astype(np.float32), header)
    (path / "status.json").write_text(json.dumps({"status": "ok", "reason": None}))
    return path


def write_strip(root, *, ra_deg, dec_deg, count, sources=(), **changes):
    """Tiles of a drifting strip about one right ascension, 5.154 minutes of it apart; returns their directories."""
    step = TILE_MINUTES / 4 * 1.0027379
    paths = []
    for i in range(count):
        begin = Time(Time("2025-10-30T13:00:00", scale="utc").mjd + i * TILE_MINUTES / 1440, format="mjd")
        ra = ra_deg + (i - (count - 1) / 2) * step
        paths.append(
            write_tile(
                root, begin.isot[:19], ra, dec_deg, sources=sources, seed=i, start=begin.isot, **changes
            )
        )
    return paths


def fit_source(image, wcs, ra_deg, dec_deg, beam, half=7):
    """Least-squares fit of a beam-shaped source: flux (Jy), and offsets along x and y (pixels) from the truth."""
    px, py = (float(v[0]) for v in wcs.wcs_world2pix([ra_deg], [dec_deg], 0))
    y0, x0 = round(py), round(px)
    cut = image[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1].astype(float)
    y, x = np.mgrid[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1].astype(float)
    cell_arcsec = abs(wcs.wcs.cdelt[1]) * 3600

    def residual(p):
        return (p[0] * gaussian(x - px - p[1], y - py - p[2], beam, cell_arcsec) - cut).ravel()

    return least_squares(residual, [cut.max(), 0.0, 0.0], x_scale=[max(cut.max(), 1e-9), 1, 1]).x


def header_beam(header):
    return Beam(header["BMAJ"] * 3600, header["BMIN"] * 3600, header["BPA"])
