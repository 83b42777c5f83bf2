"""One part of the light curves: photometry tables read once, solved for their scale, sorted by source, written."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contimg.core.angles import wrap_deg
from contimg.photometry import table as photometry
from contimg.photometry.table import UNRELIABLE
from contimg.variability import curves, ensemble, error_model, nights, scale
from contimg.variability.ensemble import Ensemble, Known, Rows
from contimg.variability.ensemble_kernels import Floats, Ints
from contimg.variability.options import VariabilityOptions
from contimg.variability.scale import ErrorModel, Normalised, Points, Units
from contimg.variability.solution import Solution
from contimg.variability.spill import Spill, block_edges

log = logging.getLogger(__name__)

_SAMPLE_ROWS = 500_000
"""Rows of sources that are no reference that the error model is fitted to, about."""
_OF_SOURCE = ("source_id", "ra_deg", "dec_deg")
_SPILLED = [column.name for column in photometry.COLUMNS if column.name not in (*_OF_SOURCE, "mosaic")]
_MEASURED = ("code", "table", "mjd", "flux_jy", "flux_err_jy", "stat_err_jy", "beam_distance_deg", "flags")


@dataclass(frozen=True)
class Part:
    """What a part came to.

    Attributes
    ----------
    index : list of DataFrame
        What the index of the table says of its files.
    epochs : DataFrame
        One row a photometry table: what it is and how it was normalised.
    solution : Solution
        The scale that it is on.
    """

    index: list[pd.DataFrame]
    epochs: pd.DataFrame
    solution: Solution


@dataclass(frozen=True)
class _Field:
    """What rows are seen against: tables, sources and pointings, by their numbers."""

    survey: nights.Survey
    pointings: Floats
    reference: Ints  # (n_sources,): number of each source as a reference, -1: none
    known: Solution | None

    def points(self, rows: dict[str, npt.NDArray[Any]]) -> Points:
        """Rows that are sorted by source and time as light curves."""
        code, mosaic = rows["code"].astype(np.int64), rows["table"].astype(np.int64)
        codes, begins = np.unique(code, return_index=True)
        sources, tables = self.survey.sources, self.survey.tables
        ra, dec = (sources[name].to_numpy()[code] for name in ("ra_deg", "dec_deg"))
        place = {
            name: tables[name].to_numpy()[mosaic]
            for name in ("ra_deg", "dec_deg", "half_ra_deg", "half_dec_deg")
        }
        strips = pd.Index(self.pointings).get_indexer(pd.Index(tables["pointing_dec_deg"]))
        level = np.full(len(codes), np.nan)
        if self.known is not None:
            level = self.known.level_of(self.ids(codes))
        return Points(
            starts=np.append(begins, len(code)).astype(np.int64),
            reference=self.reference[codes],
            ra_deg=sources["ra_deg"].to_numpy()[codes],
            known_flux=level,
            mosaic=mosaic,
            pointing=strips.astype(np.int64)[mosaic],
            x=wrap_deg(ra - place["ra_deg"]) / place["half_ra_deg"],
            y=(dec - place["dec_deg"]) / place["half_dec_deg"],
            mjd=rows["mjd"],
            flux=rows["flux_jy"].astype(float),
            flux_err=rows["flux_err_jy"].astype(float),
            noise=rows["stat_err_jy"].astype(float),
            distance_deg=rows["beam_distance_deg"].astype(float),
            flags=rows["flags"].astype(np.int64),
        )

    def ids(self, codes: Ints) -> npt.NDArray[np.str_]:
        """Names of sources."""
        return self.survey.sources["source_id"].to_numpy(dtype=str)[codes]

    def units(self, codes: Ints) -> Units | None:
        """What earlier nights know of sources."""
        return None if self.known is None else self.known.units_of(self.ids(codes), self.pointings)


def make(
    tree: Path,
    paths: Sequence[str],
    folder: Path,
    options: VariabilityOptions,
    *,
    known: Solution | None = None,
    recent: bool = False,
    scratch: Path,
    threads: int = 1,
) -> Part:
    """Make a part of the light curves.

    Parameters
    ----------
    tree : Path
        The products tree.
    paths : sequence of str
        Photometry tables, relative to it.
    folder : Path
        Of the light curves: files are added to it.
    options : VariabilityOptions
    known : Solution, optional
        The scale of earlier nights, on which these are put; without it they make their own.
    recent : bool
        Write one file, `recent.parquet`; otherwise `base-*.parquet`, as many as it takes.
    scratch : Path
        Where rows are sorted.
    threads : int
        Threads to keep busy.

    Returns
    -------
    Part
    """
    with ThreadPoolExecutor(threads) as pool, tempfile.TemporaryDirectory(dir=scratch) as room:
        survey = nights.survey(tree, paths, pool)
        log.info("%d tables, %d sources", len(paths), len(survey.sources))
        field = _field(survey, options, known)
        n_sources = len(survey.sources)
        edges = np.array([0, n_sources]) if recent else block_edges(survey.sources["rows"].to_numpy())
        spill = Spill(Path(room), edges)
        points = field.points(_read(tree, field, spill, pool))
        solved = _solve(points, field, options, threads)
        if known is None:
            codes = np.flatnonzero(_sampled(field))
            model = _error_model(points, solved, field, codes)
        else:
            model = known.model
        log.info("scale: %d of %d mosaics normalised", int(solved.good.sum()), len(paths))

        def one(block: int) -> tuple[pd.DataFrame, Units, Floats]:
            name = curves.RECENT if recent else f"base-{block:04d}.parquet"
            return _write(spill.read(block), folder / name, field, solved, model)

        done = list(pool.map(one, range(len(edges) - 1))) if n_sources else []
    none = np.zeros((0, len(field.pointings)))
    units = Units(
        *(
            np.concatenate([none, *(getattr(unit, item.name) for _, unit, _ in done)])
            for item in fields(Units)
        )
    )
    made = Solution(
        source_ids=field.ids(np.arange(n_sources)),
        level=np.concatenate([np.zeros(0), *(level for _, _, level in done)]),
        pointings=field.pointings,
        units=units,
        reference=np.flatnonzero(field.reference >= 0).astype(np.int64),
        known=Known(**{item.name: getattr(solved, item.name) for item in fields(Known)}),
        model=model,
    )
    return Part([index for index, _, _ in done], _epochs(survey.tables, solved), made)


def _field(survey: nights.Survey, options: VariabilityOptions, known: Solution | None) -> _Field:
    """Pointings and references: those of the earlier nights go on, and a strip that is new brings its own."""
    strips = sorted(set(survey.tables["pointing_dec_deg"].dropna()))
    pointings = np.array(strips or [0.0])
    chosen = nights.references(survey.sources, options.reference_snr, options.max_references)
    if known is not None:
        pointings = np.array([*known.pointings, *(dec for dec in strips if dec not in set(known.pointings))])
        ids = survey.sources["source_id"].to_numpy(dtype=str)
        chosen = chosen & ~np.isin(ids, known.source_ids)
        chosen |= np.isin(ids, known.source_ids[known.reference])
    reference = np.full(len(survey.sources), -1, dtype=np.int64)
    reference[chosen] = np.arange(int(chosen.sum()))
    return _Field(survey, pointings, reference, known)


def _sampled(field: _Field) -> npt.NDArray[np.bool_]:
    """Sources whose rows are held in memory: the references, and of the others as many as the errors need."""
    rows = field.survey.sources["rows"].to_numpy()
    others = field.reference < 0
    every = int(np.ceil(max(rows[others].sum() / _SAMPLE_ROWS, 1.0)))
    chosen: npt.NDArray[np.bool_] = ~others | (np.arange(len(rows)) % every == 0)
    return chosen


def _read(tree: Path, field: _Field, spill: Spill, pool: Executor) -> dict[str, npt.NDArray[Any]]:
    """Read every table into the sort; gives the sampled rows, sorted by source and time."""
    ids = pa.array(field.survey.sources["source_id"].to_list(), pa.string())
    sampled = pa.array(_sampled(field))
    columns = ["source_id", *_SPILLED]

    def read(number: int) -> tuple[pa.Table, pa.Table]:
        path = tree / field.survey.tables["path"].iloc[number]
        table = pq.ParquetFile(path).read(columns=columns, use_threads=False)
        code = pc.index_in(table["source_id"].combine_chunks(), ids).cast(pa.int32())
        table = table.drop_columns("source_id").append_column("code", code)
        table = table.append_column("table", pa.array(np.full(len(table), number, dtype=np.int32)))
        return table, table.filter(sampled.take(code)).select(list(_MEASURED))

    kept = []
    with_rows = np.flatnonzero(field.survey.tables["rows"].to_numpy() > 0)
    for table, some in _ahead(pool, read, with_rows):
        spill.add(table)
        kept.append(some)
    spill.finish()
    table = pa.concat_tables(kept) if kept else None
    if table is None:
        return {name: np.zeros(0) for name in _MEASURED}
    order = np.lexsort((table["mjd"].to_numpy(), table["code"].to_numpy()))
    return {name: table[name].to_numpy()[order] for name in _MEASURED}


def _ahead(pool: Executor, read: Any, numbers: Sequence[int] | Ints) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Results in order, a few tables ahead of their use and no more."""
    waiting = []
    for number in numbers:
        waiting.append(pool.submit(read, int(number)))
        if len(waiting) > 8:
            yield waiting.pop(0).result()
    for one in waiting:
        yield one.result()


def _solve(points: Points, field: _Field, options: VariabilityOptions, threads: int) -> Ensemble:
    """Zero points of all mosaics."""
    reference = np.repeat(points.reference, np.diff(points.starts))
    clean = ((points.flags & int(UNRELIABLE)) == 0) & (reference >= 0)
    clean &= np.isfinite(points.flux) & (points.noise > 0)
    use = np.flatnonzero(clean)
    use = use[np.argsort(points.mosaic[use], kind="stable")]
    rows = Rows(
        mosaic=points.mosaic[use],
        source=reference[use],
        pointing=points.pointing[use],
        x=points.x[use],
        y=points.y[use],
        flux=points.flux[use],
        noise=points.noise[use],
        n_mosaics=len(field.survey.tables),
        n_sources=int((field.reference >= 0).sum()),
        n_pointings=len(field.pointings),
    )
    known = None
    if field.known is not None:
        known = field.known.known_of(field.ids(np.flatnonzero(field.reference >= 0)), field.pointings)
    return ensemble.solve(rows, options, known, threads=threads)


def _error_model(points: Points, solved: Ensemble, field: _Field, codes: Ints) -> ErrorModel:
    """The model of the errors, from the sampled rows; twice, since offsets follow from errors too."""
    model = ErrorModel(residual=0.005)
    for _ in range(2):
        model = error_model.fit(points, scale.normalise(points, solved, model, field.units(codes)))
    return model


def _write(
    table: pa.Table, path: Path, field: _Field, solved: Ensemble, model: ErrorModel
) -> tuple[pd.DataFrame, Units, Floats]:
    """Write the light curves of a block of sources; gives its index, and what was learned of the sources."""
    rows = {name: table[name].to_numpy() for name in _MEASURED}
    codes = np.unique(rows["code"])
    points = field.points(rows)
    result = scale.normalise(points, solved, model, field.units(codes))
    index = curves.write_part(path, curves.block_of(_complete(table, codes, result, field.survey)))
    units = Units(result.unit_value, result.unit_weight, result.offset, result.offset_var)
    return index, units, scale.medians(points.starts, result.flux, result.used)


def _complete(table: pa.Table, codes: Ints, result: Normalised, survey: nights.Survey) -> pa.Table:
    """The rows with every column of a light curve."""
    code = table["code"].to_numpy()
    number = table["table"].to_numpy()
    own = survey.sources.iloc[codes]
    place = np.searchsorted(codes, code).astype(np.int32)
    columns = {name: table[name] for name in _SPILLED}
    columns["source_id"] = _named(place, own["source_id"].to_list())
    columns["ra_deg"] = pa.array(own["ra_deg"].to_numpy()[place])
    columns["dec_deg"] = pa.array(own["dec_deg"].to_numpy()[place])
    there, seen = np.unique(number, return_inverse=True)
    for name in ("mosaic", "software", "catalog_digest"):
        values, which = np.unique(survey.tables[name].to_numpy(dtype=str)[there], return_inverse=True)
        columns[name] = _named(which[seen].astype(np.int32), values.tolist())
    added = {
        "epoch": result.epoch.astype(np.int32),
        "flux_norm": result.flux.astype(np.float32),
        "flux_norm_err": result.error.astype(np.float32),
        "zero_point": result.zero_point.astype(np.float32),
        "zero_point_err": result.zero_point_err.astype(np.float32),
        "normalised": result.normalised,
        "used": result.used,
    }
    columns |= {name: pa.array(values) for name, values in added.items()}
    return pa.table({name: columns[name] for name in curves.NAMES})


def _named(codes: npt.NDArray[np.int32], values: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values, pa.string()))


def _epochs(tables: pd.DataFrame, solved: Ensemble) -> pd.DataFrame:
    """What became of each photometry table."""
    middle = solved.c[:, 0]
    error = np.sqrt(solved.cov[:, 0, 0])
    rejected = tables["reason"].to_numpy(dtype=str)
    reasons = [first or second for first, second in zip(rejected, solved.reasons, strict=True)]
    return tables[
        ["path", "date", "mosaic", "mjd", "rows", "pointing_dec_deg", "software", "catalog_digest", "gates"]
    ].assign(
        zero_point=np.where(solved.good, middle, np.nan),
        zero_point_err=np.where(solved.good, error, np.nan),
        slope_ra=np.where(solved.good, solved.c[:, 1], np.nan),
        slope_dec=np.where(solved.good, solved.c[:, 2], np.nan),
        n_references=solved.n_used,
        scatter=solved.scatter,
        normalised=solved.good,
        reason=reasons,
    )
