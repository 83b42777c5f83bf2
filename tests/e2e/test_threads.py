"""How many threads a job keeps busy, of itself and of every process below it, against its allocation.

What is counted is threads in state R, running or waiting for a core. The machine's speed, its load and its number of
cores play no part: four threads that want to work are four on one core too.
"""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from contimg.core.names import image_dir
from contimg.simulate import simulate

from .conftest import QUICK, SINGLE_PRECISION, command, running, scale_of, write_calibrators

LOOK_S = 0.04
# One thread more than allowed in one look out of twenty. A thread that wakes another is still running for a moment
# when both are counted; that is what the margin is for (measured: 0.006, or 0.02 in a larger tile). A library
# with a pool of its own, or a process beside its parent, is there in most looks of the time that it works.
MARGIN = 0.05
# As many looks are needed for that to be a share of them: fewer, and the job is not judged.
ENOUGH = 30


def state(stat: str) -> str:
    """State of a line of /proc/*/stat; the name before it may hold anything."""
    return stat.rsplit(")", 1)[1].split(maxsplit=1)[0]


def read(path: Path) -> str:
    """A file of /proc; nothing if its process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def tree(root: int) -> list[int]:
    """A process and all below it."""
    below = (word for task in tasks(root) for word in read(task / "children").split())
    return [root, *(pid for child in below for pid in tree(int(child)))]


def tasks(pid: int) -> list[Path]:
    """The threads of a process; none if it has ended."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def busy(pids: list[int]) -> int:
    """Threads of these processes that run or want to."""
    stats = (read(thread / "stat") for pid in pids for thread in tasks(pid))
    return sum(state(stat) == "R" for stat in stats if stat)


def job_of(pid: int) -> str | None:
    """The rule whose script a process runs; None for all others, also the shell that started the script."""
    words = read(Path(f"/proc/{pid}/cmdline")).split("\0")
    script = re.search(r"/scripts/tmp\w+\.(\w+)\.py$", words[1]) if len(words) > 1 else None
    return script[1] if script else None


@dataclass
class Watched:
    """Busy threads of every job of a run, look by look."""

    threads: int
    looks: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))

    def too_many(self, rule: str) -> float:
        """Threads beyond the allocation, the mean of all looks at a rule's worst job."""
        judged = [job for job in self.looks[rule] if len(job) >= ENOUGH]
        assert judged, f"no job of {rule} was seen {ENOUGH} times"
        return max(sum(max(0, seen - self.threads) for seen in job) / len(job) for job in judged)


def watch(words: list[str], threads: int, terminal: Path) -> Watched:
    """Run the workflow and look at its jobs until it ends."""
    watched, jobs = Watched(threads), {}
    with running(words, terminal) as run:
        while run.poll() is None:
            for pid in tree(run.pid):
                rule = None if pid in jobs else job_of(pid)
                if rule:
                    jobs[pid] = []
                    watched.looks[rule].append(jobs[pid])
                if pid in jobs:
                    jobs[pid].append(busy(tree(pid)))
            time.sleep(LOOK_S)
    assert run.returncode == 0, terminal.read_text()[-6000:]
    return watched


@pytest.fixture(scope="module")
def raw(tiny_options, tmp_path_factory):
    """Two tiles of ten antennas, the calibrator in the first."""
    where = tmp_path_factory.mktemp("threads")
    options = replace(tiny_options, n_tiles=2, transit_tile=0)
    truth = simulate(options, where / "incoming")
    catalogue = write_calibrators(where / "calibrators.csv", options.sources)
    return where, [tile.name for tile in truth.tiles], (f"calibrators={catalogue}", *QUICK)


@pytest.fixture(scope="module")
def on_one(raw) -> Watched:
    """The night on one core, as far as its verdicts: every rule has one thread."""
    where, _, settings = raw
    words = ("--cores", "1", "qa")
    night = command(*words, incoming=where / "incoming", products=where / "one", settings=settings)
    return watch(night, 1, where / "one.txt")


@pytest.fixture(scope="module")
def on_two(raw) -> Watched:
    """The first tile's image, with what it takes, with two threads for each job."""
    where, tiles, settings = raw
    words = ("--cores", "2", image_dir(tiles[0]))
    settings = (*settings, "threads_per_job=2")
    image = command(*words, incoming=where / "incoming", products=where / "two", settings=settings)
    return watch(image, 2, where / "two.txt")


WORK = ("convert_tile", "calibrate_transit", "image_tile")


@pytest.mark.parametrize("rule", [*WORK, "qa_tile", "mosaic_window", "qa_mosaic"])
def test_a_job_of_one_thread_keeps_one_busy(on_one, rule):
    assert on_one.too_many(rule) < MARGIN


@pytest.mark.parametrize("rule", WORK)
def test_a_job_of_two_threads_keeps_no_more_than_two_busy(on_two, rule):
    assert on_two.too_many(rule) < MARGIN


def test_threads_change_an_image_by_rounding_only(raw, on_one, on_two):
    where, tiles, _ = raw
    planes = sorted(path.name for path in (where / "two" / image_dir(tiles[0])).glob("*.fits"))
    assert planes
    for name in planes:
        one, two = (where / threads / image_dir(tiles[0]) / name for threads in ("one", "two"))
        atol = SINGLE_PRECISION * scale_of(one)
        np.testing.assert_allclose(fits.getdata(two), fits.getdata(one), rtol=0, atol=atol, err_msg=name)


SPIN = "import os\nfor _ in range({}):\n    if not os.fork(): break\nwhile True: pass"


@pytest.mark.parametrize("more", [0, 2])
def test_the_count_is_of_a_process_and_of_those_below_it_on_any_number_of_cores(more):
    spinning = subprocess.Popen([sys.executable, "-c", SPIN.format(more)], start_new_session=True)
    try:
        end = time.monotonic() + 60
        while len(tree(spinning.pid)) <= more and time.monotonic() < end:
            time.sleep(LOOK_S)
        time.sleep(0.5)
        looks = [busy(tree(spinning.pid)) for _ in range(10)]
    finally:
        os.killpg(spinning.pid, 9)
        spinning.wait()
    assert looks == [1 + more] * 10
