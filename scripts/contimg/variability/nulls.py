"""How often chance makes a candidate: curves without events, made of the table's own, searched like the real ones.

Four families, each with a different weakness:

- `flipped`: fluxes mirrored about their median. Flares become dips: an upper bound.
- `blocks`: blocks of 30 d shuffled within each curve: its red noise stays, what lasts longer does not.
- `constants`: constant sources with the real times and errors, and the damped random walk fitted to each.
- `rotated`: one source's deviations in units of its errors given to another of like signal to noise, begun at another
  epoch: what goes with a date goes to another.

Sources with a candidate of their own give none. The tail of each family's highest statistic is a generalised Pareto
distribution fitted to the largest (maximum likelihood), from which the rates beyond the largest seen are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contimg.variability import kernel
from contimg.variability.search import Prior, believed, search
from contimg.variability.series import Floats, Ints, Series

FAMILIES = ("flipped", "blocks", "constants", "rotated")
BLOCK_D = 30.0
_TAIL_PART = 0.02
_FEWEST = 10
_MOST = 300


@dataclass(frozen=True)
class Tail:
    """How often a statistic is exceeded by chance: a generalised Pareto tail.

    Attributes
    ----------
    epochs : int
        Source-epochs searched.
    start : float
        Where the tail begins.
    count : float
        Values above it.
    scale, shape : float
        σ and ξ: of the values above the start, (1 + ξ x / σ)^(−1/ξ) exceed it by more than x.
    highest : float
        Largest value seen.
    """

    epochs: int
    start: float
    count: float
    scale: float
    shape: float
    highest: float

    def per_million(self, value: float) -> float:
        """False alarms above a value per 10⁶ source-epochs; below the tail's start, its count there."""
        if self.epochs == 0:
            return float("nan")
        beyond = max(value - self.start, 0.0)
        share = (1.0 + self.shape * beyond / self.scale) ** (-1.0 / self.shape)
        return float(1e6 / self.epochs * self.count * share)

    def threshold(self, per_million: float) -> float:
        """Value that chance exceeds so often per 10⁶ source-epochs."""
        share = min(per_million * self.epochs / 1e6 / self.count, 1.0)
        return float(self.start + self.scale / self.shape * (share**-self.shape - 1.0))


def fit_tail(values: Floats, epochs: int) -> Tail:
    """Fit the tail of the highest statistics of null curves.

    The largest 2 % of the values, at most 300, give σ and ξ by maximum likelihood; ξ is held to 0.1 ± 0.1 by a prior,
    and above 0.01: a tail that ends is not believed.

    Parameters
    ----------
    values : ndarray
        One for each curve.
    epochs : int
        Source-epochs in them.
    """
    ordered = np.sort(values[np.isfinite(values)])[::-1]
    if len(ordered) < 2 or epochs == 0:
        return Tail(0, 0.0, 0.0, 1.0, 0.1, 0.0)
    count = min(max(int(_TAIL_PART * len(ordered)), _FEWEST), _MOST, len(ordered) - 1)
    return tail_above(ordered[:count], float(ordered[count]), epochs)


def tail_above(values: Floats, start: float, epochs: int) -> Tail:
    """Fit a tail to all values above its start, as `fit_tail` does.

    Parameters
    ----------
    values : ndarray
        Every value above `start` that so many source-epochs gave; of several runs together, where `start` is the lowest
        value that all of them kept.
    start : float
    epochs : int
    """
    excess, count = np.maximum(values - start, 1e-6), len(values)
    best = (-np.inf, 1.0, 0.1)
    mean = max(float(excess.mean()), 0.02)
    for shape in np.linspace(0.01, 0.5, 50):
        for scale in mean * np.linspace(0.3, 1.3, 51):
            log_like = -count * np.log(scale) - (1.0 + 1.0 / shape) * np.log1p(shape * excess / scale).sum()
            log_like -= 0.5 * ((shape - 0.1) / 0.1) ** 2
            if log_like > best[0]:
                best = (log_like, scale, float(shape))
    return Tail(epochs, start, float(count), float(best[1]), best[2], float(np.max(values)))


def flipped(series: Series, rng: np.random.Generator) -> Series:
    """Mirror the fluxes."""
    return series.with_flux(-series.flux)


def blocks(series: Series, rng: np.random.Generator) -> Series:
    """Shuffle blocks of 30 d within each curve; each epoch's error stays with its flux."""
    order = np.arange(len(series.mjd))
    for s in range(len(series)):
        where = series.of(s)
        number = np.floor((series.mjd[where] - series.mjd[where.start : where.start + 1]) / BLOCK_D)
        pieces = [np.nonzero(number == block)[0] for block in np.unique(number)]
        rng.shuffle(pieces)
        order[where] = where.start + np.concatenate(pieces) if pieces else order[where]
    return series.with_flux(series.flux[order], series.error[order])


def constants(series: Series, noise: Floats, rng: np.random.Generator) -> Series:
    """Simulate constant sources with the real times and errors and each source's own noise.

    Parameters
    ----------
    series : Series
    noise : ndarray, (S, 3)
        Variance of jitter, of the damped random walk, and 1/τ (1/d).
    rng : Generator
    """
    flux = rng.standard_normal(len(series.mjd))
    for s in range(len(series)):
        where = series.of(s)
        jitter2, a2, rate = noise[s]
        t, white = series.mjd[where], np.sqrt(series.error[where] ** 2 + jitter2)
        keep = np.exp(-rate * np.diff(t))
        push = np.sqrt(1.0 - keep**2) * rng.standard_normal(len(keep))
        walk = np.empty(len(t))
        state = rng.standard_normal()
        for k in range(len(t)):
            state = keep[k - 1] * state + push[k - 1] if k else state
            walk[k] = state
        flux[where] = flux[where] * white + np.sqrt(a2) * walk
    return series.with_flux(flux)


def rotated(series: Series, rng: np.random.Generator) -> Series:
    """Give each source the deviations of another of like signal to noise, from another epoch on."""
    if len(series) < 2:
        return blocks(series, rng)
    typical = np.array([np.median(series.error[series.of(s)]) for s in range(len(series))])
    rank = np.argsort(typical, kind="stable")
    donor: Ints = np.empty(len(series), dtype=np.int64)
    donor[rank] = np.roll(rank, 1 + int(rng.integers(0, min(5, len(series) - 1))))
    flux = np.empty(len(series.mjd))
    for s in range(len(series)):
        where, giver = series.of(s), series.of(int(donor[s]))
        scaled = series.flux[giver] / series.error[giver]
        n = where.stop - where.start
        begin = int(rng.integers(0, max(len(scaled), 1)))
        flux[where] = (
            scaled[(begin + np.arange(n)) % len(scaled)] * series.error[where] if len(scaled) else 0.0
        )
    return series.with_flux(flux)


def measure(
    series: Series,
    found: Floats,
    prior: Prior,
    *,
    epochs: int,
    exclude_above: float,
    seed: int = 1,
    threads: int = 1,
) -> Mapping[str, tuple[Tail, Tail]]:
    """Search curves without events, made of the real ones.

    Parameters
    ----------
    series : Series
        The real curves.
    found : ndarray
        What the search found in them (`search.search`): whose events are above `exclude_above` gives no null.
    prior : Prior
        Of the real curves.
    epochs : int
        About how many source-epochs in all.
    exclude_above : float
        Statistic above which a source is left out.
    seed, threads : int

    Returns
    -------
    mapping of str to (Tail, Tail)
        For each family the tails of the shape's statistic and of the confirmed deviation.
    """
    rng = np.random.default_rng([seed, len(series), len(series.mjd)])
    best = found[:, 0]
    quiet = np.nonzero((best[:, kernel.STATISTIC] < exclude_above) & (np.diff(series.starts) >= 4))[0]
    wanted = epochs // len(FAMILIES)
    tails: dict[str, tuple[Tail, Tail]] = {}
    for family in FAMILIES:
        statistic, pair, n, rounds = [], [], 0, 0
        while len(quiet) and n < wanted and rounds < 20:
            each = max(int(np.mean(np.diff(series.starts)[quiet])), 1)
            some = rng.permutation(quiet)[: max(1, int(np.ceil((wanted - n) / each)))]
            real = series.chosen(some)
            if family == "constants":
                null = constants(real, best[some][:, [kernel.JITTER2, kernel.A2, kernel.RATE]], rng)
            else:
                null = {"flipped": flipped, "blocks": blocks, "rotated": rotated}[family](real, rng)
            rows = search(null, prior, threads=threads)
            statistic.append(rows[:, 0, kernel.STATISTIC])
            pair.append(believed(rows))
            n, rounds = n + len(null.mjd), rounds + 1
            if family == "flipped" and len(some) == len(quiet):
                break  # there is only one
        values = [np.concatenate(part) if part else np.zeros(0) for part in (statistic, pair)]
        tails[family] = (fit_tail(values[0], n), fit_tail(values[1], n))
    return tails
