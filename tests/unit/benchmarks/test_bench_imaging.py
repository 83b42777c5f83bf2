"""The imaging report's arithmetic: an hour's noise against a closed form, and rows of known images."""

import numpy as np
import pandas as pd
import pytest
from benchlib import imaging, noise_mosaic
from benchlib.cost import Cost


def test_the_noise_of_an_hour_falls_as_the_beams_that_overlap_allow():
    """Weights P² add up, P being the beam at each tile's distance: noise of a tile over that of all, Σ P² / P(0)²."""
    dec_deg = 70.0
    power = noise_mosaic.drift_beam(dec_deg)
    row = power[noise_mosaic.SIZE // 2]
    pixels = np.cos(np.radians(dec_deg)) * noise_mosaic.STEP_DEG * 3600 / noise_mosaic.CELL_ARCSEC
    tiles = pixels * (np.arange(noise_mosaic.TILES) - (noise_mosaic.TILES - 1) / 2)
    beams = np.interp(tiles + noise_mosaic.SIZE / 2, np.arange(noise_mosaic.SIZE), row)
    expected = np.sqrt((beams[beams > 0.2] ** 2).sum()) / power.max()
    # 120 x 120 pixels hold 800 beams: their rms is good to 1 / sqrt(2 * 800) = 2.5 %, and half a degree from the middle
    # the sum is lower by 2 %
    assert noise_mosaic.gain(dec_deg) == pytest.approx(expected, rel=0.06)


def test_a_tables_median_and_scatter_stand_beside_what_noise_explains():
    table = pd.DataFrame(
        {"ratio": [0.98, 1.0, 1.03], "true_jy": [1.0, 2.0, 4.0], "flux_err_jy": [0.01, 0.02, 0.04]}
    )
    found = imaging.judge(table)
    assert (found["sources"], found["flux ratio"]) == (3, 1.0)
    assert found["scatter %"] == pytest.approx(100 * np.std([0.98, 1.0, 1.03]))
    assert found["noise %"] == pytest.approx(1.0)
    assert imaging.judge(table[:0]) == {"sources": 0}


def test_a_setting_that_failed_or_was_rejected_is_a_line_with_its_reason():
    case = imaging.cases("demo")[0]
    cost = Cost(seconds=12.0, cpu_s=20.0, peak_gb=1.5)
    row = imaging.result(case, "wide", cost, {"reason": "CLEAN diverged", "metrics": {}}, None, None)
    cells = [cell.strip() for cell in imaging.table([row])[2].split("|")[1:-1]]
    assert cells == ["wide", *[""] * 7, "12", "20", "1.5", "CLEAN diverged"]
    failed = imaging.result(case, "wide", Cost(error="exit status 1"), {}, None, None)
    assert failed["note"] == "exit status 1"


@pytest.mark.parametrize("size", imaging.SIZES)
def test_an_hour_lies_between_the_transit_and_the_tiles_that_must_do_without_it(size):
    for case in imaging.cases(size):
        missing = [fault.tile for fault in case.options.faults]
        assert missing == list(range(1, case.target))
        assert case.options.n_tiles == case.target + 1
        seconds = case.target * case.options.n_integrations * case.options.integration_s
        assert case.target == 0 or seconds == pytest.approx(3711, abs=1)


def test_a_run_of_some_tiles_leaves_the_others_rows():
    earlier = [{"tile": "bright", "seconds": 1.0}, {"tile": "south", "seconds": 2.0}]
    again = [{"tile": "south", "seconds": 3.0}]
    assert imaging.merge(earlier, again) == [earlier[0], again[0]]


def test_twelve_neighbours_lie_within_the_radius_and_range_of_flux_that_the_tile_says():
    from astropy.coordinates import SkyCoord

    near = imaging.surroundings(128.7, 55.4)
    places = SkyCoord([s.ra_deg for s in near], [s.dec_deg for s in near], unit="deg")
    assert len(near) == 12
    assert places.separation(SkyCoord(128.7, 55.4, unit="deg")).deg.max() == pytest.approx(0.8, rel=0.05)
    fluxes = [s.flux_jy for s in near]
    assert (min(fluxes), max(fluxes)) == pytest.approx((0.3, 1.7))
    assert len(set(fluxes)) == 12
