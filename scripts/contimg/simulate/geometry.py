"""Where sources are in the sky of the array, and how far their waves travel: the simulator's own geometry.

Two frames are used. Both are fixed to the Earth, with Z to the pole of the terrestrial frame:

- ECEF, X to longitude 0, as in the station table.
- *Meridian frame*: ECEF turned by the longitude of the reference point, so that X points to (HA 0, dec 0),
  Y to the east, Z to the pole. A direction of hour angle h (positive west) and declination d is
  (cos d cos h, -cos d sin h, sin d) (Thompson, Moran & Swenson, 3rd ed., eq. 4.2, up to the sign of Y).

Hour angle and declination are topocentric apparent ones: precession, nutation, annual and diurnal aberration,
light deflection and polar motion, no refraction.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import HADec, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from contimg.core.errors import InputError
from contimg.simulate.stations import REFERENCE_LONGITUDE_RAD, reference_location

iers.conf.auto_download = False
iers.conf.auto_max_age = None

SPEED_OF_LIGHT_M_S = 299792458.0
EARTH_ROTATION_RAD_S = 2.0 * np.pi * 1.00273781191135448 / 86400.0
MJD_TO_JD = 2400000.5


def hour_angle_dec(
    ra_deg: np.ndarray, dec_deg: np.ndarray, times_jd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return topocentric apparent hour angle and declination of ICRS places.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, (nsrc,)
        ICRS, deg.
    times_jd : ndarray, (nt,)
        JD UTC.

    Returns
    -------
    hour_angle_rad, dec_rad : ndarray, (nt, nsrc)
        Hour angle in [-pi, pi), positive west, and declination, rad.
    """
    frame = HADec(obstime=Time(times_jd[:, None], format="jd", scale="utc"), location=reference_location())
    sky = SkyCoord(np.asarray(ra_deg)[None, :] * u.deg, np.asarray(dec_deg)[None, :] * u.deg)
    sky = sky.transform_to(frame)
    hour_angle = (sky.ha.to_value(u.rad) + np.pi) % (2.0 * np.pi) - np.pi
    return hour_angle, sky.dec.to_value(u.rad)


def sun_hour_angle_dec(times_jd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hour angle and declination of the Sun, both (nt,), rad, as `hour_angle_dec` those of stars."""
    times = Time(times_jd, format="jd", scale="utc")
    place = reference_location()
    sun = get_body("sun", times, place).transform_to(HADec(obstime=times, location=place))
    hour_angle = (sun.ha.to_value(u.rad) + np.pi) % (2.0 * np.pi) - np.pi
    return hour_angle, sun.dec.to_value(u.rad)


def direction(hour_angle_rad: np.ndarray, dec_rad: np.ndarray) -> np.ndarray:
    """Return unit vectors (..., 3) of the meridian frame for hour angles and declinations (rad)."""
    hour_angle_rad, dec_rad = np.broadcast_arrays(hour_angle_rad, dec_rad)
    return np.stack(
        [
            np.cos(dec_rad) * np.cos(hour_angle_rad),
            -np.cos(dec_rad) * np.sin(hour_angle_rad),
            np.sin(dec_rad),
        ],
        axis=-1,
    )


def direction_rate(hour_angle_rad: np.ndarray, dec_rad: np.ndarray) -> np.ndarray:
    """Return the velocity (..., 3) of `direction` as the Earth turns, 1/s."""
    hour_angle_rad, dec_rad = np.broadcast_arrays(hour_angle_rad, dec_rad)
    return EARTH_ROTATION_RAD_S * np.stack(
        [
            -np.cos(dec_rad) * np.sin(hour_angle_rad),
            -np.cos(dec_rad) * np.cos(hour_angle_rad),
            np.zeros(dec_rad.shape),
        ],
        axis=-1,
    )


def to_meridian_frame(ecef_m: np.ndarray) -> np.ndarray:
    """Turn ECEF vectors (..., 3) about Z into the meridian frame of the reference point."""
    c, s = np.cos(REFERENCE_LONGITUDE_RAD), np.sin(REFERENCE_LONGITUDE_RAD)
    return np.stack(
        [c * ecef_m[..., 0] + s * ecef_m[..., 1], c * ecef_m[..., 1] - s * ecef_m[..., 0], ecef_m[..., 2]],
        axis=-1,
    )


def uvw_meridian(positions_m: np.ndarray, dec_rad: float) -> np.ndarray:
    """Return (n, 3) u, v, w in metres of ECEF positions (n, 3) toward (HA 0, dec_rad): u east, v north."""
    x, y, z = np.moveaxis(to_meridian_frame(positions_m), -1, 0)
    c, s = np.cos(dec_rad), np.sin(dec_rad)
    return np.stack([y, c * z - s * x, c * x + s * z], axis=-1)


def excess_path(
    positions_m: np.ndarray,
    hour_angle_rad: np.ndarray,
    dec_rad: np.ndarray,
    pointing_dec_rad: float,
    stated_m: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return w toward the sources minus w toward (HA 0, pointing declination), and its rate.

    The fringe stopper follows, within an integration, the point that is at HA 0 at the integration's
    midpoint; the rate is the one against that moving point.

    Parameters
    ----------
    positions_m : ndarray, (nant, 3)
        ECEF metres relative to the reference point.
    hour_angle_rad, dec_rad : ndarray, (nt, nsrc)
        Apparent places at the midpoints, rad.
    pointing_dec_rad : float
        Pointing declination, apparent, rad.
    stated_m : ndarray, (nant, 3), optional
        Where the fringe stopper takes the antennas to be; None: where they are.

    Returns
    -------
    path_m, rate_m_s : ndarray, (nt, nant, nsrc)
        For one antenna; a baseline's is antenna 2's minus antenna 1's.
    """
    position = to_meridian_frame(positions_m)
    stopped = direction(np.array(0.0), np.array(pointing_dec_rad))
    stopped_rate = direction_rate(np.array(0.0), np.array(pointing_dec_rad))
    path = np.einsum("ax,tsx->tas", position, direction(hour_angle_rad, dec_rad) - stopped)
    rate = np.einsum("ax,tsx->tas", position, direction_rate(hour_angle_rad, dec_rad) - stopped_rate)
    if stated_m is not None:
        wrong = position - to_meridian_frame(stated_m)
        path = path + (wrong @ stopped)[:, np.newaxis]
        rate = rate + (wrong @ stopped_rate)[:, np.newaxis]
    return path, rate


def stopper_rate(positions_m: np.ndarray, pointing_dec_rad: float) -> np.ndarray:
    """Return (nant,) m/s: how fast the stopper's path changes, and so how fast it turns what stands still."""
    rate = direction_rate(np.array(0.0), np.array(pointing_dec_rad))
    return to_meridian_frame(positions_m) @ rate


def separation(hour_angle_rad: np.ndarray, dec_rad: np.ndarray, pointing_dec_rad: float) -> np.ndarray:
    """Return the angle (rad) between places and (HA 0, pointing declination), exact at small angles too."""
    chord = direction(hour_angle_rad, dec_rad) - direction(np.array(0.0), np.array(pointing_dec_rad))
    return 2.0 * np.arcsin(np.clip(0.5 * np.linalg.norm(chord, axis=-1), 0.0, 1.0))


def above_horizon(hour_angle_rad: float, dec_rad: float) -> bool:
    """Whether an apparent place is above the horizon of the reference point."""
    latitude = reference_location().lat.to_value(u.rad)
    sine = np.sin(latitude) * np.sin(dec_rad) + np.cos(latitude) * np.cos(dec_rad) * np.cos(hour_angle_rad)
    return bool(sine > 0.0)


def lst_rad(time_jd: float) -> float:
    """Return the apparent local sidereal time (rad) at the reference point, JD UTC."""
    time = Time(time_jd, format="jd", scale="utc", location=reference_location())
    return float(time.sidereal_time("apparent").to_value(u.rad))


def transit_jd(ra_deg: float, dec_deg: float, day: str) -> float:
    """Return the JD UTC of the first upper transit of an ICRS place on or after 00:00 UTC of `day`."""
    try:
        jd0 = Time(day.partition("T")[0], scale="utc").jd
    except ValueError as exc:
        raise InputError(f"simulate: start {day!r} is no date; write it like 2025-10-30") from exc
    rate = EARTH_ROTATION_RAD_S * 86400.0
    ha = hour_angle_dec(np.array([ra_deg]), np.array([dec_deg]), np.array([jd0]))[0][0, 0]
    jd = jd0 + (-ha % (2.0 * np.pi)) / rate
    for _ in range(4):
        jd -= hour_angle_dec(np.array([ra_deg]), np.array([dec_deg]), np.array([jd]))[0][0, 0] / rate
    return jd
