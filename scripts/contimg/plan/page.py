"""A plan as a page: self-contained HTML that reads well on a telephone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contimg.core.html import HOME, State, Table, render
from contimg.core.text import duration
from contimg.image.programs import sentence
from contimg.plan import again
from contimg.plan.timeline import timeline


def page(facts: Mapping[str, Any]) -> str:
    """Show a plan (`contimg.plan.facts.gather`)."""
    tiles, stages = facts["tiles"], facts["cost"]["stages"]
    chosen = [row for row in tiles if row["in_range"]]
    return render(
        "plan/templates/plan.html",
        title=f"Plan {facts['name']}",
        above=[HOME],
        facts=facts,
        to_run=sum(stage["to_run"] for stage in stages.values()),
        done=sum(stage["done"] for stage in stages.values()),
        chosen=len(chosen),
        around=len(tiles) - len(chosen),
        complete=sum(row["subbands"] == row["of_subbands"] for row in chosen),
        imager=sentence(facts["imager"]),
        core_hours=_hours(facts["cost"]["core_hours"]),
        walls=[_wall(wall) for wall in facts["cost"]["wall"]],
        disk={name: _gb(size) for name, size in facts["disk"].items() if name.endswith("_bytes")},
        timeline=timeline(facts),
        jobs=_jobs(stages),
        again=again.lines(facts["made_again"]),
        transits=_transits(facts["transits"]),
        left_out=Table(("group", "why"), [(entry["tile"], entry["reason"]) for entry in facts["left_out"]]),
        strips=Table(
            ("at tile", "from", "to"),
            [(change["tile"], change["from"], change["to"]) for change in facts["strip_changes"]],
        ),
        mosaics=_mosaics(facts["mosaics"]),
        tiles=_tiles(tiles),
    )


def _gb(size: float) -> str:
    if 0 < size < 1e8:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e12:.2f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"


def _hours(hours: float) -> str:
    """Core-hours: of a small night two digits, of others one decimal."""
    return f"{hours:.2g}" if hours < 1.0 else f"{hours:.1f}"


def _wall(wall: Mapping[str, Any]) -> dict[str, str]:
    """How long a run would take on a machine: in words, and how sure that is."""
    middle, low, high = (duration(3600 * wall[key]) for key in ("hours", "low_hours", "high_hours"))
    return {"name": wall["name"], "middle": middle, "spread": f"{low} to {high}; {wall['origin']}"}


def _jobs(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    heads = ("rule", "to run", "done", "core-hours", "one job", "writes", "known from", "why")
    rows = []
    for rule, stage in stages.items():
        each = 3600.0 / max(stage["to_run"], 1)
        low, high = stage["low_hours"] * each, stage["high_hours"] * each
        spread = f"{stage['hours_one_by_one'] * each:.0f} s ({low:.0f}–{high:.0f})"
        rows.append(
            (
                rule,
                stage["to_run"],
                stage["done"],
                _hours(stage["core_hours"]),
                spread if stage["to_run"] else "",
                _gb(stage["writes_bytes"]),
                f"{stage['time_from']}; size: {stage['size_from']}",
                ", ".join(stage["reasons"]),
            )
        )
    return Table(heads, rows, (1, 2, 3, 4, 5))


def _transits(transits: Sequence[Mapping[str, Any]]) -> Table:
    heads = ("calibrator", "transit (UTC)", "strip", "apparent", "beam", "tiles that may use it", "tables")
    rows = [
        (
            row["calibrator"],
            row["utc"],
            row["strip"],
            f"{row['apparent_jy']:.2f} Jy",
            f"{row['beam']:.2f}",
            row["tiles"],
            State(row["state"]),
        )
        for row in transits
    ]
    return Table(heads, rows, (3, 4, 5))


def _mosaics(mosaics: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(row["name"], row["utc"], len(row["tiles"]), State(row["state"])) for row in mosaics]
    return Table(("mosaic", "middle (UTC)", "tiles", "state"), rows, (2,))


def _tiles(tiles: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            row["tile"],
            row["strip"],
            f"{row['subbands']}/{row['of_subbands']}",
            ", then ".join(path.rsplit("/", 1)[-1] for path in row["caltables"]) or "none in reach",
            State(row["image"]),
            "; ".join(row["notes"]),
        )
        for row in tiles
    ]
    heads = ("tile", "strip", "subbands", "caltables, in this order", "image", "notes")
    return Table(heads, rows, (2,))
