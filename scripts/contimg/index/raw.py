"""A raw file by the reader that takes it: ours for what the instrument writes, pyuvdata for whatever else is UVH5."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contimg.core.errors import InputError
from contimg.index import uvh5
from contimg.index.groups import Reader
from contimg.index.hdf5 import TransientInputError
from contimg.index.subband import SubbandHeader
from contimg.index.uvh5_file import NotOurs

if TYPE_CHECKING:
    from contimg.index.foreign import ForeignData

ASKED = "raw.reader is pyuvdata"
"""Why pyuvdata reads a file that ours would take."""


def read_header(path: str | os.PathLike[str]) -> SubbandHeader:
    """Read what the index needs, by the reader that takes the file.

    Returns
    -------
    SubbandHeader
        Its `foreign` says why pyuvdata reads it, or is None.

    Raises
    ------
    InputError
        Neither takes it: the message says why, of both.
    TransientInputError
        The system, not the file, is why.
    """
    try:
        return uvh5.read_header(path)
    except NotOurs as ours:
        from contimg.index import foreign

        try:
            return foreign.read_header(os.fspath(path), ours.why)
        except TransientInputError:
            raise
        except InputError as theirs:
            words = str(theirs).removeprefix(f"{os.fspath(path)}: ")
            raise InputError(f"{os.fspath(path)}: {ours.why}, and {words}") from theirs


def read_layout(path: str | os.PathLike[str], reader: Reader = "auto") -> uvh5.Layout:
    """Read everything that conversion needs beside the data, by the reader asked for; errors as `read_header`."""
    why = ASKED
    if reader != "pyuvdata":
        try:
            return uvh5.read_layout(path)
        except NotOurs as ours:
            if reader == "own":
                raise
            why = ours.why
    from contimg.index import foreign

    return foreign.read_layout(os.fspath(path), why)


def open_data(path: str | os.PathLike[str], layout: uvh5.Layout) -> uvh5.RawData | ForeignData:
    """Open the data of a file for streaming in time order, by the reader that its layout came from."""
    if layout.foreign is None:
        return uvh5.open_data(path)
    from contimg.index.foreign import ForeignData

    return ForeignData(os.fspath(path))
