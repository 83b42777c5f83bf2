"""How many scattering events the search finds, and how often chance makes one: simulated curves with a known truth.

    make scorecard                                        with the rest
    python benchmarks/ese_truth.py                        docs/ese_truth.md, and the tails that the search ships
    python benchmarks/ese_truth.py --size quick           a tenth of it, to try it

Curves have red noise, seasons, outages, the Sun's passage and bad epochs (`contimg.simulate.survey`); events are made
by rays (`contimg.simulate.scattering`), which share nothing with the search's shapes. First the false alarms are
measured, on curves without events; then what is found of events, with the same settings. A binomial
standard error of a recall of 90 % from 100 events is 3 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from contimg.simulate.scattering import TYPES, WITHOUT_U, Event
from contimg.simulate.survey import SurveyOptions, simulate
from contimg.variability import kernel, search
from contimg.variability.candidates import Rates, first_detection
from contimg.variability.ese import worst
from contimg.variability.ese_options import EseOptions
from contimg.variability.modes import common_modes
from contimg.variability.nulls import fit_tail
from contimg.variability.series import Floats, Series

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ese_truth.md"
RESULTS = ROOT / "benchmarks" / "results" / "variability" / "ese_truth.json"
TAILS = ROOT / "scripts" / "contimg" / "variability" / "ese_nulls.json"
AGAIN = "<!-- again -->"
FIRST_MJD = 61000.0
SNRS = (10.0, 20.0, 50.0)
DURATIONS_D = (7.0, 20.0, 60.0, 120.0)
DEPTHS = (0.08, 0.15, 0.3, 0.5)
OPTIONS = EseOptions()


@dataclass(frozen=True)
class Size:
    """How much is simulated: null epochs, events of each point and of the goals, and how many of those are replayed."""

    null_epochs: int
    events: int
    headline: int
    replayed: int


SIZES = {
    "standard": Size(3_050_000, 16, 120, 120),
    "half": Size(3_050_000, 8, 48, 12),
    "quick": Size(100_000, 8, 16, 8),
}


def series_of(options: SurveyOptions, events: list[Event | None]) -> Series:
    """Curves as the job makes them: relative to the median, common modes taken out."""
    made = simulate(options, events)
    median = np.array([np.median(made.flux[a:b]) for a, b in zip(made.starts, made.starts[1:], strict=False)])
    scale = np.repeat(median, np.diff(made.starts))
    series = Series(
        made.source_ids, made.ra_deg, made.dec_deg, median, made.starts, made.mjd, made.flux / scale - 1.0,
        made.error / scale, made.slope, made.slope_error,
    )  # fmt: skip
    return series.with_flux(series.flux - common_modes(series))


def observatory(series: Series) -> Floats:
    """The observatory's statistic of each curve: max |flux − mean| over the standard deviation."""
    found = np.zeros(len(series))
    for s in range(len(series)):
        flux = series.flux[series.of(s)]
        found[s] = np.abs(flux - flux.mean()).max() / flux.std(ddof=1)
    return found


@dataclass
class Nulls:
    """Statistics of curves without events, one value a curve."""

    epochs: int
    curves: int
    shape: Floats
    pair: Floats
    deviation: Floats
    priors: dict[float, search.Prior]

    def alarms(self, rates: Rates, options: EseOptions) -> dict[str, int]:
        """How many curves make a candidate."""
        shaped = np.array([v >= search.AGAIN and rates.of_shape(v) <= options.max_far for v in self.shape])
        paired = self.pair >= options.threshold_sigma
        return {
            "shape": int(shaped.sum()),
            "deviation": int(paired.sum()),
            "any": int((shaped | paired).sum()),
            "observatory": int((self.deviation >= 5.0).sum()),
        }


def nulls(size: Size, threads: int, first_seed: int = 100, **changes: float) -> Nulls:
    """Search curves without events, of each signal to noise in turn; `changes` are to the population."""
    parts: list[tuple[Floats, Floats, Floats]] = []
    epochs, curves, seed = 0, 0, first_seed
    priors: dict[float, search.Prior] = {}
    began = time.process_time()
    while epochs < size.null_epochs:
        snr = SNRS[seed % len(SNRS)]
        series = series_of(SurveyOptions(seed=seed, n_sources=1000, snr=snr, **changes), [])
        prior = priors.setdefault(snr, search.learn(series, threads=threads))
        found = search.search(series, prior, threads=threads)
        # a deviation that a step, flare or trend says better makes no candidate: the loudest feature tells
        loud = np.where(found[:, 1, kernel.STATISTIC] == -2.0, found[:, 1].T, found[:, 0].T).T
        beaten = loud[:, kernel.GAIN] < loud[:, kernel.RIVAL : kernel.RIVAL + 4].max(axis=1)
        pair = np.where(beaten, 0.0, found[:, 0, kernel.PAIR])
        parts.append((found[:, 0, kernel.STATISTIC], pair, observatory(series)))
        epochs, curves, seed = epochs + len(series.mjd), curves + len(series), seed + 1
        print(f"{epochs} null epochs, {time.process_time() - began:.0f} s CPU", file=sys.stderr, flush=True)
    shape, pair, deviation = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Nulls(epochs, curves, shape, pair, deviation, priors)


def events(
    kind: str, depth: float, duration_d: float, n: int, rng: np.random.Generator
) -> list[Event | None]:
    """Events of one kind at random times within the year, every fourth source one."""
    made: list[Event | None] = []
    for _ in range(n):
        middle = FIRST_MJD + rng.uniform(0.08, 0.92) * 364.0
        made += [Event(TYPES[kind], depth, float(middle), duration_d), None, None, None]
    return made


@dataclass(frozen=True)
class Recall:
    """Of the events of one kind, depth, duration and signal to noise: what was found."""

    kind: str
    depth: float
    duration_d: float
    snr: float
    red: bool
    events: int
    found: int
    shape: int
    observatory: int
    alert: float
    chromatic: float


def found_event(found: Floats, event: Event, options: EseOptions, rates: Rates) -> tuple[bool, bool, Floats]:
    """Whether an event is a candidate, and by its shape, and the row that is nearest to it."""
    begin, end = event.span_mjd()
    by_shape, row = False, found[0]
    for candidate in found:
        if candidate[kernel.STATISTIC] < search.AGAIN:
            break
        near = candidate[kernel.FIRST] <= end and candidate[kernel.LAST] >= begin
        if near and rates.of_shape(candidate[kernel.STATISTIC]) <= options.max_far:
            by_shape, row = True, candidate
            break
    loud = found[1] if found[1, kernel.STATISTIC] == -2.0 else found[0]
    beaten = loud[kernel.GAIN] < loud[kernel.RIVAL : kernel.RIVAL + 4].max()
    paired = found[0, kernel.PAIR] >= options.threshold_sigma and not beaten
    near = loud[kernel.FIRST] <= end and loud[kernel.LAST] >= begin
    return by_shape or bool(paired and near), by_shape, row


def drawn(
    kind: str, depth: float, duration_d: float, snr: float, n: int, *, red: bool, salt: int, **changes: float
) -> tuple[Series, list[Event]]:
    """Curves of sources that have an event each, and the events; `salt` makes others."""
    seed = [ord(kind[0]), len(kind), int(100 * depth), int(duration_d), int(snr), red] + [salt] * (salt > 0)
    rng = np.random.default_rng(seed)
    made = events(kind, depth, duration_d, n, rng)
    survey = SurveyOptions(
        seed=int(rng.integers(1 << 30)),
        n_sources=len(made),
        snr=snr,
        red=red,
        width_deg=15.0 * len(made) / 32.0,
        **changes,
    )
    places = np.arange(0, len(made), 4)
    return series_of(survey, made).chosen(places), [event for event in made if event is not None]


def recall(
    kind: str,
    depth: float,
    duration_d: float,
    snr: float,
    n: int,
    known: tuple[Nulls, Rates],
    *,
    red: bool = True,
    alerts: int = 0,
    threads: int = 1,
    salt: int = 0,
    **changes: float,
) -> Recall:
    """Simulate events and search for them; `salt` makes other events, `changes` are to the population."""
    null, rates = known
    series, made = drawn(kind, depth, duration_d, snr, n, red=red, salt=salt, **changes)
    prior = null.priors[snr]
    found = search.search(series, prior, threads=threads)
    total, shaped, fractions, colours = 0, 0, [], []
    for s, event in enumerate(made):
        is_found, by_shape, row = found_event(found[s], event, OPTIONS, rates)
        total, shaped = total + is_found, shaped + by_shape
        if by_shape and len(fractions) < alerts:
            begin, end = event.span_mjd()
            first = first_detection(series, s, row, prior, rates, OPTIONS, threads=threads)
            fractions.append((first - begin) / (end - begin))
            colours.append(_colour(series, s, row))
    deviation = int((observatory(series) >= 5.0).sum())
    return Recall(
        kind, depth, duration_d, snr, red, n, total, shaped, deviation,
        float(np.median(fractions)) if fractions else float("nan"),
        float(np.median(colours)) if colours else float("nan"),
    )  # fmt: skip


def _colour(series: Series, s: int, row: Floats) -> float:
    from contimg.variability.chromatic import chromaticity

    where = series.of(s)
    return chromaticity(row, series.mjd[where], series.slope[where], series.slope_error[where]).sigma


def depth_at(points: list[Recall], share: float) -> str:
    """Depth at which a share of the events is found, between the simulated depths."""
    ordered = sorted(points, key=lambda point: point.depth)
    depths = [point.depth for point in ordered]
    shares = np.maximum.accumulate([point.found / point.events for point in ordered])
    if shares[0] >= share:
        return f"< {100 * depths[0]:.0f}"
    if shares[-1] < share:
        return f"> {100 * depths[-1]:.0f}"
    k = int(np.argmax(shares >= share))
    between = (share - shares[k - 1]) / (shares[k] - shares[k - 1])
    return f"{100 * (depths[k - 1] + between * (depths[k] - depths[k - 1])):.0f}"


GOALS = (
    ("dip", 0.3, 20.0, 20.0, True), ("dip", 0.3, 60.0, 20.0, True), ("U", 0.3, 20.0, 20.0, True),
    ("U", 0.3, 60.0, 20.0, True), ("dip", 0.3, 20.0, 20.0, False), ("dip", 0.3, 60.0, 20.0, False),
    ("dip", 0.15, 20.0, 20.0, True), ("dip", 0.5, 7.0, 10.0, True),
)  # fmt: skip


def headline(size: Size, known: tuple[Nulls, Rates], threads: int) -> Iterator[Recall]:
    """What the goals speak of."""
    for kind, depth, duration_d, snr, red in GOALS:
        print(kind, depth, duration_d, snr, red, file=sys.stderr, flush=True)
        yield recall(
            kind, depth, duration_d, snr, size.headline, known, red=red, alerts=size.replayed, threads=threads
        )


def page(results: dict, points: list[Recall], heads: list[Recall]) -> str:
    """Write the page."""
    alarms, rate = results["alarms"], 1e6 / results["null_epochs"]
    lines = [
        "# What the search for scattering events finds",
        "",
        f"`python benchmarks/ese_truth.py` ({results['made']}). Curves of 365 nights with red noise (damped random",
        "walks, median 2 %, 20 to 300 d), seasons of 1.5 % that neighbours share, outages, the Sun's passage and bad",
        "epochs. Events are rays through plasma lenses (`contimg.simulate.scattering`), at random times;",
        "default settings.",
        "",
        "## False alarms",
        "",
        f"{results['null_epochs']:,} source-epochs of {results['null_curves']:,} curves without an event.",
        "",
        "| candidate by | false alarms | per 10⁶ source-epochs | at most (95 %) |",
        "| --- | ---: | ---: | ---: |",
    ]
    names = {
        "shape": "shape",
        "deviation": "confirmed deviation of 5 σ",
        "any": "either: a candidate",
        "observatory": "the observatory's statistic at 5",
    }
    for key, name in names.items():
        lines.append(
            f"| {name} | {alarms[key]} | {alarms[key] * rate:.2f} | {upper(alarms[key]) * rate:.2f} |"
        )
    lines += [
        "",
        f"Threshold of the shape's statistic: {results['threshold']:.1f}; the largest by chance was "
        f"{results['shape']['highest']:.1f}.",
        "",
        "## Goals",
        "",
        "| events | S/N | red noise | found | by shape | the observatory's at 5 | first alert, part of the event | "
        "chromatic σ |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for head in heads:
        lines.append(
            f"| {head.kind}, {100 * head.depth:.0f} %, {head.duration_d:.0f} d | {head.snr:.0f} | "
            f"{'yes' if head.red else 'no'} | {share(head.found, head.events)} | {share(head.shape, head.events)} | "
            f"{share(head.observatory, head.events)} | {head.alert:.2f} | {head.chromatic:.1f} |"
        )
    lines += [
        "",
        "± is the binomial standard error. The first alert is the median; an event begins and ends where the flux is "
        "off by a tenth of its depth.",
        "",
        "## Depth found, in percent",
        "",
        "Depth at which 50 % / 90 % of the events are found, between 8, 15, 30 and 50 %.",
        "",
        "| type | S/N | " + " | ".join(f"{d:.0f} d" for d in DURATIONS_D) + " |",
        "| --- | ---: |" + " ---: |" * len(DURATIONS_D),
    ]
    for kind in TYPES:
        for snr in SNRS:
            cells = []
            for duration_d in DURATIONS_D:
                own = [p for p in points if (p.kind, p.snr, p.duration_d) == (kind, snr, duration_d)]
                cells.append(f"{depth_at(own, 0.5)} / {depth_at(own, 0.9)}" if own else "")
            lines.append(f"| {kind} | {snr:.0f} | " + " | ".join(cells) + " |")
    without = [p for p in points if p.kind in WITHOUT_U and p.depth == 0.3 and p.snr == 20.0]
    found, of = sum(p.found for p in without), max(sum(p.events for p in without), 1)
    if without:
        lines += [
            "",
            f"Types without a U ({', '.join(WITHOUT_U)}) of 30 % at 20 σ: {share(found, of)} found.",
            "",
        ]
    return "\n".join(lines)


def write_page(text: str) -> None:
    """Write the page, but for the block that `ese_again.py` writes."""
    _, mark, block = PAGE.read_text().partition(AGAIN)
    PAGE.write_text(text.rstrip() + "\n" + (f"\n{mark}{block}" if mark else ""))


def share(found: int, of: int) -> str:
    """A part of them in percent, with its binomial standard error."""
    part = found / of
    return f"{100 * part:.0f} ± {100 * np.sqrt(max(part * (1 - part), 0.25 / of) / of):.0f} %"


def upper(count: int) -> float:
    """Poisson upper limit at 95 %."""
    from scipy.stats import chi2

    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2.0)


def measured_nulls(size: Size, threads: int, *, keep: bool) -> tuple[Nulls, Rates, dict]:
    """Measure the false alarms; with `keep`, write the tails that the search ships and the results."""
    null = nulls(size, threads)
    shape, deviation = fit_tail(null.shape, null.epochs), fit_tail(null.pair, null.epochs)
    rates = Rates((shape,), (deviation,))
    results = {
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "null_epochs": null.epochs,
        "null_curves": null.curves,
        "alarms": null.alarms(rates, OPTIONS),
        "threshold": max(shape.threshold(OPTIONS.max_far), search.AGAIN),
        "shape": asdict(shape),
        "deviation": asdict(deviation),
        "largest": {
            "shape": np.sort(null.shape)[::-1][:20].tolist(),
            "deviation": np.sort(null.pair)[::-1][:20].tolist(),
        },
    }
    if keep:
        stored = {**json.loads(TAILS.read_text()), "shape": asdict(shape), "deviation": asdict(deviation)}
        stored["log_prior"] = null.priors[20.0].log_prior.round(4).tolist()
        TAILS.write_text(json.dumps(stored) + "\n")
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return null, rates, results


def main() -> None:
    """Measure, write tails, results and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="standard")
    parser.add_argument("--stage", choices=("all", "nulls", "recall"), default="all")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    if arguments.stage == "recall":
        results = json.loads(RESULTS.read_text())
        rates = worst({})
        null = Nulls(results["null_epochs"], results["null_curves"], *(np.zeros(0),) * 3, {})
        for snr in SNRS:
            null.priors[snr] = search.learn(series_of(SurveyOptions(seed=90, n_sources=400, snr=snr), []))
    else:
        null, rates, results = measured_nulls(size, arguments.threads, keep=arguments.size != "quick")
        if arguments.stage == "nulls":
            return
    known, standard = (null, rates), arguments.size != "quick"
    heads = list(headline(size, known, arguments.threads))
    results["headline"] = [asdict(head) for head in heads]
    if standard:
        RESULTS.write_text(json.dumps(results, indent=1).replace("NaN", "null") + "\n")
        write_page(page(results, [], heads))
    points: list[Recall] = []
    for kind in TYPES:
        for snr in SNRS:
            for duration_d in DURATIONS_D:
                points += [
                    recall(kind, depth, duration_d, snr, size.events, known, threads=arguments.threads)
                    for depth in DEPTHS
                ]
            print(kind, snr, file=sys.stderr, flush=True)
        results["points"] = [asdict(p) for p in points]
        if standard:
            RESULTS.write_text(json.dumps(results, indent=1).replace("NaN", "null") + "\n")
            write_page(page(results, points, heads))
    print(page(results, points, heads))


if __name__ == "__main__":
    main()
