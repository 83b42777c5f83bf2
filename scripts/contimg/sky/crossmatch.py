"""Detections and a reference catalogue held against each other on the sphere.

Great-circle distances between ICRS places, no proper motions (extragalactic sources have none), no flat-sky
approximation. A pair is each other's nearest within the radius. What a catalogue of lower resolution blends, and
what an image blends, is not compared: a source is *isolated* if neither list has a companion of more than
`COMPANION` of its flux near it. Nor is the peak of a resolved source compared with its flux in a catalogue.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.core.constants import REFERENCE_HZ
from contimg.sky.measure import PixelBeam

COMPANION = 0.1
"""A companion fainter than this part of a source moves neither its flux nor its place by more than that."""
PAIRS = [
    "name", "found", "snr", "flux_jy", "flux_err_jy", "catalog_jy", "catalog_err_jy", "ratio", "ratio_err",
    "offset_east_arcsec", "offset_north_arcsec", "offset_major_beam", "offset_minor_beam", "comparable",
]  # fmt: skip


def places(table: pd.DataFrame) -> SkyCoord:
    """Places of a table's rows, ICRS."""
    return SkyCoord(table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy(), unit="deg")


def at_frequency(catalog: pd.DataFrame, freq_hz: float) -> pd.DataFrame:
    """The catalogue with `flux_jy` and `flux_err_jy`, which are at 1.4 GHz, taken to another frequency."""
    scale = (freq_hz / REFERENCE_HZ) ** catalog["spectral_index"]
    return catalog.assign(
        flux_jy=catalog["flux_jy"] * scale, flux_err_jy=catalog["flux_err_jy"].fillna(0.0) * scale
    )


def in_image(catalog: pd.DataFrame, header: Header, rms: NDArray[np.float32]) -> pd.DataFrame:
    """Rows of a catalogue that fall on a pixel with a finite rms, with `x_pix, y_pix` and `local_rms_jy`."""
    x, y = (np.asarray(v, dtype=float) for v in WCS(header).celestial.world_to_pixel(places(catalog)))
    ny, nx = rms.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    row, column = (np.rint(np.where(inside, axis, 0)).astype(int) for axis in (y, x))
    noise = np.where(inside, rms[row, column], np.nan)
    table = catalog.assign(x_pix=x, y_pix=y, local_rms_jy=noise)
    return table[np.isfinite(noise)].reset_index(drop=True)


def mutual(one: pd.DataFrame, two: pd.DataFrame, radius_arcsec: float) -> tuple[NDArray[np.int64], ...]:
    """Pairs that are each other's nearest within a radius.

    Returns
    -------
    first, second : ndarray of int, (n,)
        Row numbers in `one` and in `two`.
    """
    if one.empty or two.empty:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    here, there = places(one), places(two)
    nearest, separation, _ = here.match_to_catalog_sky(there)
    back, _, _ = there.match_to_catalog_sky(here)
    rows = np.arange(len(one))
    good = (back[nearest] == rows) & (separation.arcsec <= radius_arcsec)
    return rows[good], np.asarray(nearest)[good]


def isolated(table: pd.DataFrame, others: pd.DataFrame, radius_arcsec: float) -> NDArray[np.bool_]:
    """Rows of `table` without a companion in `others` between a tenth of the radius and the radius.

    What is nearer than that is the source itself. A companion counts above `COMPANION` of the row's flux.
    """
    alone = np.ones(len(table), dtype=bool)
    if table.empty or others.empty:
        return alone
    first, second, separation, _ = search_around_sky(
        places(table), places(others), radius_arcsec * units.arcsec
    )
    flux, other = table["flux_jy"].to_numpy()[first], others["flux_jy"].to_numpy()[second]
    companion = (separation.arcsec > 0.1 * radius_arcsec) & (other > COMPANION * flux)
    alone[first[companion]] = False
    return alone


def compare(
    found: pd.DataFrame,
    catalog: pd.DataFrame,
    header: Header,
    *,
    match_arcsec: float,
    isolation_arcsec: float,
) -> pd.DataFrame:
    """Pairs of detections and catalogue sources, with what they say of fluxes and places.

    Parameters
    ----------
    found : DataFrame
        From `contimg.sky.measure.find`, with `compact` (`contimg.qa.sources.compact`).
    catalog : DataFrame
        From `in_image`, fluxes at the image's frequency.
    header : Header
        Of the image: WCS and restoring beam.
    match_arcsec : float
        Farthest that the two may be apart.
    isolation_arcsec : float
        See `isolated`; the detections' own companions count likewise.

    Returns
    -------
    DataFrame
        One row a pair, columns `PAIRS`: `found` is the row in `found`; `ratio` is measured over catalogue flux, its
        error from both; offsets are measured minus catalogue, on the sky and, in FWHM, along the axes of the beam;
        `comparable` ones are isolated and compact.
    """
    first, second = mutual(found, catalog, match_arcsec)
    here, there = found.iloc[first].reset_index(drop=True), catalog.iloc[second].reset_index(drop=True)
    if here.empty:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in PAIRS}).astype({"comparable": bool})
    east, north = places(there).spherical_offsets_to(places(here))
    major, minor = PixelBeam.from_header(header).offsets(
        (here["x_pix"] - there["x_pix"]).to_numpy(), (here["y_pix"] - there["y_pix"]).to_numpy()
    )
    ratio = here["flux_jy"] / there["flux_jy"]
    relative = np.hypot(here["flux_err_jy"] / here["flux_jy"], there["flux_err_jy"] / there["flux_jy"])
    alone = isolated(there, catalog, isolation_arcsec) & isolated(here, found, isolation_arcsec)
    return pd.DataFrame(
        {
            "name": there["name"],
            "found": first,
            "snr": here["snr"],
            "flux_jy": here["flux_jy"],
            "flux_err_jy": here["flux_err_jy"],
            "catalog_jy": there["flux_jy"],
            "catalog_err_jy": there["flux_err_jy"],
            "ratio": ratio,
            "ratio_err": ratio * relative,
            "offset_east_arcsec": east.arcsec,
            "offset_north_arcsec": north.arcsec,
            "offset_major_beam": major,
            "offset_minor_beam": minor,
            "comparable": alone & here["compact"].to_numpy(),
        }
    )


def detected(
    catalog: pd.DataFrame,
    found: pd.DataFrame,
    *,
    min_snr: float,
    match_arcsec: float,
    isolation_arcsec: float,
) -> pd.DataFrame:
    """Catalogue sources that should be above `min_snr` where they are, and whether each was.

    Parameters
    ----------
    catalog : DataFrame
        From `in_image`: the local rms of the beam-corrected image knows the primary beam and the coverage.
    found : DataFrame
        All detections.

    Returns
    -------
    DataFrame
        `name, flux_jy, expected_snr, detected` of the isolated sources.
    """
    expected = catalog.assign(expected_snr=catalog["flux_jy"] / catalog["local_rms_jy"])
    expected = expected[isolated(catalog, catalog, isolation_arcsec) & (expected["expected_snr"] >= min_snr)]
    expected = expected.reset_index(drop=True)
    return expected[["name", "flux_jy", "expected_snr"]].assign(detected=_near(expected, found, match_arcsec))


def known(found: pd.DataFrame, catalog: pd.DataFrame, *, min_snr: float, match_arcsec: float) -> pd.DataFrame:
    """Detections that the catalogue should have, and whether it has each.

    The catalogue reaches as deep as the fluxes that all but a twentieth of its sources here exceed; a detection
    counts above twice that, so that a source that varies or an error of the spectrum does not count as false.
    """
    if catalog.empty:
        return found.iloc[:0][["flux_jy", "snr"]].assign(known=np.zeros(0, bool))
    depth = 2.0 * float(np.percentile(catalog["flux_jy"], 5))
    asked = found[(found["snr"] >= min_snr) & (found["flux_jy"] >= depth)].reset_index(drop=True)
    return asked[["flux_jy", "snr"]].assign(known=_near(asked, catalog, match_arcsec))


def _near(table: pd.DataFrame, others: pd.DataFrame, radius_arcsec: float) -> NDArray[np.bool_]:
    """Rows of `table` that have one of `others` within a radius."""
    if table.empty or others.empty:
        return np.zeros(len(table), dtype=bool)
    _, separation, _ = places(table).match_to_catalog_sky(places(others))
    return np.asarray(separation.arcsec <= radius_arcsec)
