"""Light curves to candidates: common modes out, noise learnt, every curve searched, chance measured, a table made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.core.errors import InputError
from contimg.variability import kernel, nulls
from contimg.variability.candidates import Rates, table
from contimg.variability.ese_options import EseOptions
from contimg.variability.modes import common_modes
from contimg.variability.nulls import Tail
from contimg.variability.search import AGAIN, Prior, learn, search
from contimg.variability.series import Floats, Series

SHIPPED_TAILS = Path(__file__).with_name("ese_nulls.json")
"""Tails of simulated curves without events (`benchmarks/ese_truth.py`)."""
FEWEST_NULLS = 50_000
"""Fewer source-epochs of a family tell nothing of rates of one in 10⁶."""
_EPOCHS = "epochs"
_VERSION = "2"
"""Of the search: with another, what an earlier one found is looked for again."""
_SHAPE = (kernel.EVENTS, len(kernel.COLUMNS))


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes
    ----------
    series, original : Series
        As searched, and before common modes were taken out.
    found : ndarray, (S, events, columns)
        `kernel.COLUMNS`.
    prior : Prior
    rates : Rates
    tails : mapping
        Of each family of nulls: shape and deviation.
    candidates : DataFrame
    searched_again : int
        Sources whose whole curve was searched; of the others, only what reaches their new epochs.
    """

    series: Series
    original: Series
    found: Floats
    prior: Prior
    rates: Rates
    tails: Mapping[str, tuple[Tail, Tail]]
    candidates: pd.DataFrame
    searched_again: int


@dataclass(frozen=True)
class Scores:
    """What an earlier search found, source by source."""

    prior: Prior
    rows: Mapping[str, tuple[int, float, float, Floats]]  # epochs, last MJD, weighted mean, found


@dataclass(frozen=True)
class Shipped:
    """What the shipped simulations say: tails of the shape's statistic and of the deviation, and of noise.

    Of each statistic two tails: of one run, whose bulk tells how often small values come, and of the largest values
    of all runs.
    """

    shape: tuple[Tail, ...]
    deviation: tuple[Tail, ...]
    log_prior: Floats


@cache
def shipped() -> Shipped:
    """Read what the simulation of curves without events came to."""
    try:
        stored = json.loads(SHIPPED_TAILS.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{SHIPPED_TAILS}: expected the tails of nulls ({error}); install the package anew"
        ) from error
    shape, deviation = (
        tuple(Tail(**stored[key]) for key in (name, f"{name}_largest")) for name in ("shape", "deviation")
    )
    return Shipped(shape, deviation, np.array(stored["log_prior"]))


def worst(tails: Mapping[str, tuple[Tail, Tail]]) -> Rates:
    """Give the rates that candidates are judged by: of each statistic the worst of the shipped and the own families.

    `flipped` does not count: real flares make it an upper bound only.
    """
    shape, deviation = list(shipped().shape), list(shipped().deviation)
    for family, (own_shape, own_deviation) in tails.items():
        if family != "flipped" and own_shape.epochs >= FEWEST_NULLS:
            shape.append(own_shape)
            deviation.append(own_deviation)
    return Rates(tuple(shape), tuple(deviation))


def run(series: Series, options: EseOptions, *, earlier: Scores | None = None, threads: int = 1) -> Outcome:
    """Search light curves and make the table of candidates.

    Parameters
    ----------
    series : Series
    options : EseOptions
    earlier : Scores, optional
        What a search of fewer epochs found: not looked for again.
    threads : int
    """
    original = series
    if options.common_modes:
        series = series.with_flux(series.flux - common_modes(series))
    if options.source_ids:
        wanted = set(options.source_ids)
        chosen = [s for s, name in enumerate(series.source_ids) if name in wanted]
        missing = wanted - {series.source_ids[s] for s in chosen}
        if missing:
            raise InputError(f"source_ids: no light curve of {', '.join(sorted(missing))}")
    else:
        chosen = list(range(len(series)))
    kept = None if options.recompute else earlier
    prior = learn(series, base=shipped().log_prior, threads=threads) if kept is None else kept.prior
    series, original = series.chosen(chosen), original.chosen(chosen)
    since = np.array([_known_until(original, s, kept) for s in range(len(series))])
    found = search(series, prior, since_mjd=since, threads=threads)
    if kept is not None:
        for s in np.nonzero(np.isfinite(since))[0]:
            found[s] = merged(kept.rows[series.source_ids[s]][3], found[s])
    tails = nulls.measure(
        series, found, prior, epochs=options.null_epochs, exclude_above=AGAIN, threads=threads
    )
    rates = worst(tails)
    rows = table(series, original, found, prior, rates, options, threads=threads)
    again = int((~np.isfinite(since)).sum())
    return Outcome(series, original, found, prior, rates, tails, rows, again)


def _weighted_mean(series: Series, s: int, n: int | None = None) -> float:
    """Mean flux of a source's first epochs, Jy."""
    where = series.of(s)
    flux, error = series.flux[where][:n], series.error[where][:n]
    mean = float(np.average(flux, weights=1.0 / error**2)) if len(flux) else 0.0
    return (1.0 + mean) * float(series.median_jy[s])


def _known_until(series: Series, s: int, earlier: Scores | None) -> float:
    """Last epoch that an earlier search knew of a source, if the epochs up to it are as they were; −∞ otherwise."""
    known = None if earlier is None else earlier.rows.get(series.source_ids[s])
    if known is None:
        return -np.inf
    n, last, mean, _ = known
    where = series.of(s)
    if n < 4 or where.stop - where.start < n or abs(series.mjd[where.start + n - 1] - last) > 1e-6:
        return -np.inf
    # zero points of old nights move a little with each new one: a tenth of an epoch's error is no other curve
    allowed = 0.1 * float(np.median(series.error[where]) * series.median_jy[s])
    same = abs(_weighted_mean(series, s, n) - mean) < allowed
    return last if same else -np.inf


def merged(old: Floats, new: Floats) -> Floats:
    """Put an earlier search's events and those of a later one, which looked at the last epochs only, together.

    Of two that overlap the more significant stays: the later search may fit another shape to the end of an old event.
    """
    events: list[Floats] = []
    for row in sorted([*new, *old], key=lambda row: -row[kernel.STATISTIC]):
        apart = all(
            row[kernel.LAST] < other[kernel.FIRST] or row[kernel.FIRST] > other[kernel.LAST]
            for other in events
        )
        if row[kernel.STATISTIC] >= AGAIN and apart:
            events.append(row)
    ends = [_end(rows) for rows in (new, old)]
    end = max(ends, key=lambda rows: rows[0][kernel.PAIR] if len(rows) else -1.0)
    together = np.zeros_like(new)
    together[:, kernel.STATISTIC] = -1.0
    for place, row in enumerate([*events, *end][: len(together)]):
        together[place] = row
    return together


def _end(rows: Floats) -> list[Floats]:
    """Rows behind the last event: the best of what is none, and the loudest."""
    first = int(np.argmax(rows[:, kernel.STATISTIC] < AGAIN))
    return [rows[first], rows[first + 1]] if first + 1 < len(rows) and rows[first, 0] < AGAIN else []


def write_scores(path: Path, outcome: Outcome) -> None:
    """Write what was found of every source, for the next search and for whoever wants more than candidates."""
    series, found = outcome.series, outcome.found
    n = np.diff(series.starts)
    columns: dict[str, Any] = {
        "source_id": series.source_ids,
        _EPOCHS: n,
        "last_mjd": [series.mjd[end - 1] if end else np.nan for end in series.starts[1:]],
        "mean": [_weighted_mean(outcome.original, s) for s in range(len(series))],
        **{name: found[:, 0, k] for k, name in enumerate(kernel.COLUMNS)},
    }  # fmt: skip
    made = pa.table(columns)
    flat = pa.array(found.reshape(len(series), -1).tolist(), pa.list_(pa.float64()))
    prior = {"log_prior": outcome.prior.log_prior.tolist(), "quiet_a2": outcome.prior.quiet_a2}
    made = made.append_column("found", flat).replace_schema_metadata(
        {"prior": json.dumps(prior), "search": _VERSION}
    )
    pq.write_table(made, path, compression="zstd")


def read_scores(path: Path) -> Scores | None:
    """Read what an earlier search found; None if there is none, or another version of the search made it."""
    if not path.is_file():
        return None
    stored = pq.read_table(path)
    metadata = stored.schema.metadata or {}
    if metadata.get(b"search") != _VERSION.encode() or not set(kernel.COLUMNS) <= set(stored.column_names):
        return None
    prior = json.loads(metadata[b"prior"])
    rows = {
        name: (n, last, mean, np.array(found).reshape(_SHAPE))
        for name, n, last, mean, found in zip(
            *(stored[column].to_pylist() for column in ("source_id", _EPOCHS, "last_mjd", "mean", "found")),
            strict=True,
        )
        if len(found) == _SHAPE[0] * _SHAPE[1]
    }
    return Scores(Prior(np.array(prior["log_prior"]), prior["quiet_a2"]), rows)


def tails_as_dict(tails: Mapping[str, tuple[Tail, Tail]]) -> dict[str, Any]:
    """Plain values of the nulls, for a sidecar."""
    return {
        family: {"shape": asdict(shape), "deviation": asdict(deviation)}
        for family, (shape, deviation) in tails.items()
    }


def joined(parts: Sequence[Series]) -> Series:
    """Put curves of different sources together."""
    if not parts:
        return Series([], *(np.zeros(0),) * 3, np.zeros(1, dtype=np.int64), *(np.zeros(0),) * 5)
    ends = np.cumsum([0, *(len(part.mjd) for part in parts)])
    names = set.intersection(*(set(part.codes) for part in parts))
    together = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("ra_deg", "dec_deg", "median_jy", "mjd", "flux", "error", "slope", "slope_error")
    }
    return Series(
        source_ids=[name for part in parts for name in part.source_ids],
        starts=np.concatenate(
            [[0], *(part.starts[1:] + end for part, end in zip(parts, ends, strict=False))]
        ).astype(np.int64),
        codes={name: np.concatenate([part.codes[name] for part in parts]) for name in sorted(names)},
        **together,
    )
