"""Processes of this machine: told apart for good by number and start time, and started from this package."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

import contimg
from contimg.core.errors import SystemFault

_PATIENCE_S = 60.0
_OVER = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def start_time(pid: int) -> str | None:
    """Start time of a process, living or a zombie, in clock ticks since boot; None if there is none.

    Not psutil's time of day, which moves when the clock is set: what is kept on disk must be the same for ever.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def started(pid: int) -> str | None:
    """Start time of a living process, as `start_time`; None if there is none (a zombie is none)."""
    try:
        return start_time(pid) if lives(psutil.Process(pid)) else None
    except psutil.NoSuchProcess:
        return None


def boot() -> str | None:
    """What this machine's start is known by: a process number means something since then."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started, directly or not, parents first; nothing if it is gone."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, and wait until they are gone.

    Raises
    ------
    SystemFault
        One of them still lives after a minute: it hangs in the kernel.
    """
    doomed = tree(pid)
    for one in doomed:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as error:
            raise SystemFault(
                f"process {one.pid} of an earlier run is another user's, and still at work; ask them to end it, or wait"
            ) from error
    end = time.monotonic() + _PATIENCE_S
    while left := [one.pid for one in doomed if lives(one)]:
        if time.monotonic() > end:
            raise SystemFault(
                f"processes {', '.join(map(str, left))} of an earlier run do not end; see what they wait for, and "
                "start again when they are gone"
            )
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie; a later one of its number is another."""
    try:
        return process.is_running() and process.status() not in _OVER
    except psutil.NoSuchProcess:
        return False


def session(number: int) -> list[int]:
    """Living processes of a session, which is known by the process that began it."""
    return _of(number, os.getsid)


def group(number: int) -> list[int]:
    """Living processes of a group, which is known by the process that began it."""
    return _of(number, os.getpgid)


def _of(number: int, what: Callable[[int], int]) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if what(process.pid) == number and lives(process):
                found.append(process.pid)
        except ProcessLookupError:  # ended since
            continue
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
