"""`contimg unattended`: waits for files that arrive late, survives an interrupt, ends with the published mosaic."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.wcs import WCS

from contimg.publish.versions import damaged, published_versions

from .conftest import CLONE, linked, put_back

SPAN_MINUTES = "2.5"  # three tiles of 51.5 s, the middle one with the transit


@dataclass(frozen=True)
class Arriving:
    """A night of which the last tile's files are still elsewhere."""

    products: Path
    elsewhere: Path
    incoming: Path
    settings: tuple[str, ...]


@pytest.fixture(scope="module")
def arriving(clean, tmp_path_factory):
    """The tiny night without its last tile: neither its files nor what was made of them is there."""
    where = tmp_path_factory.mktemp("arriving")
    products, elsewhere = linked(clean.products, where / "products"), where / "elsewhere"
    for folder in ("mosaics", "published", "state/published"):
        shutil.rmtree(products / folder)
    late = clean.truth.tiles[2].name
    for path in [*products.glob(f"*/*/{late}*"), *products.glob(f"*/*/*/{late}*")]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    for path in [*products.glob("qa/*/*+*"), *products.glob("qa/*.html")]:  # what was said of mosaics
        path.unlink()
    with put_back(clean.incoming, where / "aside"):
        elsewhere.mkdir()
        for path in clean.truth.files(2):
            path.rename(elsewhere / path.name)
        yield Arriving(products, elsewhere, clean.incoming, clean.settings)


def start(where, *arguments):
    """The command, started; its lines come from stderr."""
    command = [
        sys.executable, "-m", "contimg.cli.main", "unattended", "--calibrator", "0834+555",
        "--transit-date", "2025-10-30",
        "--timespan-minutes", SPAN_MINUTES, "--poll-interval", "0.2", "--cores", "2", *arguments,
        "--config", f"incoming={where.incoming}", f"products={where.products}", *where.settings,
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
    for path in arriving.elsewhere.iterdir():
        path.rename(arriving.incoming / path.name)
    printed, said = waiting.communicate()
    assert waiting.returncode == 0, said[-6000:]
    assert "3 tiles, complete" in said
    (line,) = printed.splitlines()
    directory = Path(line)
    assert directory == arriving.products / "published" / "2025-10-30" / "0834+555_2025-10-30" / "v1"
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
