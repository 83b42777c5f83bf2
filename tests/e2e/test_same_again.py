"""Products made once more, by the command that `contimg rerun` prints, in the environment they were made in."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from contimg.core.names import image_dir, science_ms, science_sidecar
from contimg.core.products import read_json
from contimg.sky.noise import MOST_PIXELS

from .conftest import CLONE, restored

# Threads add in any order. Each of some thousand additions into a pixel, in single precision, rounds by 6e-8 of its
# peak at most, as often up as down: 2e-6 together.
ROUNDING = np.sqrt(1000) * 2.0**-24


def most_by_rounding(name, folder):
    """The largest part of its peak by which rounding may change an image of the folder.

    The local rms is that of the pixels of a box below 3.5 times itself: each pixel that rounding takes across that
    limit changes it by 3.5**2 / (2 N) of N pixels, at a step. Two of a box may.
    """
    if not name.endswith(".rms.fits"):
        return ROUNDING
    header = fits.getheader(folder / name.replace(".rms.", ".image."))
    box = 30.0**2 * header["BMAJ"] * header["BMIN"] / header["CDELT2"] ** 2
    return ROUNDING + 2 * 3.5**2 / (2 * min(box, MOST_PIXELS))


def contimg(*words):
    """What a command prints, which ends well."""
    call = [sys.executable, "-m", "contimg.cli.main", *map(str, words)]
    done = subprocess.run(call, cwd=CLONE / "scripts", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def remake(product):
    """Run the call of Snakemake that `contimg rerun` prints, as it stands."""
    (line,) = [line for line in contimg("rerun", product).splitlines() if "snakemake" in line]
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="module")
def again(clean, tmp_path_factory):
    """The pixels and the fingerprints of a tile, before and after both of its products were made once more."""
    tile = clean.truth.tiles[0].name
    image, sidecar = clean.products / image_dir(tile), clean.products / science_sidecar(tile)

    def now():
        pixels = {path.name: fits.getdata(path).copy() for path in image.glob("*.fits")}
        made = {path: path.stat().st_mtime_ns for path in (sidecar, image / "status.json")}
        return pixels, read_json(sidecar)["contents"], made

    with restored(clean, tmp_path_factory.mktemp("aside")):  # its mosaic is older than its image then
        first = now()
        remake(clean.products / science_ms(tile))
        remake(image)
        yield image, first, now()


def test_what_rerun_prints_makes_the_product_again(again):
    image, (_, _, first), (_, _, second) = again
    assert all(second[path] > made for path, made in first.items())
    assert "as it was" in contimg("verify", image)


def test_the_same_visibilities_come_out_to_the_bit(again):
    _, (_, first, _), (_, second, _) = again
    assert first == second


def test_the_same_images_come_out_but_for_the_order_of_additions(again):
    folder, (first, _, _), (second, _, _) = again
    assert first.keys() == second.keys()
    differences = {
        name: np.nanmax(np.abs(second[name] - pixels)) / np.nanmax(np.abs(pixels))
        for name, pixels in first.items()
    }
    print("largest differences, of the peak:", differences)
    assert all(part < most_by_rounding(name, folder) for name, part in differences.items())
