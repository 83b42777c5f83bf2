"""The machines a plan counts with: this one, and the cluster that the profile `slurm` submits to."""

from __future__ import annotations

import shutil
import subprocess
from typing import Literal

from contimg.config.slurm import SlurmOptions
from contimg.plan.schedule import Machine
from contimg.plan.share import threads_of

LOCAL_OVERHEAD_S = 3.0
"""Starting the engine and Python for one job on one machine; measured on two cores."""
CLUSTER_OVERHEAD_S = 60.0
"""Waiting to be submitted, to start and to be seen to have ended: the first status check is after 40 s."""


def machines(cores: int, site: SlurmOptions, threads: int | Literal["auto"]) -> list[Machine]:
    """Give this machine with so many cores, and the cluster that `--profile slurm` submits to."""
    jobs = site.max_jobs
    each = threads_of(threads, jobs, None)
    here = Machine("this machine", cores, cores, LOCAL_OVERHEAD_S, f"{cores} cores")
    found = sinfo_cores(site.partition)
    origin = (
        f"{found} cores (sinfo), at most {jobs} jobs at once (slurm.max_jobs)"
        if found
        else f"no sinfo here: {jobs} jobs at once (slurm.max_jobs) of {each} core{'s' * (each > 1)} assumed"
    )
    return [here, Machine("SLURM", found or each * jobs, jobs, CLUSTER_OVERHEAD_S, origin, each)]


def sinfo_cores(partition: str | None) -> int | None:
    """Cores of a partition's nodes that work, busy or idle (null: of all nodes); None where SLURM does not answer."""
    if shutil.which("sinfo") is None:
        return None
    chosen = [f"--partition={partition}"] if partition else []
    try:
        said = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %C", *chosen],
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
