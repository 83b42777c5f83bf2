"""Where a direction is over the array at a time: apparent places, hour angles and baseline coordinates.

Frames and signs of the whole library (what is left out of them, and how small it is: docs/telescope.md):

- *ICRS*: what users, images and catalogues speak.
- *Apparent* places are topocentric, of date, without refraction and parallax, right ascensions from the true equinox:
  ``hour angle = apparent sidereal time - apparent RA``, with the local sidereal time of IAU 2006/2000A.
- *uvw* of a baseline are (antenna 2 - antenna 1), w toward the source, v toward ICRS north, u toward east, as in
  pyuvdata. (A Measurement Set holds the negative of this; see `contimg.ms.sets`.)

All angles are radians, times Julian dates in UTC (float64: a step of 40 microseconds). References: IAU SOFA, "Tools
for Earth Attitude" and "Astrometry Tools" (by ERFA); Thompson, Moran & Swenson (2017), section 4.1 (uvw).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import erfa
import numpy as np
from astropy import units
from astropy.coordinates import EarthLocation, angular_separation
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import ArrayLike, NDArray

from contimg.core.errors import SystemFault

iers.conf.auto_download = False
iers.conf.auto_max_age = None
Array = NDArray[np.float64]
FRAME_ARC_RAD = np.pi / 360.0
"""Half of the arc over which the position angle of ICRS north is taken (0.5 deg, the arc of pyuvdata)."""
TANGENT_ARC_RAD = np.pi / 180.0 / 1000.0
"""The same so short that the arc is the tangent: its error is 1/500 of `FRAME_ARC_RAD`'s."""


@dataclass(frozen=True)
class _Epochs:
    """The part of the transformation that is the same for all sources, at each time."""

    astrom: NDArray  # ERFA astrometry context, (nt,)
    equation_of_origins: Array  # rad, (nt,)
    lst: Array  # rad, (nt,)


def location(longitude_deg: float, latitude_deg: float, height_m: float) -> EarthLocation:
    """Return the place of the array's reference point (geodetic, WGS84)."""
    return EarthLocation.from_geodetic(
        longitude_deg * units.deg, latitude_deg * units.deg, height_m * units.m
    )


def _time(times_jd: ArrayLike) -> Time:
    time = Time(np.atleast_1d(np.asarray(times_jd, dtype=np.float64)), format="jd", scale="utc")
    _, status = time.get_delta_ut1_utc(return_status=True)
    if np.any(np.isin(status, (iers.TIME_BEFORE_IERS_RANGE, iers.TIME_BEYOND_IERS_RANGE))):
        raise SystemFault(
            f"Earth orientation is not known for MJD {time.mjd.min():.3f} .. {time.mjd.max():.3f}: the "
            "tables installed with astropy do not reach it; update the package astropy-iers-data"
        )
    return time


def _lst(time: Time, longitude_rad: float) -> Array:
    gast = erfa.gst06a(time.ut1.jd1, time.ut1.jd2, time.tt.jd1, time.tt.jd2)
    return np.mod(gast + erfa.sp00(time.tt.jd1, time.tt.jd2) + longitude_rad, 2 * np.pi)


def _epochs(times_jd: ArrayLike, loc: EarthLocation) -> _Epochs:
    times = np.atleast_1d(np.asarray(times_jd, dtype=np.float64))
    height_m = float(loc.height.to_value(units.m))
    return _epochs_of(times.tobytes(), float(loc.lon.rad), float(loc.lat.rad), height_m)


@lru_cache(maxsize=16)
def _epochs_of(times_jd: bytes, longitude_rad: float, latitude_rad: float, height_m: float) -> _Epochs:
    """Do the work of `_epochs`: fits and searches ask for the same integrations hundreds of times."""
    time = _time(np.frombuffer(times_jd))
    pole_x, pole_y = iers.earth_orientation_table.get().pm_xy(time)
    astrom, equation_of_origins = erfa.apco13(
        time.utc.jd1,
        time.utc.jd2,
        time.delta_ut1_utc,
        longitude_rad,
        latitude_rad,
        height_m,
        pole_x.to_value(units.rad),
        pole_y.to_value(units.rad),
        0.0,  # no refraction: pressure, temperature, humidity, wavelength
        0.0,
        0.0,
        0.0,
    )
    return _Epochs(astrom, equation_of_origins, _lst(time, longitude_rad))


def _to_apparent(ra: Array | float, dec: Array | float, epochs: _Epochs) -> tuple[Array, Array]:
    """ICRS (any shape that broadcasts against (nt,)) to apparent RA and declination."""
    ra_cirs, dec_cirs = erfa.atciq(ra, dec, 0.0, 0.0, 0.0, 0.0, epochs.astrom)
    _, _, _, dec_app, ra_observed = erfa.atioq(ra_cirs, dec_cirs, epochs.astrom)
    return np.mod(ra_observed - epochs.equation_of_origins, 2 * np.pi), dec_app


def _to_icrs(ra_app: Array, dec_app: Array, epochs: _Epochs) -> tuple[Array, Array]:
    """Inverse of `_to_apparent`."""
    ra_cirs, dec_cirs = erfa.atoiq("R", ra_app + epochs.equation_of_origins, dec_app, epochs.astrom)
    ra, dec = erfa.aticq(ra_cirs, dec_cirs, epochs.astrom)
    return np.mod(ra, 2 * np.pi), dec


def lst_rad(times_jd: ArrayLike, loc: EarthLocation) -> Array:
    """Return the local apparent sidereal time.

    Parameters
    ----------
    times_jd
        Times, JD UTC, (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ndarray, (nt,)
        Sidereal time in rad, [0, 2 pi).

    Raises
    ------
    SystemFault
        The installed Earth orientation tables do not reach these times.
    """
    return _lst(_time(times_jd), float(loc.lon.rad))


def apparent_radec(
    ra: ArrayLike, dec: ArrayLike, times_jd: ArrayLike, loc: EarthLocation
) -> tuple[Array, Array]:
    """Return topocentric apparent places of ICRS directions.

    Parameters
    ----------
    ra, dec
        ICRS directions, rad, (nsrc,).
    times_jd
        Times, JD UTC, (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ra_app, dec_app : ndarray, (nsrc, nt)
        Apparent right ascension (true equinox of date, [0, 2 pi)) and declination, rad.
    """
    sources = np.atleast_1d(ra)[:, np.newaxis], np.atleast_1d(dec)[:, np.newaxis]
    return _to_apparent(*sources, _epochs(times_jd, loc))


def hour_angle_dec(
    ra: ArrayLike, dec: ArrayLike, times_jd: ArrayLike, loc: EarthLocation
) -> tuple[Array, Array]:
    """Return hour angle and apparent declination of ICRS directions.

    Parameters
    ----------
    ra, dec
        ICRS directions, rad, (nsrc,).
    times_jd
        Times, JD UTC, (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ha, dec_app : ndarray, (nsrc, nt)
        Hour angle (west of the meridian positive, (-pi, pi]) and apparent declination, rad.
    """
    epochs = _epochs(times_jd, loc)
    ra_app, dec_app = _to_apparent(
        np.atleast_1d(ra)[:, np.newaxis], np.atleast_1d(dec)[:, np.newaxis], epochs
    )
    return np.pi - np.mod(np.pi - (epochs.lst - ra_app), 2 * np.pi), dec_app


def meridian_icrs(times_jd: ArrayLike, dec_app: ArrayLike, loc: EarthLocation) -> tuple[Array, Array]:
    """Return the ICRS direction that is on the meridian at an apparent declination.

    Parameters
    ----------
    times_jd
        Times, JD UTC, (nt,).
    dec_app
        Apparent declination, rad, a number or (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ra, dec : ndarray, (nt,)
        ICRS, rad. The inverse of `apparent_radec`: their apparent place is (sidereal time, `dec_app`).
    """
    epochs = _epochs(times_jd, loc)
    return _to_icrs(epochs.lst, np.asarray(dec_app, dtype=np.float64), epochs)


def _north_angle(ra_app: Array, dec_app: Array, epochs: _Epochs, half_arc_rad: float) -> Array:
    """Position angle of ICRS north from apparent north through east, rad, at the south end of an arc."""
    ends = []
    for offset in (-half_arc_rad, half_arc_rad):
        end_dec = dec_app + offset
        over_pole = np.abs(end_dec) > np.pi / 2
        end_ra = np.where(over_pole, ra_app + np.pi, ra_app)
        end_dec = np.where(over_pole, np.sign(end_dec) * np.pi - end_dec, end_dec)
        ends.append(_to_icrs(end_ra, end_dec, epochs))
    (south_ra, south_dec), (north_ra, north_dec) = ends
    return -erfa.pas(south_ra, south_dec, north_ra, north_dec)


def _project(antpos_ecef_m: Array, ha: Array, dec: Array, north_angle: Array, longitude: float) -> Array:
    """Rotate Earth-fixed positions (nant, 3) to (u, v, w) toward (ha, dec), each (nt,): (nt, nant, 3)."""
    gha = ha - longitude
    zero = np.zeros_like(gha)
    east = np.stack([np.sin(gha), np.cos(gha), zero], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(gha), np.sin(dec) * np.sin(gha), np.cos(dec)], axis=-1)
    toward = np.stack([np.cos(dec) * np.cos(gha), -np.cos(dec) * np.sin(gha), np.sin(dec)], axis=-1)
    cos_pa, sin_pa = np.cos(north_angle)[:, np.newaxis], np.sin(north_angle)[:, np.newaxis]
    axes = np.stack([cos_pa * east - sin_pa * north, sin_pa * east + cos_pa * north, toward], axis=1)
    return np.einsum("tij,aj->tai", axes, np.asarray(antpos_ecef_m, dtype=np.float64))


def antenna_uvw(
    antpos_ecef_m: Array, ra: float, dec: float, times_jd: ArrayLike, loc: EarthLocation
) -> Array:
    """Return antenna coordinates toward one ICRS direction; a baseline's are antenna 2's less antenna 1's.

    Parameters
    ----------
    antpos_ecef_m
        Antenna positions relative to the reference point, Earth-fixed axes (ITRS), m, (nant, 3).
    ra, dec
        ICRS direction, rad.
    times_jd
        Times, JD UTC, (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ndarray, (nt, nant, 3), float64
        u (east), v (ICRS north), w (toward the direction), m. Float64 because a phase of 1e-5 rad at 1.5 GHz
        is 0.3 micrometres, 1e-10 of the longest baseline. ICRS north is pyuvdata's (see `v_axis_angle`).
    """
    epochs = _epochs(times_jd, loc)
    ra_app, dec_app = _to_apparent(np.float64(ra), np.float64(dec), epochs)
    return _project(
        antpos_ecef_m,
        epochs.lst - ra_app,
        dec_app,
        _north_angle(ra_app, dec_app, epochs, FRAME_ARC_RAD),
        loc.lon.rad,
    )


def antenna_uvw_toward(antpos_ecef_m: Array, ha: ArrayLike, dec_app: ArrayLike, loc: EarthLocation) -> Array:
    """Return antenna coordinates toward places over the array, v toward apparent north.

    Parameters
    ----------
    antpos_ecef_m
        Antenna positions relative to the reference point, Earth-fixed axes (ITRS), m, (nant, 3).
    ha, dec_app
        Hour angle and apparent declination, rad, (nt,). (0, geodetic latitude) is the zenith: east, north, up.
    loc
        The array's reference point.

    Returns
    -------
    ndarray, (nt, nant, 3), float64
        u, v, w in m.
    """
    places = np.asarray(ha, dtype=np.float64), np.asarray(dec_app, dtype=np.float64)
    hour_angle, dec = np.broadcast_arrays(*map(np.atleast_1d, places))
    return _project(antpos_ecef_m, hour_angle, dec, np.zeros(dec.shape), loc.lon.rad)


def antenna_w_meridian(antpos_ecef_m: Array, dec_app: float, loc: EarthLocation) -> Array:
    """Return each antenna's w toward (hour angle 0, apparent declination), where raw data are phased.

    Parameters
    ----------
    antpos_ecef_m
        Antenna positions relative to the reference point, Earth-fixed axes (ITRS), m, (nant, 3).
    dec_app
        Apparent pointing declination, rad.
    loc
        The array's reference point.

    Returns
    -------
    ndarray, (nant,), float64
        w in m; it does not depend on time.
    """
    return antenna_uvw_toward(antpos_ecef_m, 0.0, dec_app, loc)[0, :, 2]


def v_axis_angle(ra: float, dec: float, times_jd: ArrayLike, loc: EarthLocation) -> Array:
    """Return how far the v axis of `antenna_uvw` is from ICRS north at the phase centre.

    pyuvdata, with which `antenna_uvw` agrees, takes north as the direction of a 1 deg arc at the arc's south
    end, half a degree from the phase centre. The meridians of date and of ICRS converge differently, so that
    this is off by about (position angle of ICRS north) x tan(dec) x 0.5 deg: 4e-5 rad at 55 deg of
    declination in 2026, up to 2e-4 rad at 70 deg, where it turns an image by 0.9 arcsec at 1.35 deg from its
    centre.

    Parameters
    ----------
    ra, dec
        ICRS direction of the phase centre, rad.
    times_jd
        Times, JD UTC, (nt,).
    loc
        The array's reference point.

    Returns
    -------
    ndarray, (nt,)
        Position angle of the v axis in ICRS, from north through east, rad: an image made with these uvw
        is turned by it.
    """
    epochs = _epochs(times_jd, loc)
    ra_app, dec_app = _to_apparent(np.float64(ra), np.float64(dec), epochs)
    angles = [_north_angle(ra_app, dec_app, epochs, arc) for arc in (FRAME_ARC_RAD, TANGENT_ARC_RAD)]
    return angles[0] - angles[1]


def pointing_separation(
    ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float
) -> NDArray[np.float64]:
    """Angle between (hour angle, apparent declination) and the pointing (0, `pointing_dec_rad`).

    Parameters
    ----------
    ha_rad, dec_rad
        Hour angle and apparent declination of date, broadcast against each other.
    pointing_dec_rad
        Apparent declination the dishes point at.

    Returns
    -------
    ndarray, float64
        Separation in radians, 0 to π.
    """
    ha, dec = (np.asarray(angle, dtype=np.float64) for angle in (ha_rad, dec_rad))
    return np.asarray(angular_separation(0.0, pointing_dec_rad, ha, dec))
