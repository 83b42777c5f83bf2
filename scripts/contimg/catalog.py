"""The reference catalogue: any table that astropy reads, with `name, ra_deg, dec_deg, flux_jy`.

Positions are ICRS degrees, fluxes Jy at 1.4 GHz. A column `spectral_index` is used if there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contimg.calibrators import Calibrator
from contimg.errors import InputError

COLUMNS = ("name", "ra_deg", "dec_deg", "flux_jy")
TYPICAL_SPECTRAL_INDEX = -0.7
"""Of extragalactic sources at 1.4 GHz (Condon 1984, ApJ 287, 461), where the catalogue gives none."""


def sources_near(
    path: Path, *, ra_deg: float, dec_deg: float, radius_deg: float, min_flux_jy: float
) -> list[Calibrator]:
    """Read the sources of a reference catalogue round a place.

    Parameters
    ----------
    path : Path
        FITS, VOTable, ECSV, CSV …
    ra_deg, dec_deg, radius_deg : float
        Cap of the sky, ICRS degrees.
    min_flux_jy : float
        Fainter ones are left out.

    Returns
    -------
    list of Calibrator
        Brightest first.

    Raises
    ------
    InputError
        The table cannot be read or lacks a column.
    """
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    try:
        table = Table.read(path)
    except (OSError, ValueError, IORegistryError) as error:
        raise InputError(f"{path}: expected a table that astropy reads: {error}") from error
    missing = [column for column in COLUMNS if column not in table.colnames]
    if missing:
        raise InputError(
            f"{path}: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} not found among "
            f"{', '.join(table.colnames)}; rename them in the table"
        )
    ra, dec, flux = (np.asarray(table[column], dtype=np.float64) for column in COLUMNS[1:])
    cosine = np.sin(np.radians(dec)) * np.sin(np.radians(dec_deg)) + np.cos(np.radians(dec)) * np.cos(
        np.radians(dec_deg)
    ) * np.cos(np.radians(ra - ra_deg))
    rows = np.flatnonzero((cosine >= np.cos(np.radians(radius_deg))) & (flux >= min_flux_jy))
    index = (
        np.asarray(table["spectral_index"], dtype=np.float64)
        if "spectral_index" in table.colnames
        else np.full(len(table), TYPICAL_SPECTRAL_INDEX)
    )
    return [
        Calibrator(
            str(table["name"][row]),
            float(ra[row]),
            float(dec[row]),
            float(flux[row]),
            float(index[row]),
            path.name,
        )
        for row in rows[np.argsort(-flux[rows], kind="stable")]
    ]
