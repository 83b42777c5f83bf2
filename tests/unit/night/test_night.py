from itertools import pairwise

import pytest

from builders.tiles import strip_of_tiles
from contimg.config.model import Config
from contimg.core.errors import ConfigError
from contimg.core.names import tile_mjd
from contimg.index.tile import Index, LeftOut
from contimg.night.manifest import freeze, thaw
from contimg.night.night import arrange, plan
from contimg.sky.calibrators import Calibrator

SOURCE = Calibrator("0834+555", 128.7287, 55.5725, 8.8, -0.4, "test")


def night(tiles, left_out=(), **keys):
    return arrange(Config.model_validate(keys), Index(tuple(tiles), tuple(left_out)), [SOURCE])


def test_a_range_only_selects():
    tiles = strip_of_tiles(count=40)
    wide, narrow = night(tiles), night(tiles, start=tiles[10].name, end=tiles[13].name)
    assert narrow.selected == tuple(tile.name for tile in tiles[10:13])
    assert set(narrow.windows) < set(wide.windows)
    for path, window in narrow.windows.items():
        assert window == wide.windows[path]
        assert set(window.tiles).intersection(narrow.selected)
        for tile in window.tiles:  # what a selected mosaic needs has its candidates too
            assert narrow.cal_dirs(tile) == wide.cal_dirs(tile)


def test_registries_come_after_a_publication_and_bring_none_about():
    planned = night(strip_of_tiles(count=10))
    receipts = set(planned.publication_records())
    assert receipts
    assert receipts <= set(planned.registered({"registry", "publish"}))
    assert not receipts & set(planned.registered({"registry"}))


def test_a_range_from_one_tiles_name_to_the_next_ones_is_that_tile_however_the_names_are_rounded():
    tiles = strip_of_tiles(count=12, minutes=0.859)  # 51.54 s
    early = [tile.start_mjd < tile_mjd(tile.name) for tile in tiles]
    assert 3 < sum(early) < 9  # names of both kinds
    for tile, following in pairwise(tiles):
        assert night(tiles, start=tile.name, end=following.name).selected == (tile.name,)


def test_left_out_groups_of_the_range_are_told():
    tiles = strip_of_tiles(count=10)
    inside, outside = (
        LeftOut(tiles[3].name, "sb03 missing", ("a",)),
        LeftOut(tiles[8].name, "sb04 missing", ("b",)),
    )
    planned = night(tiles[:3] + tiles[4:8], (inside, outside), end=tiles[5].name)
    assert planned.left_out == (inside,)
    with pytest.raises(ConfigError, match="left out: sb03 missing"):
        planned.files(tiles[3].name)


def test_round_a_transit_only_its_window_is_made():
    tiles = strip_of_tiles(count=60)
    planned = night(tiles, calibrator="0834+555", transit_date="2025-10-30", window_minutes=31)
    (window,) = planned.windows.values()
    assert window.path == "mosaics/0834+555/2025-10-30"
    assert window.name == "0834+555_2025-10-30"
    assert planned.selected == window.tiles
    assert len(window.tiles) == 6  # 31 minutes of 5.15-minute tiles, by their middles
    with pytest.raises(ConfigError, match="transits in no complete tile of 2025-10-29"):
        night(tiles, calibrator="0834+555", transit_date="2025-10-29", window_minutes=31)


def test_a_named_mosaic_takes_the_whole_range_and_refuses_two_strips():
    tiles = strip_of_tiles(count=8)
    (window,) = night(tiles, mosaic_name="deep").windows.values()
    assert (window.path, len(window.tiles)) == ("mosaics/2025-10-30/deep", 8)
    other = strip_of_tiles(count=2, dec_deg=37.0, start="2025-10-30T18:00:00")
    with pytest.raises(ConfigError, match=r"2 strips .declinations \+37, \+55"):
        night(tiles + other, mosaic_name="deep")


def test_the_nearest_candidate_is_known():
    tiles = strip_of_tiles(count=40)
    planned = night(tiles)
    assert planned.nearest(tiles[0].name) == planned.cal_dirs(tiles[0].name)[0]
    assert planned.transit(planned.cal_dirs(tiles[0].name)[0]).calibrator == SOURCE
    lonely = night(strip_of_tiles(count=2, ra_start_deg=10.0))
    assert lonely.nearest(lonely.selected[0]) is None


def test_a_frozen_plan_thaws_to_the_same(tmp_path):
    config = Config.model_validate({"start": "2025-10-30T12:10:00"})
    planned = arrange(config, Index(tuple(strip_of_tiles(count=12)), ()), [SOURCE])
    freeze(tmp_path / "run.json", config, planned)
    assert thaw(tmp_path / "run.json") == (config, planned)


def test_every_mosaic_is_measured_where_there_is_a_list_of_sources_and_none_without():
    tiles = strip_of_tiles(count=30)
    assert night(tiles).photometry() == []
    assert night(tiles).up_to_photometry() == night(tiles).up_to_qa()
    planned = night(tiles, catalog="nvss.fits")
    wanted = planned.up_to_photometry()
    assert len(wanted) == len(set(wanted))
    assert "photometry/sources.parquet" in wanted
    stems = {verdict.removeprefix("qa/").removesuffix(".json") for verdict in planned.mosaic_verdicts}
    expected = {f"photometry/{stem}.parquet" for stem in stems}
    assert set(planned.photometry()) == expected <= set(wanted)
    assert set(planned.photometry_of("2025-10-30")) <= expected
    window = next(iter(planned.windows.values()))
    pointed = planned.pointings("2025-10-30", window.name)
    assert set(pointed) == set(window.tiles)
    assert set(pointed.values()) == {tiles[0].dec_deg}


def test_names_that_are_no_product_are_refused_with_what_there_is():
    planned = night(strip_of_tiles(count=4))
    with pytest.raises(ConfigError, match="not in `incoming`"):
        planned.files("2025-10-30T03:00:00")
    with pytest.raises(
        ConfigError, match="no tile of `incoming` is in this mosaic; expected one of mosaics/"
    ):
        planned.window("mosaics/2025-10-30/0100+55")


def test_every_tile_and_mosaic_of_a_run_has_a_verdict_of_its_own():
    planned = night(strip_of_tiles(count=30), start="2025-10-30T13:00:00")
    wanted = planned.up_to_qa()
    assert len(wanted) == len(set(wanted))
    for tile in {name for window in planned.windows.values() for name in window.tiles}:
        assert f"qa/{tile[:10]}/{tile}.json" in wanted
    for path, window in planned.windows.items():
        assert f"qa/2025-10-30/{window.name}.json" in wanted
        assert planned.judged("2025-10-30", window.name).path == path
        assert planned.mosaic_gates(path) == [f"qa/{tile[:10]}/{tile}.json" for tile in window.tiles]
    with pytest.raises(
        ConfigError, match=r"qa/2025-10-30/0000.00.json: no such tile or mosaic; expected one of"
    ):
        planned.judged("2025-10-30", "0000+00")
    assert planned.dates() == ["2025-10-30"]
    assert set(planned.verdicts_of("2025-10-30")) | {"qa/2025-10-30.html"} <= set(wanted)
    round_transit = night(strip_of_tiles(count=60), calibrator="0834+555", transit_date="2025-10-30")
    assert list(round_transit.mosaic_verdicts) == ["qa/2025-10-30/0834+555_2025-10-30.json"]


def test_a_tile_to_leave_out_that_is_not_there_is_a_slip_of_the_pen(tmp_path):
    config = Config.model_validate(
        {"incoming": str(tmp_path), "products": str(tmp_path / "p"), "exclude": ["2025-10-30T13:00:01"]}
    ).resolved(tmp_path)
    with pytest.raises(
        ConfigError, match="exclude: found 2025-10-30T13:00:01, which is no tile of `incoming`"
    ):
        plan(config)
    assert plan(config.model_copy(update={"start": "2025-11-01T00:00:00"})).selected == ()
