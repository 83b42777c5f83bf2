"""Node-local working space of a job: reserved first, and empty after the job, however it ended."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from contimg.core import room
from contimg.core.errors import DiskFull, SystemFault

log = logging.getLogger(__name__)
_PREFIX = "contimg-job"
_IN_MEMORY = {"tmpfs", "ramfs"}
_LOOK_AGAIN_S = 5.0
_LONGEST_S = 2.0


@dataclass(frozen=True)
class Scratch:
    """Where a job may work.

    Attributes
    ----------
    fast : Path or None
        Node-local directory of the configuration, /dev/shm for example; it may be full.
    disk : Path
        What serves without it: the job's TMPDIR.
    when_full : {"disk", "wait"}
        Whether a job that finds too little space in `fast` works on `disk`, or waits for other jobs to end.
    need_bytes : int
        Space that the job fills at most.
    """

    fast: Path | None
    disk: Path
    when_full: Literal["disk", "wait"] = "disk"
    need_bytes: int = 0

    @classmethod
    def of(cls, resources: Any) -> Scratch:
        """The scratch of a job from its rule's resources `scratch`, `scratch_full`, `scratch_mb` and `tmpdir`."""
        fast = Path(resources.scratch) if resources.scratch else None
        need_bytes = round(1e6 * resources.scratch_mb)
        return cls(fast, Path(resources.tmpdir), resources.scratch_full, need_bytes)

    @contextmanager
    def working_folder(self) -> Iterator[Path]:
        """A private folder, fast if there is room, removed at the end."""
        with staging(self) as fast:
            if fast is not None:
                yield fast
            else:
                with working_folder(self.disk, self.need_bytes) as folder:
                    yield folder


def in_memory(path: Path) -> bool:
    """Whether a directory, or the first above it that is there, is memory rather than a disk."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    folder = path.resolve()
    above = [(place, kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(above, key=lambda mount: len(mount[0]))[1] in _IN_MEMORY


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
    folder = _reserve(base, need_bytes)
    if folder is None:
        raise SystemFault(f"{_lacking(base, need_bytes)}; make room or set `scratch` to a larger directory")
    with _removed(folder):
        yield folder


def _lacking(base: Path, need_bytes: int) -> str:
    return (
        f"{base}: {need_bytes / 1e9:.1f} GB of working space expected, {_unclaimed(base) / 1e9:.1f} GB free "
        "(without what other jobs have reserved)"
    )


@contextmanager
def staging(scratch: Scratch) -> Iterator[Path | None]:
    """A private folder in a job's fast scratch, removed at the end; None if there is none, or no room in it.

    Raises
    ------
    SystemFault
        The job is to wait for room, and there never will be enough.
    """
    folder = None if scratch.fast is None else _reserve(scratch.fast, scratch.need_bytes)
    if scratch.fast is not None and folder is None:
        lacking = _lacking(scratch.fast, scratch.need_bytes)
        if scratch.when_full == "disk":
            log.warning("%s: working on disk instead", lacking)
        elif shutil.disk_usage(scratch.fast).total < scratch.need_bytes:
            raise SystemFault(
                f"{lacking}, and never more; set `scratch` to a larger directory, or scratch_full=disk"
            )
        else:
            log.warning("%s: waiting for other jobs to end", lacking)
            while folder is None:
                time.sleep(_LOOK_AGAIN_S)
                folder = _reserve(scratch.fast, scratch.need_bytes)
    if folder is None:
        yield None
        return
    with _removed(folder):
        yield folder


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        try:
            room.require(folder)  # asked while what was written is still there
        except DiskFull as full:
            raise full from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(_alive.pop(folder))


_alive: dict[Path, int] = {}
"""Descriptors of this process's folders: the lock on each tells any other process that its owner lives."""


def _reserve(base: Path, need_bytes: int) -> Path | None:
    """Make a private folder whose name says how much it may hold; None if that is not free."""
    base.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(base):
        clear_dead(base)
        if _unclaimed(base) < need_bytes:
            return None
        # locked before it has the name that others look for
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}.", dir=base))
        alive = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(alive, fcntl.LOCK_EX)
        random = made.name.rpartition(".")[2]
        folder = made.rename(base / f"{_PREFIX}.{socket.gethostname()}.{need_bytes}.{random}")
        _alive[folder] = alive
        return folder


@contextmanager
def _one_at_a_time(base: Path) -> Iterator[None]:
    """Reserve one after the other; but any user may lock a directory that all can read, so the wait is short."""
    lock = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
    end = time.monotonic() + _LONGEST_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    log.warning("%s: somebody keeps it locked; working without", base)
                    break
                time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _unclaimed(base: Path) -> int:
    """Bytes that are free and that no living job of this node has reserved."""
    usage = shutil.disk_usage(base)
    free = usage.free
    for folder, reserved in _folders(base):
        if reserved <= usage.total and _lives(folder):  # nobody can reserve more than there is
            free -= max(0, reserved - _used(folder))
    return free


def _used(folder: Path) -> int:
    """Bytes that the files below a folder take up; what goes away meanwhile takes up none."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += 512 * Path(path, name).lstat().st_blocks
            except FileNotFoundError:
                continue
    return total


_NAME = re.compile(rf"{re.escape(_PREFIX)}\.(?P<host>.+)\.(?P<bytes>\d{{1,18}})\.[^.]+")


def _folders(base: Path) -> list[tuple[Path, int]]:
    """Working folders of this node's jobs, contimg-job.HOST.BYTES.RANDOM, with what they reserve; no links."""
    found = []
    for path in base.glob(f"{_PREFIX}.*"):
        name = _NAME.fullmatch(path.name)
        if name and name["host"] == socket.gethostname() and path.is_dir() and not path.is_symlink():
            found.append((path, int(name["bytes"])))
    return found


def _lives(folder: Path) -> bool:
    """Whether the job of a folder lives: it holds a lock on it, which a container's walls do not hide."""
    if folder in _alive:
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # another user's: theirs to keep
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def clear_dead(base: Path) -> list[Path]:
    """Remove the working folders that dead jobs of this user and node left under `base`, and only those.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    for folder, _ in _folders(base):
        try:
            mine = folder.stat().st_uid == os.getuid()
        except FileNotFoundError:
            continue
        if mine and not _lives(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed
