import pytest

from contimg.core import names


def test_a_tile_is_named_by_its_start_rounded_to_the_second():
    start = names.mjd(names.datetime(2025, 10, 30, 12, 59, 59, 600_000))
    assert names.tile_name(start) == "2025-10-30T13:00:00"
    assert names.tile_name(start - 0.2 / 86400) == "2025-10-30T12:59:59"


def test_a_tile_name_and_its_instant_are_inverse_across_a_year():
    for name in ("2025-12-31T23:59:59", "2026-01-01T00:00:00", "2024-02-29T12:30:01"):
        assert names.tile_name(names.tile_mjd(name)) == name
        assert names.TILE_RE.fullmatch(name)


@pytest.mark.parametrize(
    ("dec_deg", "label"),
    [(55.04, "+55"), (54.57, "+54.6"), (-5.0, "-05"), (-5.31, "-05.3"), (0.01, "+00"), (-0.02, "+00")],
)
def test_a_strip_is_named_by_its_declination(dec_deg, label):
    assert names.strip_name(dec_deg) == label


def test_a_window_is_named_by_its_centre_and_strip():
    assert names.window_name(127.5, 55.0) == "0830+55"
    assert names.window_name(359.999, 55.0) == "0000+55"


def test_the_second_recurrence_within_a_utc_date_gets_a_b():
    midnight = names.tile_mjd("2025-10-30T00:00:00")
    assert names.dated(midnight + 60 / 86400) == "2025-10-30"
    assert names.dated(midnight + 60 / 86400 + names.SIDEREAL_DAY) == "2025-10-30b"
    assert names.dated(midnight + 600 / 86400) == "2025-10-30"


def test_every_product_of_a_tile_lies_under_its_date():
    tile = "2025-10-30T13:00:00"
    assert names.science_ms(tile) == "ms/science/2025-10-30/2025-10-30T13:00:00.ms"
    assert names.caltable_dir(tile, "0834+555") == "cal/2025-10-30/2025-10-30T13:00:00_0834+555"
    assert names.image_dir(tile) == "images/2025-10-30/2025-10-30T13:00:00"
