"""FITS images of a tile: 2-D, ICRS, with beam, frequency, dates, units and a pointer to the sidecar."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

import contimg
from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import SystemFault
from contimg.image.plan import ImagingPlan
from contimg.ms.meta import MsMeta
from contimg.telescope import geometry

SIDECAR = "status.json"


def imager_axes(ms: Path, meta: MsMeta) -> np.ndarray:
    """Axes that a Measurement Set's UVW refer to, in its middle integration.

    The rotation that takes the antennas' positions to their UVW (Kabsch 1976, Acta Cryst. A32, 922): whatever
    north the uvw were made with, the image is made with the same.

    Returns
    -------
    (3, 3) float64
        Columns: unit vectors of u, v, w on the Earth's axes (ITRF).
    """
    from casacore import tables

    rows = meta.n_baselines
    with tables.table(str(ms), readonly=True, ack=False) as table:
        uvw = -table.getcol(
            "UVW", (meta.n_times // 2) * rows, rows
        )  # the set's sign is antenna 1 - antenna 2
    baselines = meta.antenna_positions_m[meta.ant2] - meta.antenna_positions_m[meta.ant1]
    left, _, right = np.linalg.svd(baselines.T @ uvw)
    return left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right


def slant(ms: Path, meta: MsMeta) -> tuple[float, float]:
    """How w follows from u and v for an array that lies in a plane: w = a u + b v.

    Without w-projection an imager puts a source at (l, m) to (l - a (1 - n), m - b (1 - n)): the slant
    orthographic projection, which FITS knows as SIN with PV2_1 = -a and PV2_2 = -b (Calabretta & Greisen 2002,
    A&A 395, 1077, section 5.1.5). The array is flat to some metres, and a and b turn by 0.01 in a tile: at 1.5 deg
    that moves a source by 0.7 arcsec either way, symmetrically.

    Returns
    -------
    a, b : float
        Fitted to all the baselines of the tile.
    """
    from casacore import tables

    with tables.table(str(ms), readonly=True, ack=False) as table:
        uvw = table.getcol("UVW")
    a, b = np.linalg.lstsq(uvw[:, :2], uvw[:, 2], rcond=None)[0]
    return float(a), float(b)


def tile_header(
    meta: MsMeta,
    plan: ImagingPlan,
    *,
    axes: np.ndarray,
    beam_arcsec: tuple[float, float, float],
    freq_hz: float,
    n_visibilities: int,
    slope: tuple[float, float] = (0.0, 0.0),
) -> fits.Header:
    """Header that the images of a tile share; NAXIS1 and NAXIS2 are in it.

    Parameters
    ----------
    meta : MsMeta
        Phase centre, times, names.
    plan : ImagingPlan
        Size and pixel.
    axes : (3, 3) float
        From `imager_axes`.
    beam_arcsec : (major, minor, angle)
        Restoring beam: FWHM in arcsec, angle in deg, north through east.
    freq_hz : float
        Effective frequency: the mean with the weights of the image.
    n_visibilities : int
        Stokes I visibilities in it.
    slope : (a, b)
        From `slant`, for an imager that knows no w.
    """
    start = meta.times_jd[0] - MJD_EPOCH_JD - 0.5 * meta.integration_s[0] / SECONDS_PER_DAY
    end = meta.times_jd[-1] - MJD_EPOCH_JD + 0.5 * meta.integration_s[-1] / SECONDS_PER_DAY
    first, last, middle = Time([start, end, 0.5 * (start + end)], format="mjd", scale="utc").isot
    scale, matrix = _pixel_matrix(meta, axes)
    cell = plan.cell_arcsec / 3600 * scale
    header = fits.Header()
    for key, value, comment in (
        ("NAXIS", 2, None),
        ("NAXIS1", plan.nx, None),
        ("NAXIS2", plan.ny, None),
        ("CTYPE1", "RA---SIN", "right ascension, orthographic projection"),
        ("CRPIX1", plan.nx / 2 + 1, None),
        ("CRVAL1", float(np.degrees(meta.phase_ra_rad)), "[deg] phase centre"),
        ("CDELT1", -cell, "[deg] imager's pixel, aberration taken out"),
        ("CUNIT1", "deg", None),
        ("CTYPE2", "DEC--SIN", "declination, orthographic projection"),
        ("CRPIX2", plan.ny / 2 + 1, None),
        ("CRVAL2", float(np.degrees(meta.phase_dec_rad)), "[deg] phase centre"),
        ("CDELT2", cell, "[deg]"),
        ("CUNIT2", "deg", None),
        ("PC1_1", matrix[0, 0], "frame of the visibilities against ICRS"),
        ("PC1_2", matrix[0, 1], None),
        ("PC2_1", matrix[1, 0], None),
        ("PC2_2", matrix[1, 1], None),
        ("RADESYS", "ICRS", None),
        ("BMAJ", beam_arcsec[0] / 3600, "[deg] restoring beam, FWHM"),
        ("BMIN", beam_arcsec[1] / 3600, "[deg]"),
        ("BPA", beam_arcsec[2], "[deg] north through east"),
        ("RESTFRQ", freq_hz, "[Hz] effective frequency: weighted mean"),
        ("FREQ", freq_hz, "[Hz] effective frequency: weighted mean"),
        ("FREQMIN", float(meta.freq_hz[0] - meta.channel_width_hz / 2), "[Hz] lower edge of the band"),
        ("FREQMAX", float(meta.freq_hz[-1] + meta.channel_width_hz / 2), "[Hz] upper edge of the band"),
        ("STOKES", "I", None),
        ("EXPTIME", round(float(np.sum(meta.integration_s)), 3), "[s] observed"),
        ("TIMESYS", "UTC", None),
        ("DATE-OBS", first, "start of the first integration"),
        ("DATE-END", last, "end of the last integration"),
        ("DATE-AVG", middle, "middle"),
        ("MJD-OBS", start, "[d] start of the first integration"),
        ("MJD-END", end, "[d] end of the last integration"),
        ("MJD-AVG", 0.5 * (start + end), "[d] middle"),
        ("TELESCOP", meta.telescope_name, None),
        ("OBJECT", meta.tile or meta.field_name, "tile"),
        ("NVIS", n_visibilities, "Stokes I visibilities imaged"),
        ("ORIGIN", f"contimg {contimg.__version__}", None),
        ("SIDECAR", SIDECAR, "beside this file: inputs, settings, numbers"),
        ("DATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "when this file was written"),
    ):
        header[key] = (value, comment)
    if any(slope):
        header["PV2_1"] = (-slope[0], "slant of the projection: w = -PV2_1 u - PV2_2 v")
        header["PV2_2"] = -slope[1]
    return header


def write(path: Path, data: np.ndarray, header: fits.Header, *, bunit: str, btype: str) -> None:
    """Write one plane (ny, nx) as 32 bit floats with the shared header."""
    own = header.copy()
    own["BUNIT"], own["BTYPE"] = bunit, btype
    fits.PrimaryHDU(np.ascontiguousarray(data, dtype=np.float32), own).writeto(path, overwrite=True)


def read_plane(path: Path, plan: ImagingPlan, meta: MsMeta) -> np.ndarray:
    """The sky plane of an imager's 4-D FITS file, if its grid is the one that was asked for.

    Returns
    -------
    (ny, nx) float32

    Raises
    ------
    SystemFault
        Size, pixel or reference point are not those of the plan: the imager did something else.
    """
    with fits.open(path, memmap=False) as hdus:
        data, header = np.squeeze(hdus[0].data), hdus[0].header
    expected = {
        "NAXIS1": plan.nx,
        "NAXIS2": plan.ny,
        "CDELT2": plan.cell_arcsec / 3600,
        "CRPIX1": plan.nx / 2 + 1,
        "CRPIX2": plan.ny / 2 + 1,
        "CRVAL2": float(np.degrees(meta.phase_dec_rad)),
    }
    # Imagers write the J2000 place of the ICRS phase centre: up to 25 mas (7e-6 deg) away, for the header only.
    for key, value in expected.items():
        if not np.isclose(header[key], value, rtol=1e-9, atol=1e-5):
            raise SystemFault(
                f"{path}: expected {key} = {value}, found {header[key]}; the imager changed the grid"
            )
    if data.shape != (plan.ny, plan.nx):
        raise SystemFault(f"{path}: expected one plane of {plan.ny} x {plan.nx} pixels, found {data.shape}")
    return data.astype(np.float32)


def _pixel_matrix(meta: MsMeta, axes: np.ndarray) -> tuple[float, np.ndarray]:
    """How ICRS offsets follow from those of the imager: a scale, and a matrix near unity.

    The imager works with the direction cosines (l, m) of apparent places along the u and v axes. Aberration
    makes them smaller or larger than ICRS ones by up to 1e-4 (0.5 arcsec at 1.5 deg), and v is not exactly
    ICRS north (`geometry.v_axis_angle`). Both are the same for the whole field to second order, so that a
    linear fit over the field, in the middle integration, puts them into the header.

    Returns
    -------
    scale : float
        ICRS pixel over imager's pixel.
    matrix : (2, 2) float
        PC matrix, determinant 1.
    """
    loc = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    middle = meta.times_jd[[meta.n_times // 2]]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = np.degrees([meta.phase_ra_rad, meta.phase_dec_rad])
    wcs.wcs.cdelt = [np.degrees(1.0)] * 2  # a pixel is then a unit of l and m
    angle, radius = np.meshgrid(np.arange(0, 2 * np.pi, np.pi / 6), np.radians([0.7, 1.4]))
    offsets = np.column_stack([(radius * np.cos(angle)).ravel(), (radius * np.sin(angle)).ravel()])
    sky = np.radians(wcs.wcs_pix2world(offsets, 1))
    # the w of unit vectors toward a place are the place's components along the Earth's axes
    places = np.array([geometry.antenna_uvw(np.eye(3), ra, dec, middle, loc)[0, :, 2] for ra, dec in sky])
    seen = places @ axes[:, :2]
    linear = np.linalg.lstsq(seen, offsets, rcond=None)[0].T  # ICRS = linear @ imager
    scale = float(np.sqrt(np.linalg.det(linear)))
    # pixels run to the west while l runs to the east: the sign of CDELT1 turns the off-diagonal terms
    flip = np.diag([-1.0, 1.0])
    return scale, flip @ (linear / scale) @ flip
