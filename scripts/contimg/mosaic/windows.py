"""The mosaics of a strip: sidereal windows on a fixed grid of right ascension, the same every night.

A window is `width_minutes` of right ascension (ICRS) wide and is centred on a multiple of
`stride_minutes`; the tiles whose phase centre lies in it belong to it. The recurrence of a window is
counted by the Earth rotation angle alone, so that its instant and its {date} depend on nothing that may be
missing: the meridian passes the window's centre within two minutes of that instant (precession since J2000).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contimg.core.angles import wrap_deg
from contimg.core.constants import EARTH_TURNS_AT_J2000, MJD_J2000
from contimg.core.names import SIDEREAL_DAY, dated, strip_dec, window_dir, window_name
from contimg.index.tile import Tile
from contimg.mosaic.options import MosaicOptions


@dataclass(frozen=True)
class Window:
    """One mosaic: what it is called, where it lies and which tiles it may take."""

    path: str  # product directory, relative to the products tree
    name: str  # stem of its files
    center_ra_deg: float | None  # ICRS; None: from the tiles
    dec_deg: float  # of the strip
    mid_mjd: float
    tiles: tuple[str, ...]
    width_minutes: float  # of right ascension that the tiles' middles may span


def recurrence(center_ra_deg: float, longitude_deg: float, near_mjd: float) -> int:
    """Count of the recurrence of a window that is nearest to `near_mjd`."""
    return round((near_mjd - _first(center_ra_deg, longitude_deg)) / SIDEREAL_DAY)


def window_instant(center_ra_deg: float, longitude_deg: float, count: int) -> float:
    """Instant (MJD UTC) of a window's recurrence: Earth rotation angle + longitude = window centre."""
    return _first(center_ra_deg, longitude_deg) + count * SIDEREAL_DAY


def _first(center_ra_deg: float, longitude_deg: float) -> float:
    turns = (center_ra_deg - longitude_deg) / 360.0 - EARTH_TURNS_AT_J2000
    return MJD_J2000 + turns * SIDEREAL_DAY


def find_windows(tiles: Iterable[Tile], options: MosaicOptions) -> list[Window]:
    """Every sidereal window that holds at least one of the tiles, in order of time.

    Parameters
    ----------
    tiles : iterable of Tile
        Complete tiles of any strips and days.
    options : MosaicOptions
        `width_minutes`, `stride_minutes` of right ascension (a sidereal day is 1440 of them).

    Returns
    -------
    list of Window
    """
    stride_deg = options.stride_minutes / 4.0
    half_deg = options.width_minutes / 8.0
    count = round(360.0 / stride_deg)
    held: dict[tuple[float, float, int], list[Tile]] = {}
    for tile in tiles:
        first = int((tile.ra_icrs_deg - half_deg) // stride_deg)
        last = int((tile.ra_icrs_deg + half_deg) // stride_deg) + 1
        for step in range(first, last + 1):
            center = (step % count) * stride_deg
            offset = wrap_deg(tile.ra_icrs_deg - center)
            if -half_deg <= offset < half_deg:
                near = tile.mid_mjd - offset / 360.0 * SIDEREAL_DAY
                key = (strip_dec(tile.dec_deg), center, recurrence(center, tile.longitude_deg, near))
                held.setdefault(key, []).append(tile)
    windows = []
    for (dec, center, number), members in held.items():
        members.sort(key=lambda tile: tile.start_mjd)
        instant = window_instant(center, members[0].longitude_deg, number)
        name = window_name(center, dec)
        names = tuple(tile.name for tile in members)
        path = window_dir(dated(instant), name)
        windows.append(Window(path, name, center, dec, instant, names, options.width_minutes))
    return sorted(windows, key=lambda window: (window.mid_mjd, window.dec_deg))
