"""The picture of a night: its tiles on the clock, the transits above them, the mosaics below. One SVG, no files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from contimg.core import names
from contimg.core.html import COLOURS

_WIDTH = 400.0
_MARGIN = 8.0
_ROW = 74.0
_MOST_ROWS = 40


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
        An SVG that is as wide as its page; empty if there is nothing to draw. Rows of hours (UTC), tiles
        coloured by what becomes of their image, calibrators' transits as marks with their name, mosaics as
        bars below, changes of strip as a line with the new declination.
    """
    tiles = facts["tiles"]
    lost = facts["left_out"]
    if not tiles and not lost:
        return ""
    starts = [names.tile_mjd(row["tile"]) for row in [*tiles, *lost]]
    hours = hours_of_a_row(min(starts), max(starts))
    minutes = max([row["minutes"] for row in tiles], default=5.154)
    rows: dict[int, list[str]] = defaultdict(list)

    def place(mjd: float) -> tuple[int, float]:
        row = int(mjd * 24.0 // hours)
        return row, _MARGIN + (_WIDTH - 2 * _MARGIN) * (mjd * 24.0 / hours - row)

    def bar(mjd: float, length_min: float, top: float, height: float, state: str, title: str) -> None:
        row, x = place(mjd)
        width = (_WIDTH - 2 * _MARGIN) * length_min / 60.0 / hours
        rows[row].append(
            f'<rect x="{x:.1f}" y="{top}" width="{min(width, _WIDTH - x):.1f}" height="{height}" '
            f'fill="{COLOURS[state]}" stroke="#fff" stroke-width="0.6"><title>{escape(title)}</title></rect>'
        )

    for row in tiles:
        state = row["image"] if row["image"] != "not made" else row["measurement_set"]
        said = f"{row['tile']} {row['strip']}: {row['subbands']}/{row['of_subbands']} subbands, {state}"
        bar(names.tile_mjd(row["tile"]), row["minutes"], 26, 18, state, said)
    for entry in lost:
        said = f"{entry['tile']} left out: {entry['reason']}"
        bar(names.tile_mjd(entry["tile"]), minutes, 26, 18, "left out", said)
    _mosaics(facts["mosaics"], bar, minutes)
    _marks(facts, place, rows)
    return _svg(rows, hours)


def _mosaics(mosaics: Sequence[Mapping[str, Any]], bar: Any, minutes: float) -> None:
    """Draw mosaics in two alternating lanes: neighbouring windows overlap by half."""
    for number, mosaic in enumerate(mosaics):
        held = [names.tile_mjd(tile) for tile in mosaic["tiles"]]
        length = (held[-1] - held[0]) * 1440.0 + minutes
        said = f"{mosaic['mosaic']}: {len(held)} tiles, {mosaic['state']}"
        bar(held[0], length, 47 + 8 * (number % 2), 6, mosaic["state"], said)


def _marks(facts: Mapping[str, Any], place: Any, rows: dict[int, list[str]]) -> None:
    for transit in facts["transits"]:
        row, x = place(_mjd(transit["utc"]))
        anchor = "end" if x > 0.85 * _WIDTH else "start"
        said = (
            f"{transit['calibrator']} transits at {transit['utc']}, {transit['apparent_jy']:.1f} Jy apparent"
        )
        rows[row].append(
            f'<path d="M{x:.1f} 25 l-4 -7 h8 z" fill="#222"><title>{escape(said)}</title></path>'
            f'<text x="{x:.1f}" y="14" font-size="11" text-anchor="{anchor}">{escape(transit["calibrator"])}</text>'
        )
    for change in facts["strip_changes"]:
        row, x = place(names.tile_mjd(change["tile"]))
        rows[row].append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="62" stroke="#222" stroke-dasharray="3 2"/>'
            f'<text x="{x + 2:.1f}" y="71" font-size="11">{escape(change["to"])}°</text>'
        )


def _mjd(utc: str) -> float:
    return names.mjd(datetime.fromisoformat(utc.replace("Z", "+00:00")).astimezone(UTC))


def _svg(rows: Mapping[int, Sequence[str]], hours: float) -> str:
    """Stack the rows, each with its hours and date; empty rows between are left out."""
    numbers = sorted(rows)[:_MOST_ROWS]
    parts = []
    for place, number in enumerate(numbers):
        step = hours / 6.0
        start = names.utc(number * hours / 24.0)
        ticks = []
        for tick in range(7):
            x = _MARGIN + (_WIDTH - 2 * _MARGIN) * tick / 6.0
            hour = (start.hour + tick * step) % 24
            anchor = "start" if tick == 0 else "end" if tick == 6 else "middle"
            ticks.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="24" y2="62" stroke="#ddd"/>'
                f'<text x="{x:.1f}" y="80" font-size="11" fill="#667" text-anchor="{anchor}">{hour:02.0f}h</text>'
            )
        date = start.strftime("%Y-%m-%d")
        parts.append(
            f'<g transform="translate(0 {place * (_ROW + 24):.0f})"><text x="{_MARGIN}" y="14" font-size="11" '
            f'fill="#667">{date}</text>{"".join(ticks)}{"".join(rows[number])}</g>'
        )
    height = len(numbers) * (_ROW + 24)
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="100%" role="img" '
        f'font-family="system-ui, sans-serif" aria-label="timeline">{"".join(parts)}</svg>'
    )
