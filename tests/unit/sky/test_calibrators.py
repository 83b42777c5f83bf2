"""The calibrator catalogue: what is shipped is right, what is wrong is refused with its line and column."""

import math
import re
from pathlib import Path

import pytest

from contimg.core.errors import ConfigError, InputError
from contimg.sky.calibrators import (
    Calibrator,
    find_calibrator,
    others_in_field,
    read_calibrators,
    same_source,
)
from contimg.sky.components import Component, parse_components

SHIPPED = Path(__file__).parents[3] / "config" / "calibrators.csv"
HEADER = "name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n"
LINE = "3C286,202.7845,30.5092,15.0,-0.5,made up\n"

# Perley & Butler 2017 (ApJS 230, 7), table 6: log10 S[Jy] = Σ a_i (log10 ν[GHz])^i.
PERLEY_BUTLER_2017 = {
    "3C48": (1.3253, -0.7553, -0.1914, 0.0498),
    "3C138": (1.0088, -0.4981, -0.1552, -0.0102, 0.0223),
    "3C147": (1.4516, -0.6961, -0.2007, 0.0640, -0.0464, 0.0289),
    "3C196": (1.2872, -0.8530, -0.1534, -0.0200, 0.0201),
    "3C286": (1.2481, -0.4507, -0.1798, 0.0357),
    "3C295": (1.4701, -0.7658, -0.2780, -0.0347, 0.0399),
}
BAND_GHZ = {"20 cm": 1.425, "6 cm": 4.86, "3.7 cm": 8.44}


@pytest.fixture
def catalogue(tmp_path):
    def write(text):
        path = tmp_path / "calibrators.csv"
        path.write_text(text)
        return path

    return write


def test_what_a_catalogue_has_within_the_resolution_is_the_calibrator_itself_whatever_its_name():
    calibrator = Calibrator("CAL", 128.7287, 55.5725, 8.8, -0.4, "list")
    twin = Calibrator("J083454+553421", 128.7287, 55.5725 + 6 / 3600, 8.6, -0.4, "catalogue")  # 6 arcsec off
    other = Calibrator("N", 128.7287, 55.5725 + 40 / 3600, 1.5, -0.4, "catalogue")
    # λ / B of 2.7 km at 1.4 GHz: 16 arcsec; by the fixed 5 arcsec the calibrator would be in its model twice
    assert others_in_field(calibrator, [twin, other], 4.0, 16.0) == [other]
    assert others_in_field(calibrator, [twin, other], 4.0, 5.0) == [twin, other]
    ((source, distance),) = same_source(calibrator, [twin, other], 16.0)
    assert (source, round(distance, 3)) == (twin, 6.0)


@pytest.mark.parametrize("name", PERLEY_BUTLER_2017)
def test_primary_standards_carry_the_perley_butler_2017_scale_across_the_band(name):
    source = find_calibrator(read_calibrators(SHIPPED), name)
    coefficients = PERLEY_BUTLER_2017[name]
    for ghz in (1.31, 1.4, 1.5):
        expected = 10 ** sum(a * math.log10(ghz) ** i for i, a in enumerate(coefficients))
        # Rounding to 1e-3 Jy of at least 8 Jy, and the cubic term left out: |a3| ln10 (0.030)³ < 5e-6.
        assert source.flux_at(ghz * 1e9) == pytest.approx(expected, rel=8e-5)
    assert source.origin.startswith("Perley & Butler 2017")


def test_other_fluxes_and_indices_are_those_of_the_two_bands_that_their_origin_quotes():
    quoted = re.compile(r"VLA calibrator manual: ([\d.]+) Jy at (20 cm); ([\d.]+) Jy at (6 cm|3\.7 cm)")
    for source in read_calibrators(SHIPPED):
        if source.name in PERLEY_BUTLER_2017:
            continue
        low, low_band, high, high_band = quoted.match(source.origin).groups()
        index = math.log(float(high) / float(low)) / math.log(BAND_GHZ[high_band] / BAND_GHZ[low_band])
        assert source.flux_jy == float(low), source
        assert source.spectral_index == pytest.approx(index, abs=6e-4), source


def test_names_of_the_shipped_sources_agree_with_their_positions():
    for source in read_calibrators(SHIPPED):
        stated = re.search(r"VLA (\d{4}[+-]\d{3})", source.origin)
        expected = stated[1] if stated else source.name
        # The manual rounds or truncates the last digit of its names: 0.1° either way, or a minute of time.
        hours, sign, tenths = int(expected[:4]), expected[4], int(expected[5:])
        minutes = hours // 100 * 60 + hours % 100
        assert abs(minutes - source.ra_deg * 4) <= 1.0, source
        assert abs((-1 if sign == "-" else 1) * tenths / 10 - source.dec_deg) <= 0.11, source


def test_shipped_catalogue_holds_what_observers_expect():
    sources = read_calibrators(SHIPPED)
    names = {source.name for source in sources}
    assert {"0834+555", "3C454.3", *PERLEY_BUTLER_2017} <= names
    assert len(sources) >= 45
    assert all(-31 < source.dec_deg < 85 and source.flux_jy > 1 for source in sources)


def test_catalogued_position_of_3c286_is_that_of_the_reference_frame():
    source = find_calibrator(read_calibrators(SHIPPED), "3C286")
    # ICRF: 13h31m08.2880s +30d30'32.960".
    assert source.ra_deg == pytest.approx((13 + 31 / 60 + 8.2880 / 3600) * 15, abs=1e-6)
    assert source.dec_deg == pytest.approx(30 + 30 / 60 + 32.960 / 3600, abs=1e-6)


def test_a_calibrator_is_found_by_name_in_any_case_and_by_its_place():
    sources = read_calibrators(SHIPPED)
    for name in ("3C286", "3c 286", "1331+305"):
        assert find_calibrator(sources, name).name == "3C286"
    with pytest.raises(ConfigError, match=r"'3C287X' is not in the catalogue; it holds .*3C286"):
        find_calibrator(sources, "3C287X")


def test_comments_blank_lines_and_another_order_of_columns_are_read(catalogue):
    text = "# mine\n\norigin,flux_jy,name,ra_deg,dec_deg,spectral_index\nme, 2.5 ,A+1,10,-5,-0.7\n"
    assert read_calibrators(catalogue(text)) == [Calibrator("A+1", 10.0, -5.0, 2.5, -0.7, "me")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected the columns name,"),
        (HEADER, "lists no source"),
        ("name,ra_deg,dec_deg,flux_jy,origin\n", "missing spectral_index"),
        (HEADER.replace("origin", "origin,epoch"), "unknown epoch"),
        (HEADER + LINE.replace("15.0", "0"), r"line 2: flux_jy must be a number from 0 to 1e\+06, found '0'"),
        (
            HEADER + LINE.replace("30.5092", "13h"),
            "line 2: dec_deg must be a number from -90 to 90, found '13h'",
        ),
        (HEADER + LINE.replace("202.7845", "nan"), "line 2: ra_deg must be a number"),
        (HEADER + LINE + "\n" + LINE, "line 4: '3C286' is listed twice"),
        (
            HEADER + LINE.replace("3C286", "3C 286/a"),
            "line 2: the name '3C 286/a' becomes part of file names",
        ),
        (HEADER + LINE.replace("made up", ""), "line 2: origin is empty"),
        (HEADER + LINE.replace("made up", "a, b"), "line 2: expected 6 values, found 7; quote text"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_line_and_column(catalogue, text, message):
    with pytest.raises(InputError, match=message):
        read_calibrators(catalogue(text))


def test_a_missing_catalogue_names_the_key_to_set(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the calibrator catalogue.*set `calibrators`"):
        read_calibrators(tmp_path / "none.csv")


def test_neighbours_are_listed_brightest_first_without_the_calibrator_itself():
    centre = Calibrator("C", 0.01, 60.0, 5.0, -0.7, "test")
    again = Calibrator("C as another catalogue calls it", 0.0101, 60.0, 5.1, -0.7, "test")
    faint = Calibrator("faint", 359.5, 60.0, 1.0, -0.7, "test")  # 0.51° · cos 60° = 0.255° away, across RA 0h
    bright = Calibrator("bright", 0.01, 60.9, 2.0, -0.7, "test")
    far = Calibrator("far", 0.01, 62.0, 9.0, -0.7, "test")
    assert others_in_field(centre, [faint, far, again, centre, bright], 1.0) == [bright, faint]


def test_what_the_array_does_not_tell_apart_is_the_calibrator_itself():
    """A catalogue that has it 6 arcsec away: twice in the model, it would make all fluxes 1.89 times too high."""
    calibrator = Calibrator("A", 10.0, 50.0, 8.0, -0.7, "made up")
    shifted = Calibrator("catalogue", 10.0, 50.0 + 6 / 3600, 8.1, -0.7, "made up")
    other = Calibrator("other", 10.0, 50.0 + 60 / 3600, 2.0, -0.7, "made up")
    assert others_in_field(calibrator, [shifted, other], 1.0) == [shifted, other]
    assert others_in_field(calibrator, [shifted, other], 1.0, 17.0) == [other]
    ((found, distance),) = same_source(calibrator, [other, shifted], 17.0)
    assert found is shifted
    assert distance == pytest.approx(6.0, abs=1e-3)


def test_components_are_read_checked_and_centred(catalogue):
    text = HEADER.replace("origin", "components,origin") + "A,10,50,8,-0.7,0.6:1:2 0.4:-1.5:-3:2:1:30,me\n"
    (source,) = read_calibrators(catalogue(text))
    assert parse_components(source.components)[1] == Component(0.4, -1.5, -3.0, 2.0, 1.0, 30.0)
    assert parse_components("") == (Component(1.0, 0.0, 0.0),)
    for wrong in ("0.6:1:2 0.3:0:0", "0.6:1", "x:0:0", "-1:0:0 2:0:0"):
        with pytest.raises(InputError, match="line 2: curvature or components of A"):
            read_calibrators(catalogue(text.replace("0.6:1:2 0.4:-1.5:-3:2:1:30", wrong)))
    for source in read_calibrators(SHIPPED):
        parts = parse_components(source.components)
        # The catalogued place is the middle of what is seen, within an arc second.
        for axis in ("east_arcsec", "north_arcsec"):
            assert abs(sum(part.share * getattr(part, axis) for part in parts)) < 1.5, source
