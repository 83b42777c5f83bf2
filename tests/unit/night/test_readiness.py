from dataclasses import replace

import pytest
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time

from builders.tiles import strip_of_tiles
from contimg.calibrate.transits import transit_mjd
from contimg.cli.main import main
from contimg.core import names
from contimg.index.tile import Index, LeftOut
from contimg.night.readiness import (
    Readiness,
    WaitedTooLong,
    Wanted,
    covers,
    next_transit,
    placed,
    readiness,
    transit_on,
    wait,
)
from contimg.sky.calibrators import Calibrator

# 24 tiles of 5.154 minutes drift over 31 degrees; this source crosses the meridian in the middle of the strip.
SOURCE = Calibrator("A", 135.5, 55.1, 8.0, -0.5, "test")
TILES = strip_of_tiles(count=24)
MIDDLE = transit_mjd(TILES[12], SOURCE.ra_deg)
HOUR = Wanted(SOURCE, MIDDLE, 30 / 1440)
INSIDE = [tile for tile in TILES if abs(tile.mid_mjd - MIDDLE) <= HOUR.half_days]
LATER = HOUR.end_mjd + 1.0


def state(tiles, left_out=(), *, now=LATER, changed=HOUR.mjd, settle=10.0):
    index = Index(tuple(tiles), tuple(left_out))
    return readiness(index, HOUR, now_mjd=now, changed_mjd=changed, settle_minutes=settle)


def test_the_next_transit_is_on_the_meridian_and_recurs_after_a_sidereal_day():
    first = next_transit(SOURCE.ra_deg, MIDDLE)
    site = EarthLocation.from_geodetic(-118.2817, 37.2339, 1222.0)
    source = SkyCoord(SOURCE.ra_deg, SOURCE.dec_deg, unit="deg")
    hour_angle = source.transform_to(HADec(obstime=Time(first, format="mjd"), location=site)).ha.wrap_at(
        "180d"
    )
    # The Earth rotation angle leaves out the precession of right ascension since J2000: 26 years at up to 5 s a year.
    assert abs(hour_angle.hour) < 130 / 3600
    for after in (first, first + 1e-6, first + 0.4, first - 1e-6):
        found = next_transit(SOURCE.ra_deg, after)
        assert 0 <= found - after <= names.SIDEREAL_DAY
    assert next_transit(SOURCE.ra_deg, first + 1e-6) - first == pytest.approx(names.SIDEREAL_DAY)


def test_a_transit_of_a_date_is_on_that_date():
    for day in ("2025-01-01", "2025-06-15", "2025-12-31"):
        assert names.utc(transit_on(SOURCE.ra_deg, day)).strftime("%Y-%m-%d") == day


def test_a_whole_window_is_ready_at_once():
    assert state(INSIDE, now=HOUR.end_mjd).ready
    assert state(TILES, now=HOUR.end_mjd).said == f"{len(INSIDE)} tiles, complete"


@pytest.mark.parametrize("missing", [0, 3, -1])
def test_a_window_with_a_gap_is_not(missing):
    tiles = [tile for tile in INSIDE if tile is not INSIDE[missing]]
    assert covers(INSIDE, HOUR)
    assert not covers(tiles, HOUR)
    assert not state(tiles, now=HOUR.end_mjd).ready


def test_a_group_that_is_not_complete_yet_holds_it_up():
    late = LeftOut(INSIDE[2].name, "15 of 16 subbands: missing sb03", ())
    tiles = [tile for tile in INSIDE if tile is not INSIDE[2]]
    found = state(tiles, [late], now=HOUR.end_mjd)
    assert not found.ready
    assert "missing sb03" in found.said


def test_what_stays_incomplete_is_taken_when_it_is_quiet():
    tiles = INSIDE[:-1]
    minute = 1 / 1440
    assert not state(tiles, now=HOUR.end_mjd + 9 * minute).ready
    assert state(tiles, now=HOUR.end_mjd + 11 * minute).ready
    # a file came after the end of the window: the ten minutes count from it
    assert not state(tiles, now=HOUR.end_mjd + 25 * minute, changed=HOUR.end_mjd + 20 * minute).ready


def test_without_the_tile_of_the_transit_nothing_is_ever_ready():
    tiles = [tile for tile in INSIDE if not tile.start_mjd <= MIDDLE < tile.start_mjd + 5.154 / 1440]
    assert len(tiles) == len(INSIDE) - 1
    found = state(tiles)
    assert not found.ready
    assert "no complete tile holds the transit yet" in found.said
    other_day = [replace(tile, mid_mjd=tile.mid_mjd - 2 * names.SIDEREAL_DAY) for tile in INSIDE]
    assert not state(other_day).ready


def look_through(states, **limits):
    """Wait with a clock that a look moves on by a minute; returns the result and what was said."""
    said, now, looks = [], [0.0], iter(states)

    def look():
        now[0] += 1 / 1440
        return next(looks)

    result = wait(
        look,
        poll_s=0,
        clock=lambda: now[0],
        sleep=lambda _s: None,
        say=said.append,
        until_mjd=limits["minutes"] / 1440,
    )
    return result, said


def test_the_tile_of_the_transit_gives_its_instant():
    index = Index(tuple(TILES), ())
    clock = replace(HOUR, mjd=MIDDLE + 1.9 / 1440)
    assert placed(index, clock) == HOUR
    assert placed(Index(tuple(TILES[:3]), ()), clock) == clock


def test_a_wait_ends_when_all_is_there_and_says_only_what_is_new():
    states = [Readiness(False, "nothing"), Readiness(False, "nothing"), Readiness(True, "3 tiles, complete")]
    result, said = look_through(states, minutes=10)
    assert result.ready
    assert said == ["nothing", "3 tiles, complete"]


def test_a_wait_has_an_end():
    with pytest.raises(WaitedTooLong, match="2 tiles are complete"):
        look_through([Readiness(False, "2 tiles are complete")] * 9, minutes=4)


def empty(where):
    """Settings of a run without any raw file."""
    (where / "incoming").mkdir()
    return ["--config", f"incoming={where / 'incoming'}", f"products={where / 'products'}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--calibrator", "no-such"], "calibrator 'no-such' is not in the catalogue"),
        (
            ["--calibrator", "0834+555", "--poll-interval", "-1"],
            "--poll-interval: found '-1'; write a number from 0",
        ),
        (["--calibrator", "0834+555", "--transit-date", "soon"], "transit_date"),
    ],
)
def test_wrong_arguments_end_with_2(tmp_path, capsys, arguments, said):
    settings = empty(tmp_path)
    try:
        status = main(["unattended", *arguments, *settings])
    except SystemExit as refused:  # by the parser, before the command begins
        status = refused.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_data_that_never_come_end_with_3(tmp_path, capsys):
    settings = empty(tmp_path)
    command = [
        "unattended",
        "--calibrator",
        "0834+555",
        "--transit-date",
        "2025-10-30",
        "--max-wait-hours",
        "0",
    ]
    assert main([*command, *settings]) == 3
    assert "gave up after 0 h: no complete tile holds the transit yet" in capsys.readouterr().err
    assert list((tmp_path / "products" / "state" / "requests").iterdir()) == []
