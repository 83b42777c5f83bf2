"""kill -9 in every stage, then the same command again: the same products, nothing half-made taken for finished."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from astropy.io import fits

from contimg.simulate import simulate

from .conftest import CLONE, QUICK, command, make_night, snakemake, write_calibrators

STAGES = ("convert_tile", "calibrate_transit", "image_tile", "mosaic_window")
# Additions in threads come in any order, and WSClean's pixels are float32: rounding of some 100 operations, no more.
SINGLE_PRECISION = 1e-5


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
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and run.poll() is None:
            if any(path.name.startswith(folder[stage]) and any(path.iterdir()) for path in records.glob("*")):
                time.sleep(0.3)  # into the work
                return
            time.sleep(0.01)
        pytest.fail(f"no job of {stage} was seen; the run ended with {run.poll()}")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def in_jy_or_ratio(path):
    """Pixels of a product; weights, which are 1/rms², as the rms they stand for."""
    pixels = fits.getdata(path)
    if not path.name.endswith(".weights.fits"):
        return pixels
    with np.errstate(divide="ignore"):
        return np.where(pixels > 0, 1 / np.sqrt(pixels), 0)


def scale_of(path):
    """What a product's rounding errors are a fraction of: the peak of the image that it belongs to, in Jy/beam.

    Noise and weights are measured on the image, so their errors are the image's, however small the noise itself is.
    """
    images = [
        path.with_name(path.name.replace(".weights.", name).replace(".rms.", name))
        for name in (".pbcor.", ".")
    ]
    image = next((image for image in images if image.exists()), path)
    return np.nanmax(np.abs(fits.getdata(image)))


def test_a_run_killed_in_every_stage_ends_with_the_same_products(whole, tiny_options, tmp_path):
    incoming, products = tmp_path / "incoming", tmp_path / "products"
    simulate(tiny_options, incoming)
    catalogue = write_calibrators(tmp_path / "calibrators.csv", tiny_options.sources)
    night = {"incoming": incoming, "products": products, "settings": (f"calibrators={catalogue}", *QUICK)}
    for stage in STAGES:
        kill_in(stage, command("--cores", "2", "mosaic", **night), products)
    snakemake("--cores", "2", "mosaic", **night)
    assert list(products.glob("**/*.part.*")) == []
    expected = sorted(path.relative_to(whole.products) for path in whole.products.glob("[im]*s/*/*/*.fits"))
    found = sorted(path.relative_to(products) for path in products.glob("[im]*s/*/*/*.fits"))
    assert found == expected
    for path in expected:
        one, other = in_jy_or_ratio(whole.products / path), in_jy_or_ratio(products / path)
        np.testing.assert_allclose(
            other, one, rtol=0, atol=SINGLE_PRECISION * scale_of(whole.products / path)
        )
