"""The section `raw`."""

from __future__ import annotations

from typing import Literal

from contimg.core.options import Options, key


class RawOptions(Options):
    """How raw files are read."""

    reader: Literal["auto", "own", "pyuvdata"] = key(
        "auto",
        "Who reads raw files. own: our reader, for what the instrument writes; pyuvdata: for any UVH5, slower; auto: "
        "ours where it takes a file, else pyuvdata (docs/index.md).",
    )
