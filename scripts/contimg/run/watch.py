"""A run while it goes on: how far it is, in one line that a reader understands, and whether the disk still holds it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from contimg.core.rules import BY_NAME, RULES
from contimg.core.text import duration
from contimg.jobs.engine import Job, table

_ORDER = tuple(rule.name for rule in RULES)
_OTHER = "other jobs"
EVERY_S = 30.0
"""Least time between two lines of progress."""


class Watch:
    """Follows the jobs of a run.

    Parameters
    ----------
    say : callable
        Takes each line.
    free : callable
        Gives the free bytes of the products' disk.
    stop : callable
        Called once, when the disk will not hold what the running jobs may write: no further job is to start.
    reserve_bytes : int
        What stays free.
    clock : callable
        Seconds, rising.
    mistake : callable
        Says what is wrong with the configuration, if a job has found something; None if not.
    lacking : callable
        Says what the products' disk lacks to be written on at all, such as inodes or a quota; None if nothing.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        free: Callable[[], int],
        stop: Callable[[], None],
        reserve_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        lacking: Callable[[], str | None] = lambda: None,
        mistake: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._mistake = mistake
        self._lacking = lacking
        self._say, self._free, self._stop, self._reserve, self._clock = say, free, stop, reserve_bytes, clock
        self._began = self._told = clock()
        self._total: dict[str, int] = defaultdict(int)
        self._allowed_s: dict[str, float] = {}
        self._done: dict[str, int] = defaultdict(int)
        self._left: dict[str, Job] = {}
        self._running: dict[str, float] = {}
        self._took: dict[str, list[float]] = defaultdict(list)
        self.stopped: str | None = None

    def planned(self, jobs: Sequence[Job]) -> None:
        """Show the table of the jobs, and count them."""
        for line in table(jobs, _ORDER) if jobs else []:
            self._say(line)
        for job in jobs:
            self._total[job.rule] += 1
            if job.todo:
                self._allowed_s[job.rule] = 60.0 * job.runtime_min
                self._left[job.product] = job
            else:
                self._done[job.rule] += 1

    def started(self, jobs: Sequence[Job]) -> None:
        """Note that jobs start; stop the run if what runs may fill the disk. Jobs that write nothing are let go on."""
        for job in jobs:
            self._running[job.product] = self._clock()
        if self.stopped is not None:
            return
        mistake = self._mistake()
        if mistake is not None:
            self.stopped = mistake
            self._say(f"error: {mistake}; no further job starts, and nothing is rejected for it")
            self._stop()
            return
        lacking = self._lacking()
        if lacking is not None:
            self.stopped = lacking
            self._say(f"{lacking}; no further job starts. Make room, then start the same command again")
            self._stop()
            return
        need = sum(self._left[product].disk_mb * 1e6 for product in self._running if product in self._left)
        free = self._free()
        if need > 0 and free < need + self._reserve:
            self.stopped = (
                f"the disk is nearly full: {free / 1e9:.1f} GB free, the jobs that run may write {need / 1e9:.1f} GB "
                f"and {self._reserve / 1e9:g} GB stay free (disk_reserve_gb)"
            )
            self._say(f"{self.stopped}; no further job starts. Make room, then start the same command again")
            self._stop()

    def ended(self, job: Job) -> None:
        """Note that a job has made its product; now and then say how far the run is."""
        now = self._clock()
        if self._left.pop(job.product, None) is None:
            return
        self._took[job.rule].append(now - self._running.pop(job.product, self._began))
        self._done[job.rule] += 1
        if now - self._told >= EVERY_S or not self._left:
            self._told = now
            self._say(self.line())

    def line(self) -> str:
        """Say how far the run is: products there of those planned, time gone, time left."""
        said: dict[str, list[int]] = {}
        for rule in sorted(
            self._total, key=lambda rule: _ORDER.index(rule) if rule in _ORDER else len(_ORDER)
        ):
            counts = said.setdefault(BY_NAME[rule].words if rule in BY_NAME else _OTHER, [0, 0])
            counts[0] += self._done[rule]
            counts[1] += self._total[rule]
        far = ", ".join(f"{done} of {total} {words}" for words, (done, total) in said.items())
        gone = self._clock() - self._began
        left = self.seconds_left()
        rest = (
            "all jobs have ended"
            if not self._left
            else ""
            if left is None
            else f"about {duration(left)} left"
        )
        return f"{far}; {duration(gone)} gone{', ' if rest else ''}{rest}"

    def seconds_left(self) -> float | None:
        """Estimate the time left: work left over the rate of work so far.

        The work of a job is the mean time that jobs of its rule took in this run; of a rule that has not had
        one yet, its allowed runtime, brought down by what others used of theirs. None before the first end.
        """
        worked = sum(sum(times) for times in self._took.values())
        gone = self._clock() - self._began
        if not worked or gone <= 0:
            return None
        allowed = sum(self._allowed_s[rule] * len(times) for rule, times in self._took.items())
        used = worked / allowed if allowed else 1.0
        rest = 0.0
        for job in self._left.values():
            times = self._took.get(job.rule)
            rest += sum(times) / len(times) if times else self._allowed_s[job.rule] * used
        return rest * gone / worked
