"""A plan as a page: self-contained HTML that reads well on a telephone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from contimg.core.html import COLOURS, colour_key, document, folded, rows_table
from contimg.core.text import duration
from contimg.image.programs import sentence
from contimg.plan import again
from contimg.plan.timeline import timeline


def _gb(size: float) -> str:
    return f"{size / 1e12:.2f} TB" if size >= 1e12 else f"{size / 1e9:.1f} GB"


def _wall(cost: Mapping[str, Any]) -> list[str]:
    lines = []
    for wall in cost["wall"]:
        middle, low, high = (duration(3600 * wall[key]) for key in ("hours", "low_hours", "high_hours"))
        lines.append(
            f"<dt>{escape(wall['name'])}</dt><dd>{middle} <span class=small>({low} to {high}; "
            f"{escape(wall['origin'])})</span></dd>"
        )
    return lines


def page(facts: Mapping[str, Any]) -> str:
    """Show a plan (`contimg.plan.facts.gather`)."""
    cost, disk, tiles = facts["cost"], facts["disk"], facts["tiles"]
    chosen = [row for row in tiles if row["in_range"]]
    jobs = sum(stage["to_run"] for stage in cost["stages"].values())
    done = sum(stage["done"] for stage in cost["stages"].values())
    verdict = (
        f'<p class="verdict {"part" if facts["warnings"] else "yes"}">Feasible: {jobs} jobs to run, {done} done</p>'
        if facts["feasible"]
        else "".join(f'<p class="verdict no">Not feasible: {escape(text)}</p>' for text in facts["obstacles"])
    )
    verdict += "".join(f'<p class="verdict part">{escape(text)}</p>' for text in facts["warnings"])
    around = len(tiles) - len(chosen)
    body = [
        f"<h1>Plan {escape(facts['name'])}</h1>",
        verdict,
        "<dl>",
        f"<dt>Tiles</dt><dd>{len(chosen)}{f' and {around} round them that mosaics need' if around else ''}, "
        f"{sum(row['subbands'] == row['of_subbands'] for row in chosen)} complete; "
        f"{len(facts['left_out'])} groups left out</dd>",
        f"<dt>Transits</dt><dd>{len(facts['transits'])}</dd><dt>Mosaics</dt><dd>{len(facts['mosaics'])}</dd>",
        f"<dt>Work</dt><dd>{cost['core_hours']:.1f} core-hours</dd>",
        f"<dt>Imager</dt><dd>{escape(sentence(facts['imager']))}</dd>",
        *_wall(cost),
        f"<dt>Disk</dt><dd>{_gb(disk['reads_bytes'])} to read, {_gb(disk['writes_bytes'])} to write, "
        f"{_gb(disk['free_bytes'])} free, of which {_gb(disk['reserve_bytes'])} stay free</dd>",
        "</dl>",
        "<h2>The time</h2>",
        timeline(facts),
        colour_key(COLOURS),
        "<p class=small>UTC. Triangles: calibrator transits. Thin bars: mosaics. Touch a bar for its name.</p>",
        "<h2>Jobs</h2>",
        _jobs(cost["stages"]),
        *(f"<p>{escape(line)}</p>" for line in again.lines(facts["made_again"])),
        "<h2>Calibrators</h2>",
        _transits(facts["transits"]),
    ]
    if facts["left_out"]:
        body += ["<h2>Left out</h2>", _left_out(facts["left_out"])]
    if facts["strip_changes"]:
        changes = [(change["tile"], change["from"], change["to"]) for change in facts["strip_changes"]]
        body += ["<h2>Changes of strip</h2>", rows_table(("at tile", "from", "to"), changes)]
    body += ["<h2>Everything</h2>", _mosaics(facts["mosaics"]), _tiles(tiles)]
    body.append(
        f"<p class=small>Made {facts['made']} for <code>{escape(facts['target'])}</code>; "
        f"raw files {escape(facts['incoming'])}, products {escape(facts['products'])}; "
        f"contimg {escape(facts['versions']['contimg'])}.</p>"
    )
    return document(f"Plan {facts['name']}", body)


def _jobs(stages: Mapping[str, Mapping[str, Any]]) -> str:
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
                f"{stage['core_hours']:.2f}",
                spread if stage["to_run"] else "",
                _gb(stage["writes_bytes"]),
                f"{stage['time_from']}; size: {stage['size_from']}",
                ", ".join(stage["reasons"]),
            )
        )
    return rows_table(heads, rows, (1, 2, 3, 4, 5))


def _transits(transits: Sequence[Mapping[str, Any]]) -> str:
    if not transits:
        return "<p>No calibrator transits within reach: no tile of this range can be calibrated.</p>"
    heads = ("calibrator", "transit (UTC)", "strip", "apparent", "beam", "tiles that may use it", "tables")
    rows = [
        (
            row["calibrator"],
            row["utc"],
            row["strip"],
            f"{row['apparent_jy']:.2f} Jy",
            f"{row['beam']:.2f}",
            row["tiles"],
            row["state"],
        )
        for row in transits
    ]
    return rows_table(heads, rows, (3, 4, 5))


def _left_out(entries: Sequence[Mapping[str, str]]) -> str:
    return rows_table(("group", "why"), [(entry["tile"], entry["reason"]) for entry in entries])


def _mosaics(mosaics: Sequence[Mapping[str, Any]]) -> str:
    rows = [(row["name"], row["utc"], len(row["tiles"]), row["state"]) for row in mosaics]
    return folded(
        f"{len(rows)} mosaics", rows_table(("mosaic", "middle (UTC)", "tiles", "state"), rows, (2,))
    )


def _tiles(tiles: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["tile"],
            row["strip"],
            f"{row['subbands']}/{row['of_subbands']}",
            ", then ".join(path.rsplit("/", 1)[-1] for path in row["caltables"]) or "none in reach",
            row["image"],
            "; ".join(row["notes"]),
        )
        for row in tiles
    ]
    heads = ("tile", "strip", "subbands", "caltables, in this order", "image", "notes")
    return folded(f"{len(rows)} tiles", rows_table(heads, rows, (2,)))
