"""One run at a time writes a products tree: a lock that dies with its process.

Two things are locked: the file `state/lock`, whose text says who holds it, and the directory it is in. Whoever removes
the file, taking it for stale, does not let a second run in.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from contimg.core.errors import SystemFault
from contimg.core.locks import NO_LOCKS


class _Lock:
    """What was locked, until it is closed."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def close(self) -> None:
        """Give it back."""
        while self._descriptors:
            os.close(self._descriptors.pop())


_held: list[_Lock] = []  # keeps the locks for the life of the process
_PATIENCE_S = 1.0
_NOT_FOR_DIRECTORIES = {errno.EBADF, *NO_LOCKS}  # NFS locks what is open for writing only


def hold(path: Path) -> None:
    """Take the lock of a products tree for the life of this process.

    Parameters
    ----------
    path : Path
        The lock file; its text says who holds it. The kernel releases the lock when the process ends,
        however it ends, so there is never a stale lock to remove.

    Raises
    ------
    SystemFault
        Another live run holds it; or it cannot be taken there at all.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SystemFault(
            f"{path}: the lock of this products tree cannot be written ({error.strerror}); make the tree writable, or "
            "give this run another `products`"
        ) from error
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    taken = []
    try:
        for descriptor in (folder, file):
            if not _taken(descriptor, path, folder=descriptor == folder):
                raise SystemFault(
                    f"{path.parent.parent}: another run writes this products tree ({_said(path)}); wait for it, or "
                    "give this run another `products`"
                )
            taken.append(descriptor)
    finally:
        if len(taken) < 2:
            os.close(file)
            os.close(folder)
    os.ftruncate(file, 0)
    os.pwrite(file, f"pid {os.getpid()} on {socket.gethostname()} since {_now()}\n".encode(), 0)
    _held.append(_Lock(taken))


def _taken(descriptor: int, path: Path, *, folder: bool) -> bool:
    """Whether a lock was taken; a moment's patience, since others only look."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.001)
        except OSError as error:
            if folder and error.errno in _NOT_FOR_DIRECTORIES:
                return True  # the file's lock decides
            if error.errno in NO_LOCKS:
                raise SystemFault(
                    f"{path}: this file system has no locks ({error.strerror}), and two runs at once would spoil the "
                    "products; mount it with flock, or put `products` on another one"
                ) from error
            raise
        else:
            return True


def release() -> None:
    """Give back what this process holds, before it ends."""
    while _held:
        _held.pop().close()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a products tree while a command works on it; see `hold`."""
    before = len(_held)
    hold(path)
    try:
        yield
    finally:
        while len(_held) > before:
            _held.pop().close()


def holder(path: Path) -> str | None:
    """Who holds the lock of a products tree, in the words of the holder; None if nobody does.

    It looks by a shared lock for a moment: two that look do not see each other, and `hold` waits it out.
    """
    for place in (path, path.parent):
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _said(path)
        except OSError:  # no locks here: `hold` says so
            continue
        finally:
            os.close(descriptor)
    return None


def _said(path: Path) -> str:
    """What the holder says of itself."""
    try:
        return path.read_text().strip() or "who took it does not say so: its lock file was removed"
    except FileNotFoundError:
        return "its lock file was removed"
    except OSError as error:
        return f"its lock file cannot be read: {error.strerror}"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
