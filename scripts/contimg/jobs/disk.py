"""Room for what is to be written: asked for before a job starts, so that a disk never runs full under one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from contimg.core.errors import DiskFull
from contimg.core.room import there

RESERVE_VARIABLE = "CONTIMG_DISK_RESERVE_BYTES"
"""Carries `disk_reserve_gb` from the run to its jobs."""


def free_bytes(path: Path) -> int:
    """Free space where a directory is, or will be."""
    return shutil.disk_usage(there(path)).free


def reserve_bytes() -> int:
    """What the run keeps free, 0 outside a run."""
    return int(os.environ.get(RESERVE_VARIABLE, "0"))


def check(need_bytes: float, path: Path = Path()) -> None:
    """Make sure that so much can be written and the reserve stays free.

    Raises
    ------
    DiskFull
        It cannot: nothing is wrong with the job or its data.
    """
    free, reserve = free_bytes(path), reserve_bytes()
    if free < need_bytes + reserve:
        raise DiskFull(
            f"{path.absolute()}: {need_bytes / 1e9:.1f} GB to write and {reserve / 1e9:g} GB to stay free "
            f"(disk_reserve_gb), {free / 1e9:.1f} GB free; make room and start the same command again"
        )
