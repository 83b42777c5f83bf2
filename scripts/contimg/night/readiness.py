"""When a transit's data are complete: what `contimg unattended` waits for. Pure functions of the index and the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from contimg.calibrate import transits
from contimg.core import names
from contimg.core.constants import MJD_UNIX_EPOCH, SECONDS_PER_DAY
from contimg.index.tile import Index, Tile
from contimg.mosaic.windows import recurrence, window_instant
from contimg.sky.calibrators import Calibrator

SITE_LONGITUDE_DEG = -118.2817
"""Of the DSA-110: tells when a source transits before the first file does."""


@dataclass(frozen=True)
class Wanted:
    """A transit that is to be mosaicked.

    Attributes
    ----------
    calibrator : Calibrator
    mjd : float
        UTC instant, to two minutes (`contimg.mosaic.windows`).
    half_days : float
        Tiles whose middle is at most this far from it are wanted.
    """

    calibrator: Calibrator
    mjd: float
    half_days: float

    @property
    def end_mjd(self) -> float:
        """End of the window, MJD UTC."""
        return self.mjd + self.half_days


@dataclass(frozen=True)
class Readiness:
    """Whether the data of a transit are complete, and a line on it."""

    ready: bool
    said: str


def next_transit(ra_deg: float, after_mjd: float) -> float:
    """Instant (MJD UTC) of the first transit of a right ascension (ICRS) that is not before `after_mjd`."""
    count = recurrence(ra_deg, SITE_LONGITUDE_DEG, after_mjd)
    instants = [window_instant(ra_deg, SITE_LONGITUDE_DEG, count + step) for step in (-1, 0, 1, 2)]
    return next(instant for instant in instants if instant >= after_mjd)


def transit_on(ra_deg: float, day: str) -> float:
    """Instant (MJD UTC) of the first transit of a right ascension (ICRS) on a UTC date."""
    return next_transit(ra_deg, names.tile_mjd(f"{day}T00:00:00"))


def placed(index: Index, wanted: Wanted) -> Wanted:
    """A transit at the instant that its tile gives, as soon as there is one: the clock's is good to two minutes."""
    tile = next((tile for tile in index.tiles if _crosses(tile, wanted)), None)
    return (
        wanted if tile is None else replace(wanted, mjd=transits.transit_mjd(tile, wanted.calibrator.ra_deg))
    )


def readiness(
    index: Index, wanted: Wanted, *, now_mjd: float, changed_mjd: float, settle_minutes: float
) -> Readiness:
    """Tell whether a transit's data are complete.

    They are if tiles cover the window from end to end, one of them holds the transit, and no group of files there is
    left out. They also are, as they stand, if the window is over and none of its files changed for `settle_minutes`.

    Parameters
    ----------
    index : Index
        Of the window and a tile round it.
    wanted : Wanted
        From `placed`.
    now_mjd : float
        MJD UTC.
    changed_mjd : float
        When a file of the window changed last; -inf if there is none.
    settle_minutes : float
    """
    crossing = [tile for tile in index.tiles if _crosses(tile, wanted)]
    if not crossing:
        return Readiness(False, f"no complete tile holds the transit yet ({_left_out(index, wanted)})")
    strip = names.strip_dec(crossing[0].dec_deg)
    tiles = [
        tile
        for tile in index.tiles
        if names.strip_dec(tile.dec_deg) == strip and _within(tile.mid_mjd, wanted)
    ]
    unfinished = [entry for entry in index.left_out if _within(names.tile_mjd(entry.tile), wanted)]
    if covers(tiles, wanted) and not unfinished:
        return Readiness(True, f"{len(tiles)} tiles, complete")
    said = f"{len(tiles)} tiles are complete, {_left_out(index, wanted)}"
    quiet = (now_mjd - max(changed_mjd, wanted.end_mjd)) * 1440.0
    if quiet >= settle_minutes:
        return Readiness(True, f"{said}; nothing new for {quiet:.0f} minutes: taken as it is")
    return Readiness(False, said)


def covers(tiles: list[Tile], wanted: Wanted) -> bool:
    """Whether tiles, in order of time, leave no room for another one in the window."""
    if not tiles:
        return False
    length = max(tile.end_mjd - tile.start_mjd for tile in tiles)
    middles = [wanted.mjd - wanted.half_days, *(tile.mid_mjd for tile in tiles), wanted.end_mjd]
    steps = [later - earlier for earlier, later in pairwise(middles)]
    # a tile more would have its middle one length further: at the ends, still inside; between two, half-way
    return steps[0] < length and steps[-1] < length and all(step < 1.5 * length for step in steps[1:-1])


def newest_change(index: Index, wanted: Wanted) -> float:
    """When a file of the window changed last, MJD UTC; -inf if there is none."""
    files = [path for tile in index.tiles if _within(tile.mid_mjd, wanted) for path in tile.files]
    files += [
        path
        for entry in index.left_out
        if _within(names.tile_mjd(entry.tile), wanted)
        for path in entry.files
    ]
    changed = [_mtime_mjd(Path(path)) for path in files]
    return max(changed, default=-math.inf)


def _mtime_mjd(path: Path) -> float:
    try:
        return path.stat().st_mtime / SECONDS_PER_DAY + MJD_UNIX_EPOCH
    except FileNotFoundError:  # moved away since the index was made
        return -math.inf


class WaitedTooLong(Exception):
    """The wait is over and what was waited for has not come; the message says what is missing."""


def wait(
    look: Callable[[], Readiness],
    *,
    until_mjd: float,
    poll_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    say: Callable[[str], object],
) -> Readiness:
    """Look again and again until the data are ready; what is new is said once.

    Raises
    ------
    WaitedTooLong
        `clock` (MJD UTC) has passed `until_mjd`.
    """
    said = ""
    while True:
        found = look()
        if found.said != said:
            said = found.said
            say(said)
        if found.ready:
            return found
        if clock() >= until_mjd:
            raise WaitedTooLong(said)
        sleep(poll_s)


def _crosses(tile: Tile, wanted: Wanted) -> bool:
    instant = transits.transit_mjd(tile, wanted.calibrator.ra_deg)
    return tile.holds(instant) and abs(instant - wanted.mjd) < 0.25


def _within(mjd: float, wanted: Wanted) -> bool:
    return abs(mjd - wanted.mjd) <= wanted.half_days


def _left_out(index: Index, wanted: Wanted) -> str:
    entries = [entry for entry in index.left_out if _within(names.tile_mjd(entry.tile), wanted)]
    if not entries:
        return "none left out"
    return f"{len(entries)} left out: {entries[0].tile}: {entries[0].reason}" + (
        " …" if len(entries) > 1 else ""
    )
