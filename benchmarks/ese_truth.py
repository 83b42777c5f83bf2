"""How many scattering events the search finds, and how often chance makes one: simulated curves with a known truth.

    make scorecard                                        with the rest
    python benchmarks/ese_truth.py                        every table of docs/ese_truth.md, and the shipped tails
    python benchmarks/ese_truth.py --only unseen events   some of it; the rest stays as it was measured
    python benchmarks/ese_truth.py --only                 the page alone, with the thresholds in force
    python benchmarks/ese_truth.py --size quick           a thirtieth of it, to try it: nothing is written

Curves have red noise, seasons, outages, the Sun's passage and bad epochs (`contimg.simulate.survey`); events are made
by rays (`contimg.simulate.scattering`), which share nothing with the search's shapes. Curves without events come
first: `tails` and `more` give the tails that the search ships, on which its thresholds were set; `unseen` is the same
population with seeds that neither has seen, `harsh` another. Then events: what is found of them, when, and how deep
one must be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from benchlib import ese as bench

from contimg.simulate.scattering import TYPES, WITHOUT_U
from contimg.variability.ese import shipped, worst
from contimg.variability.nulls import tail_above

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ese_truth.md"
RESULTS = ROOT / "benchmarks" / "results" / "variability" / "ese_truth.json"
TAILS = ROOT / "scripts" / "contimg" / "variability" / "ese_nulls.json"
DURATIONS_D = (7.0, 20.0, 60.0, 120.0)
DEPTHS = (0.08, 0.15, 0.3, 0.5)
LARGEST = 30
"""Values that a second tail is fitted to: what the bulk says of the largest is not always so."""
HARSH = {
    "red_rms": 0.04, "season_rms": 0.03, "missing": 0.16, "gap_fraction": 0.14, "gap_days": 8.0,
    "solar_days": 24.0, "outliers": 3e-3,
}  # fmt: skip
POPULATIONS: dict[str, tuple[int, dict[str, float]]] = {
    "tails": (100, {}),
    "more": (600_000, {}),
    "unseen": (800_000, {}),
    "harsh": (700_000, HARSH),
}
"""First seed of each, and what is other than usual."""
GOALS = (
    ("dip", 0.3, 20.0, 20.0, True), ("dip", 0.3, 60.0, 20.0, True), ("U", 0.3, 20.0, 20.0, True),
    ("U", 0.3, 60.0, 20.0, True), ("dip", 0.3, 20.0, 20.0, False), ("dip", 0.3, 60.0, 20.0, False),
    ("dip", 0.15, 20.0, 20.0, True), ("dip", 0.5, 7.0, 10.0, True),
)  # fmt: skip
OTHERS = tuple((kind, 0.3, days, 20.0, True) for kind in WITHOUT_U for days in (7.0, 20.0, 60.0))


@dataclass(frozen=True)
class Size:
    """How much is simulated: null epochs of each population, events of goals, of other rows and of each depth."""

    null_epochs: int
    goals: int
    events: int
    depths: int
    replayed: int


SIZES = {
    "standard": Size(3_050_000, 240, 96, 16, 48),
    "half": Size(3_050_000, 48, 24, 4, 8),
    "quick": Size(100_000, 8, 8, 2, 4),
}


def ship(populations: Mapping[str, Any], threads: int) -> None:
    """Write the tails that the search ships: of the largest 300 and 30 values of all runs that set them."""
    runs = [populations[name] for name in ("tails", "more") if name in populations]
    epochs = sum(run["null_epochs"] for run in runs)
    stored: dict[str, Any] = {"log_prior": bench.prior(20.0, threads).log_prior.round(4).tolist()}
    for k, statistic in enumerate(("shape", "deviation")):
        values = np.sort(np.concatenate([np.array(run["curves"])[:, k] for run in runs]))[::-1]
        for ending, number in (("", bench.KEPT), ("_largest", LARGEST)):
            tail = tail_above(values[:number], float(values[number]), epochs)
            stored[f"{statistic}{ending}"] = asdict(tail)
    TAILS.write_text(json.dumps(stored) + "\n")
    shipped.cache_clear()


def measured_events(size: Size, threads: int) -> dict[str, list[dict[str, Any]]]:
    """What is found of the events that the goals speak of and of those without a U, on both skies."""
    found: dict[str, list[dict[str, Any]]] = {}
    for sky, changes in (("usual", {}), ("harsh", HARSH)):
        found[sky] = []
        for goal in (*GOALS, *OTHERS):
            if sky == "harsh" and (goal[3] != 20.0 or not goal[4]):
                continue
            known = bench.prior(goal[3], threads, **changes), worst({})
            n = size.goals if goal in GOALS and sky == "usual" else size.events
            again = size.replayed if sky == "usual" else 0
            row = bench.recall(goal, n, known, alerts=again, threads=threads, salt=3, **changes)
            print(sky, row, file=sys.stderr, flush=True)
            found[sky].append(asdict(row))
    return found


def measured_depths(size: Size, threads: int) -> list[dict[str, Any]]:
    """What is found of each type, signal to noise, duration and depth."""
    points = []
    for snr in bench.SNRS:
        known = bench.prior(snr, threads), worst({})
        for kind in TYPES:
            for duration_d in DURATIONS_D:
                for depth in DEPTHS:
                    goal = (kind, depth, duration_d, snr, True)
                    points.append(asdict(bench.recall(goal, size.depths, known, threads=threads)))
            print(kind, snr, file=sys.stderr, flush=True)
    return points


def _false_alarms(results: Mapping[str, Any]) -> list[str]:
    """The table of false alarms."""
    lines = [
        "## False alarms",
        "",
        "| curves without an event | source-epochs | by shape | by deviation | candidates | per 10⁶ | at most (95 %) | "
        "the observatory's at 5, per 10⁶ |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    words = {
        "tails": "the tails are from these",
        "more": "and these",
        "unseen": "**unseen seeds**",
        "harsh": "harsh sky",
    }
    for name in (name for name in words if name in results["populations"]):
        one = results["populations"][name]
        rate, count = 1e6 / one["null_epochs"], bench.false_alarms(one["curves"], worst({}))
        lines.append(
            f"| {words[name]} | {one['null_epochs']:,} | {count['shape']} | {count['deviation']} | {count['any']} | "
            f"{count['any'] * rate:.2f} | {bench.upper(count['any']) * rate:.2f} | "
            f"{one['observatory'] * rate:.0f} |"
        )
    name = "unseen" if "unseen" in results["populations"] else "tails"
    largest = np.sort(results["populations"][name]["curves"], axis=0)[::-1]
    shape, deviation = ([f"{v:.1f}" for v in values[:5]] for values in largest.T)
    threshold = max(tail.threshold(bench.OPTIONS.max_far) for tail in shipped().shape)
    return [
        *lines,
        "",
        f"In force: the shape's statistic must reach {threshold:.1f} (`ese.max_far: {bench.OPTIONS.max_far:g}` by the "
        f"shipped tails), a confirmed deviation {bench.OPTIONS.threshold_sigma:g} σ.",
        f"The largest by chance ({name}): {', '.join(shape)} and {', '.join(deviation)} σ.",
        "",
        "Harsh: red noise of 4 %, seasons of 3 %, 14 % of the nights in outages of 8 d and 16 % missing one by one,",
        "24 d lost to the Sun, 0.3 % of the fluxes wrong by 8 σ. A table's own nulls, which raise the threshold there,",
        "take no part.",
        "",
    ]


def _found(rows: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """The table of what is found."""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("kind", "depth", "duration_d", "snr", "red"))

    harsh = {key(row): row for row in rows["harsh"]}
    lines = [
        "## Events",
        "",
        "| events | S/N | red noise | found | by shape | harsh sky | the observatory's at 5 | first alert: median | "
        "within 1/2 | within 1/3 | chromatic σ |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows["usual"]:
        there = harsh.get(key(row))
        alerts = np.array(row["alerts"])
        cells = [
            f"{row['kind']}, {100 * row['depth']:.0f} %, {row['duration_d']:.0f} d",
            f"{row['snr']:.0f}",
            "yes" if row["red"] else "no",
            bench.share(row["found"], row["events"]),
            bench.share(row["shape"], row["events"]),
            "" if there is None else bench.share(there["found"], there["events"]),
            bench.share(row["observatory"], row["events"]),
            f"{np.median(alerts):.2f}" if len(alerts) else "",
            *(f"{100 * np.mean(alerts <= part):.0f} %" if len(alerts) else "" for part in (1 / 2, 1 / 3)),
            f"{row['chromatic']:.1f}" if row["chromatic"] is not None else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    without = {sky: [row for row in own if key(row) in OTHERS] for sky, own in rows.items()}
    cells = [
        bench.share(sum(row["found"] for row in own), sum(row["events"] for row in own))
        for own in without.values()
    ]
    counts = sorted({row["events"] for row in rows["usual"]})
    return [
        *lines,
        "",
        f"Types without a U ({', '.join(WITHOUT_U)}), 30 %, 7 to 60 d: {cells[0]} found, harsh sky {cells[1]}.",
        f"{' or '.join(map(str, counts))} events a row; ± is the binomial standard error. The first alert is the part",
        f"of the event that had passed, of at most {max(len(row['alerts']) for row in rows['usual'])} found by shape;",
        "an event begins and ends where the flux is off by a tenth of its depth.",
        "",
    ]


def _depths(rows: list[dict[str, Any]]) -> list[str]:
    """The table of depths."""
    points = [bench.Recall(**row) for row in rows]
    lines = [
        "## Depth found, in percent",
        "",
        f"Depth at which 50 % / 90 % of the events are found, between 8, 15, 30 and 50 %; {points[0].events} events a "
        "point.",
        "",
        "| type | S/N | " + " | ".join(f"{d:.0f} d" for d in DURATIONS_D) + " |",
        "| --- | ---: |" + " ---: |" * len(DURATIONS_D),
    ]
    for kind in TYPES:
        for snr in bench.SNRS:
            cells = []
            for duration_d in DURATIONS_D:
                own = [p for p in points if (p.kind, p.snr, p.duration_d) == (kind, snr, duration_d)]
                cells.append(f"{bench.depth_at(own, 0.5)} / {bench.depth_at(own, 0.9)}" if own else "")
            lines.append(f"| {kind} | {snr:.0f} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "Events of 120 d fill so much of a year that they pass for the source's own red noise: longer records see",
        "them.",
    ]


def page(results: Mapping[str, Any]) -> str:
    """Write the page of what was measured."""
    lines = [
        "# What the search for scattering events finds",
        "",
        f"`python benchmarks/ese_truth.py` makes every table of this page ({results['made']}). Curves of 365 nights",
        "with red noise (damped random walks, median 2 %, 20 to 300 d), seasons of 1.5 % that neighbours share,",
        "outages, the Sun's passage and bad epochs, a third each of 10, 20 and 50 σ. Events are rays through plasma",
        "lenses (`contimg.simulate.scattering`), at random times; default settings.",
        "",
    ]
    lines += _false_alarms(results) if "tails" in results["populations"] else []
    lines += _found(results["events"]) if "events" in results else []
    lines += _depths(results["depths"]) if "depths" in results else []
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measure, write tails, results and page."""
    stages = (*POPULATIONS, "events", "depths")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="standard")
    parser.add_argument("--only", nargs="*", choices=stages, default=stages)
    parser.add_argument("--null-epochs", type=int, help="source-epochs of a population, where not the size's")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    size, keep = SIZES[arguments.size], arguments.size != "quick"
    if arguments.null_epochs is not None:
        size = replace(size, null_epochs=arguments.null_epochs)
    results: dict[str, Any] = {"populations": {}}
    if keep and RESULTS.is_file():
        results = json.loads(RESULTS.read_text())
    for stage in stages:
        if stage not in arguments.only:
            continue
        results["made"] = f"{datetime.now(UTC):%Y-%m-%d}"
        if stage in POPULATIONS:
            seed, changes = POPULATIONS[stage]
            null = bench.nulls(size.null_epochs, arguments.threads, seed, **changes)
            results["populations"][stage] = null.kept()
            if keep and stage in ("tails", "more"):
                ship(results["populations"], arguments.threads)
        elif stage == "events":
            results["events"] = measured_events(size, arguments.threads)
        else:
            results["depths"] = measured_depths(size, arguments.threads)
        results = json.loads(json.dumps(results).replace("NaN", "null"))
        if keep:
            RESULTS.write_text(json.dumps(results) + "\n")
    if keep:
        PAGE.write_text(page(results))
    print(page(results))


if __name__ == "__main__":
    main()
