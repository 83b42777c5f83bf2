"""Whether there is room to write, asked of the file system itself.

What an error says of a full disk has other words in every library; so the file system is asked while what a failed step
wrote is still there: bytes, inodes, a quota, a mount that turned read-only.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from contimg.core.errors import DiskFull

_PROBE_BYTES = 4 << 20
"""What must still be writable where a step failed: less, and it failed for want of room."""
_PROBE_INODES = 4
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def there(path: Path) -> Path:
    """A directory, or the first above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def lacking(path: Path) -> str | None:
    """What a file system lacks to be written on, asked of itself; None if a little can still be written.

    Parameters
    ----------
    path : Path
        A directory, or one that is to be made.
    """
    place = there(path.absolute())
    try:
        state = os.statvfs(place)
        if state.f_flag & os.ST_RDONLY:
            return f"{place}: the file system is read-only"
        if state.f_files and state.f_favail < _PROBE_INODES:
            return f"{place}: no more files can be made (inodes: {state.f_favail} left of {state.f_files})"
        if state.f_bavail * state.f_frsize < _PROBE_BYTES:
            return f"{place}: the disk is full ({state.f_bavail * state.f_frsize / 1e6:.1f} MB left)"
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(_PROBE_BYTES))  # a quota is told by nothing but a write
            probe.flush()
    except OSError as error:
        return f"{place}: {error.strerror}" if error.errno in _NO_ROOM else None
    return None


def require(*places: Path) -> None:
    """After a failure: raise `DiskFull` where a file system lacks something, so that the failure is taken for that."""
    for place in places:
        why = lacking(place)
        if why is not None:
            raise DiskFull(f"{why}; make room and start the same command again")


def was_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that there was no room.

    Python's own errors say it by number. Libraries that only have words use those of the system: where the room is
    there again when one looks, they are all that is left.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, DiskFull) or (isinstance(one, OSError) and one.errno in _NO_ROOM):
            return True
        if any(os.strerror(number).lower() in str(one).lower() for number in _NO_ROOM):
            return True
        one = one.__cause__ or one.__context__
    return False
