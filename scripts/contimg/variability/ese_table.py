"""Light curves from anybody's table: CSV, VOTable, FITS or parquet, with columns called as they please."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from contimg.core.constants import MJD_EPOCH_JD
from contimg.core.errors import InputError

REQUIRED = ("source_id", "mjd", "flux_jy", "flux_err_jy")
OPTIONAL = (
    "ra_deg", "dec_deg", "pointing_dec_deg", "calibrator", "caltable", "software", "catalog_digest", "band_slope",
    "band_slope_err",
)  # fmt: skip
_UNITS = {"Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6}
_NUMBERS = ("mjd", "flux_jy", "flux_err_jy", "ra_deg", "dec_deg", "band_slope", "band_slope_err")
_FIRST_JD = 1e6
"""A date above this is no MJD."""
_FEWEST = 5


def read_table(path: Path, columns: Mapping[str, str], *, flux_unit: str = "Jy") -> pd.DataFrame:
    """Read light curves.

    Parameters
    ----------
    path : Path
        `.csv`, `.parquet`, or what astropy reads (`.vot`, `.xml`, `.fits`, `.ecsv`).
    columns : mapping
        Our name of a column to the table's.
    flux_unit : {"Jy", "mJy", "uJy"}
        Of fluxes and errors.

    Returns
    -------
    DataFrame
        With our names and Jy. A table without `source_id` is one source, called as the file.

    Raises
    ------
    InputError
        The file cannot be read, or has not the columns.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, comment="#")
        else:
            table = _by_astropy(path)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: expected a table of light curves (CSV, VOTable, FITS or parquet): {error}"
        ) from error
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL, "pointing"})
    if unknown:
        raise InputError(
            f"--column: no column {', '.join(unknown)}; ours are {', '.join((*REQUIRED, *OPTIONAL))}"
        )
    missing = sorted(theirs for theirs in columns.values() if theirs not in table)
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(map(str, table.columns))}"
        )
    theirs = set(columns.values())
    hidden = [ours for ours in columns if ours in table and ours not in theirs]
    table = table.drop(columns=hidden).rename(columns={name: ours for ours, name in columns.items()})
    if "pointing" in table and "pointing_dec_deg" not in table:
        table = table.rename(columns={"pointing": "pointing_dec_deg"})
    if "source_id" not in table:
        table["source_id"] = path.stem
    lacking = [name for name in REQUIRED if name not in table]
    if lacking:
        raise InputError(
            f"{path}: no column {', '.join(lacking)}; found {', '.join(map(str, table.columns))}; say what they are "
            f"called: --column {lacking[0]}=THEIRS"
        )
    for name in (name for name in _NUMBERS if name in table):
        table[name] = _floats(path, table[name], name)
    for name in ("flux_jy", "flux_err_jy"):
        table[name] *= _UNITS[flux_unit]
    if (table["mjd"] > _FIRST_JD).any():
        raise InputError(
            f"{path}: mjd reaches {table['mjd'].max():.1f}: these are Julian dates; subtract {MJD_EPOCH_JD:.1f}"
        )
    return table


def _by_astropy(path: Path) -> pd.DataFrame:
    """A table that astropy reads, its columns of one value a row, text as text."""
    from astropy.table import Table

    table = Table.read(path)
    table = table[[name for name in table.colnames if table[name].ndim == 1]]
    table.convert_bytestring_to_unicode()  # of FITS
    return table.to_pandas()


def _floats(path: Path, column: pd.Series, name: str) -> np.ndarray:
    """A column as numbers; NaN where there is none."""
    try:
        return pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected numbers in {column.name} ({name}): {error}; leave rows of upper limits out"
        ) from error


def usable(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out what cannot be searched.

    Parameters
    ----------
    table : DataFrame
        From `read_table`.

    Returns
    -------
    DataFrame
        Rows with a source, a time, a flux and a positive error, each once, of sources whose median flux is positive.
    list of str
        What was left out, a line each.

    Raises
    ------
    InputError
        Nothing is left.
    """
    numbers = table[["mjd", "flux_jy", "flux_err_jy"]].to_numpy(dtype=float)
    good = np.isfinite(numbers).all(axis=1) & (numbers[:, 2] > 0) & table["source_id"].notna().to_numpy()
    kept = table[good]
    once = kept.drop_duplicates(["source_id", "mjd", "flux_jy", "flux_err_jy"])
    median = once.groupby("source_id")["flux_jy"].transform("median")
    found = once[median > 0]
    dark = sorted({str(name) for name in once["source_id"][median <= 0]})
    counts = {
        "rows without a time, a flux or a positive error": len(table) - len(kept),
        "rows that stand there twice": len(kept) - len(once),
        f"sources whose median flux is not positive ({', '.join(dark[:5])}{' …' if len(dark) > 5 else ''})": len(
            dark
        ),
    }
    if found.empty:
        raise InputError(
            "no row has a time, a flux and a positive error, of a source whose median flux is positive"
        )
    return found, [f"left out: {number} {what}" for what, number in counts.items() if number]


def normalised(table: pd.DataFrame) -> pd.DataFrame:
    """Bring the nights of a table to one scale.

    A night's scale is the median over its sources of flux over the source's median, each source left out of its own;
    nights with fewer than five other sources keep theirs. Medians and scales are found in turn, three times.
    """
    made = table.reset_index(drop=True).copy()
    night = np.floor(made["mjd"].to_numpy(dtype=float) + 0.5).astype(int)
    flux = made["flux_jy"].to_numpy(dtype=float)
    source = pd.factorize(made["source_id"])[0]
    scale = np.ones(len(made))
    for _ in range(3):
        medians = pd.Series(flux / scale).groupby(source).transform("median").to_numpy()
        ratio = flux / np.where(medians > 0, medians, np.nan)
        scale = np.ones(len(made))
        for places in pd.Series(range(len(made))).groupby(night).indices.values():
            own = ratio[places]
            if np.isfinite(own).sum() > _FEWEST:
                scale[places] = _others_median(own)
    made["flux_jy"] = flux / scale
    made["flux_err_jy"] = made["flux_err_jy"].to_numpy(dtype=float) / scale
    return made


def _others_median(values: np.ndarray) -> np.ndarray:
    """Give for each value the median of the others."""
    order = np.argsort(values, kind="stable")  # NaN last
    n = int(np.isfinite(values).sum())
    ordered = values[order][:n]
    place = np.empty(len(values), dtype=int)
    place[order] = np.arange(len(values))
    left = n - 1  # values that remain

    def at(index: int, leaving: int) -> float:
        return float(ordered[index + (leaving <= index)])

    found = np.full(len(values), float(np.median(ordered)))
    for k in range(len(values)):
        if place[k] < n:
            low, high = (left - 1) // 2, left // 2
            found[k] = 0.5 * (at(low, int(place[k])) + at(high, int(place[k])))
    return found
