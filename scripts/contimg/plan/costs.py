"""What the jobs of a plan will cost: from the benchmarks of past runs of the same products tree, else from defaults.

A job's size is the raw data of its tile in GB, or, for what is no tile's, the number of its inputs. Costs are what the
smallest job takes, and beyond that proportional to the size: what past jobs of the rule took is brought to the job's.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from contimg.core.names import TILE_RE
from contimg.core.rules import BY_NAME, FULL_TILE_GB
from contimg.jobs.engine import Job

LOW, HIGH = 0.16, 0.84
"""Quantiles that tell the scatter: one standard deviation to either side, were it Gaussian."""
_MOST_FIXED = 0.8
"""Of the shortest past job: what it took at least did not follow from its size."""
MOST_MEASURED = 20
"""Products of a rule whose size on disk is looked at."""


@dataclass(frozen=True)
class Cost:
    """Expected cost of a job, or of one unit of its size.

    Attributes
    ----------
    seconds, low_s, high_s : float
        Wall time: median, and its 16 % and 84 % quantiles.
    core_seconds : float
        Processor time.
    origin : str
        Where the numbers come from.
    fixed_s : float
        Of a unit's cost: what any job takes besides, however small.
    """

    seconds: float
    low_s: float
    high_s: float
    core_seconds: float
    origin: str
    fixed_s: float = 0.0

    def times(self, units: float) -> Cost:
        """The cost of a job of so many units."""
        return Cost(
            self.fixed_s + self.seconds * units,
            self.fixed_s + self.low_s * units,
            self.fixed_s + self.high_s * units,
            self.fixed_s + self.core_seconds * units,
            self.origin,
        )

    def alone(self) -> Cost:
        """The cost with one thread, where no wall time is shorter than the processor time."""
        longer = max(1.0, self.core_seconds / self.seconds) if self.seconds else 1.0
        return replace(
            self, seconds=self.seconds * longer, low_s=self.low_s * longer, high_s=self.high_s * longer
        )


CORES_BUSY = 1.4
"""Of two, by a job with two threads (docs/performance.md, 96 antennas: convert 35 CPU s in 24 s, image 102 in 76)."""
_ORIGIN = "default: a full tile (docs/plan.md)"


def default_cost(rule: str) -> Cost:
    """Cost of one unit of a rule that has no past jobs: a GB of raw data, or an input."""
    known = BY_NAME.get(rule)
    fixed = 0.0
    if known is not None and known.full_tile_s is not None:
        fixed = known.least_s
        seconds = (known.full_tile_s - fixed) / FULL_TILE_GB
    elif known is not None and known.input_s is not None:
        seconds = known.input_s
    else:
        return _UNKNOWN
    return Cost(seconds, seconds / 1.5, seconds * 2.0, CORES_BUSY * seconds, _ORIGIN, fixed)


_UNKNOWN = Cost(1.0, 0.5, 2.0, 1.0, "assumed: a second for each input")


@dataclass(frozen=True)
class Sample:
    """What one past job took (a row of its benchmark table): wall and processor seconds, and the size it had."""

    seconds: float
    core_seconds: float
    units: float | None


def job_units(product: str, inputs: int, tile_bytes: Mapping[str, int]) -> float:
    """Size of a job: GB of its tile's raw data, or the number of its inputs (at least 1)."""
    tile = TILE_RE.search(product)
    if tile and tile[0] in tile_bytes:
        return max(tile_bytes[tile[0]] / 1e9, 1e-6)
    return max(float(inputs), 1.0)


def read_benchmarks(
    products: Path, jobs: Iterable[Job], tile_bytes: Mapping[str, int]
) -> dict[str, list[Sample]]:
    """Read the benchmark tables of past runs, `benchmarks/{rule}/….tsv`.

    Parameters
    ----------
    products : Path
        The products tree.
    jobs : iterable of Job
        Jobs whose benchmark may be among them: they tell its size.
    tile_bytes : mapping of str to int
        Raw bytes of each tile.

    Returns
    -------
    dict of str to list of Sample
        By rule. A table that cannot be read, half-written for instance, is left out.
    """
    known = {job.benchmark: job_units(job.product, len(job.input), tile_bytes) for job in jobs}
    found = defaultdict(list)
    root = products / "benchmarks"
    for path in sorted(root.glob("*/**/*.tsv")):
        name = path.relative_to(products).as_posix()
        tile = TILE_RE.search(name)
        units = known.get(name)
        if units is None and tile and tile[0] in tile_bytes:
            units = job_units(name, 1, tile_bytes)
        try:
            with path.open(newline="") as stream:
                row = list(csv.DictReader(stream, delimiter="\t"))[-1]
            seconds, core_seconds = float(row["s"]), float(row["cpu_time"])
        except (OSError, IndexError, KeyError, TypeError, ValueError):
            continue
        found[path.relative_to(root).parts[0]].append(Sample(seconds, core_seconds, units))
    return dict(found)


def unit_costs(samples: Mapping[str, Sequence[Sample]], rules: Iterable[str]) -> dict[str, Cost]:
    """Cost of one unit of each rule's jobs: of past jobs whose size is known, else the default."""
    costs = {}
    for rule in rules:
        sized = [sample for sample in samples.get(rule, ()) if sample.units]
        if not sized:
            costs[rule] = default_cost(rule)
            continue
        known = BY_NAME.get(rule)
        least = min(min(sample.seconds, sample.core_seconds) for sample in sized)
        fixed = min(known.least_s if known else 0.0, _MOST_FIXED * least)
        each = np.array([(sample.seconds - fixed) / sample.units for sample in sized if sample.units])
        cores = np.array([(sample.core_seconds - fixed) / sample.units for sample in sized if sample.units])
        low, middle, high = np.quantile(each, [LOW, 0.5, HIGH])
        costs[rule] = Cost(
            float(middle), float(low), float(high), float(np.median(cores)), f"{len(sized)} past jobs", fixed
        )
    return costs


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory; 0 if there is none."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size if path.exists() else 0


def bytes_per_unit(
    products: Path, jobs: Sequence[Job], tile_bytes: Mapping[str, int]
) -> dict[str, tuple[float, str]]:
    """Bytes that the jobs of each rule write for each unit, and where that number comes from.

    Products that are there are measured; without any, what was written for a full tile is taken, and for what is no
    tile's the most that the rule promises (`disk_mb`).
    """
    by_rule = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    found = {}
    for rule, members in by_rule.items():
        ratios = []
        for job in [job for job in members if (products / job.product).exists()][:MOST_MEASURED]:
            size = sum(size_of(products / path) for path in job.output)
            ratios.append(size / job_units(job.product, len(job.input), tile_bytes))
        if ratios:
            found[rule] = (float(np.median(ratios)), f"{len(ratios)} products measured")
            continue
        writes = BY_NAME[rule].writes if rule in BY_NAME else None
        if writes is not None:
            always, each_gb = writes
            units = [job_units(job.product, len(job.input), tile_bytes) for job in members]
            found[rule] = (always / float(np.median(units)) + each_gb, _ORIGIN)
            continue
        promised = [
            job.disk_mb * 1e6 / job_units(job.product, len(job.input), tile_bytes)
            for job in members
            if job.disk_mb
        ]
        found[rule] = (float(np.median(promised)) if promised else 0.0, "what the rule may use at most")
    return found
