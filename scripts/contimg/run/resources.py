"""What a job needs, as functions of its input and of the attempt: promises that the jobs keep.

The figures were measured on full tiles (96 antennas, 24 integrations, 768 channels: 2.2 GB of raw files)
with `make bench`, and hold a margin of a half; memory and time grow with each attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core.names import transit_dir, window_dir
from contimg.jobs.frame import RESTARTS
from contimg.jobs.scratch import in_memory as scratch_is_memory
from contimg.night.night import Night


@dataclass(frozen=True)
class Need:
    """Resources of one kind of job: a constant, and what each GB of raw data or each tile adds."""

    mem_mb: float
    mem_mb_per_unit: float
    minutes: float
    minutes_per_unit: float
    disk_mb: float
    disk_mb_per_unit: float
    scratch_mb: float = 0.0
    scratch_mb_per_unit: float = 0.0


# Scratch of a conversion: the Measurement Set. Of the others at most: the calibrated set, unaveraged, and WSClean's
# copy of it.
_NEEDS = {
    "convert_tile": Need(900, 300, 4, 4, 100, 900, 100, 900),
    "calibrate_transit": Need(1500, 700, 6, 8, 100, 1300, 400, 1750),
    "image_tile": Need(2500, 1500, 10, 15, 400, 900, 400, 1750),
    "apply_tile": Need(900, 300, 4, 4, 100, 900),
    "beam_tile": Need(1500, 600, 4, 6, 100, 900, 400, 1750),
    "mosaic": Need(2500, 40, 5, 2, 500, 20),
    "qa_tile": Need(500, 500, 2, 2, 10, 0),
    "qa_mosaic": Need(1500, 200, 5, 1, 20, 0),
    "photometry": Need(1500, 100, 5, 0.5, 20, 1),
    "publish": Need(1500, 60, 3, 1, 500, 20),
    "qa_night": Need(1500, 2, 5, 0.1, 50, 1),
}


def needs(job: str, what: str, night: Night, *, scratch: Path | None = None) -> Callable[..., int]:
    """Make a resource function of a rule.

    Parameters
    ----------
    job : str
        `convert_tile`, `calibrate_transit`, `image_tile`, `apply_tile`, `beam_tile`, `qa_tile` (units: GB of raw data),
        `mosaic`, `qa_mosaic`, `photometry` or `publish` (units: tiles), `qa_night` (units: verdicts).
    what : {"mem_mb", "disk_mb", "scratch_mb", "runtime"}
        Megabytes, or minutes.
    night : Night
        Knows the size of each tile's raw data.
    scratch : Path, optional
        Where the job works: if that is memory, what it fills there is part of `mem_mb`.

    Returns
    -------
    callable
        ``f(wildcards, attempt) -> int`` as Snakemake calls it.
    """
    need = _NEEDS[job]
    in_memory = scratch is not None and scratch_is_memory(scratch)

    def units(wildcards: Any) -> float:
        if job == "qa_night":
            return len(night.verdicts_of(wildcards.date))
        if job in ("qa_mosaic", "photometry", "publish"):
            return len(night.judged(wildcards.date, wildcards.product).tiles)
        if job != "mosaic":
            return night.bytes_of(wildcards.tile) / 1e9
        if hasattr(wildcards, "calibrator"):
            return len(night.window(transit_dir(wildcards.calibrator, wildcards.date)).tiles)
        return len(night.window(window_dir(wildcards.date, wildcards.mosaic)).tiles)

    def resource(wildcards: Any, attempt: int) -> int:
        if attempt > RESTARTS:
            attempt = 1  # no node may have had room for the last, and what was killed only says so
        if what == "mem_mb":
            own = (need.mem_mb + need.mem_mb_per_unit * units(wildcards)) * 1.5 ** (attempt - 1)
            return round(own + in_memory * (need.scratch_mb + need.scratch_mb_per_unit * units(wildcards)))
        if what == "runtime":
            return round((need.minutes + need.minutes_per_unit * units(wildcards)) * attempt)
        if what == "scratch_mb":
            return round(need.scratch_mb + need.scratch_mb_per_unit * units(wildcards))
        return round(need.disk_mb + need.disk_mb_per_unit * units(wildcards))

    return resource
