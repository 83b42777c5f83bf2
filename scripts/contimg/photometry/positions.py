"""The list of what is measured: names, places and origin of every source, one table rebuilt from its parts.

The parts, in this order: the reference catalogue, a list of the user's own, and what blind finding added. Of two
entries nearer than `photometry.same_arcsec` the earlier one stands; within a part the order is that of brightness,
then of declination. A name follows from the place alone (IAU: ``JHHMMSS.s+DDMMSS``, truncated, never rounded).
Where two sources have the same name the earlier keeps it and the later ones get ``b``, ``c`` … Later parts never
change what earlier ones named, and a new source comes after the old ones of its part: names stay for ever as long as
catalogue and own list only grow at their faint end.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from numpy.typing import NDArray

from contimg.core import provenance
from contimg.core.errors import InputError, NamedFileError

if TYPE_CHECKING:
    from astropy.table import Table

CATALOG, OWN, BLIND = "catalog", "own", "blind"
COLUMNS = {
    "source_id": ("", "IAU name, JHHMMSS.s+DDMMSS, truncated"),
    "ra_deg": ("deg", "right ascension, ICRS"),
    "dec_deg": ("deg", "declination, ICRS"),
    "flux_jy": (
        "Jy",
        "flux density at 1.4 GHz where it is known; of a blind source the median found",
    ),
    "origin": ("", "catalog, own or blind: the part that the source is from"),
    "name": ("", "its name there"),
    "n_dates": ("", "dates on which a blind source was found; 0 for the others"),
}
_NAME = re.compile(r"J?(\d{2})(\d{2})(\d{2}(?:\.\d*)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d*)?)[b-z]?")
_ROUGH = re.compile(r"[BJ]?\d{4}[+-]\d{2,4}[a-z]?", re.IGNORECASE)
_TENTH = 36000 * 24  # tenths of a second of time in a turn
LOOSE_ARCSEC = 30.0
"""A name with whole seconds of time, as the observatory writes it, is off by up to 15 arcsec; twice that is near."""


def iau_names(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> list[str]:
    """IAU names of places (ICRS degrees), (n,): truncated, never rounded.

    A place that is a name's own (to 1e-6 arcsec) keeps it: binary fractions fall on either side of a tenth.
    """
    tenths = np.floor(np.mod(ra_deg, 360.0) * 2400.0 + 1e-9).astype(np.int64) % _TENTH
    seconds = np.floor(np.abs(dec_deg) * 3600.0 + 1e-6).astype(np.int64)
    return [
        f"J{t // 36000:02d}{t // 600 % 60:02d}{t // 10 % 60:02d}.{t % 10}"
        f"{'-' if negative else '+'}{s // 3600:02d}{s // 60 % 60:02d}{s % 60:02d}"
        for t, s, negative in zip(tenths.tolist(), seconds.tolist(), (dec_deg < 0).tolist(), strict=True)
    ]


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A table in its order with `source_id`; later ones of the same name get ``b``, ``c`` …

    Raises
    ------
    InputError
        More than 25 sources in 1.5 by 1 arcsec.
    """
    plain = pd.Series(iau_names(table["ra_deg"].to_numpy(float), table["dec_deg"].to_numpy(float)))
    again = plain.groupby(plain).cumcount()
    if (again > 24).any():
        raise InputError(
            f"{plain[again > 24].iloc[0]}: more than 25 sources have this name: raise photometry.same_arcsec"
        )
    letters = ["" if number == 0 else chr(ord("a") + number) for number in again]
    return table.assign(source_id=[name + letter for name, letter in zip(plain, letters, strict=True)])


def parse(text: str) -> SkyCoord:
    """The place that a name or a pair of coordinates stands for, ICRS.

    Parameters
    ----------
    text : str
        ``J083454.9+553421``, ``J083454+553421``, ``08h34m54.9s +55d34m21s``, ``08:34:54.9 +55:34:21`` (hours) or
        ``128.729 55.573`` (degrees). Of a name the middle of what it stands for.

    Raises
    ------
    InputError
        The text is none of these.
    """
    match = _NAME.fullmatch(text.strip())
    try:
        if match:
            hours, minutes, seconds, sign, degrees, arcmin, arcsec = match.groups()
            half_s, half_arcsec = (0.5 * 10.0 ** -len(part.partition(".")[2]) for part in (seconds, arcsec))
            ra = 15 * (int(hours) + int(minutes) / 60 + (float(seconds) + half_s) / 3600)
            dec = int(degrees) + int(arcmin) / 60 + (float(arcsec) + half_arcsec) / 3600
            return SkyCoord(ra, -dec if sign == "-" else dec, unit="deg")
        if _ROUGH.fullmatch(text.strip()):  # astropy reads 0022+002 as 22 h, 2 deg
            raise ValueError("a name of minutes and tenths of a degree is no place")
        words = text.replace(",", " ").split()
        if len(words) == 2 and not re.search(r"[hdms:]", text):
            return SkyCoord(float(words[0]), float(words[1]), unit="deg")
        return SkyCoord(text, unit=("hourangle", "deg"))
    except ValueError as error:
        raise InputError(
            f"{text!r}: expected a name such as J083454.9+553421, or right ascension and declination such as "
            f"'08h34m54.9s +55d34m21s' or '128.729 55.573' ({error})"
        ) from error


def lookup(table: pd.DataFrame, text: str, *, within_arcsec: float = LOOSE_ARCSEC) -> pd.DataFrame:
    """Rows of a list of sources that a name or place stands for: the one of that name, else the near ones by distance.

    Raises
    ------
    InputError
        There is none, or the text is no name or place.
    """
    exact = table[table["source_id"] == text.strip()]
    if len(exact):
        return exact
    apart = parse(text).separation(SkyCoord(table["ra_deg"], table["dec_deg"], unit="deg")).arcsec
    near = table.assign(distance_arcsec=apart)[apart <= within_arcsec].sort_values("distance_arcsec")
    if near.empty:
        raise InputError(f"{text}: no listed source within {within_arcsec:g} arcsec of it")
    return near.drop(columns="distance_arcsec")


def assemble(
    catalog: pd.DataFrame | None,
    own: pd.DataFrame | None,
    blind: pd.DataFrame | None,
    *,
    same_arcsec: float,
    min_flux_jy: float = 0.0,
) -> pd.DataFrame:
    """Put the list together from its parts.

    Parameters
    ----------
    catalog : DataFrame or None
        From `contimg.sky.catalog.Catalog.read`.
    own : DataFrame or None
        From `read_own`.
    blind : DataFrame or None
        From `contimg.photometry.blind.joined`, in the order in which the sources joined.
    same_arcsec : float
    min_flux_jy : float
        Fainter ones of the catalogue are left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, by declination.
    """
    parts = []
    if catalog is not None:
        bright = catalog[catalog["flux_jy"] >= min_flux_jy]
        bright = bright.sort_values(["flux_jy", "dec_deg", "ra_deg"], ascending=[False, True, True])
        parts.append(bright.assign(origin=CATALOG, n_dates=0))
    if own is not None:
        parts.append(own.assign(origin=OWN, n_dates=0))
    if blind is not None:
        parts.append(blind.assign(origin=BLIND, name=""))
    wanted = [name for name in COLUMNS if name != "source_id"]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in COLUMNS})
    table = pd.concat([part[wanted] for part in parts], ignore_index=True)
    table = table[distinct(table, same_arcsec)].reset_index(drop=True)
    return named(table)[list(COLUMNS)].sort_values(["dec_deg", "ra_deg"], kind="stable", ignore_index=True)


def digest(listed: pd.DataFrame) -> str:
    """Digest of names and places of a list but for its blind part, which moves no other source: two lists that differ
    in it may measure the same source at different places.
    """
    fixed = listed[listed["origin"] != BLIND]
    return provenance.digest([fixed[name].tolist() for name in ("source_id", "ra_deg", "dec_deg")])


def distinct(table: pd.DataFrame, same_arcsec: float) -> NDArray[np.bool_]:
    """Rows of a table that are no earlier row's source once more."""
    kept = np.ones(len(table), bool)
    if len(table) < 2:
        return kept
    places = SkyCoord(table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy(), unit="deg")
    first, second, _, _ = search_around_sky(places, places, same_arcsec * u.arcsec)
    later = first < second
    pairs = np.column_stack([first[later], second[later]])
    for early, late in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
        if kept[early]:
            kept[late] = False
    return kept


def read_own(path: Path) -> pd.DataFrame:
    """The user's own list: `name, ra_deg, dec_deg, flux_jy` (NaN where it has none), in its order.

    Raises
    ------
    NamedFileError
        The table cannot be read, has no places, or has some outside the sphere.
    """
    from astropy.io.registry import IORegistryError
    from astropy.table import Table

    try:
        table = Table.read(path)
    except (OSError, ValueError, IORegistryError) as error:
        raise NamedFileError(f"{path}: expected a table that astropy reads: {error}") from error
    missing = [name for name in ("ra_deg", "dec_deg") if name not in table.colnames]
    if missing:
        raise NamedFileError(
            f"{path}: no column {' or '.join(missing)} among {', '.join(table.colnames)}; photometry.sources needs "
            "ra_deg and dec_deg (ICRS, degrees)"
        )
    try:
        ra, dec, flux = (_numbers(table, name) for name in ("ra_deg", "dec_deg", "flux_jy"))
    except (TypeError, ValueError) as error:
        raise NamedFileError(f"{path}: expected numbers in ra_deg, dec_deg and flux_jy: {error}") from error
    if not ((ra >= 0) & (ra < 360) & (np.abs(dec) <= 90)).all():
        raise NamedFileError(f"{path}: expected ra_deg from 0 to 360 and dec_deg from -90 to 90 in every row")
    name = np.asarray(table["name"]).astype(str) if "name" in table.colnames else np.full(len(table), "")
    return pd.DataFrame({"name": name, "ra_deg": ra, "dec_deg": dec, "flux_jy": flux})


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    """A column of numbers, NaN where it has none."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    column = getattr(table[name], "value", table[name])
    return np.asarray(np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan))


def write(path: Path, table: pd.DataFrame) -> None:
    """Write the list; the same sources give the same bytes. Its columns are described under the key ``contimg``."""
    text = {"columns": {n: {"unit": unit, "description": what} for n, (unit, what) in COLUMNS.items()}}
    kept = table[list(COLUMNS)].astype({"flux_jy": float, "n_dates": int})
    arrow = pa.Table.from_pandas(kept, preserve_index=False)
    pq.write_table(
        arrow.replace_schema_metadata({b"contimg": json.dumps(text, allow_nan=False)}),
        path,
        compression="zstd",
        row_group_size=50_000,
    )


def read(path: Path, *, dec_deg: tuple[float, float] | None = None) -> pd.DataFrame:
    """Read the list, or what of it lies between two declinations."""
    limits = None if dec_deg is None else [("dec_deg", ">=", dec_deg[0]), ("dec_deg", "<=", dec_deg[1])]
    try:
        table = pq.read_table(path, filters=limits).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a list of sources ({error}); delete it and run again") from error
    missing = sorted(set(COLUMNS) - set(table))
    if missing:
        raise InputError(
            f"{path}: expected a list of sources, found none of {', '.join(missing)}; make it again"
        )
    return table
