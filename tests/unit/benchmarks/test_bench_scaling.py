"""What the scaling benchmark concludes, from costs that follow a known law."""

import pytest
from benchlib import scaling

SIZES = {24: 0.15, 48: 0.58, 96: 2.31}
LAW = {"convert": (4.0, 8.0), "calibrate": (20.0, 10.0), "image": (10.0, 30.0)}


def rows():
    found = [
        {
            "stage": stage, "antennas": antennas, "tiles": 1, "threads": threads, "raw_gb": raw, "error": "",
            "cpu_s": fixed + slope * raw, "seconds": (fixed + slope * raw) / threads, "peak_gb": 1.0,
        }
        for stage, (fixed, slope) in LAW.items()
        for antennas, raw in SIZES.items()
        for threads in (1, 2)
    ]  # fmt: skip
    night = {**found[0], "stage": "night", "antennas": 24}
    for threads, tiles, busy in ((1, 12, 0.99), (2, 1, 0.5), (2, 12, 0.8)):
        found.append(
            {**night, "threads": threads, "tiles": tiles, "cpu_s": 100.0, "seconds": 100 / threads / busy}
        )
    return found


def test_the_law_comes_back_and_a_failed_run_does_not_count():
    wrong = {**rows()[0], "threads": 2, "cpu_s": 1e6, "error": "killed"}
    for stage, line in scaling.lines([*rows(), wrong]).items():
        assert (line.fixed_s, line.slope_s) == pytest.approx(LAW[stage])


def test_a_night_is_its_tiles_transits_and_mosaics_over_the_busy_cores():
    found = scaling.lines(rows())
    tile = 14.0 + 38.0 * 2.31
    expected = (279 * tile + 6 * (20 + 23.1) + 48 * 60.0) / (32 * 0.8 * 3600)
    assert scaling.efficiency(rows()) == pytest.approx(0.8)
    assert scaling.night_hours(found, 60.0, cores=32, busy=0.8) == pytest.approx(expected)


def test_the_page_tells_every_run_and_the_picture_is_one(tmp_path):
    scaling.plot(rows(), 100.0, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    lines = scaling.page(rows(), 60.0, "a machine")
    assert lines[0] == "a machine"
    assert sum(line.startswith(("| convert", "| calibrate", "| image", "| night")) for line in lines) == 21
    assert lines[-1].startswith("| ten nodes of 32 cores |")
