"""Rows in order of night to rows in order of source, in little memory: an external sort.

Runs of a million rows are sorted by source and written to scratch as Arrow files, one record batch for each block of
sources; a block is then read from all runs.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

RUN_ROWS = 1_000_000
BLOCK_ROWS = 250_000
"""Rows of a block, about."""


def block_edges(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Split sources into blocks of some 250,000 rows: first source of each block, and one past the last.

    Parameters
    ----------
    rows : array (n_sources,) of int
        Rows of each source.
    """
    if not len(rows):
        return np.zeros(1, dtype=np.int64)
    before = np.cumsum(rows) - rows
    begins = np.flatnonzero(np.diff(before // BLOCK_ROWS, prepend=-1))
    return np.append(begins, len(rows)).astype(np.int64)


class Spill:
    """Tables with columns `code` (int32, the source's number) and `mjd`, sorted into blocks of sources.

    Parameters
    ----------
    folder : Path
        Where the runs are written; the caller removes it.
    edges : array (n_blocks + 1,) of int
        From `block_edges`.
    """

    def __init__(self, folder: Path, edges: npt.NDArray[np.int64]) -> None:
        self.folder, self.edges = folder, edges
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._runs: list[Path] = []

    def add(self, table: pa.Table) -> None:
        """Add rows."""
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= RUN_ROWS:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        self._waiting, self._rows = [], 0
        code = table["code"].to_numpy()
        order = np.argsort(code, kind="stable")
        bounds = np.searchsorted(code[order], self.edges)
        nothing = table.to_batches()[0].slice(0, 0)  # with the run's dictionaries, which a file holds once
        path = self.folder / f"run{len(self._runs):05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for first, last in pairwise(bounds):
                piece = table.take(pa.array(order[first:last])).combine_chunks()
                writer.write_batch((piece.to_batches() or [nothing])[0])
        self._runs.append(path)

    def finish(self) -> None:
        """Write what still waits."""
        if self._waiting:
            self._flush()

    def read(self, block: int) -> pa.Table:
        """The rows of a block, sorted by source and time."""
        table = pa.concat_tables(map(_read, self._runs, [block] * len(self._runs)))
        table = table.unify_dictionaries().combine_chunks()
        order = np.lexsort((table["mjd"].to_numpy(), table["code"].to_numpy()))
        return table.take(pa.array(order)).combine_chunks()


def _read(run: Path, block: int) -> pa.Table:
    """A block of a run: read, not mapped, so that memory holds no more than the block."""
    with pa.OSFile(str(run)) as file:
        return pa.Table.from_batches([pa.ipc.open_file(file).get_batch(block)])
