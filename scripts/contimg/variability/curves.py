"""The table of light curves: its columns, how it is written, and how one source, or all, are read fast.

`variability/lightcurves.parquet` is a folder of Parquet files, which pandas, pyarrow, DuckDB and Spark read as one
table. Its parts `base-*.parquet` hold all nights but the last few, each part some sources, and change about once a
month; `recent.parquet` holds the last nights of all sources. Each is sorted by source and time. A row group holds
whole sources, and `_index.parquet` says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contimg.core import tables
from contimg.core.errors import InputError
from contimg.photometry import table as photometry
from contimg.photometry.table import Column

INDEX = "_index.parquet"
RECENT = "recent.parquet"
GROUP_ROWS = 4096
"""Rows of a row group, about: as many whole sources as fit, at least one.

A read decodes one of them, 2 ms, and of a part that was not open yet the list of its groups, 3 ms; with 2048: 5 ms."""
_NAME = pa.dictionary(pa.int32(), pa.string())
_F32, _INT = pa.float32(), pa.int32()

ADDED: tuple[Column, ...] = (
    Column("epoch", _INT, "", "number of the source's transit in sidereal days since 2000-01-01; one a day"),
    Column("flux_norm", _F32, "Jy", "flux_jy over its zero point: all epochs on one scale"),
    Column("flux_norm_err", _F32, "Jy", "its full error: noise, zero point, what calibration leaves"),
    Column(
        "zero_point", _F32, "", "flux scale of the mosaic at the source and of the source in this pointing"
    ),
    Column("zero_point_err", _F32, "", "its error; the source itself has no part in its mosaic's zero point"),
    Column("normalised", pa.bool_(), "", "whether there is a zero point; if not, flux_norm is flux_jy"),
    Column(
        "used", pa.bool_(), "", "whether it counts in statistics: the best of its epoch, normalised, clean"
    ),
    Column("software", _NAME, "", "version of the pipeline that measured"),
    Column(
        "catalog_digest", _NAME, "", "digest of the list of sources that was measured, without its blind part"
    ),
)
COLUMNS: tuple[Column, ...] = (*photometry.COLUMNS, *ADDED)
NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
WORDS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.type in (_NAME, pa.string()))
"""Columns of text."""
# What repeats within a source or a mosaic: worth a dictionary in the file.
_REPEATED = [
    *WORDS,
    "ra_deg",
    "dec_deg",
    "neighbour_arcsec",
    "freq_hz",
    "pointing_dec_deg",
    "n_tiles",
    "n_vis_tiles",
]
_REPEATED += ["flags", "bmaj_arcsec", "bmin_arcsec", "bpa_deg"]
_INDEX_SCHEMA = pa.schema(
    [("source_id", pa.string()), ("part", pa.string()), ("group", _INT), ("start", _INT), ("rows", _INT)]
)


def schema() -> pa.Schema:
    """Schema of the table: each field with its unit and meaning."""
    return pa.schema(
        [
            pa.field(
                column.name,
                _NAME if column.name == "source_id" else column.type,
                metadata={"unit": column.unit, "description": column.text},
            )
            for column in COLUMNS
        ]
    )


@dataclass(frozen=True)
class Block:
    """Light curves of some sources, one after the other.

    Attributes
    ----------
    source_ids : list of str
        The sources, in order.
    starts : array (n_sources + 1,)
        Rows of source k are ``starts[k]:starts[k + 1]``.
    table : pyarrow.Table
        The rows, sorted by source and time.
    """

    source_ids: list[str]
    starts: npt.NDArray[np.int64]
    table: pa.Table

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column of numbers, shape (n_rows,)."""
        return self.table[name].to_numpy()

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        return to_frame(self.table)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Rows as a DataFrame, text as strings."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
    return table.to_pandas(ignore_metadata=True)


def block_of(table: pa.Table) -> Block:
    """Rows that are sorted by source as a block."""
    codes = table["source_id"].combine_chunks()
    if isinstance(codes, pa.ChunkedArray):  # no rows: no chunk
        codes = pa.array([], _NAME)
    if not pa.types.is_dictionary(codes.type):
        codes = codes.dictionary_encode()
    number = codes.indices.to_numpy(zero_copy_only=False)
    begins = np.flatnonzero(np.diff(number, prepend=-1)) if len(number) else np.zeros(0, dtype=np.int64)
    ids = codes.dictionary.take(pa.array(number[begins])).to_pylist()
    return Block(ids, np.append(begins, len(number)).astype(np.int64), table)


def write_part(path: Path, block: Block) -> pd.DataFrame:
    """Write a part: rows sorted by source and time, row groups of whole sources.

    Parameters
    ----------
    path : Path
        The file.
    block : Block
        Its rows, with every column of `COLUMNS`.

    Returns
    -------
    DataFrame
        What the index says of it: source_id, part, group, start (row within the group), rows.
    """
    table = block.table.select(list(NAMES)).cast(schema())
    groups = _groups(block.starts)
    rows = []
    with pq.ParquetWriter(
        path, table.schema, compression="lz4", use_dictionary=_REPEATED, write_statistics=["source_id", "mjd"]
    ) as writer:
        for number, (first, last) in enumerate(groups):
            begin, end = int(block.starts[first]), int(block.starts[last])
            group = _own_words(table.slice(begin, end - begin))
            writer.write_table(group, row_group_size=max(end - begin, 1))
            rows += [
                (block.source_ids[k], path.name, number, int(block.starts[k]) - begin, int(n))
                for k, n in enumerate(np.diff(block.starts[first : last + 1]), start=first)
            ]
    return pd.DataFrame(rows, columns=_INDEX_SCHEMA.names)


def _own_words(table: pa.Table) -> pa.Table:
    """The same rows, each column of text with the words alone that occur in them.

    A row group holds the dictionary of a column whole: that of ten years of nights would be read with every source.
    """
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if not pa.types.is_dictionary(field.type) or column.null_count or not len(column):
            continue
        words = column.unify_dictionaries().combine_chunks()
        codes = words.indices.to_numpy()
        there = np.zeros(len(words.dictionary), dtype=bool)
        there[codes] = True
        number = (np.cumsum(there) - 1).astype(np.int32)
        own = pa.DictionaryArray.from_arrays(
            pa.array(number[codes]), words.dictionary.take(pa.array(np.flatnonzero(there)))
        )
        table = table.set_column(place, field, own)
    return table


def _groups(starts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Split sources into row groups: first and one past the last source of each."""
    found, first = [], 0
    for last in range(1, len(starts)):
        if last + 1 == len(starts) or starts[last + 1] - starts[first] > GROUP_ROWS:
            found.append((first, last))
            first = last
    return found


def write_index(folder: Path, parts: Sequence[pd.DataFrame]) -> None:
    """Write the index of a folder from what `write_part` gave of each part."""
    known = [part for part in parts if len(part)]
    index = pd.concat(known) if known else pd.DataFrame(columns=_INDEX_SCHEMA.names)
    index = index.sort_values(["source_id", "part"], ignore_index=True)
    pq.write_table(pa.Table.from_pandas(index, schema=_INDEX_SCHEMA, preserve_index=False), folder / INDEX)


def empty() -> pd.DataFrame:
    """Light curves without rows."""
    return to_frame(schema().empty_table())


def write(folder: Path, frame: pd.DataFrame) -> None:
    """Write light curves that fit into memory: a folder that is not there yet, with one part.

    Raises
    ------
    InputError
        A column is missing or one too many.
    """
    tables.require(folder, frame, NAMES, "the columns of light curves")
    folder.mkdir(parents=True)
    ordered = frame.sort_values(["source_id", "mjd"], ignore_index=True)[list(NAMES)]
    table = pa.Table.from_pandas(ordered, schema=schema(), preserve_index=False, safe=False)
    write_index(folder, [write_part(folder / "base-0000.parquet", block_of(table))])


Place = tuple[str, int, int, int]


@lru_cache(maxsize=4)
def _index(folder: str, version: tuple[int, int]) -> Mapping[str, list[Place]]:
    table = pq.read_table(Path(folder, INDEX)).to_pydict()
    found: dict[str, list[Place]] = {}
    for name, *place in zip(*(table[column] for column in _INDEX_SCHEMA.names), strict=True):
        found.setdefault(name, []).append(tuple(place))
    return found


@lru_cache(maxsize=64)
def _open(path: str, version: tuple[int, int]) -> pq.ParquetFile:
    return pq.ParquetFile(path, memory_map=True)


def _version(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(
            f"{path.parent}: expected light curves ({error.strerror}); make them: snakemake lightcurves"
        ) from error
    return state.st_ino, state.st_mtime_ns


def index(folder: Path) -> Mapping[str, list[Place]]:
    """Where each source lies: part, row group, first row in it and number of rows, oldest part first."""
    return _index(str(folder), _version(folder / INDEX))


def read_source(folder: Path, source_id: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the light curve of one source; see `read_rows`."""
    return to_frame(read_rows(folder, source_id, columns))


def read_rows(folder: Path, source_id: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of one source.

    Parameters
    ----------
    folder : Path
        `variability/lightcurves.parquet`.
    source_id : str
        Its name.
    columns : sequence of str, optional
        Which columns; all by default.

    Returns
    -------
    pyarrow.Table
        One row a measurement, in order of time; no rows for a source that was never measured.

    Raises
    ------
    InputError
        There are no light curves, or no such column.
    """
    wanted = list(NAMES if columns is None else columns)
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        raise InputError(f"{folder}: no column {', '.join(unknown)}; there are {', '.join(NAMES)}")
    pieces = []
    for part, group, start, rows in index(folder).get(source_id, ()):
        path = folder / part
        piece = _open(str(path), _version(path)).read_row_group(group, columns=wanted, use_threads=False)
        pieces.append(piece.slice(start, rows))
    if not pieces:
        return schema().empty_table().select(wanted)
    return pa.concat_tables([piece.select(wanted) for piece in pieces], promote_options="permissive")


def parts(folder: Path) -> list[Path]:
    """The parts of the table but for the recent one, in order of source."""
    return sorted(folder.glob("base-*.parquet"))


def read_blocks(folder: Path, columns: Sequence[str] | None = None) -> Iterator[Block]:
    """Read all light curves, some sources at a time, every source whole.

    Parameters
    ----------
    folder : Path
        `variability/lightcurves.parquet`.
    columns : sequence of str, optional
        Which columns, `source_id` and `mjd` among them in any case; all by default.

    Yields
    ------
    Block
        At most some 300,000 rows.
    """
    _version(folder / INDEX)
    asked = {"source_id", "mjd", *(NAMES if columns is None else columns)}
    wanted = [name for name in NAMES if name in asked]
    recent = None
    if (folder / RECENT).is_file():
        recent = pq.read_table(folder / RECENT, columns=wanted)
    seen: list[str] = []
    for path in parts(folder):
        base = pq.ParquetFile(path).read(columns=wanted)
        if recent is None or not len(recent):
            yield block_of(base.unify_dictionaries())
            continue
        mine = base["source_id"].unique().cast(pa.string())
        seen += mine.to_pylist()
        rows = recent.filter(pc.is_in(recent["source_id"].cast(pa.string()), value_set=mine))
        yield merged(base, rows)
    if recent is not None:
        rest = recent.filter(
            pc.invert(pc.is_in(recent["source_id"].cast(pa.string()), value_set=pa.array(seen, pa.string())))
        )
        if len(rest):
            yield block_of(rest.unify_dictionaries())


def merged(base: pa.Table, recent: pa.Table) -> Block:
    """Two tables sorted by source and time as one block, sorted."""
    both = (
        pa.concat_tables([base, recent], promote_options="permissive").unify_dictionaries().combine_chunks()
    )
    names = both["source_id"].cast(pa.string())
    order = pc.sort_indices(
        pa.table({"source_id": names, "mjd": both["mjd"]}),
        sort_keys=[("source_id", "ascending"), ("mjd", "ascending")],
    )
    return block_of(both.take(order))
