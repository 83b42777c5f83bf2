"""A small night through a real SLURM of two nodes (tests/slurm/cluster.sh), while all happens to it that happens.

Needs root and Debian's munge and slurm-wlm. `tools/slurm.sh` says, for `make test`, whether this machine can.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contimg.jobs import frame

from .conftest import CLONE, Made, command, expect_same_pixels, make_night, running

CLUSTER = CLONE / "tests" / "slurm" / "cluster.sh"
# The workflow is what is tested here, not the images: small ones, without models of other sources, that no gate stops.
SMALL = (
    "calibration={find_neighbours: false}",
    "imaging={quality_tier: development, sky_model: none, imsize: 512, backend: wsclean}",
    "mosaic={stride_minutes: 60}",
    "qa={advisory: [rms, noise, dynamic_range, artefacts, reliability, beam, flags, weights]}",
)
PATIENCE_S = 1800


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


def bring_back(node: str) -> None:
    """Give a node that went down to SLURM again.

    It refuses that as long as it has not done away with the node's jobs, and when the node is back already: an answer
    that came too late for `scontrol` has the same effect as one in time.
    """
    words = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
    end = time.monotonic() + PATIENCE_S
    while (
        asked := subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    ).returncode:
        if not slurm("sinfo", "--noheader", "--format=%T", "--nodes", node).startswith("down"):
            break
        if time.monotonic() > end:
            pytest.fail(f"{node} does not come back: {asked.stderr}{slurm('scontrol', 'show', 'node', node)}")
        time.sleep(0.5)


def through_slurm(made: Made, products: Path) -> list[str]:
    """The command of a night through SLURM; short jobs want to be asked soon."""
    words = ("--profile", "slurm", "mosaic", "--slurm-init-seconds-before-status-checks", "1")
    return command(*words, incoming=made.incoming, products=products, settings=made.settings)


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
        bring_back(node)
        last.wait(PATIENCE_S)
    codes = (first.returncode, last.returncode)
    return Battered(products, second, orphan, lost, codes, (where / "last.txt").read_text())


def test_a_night_through_slurm_gives_the_same_products_whatever_happens(battered, local):
    assert battered.codes == (-signal.SIGKILL, 0), battered.terminal
    expect_same_pixels(battered.products, local.products)
    assert list(battered.products.glob("**/*.part.*")) == []
    assert frame.killed(battered.products) == []


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


# A wsclean for the PATH: what becomes of a tile is read from its name; then the real one works.
TROUBLE = """#!{python}
import os, sys, time
tile = os.path.basename(sys.argv[-1]).removesuffix(".ms")
fate = {fates}.get(tile)
if fate == "raises":
    sys.exit("no image of this one")
held = []
while fate == "hungry" or (fate == "heavy" and len(held) < {heavy_mb} // 50):
    held.append(bytearray(50 << 20))
    time.sleep(0.02)
if held:
    time.sleep(4)  # SLURM looks every second
    held.clear()
os.execv({wsclean!r}, [{wsclean!r}, *sys.argv[1:]])
"""
# More than the first attempt may have (2.5 GB: resources.py), less than the second (3.75 GB) beside Python's 0.6 GB.
HEAVY_MB = 2700


@dataclass(frozen=True)
class Troubled:
    """A night with tiles that fail."""

    products: Path
    tiles: list[str]
    code: int
    terminal: str

    def status(self, tile: int) -> dict:
        """status.json of a tile's image."""
        name = self.tiles[tile]
        return json.loads((self.products / "images" / name[:10] / name / "status.json").read_text())

    def slurm_logs(self, tile: int) -> list[str]:
        """SLURM's own logs of the jobs of a tile's image, one for each attempt that failed."""
        logs = self.products.glob(f".snakemake/slurm_logs/group_image_{self.tiles[tile]}*/**/*.log")
        return [path.read_text() for path in sorted(logs)]


RAISES, HUNGRY, HEAVY = 0, 2, 3


@pytest.fixture(scope="module")
def troubled(local, cluster, tmp_path_factory) -> Troubled:
    """The images and mosaics of the night again: one tile always raises, one is always killed, one is killed once."""
    where = tmp_path_factory.mktemp("troubled")
    products = where / "products"
    shutil.copytree(local.products, products)
    for kind in ("images", "mosaics"):
        shutil.rmtree(products / kind)
    tiles = [tile.name for tile in local.truth.tiles]
    stub = where / "bin" / "wsclean"
    stub.parent.mkdir()
    fates = {tiles[RAISES]: "raises", tiles[HUNGRY]: "hungry", tiles[HEAVY]: "heavy"}
    real = shutil.which("wsclean")
    stub.write_text(TROUBLE.format(python=sys.executable, fates=fates, heavy_mb=HEAVY_MB, wsclean=real))
    stub.chmod(0o755)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    with running(through_slurm(local, products), where / "terminal.txt", path) as run:
        run.wait(PATIENCE_S)
    return Troubled(products, tiles, run.returncode, (where / "terminal.txt").read_text())


def test_a_job_over_its_memory_is_killed_and_succeeds_with_more(troubled):
    (killed,) = troubled.slurm_logs(HEAVY)
    assert "exceeded memory limit" in killed
    assert troubled.status(HEAVY)["status"] == "ok"


def test_a_tile_that_always_raises_is_rejected_and_says_why(troubled):
    status = troubled.status(RAISES)
    assert status["status"] == "rejected"
    assert status["reason"].startswith("error: wsclean")
    assert len(troubled.slurm_logs(RAISES)) == frame.RETRIES  # the last attempt succeeds in saying so


def test_a_tile_whose_job_is_always_killed_is_rejected_and_says_why(troubled):
    status = troubled.status(HUNGRY)
    assert status["status"] == "rejected"
    assert status["reason"].startswith(f"error: its job was killed {frame.RESTARTS} times")
    assert all("exceeded memory limit" in log for log in troubled.slurm_logs(HUNGRY))


def test_the_rest_of_the_night_and_its_mosaics_come_out_and_the_run_says_what_failed(troubled):
    good = {name for number, name in enumerate(troubled.tiles) if number not in (RAISES, HUNGRY)}
    (mosaic,) = troubled.products.glob("mosaics/*/*/status.json")
    status = json.loads(mosaic.read_text())
    assert status["status"] == "ok"
    assert {tile["tile"] for tile in status["tiles"] if tile["status"] == "ok"} == good
    assert troubled.code == 1
    assert "2 product(s) ended with an error" in troubled.terminal
