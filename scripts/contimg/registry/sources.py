"""The sources that are measured, for the registry of products: the rows of `photometry/sources.parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contimg.core.errors import InputError
from contimg.core.names import SOURCE_LIST

COLUMNS = ["source_id", "ra_deg", "dec_deg", "flux_jy", "origin", "name", "n_dates"]


def read_sources(tree: Path) -> Iterator[tuple[Any, ...]]:
    """Rows of the list of sources of a products tree, columns `COLUMNS`; none where there is no list.

    Raises
    ------
    InputError
        The list cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tree / SOURCE_LIST
    if not path.is_file():
        return
    try:
        for batch in pq.ParquetFile(path).iter_batches(columns=COLUMNS):
            yield from zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a list of sources ({error}); delete it and run again") from error
