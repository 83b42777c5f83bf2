"""The section `slurm`: what a site asks of its SLURM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contimg.core.options import NUMBER, Name, Options, key


class SlurmOptions(Options):
    """The site's SLURM, for `--profile slurm`."""

    partition: Name | None = key(
        None, "Partition of the jobs; null: the cluster's default.", expects="a partition's name, or null"
    )
    account: Name | None = key(
        None, "Account that is charged; null: the user's default.", expects="an account's name, or null"
    )
    qos: Name | None = key(None, "Quality of service; null: the default.", expects="its name, or null")
    extra: Name | None = key(
        None,
        "Further options of sbatch, as one string.",
        expects="options such as '--constraint=avx2', or null",
        example="--constraint=avx2",
    )
    max_jobs: Annotated[int, Field(ge=1), NUMBER] = key(
        500, "Most jobs submitted at a time, running and waiting.", unit="jobs"
    )
    status_command: Literal["auto", "squeue", "sacct"] = key(
        "auto", "What is asked how jobs fare; auto: sacct where accounting answers, else squeue."
    )
