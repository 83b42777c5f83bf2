"""What the photometry tables hold that light curves are made from: read once, before anything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contimg.core import names
from contimg.core.angles import wrap_deg
from contimg.photometry import table as photometry

_SURVEYED = ["source_id", "ra_deg", "dec_deg", "mjd", "snr", "flags", "pointing_dec_deg"]
_LEAST_EXTENT_DEG = 0.1


@dataclass(frozen=True)
class Survey:
    """What some photometry tables hold.

    Attributes
    ----------
    tables : DataFrame
        One row a table, in the order given: path, date, mosaic ("{date}/{mosaic}"), reason ("" if it is not rejected),
        mjd (mean), rows, pointing_dec_deg (of the strip), ra_deg, dec_deg, half_ra_deg, half_dec_deg (middle of its
        sources and how far they lie from it), software, catalog_digest, gates (JSON: value and verdict by name).
    sources : DataFrame
        One row a source, in order of name: source_id, ra_deg, dec_deg, rows, clean (fraction of the rows), snr (mean
        of the clean ones).
    """

    tables: pd.DataFrame
    sources: pd.DataFrame


@dataclass(frozen=True)
class _Seen:
    """One table's part of the survey."""

    row: dict[str, object]
    ids: pa.Array
    numbers: dict[str, npt.NDArray[np.float64]]


def _read(tree: Path, path: str) -> _Seen:
    about = photometry.about(tree / path)
    read = pq.ParquetFile(tree / path).read(columns=_SURVEYED, use_threads=False)
    numbers = {name: read[name].to_numpy().astype(float) for name in _SURVEYED[1:]}
    ra, dec = numbers["ra_deg"], numbers["dec_deg"]
    some = len(ra) > 0
    turn = wrap_deg(ra - ra[0]) if some else ra
    row: dict[str, object] = {
        "path": path,
        "date": path.split("/")[1],
        "mosaic": path.removeprefix("photometry/").removesuffix(".parquet"),
        "reason": about.get("reason") or ("" if some else "no source of the list is in it"),
        "mjd": float(np.mean(numbers["mjd"])) if some else np.nan,
        "rows": len(ra),
        "pointing_dec_deg": names.strip_dec(float(np.median(numbers["pointing_dec_deg"])))
        if some
        else np.nan,
        "ra_deg": float(ra[0] + (turn.min() + turn.max()) / 2.0) % 360.0 if some else np.nan,
        "dec_deg": float((dec.min() + dec.max()) / 2.0) if some else np.nan,
        "half_ra_deg": max(float(np.ptp(turn)) / 2.0, _LEAST_EXTENT_DEG) if some else np.nan,
        "half_dec_deg": max(float(np.ptp(dec)) / 2.0, _LEAST_EXTENT_DEG) if some else np.nan,
        "software": software(about.get("versions", {})),
        "catalog_digest": about.get("catalog_digest", ""),
        "gates": json.dumps(about.get("gates", {})),
    }
    return _Seen(row, read["source_id"].combine_chunks(), numbers)


def software(versions: dict[str, str]) -> str:
    """The pipeline's version and commit, in short."""
    return "+".join(part for part in (versions.get("contimg", ""), versions.get("commit", "")[:9]) if part)


def survey(tree: Path, paths: Sequence[str], pool: Executor) -> Survey:
    """Read what tables hold.

    Raises
    ------
    InputError
        A table cannot be read.
    """
    rows = []
    known = pa.array([], pa.string())
    sums = np.zeros((0, 5))  # right ascension, declination, rows, clean rows, sum of snr
    for seen in pool.map(lambda path: _read(tree, path), paths):
        rows.append(seen.row)
        if not seen.row["rows"]:
            continue
        place = pc.index_in(seen.ids, known)
        if place.null_count:
            new = pc.unique(seen.ids.filter(pc.is_null(place)))
            known = pa.concat_arrays([known, new])
            sums = np.concatenate([sums, np.zeros((len(new), 5))])
            place = pc.index_in(seen.ids, known)
        at = place.to_numpy()
        clean = (seen.numbers["flags"].astype(int) & int(photometry.UNRELIABLE)) == 0
        clean &= np.isfinite(seen.numbers["snr"])
        sums[at, 0], sums[at, 1] = seen.numbers["ra_deg"], seen.numbers["dec_deg"]
        sums[at, 2] += 1.0
        sums[at, 3] += clean
        sums[at, 4] += np.where(clean, seen.numbers["snr"], 0.0)
    sources = pd.DataFrame(
        {
            "source_id": known.to_pylist(),
            "ra_deg": sums[:, 0],
            "dec_deg": sums[:, 1],
            "rows": sums[:, 2].astype(np.int64),
            "clean": sums[:, 3] / np.maximum(sums[:, 2], 1.0),
            "snr": sums[:, 4] / np.maximum(sums[:, 3], 1.0),
        }
    )
    columns = list(rows[0]) if rows else []
    return Survey(pd.DataFrame(rows, columns=columns), sources.sort_values("source_id", ignore_index=True))


def references(
    sources: pd.DataFrame, snr: float, most: int, most_rows: int = 2_500_000
) -> npt.NDArray[np.bool_]:
    """Which sources set the scale: bright, mostly clean, at most so many in each piece of sky.

    Parameters
    ----------
    sources : DataFrame
        See `Survey`.
    snr : float
        Least mean signal to noise.
    most : int
        In half an hour of right ascension and 3° of declination: the brightest, counted in epochs too.
    most_rows : int
        With more measurements than this in all, fewer are taken in each piece, 10 at least: they are held in memory.
    """
    fit = (sources["snr"] >= snr) & (sources["clean"] >= 0.5)
    piece = np.floor(sources["ra_deg"] / 7.5).astype(int) * 100 + np.floor(sources["dec_deg"] / 3.0).astype(
        int
    )
    worth = (sources["snr"] * np.sqrt(sources["rows"])).where(fit, -1.0)
    rank = worth.groupby(piece).rank(ascending=False, method="first")
    by_rank = sources["rows"].where(fit, 0).groupby(rank).sum().cumsum()
    most = min(most, max(int((by_rank <= most_rows).sum()), 10))
    chosen: npt.NDArray[np.bool_] = (fit & (rank <= most)).to_numpy()
    return chosen
