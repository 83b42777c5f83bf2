"""Directions and baselines against pyuvdata, against astropy's own AltAz frame, and against closed forms."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, SkyCoord
from astropy.time import Time

from contimg.core.errors import SystemFault
from contimg.telescope import geometry

LOC = geometry.location(-118.2834, 37.2334, 1188.0)
TIMES = 2460979.05 + np.arange(5) * 61.3
MICROARCSEC = np.pi / 180 / 3600e6
DECLINATIONS_DEG = [-5.0, 30.0, 54.6, 70.0]


def wrapped(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi


@pytest.mark.parametrize("dec_deg", DECLINATIONS_DEG)
def test_apparent_places_and_sidereal_time_are_those_of_pyuvdata(dec_deg):
    from pyuvdata.utils import phasing
    from pyuvdata.utils.times import get_lst_for_time

    ra = np.array([0.0001, 2.0, 4.9])
    dec = np.radians(dec_deg) + np.array([0.0, 0.01, -0.01])
    ra_app, dec_app = geometry.apparent_radec(ra, dec, TIMES, LOC)
    assert ra_app.shape == (3, 5)
    for i in range(3):
        oracle = phasing.transform_icrs_to_app(time_array=TIMES, ra=ra[i], dec=dec[i], telescope_loc=LOC)
        # 1e-5 relative in a visibility on 2.6 km at 1.5 GHz is 0.16 milliarcsec; both use ERFA, so: rounding.
        assert np.max(np.abs(wrapped(ra_app[i] - oracle[0]))) < 0.1 * MICROARCSEC
        assert np.max(np.abs(dec_app[i] - oracle[1])) < 0.1 * MICROARCSEC
    lst = get_lst_for_time(TIMES, telescope_loc=LOC)
    assert np.max(np.abs(wrapped(geometry.lst_rad(TIMES, LOC) - lst))) < 0.1 * MICROARCSEC


def test_hour_angles_agree_with_the_altaz_frame_of_astropy():
    ra, dec = np.radians([10.0, 130.0]), np.radians([20.0, 55.0])
    ha, dec_app = geometry.hour_angle_dec(ra, dec, TIMES, LOC)
    sky = SkyCoord(ra[:, None] * units.rad, dec[:, None] * units.rad)
    frame = AltAz(obstime=Time(TIMES, format="jd", scale="utc")[None, :], location=LOC)
    altaz = sky.transform_to(frame)
    lat = LOC.lat.rad
    expected = np.arcsin(np.sin(lat) * np.sin(dec_app) + np.cos(lat) * np.cos(dec_app) * np.cos(ha))
    # The meridian leaves out the wobble of the longitude by polar motion: 0.34 arcsec x tan(latitude).
    assert np.max(np.abs(altaz.alt.rad - expected)) < 0.4 * 1e6 * MICROARCSEC
    assert np.all((ha > -np.pi) & (ha <= np.pi))


@pytest.mark.parametrize("dec_deg", DECLINATIONS_DEG)
def test_the_meridian_comes_back_from_icrs(dec_deg):
    dec = np.radians(dec_deg)
    ra_icrs, dec_icrs = geometry.meridian_icrs(TIMES, dec, LOC)
    ha, dec_app = geometry.hour_angle_dec(ra_icrs, dec_icrs, TIMES, LOC)
    own_time = np.arange(len(TIMES))
    # ERFA inverts aberration and light deflection by iteration, and states its errors below 1 microarcsec.
    assert np.max(np.abs(ha[own_time, own_time])) < MICROARCSEC
    assert np.max(np.abs(dec_app[own_time, own_time] - dec)) < MICROARCSEC


@pytest.mark.parametrize("dec_deg", DECLINATIONS_DEG)
def test_uvw_are_those_of_pyuvdata(dec_deg):
    from pyuvdata.utils import phasing
    from pyuvdata.utils.times import get_lst_for_time

    rng = np.random.default_rng(5)
    antennas = rng.normal(scale=1300.0, size=(4, 3))
    ra, dec = 2.3, np.radians(dec_deg)
    uvw = geometry.antenna_uvw(antennas, ra, dec, TIMES, LOC)
    app_ra, app_dec = phasing.transform_icrs_to_app(time_array=TIMES, ra=ra, dec=dec, telescope_loc=LOC)
    north = phasing.calc_frame_pos_angle(
        time_array=TIMES, app_ra=app_ra, app_dec=app_dec, telescope_loc=LOC, ref_frame="icrs"
    )
    for second in range(1, 4):
        oracle = phasing.calc_uvw(
            app_ra=app_ra,
            app_dec=app_dec,
            frame_pa=north,
            lst_array=get_lst_for_time(TIMES, telescope_loc=LOC),
            use_ant_pos=True,
            antenna_positions=antennas,
            antenna_numbers=np.arange(4),
            ant_1_array=np.zeros(len(TIMES), dtype=int),
            ant_2_array=np.full(len(TIMES), second),
            telescope_lat=LOC.lat.rad,
            telescope_lon=LOC.lon.rad,
        )
        # Double precision rounds kilometres at 1e-12 m; the same formula can be no worse than a few of these.
        assert np.max(np.abs(uvw[:, second] - uvw[:, 0] - oracle)) < 1e-10


def test_a_baseline_keeps_its_length_in_every_projection():
    rng = np.random.default_rng(6)
    antennas = rng.normal(scale=1300.0, size=(6, 3))
    uvw = geometry.antenna_uvw(antennas, 1.0, 0.9, TIMES, LOC)
    np.testing.assert_allclose(
        np.linalg.norm(uvw, axis=-1), np.broadcast_to(np.linalg.norm(antennas, axis=-1), (5, 6)), rtol=1e-13
    )


def test_w_toward_the_meridian_is_the_projection_on_that_direction():
    """Moved toward the pole an antenna gains sin(dec) of it; toward the meridian's equator, cos(dec)."""
    lon, dec = LOC.lon.rad, 0.7
    antennas = np.array([[0.0, 0.0, 100.0], [100 * np.cos(lon), 100 * np.sin(lon), 0.0], [0.0, 0.0, 0.0]])
    w = geometry.antenna_w_meridian(antennas, dec, LOC)
    np.testing.assert_allclose(w, [100 * np.sin(dec), 100 * np.cos(dec), 0.0], atol=1e-11)


def test_w_toward_a_direction_on_the_meridian_is_the_w_of_the_meridian():
    rng = np.random.default_rng(7)
    antennas = rng.normal(scale=1300.0, size=(6, 3))
    ra, dec = geometry.meridian_icrs(TIMES[:1], 0.6, LOC)
    uvw = geometry.antenna_uvw(antennas, ra[0], dec[0], TIMES[:1], LOC)
    # 1 microarcsec, the inverse's own error, on 4 km
    np.testing.assert_allclose(uvw[0, :, 2], geometry.antenna_w_meridian(antennas, 0.6, LOC), atol=2e-8)


def test_the_v_axis_angle_predicts_where_uvw_put_a_source_north_of_the_centre():
    """w toward a source is l u + m v + n w: solve for (l, m, n), compare with true ICRS north."""
    rng = np.random.default_rng(8)
    antennas = rng.normal(scale=1300.0, size=(40, 3))
    ra, dec, step = 2.3, np.radians(70.0), 1e-4
    time = TIMES[:1]
    uvw = geometry.antenna_uvw(antennas, ra, dec, time, LOC)[0]
    w_north = geometry.antenna_uvw(antennas, ra, dec + step, time, LOC)[0, :, 2]
    (east, north, _), *_ = np.linalg.lstsq(uvw, w_north, rcond=None)
    angle = geometry.v_axis_angle(ra, dec, time, LOC)[0]
    assert abs(angle) > 2e-5
    # curvature over the step of 1e-4 rad (20 arcsec) changes the direction by the angle x tan(dec) x step
    assert np.arctan2(east, north) == pytest.approx(-angle, abs=2e-6)


def test_a_time_beyond_the_earth_orientation_tables_is_refused():
    with pytest.raises(SystemFault, match="astropy-iers-data"):
        geometry.lst_rad(2470000.0, LOC)
