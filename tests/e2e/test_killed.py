"""kill -9 in every stage, then the same command again: the same products, nothing half-made taken for finished."""

import os
import signal
import subprocess
import time

import pytest

from contimg.simulate import simulate

from .conftest import CLONE, QUICK, command, expect_same_pixels, make_night, snakemake, write_calibrators

STAGES = {
    "convert_tile": "convert",
    "calibrate_transit": "calibrate",
    "image_tile": "image",
    "mosaic_window": "mosaic",
}
"""Rules, and the targets that come to them: with `mosaic` alone Snakemake may calibrate before it converts."""


@pytest.fixture(scope="module")
def whole(tiny_options, tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("whole"), tiny_options, "mosaic", settings=QUICK)


def kill_in(stage, arguments, products):
    """Start a run and kill it with all its children while a job of the stage is running."""
    run = subprocess.Popen(
        arguments, cwd=CLONE, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    records = products / "state" / "attempts"
    folder = {
        "convert_tile": "ms!science",
        "calibrate_transit": "cal!",
        "image_tile": "images!",
        "mosaic_window": "mosaics!",
    }
    deadline = time.monotonic() + 900  # a machine may be busy with other work
    try:
        while time.monotonic() < deadline and run.poll() is None:
            if any(path.name.startswith(folder[stage]) and any(path.iterdir()) for path in records.glob("*")):
                time.sleep(0.3)  # into the work
                return
            time.sleep(0.01)
        pytest.fail(f"no job of {stage} was seen; the run ended with {run.poll()}")
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_a_run_killed_in_every_stage_ends_with_the_same_products(whole, tiny_options, tmp_path):
    incoming, products = tmp_path / "incoming", tmp_path / "products"
    simulate(tiny_options, incoming)
    catalogue = write_calibrators(tmp_path / "calibrators.csv", tiny_options.sources)
    night = {"incoming": incoming, "products": products, "settings": (f"calibrators={catalogue}", *QUICK)}
    for stage, target in STAGES.items():
        kill_in(stage, command("--cores", "2", target, **night), products)
    snakemake("--cores", "2", "mosaic", **night)
    assert list(products.glob("**/*.part.*")) == []
    expect_same_pixels(products, whole.products)
