"""A tile's shift against the reference catalogue, taken out of its headers where it is significant.

The ionosphere shifts a field by arcseconds, differently from tile to tile, and so do errors of the clock and of
the antennas' positions. The fitted places of bright sources, less the catalogue's, tell by how much: their weighted
mean, with the scatter that is found. The pixels stay where they are, and so does the primary beam on them: what moves
is the place that the header gives them (CRVAL), and the places of the table of fitted sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.io.fits import Header

from contimg.core.robust import mad_sigma
from contimg.sky.catalog import Catalog
from contimg.sky.crossmatch import isolated, mutual, places

LEAST_SNR = 20.0
LEAST_SOURCES = 5
SIGNIFICANT = 5.0
"""Standard errors that a shift must have to be taken out: noise looks like that once in a million tiles,"""
LEAST_BEAMS = 0.01
"""and this part of the beam's minor axis, below which it is of no use to anybody."""
CLIP = 4.0
"""Times the median scatter: beyond it a place is a double's, or another source's."""
FLOOR_BEAMS = 0.005
"""Error of a place beside its noise: the catalogue's, and structure."""


@dataclass(frozen=True)
class Shift:
    """Places fitted less the catalogue's.

    Attributes
    ----------
    east_arcsec, north_arcsec : float
        On the sky.
    error_arcsec : float
        Standard error along the worse axis.
    n_sources : int
    taken_out : bool
        Whether it is significant.
    """

    east_arcsec: float
    north_arcsec: float
    error_arcsec: float
    n_sources: int
    taken_out: bool

    def to_json(self) -> dict[str, Any]:
        """For a sidecar."""
        return {
            "east_arcsec": round(self.east_arcsec, 3),
            "north_arcsec": round(self.north_arcsec, 3),
            "error_arcsec": round(self.error_arcsec, 3),
            "n_sources": self.n_sources,
            "taken_out": self.taken_out,
        }

    def move(self, header: Header, table: pd.DataFrame) -> pd.DataFrame:
        """Take it out of a header, in place, and of a table of sources, which is returned."""
        cos_dec = np.cos(np.radians(header["CRVAL2"]))
        header["CRVAL1"] = float((header["CRVAL1"] - self.east_arcsec / 3600.0 / cos_dec) % 360.0)
        header["CRVAL2"] = float(header["CRVAL2"] - self.north_arcsec / 3600.0)
        header["SHIFTE"] = (self.east_arcsec, "[arcsec] east, taken out against the catalogue")
        header["SHIFTN"] = (self.north_arcsec, "[arcsec] north, taken out against the catalogue")
        return _moved(table, -self.east_arcsec, -self.north_arcsec)


def as_observed(table: pd.DataFrame, shift: Mapping[str, Any] | None) -> pd.DataFrame:
    """Places as the visibilities have them: a shift that was taken out of an image, put back.

    Parameters
    ----------
    table : DataFrame
        With ``ra_deg, dec_deg``.
    shift : mapping or None
        `metrics.shift` of the image's sidecar.
    """
    if shift is None or not shift["taken_out"]:
        return table
    return _moved(table, shift["east_arcsec"], shift["north_arcsec"])


def _moved(table: pd.DataFrame, east_arcsec: float, north_arcsec: float) -> pd.DataFrame:
    dec_deg = table["dec_deg"] + north_arcsec / 3600.0
    ra_deg = table["ra_deg"] + east_arcsec / 3600.0 / np.cos(np.radians(dec_deg))
    return table.assign(ra_deg=ra_deg % 360.0, dec_deg=dec_deg)


def measure(
    table: pd.DataFrame,
    catalog: Catalog,
    *,
    ra_deg: float,
    dec_deg: float,
    radius_deg: float,
    beam_arcsec: tuple[float, float],
) -> Shift | None:
    """Compare fitted places with the catalogue's.

    Parameters
    ----------
    table : DataFrame
        From `contimg.drift.fit.fit`; sources whose place was held do not count, nor do blended and resolved ones.
    catalog : Catalog
    ra_deg, dec_deg, radius_deg : float
        The field, ICRS.
    beam_arcsec : (float, float)
        Major and minor axis.

    Returns
    -------
    Shift or None
        None with fewer than `LEAST_SOURCES`.
    """
    known = catalog.near(ra_deg=ra_deg, dec_deg=dec_deg, radius_deg=radius_deg)
    flags = table["flags"].fillna("")
    good = (table["snr"] >= LEAST_SNR) & table["ra_err_arcsec"].notna() & table["dec_err_arcsec"].notna()
    fitted = table[good & ~flags.str.contains("blended|moved|resolved")].reset_index(drop=True)
    first, second = mutual(fitted, known, beam_arcsec[0])
    alone = isolated(known, known, 2.0 * beam_arcsec[0])[second]
    first, second = first[alone], second[alone]
    if len(first) < LEAST_SOURCES:
        return None
    there, here = places(known.iloc[second]), places(fitted.iloc[first])
    values = np.stack([axis.arcsec for axis in there.spherical_offsets_to(here)])
    errors = fitted[["ra_err_arcsec", "dec_err_arcsec"]].to_numpy(float)[first].T
    found = [_mean(v, np.hypot(e, FLOOR_BEAMS * beam_arcsec[1])) for v, e in zip(values, errors, strict=True)]
    (east, _), (north, _) = found
    error = max(sigma for _, sigma in found)
    significant = any(abs(value) >= SIGNIFICANT * sigma for value, sigma in found)
    return Shift(
        east,
        north,
        error,
        len(first),
        significant and float(np.hypot(east, north)) >= LEAST_BEAMS * beam_arcsec[1],
    )


def _mean(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Weighted mean of what is not an outlier, and its error, scaled by the scatter that is found."""
    score = np.abs(values - np.median(values)) / errors
    good = score <= CLIP * max(1.0, mad_sigma(score, about=0.0))
    values, errors = values[good], errors[good]
    weight = 1.0 / errors**2
    mean = float(np.sum(weight * values) / np.sum(weight))
    chi2 = float(np.sum(weight * (values - mean) ** 2)) / max(1, len(values) - 1)
    return mean, max(1.0, float(np.sqrt(chi2))) / float(np.sqrt(np.sum(weight)))
