"""The scorecard's numbers from tables whose truth is known, and what is found in an image made of its truth."""

import importlib.util
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from benchlib import ideal, scorecard, skies, tile

from contimg.core.products import status, write_json
from contimg.simulate.gains import draw
from contimg.simulate.options import Source, mjd, preset
from contimg.simulate.rfi import Burst
from contimg.simulate.signal import receiver_noise
from contimg.simulate.truth import TileTruth, Truth
from contimg.sky.measure import PixelBeam

NIGHTS = skies.nights("quick")
SPEC = importlib.util.spec_from_file_location("scorecard_command", tile.CLONE / "benchmarks" / "scorecard.py")
command = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(command)


def measured(n=400, gain=0.99, scatter=0.01):
    rng = np.random.default_rng(5)
    true = np.tile(rng.uniform(0.1, 1.0, n // 2), 2)
    ratio = gain * (1 + scatter * rng.standard_normal(n))
    fluxes = pd.DataFrame(
        {
            "night": "north",
            "epoch": np.repeat([0, 1], n // 2),
            "name": np.tile([f"s{k}" for k in range(n // 2)], 2),
            "flux_jy": ratio * true,
            "ratio": ratio,
            "ratio_scaled": ratio / 0.97,
            "snr": 100.0,
            "offset_major_beam": 0.03,
            "offset_minor_beam": -0.04,
        }
    )
    found = pd.DataFrame(
        {"snr": [6.0] * 100 + [20.0] * 100, "real": [True] * 90 + [False] * 10 + [True] * 100}
    )
    expected = pd.DataFrame({"found": [True] * 97 + [False] * 3})
    tiles = pd.DataFrame(
        {
            "rms_jy": [1.2, 9.0],
            "thermal_jy": [1.0, 1.0],
            "ideal_jy": [1.1, 1.0],
            "tile": ["t0", "t1"],
            "epoch": 0,
            "reason": [None, "all flagged"],
        }
    )
    return scorecard.Measured(fluxes, found, expected, tiles)


def number(table, what):
    [found] = [line for line in scorecard.numbers(table) if line.what.startswith(what)]
    return found


def test_statistics_are_those_the_tables_were_made_with():
    table = measured()
    median = number(table, "flux over true flux, median, above 50")
    # 400 draws of 1 %: the median is good to 0.99 * 1 % * 1.25 / sqrt(400) = 0.06 %, and the error says so
    assert median.value == pytest.approx(0.99, abs=0.002)
    assert median.error == pytest.approx(0.0006, rel=0.5)
    assert number(table, "the same, the calibrator's").value == pytest.approx(median.value / 0.97)
    assert number(table, "scatter").value == pytest.approx(0.0099 / 0.97, rel=0.12)  # 3 / sqrt(2 * 400)
    # 200 pairs of two errors of 1 % each: rms of one to 1 / sqrt(2 * 200), three times that
    assert number(table, "from day to day").value == pytest.approx(0.01, rel=0.15)
    assert number(table, "offset").value == pytest.approx(0.05)
    assert number(table, "rms of a tile over thermal").value == 1.2
    assert number(table, "rms of a tile over the ideal").value == pytest.approx(1.2 / 1.1)


def test_shares_have_binomial_errors():
    table = measured()
    assert number(table, "complete").value == pytest.approx(97.0)
    assert number(table, "complete").error == pytest.approx(100 * np.sqrt(0.97 * 0.03 / 100), rel=0.1)
    assert number(table, "reliable above 5").value == pytest.approx(95.0)
    above_ten = number(table, "reliable above 10")
    assert (above_ten.value, above_ten.count) == (100.0, 100)
    assert 0 < above_ten.error < 1  # none wrong of 100 does not mean none of 10,000


def test_what_was_not_measured_is_said_so():
    nothing = replace(measured(), found=pd.DataFrame({"snr": [], "real": []}))
    assert "**not measured** (0)" in number(nothing, "reliable above 10").cells()


def test_a_night_without_a_mosaic_is_a_line_and_no_failure(tmp_path):
    night = NIGHTS[0]
    truth = Truth(night.options, 60000.0, (), (), ())
    write_json(
        tmp_path / "images" / "2025-10-30" / "2025-10-30T13:00:00" / "status.json", status("CLEAN diverged")
    )
    alone = scorecard.measure_night(truth, tmp_path, night, 0)
    assert number(alone, "tiles with an image").value == 0.0
    assert "**not measured** (0)" in number(alone, "complete").cells()
    both = scorecard.together([alone, measured()])
    assert number(both, "complete").value == number(measured(), "complete").value
    assert number(both, "tiles with an image").count == 1 + len(measured().tiles)
    nothing = scorecard.measure_night(truth, tmp_path / "none", night, 0)
    assert number(nothing, "tiles with an image").count == 0


def test_a_source_of_one_day_repeats_nothing():
    fluxes = measured().fluxes
    assert len(scorecard.repeats(fluxes[fluxes["epoch"] == 0])) == 0
    assert len(scorecard.repeats(fluxes)) == 200


def test_what_is_found_in_an_image_is_told_apart(tmp_path):
    """Three sources in the truth; the image lacks one of them and has one that nobody knows of."""
    header = fits.Header(
        dict(
            NAXIS=2, NAXIS1=256, NAXIS2=256, CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CRVAL1=130.0, CRVAL2=55.0,
            CRPIX1=128.5, CRPIX2=128.5, CDELT1=-10 / 3600, CDELT2=10 / 3600, BMAJ=60 / 3600, BMIN=40 / 3600, BPA=20.0,
            RESTFRQ=1.4e9,
        )
    )  # fmt: skip
    places = [(60, 70), (180, 90), (100, 200)]
    image = 1e-3 * np.random.default_rng(2).standard_normal((256, 256))
    y, x = np.mgrid[:256, :256]
    beam = PixelBeam.from_header(header)
    for px, py in (*places[:2], (220, 220)):
        image += 0.5 * beam.value(x - px, y - py)
    for kind, plane in (("", image), (".rms", np.full_like(image, 1e-3)), (".weights", np.ones_like(image))):
        fits.writeto(tmp_path / f"all{kind}.fits", plane.astype(np.float32), header)
    from astropy.wcs import WCS

    sky = WCS(header).all_pix2world(np.array(places, float), 0)
    sources = tuple(Source(f"s{k}", float(ra), float(dec), 0.5) for k, (ra, dec) in enumerate(sky))
    options = replace(preset("tiny"), sources=sources)
    truth = Truth(options, 60000.0, sources, (draw(options, "1", 60000.0),), ())
    found, expected = scorecard.blind(tmp_path, truth, pd.DataFrame({"name": ["s0", "s2", "s1"]}))
    assert found["real"].tolist().count(False) == 1
    assert len(found) == 3
    assert expected["found"].tolist() == [True, False, True]


def test_the_page_shows_an_older_pipeline_beside_this_one_on_the_nights_that_both_made(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "BEFORE", tmp_path / "results" / "before.json")
    monkeypatch.setattr(command, "_commit", lambda clone: ("0123456789", "2026-11-26"))
    nights = [night for night in NIGHTS if night.name in ("north", "south")]
    parts = {night.name: measured(n=40) for night in nights}
    assert "Before and after" not in command.page(nights, parts, "quick", [])
    command.keep({"south": measured(n=40, gain=0.95)}, "quick", tmp_path, command.BEFORE)
    assert "Before and after" not in command.page(
        nights, parts, "quick", []
    )  # not measured with this one yet
    command.keep(parts, "quick", tmp_path, command.RESULTS / "quick.json")
    page = command.page(nights, parts, "standard", ["- north, day 1: exit status 1"])
    assert "of the size quick, through the pipeline of 2026-11-26 (commit 0123456" in page
    assert "Night south:" in page
    assert "Night north:" not in page
    [row] = [line for line in page.splitlines() if line.startswith("| the same") and line.count("|") == 4]
    # gains of 0.95 and 0.99 over 0.97, the catalogue's error; the median of 40 of 1 % is good to 0.2 %
    shown = [float(cell.split("**")[1].split(" ")[0]) for cell in row.split(" | ")[1:3]]
    assert shown == pytest.approx([0.95 / 0.97, 0.99 / 0.97], abs=0.006)
    assert page.splitlines()[-1] == "- north, day 1: exit status 1"


def test_days_of_a_night_share_all_but_the_date_and_no_condition_is_missing():
    assert {night.name for night in NIGHTS} == {"north", "south", "weak", "crowded", "sick", "outside"}
    for night in NIGHTS:
        first, second = night.epoch(0), night.epoch(1)
        assert first == night.options
        assert replace(second, start=first.start) == first
        assert second.start > first.start
        assert len(first.antennas) == 28
        assert not first.noise_after_electronics
        assert all(
            (first.sefd_scatter, first.band_slope_db, first.digitiser_scatter, first.screen_deg, first.a_team)
        )
    [weak] = [night for night in NIGHTS if night.name == "weak"]
    assert weak.options.channel_width_hz == pytest.approx(244.14e3, rel=1e-4)


def test_the_ideal_noise_is_that_of_clean_data_with_true_weights():
    options = replace(NIGHTS[0].options, sefd_scatter=0.0, dead_antennas=("36",), sick_antennas=("15",))
    options = replace(options, rfi_lines_mhz=(1400.5,), n_channels=6)
    antennas = tuple(draw(options, name, 60000.0) for name in options.antennas)
    burst = Burst(0, 3, options.band_low_hz, options.band_centre_hz - 1e3, 100.0, 0)
    tile = TileTruth(
        0, "2025-10-30T13:00:00", mjd("2025-10-30T13:00:00"), 0.0, (), 0.0, 55.2, {}, {}, (), (), (burst,)
    )
    truth = Truth(options, 60000.0, (), antennas, (tile,))
    # 26 of 28 antennas, 8 integrations of 16 * 6 channels: one channel has the line, of one integration half the burst
    samples = 26 * 25 / 2 * 2 * (8 * 95 - 47)
    one = options.sefd_jy / np.sqrt(2 * 187.5e6 / 96 * options.integration_s)
    assert ideal.natural_jy(truth, "2025-10-30T13:00:02") == pytest.approx(one / np.sqrt(samples))
    # antennas of noise of their own: the sum over pairs, one by one
    scattered = replace(truth, options=replace(options, sefd_scatter=0.1))
    noise = receiver_noise(scattered.options, [n for n in options.antennas if n not in ("36", "15")])
    power = np.array(
        [[noise[i, p] ** 2 * noise[j, p] ** 2 for p in (0, 1)] for i in range(26) for j in range(i)]
    )
    assert ideal.natural_jy(scattered, tile.name) == pytest.approx(
        one / np.sqrt((1 / power).sum() * (8 * 95 - 47))
    )


def test_the_page_says_which_nights_and_days_it_has_not(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "BEFORE", tmp_path / "before.json")
    standard = [night for night in skies.nights("standard") if night.name != "weak"]
    one = [replace(night, days=1) for night in standard]
    for nights, said in ((standard, "weak"), (one, "weak, the second day of north, the second day of south")):
        page = command.page(nights, {night.name: measured(n=40) for night in nights}, "standard", [])
        assert f"Not in this run: {said}." in page


def test_before_and_after_stand_beside_each_other_by_their_names():
    after = {"scatter of that": "**0.0099 ± 0.0004** (400)", "complete": "**97.0 % ± 1.7 %** (100)"}
    lines = scorecard.compared({"scatter of that": "**0.0500 ± 0.0010** (90)", "more": "1"}, after)
    assert lines[2:] == [
        "| scatter of that | **0.0500 ± 0.0010** (90) | **0.0099 ± 0.0004** (400) |",
        "| complete | not measured | **97.0 % ± 1.7 %** (100) |",
    ]


def test_the_catalogues_given_to_the_pipeline_carry_their_errors():
    [south] = [night for night in NIGHTS if night.name == "south"]
    name, _, _, flux, *_ = (
        skies.calibrator_table(south.options, south.calibrator_error).splitlines()[1].split(",")
    )
    assert (name, float(flux)) == ("0000-053", pytest.approx(0.97 * 7.0))
    sources = [Source(f"s{k}", 10.0, 5.0, 1.0) for k in range(1000)] + [Source("faint", 10.0, 5.0, 0.001)]
    lines = skies.reference_table(sources, 1).splitlines()[1:]
    fluxes = np.array([float(line.split(",")[3]) for line in lines])
    assert len(fluxes) == 1000
    assert fluxes.std() == pytest.approx(
        skies.CATALOGUE_SCATTER, rel=0.1
    )  # 1 / sqrt(2 * 1000), four times that
