"""Jobs that outlive their run: a killed Snakemake leaves them running, in SLURM's queue or on this machine.

The next run of the tree takes over: it ends those that are at work, found by their failure records
(`contimg.jobs.frame`), and those that only start later find that the tree belongs to another run and stop. A job is
known by cluster, job number and job name, or by machine, boot, process number and start time, so that nothing else is
ended for it: not the allocation in which a run itself stands, and no process that has its number by now.
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
ALLOCATION_VARIABLE = "CONTIMG_ALLOCATION"
"""Carries the SLURM job in which the run itself stands, if any, to its jobs: theirs is another one, or none."""
_CURRENT = Path("state/run.json")
_PATIENCE_S = 60.0


def identity(attempt: int) -> dict[str, Any]:
    """What a job's record says of it, so that a later run can end it."""
    pid = os.getpid()
    number = os.environ.get("SLURM_JOB_ID")
    of_its_own = number is not None and number != os.environ.get(ALLOCATION_VARIABLE)
    return {
        "pid": pid,
        "started": processes.started(pid),
        "boot": processes.boot(),
        "host": socket.gethostname(),
        "slurm_job": number if of_its_own else None,
        "slurm_name": _name_in_queue(number) if number is not None and of_its_own else None,
        "cluster": os.environ.get("SLURM_CLUSTER_NAME") if of_its_own else None,
        "run": os.environ.get(MANIFEST_VARIABLE),
        "attempt": attempt,
    }


def _name_in_queue(number: str) -> str | None:
    """What the queue calls a job; None where it does not say.

    In a step, where Snakemake's jobs run, SLURM_JOB_NAME is the name of the program that srun started.
    """
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", f"--jobs={number}", "--format=%j"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


def enter_allocation() -> None:
    """Let the jobs of this run know in which SLURM job the run itself stands."""
    os.environ[ALLOCATION_VARIABLE] = os.environ.get("SLURM_JOB_ID", "")


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
        One line on each job that was ended, and on each that cannot be seen from here.

    Raises
    ------
    SystemFault
        A job of an earlier run does not end. Its record stays.
    """
    write_json(tree / _CURRENT, {"manifest": str(manifest)})
    records, lines = _records(tree)
    ours = {os.environ.get("SLURM_JOB_ID"), None}
    queued = _queued({record["slurm_job"] for record in records.values()} - ours)
    left = {path: record for path, record in records.items() if _is_queued(record, queued)}
    if left:
        _cancel({record["slurm_job"] for record in left.values()})
    for path, record in left.items():
        path.unlink(missing_ok=True)  # ended from outside: not the job's fault
        lines.append(f"{record['key']}: ended SLURM job {record['slurm_job']}, which an earlier run had left")
    for path, record in records.items():
        if path in left:
            continue
        if record["slurm_job"] is None and record["host"] != socket.gethostname() and "killed" not in record:
            lines.append(
                f"{record['key']}: process {record['pid']} of an earlier run was at work on {record['host']}, which "
                "cannot be seen from here: make sure that it has ended"
            )
        elif _runs_here(record):
            processes.kill_tree(record["pid"])
            path.unlink(missing_ok=True)
            lines.append(f"{record['key']}: ended process {record['pid']}, which an earlier run had left")
        elif not record.get("killed") and _is_gone(record):
            path.unlink(missing_ok=True)  # it died with its run, which counts for nothing
    return lines


def _is_gone(record: dict[str, Any]) -> bool:
    """Whether a job surely is not at work any more: it is none of SLURM's queue, or no process of this machine."""
    if record["slurm_job"] is not None and record["slurm_job"] != os.environ.get("SLURM_JOB_ID"):
        return shutil.which("squeue") is not None
    return lives({**record, "slurm_job": None}) is False


def _records(tree: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """Failure records of a tree, and a line on each that cannot be used; a job that ends takes its own away."""
    found, lines = {}, []
    for path in sorted(tree.glob("state/attempts/*/*.json")):
        try:
            record = json.loads(path.read_text())
            usable = isinstance(record["key"], str) and isinstance(record["pid"], int) and record["pid"] > 1
            # what older versions did not record is not known
            record = {"slurm_name": None, "cluster": None, "boot": None, "run": None, **record}
            usable = usable and {"host", "started", "slurm_job"} <= record.keys()
        except FileNotFoundError:
            continue
        except OSError as error:  # it may be of a job that is at work
            raise SystemFault(
                f"{path}: the record of a job of an earlier run cannot be read ({error.strerror}); ask whose it is, or "
                "remove it when that job has ended"
            ) from error
        except (ValueError, TypeError, LookupError):
            usable = False
        if usable:
            found[path] = record
        else:
            path.unlink(missing_ok=True)
            lines.append(
                f"{path}: a record of a job that cannot be read; it was removed and counts for nothing"
            )
    return found, lines


def lives(record: dict[str, Any]) -> bool | None:
    """Whether the process of a record, not of SLURM, lives; None if that cannot be seen from this machine."""
    if record.get("slurm_job") is not None or record.get("host") != socket.gethostname():
        return None
    if record.get("boot") not in (None, processes.boot()):
        return False
    pid, start = record.get("pid"), record.get("started")
    return isinstance(pid, int) and start is not None and processes.started(pid) == start


def _runs_here(record: dict[str, Any]) -> bool:
    """Whether a record's process lives on this machine and is not this one, or one that it stands in."""
    # a job of the allocation in which this run stands is a process like any other
    own = record["slurm_job"] == os.environ.get("SLURM_JOB_ID")
    return record["pid"] != os.getpid() and bool(lives({**record, "slurm_job": None} if own else record))


def overtaken(tree: Path = Path()) -> bool:
    """Whether the tree belongs to a later run than the one this job is of."""
    mine, current = os.environ.get(MANIFEST_VARIABLE), tree / _CURRENT
    return mine is not None and current.is_file() and read_json(current)["manifest"] != mine


def _is_queued(record: dict[str, Any], queued: dict[str, str | None]) -> bool:
    """Whether a record's SLURM job is in the queue, and is the one that it was: numbers come again, names do not."""
    if record["slurm_job"] not in queued:
        return False
    cluster = os.environ.get("SLURM_CLUSTER_NAME")
    if None not in (cluster, record["cluster"]) and cluster != record["cluster"]:
        return False
    name = queued[record["slurm_job"]]
    return record["slurm_name"] is None or name is None or name == record["slurm_name"]


def _queued(numbers: set[str]) -> dict[str, str | None]:
    """Those of SLURM's jobs that wait, run or are being ended, with their names."""
    if not numbers or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--format=%A %j"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemFault(
            f"squeue: expected the jobs of this cluster, found {done.stderr.strip() or 'no answer'}: jobs "
            f"{', '.join(sorted(numbers))} of an earlier run may still write; start again when SLURM answers"
        )
    found = (line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    return {words[0]: words[1].strip() if len(words) > 1 else None for words in found if words[0] in numbers}


def _cancel(numbers: set[str]) -> None:
    """End jobs of SLURM and wait until they are gone."""
    done = subprocess.run(["scancel", *sorted(numbers)], check=False, capture_output=True, text=True)
    end = time.monotonic() + _PATIENCE_S
    while left := _queued(numbers):
        if done.returncode or time.monotonic() > end:
            said = done.stderr.strip() or f"they still run {_PATIENCE_S:.0f} s after scancel"
            raise SystemFault(
                f"SLURM jobs {', '.join(sorted(left))} of an earlier run cannot be ended ({said}); see `squeue`, and "
                "start again when they are gone"
            )
        time.sleep(0.5)
