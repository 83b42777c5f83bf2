"""Measuring the search for scattering events: simulated curves without events, and with events whose truth is known."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from contimg.simulate.scattering import TYPES, Event
from contimg.simulate.survey import SurveyOptions, simulate
from contimg.variability import kernel, search
from contimg.variability.candidates import Rates, alarms, first_detection, is_shaped
from contimg.variability.chromatic import chromaticity
from contimg.variability.ese_options import EseOptions
from contimg.variability.modes import common_modes
from contimg.variability.series import Floats, Series

FIRST_MJD = 61000.0
SNRS = (10.0, 20.0, 50.0)
OPTIONS = EseOptions()
KEPT = 300
"""Largest values of a run that its results keep: as many as a tail is fitted to."""


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
    """Statistics of curves without events, one value a curve.

    Attributes
    ----------
    epochs : int
    shape, deviation, observatory : ndarray
        Statistic of the shape, confirmed deviation that no rival says better, and the observatory's statistic.
    """

    epochs: int
    shape: Floats
    deviation: Floats
    observatory: Floats

    def kept(self) -> dict[str, Any]:
        """What results keep: how many there were, and both statistics of the curves that are largest in either."""
        last = np.sort(np.argsort(-self.shape)[:KEPT]), np.sort(np.argsort(-self.deviation)[:KEPT])
        some = np.unique(np.concatenate(last))
        return {
            "null_epochs": self.epochs,
            "null_curves": len(self.shape),
            "observatory": int((self.observatory >= 5.0).sum()),
            "curves": np.stack([self.shape[some], self.deviation[some]], axis=1).round(4).tolist(),
        }


def false_alarms(curves: list[list[float]], rates: Rates) -> dict[str, int]:
    """How many curves without an event make a candidate: by shape, by deviation, by any (`Nulls.kept`)."""
    shaped = np.array([is_shaped(shape, rates, OPTIONS) for shape, _ in curves])
    paired = np.array([deviation >= OPTIONS.threshold_sigma for _, deviation in curves])
    counts = {"shape": shaped, "deviation": paired, "any": shaped | paired}
    return {name: int(values.sum()) for name, values in counts.items()}


def nulls(epochs: int, threads: int, first_seed: int, **changes: float) -> Nulls:
    """Search curves without events, of each signal to noise in turn; `changes` are to the population."""
    parts: list[tuple[Floats, Floats, Floats]] = []
    searched, seed = 0, first_seed
    priors: dict[float, search.Prior] = {}
    began = time.process_time()
    while searched < epochs:
        snr = SNRS[seed % len(SNRS)]
        series = series_of(SurveyOptions(seed=seed, n_sources=1000, snr=snr, **changes), [])
        if snr not in priors:
            priors[snr] = search.learn(series, threads=threads)
        found = search.search(series, priors[snr], threads=threads)
        parts.append((found[:, 0, kernel.STATISTIC], search.believed(found), observatory(series)))
        searched, seed = searched + len(series.mjd), seed + 1
        print(f"{searched} null epochs, {time.process_time() - began:.0f} s CPU", file=sys.stderr, flush=True)
    return Nulls(searched, *(np.concatenate(values) for values in zip(*parts, strict=True)))


def prior(snr: float, threads: int, **changes: float) -> search.Prior:
    """Noise of a population, from curves of its own."""
    return search.learn(
        series_of(SurveyOptions(seed=90, n_sources=400, snr=snr, **changes), []), threads=threads
    )


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
    """Of the events of one kind, depth, duration and signal to noise: what was found.

    `alerts`: of those found by shape that were lived through again, the part of the event at the first alert.
    """

    kind: str
    depth: float
    duration_d: float
    snr: float
    red: bool
    events: int
    found: int
    shape: int
    observatory: int
    alerts: tuple[float, ...]
    chromatic: float


def found_event(found: Floats, event: Event, rates: Rates) -> tuple[bool, Floats | None]:
    """Whether an event (rows of one curve) is a candidate, and the row of its shape where it is one by its shape."""
    begin, end = event.span_mjd()

    def near(row: Floats) -> bool:
        return bool(row[kernel.FIRST] <= end and row[kernel.LAST] >= begin)

    for row in found:
        if row[kernel.STATISTIC] < search.AGAIN:
            break
        if near(row) and is_shaped(row[kernel.STATISTIC], rates, OPTIONS):
            return True, row
    _, deviant = alarms(found[None], rates, OPTIONS)
    loud = found[1] if found[1, kernel.STATISTIC] == search.LOUD else found[0]
    return bool(deviant[0] and near(loud)), None


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
    goal: tuple[str, float, float, float, bool],
    n: int,
    known: tuple[search.Prior, Rates],
    *,
    alerts: int = 0,
    threads: int = 1,
    salt: int = 0,
    **changes: float,
) -> Recall:
    """Simulate events and search for them; `salt` makes other events, `changes` are to the population."""
    noise, rates = known
    kind, depth, duration_d, snr, red = goal
    series, made = drawn(kind, depth, duration_d, snr, n, red=red, salt=salt, **changes)
    found = search.search(series, noise, threads=threads)
    total, shaped = 0, 0
    fractions: list[float] = []
    colours: list[float] = []
    for s, event in enumerate(made):
        is_found, row = found_event(found[s], event, rates)
        total, shaped = total + is_found, shaped + (row is not None)
        if row is not None and len(fractions) < alerts:
            begin, end = event.span_mjd()
            first = first_detection(series, s, row, noise, rates, OPTIONS, threads=threads)
            fractions.append(round((first - begin) / (end - begin), 3))
            colours.append(_colour(series, s, row))
    deviation = int((observatory(series) >= 5.0).sum())
    colour = float(np.median(colours)) if colours else float("nan")
    return Recall(*goal, n, total, shaped, deviation, tuple(fractions), colour)


def _colour(series: Series, s: int, row: Floats) -> float:
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


def share(found: int, of: int) -> str:
    """A part of them in percent, with its binomial standard error."""
    part = found / of
    return f"{100 * part:.0f} ± {100 * np.sqrt(max(part * (1 - part), 0.25 / of) / of):.0f} %"


def upper(count: int) -> float:
    """Poisson upper limit at 95 %."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2.0)
