"""The simulator's sky: places, beam, sources and stations against closed forms and other routes."""

from __future__ import annotations

import erfa
import numpy as np
import pytest
from astropy.coordinates import HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from contimg.core.errors import ConfigError, InputError
from contimg.simulate import SimOptions, Source, beam, geometry, night, sky, stations

ARCSEC = np.pi / 180.0 / 3600.0


def place_by_vectors(ra_deg: float, dec_deg: float, jd: float) -> np.ndarray:
    """Return the apparent direction in the meridian frame from the SOFA matrices, without frames of astropy.

    Leaves out the bending of light by the Sun: 4 mas at 90 deg from it, 10 mas at 45 deg.
    """
    time = Time(jd, format="jd", scale="utc")
    velocity = erfa.epv00(time.tt.jd1, time.tt.jd2)[1]["v"]  # au / day, barycentric
    beta = velocity * 149597870.7 / 86400.0 / 299792.458
    ra, dec = np.radians([ra_deg, dec_deg])
    natural = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    proper = natural + beta  # annual aberration to first order; the second is 1 mas
    proper /= np.linalg.norm(proper)
    of_date = erfa.pnm06a(time.tt.jd1, time.tt.jd2) @ proper
    table = iers.IERS_Auto.open()
    x, y = (v.to_value("rad") for v in table.pm_xy(time.jd1, time.jd2))
    turn = erfa.rz(erfa.gst06a(time.ut1.jd1, time.ut1.jd2, time.tt.jd1, time.tt.jd2), np.eye(3))
    ecef = erfa.pom00(x, y, erfa.sp00(time.tt.jd1, time.tt.jd2)) @ turn @ of_date
    meridian = geometry.to_meridian_frame(ecef)
    # diurnal aberration: the observer moves east (meridian Y) at 465.1 m/s times cos(latitude)
    meridian += np.array([0.0, 465.1 * np.cos(stations.REFERENCE_LATITUDE_RAD) / 299792458.0, 0.0])
    return meridian / np.linalg.norm(meridian)


@pytest.mark.parametrize(("ra", "dec"), [(128.7287, 55.5725), (0.1, -5.0), (250.0, 70.0), (359.9, 16.0)])
@pytest.mark.parametrize("day", ["2025-01-15T10:00:00", "2025-10-30T13:50:00"])
def test_apparent_places_agree_with_precession_nutation_and_aberration_done_by_hand(ra, dec, day):
    jd = Time(day, scale="utc").jd
    hour_angle, declination = geometry.hour_angle_dec(np.array([ra]), np.array([dec]), np.array([jd]))
    found = geometry.direction(hour_angle, declination)[0, 0]
    # 20 mas: light deflection (10 mas) and the second order of aberration (1 mas) are left out of the other
    # route; a forgotten polar motion (0.3"), diurnal (0.25") or annual aberration (20") would show.
    assert np.linalg.norm(found - place_by_vectors(ra, dec, jd)) < 0.02 * ARCSEC


def test_hour_angle_grows_and_sources_come_from_the_east():
    jd = 2460979.0 + np.array([0.0, 0.01])
    hour_angle = geometry.hour_angle_dec(np.array([40.0]), np.array([30.0]), jd)[0][:, 0]
    # 0.01 day of sidereal turn; apparent places move by less than 1" in a quarter of an hour
    assert np.diff(hour_angle)[0] == pytest.approx(2 * np.pi * 1.0027379 * 0.01, abs=1 * ARCSEC)
    east_of_meridian = geometry.direction(np.array(-0.1), np.array(0.5))
    assert east_of_meridian[1] > 0  # Y points east


def test_direction_rate_is_the_derivative_of_direction():
    ha, dec, step = np.array(0.03), np.array(0.9), 1.0
    turned = geometry.EARTH_ROTATION_RAD_S * step
    measured = (geometry.direction(ha + turned / 2, dec) - geometry.direction(ha - turned / 2, dec)) / step
    # central difference: relative error (omega step)^2 / 24 = 2e-10
    assert measured == pytest.approx(geometry.direction_rate(ha, dec), rel=1e-8, abs=1e-14)


def test_uvw_of_an_east_baseline_is_u_and_of_a_polar_one_splits_by_declination():
    longitude = stations.REFERENCE_LONGITUDE_RAD
    east = np.array([[-np.sin(longitude), np.cos(longitude), 0.0]]) * 100.0
    polar = np.array([[0.0, 0.0, 100.0]])
    dec = np.radians(30.0)
    assert geometry.uvw_meridian(east, dec)[0] == pytest.approx([100.0, 0.0, 0.0], abs=1e-9)
    assert geometry.uvw_meridian(polar, dec)[0] == pytest.approx([0.0, 100 * np.cos(dec), 50.0], abs=1e-9)


def test_separation_is_exact_for_tiny_and_large_angles():
    tiny = geometry.separation(np.array(0.0), np.array(0.9 + 1e-9), 0.9)
    assert tiny == pytest.approx(1e-9, rel=1e-6)
    along_equator = geometry.separation(np.array(1.2), np.array(0.0), 0.0)
    assert along_equator == pytest.approx(1.2, rel=1e-12)


def test_the_named_source_transits_in_the_middle_of_its_tile():
    source = Source("cal", 128.7287, 55.5725, 8.8)
    options = SimOptions(start="2025-10-30", transit_of="cal", transit_tile=2, sources=(source,))
    first = night.start_mjd(options, [source])
    times = night.tile_times_jd(options, first, 2)
    middle = np.array([0.5 * (times[0] + times[-1])])
    hour_angle = geometry.hour_angle_dec(np.array([128.7287]), np.array([55.5725]), middle)[0][0, 0]
    # JD in float64 resolves 40 us: 0.0006"
    assert abs(hour_angle) < 0.01 * ARCSEC
    assert night.iso_second(first + 2 * 309.237648 / 86400).startswith("2025-10-30T")


def test_the_beam_is_half_at_1_6163_and_zero_at_3_8317():
    freq = np.array([1.4e9])
    radius = 1.6163399 * geometry.SPEED_OF_LIGHT_M_S / (np.pi * 4.65 * freq)
    assert beam.power(np.arcsin(radius), freq, 4.65) == pytest.approx(0.5, abs=1e-6)
    null = 3.8317060 * geometry.SPEED_OF_LIGHT_M_S / (np.pi * 4.65 * freq)
    assert beam.power(np.arcsin(null), freq, 4.65) == pytest.approx(0.0, abs=1e-12)
    assert beam.power(np.array([0.0]), freq, 4.65) == 1.0
    # full width 1.03 lambda / D
    assert 2 * np.degrees(radius[0]) == pytest.approx(np.degrees(1.029 * 0.214137 / 4.65), rel=1e-3)


def test_the_longest_active_baseline_is_2_6_km_and_names_are_numbers_plus_one():
    table = stations.read_stations()
    assert table.names[102] == "103"
    assert table.numbers[102] == 102
    used = stations.choose(table, names=(), n_antennas=96, max_radius_m=5000.0)
    assert len(used) == 96
    assert not {"10", "21", "52", "67", "117"} & {table.names[i] for i in used}
    at = table.positions_m[used]
    longest = np.linalg.norm(at[:, None] - at[None], axis=-1).max()
    assert longest == pytest.approx(2600.0, abs=100.0)


def test_a_subset_of_antennas_has_arms_and_outriggers_inside_the_radius():
    table = stations.read_stations()
    used = stations.choose(table, names=(), n_antennas=24, max_radius_m=1300.0)
    names = [int(table.names[i]) for i in used]
    assert len(names) == len(set(names)) == 24
    assert sum(n >= 103 for n in names) >= 2
    assert min(names) < 10
    assert any(68 <= n <= 102 for n in names)
    crossing = table.positions_m[table.names.index("24")]
    assert np.linalg.norm(table.positions_m[used] - crossing, axis=1).max() <= 1300.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ("1", "200")}, "antennas 200 are not among"),
        ({"names": ("1", "1")}, "name a station twice"),
        ({"max_radius_m": 100.0}, "only .* active stations lie within max_radius_m = 100"),
    ],
)
def test_antennas_that_cannot_be_are_refused(arguments, message):
    given = {"names": (), "n_antennas": 96, "max_radius_m": 5000.0} | arguments
    with pytest.raises(ConfigError, match=message):
        stations.choose(stations.read_stations(), **given)


def test_the_random_field_keeps_its_limits_and_distances_and_avoids_explicit_sources():
    given = Source("cal", 128.0, 55.0, 5.0)
    options = SimOptions(field_density_per_deg2=2.0, sources=(given,), field_separation_arcmin=10.0)
    sources = sky.all_sources(options)
    flux = np.array([s.flux_jy for s in sources[1:]])
    assert sources[0] == given
    assert flux.min() >= 0.05
    assert flux.max() <= 1.5
    # strip of 3 deg at dec 55: 360 * 3 * cos(55) = 620 deg^2, 1240 sources; thinning within 10' costs about
    # 2 * pi / 36 / 2 = 9 %; 5 sigma of Poisson is 14 %
    assert 0.8 * 1240 < len(flux) < 1.15 * 1240
    places = SkyCoord([s.ra_deg for s in sources], [s.dec_deg for s in sources], unit="deg")
    _, nearest, _ = places.match_to_catalog_sky(places, nthneighbor=2)
    assert nearest.arcmin.min() >= 10.0 - 1e-6
    # dN/dS ~ S^-1.8 between the limits: the median follows from the integral; its scatter is 3 %
    a, b = 0.05**-0.8, 1.5**-0.8
    assert np.median(flux) == pytest.approx((0.5 * (a + b)) ** (-1 / 0.8), rel=0.12)


def test_a_catalogue_is_read_and_a_wrong_one_refused(tmp_path):
    good = tmp_path / "good.csv"
    good.write_text("# comment\nname,ra_deg,dec_deg,flux_jy,spectral_index\na,1.0,2.0,3.0,-0.5\nb,4,5,6,\n")
    assert sky.read_catalogue(good) == [Source("a", 1.0, 2.0, 3.0, -0.5), Source("b", 4.0, 5.0, 6.0, 0.0)]
    bad = tmp_path / "bad.csv"
    bad.write_text("name,ra,dec,flux\na,1,2,3\n")
    with pytest.raises(InputError, match="needs the columns"):
        sky.read_catalogue(bad)
    with pytest.raises(InputError, match=r"nothere.csv"):
        sky.read_catalogue(tmp_path / "nothere.csv")


def test_spectra_are_power_laws_about_1_4_ghz():
    found = sky.spectrum([Source("a", 0, 0, 2.0, -1.0)], np.array([0.7e9, 1.4e9, 2.8e9]))
    assert found[0] == pytest.approx([4.0, 2.0, 1.0])


def test_a_place_on_the_meridian_comes_back_as_hour_angle_zero():
    time = Time("2025-10-30T13:50:00", scale="utc")
    frame = HADec(obstime=time, location=stations.reference_location())
    icrs = SkyCoord(ha=0.0, dec=55.0, unit="deg", frame=frame).icrs
    ha, dec = geometry.hour_angle_dec(np.array([icrs.ra.deg]), np.array([icrs.dec.deg]), np.array([time.jd]))
    # the two directions of astropy's transformation invert each other to better than 1 mas
    assert abs(ha[0, 0]) < 1e-3 * ARCSEC
    assert dec[0, 0] == pytest.approx(np.radians(55.0), abs=1e-3 * ARCSEC)
