"""A published image as a row of the IVOA's ObsCore table (version 1.1), from its FITS header."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.constants import SPEED_OF_LIGHT_M_S

if TYPE_CHECKING:
    from astropy.io.fits import Header

COLLECTION = "DSA-110 continuum"
_TEXT = (
    "dataproduct_type", "obs_collection", "obs_id", "obs_publisher_did", "access_url", "access_format", "target_name",
    "s_region", "o_ucd", "pol_states", "facility_name", "instrument_name",
)  # fmt: skip
_UNITS = {
    "access_estsize": "kbyte", "s_ra": "deg", "s_dec": "deg", "s_fov": "deg", "s_resolution": "arcsec",
    "s_pixel_scale": "arcsec", "t_min": "d", "t_max": "d", "t_exptime": "s", "t_resolution": "s", "em_min": "m",
    "em_max": "m",
}  # fmt: skip


def row(header: Header, *, url: str, size_bytes: int) -> dict[str, Any]:
    """Describe an image.

    Parameters
    ----------
    header : Header
        Of a published image: `OBS_ID`, `DATE-…`, `EXPTIME`, `FREQMIN`, `FREQMAX`, beam and WCS.
    url : str
        Where it is, relative to `published/{date}/`.
    size_bytes : int

    Returns
    -------
    dict
        The mandatory columns of ObsCore 1.1 in their units, and `s_pixel_scale`.
    """
    from astropy.wcs import WCS

    wcs = WCS(header, naxis=2)
    nx, ny = int(header["NAXIS1"]), int(header["NAXIS2"])
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    pixel_deg = float(np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))))
    corners = wcs.calc_footprint(axes=(nx, ny))
    finite = bool(np.isfinite(corners).all())
    region = " ".join(f"{value:.6f}" for value in corners.ravel()) if finite else ""
    low = float(header.get("FREQMIN", header["RESTFRQ"]))
    high = float(header.get("FREQMAX", header["RESTFRQ"]))
    return {
        "dataproduct_type": "image",
        "calib_level": 3,
        "obs_collection": COLLECTION,
        "obs_id": header["OBS_ID"],
        "obs_publisher_did": f"{header['OBS_ID']}.v{header['VERSION']}",
        "access_url": url,
        "access_format": "application/fits",
        "access_estsize": -(-size_bytes // 1000),
        "target_name": header["OBJECT"],
        "s_ra": float(centre.icrs.ra.deg),
        "s_dec": float(centre.icrs.dec.deg),
        "s_fov": float(np.hypot(nx, ny) * pixel_deg),
        "s_region": f"POLYGON ICRS {region}" if region else "",
        "s_resolution": float(np.sqrt(header["BMAJ"] * header["BMIN"]) * 3600),
        "s_xel1": nx,
        "s_xel2": ny,
        "s_pixel_scale": pixel_deg * 3600,
        "t_min": float(header["MJD-OBS"]),
        "t_max": float(header["MJD-END"]),
        "t_exptime": float(header["EXPTIME"]),
        "t_resolution": float(header["EXPTIME"]),
        "t_xel": 1,
        "em_min": SPEED_OF_LIGHT_M_S / high,
        "em_max": SPEED_OF_LIGHT_M_S / low,
        "em_res_power": float(header["RESTFRQ"]) / (high - low) if high > low else 1.0,
        "em_xel": 1,
        "o_ucd": "phot.flux.density;em.radio.750-1500MHz;instr.beam",
        "pol_states": "/I/",
        "pol_xel": 1,
        "facility_name": "OVRO",
        "instrument_name": header["INSTRUME"],
    }


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as comma-separated values under the names of their columns."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, _columns(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_votable(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a VOTable, with units."""
    from astropy.table import Table

    names = _columns(rows)
    table = Table(
        {
            name: np.array(
                [entry[name] for entry in rows], dtype=str if name in _TEXT else None if rows else float
            )
            for name in names
        }
    )
    for name in names:
        table[name].unit = _UNITS.get(name)
    table.write(path, format="votable", overwrite=True)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(rows[0]) if rows else [*_TEXT, *_UNITS]
