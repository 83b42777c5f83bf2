"""What a rule asks for, as functions of its input and of the attempt: promises that its jobs keep.

The figures are in `contimg.core.rules`; memory and time grow with each attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contimg.config.model import Config
from contimg.core.names import transit_dir, window_dir
from contimg.core.rules import BY_NAME
from contimg.jobs.frame import RESTARTS
from contimg.jobs.scratch import in_memory
from contimg.night.night import Night


def needs(rule: str, night: Night, config: Config) -> dict[str, Any]:
    """Make the resources of a rule, for `resources: **needs(...)`.

    Parameters
    ----------
    rule : str
        Its name, as in `contimg.core.rules`.
    night : Night
        Knows the size of each tile's raw data, and which tiles a mosaic has.
    config : Config
        Says where scratch is: if that is memory, what a job fills there is part of `mem_mb`.

    Returns
    -------
    dict
        `mem_mb`, `disk_mb` (megabytes) and `runtime` (minutes): ``f(wildcards, attempt) -> int`` as Snakemake calls
        them; `attempt`; and for a rule that works in scratch `scratch_mb`, `scratch` and `scratch_full`.
    """
    need, size = BY_NAME[rule].need, _SIZES[BY_NAME[rule].unit]
    works_in_scratch = need.scratch_mb > 0
    counted = works_in_scratch and config.scratch is not None and in_memory(config.scratch)

    def scratch_mb(wildcards: Any) -> int:
        return round(need.scratch_mb + need.scratch_mb_per_unit * size(night, wildcards))

    def mem_mb(wildcards: Any, attempt: int) -> int:
        own = (need.mem_mb + need.mem_mb_per_unit * size(night, wildcards)) * 1.5 ** (_grown(attempt) - 1)
        return round(own) + (scratch_mb(wildcards) if counted else 0)

    def runtime(wildcards: Any, attempt: int) -> int:
        return round((need.minutes + need.minutes_per_unit * size(night, wildcards)) * _grown(attempt))

    def disk_mb(wildcards: Any) -> int:
        return round(need.disk_mb + need.disk_mb_per_unit * size(night, wildcards))

    found: dict[str, Any] = {
        "mem_mb": mem_mb,
        "disk_mb": disk_mb,
        "runtime": runtime,
        "attempt": lambda wildcards, attempt: attempt,
    }
    if works_in_scratch:
        found |= {
            "scratch": str(config.scratch or ""),
            "scratch_full": config.scratch_full,
            "scratch_mb": scratch_mb,
        }
    return found


def _grown(attempt: int) -> int:
    """The attempt that resources grow with: beyond the last no node may have had room, and a kill only says so."""
    return 1 if attempt > RESTARTS else attempt


def _tiles(night: Night, wildcards: Any) -> float:
    if hasattr(wildcards, "product"):
        return len(night.judged(wildcards.date, wildcards.product).tiles)
    if hasattr(wildcards, "calibrator"):
        return len(night.window(transit_dir(wildcards.calibrator, wildcards.date)).tiles)
    return len(night.window(window_dir(wildcards.date, wildcards.mosaic)).tiles)


_SIZES: dict[str, Callable[[Night, Any], float]] = {
    "GB": lambda night, wildcards: night.bytes_of(wildcards.tile) / 1e9,
    "tiles": _tiles,
    "verdicts": lambda night, wildcards: len(night.verdicts_of(wildcards.date)),
    "none": lambda night, wildcards: 0.0,
}
