"""Tables that explain themselves: parquet files whose schema says what each column is, and what all rows share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

KEY = b"contimg"
"""Under which a file's metadata have it, as JSON."""

Columns = Mapping[str, tuple[str, str]]
"""Unit ("" for none) and meaning of each column."""


def write(path: Path, frame: pd.DataFrame, columns: Columns, about: Mapping[str, Any] | None = None) -> None:
    """Write a table with the units and meanings of its columns.

    Parameters
    ----------
    path : Path
    frame : DataFrame
    columns : mapping
        Of all columns that the frame may have; those it has are described.
    about : mapping, optional
        What all rows share, such as their frequency; JSON-able.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame)
    described = {
        name: {"unit": unit, "description": what} for name, (unit, what) in columns.items() if name in frame
    }
    text = json.dumps({**(about or {}), "columns": described}, allow_nan=False)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: text}), path)


def require(path: Path, frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Check that a table has the columns that its file shall have, in any order, and no others.

    Raises
    ------
    InputError
        A column is missing or one too many; `what` says whose columns they are.
    """
    missing, extra = sorted(set(columns) - set(frame)), sorted(set(map(str, frame)) - set(columns))
    if missing or extra:
        raise InputError(
            f"{path}: expected {what}; missing {', '.join(missing) or 'none'}, unknown {', '.join(extra) or 'none'}"
        )


def about(path: Path) -> dict[str, Any]:
    """What a table says of itself; empty if it says nothing."""
    import pyarrow.parquet as pq

    text = (pq.read_schema(path).metadata or {}).get(KEY, b"{}")
    found: dict[str, Any] = json.loads(text)
    return found
