"""kill -9 in every stage, then the same command again: the same products, nothing half-made taken for finished."""

import os
import signal
import subprocess
import time

import pytest

from .conftest import CLONE, command, expect_same_pixels, snakemake

STAGES = {
    "convert_tile": "convert",
    "calibrate_transit": "calibrate",
    "image_tile": "image",
    "mosaic_window": "mosaic",
}
"""Rules, and the targets that come to them: with `mosaic` alone Snakemake may calibrate before it converts."""


RECORDS = {
    "convert_tile": "ms!science",
    "calibrate_transit": "cal!",
    "image_tile": "images!",
    "mosaic_window": "mosaics!",
}
"""How the records of jobs at work begin: written when a job starts, removed by its orderly end alone."""


def at_work(stage, products):
    """Records of jobs of a stage that have started and not ended."""
    folders = (products / "state" / "attempts").glob("*")
    return {
        path for folder in folders if folder.name.startswith(RECORDS[stage]) for path in folder.glob("*.json")
    }


def kill_in(stage, arguments, products):
    """Start a run and kill it with all its children while a job of the stage is running."""
    before = at_work(stage, products)
    run = subprocess.Popen(
        arguments, cwd=CLONE, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 900  # a machine may be busy with other work
    try:
        while not (seen := at_work(stage, products) - before):
            if time.monotonic() > deadline or run.poll() is not None:
                pytest.fail(f"no job of {stage} was seen; the run ended with {run.poll()}")
            time.sleep(0.01)
        time.sleep(0.3)  # into the work
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    # what ended in good order before the signal came has taken its record away
    assert seen & at_work(stage, products), f"{stage} was over before it was killed"


def test_a_run_killed_in_every_stage_ends_with_the_same_products(clean, tmp_path):
    products = tmp_path / "products"
    night = {"incoming": clean.incoming, "products": products, "settings": clean.settings}
    for stage, target in STAGES.items():
        kill_in(stage, command("--cores", "2", target, **night), products)
    snakemake("--cores", "2", "mosaic", **night)
    assert list(products.glob("**/*.part.*")) == []
    expect_same_pixels(products, clean.products)
