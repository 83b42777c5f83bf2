"""Which way a strip is calibrated, and with what error."""

import numpy as np
import pandas as pd
import pytest

from contimg.calibrate import strips
from contimg.calibrate.options import CalibrationOptions
from contimg.cli.strips import counted
from contimg.config.load import load
from contimg.sky.calibrators import Calibrator, read_calibrators
from contimg.telescope.beam import AiryBeam

KNOWN = [
    Calibrator("3CX", 24.0, 33.0, 16.0, -0.5, "Perley & Butler 2017"),
    Calibrator("V", 100.0, 50.2, 2.0, -0.1, "VLA list; variable"),
    Calibrator("B", 200.0, 50.2, 1.5, -0.1, "VLA list"),
]


def told(dec_deg, sources, **changes):
    return strips.ways([dec_deg], KNOWN, sources, CalibrationOptions(**changes), AiryBeam(4.65))[0]


def field(n, flux_jy, ra_deg=10.0, dec_deg=60.0):
    return pd.DataFrame(
        {"ra_deg": ra_deg + np.linspace(-0.2, 0.2, n), "dec_deg": dec_deg, "flux_jy": flux_jy}
    )


def test_a_strip_takes_its_best_calibrator_or_its_strongest_field():
    sky = field(16, 0.5)
    assert (told(33.0, sky).calibrator.name, told(33.0, sky).flux_error) == ("3CX", strips.STANDARD_ERROR)
    # V is brighter, but counts half because it varies
    assert told(50.2, sky).calibrator.name == "B"
    assert told(50.2, sky).flux_error == strips.LISTED_ERROR
    way = told(60.0, sky)
    assert way.calibrator is None
    # 16 of 0.5 Jy: 2 Jy, and 10 % / √16 with 3 %; the beam takes 1 to 6 % within 0.6 deg
    assert way.apparent_jy == pytest.approx(2.0, rel=0.06)
    assert way.flux_error == pytest.approx(np.hypot(0.025, 0.03), rel=0.01)
    assert not told(60.0, field(2, 0.1)).served
    assert told(31.5, sky, min_pb=0.9).calibrator is None


def test_the_table_says_it_in_words():
    found = [told(33.0, field(4, 0.8)), told(60.0, field(4, 0.8)), told(60.0, field(2, 0.1))]
    lines = strips.table(found)
    assert "| +33° | transit of 3CX | 16.00 Jy | ± 3 % |" in lines
    assert "field, 4 sources" in lines[3]
    assert "too faint" in lines[4]
    assert lines[-1] == "1 strips by a transit, 1 on a field, 1 not at all."


def test_a_field_of_counted_sources_serves_the_strip_at_38_deg_that_has_no_calibrator(tmp_path):
    # the counts of Hopkins et al. above 20 mJy: the strongest of 280 fields side by side has more than 1 Jy
    calibrators = read_calibrators(load({"incoming": str(tmp_path)}).calibrators)
    way = strips.ways([38.0], calibrators, counted(), CalibrationOptions(), AiryBeam(4.65))[0]
    assert way.calibrator is None
    assert way.served
    assert way.flux_error < 0.08
