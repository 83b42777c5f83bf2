"""An HDF5 file of somebody else's: opened without a lock, and nothing of it read that was not looked at before.

A dataset is read only if it lies in the file itself (no external link or storage, no virtual dataset), if every filter
that its bytes went through is installed, and if what it declares to hold is not absurd. What h5py raises on bad
content becomes an `InputError` that says what is wrong.
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.core.errors import InputError

MAX_HEADER_BYTES = 1 << 28
"""A header's dataset that declares more is not read: rows of 24 integrations of 4656 baselines take 0.9 MB."""
FILTERS = {
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32026: "Blosc2",
}
"""HDF5's registered plugins that such files are met with."""
_TRANSIENT = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOENT}
"""Errors of the system rather than of the file's content: they may be gone at the next try."""


class TransientInputError(InputError):
    """The file could not be read for a reason that its content did not cause (permission, I/O, gone, no plugin)."""


def group_of(path: str, parent: Any, name: str) -> h5py.h5g.GroupID | None:
    """The group `name` of a file or group; None if there is none.

    Raises
    ------
    InputError
        It is a link into another file.
    """
    if name.encode() not in parent:
        return None
    _refuse_external(path, parent, name, name)
    return h5py.h5g.open(parent, name.encode())


def dataset_of(
    path: str, parent: h5py.h5g.GroupID, name: str, title: str, access: Any = None
) -> h5py.h5d.DatasetID:
    """The dataset `name` of a group, if it may be read.

    Parameters
    ----------
    path
        Of the file, for messages.
    parent, name
        Where it is.
    title
        What it is called in messages.
    access
        Properties to open it with.

    Raises
    ------
    InputError
        Its bytes are in another file.
    TransientInputError
        They are compressed with what is not installed here.
    """
    _refuse_external(path, parent, name, title)
    dataset = h5py.h5d.open(parent, name.encode(), access)
    plist = dataset.get_create_plist()
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and plist.get_external_count()):
        raise InputError(
            f"{path}: {title} is kept in another file, which is not followed; write one file that holds all"
        )
    for number in range(plist.get_nfilters()):
        code = plist.get_filter(number)[0]
        if not h5py.h5z.filter_avail(code):
            words = f" ({FILTERS[code]})" if code in FILTERS else ""
            raise TransientInputError(
                f"{path}: {title} is compressed with HDF5 filter {code}{words}, which is not installed here: the file "
                "may be whole; install that plugin and name its directory in HDF5_PLUGIN_PATH"
            )
    return dataset


def array_of(path: str, dataset: h5py.h5d.DatasetID, title: str) -> NDArray[Any]:
    """The whole of a header's dataset.

    Raises
    ------
    InputError
        It declares more than any header holds.
    """
    declared = math.prod(dataset.shape) * dataset.get_type().get_size()
    if declared > MAX_HEADER_BYTES:
        raise InputError(
            f"{path}: {title} declares {declared / 1e9:.3g} GB, more than any header holds "
            f"({MAX_HEADER_BYTES / 1e9:.3g} GB); leave the file out"
        )
    return np.asarray(h5py.Dataset(dataset)[()])


def element_of(dataset: h5py.h5d.DatasetID, index: int) -> float:
    """A scalar dataset's value, or element `index` along the first axis of an array (0 along the others)."""
    value = np.empty((), dtype=np.float64)
    if not dataset.shape:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, value)
        return float(value)
    start = (index % dataset.shape[0], *(0 for _ in dataset.shape[1:]))
    space = dataset.get_space()
    space.select_hyperslab(start, (1,) * len(start))
    dataset.read(h5py.h5s.create(h5py.h5s.SCALAR), space, value)
    return float(value)


def _refuse_external(path: str, parent: Any, name: str, title: str) -> None:
    kind = parent.links.get_info(name.encode()).type
    if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
        raise InputError(
            f"{path}: {title} is a link into another file, which is not followed; write one file that holds all"
        )


@contextmanager
def reading_errors(path: str) -> Iterator[None]:
    """Turn what h5py raises on bad content into an InputError that says what is wrong."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _TRANSIENT:
            raise TransientInputError(
                f"{path}: {os.strerror(exc.errno or 0)}; check the file system and permissions"
            ) from exc
        raise InputError(f"{path}: {_hdf5_reason(str(exc))}") from exc
    except (
        LookupError,
        RuntimeError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        MemoryError,
    ) as exc:
        raise InputError(
            f"{path}: damaged or not UVH5 ({type(exc).__name__}: {_first_line(str(exc))}); copy the file "
            "again, or move it out of `incoming`"
        ) from exc


def _hdf5_reason(message: str) -> str:
    """What is wrong with the file and what to do, in words, from the message of an OSError of h5py."""
    if "already open for" in message:
        return (
            "marked as open for writing: its writer is at work or was killed; if it was killed, copy the file and try "
            "`h5clear -s` on the copy"
        )
    truncated = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", message)
    if truncated:
        words = f"truncated: {truncated[1]} of {truncated[2]} bytes"
    elif "file signature not found" in message:
        words = "not an HDF5 file (no HDF5 signature)"
    else:
        words = f"damaged HDF5 ({_first_line(message)})"
    return f"{words}; copy the file again, or move it out of `incoming`"


def _first_line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[0] if lines else "no message"
