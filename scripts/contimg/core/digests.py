"""Fingerprints of inputs and products: whether a file is still what it was, without reading it again.

A fingerprint is the first 16 hex digits of a SHA-256 over a file's size, its first and last 64 KiB and 16 blocks
of 4 KiB spread evenly between: 0.2 MB of a raw file of 140 MB, so that convert still reads each raw byte once. It
tells another observation, a truncated or rewritten file and every other header apart; it is blind to a few
bytes that change in place between the blocks, which `whole` reads too (`contimg verify --whole`). Small files are read
in full. Times of change play no part: a copy has the fingerprint of its original.

Of casacore's files for arrays (`table.f0i`) the arrays count and not the bytes: between the arrays lies whatever was in
memory, so that two equal tables have different files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

EDGE = 64 * 1024
BLOCK = 4 * 1024
BLOCKS = 16
READ_IN_FULL = 2 * EDGE + BLOCKS * BLOCK
"""Up to this size (bytes) a fingerprint reads the whole file: it tells every change."""
_BESIDES = {
    "status.json",
    ".snakemake_timestamp",
}  # of a product, where it begins: what lies deeper is content
_LOCK = "table.lock"  # casacore touches its locks when it reads
_ARRAYS_OF_A_TABLE = re.compile(r"table\.f\d+i")


def _contents(folder: Path) -> Iterator[Path]:
    """Files below a directory that are its content, in order."""
    for entry in sorted(folder.rglob("*")):
        besides = entry.name == _LOCK or (entry.parent == folder and entry.name in _BESIDES)
        if entry.is_file() and not besides:
            yield entry


def fingerprint(path: Path) -> str | None:
    """Fingerprint of a file, or of all files below a directory with their names; None if there is nothing.

    A directory's `status.json`, Snakemake's time stamp and casacore's locks are no content.
    """
    if path.is_dir():
        total = hashlib.sha256()
        for entry in _contents(path):
            mark = _of_arrays(entry) if _ARRAYS_OF_A_TABLE.fullmatch(entry.name) else _of_file(entry)
            total.update(f"{entry.relative_to(path).as_posix()} {mark}\n".encode())
        return total.hexdigest()[:16]
    return _of_file(path) if path.is_file() else None


def _of_file(path: Path) -> str:
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        if size <= READ_IN_FULL:
            total.update(stream.read())
        else:
            total.update(stream.read(EDGE))
            for number in range(BLOCKS):
                stream.seek(EDGE + (size - 2 * EDGE - BLOCK) * number // (BLOCKS - 1))
                total.update(stream.read(BLOCK))
            stream.seek(size - EDGE)
            total.update(stream.read())
    return total.hexdigest()[:16]


def _of_arrays(path: Path) -> str:
    """Fingerprint of the arrays in a casacore file, by its table; of its bytes where that is no table any more."""
    import numpy as np
    from casacore import tables

    total = hashlib.sha256()
    try:
        with tables.table(str(path.parent), ack=False, lockoptions="usernoread") as table:
            for column in sorted(name for name in table.colnames() if table.isvarcol(name)):
                for row in range(table.nrows()):
                    cell = table.getcell(column, row) if table.iscelldefined(column, row) else None
                    array = np.asarray(cell)
                    values = repr(cell).encode() if array.dtype.kind in "OU" else array.tobytes()
                    total.update(f"{column} {row} {array.dtype} {array.shape} ".encode() + values)
    except RuntimeError:
        return _of_file(path)
    return total.hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def whole(path: Path) -> str:
    """SHA-256 of every byte below a directory, with the files' names; of what a fingerprint counts as content.

    Casacore's files for arrays are left to the fingerprint, which reads all their values.
    """
    total = hashlib.sha256()
    for entry in _contents(path):
        if not _ARRAYS_OF_A_TABLE.fullmatch(entry.name):
            total.update(f"{entry.relative_to(path).as_posix()} {sha256(entry)}\n".encode())
    return total.hexdigest()


def fingerprints(paths: Iterable[str]) -> dict[str, str]:
    """Fingerprint of each path that is there, as they are written."""
    found = {path: fingerprint(Path(path)) for path in dict.fromkeys(paths)}
    return {path: mark for path, mark in found.items() if mark is not None}
