"""Ask an image: the sources found in it, and what it has at a place, as tables that explain themselves.

`contimg sources`, `contimg measure` and the catalogue of a published mosaic are these functions; fluxes, errors and
flags are those of the photometry (`contimg.photometry.forced`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from contimg.core import tables
from contimg.core.fits import read_plane
from contimg.photometry import table as layout
from contimg.photometry.measured import Mosaic, of_mosaic
from contimg.photometry.options import PhotometryOptions
from contimg.photometry.positions import iau_names
from contimg.photometry.table import FLAG_WORDS, flag_words
from contimg.sky.measure import FWHM_PER_SIGMA, find, measure, peaks

if TYPE_CHECKING:
    from astropy.table import Table

FOUND_SIGMA = 5.0
PEAK_BEAMS = 0.5

_OWN = {
    "ra_err_arcsec": ("arcsec", "error of the right ascension on the sky, from noise (Condon 1997)"),
    "dec_err_arcsec": ("arcsec", "error of the declination, from noise"),
    "map_rms_jy": ("Jy", "noise at the place as the rms map has it, which stands for a wider region"),
    "flag_words": ("", "the names of the flags that are set"),
}
_SHARED = (
    "flux_jy", "flux_err_jy", "stat_err_jy", "cal_err_jy", "snr", "flux_int_jy", "flux_int_err_jy", "local_rms_jy",
    "background_jy", "upper_limit_jy", "flags",
)  # fmt: skip
COLUMNS: dict[str, tuple[str, str]] = {
    "source_id": ("", "IAU name of the place, JHHMMSS.s+DDMMSS, truncated"),
    "ra_deg": ("deg", "right ascension, ICRS"),
    "dec_deg": ("deg", "declination, ICRS"),
    "ra_err_arcsec": _OWN["ra_err_arcsec"],
    "dec_err_arcsec": _OWN["dec_err_arcsec"],
    **{column.name: (column.unit, column.text) for column in layout.COLUMNS if column.name in _SHARED},
    "map_rms_jy": _OWN["map_rms_jy"],
    "flag_words": _OWN["flag_words"],
}
"""Columns of a catalogue: unit and meaning."""


def found_in(
    mosaic: Mosaic, options: PhotometryOptions, *, places: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, fits.Header]:
    """The sources of an image, brightest first.

    Parameters
    ----------
    mosaic : Mosaic
    options : PhotometryOptions
    places : DataFrame, optional
        ``ra_deg, dec_deg`` of what was found in it before (QA's table); without it the image is searched down to
        `FOUND_SIGMA`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.
    Header
        Of the image.
    """
    if places is None:
        at = places_in(read_plane(mosaic.image), mosaic.header(), read_plane(mosaic.rms))
    else:
        at = _as_places(places)
    rows, header = at_places(mosaic, at, options)
    return rows.sort_values("flux_jy", ascending=False, kind="stable", ignore_index=True), header


def places_in(image: np.ndarray, header: fits.Header, rms: np.ndarray) -> SkyCoord:
    """Fitted places of the sources above `FOUND_SIGMA` of an image and its rms (ny, nx), Jy/beam."""
    return _as_places(find(image, header, rms, FOUND_SIGMA))


def peaks_in(image: np.ndarray, header: fits.Header, rms: np.ndarray) -> SkyCoord:
    """Pixels above `FOUND_SIGMA` that are the highest within one beam: where the sources are, to a pixel."""
    return WCS(header).celestial.pixel_to_world(*peaks(image, header, rms, FOUND_SIGMA))


def fitted(image: np.ndarray, header: fits.Header, rms: np.ndarray, near: SkyCoord) -> SkyCoord:
    """Fitted places of the sources above `FOUND_SIGMA` that some of the peaks are of."""
    rows = measure(image, header, near, rms=rms)
    return _as_places(rows[rows["snr"] > FOUND_SIGMA])


def _as_places(rows: pd.DataFrame) -> SkyCoord:
    ra, dec = (rows[name].to_numpy(float) if len(rows) else np.empty(0) for name in ("ra_deg", "dec_deg"))
    there = np.isfinite(ra)
    return SkyCoord(ra[there], dec[there], unit="deg")


def at_places(
    mosaic: Mosaic, places: SkyCoord, options: PhotometryOptions
) -> tuple[pd.DataFrame, fits.Header]:
    """What an image has at places: one row for each that it covers, its index the number of the place."""
    icrs = places.icrs
    return _measured(mosaic, np.atleast_1d(icrs.ra.deg), np.atleast_1d(icrs.dec.deg), options)


def peaks_near(mosaic: Mosaic, places: SkyCoord, options: PhotometryOptions) -> pd.DataFrame:
    """The source that peaks nearest to each place, as `found_in` has it.

    Returns
    -------
    DataFrame
        Columns `COLUMNS` and ``apart_arcsec``, how far from the place it peaks; its index is the number of the place.
        Places that no source peaks within `PEAK_BEAMS` of have no row.
    """
    rows, header = found_in(mosaic, options)
    if rows.empty:
        return rows.assign(apart_arcsec=[])
    at, apart, _ = places.match_to_catalog_sky(SkyCoord(rows["ra_deg"], rows["dec_deg"], unit="deg"))
    near = np.flatnonzero(apart.deg < PEAK_BEAMS * header["BMAJ"])
    return rows.iloc[at[near]].assign(apart_arcsec=apart.arcsec[near]).set_axis(near)


def _measured(
    mosaic: Mosaic, ra: np.ndarray, dec: np.ndarray, options: PhotometryOptions
) -> tuple[pd.DataFrame, fits.Header]:
    sources = pd.DataFrame({"source_id": iau_names(ra, dec), "ra_deg": ra, "dec_deg": dec})
    rows, forced, header = of_mosaic(mosaic, sources, options)
    angle = np.radians(header.get("BPA", 0.0))
    with np.errstate(divide="ignore"):
        major, minor = (
            3600.0 * header[key] / (FWHM_PER_SIGMA * np.abs(rows["snr"])) for key in ("BMAJ", "BMIN")
        )
    rows = rows.assign(
        ra_err_arcsec=np.hypot(major * np.sin(angle), minor * np.cos(angle)),
        dec_err_arcsec=np.hypot(major * np.cos(angle), minor * np.sin(angle)),
        map_rms_jy=forced.map_rms_jy[rows.index],
        flag_words=pd.Series([flag_words(flags) for flags in rows["flags"]], index=rows.index, dtype="str"),
    )
    return rows[list(COLUMNS)], header


def as_table(rows: pd.DataFrame, header: fits.Header, options: PhotometryOptions) -> Table:
    """A catalogue as an astropy table: units and meaning of every column, and in its `meta` what all rows share."""
    from astropy.table import Table

    table = Table.from_pandas(rows[list(COLUMNS)])
    for name, (unit, text) in COLUMNS.items():
        table[name].unit, table[name].description = unit or None, text
    table.meta.update(described(header, options))
    return table


def described(header: fits.Header, options: PhotometryOptions) -> dict[str, Any]:
    """What a catalogue says of its image: frequency, beam, time, and what its errors stand for."""
    said = {
        "object": header.get("OBJECT", ""),
        "freq_hz": float(header["RESTFRQ"]),
        "bmaj_arcsec": 3600.0 * float(header["BMAJ"]),
        "bmin_arcsec": 3600.0 * float(header["BMIN"]),
        "bpa_deg": float(header.get("BPA", 0.0)),
        "date_obs": str(header.get("DATE-OBS", "")),
        "date_end": str(header.get("DATE-END", "")),
        "calibration_error": options.calibration_error,
        "flags_bits": ", ".join(f"{int(flag)} {word}" for flag, word in FLAG_WORDS.items()),
        "frame": "ICRS",
    }
    return {key: value for key, value in said.items() if value != ""}


def write(
    path: Path, rows: pd.DataFrame, header: fits.Header, options: PhotometryOptions, *, kind: str
) -> None:
    """Write a catalogue: kind ``votable``, ``csv``, ``parquet`` or ``reg``."""
    if kind == "reg":
        path.write_text(regions(rows, header))
    elif kind == "csv":
        head = "".join(f"# {key}: {value}\n" for key, value in described(header, options).items())
        units = ", ".join(f"{name} [{unit}]" for name, (unit, _) in COLUMNS.items() if unit)
        path.write_text(f"{head}# units: {units}\n{rows[list(COLUMNS)].to_csv(index=False)}")
    elif kind == "parquet":
        tables.write(path, rows[list(COLUMNS)], COLUMNS, described(header, options))
    else:
        from astropy.io.votable import from_table
        from astropy.io.votable.tree import Info

        votable = from_table(as_table(rows, header, options))
        votable.description = f"Sources of {header.get('OBJECT', path.stem)}"
        for key, value in described(header, options).items():
            votable.get_first_table().infos.append(Info(name=key, value=str(value)))
        votable.to_xml(str(path))


def regions(rows: pd.DataFrame, header: fits.Header) -> str:
    """DS9 and CARTA regions: an ellipse of the beam's size at each source, its flux beside it."""
    axes = f'{1800 * header["BMAJ"]:.2f}",{1800 * header["BMIN"]:.2f}"'
    angle = float(header.get("BPA", 0.0)) + 90.0  # DS9 counts from +x
    lines = ["# Region file format: DS9 version 4.1", "global color=cyan", "icrs"]
    for ra, dec, jy in rows[["ra_deg", "dec_deg", "flux_jy"]].to_numpy(float):
        lines.append(f"ellipse({ra:.6f},{dec:.6f},{axes},{angle:.1f}) # text={{{1e3 * jy:.1f} mJy}}")
    return "\n".join(lines) + "\n"
