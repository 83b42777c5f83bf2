"""Run a command in processes of its own and know what it cost: time, CPU, memory, bytes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

SAMPLE_S = 0.5
TIMEOUT_S = 1800.0
_TAIL = 400


@dataclass(frozen=True)
class Cost:
    """What a command and all its processes cost.

    Attributes
    ----------
    seconds : float
        Wall time, with the start of every process.
    cpu_s : float
        User and system time.
    peak_gb : float
        Largest sum of the processes' memory (proportional set size, 1e9 bytes), sampled every `SAMPLE_S`, or the
        largest resident set of one of them if that is more.
    read_gb, written_gb : float
        Through read() and write(), the page cache included (1e9 bytes).
    said : dict
        The JSON object that the command printed as its last line, if it did.
    error : str
        Why it failed; empty if it did not.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_gb: float = 0.0
    read_gb: float = 0.0
    written_gb: float = 0.0
    said: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def measure(command: Sequence[str | Path], *, cwd: Path, threads: int, timeout_s: float = TIMEOUT_S) -> Cost:
    """Run a command to its end and return its cost; a failure is told in `error`, never raised.

    Parameters
    ----------
    command
        Program and arguments.
    cwd
        Where it runs.
    threads
        That OpenMP, BLAS and numba may take.
    timeout_s
        After which its processes are killed.
    """
    limits = {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    }
    with tempfile.TemporaryDirectory() as folder:
        told, output = Path(folder, "cost.json"), Path(folder, "output")
        wrapped = [sys.executable, str(Path(__file__).with_name("wrap.py")), str(told), *map(str, command)]
        with output.open("w") as sink:
            process = subprocess.Popen(
                wrapped,
                cwd=cwd,
                env={**os.environ, **limits},
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                sampled, late = _watch(process, timeout_s)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        lines = output.read_text(errors="replace").splitlines()
        cost = Cost(**json.loads(told.read_text())) if told.is_file() else Cost(seconds=timeout_s)
    error = ""
    if late:
        error = f"not done after {timeout_s:.0f} s"
    elif process.returncode:
        error = f"exit status {process.returncode}: " + " ".join(lines)[-_TAIL:]
    return replace(cost, peak_gb=max(cost.peak_gb, sampled), said=_last_object(lines), error=error)


def _watch(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[float, bool]:
    """Sample the memory of a process and its descendants until it ends; the peak (GB), and whether it is late."""
    began, peak = time.monotonic(), 0.0
    while process.poll() is None:
        if time.monotonic() - began > timeout_s:
            return peak, True
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(_memory_gb(p) for p in psutil.Process(process.pid).children(recursive=True)))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SAMPLE_S)
    return peak, False


def _memory_gb(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return float(process.memory_full_info().pss) / 1e9
    return 0.0


def _last_object(lines: Sequence[str]) -> dict[str, Any]:
    """The JSON object in the last line, if it is one."""
    if lines and lines[-1].startswith("{"):
        with contextlib.suppress(ValueError):
            return dict(json.loads(lines[-1]))
    return {}
