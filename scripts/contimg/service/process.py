"""Processes of runs: in a group of their own, told apart for good by number, start time and boot, ended as a group."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import contimg
from contimg.core import processes


def identity() -> dict[str, Any]:
    """What tells this process, the leader of its group, from every other."""
    pid = os.getpid()
    return {
        "pid": pid,
        "started": processes.started(pid),
        "boot": processes.boot(),
        "host": socket.gethostname(),
    }


def members(who: dict[str, Any]) -> list[int]:
    """Living processes of the group that a process leads or led; none if it is of another machine or boot.

    The kernel gives a number to nobody else while it names a group, so that members that live on after their leader
    are found; they are younger than the leader was.
    """
    if who.get("boot") != processes.boot() or who.get("host") != socket.gethostname():
        return []
    if processes.start_time(who["pid"]) not in (None, who["started"]):
        return []  # the number was given to another process: the group is gone
    since = int(who["started"])
    return [pid for pid in processes.group(who["pid"]) if int(processes.started(pid) or -1) >= since]


def signal_group(who: dict[str, Any], number: signal.Signals) -> bool:
    """Send a signal to every process of a group; False if there is none."""
    if not members(who):
        return False
    try:
        os.killpg(who["pid"], number)
    except ProcessLookupError:
        return False
    return True


def start(module: str, arguments: Sequence[str], *, output: Path) -> subprocess.Popen[bytes]:
    """Start ``python -m module …`` in a session of its own; what it prints is appended to a file."""
    root = str(Path(contimg.__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with output.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
