"""One run at a time writes a products tree: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from contimg.core.errors import SystemFault

_held: list[IO[str]] = []  # keeps the descriptors, and so the locks, for the life of the process


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
        Another live run holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.seek(0)
        holder = handle.read().strip()
        handle.close()
        raise SystemFault(
            f"{path.parent.parent}: another run writes this products tree ({holder}); wait for it, or give this "
            "run another `products`"
        ) from error
    handle.seek(0)
    handle.truncate()
    handle.write(
        f"pid {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
    )
    handle.flush()
    _held.append(handle)


def holder(path: Path) -> str | None:
    """Who holds the lock of a products tree, in the words of the holder; None if nobody does."""
    if not path.is_file():
        return None
    with path.open("r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return handle.read().strip()
    return None
