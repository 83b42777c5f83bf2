"""PyBDSF as a program of its own: what it finds is measured, and whatever it does ends with a reason.

A package of that name that finds what a test tells it to stands in for it, in a Python of its own.
"""

import sys
from pathlib import Path

import pytest
from astropy.io import fits

from builders.tile_images import write_tile
from contimg.cli import main
from contimg.core.errors import InputError
from contimg.photometry import bdsf

PLACE = (128.4, 55.3)
STAND_IN = """
import os, time, types
def process_image(image, **how):
    assert os.environ["OMP_NUM_THREADS"] == "1" and how["ncores"] == 1
    open(image + ".pybdsf.log", "w").close()
    {does}
    source = types.SimpleNamespace(posn_sky_centroid={place}, peak_flux_max=1.0, total_flux=1.1, rms_isl=0.001)
    return types.SimpleNamespace(sources=[source])
"""


@pytest.fixture
def image(tmp_path) -> Path:
    """A tile with one source of 0.8 Jy."""
    return write_tile(
        tmp_path, "2025-10-30T13:00:00", 128.4, 55.2, sources=[(*PLACE, 0.8)], size=256, noise_jy=1e-3
    )


def environment(folder: Path, does: str) -> Path:
    """A Python that has the stand-in, and keeps what `-I` shuts out from reaching it."""
    (folder / "site").mkdir()
    (folder / "site" / "bdsf.py").write_text(STAND_IN.format(does=does, place=PLACE))
    python = folder / "python"
    code = f"import sys, runpy; sys.path.insert(0, {str(folder / 'site')!r}); sys.argv = sys.argv[2:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    python.chmod(0o755)
    return python


def test_what_it_finds_is_measured_and_nothing_is_left_beside_the_image(image, tmp_path, capsys):
    before = sorted(image.iterdir())
    python = environment(tmp_path, "pass")
    assert main(["sources", str(image), "--pybdsf", str(python)]) == 0
    assert sorted(image.iterdir()) == before
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.startswith("1 sources")
    # noise of 1 mJy under 0.8 Jy where the beam is above 0.9: 3 sigma are 0.5 %
    assert float(row.split()[3]) == pytest.approx(800.0, rel=0.01)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("time.sleep(60)", "no end after 2 s"),
        ("raise RuntimeError('no beam')", "ended with 1 .*RuntimeError: no beam"),
    ],
)
def test_what_it_cannot_do_ends_with_a_reason(image, tmp_path, does, said):
    [path] = image.glob("*.image.fits")
    assert fits.getheader(path)["BMAJ"]
    with pytest.raises(InputError, match=said):
        bdsf.find(path, python=environment(tmp_path, does), threshold_sigma=5.0, timeout_s=2.0)
    with pytest.raises(InputError, match="pip install bdsf"):
        bdsf.find(path, python=tmp_path / "none", threshold_sigma=5.0, timeout_s=2.0)
