"""Sources that are in no list: found in the mosaics by QA's search, kept with what speaks for them, joined in time.

QA searches every mosaic with `contimg.sky.measure.find` and leaves `qa/{date}/{mosaic}.sources.parquet`. What is not
listed there joins the list once it was found, above `photometry.join_snr`, on `photometry.join_after` dates, in
mosaics that passed. A detection's reliability is that of its mosaic: one less the part of peaks that are false,
as its holes tell (`docs/qa.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy import sparse

from contimg.core.errors import InputError
from contimg.core.products import read_json

COLUMNS = ["date", "mosaic", "ra_deg", "dec_deg", "flux_jy", "snr", "reliability"]


@dataclass(frozen=True)
class Detections:
    """What a mosaic's search left: date, mosaic, and the file of its sources; the verdict is beside it."""

    date: str
    mosaic: str
    path: Path

    @classmethod
    def at(cls, path: Path) -> Detections:
        """Of `qa/{date}/{mosaic}.sources.parquet`."""
        return cls(path.parent.name, path.name.removesuffix(".sources.parquet"), path)

    def read(self, least_snr: float) -> pd.DataFrame:
        """Detections above a S/N, columns `COLUMNS`; none where the mosaic did not pass."""
        verdict = read_json(self.path.with_name(f"{self.mosaic}.json"))
        try:
            table = pq.ParquetFile(self.path).read().to_pandas()
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self.path}: expected a table of sources ({error}); delete it and its verdict and run again"
            ) from error
        if verdict["verdict"] != "pass" or table.empty:
            return pd.DataFrame(columns=COLUMNS)
        compact = ~table["flags"].str.contains("edge|moved|held", regex=True)
        chosen = table[(table["snr"] >= least_snr) & compact]
        reliability = verdict["gates"].get("reliability", {}).get("value")
        return chosen[["ra_deg", "dec_deg", "flux_jy", "snr"]].assign(
            date=self.date, mosaic=self.mosaic, reliability=np.nan if reliability is None else reliability
        )[COLUMNS]


def unlisted(
    found: Iterable[Detections], listed: pd.DataFrame, *, least_snr: float, same_arcsec: float
) -> pd.DataFrame:
    """Detections that no listed source is near to, of all mosaics, columns `COLUMNS`, in order of date."""
    kept = []
    places = None
    if len(listed):
        places = SkyCoord(listed["ra_deg"].to_numpy(), listed["dec_deg"].to_numpy(), unit="deg")
    for one in sorted(found, key=lambda d: (d.date, d.mosaic)):
        table = one.read(least_snr)
        if len(table) and places is not None:
            at = SkyCoord(table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy(), unit="deg")
            _, apart, _ = at.match_to_catalog_sky(places)
            table = table[apart > same_arcsec * u.arcsec]
        if len(table):
            kept.append(table)
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=COLUMNS)


def joined(detections: pd.DataFrame, *, after: int, same_arcsec: float) -> pd.DataFrame:
    """Sources that were found often enough, in the order in which they joined.

    Parameters
    ----------
    detections : DataFrame
        From `unlisted`.
    after : int
        On how many dates.
    same_arcsec : float
        Detections linked by less than this are one source.

    Returns
    -------
    DataFrame
        ``ra_deg, dec_deg`` (median of the first `after` dates' detections: later ones do not move it, nor its name),
        ``flux_jy`` (their median), ``n_dates``, ``snr, reliability`` (best), ``joined`` (date).
    """
    columns = ["ra_deg", "dec_deg", "flux_jy", "n_dates", "snr", "reliability", "joined"]
    rows = []
    for members in _linked(detections, same_arcsec):
        of_one = detections.iloc[members]
        dates = sorted(set(of_one["date"]))
        if len(dates) < after:
            continue
        first = of_one[of_one["date"] <= dates[after - 1]]
        # around the first of them: right ascensions on both sides of 0 have no median
        ra = first["ra_deg"].iloc[0] + np.median(
            np.mod(first["ra_deg"] - first["ra_deg"].iloc[0] + 180, 360) - 180
        )
        rows.append(
            (
                ra % 360.0,
                first["dec_deg"].median(),
                first["flux_jy"].median(),
                len(dates),
                of_one["snr"].max(),
                of_one["reliability"].max(),
                dates[after - 1],
            )
        )
    return pd.DataFrame(rows, columns=columns).sort_values(["joined", "dec_deg"], ignore_index=True)


def _linked(detections: pd.DataFrame, same_arcsec: float) -> Sequence[np.ndarray]:
    """Rows of detections that are the same source."""
    if detections.empty:
        return []
    at = SkyCoord(detections["ra_deg"].to_numpy(float), detections["dec_deg"].to_numpy(float), unit="deg")
    first, second, _, _ = search_around_sky(at, at, same_arcsec * u.arcsec)
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(at),) * 2)
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    groups: Sequence[np.ndarray] = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    return groups
