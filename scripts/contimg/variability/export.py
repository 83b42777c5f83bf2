"""Light curves and measures in the formats of other tools: VOTable, CSV, Parquet, FITS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.core.errors import InputError
from contimg.core.products import building
from contimg.variability import curves

FORMATS = {".vot": "votable", ".xml": "votable", ".csv": "csv", ".parquet": "parquet", ".fits": "fits"}


def export(pieces: Iterator[pd.DataFrame], path: Path, units: dict[str, tuple[str, str]]) -> int:
    """Write tables, one after the other, as one file; gives the number of rows.

    CSV and Parquet are written piece by piece; VOTable and FITS are held in memory.

    Parameters
    ----------
    pieces : iterator of DataFrame
        With the same columns.
    path : Path
        Its ending says which format (`FORMATS`).
    units : dict
        Unit and meaning of the columns.

    Raises
    ------
    InputError
        The ending is none of these.
    """
    kind = FORMATS.get(path.suffix)
    if kind is None:
        raise InputError(f"{path}: found the ending {path.suffix!r}; write one of {', '.join(FORMATS)}")
    with building(path.absolute()) as part:
        if kind == "csv":
            return _csv(pieces, part)
        if kind == "parquet":
            return _parquet(pieces, part)
        return _astropy(pd.concat(pieces, ignore_index=True), part, kind, units)


def _csv(pieces: Iterator[pd.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("w", newline="") as file:
        for piece in pieces:
            piece.to_csv(file, index=False, header=rows == 0)
            rows += len(piece)
    return rows


def _parquet(pieces: Iterator[pd.DataFrame], path: Path) -> int:
    rows, writer = 0, None
    for piece in pieces:
        table = pa.Table.from_pandas(piece, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
        rows += len(piece)
    if writer is not None:
        writer.close()
    return rows


def _astropy(frame: pd.DataFrame, path: Path, kind: str, units: dict[str, tuple[str, str]]) -> int:
    from astropy.table import Table

    table = Table()
    for name in frame.columns:
        values = frame[name]
        if isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
            some = values.iloc[0] if len(values) else ""
            table[name] = (
                np.stack(list(values)) if isinstance(some, np.ndarray) else values.astype(str).to_numpy(str)
            )
        else:
            table[name] = values.to_numpy()
        unit, text = units.get(name, ("", ""))
        if unit in ("deg", "d", "Jy", "arcsec", "Hz", "h"):
            table[name].unit = unit
        table[name].description = text
    table.write(path, format=kind, overwrite=True)
    return len(table)


def of_curves(folder: Path, source_ids: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Light curves of some sources, or of all."""
    if source_ids:
        yield from (curves.read_source(folder, name) for name in source_ids)
    else:
        yield from (block.frame() for block in curves.read_blocks(folder))
