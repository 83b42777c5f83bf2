"""The search as it is shipped, on curves that none of its thresholds have seen: other seeds, and a harsher sky.

    python benchmarks/ese_again.py [--null-epochs 3000000] [--events 48] [--only fresh harsh] [--threads 2]

`benchmarks/ese_truth.py` measures tails and false alarms on the same curves. Here the tails are the shipped ones, and
the curves are new: once of the same population (fresh), once of one with twice the red noise, seasons, gaps and Sun's
passage, and three times the bad epochs (harsh). False alarms first, then what is found of events. The block
between the marks of `docs/ese_truth.md` is written anew.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

import ese_truth as truth
import numpy as np

from contimg.simulate.scattering import WITHOUT_U
from contimg.simulate.survey import SurveyOptions
from contimg.variability import search
from contimg.variability.candidates import Rates
from contimg.variability.ese import shipped

RESULTS = truth.RESULTS.with_name("ese_again.json")
MARKS = truth.AGAIN, "<!-- /again -->"
FIRST_SEED = 70_000
POPULATIONS: dict[str, dict[str, float]] = {
    "fresh": {},
    "harsh": {
        "red_rms": 0.04, "season_rms": 0.03, "missing": 0.16, "gap_fraction": 0.14, "gap_days": 8.0,
        "solar_days": 24.0, "outliers": 3e-3,
    },
}  # fmt: skip
EVENTS = (
    ("dip", 0.3, 20.0), ("dip", 0.3, 60.0), ("U", 0.3, 20.0), ("U", 0.3, 60.0), ("dip", 0.15, 20.0),
    *((kind, 0.3, duration_d) for kind in WITHOUT_U for duration_d in (7.0, 20.0, 60.0)),
)  # fmt: skip


def alarms(name: str, null_epochs: int, rates: Rates, threads: int) -> truth.Nulls:
    """Search curves without events, of each signal to noise in turn, a thousand at a time."""
    began = time.process_time()
    found = truth.nulls(
        truth.Size(null_epochs, 0, 0, 0), threads, first_seed=FIRST_SEED + 10_000 * (name == "harsh"),
        **POPULATIONS[name],
    )  # fmt: skip
    print(
        name, found.alarms(rates, truth.OPTIONS), f"{time.process_time() - began:.0f} s CPU", file=sys.stderr
    )
    return found


def block(results: dict) -> str:
    """What the page says."""
    lines = [
        MARKS[0],
        "",
        "## Curves that no threshold has seen",
        "",
        f"`python benchmarks/ese_again.py` ({results['made']}): the shipped tails, new seeds. Harsh: red noise of 4 %,",
        "seasons of 3 %, 14 % of the nights in outages of 8 d and 16 % missing one by one, 24 d lost to the Sun,",
        "0.3 % of the fluxes wrong by 8 σ.",
        "",
        "| population | source-epochs | by shape | by deviation | candidates | per 10⁶ | at most (95 %) | "
        "the observatory's at 5, per 10⁶ |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in results["populations"].items():
        rate, count = 1e6 / one["null_epochs"], one["alarms"]
        lines.append(
            f"| {name} | {one['null_epochs']:,} | {count['shape']} | {count['deviation']} | {count['any']} | "
            f"{count['any'] * rate:.2f} | {truth.upper(count['any']) * rate:.2f} | {count['observatory'] * rate:.0f} |"
        )
    lines += [
        "",
        "| events at 20 σ, red noise | "
        + " | ".join(f"found, {name}" for name in results["populations"])
        + " |",
        "| --- |" + " ---: |" * len(results["populations"]),
    ]
    every = [one["recall"] for one in results["populations"].values()]
    for rows in zip(*every, strict=True):
        first = rows[0]
        cells = " | ".join(truth.share(row["found"], row["events"]) for row in rows)
        lines.append(
            f"| {first['kind']}, {100 * first['depth']:.0f} %, {first['duration_d']:.0f} d | {cells} |"
        )
    cells = " | ".join(
        truth.share(
            sum(row["found"] for row in rows if row["kind"] in WITHOUT_U),
            sum(row["events"] for row in rows if row["kind"] in WITHOUT_U),
        )
        for rows in every
    )
    lines += [f"| all without a U, 30 %, 7 to 60 d | {cells} |", "", MARKS[1]]
    return "\n".join(lines)


def keep(results: dict) -> None:
    """Write the results, and the block of the page."""
    RESULTS.write_text(json.dumps(results, indent=1).replace("NaN", "null") + "\n")
    text = truth.PAGE.read_text()
    if MARKS[0] not in text:
        text = text.rstrip() + "\n\n" + "\n".join(MARKS) + "\n"
    truth.PAGE.write_text(re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: block(results), text, flags=re.DOTALL))


def main() -> None:
    """Measure, and write results and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--null-epochs", type=int, default=3_000_000)
    parser.add_argument("--events", type=int, default=48)
    parser.add_argument("--only", nargs="+", choices=tuple(POPULATIONS), default=list(POPULATIONS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rates = Rates((shipped().shape,), (shipped().deviation,))
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"populations": {}}
    for name in arguments.only:
        changes = POPULATIONS[name]
        null = alarms(name, arguments.null_epochs, rates, arguments.threads)
        learnt = truth.series_of(SurveyOptions(seed=91, n_sources=400, snr=20.0, **changes), [])
        null.priors[20.0] = search.learn(learnt, threads=arguments.threads)
        rows = [
            truth.recall(
                *event, 20.0, arguments.events, (null, rates), threads=arguments.threads, salt=1, **changes
            )
            for event in EVENTS
        ]
        results["made"] = f"{datetime.now(UTC):%Y-%m-%d}"
        results["populations"][name] = {
            "options": changes,
            "null_epochs": null.epochs,
            "null_curves": null.curves,
            "alarms": null.alarms(rates, truth.OPTIONS),
            "largest": {
                "shape": np.sort(null.shape)[::-1][:10].tolist(),
                "deviation": np.sort(null.pair)[::-1][:10].tolist(),
            },
            "recall": [asdict(row) for row in rows],
        }
        keep(results)
    print(block(results))


if __name__ == "__main__":
    main()
