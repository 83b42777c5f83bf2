from builders.tiles import strip_of_tiles
from contimg.core import names
from contimg.mosaic.options import MosaicOptions
from contimg.mosaic.windows import find_windows


def test_every_tile_is_in_two_half_overlapping_windows():
    tiles = strip_of_tiles(count=60)
    windows = find_windows(tiles, MosaicOptions())
    for tile in tiles:
        assert sum(tile.name in window.tiles for window in windows) == 2
    full = [window for window in windows if len(window.tiles) >= 11]
    assert full  # 60 sidereal minutes hold 11 or 12 tiles of 5.15 minutes
    assert all(window.tiles == tuple(sorted(window.tiles)) for window in windows)


def test_a_missing_tile_changes_no_name_and_no_other_member():
    tiles = strip_of_tiles(count=40)
    whole = {window.path: window for window in find_windows(tiles, MosaicOptions())}
    holed = {window.path: window for window in find_windows(tiles[:17] + tiles[18:], MosaicOptions())}
    assert holed.keys() == whole.keys()
    for path, window in holed.items():
        assert window.mid_mjd == whole[path].mid_mjd
        assert set(window.tiles) == set(whole[path].tiles) - {tiles[17].name}


def test_windows_are_the_same_on_the_next_night():
    first = strip_of_tiles(count=40)
    later = names.utc(names.tile_mjd("2025-10-30T12:00:00") + names.SIDEREAL_DAY).strftime(
        "%Y-%m-%dT%H:%M:%S"
    )
    second = strip_of_tiles(count=40, start=later)
    windows = find_windows(first + second, MosaicOptions())
    today = [window for window in windows if window.path.startswith("mosaics/2025-10-30/")]
    tomorrow = [window for window in windows if window.path.startswith("mosaics/2025-10-31/")]
    assert [(window.name, window.center_ra_deg) for window in today] == [
        (window.name, window.center_ra_deg) for window in tomorrow
    ]
    assert len(today) + len(tomorrow) == len(windows)


def test_windows_cross_ra_0h_and_midnight():
    tiles = strip_of_tiles(count=24, ra_start_deg=345.0, start="2025-10-30T23:00:00")
    windows = {window.name: window for window in find_windows(tiles, MosaicOptions())}
    crossing = windows["0000+55"]
    ras = {tile.name: tile.ra_icrs_deg for tile in tiles}
    assert {round(ras[name] // 300) for name in crossing.tiles} == {0, 1}
    assert {name[:10] for name in crossing.tiles} == {"2025-10-30", "2025-10-31"}


def test_strips_are_never_mixed():
    tiles = strip_of_tiles(count=6) + strip_of_tiles(count=6, dec_deg=54.8, start="2025-10-30T12:31:00")
    windows = find_windows(tiles, MosaicOptions())
    declination = {tile.name: tile.dec_deg for tile in tiles}
    for window in windows:
        assert len({declination[name] for name in window.tiles}) == 1
    assert {window.name[4:] for window in windows} == {"+55", "+54.8"}


def test_two_recurrences_in_one_utc_date_have_two_paths():
    first = strip_of_tiles(count=1, start="2025-10-30T00:00:30", ra_start_deg=119.0)
    second = strip_of_tiles(count=1, start="2025-10-30T23:56:34", ra_start_deg=119.0)
    options = MosaicOptions(width_minutes=8, stride_minutes=8)
    paths = [window.path for window in find_windows(first + second, options)]
    assert len(paths) == len(set(paths)) == 2
