"""Which jobs of a night are to be done, without Snakemake's graph: its own rules, for what this workflow uses of them.

A job is to be done if something asks for a product of it that is not there; if an input is newer than what it made (by
content for small files); if its inputs or parameters are others than those that Snakemake noted at its last run; if it
was interrupted; if what it needs is made anew. That is what `snakemake -n` tells with the profile of this clone
(`rerun-triggers: mtime, input, params`).
"""

from __future__ import annotations

import hashlib
import json
import stat
from base64 import urlsafe_b64encode
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.core.errors import SystemFault
from contimg.jobs.engine import Job
from contimg.night.night import Night
from contimg.plan.graph import TARGETS, Recipe, recipes
from contimg.plan.share import share

_CHECKED_BYTES = 1_000_000
"""Files up to this size count as the same if their content is (Snakemake's default)."""
_LONGEST = 254
"""Characters of a name of its records: one less than file systems take."""
_COMPARED = 6
"""Version of Snakemake's records since which they can be compared."""

NOT_THERE = "output files have to be generated"
NEWER = "updated input files"
MADE = "input files updated by another job"
OTHER_INPUTS = "set of input files has changed since last execution"
OTHER_PARAMS = "params have changed since last execution"
INTERRUPTED = "incomplete output files"


def planned(config: Config, night: Night, *, target: str, cores: int) -> list[Job]:
    """List the jobs of a run as `snakemake -n` would.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night
    target : str
        A key of `contimg.plan.graph.TARGETS`.
    cores : int
        Of this machine, that the run may use.

    Returns
    -------
    list of Job
        Those that products of the target depend on, done or to be done.

    Raises
    ------
    SystemFault
        A file that no job makes is not there.
    """
    threads = share(config.threads_per_job, night, config.products, cores)
    wanted = list(TARGETS[target](night))
    graph = Graph(recipes(config, night, threads, target), wanted, config.products)
    reasons = graph.todo()
    return sorted(
        (
            Job(
                rule=job.rule,
                output=job.output,
                input=job.input,
                todo=number in reasons,
                reasons=tuple(sorted(reasons.get(number, ()))),
                threads=min(job.threads, cores),
                disk_mb=job.disk_mb if number in reasons else 0.0,
                benchmark=job.benchmark,
            )
            for number, job in graph.jobs.items()
        ),
        key=lambda job: (job.rule, job.output),
    )


class Graph:
    """The jobs that some products depend on, by their place in the order of work.

    Parameters
    ----------
    all_recipes : sequence of Recipe
        What a job needs stands before it.
    wanted : iterable of str
        Products asked for.
    tree : Path
        The products tree.
    """

    def __init__(self, all_recipes: Sequence[Recipe], wanted: Iterable[str], tree: Path) -> None:
        self._tree, self._wanted = tree, set(wanted)
        self._files = _Files(tree)
        maker = {path: number for number, job in enumerate(all_recipes) for path in job.output}
        self.jobs: dict[int, Recipe] = {}
        self._needs: dict[int, dict[int, list[str]]] = {}
        self._needed_by: dict[int, list[int]] = defaultdict(list)
        self._makes = maker
        queue = deque(sorted({maker[path] for path in self._wanted if path in maker}))
        lacking = [path for path in self._wanted if path not in maker and self._files.time(path) is None]
        while queue:
            number = queue.popleft()
            if number in self.jobs:
                continue
            job = self.jobs[number] = all_recipes[number]
            needs = self._needs[number] = {}
            for path in dict.fromkeys(job.input):
                if path in maker:
                    needs.setdefault(maker[path], []).append(path)
                elif self._files.time(path) is None:
                    lacking.append(path)
            queue.extend(needs.keys() - self.jobs.keys())
            for other in needs:
                self._needed_by[other].append(number)
        if lacking:
            raise SystemFault(f"{sorted(lacking)[0]} is not there, and no job makes it; start again")

    def todo(self) -> dict[int, set[str]]:
        """Jobs that are to be done, each with why."""
        oldest = self._oldest()
        reasons: dict[int, set[str]] = defaultdict(set)
        for path in self._wanted & self._makes.keys():
            if self._files.time(path) is None:
                reasons[self._makes[path]].add(NOT_THERE)
        for number, job in self.jobs.items():
            if number not in reasons and (why := self._own_reason(job, oldest[number])):
                reasons[number].add(why)
        queue = deque(reasons)
        while queue:
            number = queue.popleft()
            for other, paths in self._needs[number].items():
                if any(self._files.time(path) is None for path in paths):
                    if other not in reasons:
                        queue.append(other)
                    reasons[other].add(NOT_THERE)
            for other in self._needed_by[number]:
                if other not in reasons:
                    queue.append(other)
                reasons[other].add(MADE)
        return dict(reasons)

    def _oldest(self) -> dict[int, float | None]:
        """When the oldest product of each job was made; without any, that of what was made of it."""
        found: dict[int, float | None] = {}
        for number in sorted(self.jobs, reverse=True):
            job = self.jobs[number]
            own = [self._files.time(path) for path in job.output]
            there = [time for time in own if time is not None]
            benchmark = self._files.time(job.benchmark)
            if benchmark is not None:
                there.append(benchmark)
            after = (found[other] for other in self._needed_by[number])
            found[number] = min(there) if there else next((time for time in after if time is not None), None)
        return found

    def _own_reason(self, job: Recipe, oldest: float | None) -> str | None:
        """Why a job is to be done whatever becomes of the others; None if it is not."""
        if self._files.interrupted(job.output):
            return INTERRUPTED
        records = [self._files.record(path) for path in job.output]
        if oldest is not None:
            for path in job.input:
                time = self._files.time(path)
                if time is not None and time > oldest and not self._files.same(path, records):
                    return NEWER
        if any(record.get("record_format_version", 0) < _COMPARED for record in records):
            return None  # Snakemake knows too little of it: it takes it as it is
        for noted, now, why in (
            ("params", set(job.params), OTHER_PARAMS),
            ("input", set(job.input), OTHER_INPUTS),
        ):
            if any(record[noted] is not None and set(record[noted]) != now for record in records):
                return why
        return None


class _Files:
    """What is there, and what Snakemake noted of it (`.snakemake/metadata`, `.snakemake/incomplete`)."""

    def __init__(self, tree: Path) -> None:
        self._root, self._notes = tree, tree / ".snakemake"
        self._times: dict[str, float | None] = {}

    def time(self, path: str) -> float | None:
        """When a product was last changed; None if it is not there."""
        if path not in self._times:
            self._times[path] = self._time(self._root / path)
        return self._times[path]

    @staticmethod
    def _time(path: Path) -> float | None:
        try:
            info = path.stat()
            if stat.S_ISDIR(info.st_mode):
                with suppress(FileNotFoundError):
                    info = (path / ".snakemake_timestamp").stat()
        except FileNotFoundError:
            return None
        return info.st_mtime

    def record(self, path: str) -> dict[str, Any]:
        """What Snakemake noted when it made a product; empty if nothing."""
        try:
            found: dict[str, Any] = json.loads(self.noted(path).read_bytes())
        except (FileNotFoundError, ValueError):  # a record in the making is no record, as for Snakemake
            return {}
        return found

    def interrupted(self, paths: Iterable[str]) -> bool:
        """Whether products are there of a job that was interrupted."""
        marked = self._marked
        return bool(marked) and any(
            str(self.noted(path, "incomplete")) in marked and self.time(path) is not None for path in paths
        )

    @cached_property
    def _marked(self) -> set[str]:
        return {str(path) for path in (self._notes / "incomplete").rglob("*") if path.is_file()}

    def same(self, path: str, records: Iterable[dict[str, Any]]) -> bool:
        """Whether a newer file has the content that it had when it was used."""
        noted = {(record.get("input_checksums") or {}).get(path) for record in records}
        absolute = self._root / path
        if len(noted) != 1 or None in noted or absolute.is_dir() or absolute.stat().st_size > _CHECKED_BYTES:
            return False
        kind, _, value = str(noted.pop()).rpartition(":")
        return hashlib.new(kind or "sha256", absolute.read_bytes()).hexdigest() == value

    def noted(self, path: str, kind: str = "metadata") -> Path:
        """Where Snakemake keeps what it noted of a path: long names are split."""
        coded = urlsafe_b64encode(path.encode()).decode()
        parts = [coded[start : start + _LONGEST] for start in range(0, len(coded), _LONGEST)]
        return self._notes.joinpath(kind, *("@" + part for part in parts[:-1]), parts[-1])
