"""A site's SLURM: what profiles/slurm asks for, from the section `slurm` of the configuration.

A profile is read before the Snakefile. So it reads the command line itself, for the files and values that Snakemake
merges after it: `slurm:` counts wherever it is written.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache

from contimg.config.slurm import SlurmOptions
from contimg.core.errors import ContimgError, SystemFault
from contimg.jobs.engine import Job

ACCOUNTING = "accounting_storage/slurmdbd"
MIN_JOB_AGE_S = 300
"""squeue must remember ended jobs for longer than the longest pause between two questions (180 s)."""


_profiled: list[SlurmOptions] = []


def in_use() -> bool:
    """Whether this process has read the profile."""
    return bool(_profiled)


def site() -> SlurmOptions:
    """The section `slurm` of the command that reads the profile; one line and the end where there is no SLURM."""
    try:
        _profiled.append(options(sys.argv[1:]))
        return _profiled[-1]
    except ContimgError as error:
        sys.stderr.write(f"contimg: error: {error}\n")
        raise SystemExit(2) from None


def options(words: Sequence[str]) -> SlurmOptions:
    """The section `slurm` of a command of Snakemake.

    Parameters
    ----------
    words : sequence of str
        Of the command: its `--configfile` and `--config` win over config/config.yaml and config/site.yaml.

    Raises
    ------
    ConfigError
        A key is unknown, or a value cannot be used.
    SystemFault
        There is no SLURM here, or it does not answer. A dry run asks for none.
    """
    from contimg.config.files import read_configuration, take_configuration
    from contimg.config.load import load

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    take_configuration(parser)
    parser.add_argument("-n", "--dry-run", "--dryrun", dest="dry", action="store_true")
    parser.add_argument("-p", "-q", "-F", dest="_", action="store_true")  # may stand before n in one word
    args, _ = parser.parse_known_args(words)
    found = load(read_configuration(args.configfile, args.config), check=False).slurm
    if not args.dry:
        _ready()
    return found


def _ready() -> None:
    if shutil.which("sbatch") is None:
        raise SystemFault(
            "--profile slurm: no sbatch on this machine; start the run on a login node of the cluster, or leave "
            "--profile slurm away"
        )
    if not cluster_settings():
        raise SystemFault(
            "--profile slurm: SLURM does not answer (`scontrol show config`); start the run on a login node of the "
            "cluster, wait until it is up again, or leave --profile slurm away"
        )


def default_resources(slurm: SlurmOptions) -> dict[str, str]:
    """Resources of every job that the site decides, as Python expressions, which Snakemake evaluates."""
    site = {
        "slurm_partition": slurm.partition,
        "slurm_account": slurm.account,
        "slurm_extra": slurm.extra,
    }
    return {name: repr(value) for name, value in site.items() if value is not None}


def table(jobs: Iterable[Job]) -> list[str]:
    """What each rule asks of SLURM at its first attempt: partition, account, threads, memory, time; of jobs to run."""
    todo: dict[str, list[Job]] = {}
    for job in jobs:
        if job.todo:
            todo.setdefault(job.rule, []).append(job)
    if not todo:
        return []
    width = max(map(len, todo))
    lines = [f"{'on SLURM':<{width}}   partition, account, threads, memory, time of one job"]
    for rule, mine in sorted(todo.items()):
        lines.append(
            f"{rule:<{width}}   {mine[0].partition or 'the default'}, {mine[0].account or 'the default'}, "
            f"{_span([job.threads for job in mine])}, {_span([job.mem_mb for job in mine])} MB, "
            f"{_span([job.runtime_min for job in mine])} min"
        )
    return lines


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}–{high:.0f}"


def status_command(slurm: SlurmOptions) -> str:
    """`sacct` where there is accounting that answers, else `squeue`; warns if squeue forgets jobs too soon."""
    if slurm.status_command != "auto":
        return slurm.status_command
    settings = cluster_settings()
    accounted = settings.get("AccountingStorageType") == ACCOUNTING
    if accounted and _answer("sacct", "--noheader", "--starttime", "now") is not None:
        return "sacct"
    age = settings.get("MinJobAge", "").split()
    if age and age[0].isdigit() and int(age[0]) < MIN_JOB_AGE_S:
        sys.stderr.write(
            f"contimg: warning: SLURM forgets jobs {age[0]} s after their end (MinJobAge), and no accounting can be "
            "asked instead: a run can wait without end for a job that is gone; have MinJobAge set to "
            f"{MIN_JOB_AGE_S} or more\n"
        )
    return "squeue"


def cluster_settings() -> dict[str, str]:
    """What `scontrol show config` tells, by name; empty where SLURM does not answer."""
    return dict(_settings(os.environ.get("PATH", "")))


@lru_cache(maxsize=4)
def _settings(_path: str) -> tuple[tuple[str, str], ...]:
    pairs = (line.split("=", 1) for line in (_answer("scontrol", "show", "config") or "").splitlines())
    return tuple((pair[0].strip(), pair[1].strip()) for pair in pairs if len(pair) == 2)


def _answer(*command: str) -> str | None:
    """What a command prints; None if it is not there, fails or is silent for 20 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
