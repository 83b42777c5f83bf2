"""No job keeps more threads busy than it was given, whatever library it calls."""

import json
import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contimg import processes

from .conftest import QUICK, make_night

STAGES = ("ms/science", "cal", "images", "mosaics")
STEP_S = 0.05
WINDOW = 20  # samples, a second: a thread that hands over to another is runnable beside it for an instant, no longer
# A thread more in a tenth of a window's samples passes; one thread more for long does not.
TOLERANCE = 0.5


def runnable(pid: int) -> int:
    """Threads of a process and all it started that run or want to: on a loaded machine as on an idle one."""
    count = 0
    for one in processes.tree(pid):
        for task in Path(f"/proc/{one}/task").glob("*/stat"):
            try:
                count += task.read_text().rsplit(")", 1)[1].split()[0] == "R"
            except OSError:
                continue
    return count


def busiest(samples: list[int]) -> float:
    """Largest mean of a window of samples; of all, if they are fewer."""
    width = min(WINDOW, len(samples))
    return max(sum(samples[i : i + width]) / width for i in range(len(samples) - width + 1))


class Watch(threading.Thread):
    """Samples the jobs of a products tree, found by their records, until told to stop."""

    def __init__(self, products: Path) -> None:
        super().__init__(daemon=True)
        self.products, self.stop, self.samples = products, threading.Event(), {}

    def run(self) -> None:
        while not self.stop.wait(STEP_S):
            for path in self.products.glob("state/attempts/*/*.json"):
                try:
                    record = json.loads(path.read_text())
                except FileNotFoundError:
                    continue
                if processes.started(record["pid"]) == record["started"]:
                    self.samples.setdefault(record["key"], []).append(runnable(record["pid"]))


@pytest.fixture(scope="module")
def samples(tiny_options, tmp_path_factory) -> dict[str, list[int]]:
    """Busy threads of each job of a night of two tiles, every job with one thread, on a machine that has more."""
    where = tmp_path_factory.mktemp("threads")
    watch = Watch(where / "products")
    watch.start()
    options = replace(tiny_options, n_tiles=2, transit_tile=0)
    make_night(where, options, "mosaic", settings=QUICK, cores=1)
    watch.stop.set()
    watch.join()
    return watch.samples


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_of_one_thread_keeps_one_thread_busy(samples, stage):
    jobs = {key: values for key, values in samples.items() if key.startswith(stage)}
    assert jobs
    for key, values in jobs.items():
        assert 0.5 < busiest(values) <= 1 + TOLERANCE, (key, values)


def test_threads_too_many_would_be_seen():
    loops = "for i in 1 2 3; do while :; do :; done & done; wait"
    with subprocess.Popen(["sh", "-c", loops], start_new_session=True) as three:
        try:
            time.sleep(0.2)
            values = [runnable(three.pid) for _ in range(WINDOW)]
        finally:
            os.killpg(three.pid, 9)
    assert busiest(values) >= 3 - TOLERANCE
