import math

import pytest
from scipy import special

from builders.tiles import strip_of_tiles
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transits import find_transits, rank, transit_mjd, worth
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions


def calibrator(name, ra_deg, flux_jy=8.0, dec_deg=55.1):
    return Calibrator(name, ra_deg, dec_deg, flux_jy, -0.5, "test")


def test_a_transit_is_in_the_tile_that_was_taken_when_the_meridian_crossed_it():
    tiles = strip_of_tiles(count=12)
    source = calibrator("A", tiles[4].ra_icrs_deg + 0.3)
    (transit,) = find_transits(tiles, [source], CalibrationOptions(), BeamOptions())
    assert transit.tile == tiles[4].name
    # 0.3 degrees of right ascension are 0.3 / 15.041 hours
    assert (transit.mjd - tiles[4].mid_mjd) * 24 == pytest.approx(0.3 / 15.041, rel=1e-4)
    assert transit.beam == pytest.approx(1.0)
    assert transit_mjd(tiles[3], source.ra_deg) == pytest.approx(transit.mjd, abs=1e-6)


def test_transits_are_found_across_ra_0h():
    tiles = strip_of_tiles(count=6, ra_start_deg=357.0)
    (transit,) = find_transits(tiles, [calibrator("A", 0.5)], CalibrationOptions(), BeamOptions())
    held = next(tile for tile in tiles if tile.name == transit.tile)
    assert abs((held.ra_icrs_deg - 0.5 + 180) % 360 - 180) < 0.65


def test_a_calibrator_counts_with_its_apparent_flux():
    tiles = strip_of_tiles(count=1)
    half_power_deg = math.degrees(0.5145 * 299792458.0 / 1.4e9 / 4.65)
    source = calibrator("A", tiles[0].ra_icrs_deg, flux_jy=1.9, dec_deg=55.1 + half_power_deg)
    assert find_transits(tiles, [source], CalibrationOptions(), BeamOptions()) == []
    (transit,) = find_transits(tiles, [source], CalibrationOptions(min_flux_jy=0.9), BeamOptions())
    assert transit.apparent_jy == pytest.approx(0.95, rel=0.01)


def test_a_calibrator_too_far_from_the_centre_of_the_beam_is_not_used_however_bright():
    tiles = strip_of_tiles(count=1)
    half_power_deg = math.degrees(0.5145 * 299792458.0 / 1.4e9 / 4.65)
    source = calibrator(
        "A", tiles[0].ra_icrs_deg, flux_jy=100.0, dec_deg=tiles[0].dec_icrs_deg + half_power_deg
    )

    def found(**settings):
        return len(find_transits(tiles, [source], CalibrationOptions(**settings), BeamOptions()))

    assert [found(min_pb=0.49), found(min_pb=0.51)] == [1, 0]
    near, far = half_power_deg - 0.01, half_power_deg + 0.01
    assert [found(search_radius_deg=far), found(search_radius_deg=near)] == [1, 0]


def test_tables_that_are_named_are_the_only_candidates():
    tiles = strip_of_tiles(count=100)
    by_name = {tile.name: tile for tile in tiles}
    sources = [calibrator(name, tiles[place].ra_icrs_deg) for name, place in (("A", 5), ("B", 50), ("C", 95))]
    transits = find_transits(tiles, sources, CalibrationOptions(), BeamOptions())
    named = [transits[-1].cal_dir, "cal/2025-01-01/2025-01-01T00:00:00_A"]
    options = CalibrationOptions(tables=named, valid_hours=0.1)
    assert rank(tiles[0], transits, by_name, options) == [transits[-1]]


def test_candidates_weigh_brightness_against_closeness():
    tiles = strip_of_tiles(count=100)
    by_name = {tile.name: tile for tile in tiles}
    near, far = calibrator("near", tiles[10].ra_icrs_deg, 4.0), calibrator("far", tiles[90].ra_icrs_deg, 8.0)
    options = CalibrationOptions()
    transits = find_transits(tiles, [near, far], options, BeamOptions())
    # tile 20 is 0.86 h from the near one and 6.0 h from the far one: 4 / 1.14 against 8 / 2.0
    names = [transit.calibrator.name for transit in rank(tiles[20], transits, by_name, options)]
    assert names == ["far", "near"]
    names = [transit.calibrator.name for transit in rank(tiles[10], transits, by_name, options)]
    assert names == ["near", "far"]
    assert len(rank(tiles[10], transits, by_name, CalibrationOptions(max_candidates=1))) == 1


def test_neither_another_strip_nor_a_distant_transit_is_a_candidate():
    tiles, others = (
        strip_of_tiles(count=100),
        strip_of_tiles(count=4, dec_deg=54.0, start="2025-10-31T12:00:00"),
    )
    by_name = {tile.name: tile for tile in tiles + others}
    options = CalibrationOptions(valid_hours=3.0)
    transits = find_transits(tiles + others, [calibrator("A", tiles[2].ra_icrs_deg)], options, BeamOptions())
    assert {transit.tile for transit in transits} >= {tiles[2].name}
    assert rank(others[0], transits, by_name, CalibrationOptions(valid_hours=300, min_flux_jy=0)) == [
        transit for transit in transits if transit.tile in {tile.name for tile in others}
    ]
    assert rank(tiles[60], transits, by_name, options) == []


def test_with_interpolation_the_last_candidate_is_on_the_other_side_of_the_tile():
    tiles = strip_of_tiles(count=100)
    by_name = {tile.name: tile for tile in tiles}
    places = {"early": 10, "earlier": 5, "earliest": 1, "late": 90}
    sources = [
        calibrator(name, tiles[k].ra_icrs_deg, 2.0 if name == "late" else 8.0) for name, k in places.items()
    ]
    options = CalibrationOptions(max_candidates=3)
    transits = find_transits(tiles, sources, options, BeamOptions())
    names = [transit.calibrator.name for transit in rank(tiles[20], transits, by_name, options)]
    assert names == ["early", "earlier", "late"]
    alone = options.model_copy(update={"interpolate": False})
    names = [transit.calibrator.name for transit in rank(tiles[20], transits, by_name, alone)]
    assert names == ["early", "earlier", "earliest"]


def test_a_calibrator_beside_tau_a_ranks_behind_a_fainter_one_alone():
    """0534+194 is 6.8 Jy, and Tau A 2.6 deg from it shines through the beam with more than that."""
    tiles = strip_of_tiles(count=24, dec_deg=19.5, ra_start_deg=75.0)
    by_name = {tile.name: tile for tile in tiles}
    known = [
        calibrator("0534+194", 83.6855, 6.8, 19.456),
        calibrator("alone", 90.0, 4.0, 19.4),
        Calibrator("changes", 95.0, 19.4, 6.0, -0.5, "VLA calibrator manual (variable)"),
    ]
    found = {t.calibrator.name: t for t in find_transits(tiles, known, CalibrationOptions(), BeamOptions())}
    # Tau A is some 2.5 deg north of the strip, still inside the first null: 5 to 7 % of 830 Jy
    away = math.radians(22.0145 - by_name[found["0534+194"].tile].dec_icrs_deg)
    x = math.pi * 4.65 * math.sin(away) * 1.4e9 / 299792458.0
    assert found["0534+194"].a_team_jy == pytest.approx(830 * (2 * special.j1(x) / x) ** 2, rel=0.01)
    assert found["alone"].a_team_jy < 3.0  # a sidelobe
    assert worth(found["0534+194"]) < 0.5 < 1.5 < worth(found["alone"])
    assert worth(found["changes"]) < 0.51 * found["changes"].apparent_jy
    middle = by_name[found["alone"].tile]
    ranked = [
        t.calibrator.name
        for t in rank(middle, found.values(), by_name, CalibrationOptions(closeness_hours=1e3))
    ]
    assert ranked.index("alone") < ranked.index("0534+194")
