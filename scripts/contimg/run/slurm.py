"""A site's SLURM: what profiles/slurm asks for, from the section `slurm` of the configuration.

A profile is read before the Snakefile and the command line: it sees config/config.yaml and config/site.yaml only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from contimg.config.slurm import SlurmOptions

ACCOUNTING = "accounting_storage/slurmdbd"
MIN_JOB_AGE_S = 300
"""squeue must remember ended jobs for longer than the longest pause between two questions (180 s)."""


def options() -> SlurmOptions:
    """The section `slurm` of config/config.yaml and config/site.yaml."""
    from contimg.config.files import read_configuration
    from contimg.config.load import load

    return load(read_configuration([], []), check=False).slurm


def default_resources(slurm: SlurmOptions) -> dict[str, str]:
    """Resources of every job that the site decides, as Python expressions, which Snakemake evaluates."""
    site = {
        "slurm_partition": slurm.partition,
        "slurm_account": slurm.account,
        "slurm_extra": slurm.extra,
    }
    return {name: repr(value) for name, value in site.items() if value is not None}


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
    pairs = (line.split("=", 1) for line in (_answer("scontrol", "show", "config") or "").splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _answer(*command: str) -> str | None:
    """What a command prints; None if it is not there, fails or is silent for 20 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
