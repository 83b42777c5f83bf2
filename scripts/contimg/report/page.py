"""A run report as a page: failures by cause first, then the numbers of every tile at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contimg.core import names
from contimg.core.html import HOME, Link, State, Table, render
from contimg.core.kinds import STATUS
from contimg.plan.facts import NOT_MADE
from contimg.plan.timeline import timeline
from contimg.report.scale import line
from contimg.report.verdict import left_out_by_cause, verdict

_WIDTH, _HEIGHT, _LEFT = 400.0, 104.0, 54.0
_MOST_PRODUCTS = 12


def glance(
    title: str, rows: Sequence[Mapping[str, Any]], key: str, unit: str = "", scale: float = 1.0
) -> str:
    """Draw one number of every tile, times `scale`, against time: an SVG as wide as its page; none without a number."""
    known = [
        (names.tile_mjd(row["tile"]), {**row, key: scale * row[key]})
        for row in rows
        if row.get(key) is not None
    ]
    if not known:
        return ""
    first, last = min(mjd for mjd, _ in known), max(mjd for mjd, _ in known)
    top = max(float(row[key]) for _, row in known) * 1.1 or 1.0
    points = [
        {
            "x": _LEFT + (_WIDTH - _LEFT - 8) * ((mjd - first) / (last - first) if last > first else 0.5),
            "y": 16 + (_HEIGHT - 40) * (1.0 - float(row[key]) / top),
            "state": row["image"],
            "said": f"{row['tile']}: {float(row[key]):.3g} {unit}".rstrip(),
        }
        for mjd, row in known
    ]
    hours = [f"{names.utc(mjd):%H:%M}" for mjd in dict.fromkeys((first, last))]
    return render(
        "report/templates/glance.svg",
        title=title,
        points=points,
        top=f"{top:.3g} {unit}",
        hours=hours,
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
    )


def page(facts: Mapping[str, Any]) -> str:
    """Show a report (`contimg.report.facts.gather`)."""
    mood, said = verdict(facts)
    charts = (
        ("Flagged by convert", "flag_fraction", "%", 100.0),
        ("Noise of the image", "rms_mjy", "mJy", 1.0),
        ("Flux scale: measured over catalogue", "flux_ratio", "", 1.0),
    )
    return render(
        "report/templates/report.html",
        title=f"Run {facts['name']}",
        above=[HOME],
        nights=[Link(date, f"../{names.night_page(date)}") for date in _dates(facts)],
        facts=facts,
        mood=mood,
        said=said,
        counts=_counts(facts["counts"]),
        scale=line(facts["scale"]) if facts["scale"] else None,
        causes=[_cause(cause) for cause in facts["causes"]],
        without=left_out_by_cause(facts["left_out"]),
        timeline=timeline(facts),
        charts=[glance(title, facts["tiles"], key, unit, scale) for title, key, unit, scale in charts],
        times=_times(facts["times"]),
        tiles=_tiles(facts["tiles"]),
        mosaics=_mosaics(facts["mosaics"]),
        left_out=Table(("group", "why"), [(entry["tile"], entry["reason"]) for entry in facts["left_out"]]),
    )


def _dates(facts: Mapping[str, Any]) -> list[str]:
    """Dates whose night has a page, if anything of it was judged."""
    paths = [names.tile_verdict(row["tile"]) for row in facts["tiles"] if row["verdict"]]
    paths += [names.mosaic_verdict(row["mosaic"], row["name"]) for row in facts["mosaics"] if row["verdict"]]
    return sorted({path.split("/")[1].removesuffix("b") for path in paths})


def _counts(counts: Mapping[str, Any]) -> Table:
    rows = [
        (what, value["ok"], value["rejected"], value["not made"])
        for what, value in counts.items()
        if isinstance(value, dict)
    ]
    return Table(("", "good", "rejected", "not made"), rows, (1, 2, 3))


def _cause(cause: Mapping[str, Any]) -> dict[str, Any]:
    """A cause with the first of its products named."""
    products = cause["products"]
    more = f" and {len(products) - _MOST_PRODUCTS} more" if len(products) > _MOST_PRODUCTS else ""
    return {
        **cause,
        "count": len(products),
        "named": ", ".join(products[:_MOST_PRODUCTS]) + more,
        "text": "\n".join(cause["lines"]),
    }


def _times(times: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (
            rule,
            row["jobs"],
            f"{row['median_s']:.0f} s ({row['low_s']:.0f}–{row['high_s']:.0f})",
            "" if row["planned_s"] is None else f"{row['planned_s']:.0f} s",
            f"{row['core_hours']:.2g}",
        )
        for rule, row in times.items()
    ]
    return Table(("rule", "jobs", "one job", "planned", "core-hours"), rows, (1, 2, 3, 4))


def _tiles(tiles: Sequence[Mapping[str, Any]]) -> Table:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    rows = [
        (
            Link(row["tile"], f"../{image}/{row['tile']}.png" if row["image"] == "ok" else None),
            State(row["image"], None if row["image"] == NOT_MADE else f"../{image}/{STATUS}"),
            number(row["flag_fraction"], ".1%"),
            number(row["rms_mjy"], ".2f"),
            number(row["flux_ratio"], ".3f"),
            (row["caltable"] or "") + (" (borrowed)" if row["borrowed"] else ""),
            _verdict(row["verdict"], names.tile_verdict(row["tile"])),
            row["image_reason"] or row["measurement_set_reason"] or row["verdict_reason"] or "",
        )
        for row in tiles
        for image in [names.image_dir(row["tile"])]
    ]
    heads = (
        "tile",
        "image",
        "flagged",
        "rms at the middle / mJy",
        "flux scale",
        "caltable",
        "verdict",
        "why",
    )
    return Table(heads, rows, (2, 3, 4))


def _mosaics(mosaics: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            Link(row["mosaic"], f"../{row['mosaic']}/{row['name']}.png" if row["state"] == "ok" else None),
            len(row["tiles"]),
            State(row["state"], None if row["state"] == NOT_MADE else f"../{row['mosaic']}/{STATUS}"),
            _verdict(row["verdict"], names.mosaic_verdict(row["mosaic"], row["name"])),
            "" if row["n_measured"] is None else f"{row['n_seen']} of {row['n_measured']}",
            _zero_point(row["scale"]),
            row["published"] or "",
            row["reason"] or row["verdict_reason"] or row["publication_reason"] or "",
        )
        for row in mosaics
    ]
    heads = ("mosaic", "tiles", "state", "verdict", "sources seen", "flux scale", "published", "why")
    return Table(heads, rows, (1,))


def _verdict(said: str | None, path: str) -> Link | str:
    return Link(said, f"../{path}") if said else ""


def _zero_point(scale: Mapping[str, Any] | None) -> str:
    """The zero point of a mosaic and of how many references, or why it has none."""
    if scale is None:
        return ""
    if scale["zero_point"] is None:
        return f"none: {scale['reason']}"
    return f"{scale['zero_point']:.4f} ± {scale['zero_point_err']:.4f} ({scale['n_references']:.0f})"
