"""A program that must not outlive our wish: signals are passed on, and nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from contimg.core import processes
from contimg.core.errors import SystemFault
from contimg.core.provenance import REPOSITORY

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """A signal asked us to end.

    Attributes
    ----------
    number : int
        Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_raise() -> Iterator[None]:
    """Raise `Ended` where SIGINT, SIGTERM or SIGHUP comes; a shell's background jobs ignore the first otherwise."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_to_end(command: Sequence[str], cwd: Path) -> int:
    """Run a program to its end, its output on our stderr.

    It has a session of its own, so that signals reach it through us alone. The first one interrupts it and all that it
    started, as Ctrl-C on a terminal does; another one kills them. Whatever it left is killed when it has ended.

    Returns
    -------
    int
        Its exit status.

    Raises
    ------
    Ended
        A signal came; the program has ended.
    """
    received: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        _interrupt(child, signal.SIGINT if len(received) == 1 else signal.SIGKILL)

    # Before the program starts: what a shell's background job ignores, its programs would ignore too.
    before = {number: signal.signal(number, pass_on) for number in ENDING}
    try:
        child = subprocess.Popen(command, cwd=cwd, stdout=sys.stderr, start_new_session=True)
        if received:  # while it started
            _interrupt(child, signal.SIGINT)
        code = child.wait()
    finally:
        if child is not None:
            processes.kill_session(child.pid)
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise Ended(received[0])
    return code


def workflow(arguments: Sequence[str]) -> int:
    """Run Snakemake with the clone's Snakefile to its end; returns its exit status.

    Raises
    ------
    SystemFault
        There is no Snakefile: the library is installed without its clone.
    Ended
        A signal came; the run has ended.
    """
    if not (REPOSITORY / "Snakefile").is_file():
        raise SystemFault(f"{REPOSITORY}: found no Snakefile; contimg must run from a clone of the pipeline")
    return run_to_end([sys.executable, "-m", "snakemake", *arguments], REPOSITORY)


def _interrupt(child: subprocess.Popen[bytes] | None, number: int) -> None:
    """Send a signal to a program and all that it started; nothing if it has not begun, or is over."""
    if child is None:
        return
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
