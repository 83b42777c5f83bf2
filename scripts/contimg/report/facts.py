"""`contimg report`: what a run has come to, from the sidecars, logs and benchmarks of its products.

It reads files only, so it works during a run, after one that failed, and long after. The facts are
`plan/{start}_{end}.report.json`; the page beside it (`.report.html`) shows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from contimg.config.model import Config
from contimg.core import names
from contimg.core.kinds import STATUS
from contimg.core.products import read_json, write_json
from contimg.core.provenance import versions
from contimg.night.night import Night
from contimg.plan.costs import HIGH, LOW, read_benchmarks
from contimg.plan.facts import NOT_MADE, mosaic_rows, range_name, strip_changes, tile_rows, transit_rows
from contimg.report import scale
from contimg.report.failures import by_cause, failures, outcome
from contimg.report.verdict import left_out_by_cause, verdict


def tile_outcomes(night: Night, products: Path) -> list[dict[str, Any]]:
    """One row for each tile of the plan: what was done with it, and its numbers at a glance."""
    rows = []
    for row in tile_rows(night, {}, products):
        tile = row["tile"]
        converted = outcome(products / names.science_sidecar(tile))
        imaged = outcome(products / names.image_dir(tile) / STATUS)
        judged = outcome(products / names.tile_verdict(tile))
        rms_jy = imaged["metrics"].get("rms_jy")
        tables = imaged.get("caltables") or [""]
        rows.append(
            {
                **row,
                "measurement_set": converted["status"],
                "measurement_set_reason": converted["reason"],
                "flag_fraction": converted["metrics"].get("flag_fraction"),
                "image": imaged["status"],
                "image_reason": imaged["reason"],
                "rms_mjy": None if rms_jy is None else 1e3 * rms_jy,
                "caltable": tables[0].split("/")[-2]
                if imaged["status"] == "ok" and "/" in tables[0]
                else None,
                "borrowed": imaged["parameters"].get("borrowed"),
                "verdict": judged.get("verdict"),
                "verdict_reason": judged["reason"],
                "flux_ratio": (judged.get("gates") or {}).get("flux_ratio", {}).get("value"),
            }
        )
    return rows


def mosaic_outcomes(night: Night, products: Path) -> list[dict[str, Any]]:
    """One row for each mosaic of the plan: what became of it, the verdict on it, and where it is published."""
    rows, zero_points = [], scale.zero_points(products)
    for row in mosaic_rows(night, {}, products):
        path = products / names.mosaic_verdict(row["mosaic"], row["name"])
        judged = outcome(path)
        receipt = outcome(products / names.receipt(path.parent.name, row["name"]))
        table = products / names.photometry(path.parent.name, row["name"])
        measured = outcome(table.parent / f"{row['name']}.json")["metrics"]
        rows.append(
            {
                **row,
                "reason": outcome(products / row["mosaic"] / STATUS)["reason"],
                "verdict": judged.get("verdict"),
                "verdict_reason": judged["reason"],
                "n_measured": measured.get("n_sources"),
                "n_seen": measured.get("n_seen"),
                "scale": zero_points.get(f"{path.parent.name}/{row['name']}"),
                "published": receipt.get("published"),
                "publication_reason": receipt["reason"],
            }
        )
    return rows


def times(night: Night, products: Path, planned: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Time of the jobs of each rule, in seconds, beside what the plan expected of one."""
    import numpy as np

    tile_bytes = {name: tile.bytes for name, tile in night.tiles.items()}
    rows = {}
    for rule, samples in sorted(read_benchmarks(products, [], tile_bytes).items()):
        seconds = [sample.seconds for sample in samples]
        stage = planned.get(rule, {})
        expected = 3600.0 * stage["hours_one_by_one"] / stage["to_run"] if stage.get("to_run") else None
        low, high = np.quantile(seconds, [LOW, HIGH])
        rows[rule] = {
            "jobs": len(seconds),
            "median_s": median(seconds),
            "low_s": float(low),
            "high_s": float(high),
            "core_hours": sum(sample.core_seconds for sample in samples) / 3600.0,
            "planned_s": expected,
        }
    return rows


def gather(config: Config, night: Night) -> dict[str, Any]:
    """Put the facts of a report together.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night

    Returns
    -------
    dict
        What the report's JSON holds.
    """
    products = config.products
    name = range_name(config, night)
    plan_file = products / "plan" / f"{name}.json"
    planned = read_json(plan_file)["cost"]["stages"] if plan_file.is_file() else {}
    rows = tile_outcomes(night, products)
    found = failures(night, products)
    mosaics = mosaic_outcomes(night, products)
    return {
        "name": name,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "products": str(products),
        "counts": {
            "tiles": _counts(row["measurement_set"] for row in rows),
            "images": _counts(row["image"] for row in rows),
            "mosaics": _counts(row["state"] for row in mosaics),
            "errors": sum(failure.is_error for failure in found),
        },
        "causes": [vars(cause) | {"kind": cause.kind} for cause in by_cause(found)],
        "failures": [vars(failure) for failure in found],
        "tiles": rows,
        "left_out": [{"tile": entry.tile, "reason": entry.reason} for entry in night.left_out],
        "strip_changes": strip_changes(rows),
        "transits": transit_rows(night, {}, products),
        "mosaics": mosaics,
        "scale": scale.stability((row["scale"] for row in mosaics if row["scale"]), products),
        "times": times(night, products, planned),
        "versions": versions(),
    }


def _counts(states: Iterable[str]) -> dict[str, int]:
    counts = {"ok": 0, "rejected": 0, NOT_MADE: 0}
    for state in states:
        counts[state if state in counts else NOT_MADE] += 1
    return counts


def summary(facts: Mapping[str, Any]) -> list[str]:
    """Say a report in a few lines: counts, then the causes of what is missing."""
    said = [
        f"{counts['ok']} {what}, {counts['rejected']} rejected, {counts[NOT_MADE]} not made"
        for what, counts in facts["counts"].items()
        if isinstance(counts, dict)
    ]
    lines = [f"{facts['name']}: " + "; ".join(said), verdict(facts)[1]]
    if facts.get("scale"):
        lines.append(scale.line(facts["scale"]))
    lines += [f"{cause['kind']}, {len(cause['products'])}×: {cause['reason']}" for cause in facts["causes"]]
    lines += [
        f"left out, {len(groups)}×: {reason}" for reason, groups in left_out_by_cause(facts["left_out"])
    ]
    return lines


def make(config: Config, night: Night) -> tuple[dict[str, Any], Path]:
    """Write the report of a run; gives its facts and the path of its page."""
    from contimg.report.page import page

    facts = gather(config, night)
    base = config.products / "plan"
    write_json(base / f"{facts['name']}.report.json", facts)
    html = base / f"{facts['name']}.report.html"
    part = html.with_name(f"{html.name}.part.{os.getpid()}")
    part.write_text(page(facts), encoding="utf-8")
    os.replace(part, html)
    return facts, html
