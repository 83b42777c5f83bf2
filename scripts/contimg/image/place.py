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
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header

from contimg.core.robust import mad_sigma
from contimg.sky.catalog import Catalog
from contimg.sky.crossmatch import isolated, mutual, places

LEAST_SNR = 20.0
LEAST_SOURCES, LEAST_FOR_GRADIENT = 5, 8
SIGNIFICANT = 5.0
"""Standard errors that a shift must have to be taken out: noise looks like that once in a million tiles,"""
LEAST_BEAMS = 0.01
"""and this part of the beam's minor axis, below which it is of no use to anybody."""
CLIP = 4.0
"""Times the median scatter: beyond it a place is a double's, or another source's."""
PASSES = 5
"""Of a plane: which places are outliers changes with it."""
FLOOR_BEAMS = 0.005
"""Error of a place beside its noise: the catalogue's, and structure."""


@dataclass(frozen=True)
class Gradient:
    """How offsets from the catalogue change over a tile, along the worse axis of the beam.

    Attributes
    ----------
    beam_per_deg, error : float
        Length of the gradient, and its standard error.
    n_sources : int
        Of three numbers an axis.
    """

    beam_per_deg: float
    error: float
    n_sources: int

    def to_json(self) -> dict[str, float]:
        """For a sidecar."""
        return {
            "beam_per_deg": round(self.beam_per_deg, 5),
            "error": round(self.error, 5),
            "n_sources": self.n_sources,
        }


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
    gradient : Gradient or None
        Its change over the tile, which is not taken out; None with fewer than `LEAST_FOR_GRADIENT` sources.
    """

    east_arcsec: float
    north_arcsec: float
    error_arcsec: float
    n_sources: int
    taken_out: bool
    gradient: Gradient | None = None

    def to_json(self) -> dict[str, Any]:
        """For a sidecar."""
        return {
            "east_arcsec": round(self.east_arcsec, 3),
            "north_arcsec": round(self.north_arcsec, 3),
            "error_arcsec": round(self.error_arcsec, 3),
            "n_sources": self.n_sources,
            "taken_out": self.taken_out,
            "gradient": None if self.gradient is None else self.gradient.to_json(),
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
    beam_arcsec: tuple[float, float, float],
) -> Shift | None:
    """Compare fitted places with the catalogue's.

    Parameters
    ----------
    table : DataFrame
        From `contimg.drift.fit.fit`; sources whose place was held do not count, nor do blended and resolved ones.
    catalog : Catalog
    ra_deg, dec_deg, radius_deg : float
        The field, ICRS.
    beam_arcsec : (major, minor, angle)
        Axes, and position angle of the major one in degrees.

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
    centre = SkyCoord(ra_deg, dec_deg, unit="deg")
    where = np.stack([axis.deg for axis in centre.spherical_offsets_to(there)])
    significant = any(abs(value) >= SIGNIFICANT * sigma for value, sigma in found)
    return Shift(
        east,
        north,
        error,
        len(first),
        significant and float(np.hypot(east, north)) >= LEAST_BEAMS * beam_arcsec[1],
        _gradient(where, values, np.hypot(errors, FLOOR_BEAMS * beam_arcsec[1]), beam_arcsec),
    )


def _gradient(
    where: np.ndarray, values: np.ndarray, errors: np.ndarray, beam_arcsec: tuple[float, float, float]
) -> Gradient | None:
    """Gradient of offsets and their errors (2, n), arcsec east and north, over places (2, n), degrees."""
    n = values.shape[1]
    if n < LEAST_FOR_GRADIENT:
        return None
    angle = np.radians(beam_arcsec[2])
    turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    worst = None
    for row, width in zip(turn, beam_arcsec[:2], strict=True):
        offset, error = row @ values / width, np.sqrt(row**2 @ errors**2) / width
        found = _slope(where, offset, error)
        if worst is None or found.beam_per_deg - 3 * found.error > worst.beam_per_deg - 3 * worst.error:
            worst = found
    return worst


def _slope(where: np.ndarray, offset: np.ndarray, error: np.ndarray) -> Gradient:
    """Least squares of a plane, outliers left out; the error scaled by the scatter that is found, if that is larger."""
    good = np.ones(len(offset), bool)
    for _ in range(PASSES):
        design = np.column_stack([np.ones(good.sum()), *where[:, good]]) / error[good, np.newaxis]
        inverse = np.linalg.inv(design.T @ design)
        plane = inverse @ design.T @ (offset[good] / error[good])
        score = np.abs(offset - plane[0] - plane[1:] @ where) / error
        chi2 = float(np.sum(score[good] ** 2)) / max(1, int(good.sum()) - 3)
        used, good = good, score <= CLIP * max(1.0, mad_sigma(score, about=0.0))
    length = float(np.hypot(*plane[1:]))
    along = plane[1:] / max(length, 1e-12)
    return Gradient(
        length, float(np.sqrt(max(1.0, chi2) * (along @ inverse[1:, 1:] @ along))), int(used.sum())
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
