"""The machines a plan counts with: this one, and the cluster that the profile `slurm` submits to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from contimg.config import REPOSITORY
from contimg.plan_schedule import Machine

LOCAL_OVERHEAD_S = 3.0
"""Starting the engine and Python for one job on one machine; measured on two cores."""
CLUSTER_OVERHEAD_S = 60.0
"""Waiting to be submitted, to start and to be seen to have ended: the first status check is after 40 s."""
_PROFILE = Path("profiles") / "slurm"
_JOBS = 100
_THREADS = 2


def machines(cores: int, clone: Path = REPOSITORY) -> list[Machine]:
    """Give this machine with so many cores, and the cluster if the clone has a profile for one."""
    here = Machine("this machine", cores, cores, LOCAL_OVERHEAD_S, f"{cores} cores")
    if not (clone / _PROFILE).is_dir():
        return [here]
    jobs = job_limit(clone / _PROFILE)
    found = sinfo_cores()
    if found is None:
        return [
            here,
            Machine(
                "SLURM",
                jobs * _THREADS,
                jobs,
                CLUSTER_OVERHEAD_S,
                f"no sinfo here: {jobs} jobs at once (profiles/slurm) of {_THREADS} cores assumed",
            ),
        ]
    return [
        here,
        Machine(
            "SLURM", found, jobs, CLUSTER_OVERHEAD_S, f"{found} cores (sinfo), at most {jobs} jobs at once"
        ),
    ]


def job_limit(profile: Path) -> int:
    """Most jobs that a profile lets run at once: its `jobs`."""
    import yaml

    for name in ("profile.yaml", "config.yaml"):
        path = profile / name
        if path.is_file():
            value = (yaml.safe_load(path.read_text()) or {}).get("jobs", _JOBS)
            return int(value) if str(value).isdigit() else _JOBS
    return _JOBS


def sinfo_cores() -> int | None:
    """Cores of the cluster's nodes that work, busy or idle; None where SLURM does not answer."""
    if shutil.which("sinfo") is None:
        return None
    try:
        said = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %C"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except subprocess.TimeoutExpired:
        return None
    return count_cores(said.stdout) if said.returncode == 0 else None


def count_cores(text: str) -> int | None:
    """Sum of allocated and idle cores of the nodes in `node allocated/idle/other/total`, each node once."""
    cores = {}
    for line in text.splitlines():
        node, _, counts = line.partition(" ")
        numbers = counts.strip().split("/")
        if len(numbers) == 4 and all(number.isdigit() for number in numbers):
            cores[node] = int(numbers[0]) + int(numbers[1])
    return sum(cores.values()) or None
