"""A small night through a real SLURM of two nodes (tests/slurm/cluster.sh), while all happens to it that happens.

Needs root and Debian's munge and slurm-wlm. `tools/slurm.sh` says, for `make test`, whether this machine can.
"""

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contimg import jobs

from .conftest import CLONE, Made, command, expect_same_pixels, make_night

CLUSTER = CLONE / "tests" / "slurm" / "cluster.sh"
# The workflow is what is tested here, not the images: small ones, without models of other sources.
SMALL = (
    "calibration={find_neighbours: false}",
    "imaging={quality_tier: development, sky_model: none, imsize: 512}",
)
PATIENCE_S = 900


def slurm(*words: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def cluster():
    subprocess.run([CLUSTER, "start"], check=True)
    yield
    subprocess.run([CLUSTER, "stop"], check=True)


@pytest.fixture(scope="module")
def local(tiny_options, tmp_path_factory) -> Made:
    """The night on this machine alone: what SLURM must come to as well. Four tiles, the calibrator in the second."""
    options = replace(tiny_options, n_tiles=4)
    return make_night(tmp_path_factory.mktemp("local"), options, "mosaic", settings=SMALL)


def through_slurm(made: Made, products: Path) -> list[str]:
    """The command of a night through SLURM; short jobs want to be asked soon."""
    words = ("--profile", "slurm", "mosaic", "--slurm-init-seconds-before-status-checks", "1")
    return command(*words, incoming=made.incoming, products=products, settings=made.settings)


@contextmanager
def running(words: list[str], terminal: Path, path: str = os.environ["PATH"]):
    """A run in the background; killed at the end if it still lives."""
    with terminal.open("w") as sink:
        run = subprocess.Popen(
            words,
            cwd=CLONE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"},
        )
        try:
            yield run
        finally:
            run.kill()
            run.wait()


def at_work(products: Path, kind: str, run: subprocess.Popen) -> dict:
    """Wait for a job of a kind of product (`ms!science`, `images`) to be at work; returns its record."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and run.poll() is None:
        for path in products.glob(f"state/attempts/{kind}!*/*.json"):
            try:
                return json.loads(path.read_text())
            except FileNotFoundError:
                continue
        time.sleep(0.05)
    pytest.fail(f"no job of {kind} was seen at work; the run ended with {run.poll()}")


@dataclass(frozen=True)
class Battered:
    """A night to which things happened."""

    products: Path
    second: subprocess.CompletedProcess  # a run of the same tree beside it
    orphan: str  # number of a SLURM job whose Snakemake was killed
    lost: dict  # record of the job whose node went down
    codes: tuple[int, ...]  # how the run ended, killed once and started again
    terminal: str  # what the last one printed


@pytest.fixture(scope="module")
def battered(local, cluster, tmp_path_factory) -> Battered:
    """The night through SLURM, with a second run beside it, a controller and a Snakemake that die, and a node."""
    where = tmp_path_factory.mktemp("battered")
    products = where / "products"
    words = through_slurm(local, products)
    with running(words, where / "first.txt") as first:
        at_work(products, "ms!science", first)
        subprocess.run([CLUSTER, "restart-controller"], check=True)
        beside = command(
            "--cores", "1", "convert", incoming=local.incoming, products=products, settings=local.settings
        )
        second = subprocess.run(beside, cwd=CLONE, capture_output=True, text=True, check=False)
        orphan = at_work(products, "images", first)["slurm_job"]
        first.send_signal(signal.SIGKILL)
        first.wait()
    with running(words, where / "last.txt") as last:
        while (lost := at_work(products, "images", last))["slurm_job"] == orphan:
            time.sleep(0.1)
        node = slurm("squeue", "--noheader", "--format=%N", "--job", lost["slurm_job"]).strip()
        slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        last.wait(PATIENCE_S)
    codes = (first.returncode, last.returncode)
    return Battered(products, second, orphan, lost, codes, (where / "last.txt").read_text())


def test_a_night_through_slurm_gives_the_same_products_whatever_happens(battered, local):
    assert battered.codes == (-signal.SIGKILL, 0), battered.terminal
    expect_same_pixels(battered.products, local.products)
    assert list(battered.products.glob("**/*.part.*")) == []
    assert jobs.killed(battered.products) == []


def test_a_second_run_on_the_tree_stops_at_once_and_says_who_holds_it(battered):
    assert battered.second.returncode != 0
    assert "another run writes this products tree (pid" in battered.second.stderr
    assert "Traceback" not in battered.second.stderr


def test_jobs_that_outlive_a_killed_snakemake_are_cancelled_by_the_next(battered):
    assert f"ended SLURM job {battered.orphan}, which an earlier run had left" in battered.terminal


def test_a_job_whose_node_goes_down_is_done_again(battered):
    assert battered.lost["key"].startswith("images/")
    status = json.loads((battered.products / battered.lost["key"] / "status.json").read_text())
    assert status["status"] == "ok"
