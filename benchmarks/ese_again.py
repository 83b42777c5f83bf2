"""The search as it is shipped, on curves that none of its thresholds have seen: other seeds, and a harsher sky.

    python benchmarks/ese_again.py [--null-epochs 3000000] [--events 48] [--only fresh harsh rates] [--threads 2]

`benchmarks/ese_truth.py` measures tails and false alarms on the same curves. Here the tails are the shipped ones, and
the curves are new: once of the same population (fresh), once of one with twice the red noise, seasons, gaps and Sun's
passage, and three times the bad epochs (harsh). False alarms first, then what is found of events. At last
(rates) the largest values of both runs of the usual population become one tail, which is shipped beside the first
run's and judges from then on, and what that costs in events is measured. The block between the marks of
`docs/ese_truth.md` is written anew.
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
from contimg.variability.candidates import Rates, first_detection
from contimg.variability.ese import shipped, worst
from contimg.variability.ese_options import EseOptions
from contimg.variability.nulls import Tail, tail_above

RESULTS = truth.RESULTS.with_name("ese_again.json")
MARKS = truth.AGAIN, "<!-- /again -->"
FIRST_SEED = 70_000
ALERTS = 12
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


def pooled(results: dict) -> dict[str, Tail]:
    """Tails of the largest values of the two runs of the usual population together, and ship them."""
    runs = (json.loads(truth.RESULTS.read_text()), results["populations"]["fresh"])
    epochs = sum(run["null_epochs"] for run in runs)
    found = {}
    for name in ("shape", "deviation"):
        kept = [np.array(run["largest"][name]) for run in runs]
        start = max(float(values.min()) for values in kept)  # every value above it was kept by both
        every = np.concatenate(kept)
        found[name] = tail_above(np.sort(every[every > start])[::-1], start, epochs)
    stored = json.loads(truth.TAILS.read_text())
    stored |= {f"{name}_largest": asdict(tail) for name, tail in found.items()}
    truth.TAILS.write_text(json.dumps(stored) + "\n")
    shipped.cache_clear()
    return found


def thresholds(results: dict, events: int, threads: int) -> dict:
    """What is found of the same events, and how many false alarms there are, by the first tail alone and by all."""
    tails = pooled(results)
    then = json.loads(truth.RESULTS.read_text())
    cases = {
        "first run's tail, max_far 0.5": (
            Rates((shipped().shape[0],), (shipped().deviation[0],)), EseOptions(max_far=0.5),
        ),
        "in force": (worst({}), truth.OPTIONS),
    }  # fmt: skip
    wanted = [(*goal, 0) for goal in truth.GOALS]
    wanted += [(kind, depth, duration_d, 20.0, True, 2) for kind, depth, duration_d in EVENTS]
    priors: dict[float, search.Prior] = {}
    rows = []
    for kind, depth, duration_d, snr, red, salt in wanted:
        if snr not in priors:
            learnt = truth.series_of(SurveyOptions(seed=90, n_sources=400, snr=snr), [])
            priors[snr] = search.learn(learnt, threads=threads)
        series, made = truth.drawn(kind, depth, duration_d, snr, events, red=red, salt=salt)
        found = search.search(series, priors[snr], threads=threads)
        row = {
            "kind": kind,
            "depth": depth,
            "duration_d": duration_d,
            "snr": snr,
            "red": red,
            "events": events,
        }
        for name, (rates, options) in cases.items():
            row[name] = sum(
                truth.found_event(found[s], event, options, rates)[0] for s, event in enumerate(made)
            )
        rates, options = cases["in force"]
        fractions = []
        for s, event in enumerate(made if salt == 0 else []):
            _, by_shape, best = truth.found_event(found[s], event, options, rates)
            if by_shape and len(fractions) < ALERTS:
                begin, end = event.span_mjd()
                first = first_detection(series, s, best, priors[snr], rates, options, threads=threads)
                fractions.append((first - begin) / (end - begin))
        row["alert"] = float(np.median(fractions)) if fractions else None
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    largest = [
        {name: np.array(run["largest"][name]) for name in ("shape", "deviation")}
        for run in (then, results["populations"]["fresh"])
    ]
    alarms_of = {
        name: {
            "shape": sum(
                int(sum(rates.of_shape(v) <= options.max_far and v >= search.AGAIN for v in run["shape"]))
                for run in largest
            ),
            "deviation": sum(int((run["deviation"] >= options.threshold_sigma).sum()) for run in largest),
        }
        for name, (rates, options) in cases.items()
    }
    return {
        "null_epochs": tails["shape"].epochs,
        "threshold": max(tail.threshold(truth.OPTIONS.max_far) for tail in shipped().shape),
        "alarms": alarms_of,
        "rows": rows,
    }


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
    lines += [f"| all without a U, 30 %, 7 to 60 d | {cells} |", ""]
    return "\n".join([*lines, *(_in_force(results["rates"]) if "rates" in results else []), MARKS[1]])


def _in_force(found: dict) -> list[str]:
    """What the page says of the thresholds in force."""
    names = list(found["alarms"])
    lines = [
        "## The thresholds in force",
        "",
        f"Both runs of the usual population together, {found['null_epochs']:,} source-epochs: their largest values are",
        f"the tail that judges. With `ese.max_far: {truth.OPTIONS.max_far:g}` the shape's statistic must reach "
        f"{found['threshold']:.1f}. All tables above: the first run's",
        "tail and 0.5. The threshold of the shape was set on these alarms; that of the deviation was not.",
        "",
        "| | by shape | by deviation | per 10⁶ | at most (95 %) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    rate = 1e6 / found["null_epochs"]
    for name, count in found["alarms"].items():
        total = count["shape"] + count["deviation"]
        lines.append(
            f"| {name} | {count['shape']} | {count['deviation']} | {total * rate:.2f} | "
            f"{truth.upper(total) * rate:.2f} |"
        )
    lines += [
        "",
        f"| events | S/N | red noise | {' | '.join(f'found, {name}' for name in names)} | first alert |",
        "| --- | ---: | --- |" + " ---: |" * (len(names) + 1),
    ]
    for row in found["rows"]:
        cells = " | ".join(truth.share(row[name], row["events"]) for name in names)
        alert = "" if row["alert"] is None else f"{row['alert']:.2f}"
        lines.append(
            f"| {row['kind']}, {100 * row['depth']:.0f} %, {row['duration_d']:.0f} d | {row['snr']:.0f} | "
            f"{'yes' if row['red'] else 'no'} | {cells} | {alert} |"
        )
    other = [row for row in found["rows"] if row["kind"] in WITHOUT_U]
    cells = " | ".join(
        truth.share(sum(row[name] for row in other), sum(row["events"] for row in other)) for name in names
    )
    lines += [f"| all without a U, 30 %, 7 to 60 d | 20 | yes | {cells} | |", ""]
    return lines


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
    stages = [*POPULATIONS, "rates"]
    parser.add_argument("--only", nargs="+", choices=stages, default=stages)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"populations": {}}
    for name in arguments.only:
        if name == "rates":
            results["rates"] = thresholds(results, arguments.events, arguments.threads)
            keep(results)
            continue
        changes, rates = POPULATIONS[name], worst({})
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
