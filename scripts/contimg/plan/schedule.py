"""How long a run takes on so many cores: its jobs, begun in the order in which their inputs are made."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contimg.core.rules import BY_NAME
from contimg.jobs.engine import Job


@dataclass(frozen=True)
class Machine:
    """Where jobs run.

    Attributes
    ----------
    name : str
        As the plan calls it.
    cores : int
        That jobs may use together.
    jobs : int
        Most jobs at once.
    overhead_s : float
        What every job costs before it works: engine, Python, queue.
    origin : str
        How these numbers are known.
    threads : int, optional
        Most that a job gets there; by default what its rule says.
    """

    name: str
    cores: int
    jobs: int
    overhead_s: float
    origin: str
    threads: int | None = None

    def threads_of(self, job: Job) -> int:
        """Threads that a job has there."""
        return min(job.threads, self.threads or job.threads, self.cores)


def wall_seconds(jobs: Sequence[Job], seconds: Mapping[str, float], machine: Machine) -> float:
    """Wall time of the jobs to run.

    Parameters
    ----------
    jobs : sequence of Job
        Those that are not `todo` are ready from the start.
    seconds : mapping of str to float
        Expected duration of each job to run, by its product.
    machine : Machine

    Returns
    -------
    float
        Seconds until the last one ends, each job starting as soon as its inputs are there and its threads
        are free; those of a rule with priority first, the others as their inputs come.
    """
    todo = [job for job in jobs if job.todo]
    maker = {path: job.product for job in todo for path in job.output}
    waits = {job.product: {maker[path] for path in job.input if path in maker} for job in todo}
    followers = defaultdict(list)
    for product, needed in waits.items():
        for other in needed:
            followers[other].append(product)
    by_product = {job.product: job for job in todo}
    first = [product for product, needed in waits.items() if not needed]
    ready = deque(sorted(first, key=lambda product: -_priority(by_product[product])))
    running: list[tuple[float, str]] = []
    now, free = 0.0, machine.cores

    def threads(product: str) -> int:
        return machine.threads_of(by_product[product])

    while ready or running:
        while ready and len(running) < machine.jobs and threads(ready[0]) <= free:
            product = ready.popleft()
            free -= threads(product)
            heapq.heappush(running, (now + seconds[product] + machine.overhead_s, product))
        now, ended = heapq.heappop(running)
        free += threads(ended)
        for product in followers[ended]:
            waits[product].discard(ended)
            if not waits[product]:
                ready.append(product)
    return now


def _priority(job: Job) -> int:
    rule = BY_NAME.get(job.rule)
    return rule.priority if rule else 0
