"""Pulls as tables: widths by true S/N and response, the systematic error of bright sources, means of faint ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from contimg.core.robust import mad_sigma
from contimg.drift.systematic import GAINS_ERROR

BEGIN, END = "<!-- pulls -->", "<!-- /pulls -->"
"""Of the tables in docs/photometry.md."""
SNR_EDGES = (5.0, 7.0, 10.0, 20.0, 50.0, 200.0, np.inf)
RESPONSE_EDGES = (0.3, 0.5, 0.75, 1.0)


def floor_of(rows: pd.DataFrame, least_snr: float = 50.0) -> float:
    """The relative error beside that of noise with which the pulls of bright sources have width 1.

    Robust: the median of (x − 1)² / (σ² + f²) is that of χ² with one degree of freedom, 0.455; f = 0 where it already
    is below.
    """
    bright = rows[rows["true_jy"] > least_snr * rows["stat_err_jy"]]
    if bright.empty:
        return float("nan")
    off = (bright["flux_jy"] / bright["true_jy"] - 1.0).to_numpy() ** 2
    noise = (bright["stat_err_jy"] / bright["true_jy"]).to_numpy() ** 2
    low, high = 0.0, 0.2
    for _ in range(40):
        middle = 0.5 * (low + high)
        if np.median(off / (noise + middle**2)) > 0.4549:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@dataclass(frozen=True)
class Bin:
    """Pulls of one bin: how many, median ratio, median pull, width from noise alone and with the systematic error."""

    snr: tuple[float, float]
    response: tuple[float, float]
    count: int
    ratio: float
    ratio_err: float
    width_noise: float
    width: float

    @property
    def width_err(self) -> float:
        """Standard error of a width from the median absolute deviation."""
        return 1.17 / np.sqrt(2.0 * self.count) * self.width if self.count else float("nan")


def width(pulls: np.ndarray) -> float:
    """Width of pulls about 0, as a Gaussian's from the median of their moduli: biases count, single outliers do not."""
    return mad_sigma(pulls, about=0.0)


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
                    float(np.average(ratio, weights=weight)) if here.any() else float("nan"),
                    float(1.0 / np.sqrt(weight.sum())) if here.any() else float("nan"),
                    width(off[here] / noise[here]),
                    width(off[here] / total[here]),
                )
            )
    return found


def table(bins: Sequence[Bin]) -> list[str]:
    """Bins as lines of a table: a row a bin of S/N, a column a bin of response."""
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
        cells = [
            f"{one.width:.2f} ± {one.width_err:.2f} ({one.count})" if one.count else "–" for one in of_snr[1:]
        ]
        lines.append(
            f"| {name} | {whole.count} | {whole.ratio:.3f} ± {whole.ratio_err:.3f} | {whole.width_noise:.2f} | "
            f"{whole.width:.2f} ± {whole.width_err:.2f} | " + " | ".join(cells) + " |"
        )
    return lines


IMAGE_ERROR = 0.008
FLOORS = {"visibilities": GAINS_ERROR, "mosaic": IMAGE_ERROR, "tile": IMAGE_ERROR}
"""Systematic errors with which the tables are made: what nights gave for fluxes above 50 σ, rounded up. The beam is the
simulation's own: its width adds nothing here."""
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
        bins = binned(some, np.full(len(some), FLOORS[estimator]))
        found = floor_of(some)
        lines += [
            "",
            f"{head}; above 50 σ, noise and {100 * found:.1f} % make the width 1"
            f" (taken: {100 * FLOORS[estimator]:.1f} %):",
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
