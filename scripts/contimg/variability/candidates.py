"""What the search found as a table of candidates: one row an event, the most significant first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.variability import kernel
from contimg.variability.chromatic import chromaticity
from contimg.variability.ese_options import EseOptions
from contimg.variability.lens import bank
from contimg.variability.match import FLARE, SPIKE, STEP, TREND, curve
from contimg.variability.nulls import Tail
from contimg.variability.search import AGAIN, LOUD, Prior, believed, search, unrivalled
from contimg.variability.series import Floats, Series
from contimg.variability.whiten import whiten

COLUMNS: dict[str, str] = {
    "source_id": "name of the source",
    "ra_deg": "right ascension, ICRS, deg",
    "dec_deg": "declination, ICRS, deg",
    "n_epochs": "epochs that count",
    "sigma_max": "largest deviation of an epoch from a baseline without it and its window, over its full error, σ",
    "mjd_max": "when, MJD UTC",
    "eta": "weighted variance about the weighted mean over N − 1: 1 for a constant source",
    "v": "standard deviation over mean",
    "median_flux_jy": "median flux, Jy",
    "sigma_deviation": "largest |flux − mean| over the standard deviation of the same series: bounded by √N, see docs",
    "far": "false alarms as significant as this per 10⁶ source-epochs, two statistics looked at",
    "chromatic_sigma": "change of the spectral index in the band as α ∝ λ² predicts it, over its error",
    "type": "lens, converging, grazing, cusp, or deviation where no shape is significant",
    "first_detection_mjd": "first night on which what was known made a candidate, MJD UTC",
    "last_detection_mjd": "last epoch of the event, MJD UTC",
    "status": "active, investigated or dismissed, as people say (contimg vet)",
    "event": "number of the event of this source, most significant first",
    "statistic": "gain of log likelihood over noise alone, or twice that over the best of step, trend, flare and bad "
    "epoch, whichever is less",
    "sigma_confirmed": "largest deviation that an epoch beside it confirms, σ",
    "far_per_1000_source_years": "the same rate per 1,000 years of this source's epochs",
    "middle_mjd": "middle of the main feature, MJD UTC",
    "duration_d": "its full width at half maximum, d",
    "begin_mjd": "first epoch of the event, MJD UTC",
    "amplitude": "part of the source behind the lens, for the shape's strength",
    "shape": "parameters of the shape",
    "chromatic_expected": "chromatic_sigma expected of a plasma lens",
    "rival": "best rival and its gain",
    "walk_rms": "standard deviation of the source's damped random walk, relative",
    "walk_days": "its time scale, d",
    "mean_flux_jy": "mean flux, Jy",
    "std_flux_jy": "standard deviation of the flux, Jy",
    "last_mjd": "last epoch of the source, MJD UTC",
}  # fmt: skip
"""Columns of `variability/ese_candidates.csv` and their meanings."""
RIVALS = {STEP: "step", TREND: "trend", FLARE: "flare", SPIKE: "one bad epoch"}
_REPLAYS = 16
LEAST = 1e-3
"""Least rate that is quoted, per 10⁶ source-epochs: millions of nulls tell nothing of one in 10⁹."""
_INSTRUMENT = 12.0
"""What falls together with a change of the instrument is an event only where that is likelier by this, in ln L."""
_MOST_LEVELS = 12


@dataclass(frozen=True)
class Rates:
    """Tails of the shape's statistic and of the confirmed deviation, one each a family of nulls; the worst holds."""

    shape: tuple[Tail, ...]
    deviation: tuple[Tail, ...]

    def of_shape(self, statistic: float) -> float:
        """False alarms of the shape per 10⁶ source-epochs."""
        return max(tail.per_million(statistic) for tail in self.shape)

    def of_deviation(self, pair: float) -> float:
        """False alarms of the confirmed deviation per 10⁶ source-epochs."""
        return max(tail.per_million(pair) for tail in self.deviation)

    def per_million(self, statistic: float, pair: float) -> float:
        """Rate of the more significant of the two, times two for having looked at two; at least `LEAST`."""
        return max(2.0 * min(self.of_shape(statistic), self.of_deviation(pair)), LEAST)


def alarms(found: Floats, rates: Rates, options: EseOptions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the first event of each search is a candidate by its shape, and by a deviation, (S,) each.

    What falls together with a change of the instrument is not looked at (`verdict` does).
    """
    first = found[:, 0]
    shape = np.array([is_shaped(value, rates, options) for value in first[:, kernel.STATISTIC]], dtype=bool)
    return shape, believed(found) >= options.threshold_sigma


def is_shaped(statistic: float, rates: Rates, options: EseOptions) -> bool:
    """Whether the statistic of a shape makes a candidate."""
    return statistic >= AGAIN and rates.of_shape(statistic) <= options.max_far


def summary(flux_jy: Floats, error_jy: Floats) -> dict[str, float]:
    """Statistics of a curve that people know: η, V, the observatory's deviation, reduced χ²."""
    n = len(flux_jy)
    weight = 1.0 / error_jy**2
    mean = float(np.mean(flux_jy))
    chi2 = float(np.sum(weight * (flux_jy - np.average(flux_jy, weights=weight)) ** 2))
    std = float(np.std(flux_jy, ddof=1)) if n > 1 else 0.0
    return {
        "eta": chi2 / max(n - 1, 1),
        "v": std / mean if mean else float("nan"),
        "sigma_deviation": float(np.max(np.abs(flux_jy - mean)) / std) if std > 0 else 0.0,
        "mean_flux_jy": mean,
        "std_flux_jy": std,
    }


def change_at(series: Series, s: int, epoch: int) -> str | None:
    """Name what changed within a night of an epoch of a source: pointing, calibrator, software, catalogue, table.

    None: nothing. Caltables that serve one epoch only do not count: these change every night.
    """
    where = series.of(s)
    for name, code in series.codes.items():
        own = code[where]
        if not len(own):
            continue
        before, after = own[max(epoch - 2, 0)], own[min(epoch + 1, len(own) - 1)]
        served = min(np.sum(own == before), np.sum(own == after))
        if before != after and (name != "caltable" or served > 1):
            return _plainly(name)
    return None


def _plainly(name: str) -> str:
    return name.removesuffix("_dec_deg").removesuffix("_digest")


def changed_levels(series: Series, s: int, row: Floats) -> tuple[str, float]:
    """Find how well an offset of one pointing, calibrator, software or catalogue explains a source.

    Parameters
    ----------
    series : Series
    s : int
        Number of the source.
    row : ndarray
        Of the search: its noise is used.

    Returns
    -------
    (str, float)
        What, and its gain of log likelihood: of an offset of all epochs of one value, or of one unbroken run of them.
    """
    where = series.of(s)
    t, v = series.mjd[where], series.error[where] ** 2 + row[kernel.JITTER2]
    of = curve(t, series.flux[where], v, row[kernel.A2], row[kernel.RATE])
    best, out = ("", 0.0), np.empty(len(t))
    for name, code in series.codes.items():
        own = code[where]
        levels = np.unique(own)
        if not 2 <= len(levels) <= _MOST_LEVELS:
            continue
        pieces = [own == level for level in levels]
        edges = np.append(np.nonzero(np.diff(own))[0] + 1, len(own))
        for first, last in zip(np.append(0, edges), edges, strict=False):
            pieces.append((np.arange(len(own)) >= first) & (np.arange(len(own)) < last))
        for piece in pieces:
            whiten(piece.astype(float), row[kernel.A2], of.phi, of.w, of.isd, out)
            nc = float(out @ of.cw)
            number, weight = float(out @ of.dw) - nc * of.cd / of.cc, float(out @ out) - nc * nc / of.cc
            gain = 0.5 * number * number / weight if weight > 1e-3 * float(out @ out) else 0.0
            if gain > best[1]:
                best = (_plainly(name), gain)
    return best


def verdict(
    series: Series, s: int, found: Floats, number: int, rates: Rates, options: EseOptions
) -> tuple[bool, str, str]:
    """Judge one event of one source.

    Returns
    -------
    candidate : bool
    type : str
        Of the event: a shape's, `deviation`, or what explains it better (`step at a change of pointing`, `flare` …).
    rival : str
        The best rival and its gain.
    """
    row = found[s, number]
    loud = found[s, number + 1] if number + 1 < found.shape[1] and found[s, number + 1, 0] == LOUD else row
    shaped = is_shaped(row[kernel.STATISTIC], rates, options)
    judged = row if shaped else loud
    gains = judged[kernel.RIVAL : kernel.RIVAL + len(RIVALS)]
    best = int(np.argmax(gains))
    rival = f"{RIVALS[best]} {gains[best]:.1f}"
    # a change of the instrument is a rival as the others are: an event is believed if it is likelier by as much
    level, offset = changed_levels(series, s, judged)
    if offset > gains[best] and judged[kernel.GAIN] - offset < _INSTRUMENT and offset > 0.5 * _INSTRUMENT:
        return False, f"offset of one {level}", f"{level} {offset:.1f}"
    change = change_at(series, s, int(judged[kernel.STEP_EPOCH])) if best == STEP else None
    near = judged[kernel.GAIN] - gains[best] < _INSTRUMENT and gains[best] > 0.5 * _INSTRUMENT
    if change is not None and near:
        return False, f"step at a change of {change}", rival
    if shaped:
        return True, bank().names[int(row[kernel.SHAPE])], rival
    if row[kernel.PAIR] >= options.threshold_sigma:
        if not unrivalled(judged):
            return False, RIVALS[best], rival
        return True, "deviation", rival
    return False, "none", rival


def first_detection(
    series: Series, s: int, row: Floats, prior: Prior, rates: Rates, options: EseOptions, *, threads: int
) -> float:
    """Find the first night on which what was known made a candidate of an event: some nights are lived through again.

    Returns
    -------
    float
        MJD of its last epoch; the event's last epoch if no night before tells.
    """
    where = series.of(s)
    t = series.mjd[where]
    begin = row[kernel.FIRST] - 0.5 * row[kernel.WIDTH]
    nights = t[(t >= begin) & (t <= row[kernel.LAST] + 1e-6)]
    if len(nights) < 2:
        return float(t[-1])
    tried = nights[np.unique(np.linspace(0, len(nights) - 1, _REPLAYS).astype(int))]
    then = search(
        series.until([s] * len(tried), tried), prior, since_mjd=row[kernel.FIRST] - 1e-6, threads=threads
    )
    shaped, deviant = alarms(then, rates, options)
    alarm = shaped | deviant
    return float(tried[np.argmax(alarm)]) if alarm.any() else float(nights[-1])


def table(
    series: Series,
    original: Series,
    found: Floats,
    prior: Prior,
    rates: Rates,
    options: EseOptions,
    *,
    threads: int = 1,
) -> pd.DataFrame:
    """Make the table of candidates.

    Parameters
    ----------
    series, original : Series
        Curves as searched, and before common modes were taken out.
    found : ndarray
        From `search.search`.
    prior : Prior
    rates : Rates
    options : EseOptions
    threads : int

    Returns
    -------
    DataFrame
        `COLUMNS`, most significant first.
    """
    rows = []
    for s in range(len(series)):
        for number in range(found.shape[1]):
            row = found[s, number]
            if row[kernel.STATISTIC] < -0.5:
                break
            good, kind, rival = verdict(series, s, found, number, rates, options)
            if not good:
                continue
            first = first_detection(series, s, row, prior, rates, options, threads=threads)
            rows.append(_row(series, original, s, number, row, kind, rival, rates, first))
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    return made.sort_values(
        ["far", "statistic", "source_id"], ascending=[True, False, True], ignore_index=True
    )


def _row(
    series: Series,
    original: Series,
    s: int,
    number: int,
    row: Floats,
    kind: str,
    rival: str,
    rates: Rates,
    first: float,
) -> dict[str, Any]:
    where = series.of(s)
    t = series.mjd[where]
    median = float(series.median_jy[s])
    colour = chromaticity(row, t, series.slope[where], series.slope_error[where])
    far = rates.per_million(row[kernel.STATISTIC], row[kernel.PAIR])
    years = max((t[-1] - t[0]) / 365.25, 1e-3)
    n = len(t)
    inside = t[(t >= row[kernel.FIRST]) & (t <= row[kernel.LAST])]
    return {
        "source_id": series.source_ids[s],
        "ra_deg": series.ra_deg[s],
        "dec_deg": series.dec_deg[s],
        "n_epochs": n,
        "sigma_max": abs(row[kernel.SIGMA]),
        "mjd_max": t[int(row[kernel.SIGMA_EPOCH])],
        "median_flux_jy": median,
        **summary((original.flux[where] + 1.0) * median, original.error[where] * median),
        "far": far,
        "chromatic_sigma": colour.sigma,
        "type": kind,
        "first_detection_mjd": first,
        "last_detection_mjd": inside[-1] if len(inside) else t[-1],
        "status": "active",
        "event": number + 1,
        "statistic": row[kernel.STATISTIC],
        "sigma_confirmed": row[kernel.PAIR],
        "far_per_1000_source_years": far * 1e-6 * n / years * 1000.0,
        "middle_mjd": row[kernel.MIDDLE],
        "duration_d": row[kernel.WIDTH],
        "begin_mjd": inside[0] if len(inside) else t[0],
        "amplitude": row[kernel.AMPLITUDE],
        "shape": bank().parameters[int(row[kernel.SHAPE])],
        "chromatic_expected": colour.expected,
        "rival": rival,
        "walk_rms": float(np.sqrt(row[kernel.A2])),
        "walk_days": 1.0 / row[kernel.RATE] if row[kernel.RATE] > 0 else float("nan"),
        "last_mjd": t[-1],
    }


def answer(
    candidates: pd.DataFrame,
    options: EseOptions,
    *,
    products_db: str,
    source_id: str | None,
    catalogue_mjy: Mapping[str, float],
) -> dict[str, Any]:
    """Give the candidates in the observatory's fields.

    Parameters
    ----------
    candidates : DataFrame
        From `table`.
    options : EseOptions
    products_db : str
        Where the light curves came from.
    source_id : str or None
        The one source asked for.
    catalogue_mjy : mapping
        Flux of the reference catalogue by source, mJy.
    """
    listed = [
        {
            "source_id": row["source_id"],
            "ra_deg": _plain(row["ra_deg"]),
            "dec_deg": _plain(row["dec_deg"]),
            "significance": round(float(row["sigma_max"]), 3),
            "nvss_flux_mjy": catalogue_mjy.get(row["source_id"]),
            "mean_flux_mjy": 1e3 * row["mean_flux_jy"],
            "std_flux_mjy": 1e3 * row["std_flux_jy"],
            "chi2_nu": row["eta"],
            "n_obs": int(row["n_epochs"]),
            "last_mjd": row["last_mjd"],
        }
        for row in candidates.to_dict("records")
    ]
    return {
        "products_db": products_db,
        "min_sigma": options.threshold_sigma,
        "source_id": source_id,
        "recompute": options.recompute,
        "candidates_found": len(listed),
        "candidates": listed,
    }


def _plain(value: float) -> float | None:
    return None if not np.isfinite(value) else float(value)


def read(path: Path) -> pd.DataFrame:
    """Read a table of candidates; a source's name stays text."""
    return pd.read_csv(path, comment="#", dtype={"source_id": str, "type": str, "status": str, "shape": str})
