"""Node-local working space of a job: empty after the job, however it ended."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contimg import processes
from contimg.errors import SystemFault

_PREFIX = "contimg"


def clear_dead(base: Path) -> list[Path]:
    """Remove the working folders that dead jobs of this node left under `base`, and only those.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for folder in base.glob(f"{_PREFIX}.{socket.gethostname()}.*"):
        pid, started = folder.name.split(".")[-3:-1]
        if processes.started(int(pid)) != started:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


@contextmanager
def working_folder(base: Path, need_bytes: int = 0) -> Iterator[Path]:
    """A private folder under `base`, removed at the end.

    Parameters
    ----------
    base : Path
        Node-local directory, such as /dev/shm or a job's TMPDIR.
    need_bytes : int
        Space that the job will fill at most.

    Yields
    ------
    Path

    Raises
    ------
    SystemFault
        Less than `need_bytes` are free.
    """
    base.mkdir(parents=True, exist_ok=True)
    clear_dead(base)
    free = shutil.disk_usage(base).free
    if free < need_bytes:
        raise SystemFault(
            f"{base}: {need_bytes / 1e9:.1f} GB of working space expected, {free / 1e9:.1f} GB free; make room "
            "or set `scratch` to a larger directory"
        )
    pid = os.getpid()
    folder = Path(
        tempfile.mkdtemp(prefix=f"{_PREFIX}.{socket.gethostname()}.{pid}.{processes.started(pid)}.", dir=base)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
