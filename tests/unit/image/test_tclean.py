"""CASA tclean: what it is told and what is read from what it returns. (Its images: test_image_truth.)"""

from pathlib import Path

import numpy as np
import pytest

from builders.imaging_sky import make_tile
from contimg.image import tclean
from contimg.ms.sets import read_meta

from .test_wsclean import PLAN


def test_the_arguments_follow_the_plan():
    arguments = tclean.arguments([Path("a.ms")], "name", PLAN, (60.0, 40.0, 80.0))
    assert arguments["imsize"] == [128, 120]
    assert arguments["cell"] == "20arcsec"
    assert arguments["uvrange"] == ">1000lambda"
    assert arguments["robust"] == 0.0
    assert arguments["minpsffraction"] == pytest.approx(0.2)
    assert arguments["restoringbeam"] == ["60.0000arcsec", "40.0000arcsec", "80.0000deg"]
    assert arguments["savemodel"] == "none"


def test_the_returned_dictionary_becomes_passes():
    one = np.float64
    result = {
        "stopcode": 8,
        "summaryminor": {0: {0: {0: {
            "iterDone": [one(4), one(48)], "peakRes": [one(1.4), one(0.01)], "startPeakRes": [one(8.0), one(1.5)],
        }}}},
    }  # fmt: skip
    record = tclean.record(result)
    assert record.n_iter == 52
    assert record.majors[1].first_peak_jy == 1.5
    assert record.stopped == "noise threshold"
    assert record.divergence() is None


def test_a_growing_peak_in_the_returned_dictionary_is_a_divergence():
    rows = {"iterDone": [4, 4], "peakRes": [1.4, 30.0]}
    record = tclean.record({"stopcode": 5, "summaryminor": {0: {0: {0: rows}}}})
    assert "grew from 1.4 to 30" in record.divergence()


def test_an_empty_return_is_no_clean():
    record = tclean.record({})
    assert record.majors == ()
    assert record.stopped == "CLEAN was not started"


def test_the_doppler_factor_is_that_of_casa(tmp_path):
    # tclean itself puts 1405 MHz of this tile at 1404.900659545 MHz LSRK; the rotation of the Earth within the
    # tile changes the factor by 1e-8
    make_tile(tmp_path / "t.ms", [], dec_deg=37, antennas=(1, 20, 40), n_times=2, n_channels=2)
    factor = tclean.lsrk_over_topocentric(read_meta(tmp_path / "t.ms"))
    assert factor - 1 == pytest.approx(-7.0705e-5, abs=2e-7)
