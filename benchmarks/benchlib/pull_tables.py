"""Pulls as tables: widths by true S/N and response, the systematic error of bright sources, means of faint ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from contimg.drift.systematic import GAINS_ERROR

BEGIN, END = "<!-- pulls -->", "<!-- /pulls -->"
"""Of the tables in docs/photometry.md."""
SNR_EDGES = (5.0, 7.0, 10.0, 20.0, 50.0, 200.0, np.inf)
RESPONSE_EDGES = (0.3, 0.5, 0.75, 1.0)
LARGEST = 3.0
"""No pull counts for more in a width; of a Gaussian's that takes 0.25 %, which is given back."""
OF_GAUSSIAN = 0.995
"""Mean of x², of which none counts for more than 9: 1 − 2 (3 φ(3) − 8 Q(3))."""
GOAL = 0.1
SURE = 2.0
"""A width is off where it differs from 1 by more than `GOAL`, and that by more than so many of its errors."""


def floor_of(rows: pd.DataFrame, least_snr: float = 50.0) -> float:
    """The relative error beside that of noise with which the pulls of bright sources have width 1; 0 where noise alone
    makes it less.
    """
    bright = rows[rows["true_jy"] > least_snr * rows["stat_err_jy"]]
    if bright.empty:
        return float("nan")
    off = (bright["flux_jy"] / bright["true_jy"] - 1.0).to_numpy() ** 2
    noise = (bright["stat_err_jy"] / bright["true_jy"]).to_numpy() ** 2
    low, high = 0.0, 0.2
    for _ in range(40):
        middle = 0.5 * (low + high)
        if width(np.sqrt(off / (noise + middle**2))) > 1.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@dataclass(frozen=True)
class Bin:
    """Pulls of one bin: how many, of how many sources, mean ratio, width from noise alone and from all errors."""

    snr: tuple[float, float]
    response: tuple[float, float]
    count: int
    sources: int
    ratio: float
    ratio_err: float
    width_noise: float
    width: float

    @property
    def width_err(self) -> float:
        """What chance makes of a width of 1: the error of an rms of `sources` values. Two tiles have much the same
        sidelobes at a source, and its two pulls count for one (they are correlated by 0.1 to 0.7).
        """
        return 1.0 / np.sqrt(2.0 * self.sources) if self.sources else float("nan")

    @property
    def is_off(self) -> bool:
        """Whether the width is not `GOAL` of 1, and chance is not why."""
        return bool(abs(self.width - 1.0) > max(GOAL, SURE * self.width_err))


def width(pulls: np.ndarray) -> float:
    """Rms of pulls about 0, none larger than `LARGEST`: biases count, single outliers do not much. NaN of none."""
    return (
        float(np.sqrt(np.mean(np.minimum(pulls**2, LARGEST**2)) / OF_GAUSSIAN))
        if len(pulls)
        else float("nan")
    )


def binned(rows: pd.DataFrame, relative: np.ndarray) -> list[Bin]:
    """Pulls in bins of true S/N and of response, and of S/N over all responses.

    Parameters
    ----------
    rows : DataFrame
        Of one estimator.
    relative : (n,) float
        Systematic error of each, of the flux.
    """
    snr = (rows["true_jy"] / rows["stat_err_jy"]).to_numpy()
    noise = rows["stat_err_jy"].to_numpy()
    total = np.hypot(noise, relative * rows["flux_jy"].to_numpy())
    off = (rows["flux_jy"] - rows["true_jy"]).to_numpy()
    response = rows["response"].to_numpy()
    responses = [(RESPONSE_EDGES[0], 1.1), *zip(RESPONSE_EDGES, (*RESPONSE_EDGES[1:-1], 1.1), strict=False)]
    found = []
    for low, high in pairwise(SNR_EDGES):
        for near, far in responses:
            here = (snr >= low) & (snr < high) & (response >= near) & (response < far)
            weight = 1.0 / total[here] ** 2 * rows["true_jy"].to_numpy()[here] ** 2
            ratio = off[here] / rows["true_jy"].to_numpy()[here] + 1.0
            found.append(
                Bin(
                    (low, high),
                    (near, far),
                    int(here.sum()),
                    len(rows.loc[here, ["night", "source"]].drop_duplicates()),
                    float(np.average(ratio, weights=weight)) if here.any() else float("nan"),
                    float(1.0 / np.sqrt(weight.sum())) if here.any() else float("nan"),
                    width(off[here] / noise[here]),
                    width(off[here] / total[here]),
                )
            )
    return found


def table(bins: Sequence[Bin]) -> list[str]:
    """Bins as lines of a table: a row a bin of S/N, a column a bin of response; bold: `Bin.is_off`."""
    responses = list(dict.fromkeys(one.response for one in bins))
    heads = [f"{near:g}–{min(far, 1.0):g}" for near, far in responses[1:]]
    lines = [
        "| true S/N | fluxes | mean of flux over truth | width, noise alone | with the systematic error | "
        + " | ".join(f"response {head}" for head in heads)
        + " |",
        "|---" * (5 + len(heads)) + "|",
    ]
    for snr in dict.fromkeys(one.snr for one in bins):
        of_snr = [one for one in bins if one.snr == snr]
        whole = of_snr[0]
        if not whole.count:
            continue
        name = f"{snr[0]:g}–{snr[1]:g}" if np.isfinite(snr[1]) else f"> {snr[0]:g}"
        cells = [f"{_width(one)} ({one.count})" if one.count else "–" for one in of_snr[1:]]
        lines.append(
            f"| {name} | {whole.count} | {whole.ratio:.3f} ± {whole.ratio_err:.3f} | {whole.width_noise:.2f} | "
            f"{_width(whole)} | " + " | ".join(cells) + " |"
        )
    return lines


def _width(one: Bin) -> str:
    words = f"{one.width:.2f} ± {one.width_err:.2f}"
    return f"**{words}**" if one.is_off else words


def verdict(bins: Sequence[Bin]) -> str:
    """How many widths over all responses are off, and χ² of them all against 1."""
    whole = [
        one
        for one in bins
        if one.response[0] == RESPONSE_EDGES[0] and one.response[1] > 1 and one.sources > 1
    ]
    chi2 = sum((one.width - 1.0) ** 2 / one.width_err**2 for one in whole)
    off = sum(one.is_off for one in whole)
    return (
        f"{off} of {len(whole)} widths off by more than {GOAL:g} and {SURE:g} of their errors; χ² {chi2:.1f}"
    )


HEADS = {
    "visibilities": "**Fitted to the visibilities** of each tile (what the search found, above 7 σ)",
    "mosaic": "**Image**: forced photometry of the mosaics at the true places",
    "tile": "**One tile's image**: the same in the tiles",
}


def sections(rows: pd.DataFrame) -> list[str]:
    """The tables of all estimators, with their systematic errors, as lines of a page."""
    lines: list[str] = []
    for estimator, head in HEADS.items():
        some = rows[rows["estimator"] == estimator].reset_index(drop=True)
        bins = binned(some, np.full(len(some), GAINS_ERROR))
        found = floor_of(some)
        lines += [
            "",
            f"{head}; above 50 σ, noise and {100 * found:.1f} % make the width 1"
            f" (taken: {100 * GAINS_ERROR:.1f} %). {verdict(bins)}:",
            "",
            *table(bins),
        ]
    return lines


def faint(rows: pd.DataFrame) -> list[str]:
    """What becomes of faint sources, fitted or not, in the images of tiles: lines of a table."""
    lines = ["| true S/N in the tile | all | not fitted | fitted |", "|---|---|---|---|"]
    some = rows[rows["estimator"] == "tile"]
    snr = some["true_jy"] / some["stat_err_jy"]
    for low, high in pairwise(SNR_EDGES[:5]):
        here = some[(snr >= low) & (snr < high)]
        cells = [_mean(part) for part in (here, here[~here["fitted"]], here[here["fitted"]])]
        lines.append(f"| {low:g}–{high:g} | " + " | ".join(cells) + " |")
    return lines


def _mean(rows: pd.DataFrame) -> str:
    """Weighted mean of flux over truth, its error, and of how many."""
    if rows.empty:
        return "–"
    weight = ((rows["true_jy"] / rows["stat_err_jy"]) ** 2).to_numpy()
    mean = np.average(rows["flux_jy"] / rows["true_jy"], weights=weight)
    return f"{mean:.3f} ± {1 / np.sqrt(weight.sum()):.3f} ({len(rows)})"


def page(rows: pd.DataFrame) -> list[str]:
    """All tables."""
    heard = f"{rows['night'].nunique()} nights, {rows['source'].nunique()} sources."
    return [
        heard,
        *sections(rows),
        "",
        "**Faint sources** in the images of tiles, flux over truth:",
        "",
        *faint(rows),
        "",
    ]


def render(page: Path, sections: Iterable[str]) -> None:
    """Write the tables between their marks in the page."""
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text("\n".join([f"{before}{BEGIN}", *sections, f"{END}{after}"]))
