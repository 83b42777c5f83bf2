"""Processes of this machine: told apart for good by number and start time, and started from this package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import contimg
from contimg.core.errors import SystemFault

_PATIENCE_S = 60.0


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third, the state, on; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rsplit(")", 1)[1].split()


def started(pid: int) -> str | None:
    """Start time of a living process in clock ticks since boot; None if there is none (a zombie is none)."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else fields[19]


def boot() -> str | None:
    """What this machine's start is known by: a process number means something since then."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def tree(pid: int) -> list[int]:
    """A process and all that it started, directly or not, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, and wait until they are gone.

    Raises
    ------
    SystemFault
        One of them still lives after a minute: it hangs in the kernel.
    """
    doomed = {one: started(one) for one in tree(pid)}
    for one in doomed:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise SystemFault(
                f"process {one} of an earlier run is another user's, and still at work; ask them to end it, or wait"
            ) from error
    end = time.monotonic() + _PATIENCE_S
    while left := [one for one, start in doomed.items() if start is not None and started(one) == start]:
        if time.monotonic() > end:
            raise SystemFault(
                f"processes {', '.join(map(str, left))} of an earlier run do not end; see what they wait for, and "
                "start again when they are gone"
            )
        time.sleep(0.02)


def session(number: int) -> list[int]:
    """Living processes of a session, which is known by the process that began it."""
    found = []
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None and fields[0] not in "ZX" and int(fields[3]) == number:
            found.append(int(entry.name))
    return found


def kill_session(number: int) -> None:
    """Kill what is left of a session that we began, and wait until it is gone; see `kill_tree`."""
    for one in session(number):
        kill_tree(one)


def start_module(
    name: str, argument: str, *, inherited: Sequence[int] = (), pipes: bool = False
) -> subprocess.Popen[bytes]:
    """Start ``python -m name argument``, with one thread, nothing to read, and some of our descriptors.

    With `pipes` we write what it reads and read what it writes; what else it says is lost.
    """
    root = str(Path(contimg.__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", name, argument],
        pass_fds=tuple(inherited),
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
        stdout=subprocess.PIPE if pipes else None,
        stderr=subprocess.DEVNULL if pipes else None,
    )
