"""Jobs that outlive their run: a killed Snakemake leaves them running, in SLURM's queue or on this machine.

The next run of the tree takes over: it ends those that are at work, found by their failure records
(`contimg.jobs.frame`), and those that only start later find that the tree belongs to another run and stop.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from contimg.core import processes
from contimg.core.errors import SystemFault
from contimg.core.products import read_json, write_json

MANIFEST_VARIABLE = "CONTIMG_RUN"
"""Names, in the environment of every job, the frozen plan of its run."""
_CURRENT = Path("state/run.json")
_PATIENCE_S = 60.0


def identity(attempt: int) -> dict[str, Any]:
    """What a job's record says of it, so that a later run can end it."""
    pid = os.getpid()
    return {
        "pid": pid,
        "started": processes.started(pid),
        "host": socket.gethostname(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "attempt": attempt,
    }


def take_over(tree: Path, manifest: Path) -> list[str]:
    """Make a run the one that the tree belongs to, and end the jobs of earlier ones.

    Parameters
    ----------
    tree : Path
        The products tree, whose lock this process holds.
    manifest : Path
        The run's frozen plan.

    Returns
    -------
    list of str
        One line on each job that was ended.

    Raises
    ------
    SystemFault
        A job of an earlier run does not end.
    """
    write_json(tree / _CURRENT, {"manifest": str(manifest)})
    records = _records(tree)
    alive = _queued({record["slurm_job"] for record in records.values() if record["slurm_job"]})
    lines = []
    for path, record in records.items():
        if record["slurm_job"] in alive:
            what = f"SLURM job {record['slurm_job']}"
        elif _runs_here(record):
            processes.kill_tree(record["pid"])
            what = f"process {record['pid']}"
        else:
            continue
        path.unlink(missing_ok=True)  # ended from outside: not the job's fault
        lines.append(f"{record['key']}: ended {what}, which an earlier run had left")
    if alive:
        subprocess.run(["scancel", *sorted(alive)], check=False, capture_output=True)
        _wait_for(alive)
    return lines


def _records(tree: Path) -> dict[Path, dict[str, Any]]:
    """Failure records of a tree; a job that ends meanwhile takes its own away."""
    found = {}
    for path in sorted(tree.glob("state/attempts/*/*.json")):
        try:
            found[path] = json.loads(path.read_text())
        except FileNotFoundError:
            continue
    return found


def _runs_here(record: dict[str, Any]) -> bool:
    """Whether a record's process, not of SLURM, lives on this machine."""
    here = record["slurm_job"] is None and record["host"] == socket.gethostname()
    return here and record["started"] is not None and processes.started(record["pid"]) == record["started"]


def overtaken(tree: Path = Path()) -> bool:
    """Whether the tree belongs to a later run than the one this job is of."""
    mine, current = os.environ.get(MANIFEST_VARIABLE), tree / _CURRENT
    return mine is not None and current.is_file() and read_json(current)["manifest"] != mine


def _queued(numbers: set[str]) -> set[str]:
    """Those of SLURM's jobs that wait, run or are being ended."""
    if not numbers or shutil.which("squeue") is None:
        return set()
    command = ["squeue", "--me", "--noheader", "--format=%A"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemFault(
            f"squeue: expected the jobs of this user, found {done.stderr.strip() or 'no answer'}: jobs "
            f"{', '.join(sorted(numbers))} of an earlier run may still write; start again when SLURM answers"
        )
    return numbers & set(done.stdout.split())


def _wait_for(numbers: set[str]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while left := _queued(numbers):
        if time.monotonic() > end:
            raise SystemFault(
                f"SLURM jobs {', '.join(sorted(left))} of an earlier run still run {_PATIENCE_S:.0f} s after scancel; "
                "see `squeue --me`, and start again when they are gone"
            )
        time.sleep(0.5)
