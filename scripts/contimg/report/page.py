"""A run report as a page: failures by cause first, then the numbers of every tile at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from contimg.core import names
from contimg.core.html import COLOURS, colour_key, document, folded, rows_table
from contimg.plan.timeline import timeline
from contimg.report.scale import line
from contimg.report.verdict import left_out_by_cause, verdict

_WIDTH, _HEIGHT, _LEFT = 400.0, 90.0, 44.0
_MOST_PRODUCTS = 12


def glance(title: str, rows: Sequence[Mapping[str, Any]], key: str, unit: str) -> str:
    """Draw one number of every tile against time: an SVG as wide as its page; nothing if no tile has it."""
    points = [(names.tile_mjd(row["tile"]), float(row[key]), row) for row in rows if row.get(key) is not None]
    if not points:
        return ""
    first, last = min(point[0] for point in points), max(point[0] for point in points)
    top = max(point[1] for point in points) * 1.1 or 1.0
    marks = []
    for mjd, value, row in points:
        x = _LEFT + (_WIDTH - _LEFT - 8) * ((mjd - first) / (last - first) if last > first else 0.5)
        y = 16 + (_HEIGHT - 24) * (1.0 - value / top)
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{COLOURS.get(row["image"], "#888")}">'
            f"<title>{escape(row['tile'])}: {value:.3g} {unit}</title></circle>"
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" width="100%" font-family="system-ui, sans-serif" role="img" '
        f'aria-label="{escape(title)}"><text x="0" y="11" font-size="11">{escape(title)}</text>'
        f'<text x="0" y="24" font-size="10" fill="#667">{top:.3g} {unit}</text>'
        f'<text x="0" y="{_HEIGHT - 5}" font-size="10" fill="#667">0</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{_HEIGHT - 8}" y2="{_HEIGHT - 8}" stroke="#ccc"/>'
        f"{''.join(marks)}</svg>"
    )


def page(facts: Mapping[str, Any]) -> str:
    """Show a report (`contimg.report.facts.gather`)."""
    counts = facts["counts"]
    mood, said = verdict(facts)
    wrong = [_cause(cause) for cause in facts["causes"]]
    wrong += [_without(reason, groups) for reason, groups in left_out_by_cause(facts["left_out"])]
    body = [
        f"<h1>Run {escape(facts['name'])}</h1>",
        f'<p class="verdict {mood}">{escape(said)}</p>',
        _counts(counts),
        *([f"<p>{escape(line(facts['scale']))}.</p>"] if facts["scale"] else []),
        "<h2>What went wrong</h2>",
        *(wrong or ["<p>Nothing.</p>"]),
        "<h2>The time</h2>",
        timeline(facts),
        colour_key(("ok", "rejected", "left out", "not made")),
        "<p class=small>UTC, coloured by what became of the image; grey: not made.</p>",
        "<h2>At a glance</h2>",
        glance("Flagged by convert", facts["tiles"], "flag_fraction", ""),
        glance("Noise of the image", facts["tiles"], "rms_mjy", "mJy"),
        glance("Flux scale: measured over catalogue", facts["tiles"], "flux_ratio", ""),
        "<h2>Times</h2>",
        _times(facts["times"]),
        "<h2>Everything</h2>",
        _tiles(facts["tiles"]),
        _mosaics(facts["mosaics"]),
    ]
    if facts["left_out"]:
        rows = [(entry["tile"], entry["reason"]) for entry in facts["left_out"]]
        body.append(folded(f"{len(rows)} groups left out", rows_table(("group", "why"), rows)))
    version = facts["versions"]
    body.append(
        f"<p class=small>Made {facts['made']} from {escape(facts['products'])}; contimg {escape(version['contimg'])} "
        f"{escape(version.get('commit', ''))}.</p>"
    )
    return document(f"Run {facts['name']}", body)


def _counts(counts: Mapping[str, Any]) -> str:
    rows = [
        (what, value["ok"], value["rejected"], value["not made"])
        for what, value in counts.items()
        if isinstance(value, dict)
    ]
    return rows_table(("", "good", "rejected", "not made"), rows, (1, 2, 3))


def _cause(cause: Mapping[str, Any]) -> str:
    products = cause["products"]
    more = f" and {len(products) - _MOST_PRODUCTS} more" if len(products) > _MOST_PRODUCTS else ""
    lines = "\n".join(cause["lines"])
    return (
        f"<details><summary><b>{len(products)} × {cause['kind']}</b>: {escape(cause['reason'])}</summary>"
        f"<p class=small>{escape(', '.join(products[:_MOST_PRODUCTS]))}{more}</p>"
        f'<div class="wide"><pre class=small>{escape(cause["log"])}:\n{escape(lines)}</pre></div></details>'
    )


def _without(reason: str, groups: Sequence[str]) -> str:
    return (
        f"<details><summary><b>{len(groups)} × left out</b>: {escape(reason)}</summary>"
        f"<p class=small>{escape(', '.join(groups))}</p></details>"
    )


def _times(times: Mapping[str, Mapping[str, Any]]) -> str:
    if not times:
        return "<p>No benchmarks yet.</p>"
    rows = [
        (
            rule,
            row["jobs"],
            f"{row['median_s']:.0f} s ({row['low_s']:.0f}–{row['high_s']:.0f})",
            "" if row["planned_s"] is None else f"{row['planned_s']:.0f} s",
            f"{row['core_hours']:.2f}",
        )
        for rule, row in times.items()
    ]
    return rows_table(("rule", "jobs", "one job", "planned", "core-hours"), rows, (1, 2, 3, 4))


def _tiles(tiles: Sequence[Mapping[str, Any]]) -> str:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    rows = [
        (
            row["tile"],
            row["image"],
            number(row["flag_fraction"], ".1%"),
            number(row["rms_mjy"], ".2f"),
            number(row["flux_ratio"], ".3f"),
            (row["caltable"] or "") + (" (borrowed)" if row["borrowed"] else ""),
            row["verdict"] or "",
            row["image_reason"] or row["measurement_set_reason"] or row["verdict_reason"] or "",
        )
        for row in tiles
    ]
    heads = ("tile", "image", "flagged", "rms / mJy", "flux scale", "caltable", "verdict", "why")
    return folded(f"{len(rows)} tiles", rows_table(heads, rows, (2, 3, 4)))


def _mosaics(mosaics: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["mosaic"],
            len(row["tiles"]),
            row["state"],
            row["verdict"] or "",
            "" if row["n_measured"] is None else f"{row['n_seen']} of {row['n_measured']}",
            _zero_point(row["scale"]),
            row["published"] or "",
            row["reason"] or row["verdict_reason"] or row["publication_reason"] or "",
        )
        for row in mosaics
    ]
    heads = ("mosaic", "tiles", "state", "verdict", "sources seen", "flux scale", "published", "why")
    return folded(f"{len(rows)} mosaics", rows_table(heads, rows, (1,)))


def _zero_point(scale: Mapping[str, Any] | None) -> str:
    """The zero point of a mosaic and of how many references, or why it has none."""
    if scale is None:
        return ""
    if scale["zero_point"] is None:
        return f"none: {scale['reason']}"
    return f"{scale['zero_point']:.4f} ± {scale['zero_point_err']:.4f} ({scale['n_references']:.0f})"
