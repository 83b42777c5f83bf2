"""`contimg mosaic`: it waits for files that arrive late, survives an interrupt, and ends with the published mosaic."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.wcs import WCS

from contimg.publish.versions import damaged, published_versions
from contimg.simulate import simulate

from .conftest import CLONE, QUICK, write_calibrators

SPAN_MINUTES = "2.5"  # three tiles of 51.5 s, the middle one with the transit


@pytest.fixture(scope="module")
def arriving(tiny_options, tmp_path_factory):
    """A tiny night of which the last tile's files are still elsewhere."""
    where = tmp_path_factory.mktemp("arriving")
    truth = simulate(tiny_options, where / "incoming")
    write_calibrators(where / "calibrators.csv", tiny_options.sources)
    (where / "elsewhere").mkdir()
    for path in truth.files(2):
        path.rename(where / "elsewhere" / path.name)
    return where


def start(where, *arguments):
    """The command, started; its lines come from stderr."""
    command = [
        sys.executable, "-m", "contimg.cli.main", "mosaic", "--calibrator", "0834+555", "--transit-date", "2025-10-30",
        "--timespan-minutes", SPAN_MINUTES, "--poll-interval", "0.2", "--cores", "2", *arguments,
        "--config", f"incoming={where / 'incoming'}", f"products={where / 'products'}",
        f"calibrators={where / 'calibrators.csv'}", *QUICK,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        cwd=CLONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def read_until(process, words):
    """Lines of stderr up to the one that holds the words."""
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return said
    return pytest.fail(f"{words!r} was not said; it ended with {process.wait()}:\n{''.join(said)[-3000:]}")


def test_it_waits_is_interrupted_and_goes_on_to_the_published_mosaic(arriving):
    patient = ("--settle-minutes", "100000000")
    waiting = start(arriving, *patient)
    read_until(waiting, "2 tiles are complete")
    waiting.send_signal(signal.SIGINT)
    said = waiting.communicate()[1]
    assert waiting.returncode == 130, said
    assert "the same command goes on from here" in said

    waiting = start(arriving, *patient)
    read_until(waiting, "2 tiles are complete")
    for path in (arriving / "elsewhere").iterdir():
        path.rename(arriving / "incoming" / path.name)
    printed, said = waiting.communicate()
    assert waiting.returncode == 0, said[-6000:]
    assert "3 tiles, complete" in said
    (line,) = printed.splitlines()
    directory = Path(line)
    assert directory == arriving / "products" / "published" / "2025-10-30" / "0834+555_2025-10-30" / "v1"
    (version,) = published_versions(directory.parent)
    assert damaged(version) == []
    header = fits.getheader(directory / "0834+555_2025-10-30.v1.fits")
    assert header["NTILES"] == 3
    # the mosaic is centred on the calibrator: its right ascension is that of the middle, to a pixel
    middle = WCS(header).pixel_to_world(header["NAXIS1"] / 2, header["NAXIS2"] / 2)
    assert abs(middle.ra.deg - 128.7287) < 2 * abs(header["CDELT1"])

    again = start(arriving, *patient)
    assert again.communicate()[0] == printed
    assert again.returncode == 0


def test_a_mosaic_that_fails_a_gate_ends_with_4(arriving):
    strict = start(arriving, "--settle-minutes", "0", "--config", "qa={max_rms: 0.01}")
    printed, said = strict.communicate()
    assert strict.returncode == 4, said[-6000:]
    assert printed == ""
    assert "is not published: " in said
