"""How the jobs of a run share its machine: threads of each, and the memory of all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contimg.core import names
from contimg.night.night import Night

MOST_THREADS = 2
"""What `auto` gives a job at most: a third thread shortens it little (docs/performance.md)."""
MEMORY_SHARE = 0.9
"""Of the machine's memory, for the jobs of a run: the rest is the engine's and the system's."""
_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Threads:
    """Threads of a job of a tile, and of one of a mosaic."""

    tile: int
    mosaic: int


def threads_of(setting: int | Literal["auto"], jobs: int, cores: int | None) -> int:
    """Threads of each of some jobs of one kind.

    One thread does more work an hour than two that share a job, so as long as there is a job for every core each gets
    one; with fewer, a second thread serves latency.

    Parameters
    ----------
    setting : int or "auto"
        `threads_per_job`.
    jobs : int
        That are to be done and do not wait for each other.
    cores : int or None
        Of the run; None on a cluster, which starts more jobs instead.
    """
    if setting != "auto":
        return setting
    if cores is None:
        return 1
    return max(1, min(MOST_THREADS, cores // max(jobs, 1)))


def share(setting: int | Literal["auto"], night: Night, products: Path, cores: int | None) -> Threads:
    """Threads of a run's jobs, known before there is a graph of them: by what is not there yet, else by all."""
    images = map(names.image_dir, night.selected)
    return Threads(
        *(threads_of(setting, _missing(paths, products), cores) for paths in (images, night.windows))
    )


def _missing(paths: Iterable[str], products: Path) -> int:
    there = [(products / path / "status.json").exists() for path in paths]
    return there.count(False) or len(there)


def memory_mb() -> int:
    """Memory that the jobs of a run may promise each other on this machine, MB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _LIMIT.read_text().strip() if _LIMIT.exists() else "max"
    return round(MEMORY_SHARE * (total if limit == "max" else min(total, int(limit))) / 1e6)
