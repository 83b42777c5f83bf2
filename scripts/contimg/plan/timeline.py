"""The picture of a night: its tiles on the clock, the transits above them, the mosaics below. One SVG, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from contimg.core import names
from contimg.core.html import render

_WIDTH = 400.0
_MARGIN = 8.0
_MOST_ROWS = 40


@dataclass(frozen=True)
class Bar:
    """A tile or mosaic on the clock: its corner and size in the row's units, its state and its words."""

    x: float
    y: float
    width: float
    height: float
    state: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A place on the clock with a name: a calibrator's transit, a change of strip, an hour."""

    x: float
    text: str
    title: str = ""

    @property
    def anchor(self) -> str:
        """On which side of its place the name stands, so that it stays inside the row."""
        return "end" if self.x > 0.85 * _WIDTH else "start"


@dataclass
class Row:
    """Some hours of a night."""

    date: str
    hours: list[Mark]
    bars: list[Bar] = field(default_factory=list)
    transits: list[Mark] = field(default_factory=list)
    changes: list[Mark] = field(default_factory=list)


class Clock:
    """Rows of hours, and where a time falls on them.

    Parameters
    ----------
    hours : float
        Length of a row.
    """

    def __init__(self, hours: float) -> None:
        self.hours = hours
        self.rows: dict[int, Row] = {}

    def place(self, mjd: float) -> tuple[Row, float]:
        """The row that holds a UTC, and the place on it."""
        number = int(mjd * 24.0 // self.hours)
        row = self.rows.setdefault(number, self._row(number))
        return row, _MARGIN + (_WIDTH - 2 * _MARGIN) * (mjd * 24.0 / self.hours - number)

    def bar(self, mjd: float, minutes: float, y: float, height: float, state: str, title: str) -> None:
        """Put a bar where it begins."""
        row, x = self.place(mjd)
        width = (_WIDTH - 2 * _MARGIN) * minutes / 60.0 / self.hours
        row.bars.append(Bar(x, y, min(width, _WIDTH - x), height, state, title))

    def _row(self, number: int) -> Row:
        start = names.utc(number * self.hours / 24.0)
        marks = [
            Mark(
                _MARGIN + (_WIDTH - 2 * _MARGIN) * tick / 6.0,
                f"{(start.hour + tick * self.hours / 6.0) % 24:02.0f}:00",
            )
            for tick in range(7)
        ]
        return Row(start.strftime("%Y-%m-%d"), marks)


def hours_of_a_row(first_mjd: float, last_mjd: float) -> float:
    """Six hours a row for a night, so that a tile can be seen on a telephone; a day a row for more."""
    return 6.0 if last_mjd - first_mjd <= 1.5 else 24.0


def timeline(facts: Mapping[str, Any]) -> str:
    """Draw the tiles, transits and mosaics of a plan.

    Parameters
    ----------
    facts : mapping
        From `contimg.plan.facts.gather`.

    Returns
    -------
    str
        An SVG that is as wide as its page; empty if there is nothing to draw. Rows of hours (UTC), tiles in the
        colour and shape of what becomes of their image, calibrators' transits as marks with their name, mosaics
        as bars below, changes of strip as a line with the new declination.
    """
    tiles, lost = facts["tiles"], facts["left_out"]
    if not tiles and not lost:
        return ""
    starts = [names.tile_mjd(row["tile"]) for row in [*tiles, *lost]]
    clock = Clock(hours_of_a_row(min(starts), max(starts)))
    minutes = max([row["minutes"] for row in tiles], default=5.154)
    for row in tiles:
        state = row["image"] if row["image"] != "not made" else row["measurement_set"]
        said = f"{row['tile']} {row['strip']}: {row['subbands']}/{row['of_subbands']} subbands, {state}"
        clock.bar(names.tile_mjd(row["tile"]), row["minutes"], 26, 18, state, said)
    for entry in lost:
        said = f"{entry['tile']} left out: {entry['reason']}"
        clock.bar(names.tile_mjd(entry["tile"]), minutes, 26, 18, "left out", said)
    for number, mosaic in enumerate(facts["mosaics"]):  # neighbouring windows overlap by half: two lanes
        held = [names.tile_mjd(tile) for tile in mosaic["tiles"]]
        length = (held[-1] - held[0]) * 1440.0 + minutes
        said = f"{mosaic['mosaic']}: {len(held)} tiles, {mosaic['state']}"
        clock.bar(held[0], length, 47 + 8 * (number % 2), 6, mosaic["state"], said)
    _marks(facts, clock)
    shown = [clock.rows[number] for number in sorted(clock.rows)[:_MOST_ROWS]]
    return render("plan/templates/timeline.svg", rows=shown, width=_WIDTH, margin=_MARGIN)


def _marks(facts: Mapping[str, Any], clock: Clock) -> None:
    for transit in facts["transits"]:
        row, x = clock.place(_mjd(transit["utc"]))
        said = (
            f"{transit['calibrator']} transits at {transit['utc']}, {transit['apparent_jy']:.1f} Jy apparent"
        )
        row.transits.append(Mark(x, transit["calibrator"], said))
    for change in facts["strip_changes"]:
        row, x = clock.place(names.tile_mjd(change["tile"]))
        row.changes.append(Mark(x, f"{change['to']}°"))


def _mjd(utc: str) -> float:
    return names.mjd(datetime.fromisoformat(utc.replace("Z", "+00:00")).astimezone(UTC))
