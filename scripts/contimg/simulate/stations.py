"""The station table: which antennas there are, where they stand, and which ones to simulate."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation

from contimg.core.errors import ConfigError

REFERENCE_LONGITUDE_RAD = -2.064427799136453
REFERENCE_LATITUDE_RAD = 0.6498455107238486
REFERENCE_HEIGHT_M = 1188.0519
UNSURVEYED_ELEVATION_M = 1182.6
INACTIVE = frozenset({10, 21, 22, 23, *range(52, 68), 117})
OUTRIGGERS = tuple(range(103, 118))
CROSSING = 24


@dataclass(frozen=True)
class Stations:
    """All stations of the telescope.

    Attributes
    ----------
    names : tuple of str
        "1" … "117".
    numbers : ndarray of int, (n,)
        Antenna numbers as the raw files use them: name minus 1.
    positions_m : ndarray of float64, (n, 3)
        ECEF (ITRF axes) metres relative to the reference point.
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    positions_m: np.ndarray


def reference_location() -> EarthLocation:
    """Return the reference point of the array (WGS84 geodetic)."""
    return EarthLocation.from_geodetic(
        REFERENCE_LONGITUDE_RAD * u.rad, REFERENCE_LATITUDE_RAD * u.rad, REFERENCE_HEIGHT_M * u.m
    )


def read_stations() -> Stations:
    """Return the station table of the package."""
    text = (resources.files("contimg.simulate") / "stations.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    height = [UNSURVEYED_ELEVATION_M if r["elevation_m"] == "-" else float(r["elevation_m"]) for r in rows]
    ecef = EarthLocation.from_geodetic(
        [float(r["longitude_deg"]) for r in rows] * u.deg,
        [float(r["latitude_deg"]) for r in rows] * u.deg,
        height * u.m,
    )
    reference = reference_location()
    positions = np.stack([(getattr(ecef, a) - getattr(reference, a)).to_value(u.m) for a in "xyz"], axis=1)
    names = tuple(r["number"] for r in rows)
    return Stations(names, np.array([int(n) - 1 for n in names]), positions)


def choose(stations: Stations, *, names: tuple[str, ...], n_antennas: int, max_radius_m: float) -> np.ndarray:
    """Return the indices (ascending) of the stations that take data.

    Parameters
    ----------
    names : tuple of str
        Explicit station names; if given, the other two arguments are not used.
    n_antennas : int
        Number wanted. A fifth (at least two) are outriggers, as far as the radius has them, the rest is
        spread evenly over the active stations of both arms.
    max_radius_m : float
        Greatest distance from the crossing of the arms (m).

    Raises
    ------
    ConfigError
        A name is not in the table or given twice, or fewer stations qualify than are wanted.
    """
    if names:
        unknown = [n for n in names if n not in stations.names]
        if unknown:
            raise ConfigError(f"simulate: antennas {', '.join(unknown)} are not among stations 1 to 117")
        if len(set(names)) != len(names):
            raise ConfigError(f"simulate: antennas {', '.join(names)} name a station twice")
        return np.array(sorted(stations.names.index(n) for n in names))
    crossing = stations.positions_m[stations.names.index(str(CROSSING))]
    radius = np.linalg.norm(stations.positions_m - crossing, axis=1)
    active = [i for i, n in enumerate(stations.names) if int(n) not in INACTIVE and radius[i] <= max_radius_m]
    if len(active) < n_antennas:
        raise ConfigError(
            f"simulate: n_antennas is {n_antennas}, but only {len(active)} active stations lie within "
            f"max_radius_m = {max_radius_m:g}; ask for fewer or allow more"
        )
    outer = [i for i in active if int(stations.names[i]) in OUTRIGGERS]
    arms = [i for i in active if int(stations.names[i]) not in OUTRIGGERS]
    n_outer = min(len(outer), max(2, round(n_antennas / 5)), n_antennas)
    n_outer = max(n_outer, n_antennas - len(arms))
    n_arms = n_antennas - n_outer
    picked = outer[:n_outer]
    if n_arms:
        picked += [arms[i] for i in np.unique(np.linspace(0, len(arms) - 1, n_arms).round().astype(int))]
    return np.array(sorted(picked))


def true_positions(
    stations: Stations, used: np.ndarray, *, moved: tuple[str, ...] = (), swapped: tuple[str, ...] = ()
) -> np.ndarray:
    """Return ECEF (nant, 3) m of where the signals of the antennas used come from.

    Parameters
    ----------
    moved : tuple of str
        ``NAME:EAST_M:NORTH_M:UP_M``: from the stated place.
    swapped : tuple of str
        ``A:B``: what is recorded as A comes from B, and the other way round.

    Raises
    ------
    ConfigError
        An entry cannot be read or names an antenna that takes no data.
    """
    names = [stations.names[i] for i in used]
    places = stations.positions_m[used].copy()
    axes = enu_axes()
    for text in moved:
        name, *offsets = text.split(":")
        try:
            metres = np.array([float(part) for part in offsets])
            places[names.index(name)] += metres @ axes
        except ValueError as exc:
            raise ConfigError(
                f"simulate: moved_antennas {text!r} cannot be used; write NAME:EAST_M:NORTH_M:UP_M of an antenna that "
                "takes data"
            ) from exc
    order = list(range(len(names)))
    for text in swapped:
        try:
            one, two = (names.index(name) for name in text.split(":"))
        except ValueError as exc:
            raise ConfigError(
                f"simulate: swapped_antennas {text!r} cannot be used; write A:B of antennas that take data"
            ) from exc
        order[one], order[two] = order[two], order[one]
    return np.asarray(places[order])


def enu_axes() -> np.ndarray:
    """Return the unit vectors (3, 3) to the east, north and up at the reference point, ECEF."""
    sin_lon, cos_lon = np.sin(REFERENCE_LONGITUDE_RAD), np.cos(REFERENCE_LONGITUDE_RAD)
    sin_lat, cos_lat = np.sin(REFERENCE_LATITUDE_RAD), np.cos(REFERENCE_LATITUDE_RAD)
    return np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
