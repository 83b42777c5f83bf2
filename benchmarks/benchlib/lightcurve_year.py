"""A simulated year of light curves against its truth: pulls, zero points, repeatability, and where errors come from."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import Mosaic, Simulation
from contimg.variability import curves
from contimg.variability.scale import BEAM_RADIUS_DEG

RESULTS = Path(__file__).parents[1] / "results" / "variability" / "lightcurve_year.json"
BEGIN, END = "<!-- lightcurves -->", "<!-- /lightcurves -->"
SNR_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, np.inf)
_READ = [
    "mosaic", "mjd", "flux_norm", "flux_norm_err", "stat_err_jy", "zero_point", "zero_point_err", "used", "normalised",
    "beam_distance_deg", "flux_jy",
]  # fmt: skip


@dataclass(frozen=True)
class Year:
    """What came out of a simulated year.

    Attributes
    ----------
    bins : list of dict
        By signal to noise: `low`, `high`, `points`, `pull_width` (half of the middle 68 %), `pull_width_err`, and in
        per cent of the flux the median source's `total` scatter and the terms `thermal`, `sidelobes`,
        `calibration`, `zero_point` of its errors.
    zero_point_error : float
        Error of the zero points against the truth, half of the middle 68 %, as a fraction.
    repeatability, repeatability_mean : float
        Scatter beyond the noise of constant sources above 50 σ, as a fraction: median and mean.
    raw : float
        The same before normalisation.
    bias : float
        Normalised over true flux, median above 50 σ: of the ensemble's own scale, not of the calibration's.
    n_sources, n_mosaics, n_bright : int
    """

    bins: list[dict[str, float]]
    zero_point_error: float
    repeatability: float
    repeatability_mean: float
    raw: float
    bias: float
    n_sources: int
    n_mosaics: int
    n_bright: int


def measure(tree: Path) -> Year:
    """Compare the light curves of a simulated tree with its truth.

    Parameters
    ----------
    tree : Path
        What `contimg simulate lightcurves` wrote, with its light curves made.
    """
    options = LightcurveOptions(**json.loads((tree / "truth.json").read_text()))
    simulation = Simulation(options)
    model = json.loads((tree / "variability" / "lightcurves.json").read_text())["metrics"]["error_model"]
    rows = pd.concat(
        [block.frame() for block in curves.read_blocks(tree / "variability" / "lightcurves.parquet", _READ)],
        ignore_index=True,
    )
    truth = simulation.sources.set_index("source_id")
    constant = rows[rows["used"] & ~rows["source_id"].map(truth["red"])].copy()
    noise = constant["stat_err_jy"] / constant["zero_point"]
    constant["snr"] = (constant["flux_norm"] / noise).groupby(constant["source_id"]).transform("median")
    level = constant["flux_norm"].groupby(constant["source_id"]).transform("median")
    weight = 1.0 / constant["flux_norm_err"].astype(float) ** 2
    total = weight.groupby(constant["source_id"]).transform("sum")
    mean = (constant["flux_norm"] * weight).groupby(constant["source_id"]).transform("sum") / total
    # a point is part of the mean that it is compared with
    constant["pull"] = (
        (constant["flux_norm"] - mean) / constant["flux_norm_err"] / np.sqrt(1.0 - weight / total)
    )
    quartic = (constant["beam_distance_deg"] / BEAM_RADIUS_DEG) ** 4
    terms = {
        "thermal": noise / level,
        "sidelobes": noise / level * np.sqrt(max(model["noise_factor"] ** 2 - 1.0, 0.0)),
        "calibration": np.sqrt(model["residual"] ** 2 + model["residual_edge"] ** 2 * quartic),
        "zero_point": constant["zero_point_err"] / constant["zero_point"],
    }
    for name, values in terms.items():
        constant[name] = values
    constant["relative"] = constant["flux_norm"] / level
    bins = [_bin(constant, low, high, list(terms)) for low, high in pairwise(SNR_EDGES)]
    bright = constant[constant["snr"] > 50.0]
    by_source = bright.groupby("source_id")
    thermal = by_source["thermal"].apply(lambda values: np.mean(values**2)) * model["noise_factor"] ** 2
    beyond = np.sqrt(np.maximum(by_source["relative"].apply(half_width) ** 2 - thermal, 0.0))
    raw = by_source["flux_jy"].apply(lambda values: half_width(values / values.median()))
    true = bright["source_id"].map(truth["flux_jy"])
    return Year(
        bins=[row for row in bins if row["points"] > 0],
        zero_point_error=_zero_point_error(simulation, rows[rows["normalised"]]),
        repeatability=float(beyond.median()),
        repeatability_mean=float(beyond.mean()),
        raw=float(raw.median()),
        bias=float((bright["flux_norm"] / true).groupby(bright["source_id"]).median().median()),
        n_sources=rows["source_id"].nunique(),
        n_mosaics=rows["mosaic"].nunique(),
        n_bright=bright["source_id"].nunique(),
    )


def _bin(constant: pd.DataFrame, low: float, high: float, terms: list[str]) -> dict[str, float]:
    """One bin of signal to noise."""
    rows = constant[(constant["snr"] > low) & (constant["snr"] <= high)]
    if not len(rows):
        return {"low": low, "high": high, "points": 0}
    by_source = rows.groupby("source_id")
    found = {
        "low": low,
        "high": high,
        "points": len(rows),
        "sources": by_source.ngroups,
        "pull_width": half_width(rows["pull"]),
        # of n independent normal deviates; measured from quantiles, it is 1.3 times that of the standard deviation
        "pull_width_err": 1.3 / np.sqrt(2 * len(rows)),
        "total": 100.0 * float(by_source["relative"].apply(half_width).median()),
    }
    return found | {name: 100.0 * float(by_source[name].median().median()) for name in terms}


def half_width(values: pd.Series) -> float:
    """Half of the range of the middle 68 %: the standard deviation of a normal distribution, deaf to outliers."""
    low, high = np.percentile(values, [15.865, 84.135])
    return float(high - low) / 2.0


def _zero_point_error(simulation: Simulation, rows: pd.DataFrame) -> float:
    """How far zero points are from the truth, without the constant factor of each source, which is arbitrary."""
    number = pd.Series(np.arange(len(simulation.sources)), index=simulation.sources["source_id"])
    mosaics = {f"{mosaic.date}/{mosaic.name}": mosaic for mosaic in simulation.mosaics()}
    ratio = np.empty(len(rows))
    places = rows["source_id"].map(number).to_numpy()
    for name, at in rows.groupby("mosaic").indices.items():
        mosaic: Mosaic = mosaics[name]
        true = simulation.gain(mosaic, places[at]) * simulation.offsets(mosaic.pointing)[places[at]]
        ratio[at] = rows["zero_point"].to_numpy()[at] / true
    mean = pd.Series(ratio).groupby(places).transform("median").to_numpy()
    return half_width(pd.Series(ratio / mean))


def budget_lines(year: Year) -> list[str]:
    """The error budget as lines of a table."""
    lines = [
        "| S/N | sources | scatter | thermal | sidelobes | calibration | zero point | width of pulls |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in year.bins:
        label = f"{row['low']:.0f}–{row['high']:.0f}" if np.isfinite(row["high"]) else f"> {row['low']:.0f}"
        cells = [
            f"{row[name]:.2f} %" for name in ("total", "thermal", "sidelobes", "calibration", "zero_point")
        ]
        width = f"{row['pull_width']:.3f} ± {row['pull_width_err']:.3f}"
        lines.append("| " + " | ".join([label, f"{row['sources']:.0f}", *cells, width]) + " |")
    return lines


def scorecard_lines(year: Year) -> list[str]:
    """Rows of the scorecard."""
    widths = [row["pull_width"] for row in year.bins]
    rows = [
        (
            "flux on the common scale over true flux, median, above 50 σ (with the calibrators' mean error put in)",
            f"{year.bias:.4f}",
            year.n_bright,
            "",
            "",
        ),
        (
            "repeatability beyond the noise, above 50 σ",
            _percent(year.repeatability),
            year.n_bright,
            "≤ 0.7 %",
            "1–2 %",
        ),
        ("the same before normalisation", _percent(year.raw), year.n_bright, "", ""),
        ("error of a zero point", _percent(year.zero_point_error), year.n_mosaics, "≤ 0.3 %", ""),
        (
            "width of the pulls of constant sources, in bins of S/N",
            f"{min(widths):.3f} to {max(widths):.3f}",
            len(widths),
            "1.00 ± 0.05",
            "off by 2 (VAST)",
        ),
    ]
    lines = ["| | here (of how many) | goal | published |", "|---|---|---|---|"]
    return lines + [
        f"| {what} | **{value}** ({n}) | {goal} | {published} |" for what, value, n, goal, published in rows
    ]


def section() -> list[str]:
    """The scorecard's part on light curves, from the last `python benchmarks/error_budget.py`."""
    if not RESULTS.is_file():
        return [BEGIN, END]
    year = Year(**json.loads(RESULTS.read_text()))
    head = "A simulated year of photometry (not of raw files; `python benchmarks/error_budget.py`):"
    return [BEGIN, "## Light curves", "", head, "", *scorecard_lines(year), END]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def plot(year: Year, path: Path) -> None:
    """The budget over signal to noise, and the pulls."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    x = [np.sqrt(row["low"] * min(row["high"], 4 * row["low"])) for row in year.bins]
    for name, colour in (
        ("total", "black"),
        ("thermal", "tab:blue"),
        ("sidelobes", "tab:cyan"),
        ("calibration", "tab:orange"),
        ("zero_point", "tab:green"),
    ):
        style = {"lw": 2, "marker": "o"} if name == "total" else {"lw": 1.2, "marker": "."}
        above.loglog(x, [row[name] for row in year.bins], color=colour, label=name.replace("_", " "), **style)
    above.set_ylabel("of the flux (%)")
    above.legend(fontsize=9)
    widths, errors = [row["pull_width"] for row in year.bins], [row["pull_width_err"] for row in year.bins]
    below.errorbar(x, widths, errors, fmt="o", color="black")
    below.axhspan(0.95, 1.05, color="0.9", zorder=0)
    below.axhline(1.0, color="0.6", lw=0.8)
    below.set_ylim(0.85, 1.15)
    below.set_ylabel("width of pulls")
    below.set_xlabel("signal to noise of a source")
    figure.savefig(path, dpi=110)


def as_dict(year: Year) -> dict[str, object]:
    """Plain values, for a results file."""
    return {item.name: getattr(year, item.name) for item in fields(year)}
