"""The numbers by which a release is judged, from tables of what was measured and what was true."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchlib.ideal import natural_jy
from benchlib.skies import Night
from contimg.core.products import read_json
from contimg.qa.truth import PB_MIN, SIGMA, compare_product, quality, read_product
from contimg.simulate.truth import Truth
from contimg.sky.measure import PixelBeam, find

BRIGHT_SIGMA = 50.0
FOUND_SIGMA = 5.0
MATCH_BEAMS = 1.0
_DRAWS = 300
_COLUMNS = {
    "fluxes": ("name", "flux_jy", "ratio", "ratio_scaled", "snr", "offset_major_beam", "offset_minor_beam"),
    "found": ("snr", "real"),
    "expected": ("name", "found"),
    "tiles": ("tile", "rms_jy", "thermal_jy", "ideal_jy", "reason"),
}
"""Of each table, also of one without rows: a night that gave nothing is a line of the scorecard."""


@dataclass(frozen=True)
class Measured:
    """What all nights gave; every table has the columns `night` and `epoch`.

    Attributes
    ----------
    fluxes : DataFrame
        `contimg.qa.truth.compare` of each mosaic: one row a true source above 10 σ; and `ratio_scaled`, the ratio with
        the error of the calibrator's catalogue flux, which every flux inherits, taken out.
    found : DataFrame
        One row a source found blindly above 5 σ: `snr`, `real` (a true source is within a beam).
    expected : DataFrame
        One row a true source above 10 σ: `found` (something was, within a beam).
    tiles : DataFrame
        `tile, rms_jy, thermal_jy, ideal_jy`, and `reason` (None: the tile is good). `thermal_jy` is what the pipeline
        says of its weights, `ideal_jy` what true weights of all clean data give (`benchlib.ideal`) in the same image.
    """

    fluxes: pd.DataFrame
    found: pd.DataFrame
    expected: pd.DataFrame
    tiles: pd.DataFrame


@dataclass(frozen=True)
class Number:
    """One line of the scorecard; `value` and `error` in the unit that `form` prints."""

    what: str
    value: float
    error: float
    count: int
    form: str
    goal: str
    published: str

    def cells(self) -> list[str]:
        """The line's cells."""
        return [self.what, self.shown(), self.goal, self.published]

    def shown(self) -> str:
        """Value, error and count."""
        if not np.isfinite(self.value):
            return f"**not measured** ({self.count})"
        return f"**{self.form % self.value} ± {self.form % self.error}** ({self.count})"


def measure_night(truth: Truth, products: Path, night: Night, epoch: int) -> Measured:
    """Measure the mosaic and the tiles of one simulated day."""
    label = {"night": night.name, "epoch": epoch}
    tables: dict[str, list[pd.DataFrame]] = {"fluxes": [], "found": [], "expected": []}
    for status in sorted(products.glob("mosaics/*/*/status.json")):
        if read_json(status)["status"] == "ok":
            fluxes = compare_product(status.parent, truth.sources)
            fluxes["ratio_scaled"] = fluxes["ratio"] / (1 + night.calibrator_error)
            found, expected = blind(status.parent, truth, fluxes)
            for name, table in (("fluxes", fluxes), ("found", found), ("expected", expected)):
                tables[name].append(table.assign(**label))
    tiles = [
        {"tile": status.parent.name, **_tile(read_json(status), truth, status.parent.name), **label}
        for status in sorted(products.glob("images/*/*/status.json"))
    ]
    measured = {name: _joined(name, found) for name, found in tables.items()}
    return Measured(**measured, tiles=_joined("tiles", [pd.DataFrame(tiles)]))


def _tile(record: dict[str, Any], truth: Truth, name: str) -> dict[str, Any]:
    metrics = record["metrics"]
    weighting = metrics.get("noise_over_natural", np.nan)
    return {
        "rms_jy": metrics.get("rms_jy", np.nan),
        "thermal_jy": metrics.get("thermal_from_weights_jy", np.nan),
        "ideal_jy": weighting * natural_jy(truth, name) if truth.tiles else np.nan,
        "reason": record["reason"],
    }


def _joined(kind: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    there = [table for table in tables if len(table)]
    if not there:
        return pd.DataFrame(columns=[*_COLUMNS[kind], "night", "epoch"])
    return pd.concat(there, ignore_index=True)


def together(parts: Sequence[Measured]) -> Measured:
    """All days in one."""
    return Measured(**{kind: _joined(kind, [getattr(part, kind) for part in parts]) for kind in _COLUMNS})


def blind(directory: Path, truth: Truth, bright: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is found in a mosaic without knowing the truth, and which of the `bright` true sources are.

    Where the rms is more than 1 / `contimg.qa.truth.PB_MIN` of its best, nothing counts.
    """
    from astropy.wcs import WCS

    image, header, rms, pb = read_product(directory)
    with np.errstate(invalid="ignore"):
        good = quality(rms, pb) >= PB_MIN
    found = find(np.where(good, image, np.nan), header, rms, FOUND_SIGMA)
    wcs, beam = WCS(header).celestial, PixelBeam.from_header(header)
    sky = pd.DataFrame([vars(source) for source in truth.sources])
    true_x, true_y = wcs.all_world2pix(sky["ra_deg"], sky["dec_deg"], 0)
    known = sky.set_index("name").index.get_indexer(bright["name"])
    real = _near(beam, found["x_pix"], found["y_pix"], true_x, true_y)
    seen = _near(beam, true_x[known], true_y[known], found["x_pix"], found["y_pix"])
    return pd.DataFrame({"snr": found["snr"], "real": real}), pd.DataFrame(
        {"name": bright["name"], "found": seen}
    )


def _near(beam: PixelBeam, x: Any, y: Any, other_x: Any, other_y: Any) -> np.ndarray:
    """Which places have one of the others within `MATCH_BEAMS` along the beam's axes."""
    x, y, other_x, other_y = (np.asarray(values, dtype=float) for values in (x, y, other_x, other_y))
    major, minor = beam.offsets(x[:, None] - other_x, y[:, None] - other_y)
    return np.asarray((np.hypot(major, minor) <= MATCH_BEAMS).any(axis=1))


def numbers(measured: Measured) -> list[Number]:
    """The lines of the scorecard."""
    fluxes, tiles = measured.fluxes, measured.tiles
    bright = fluxes[fluxes["snr"] > BRIGHT_SIGMA]
    offset = np.hypot(bright["offset_major_beam"], bright["offset_minor_beam"]).to_numpy(dtype=float)
    pairs = repeats(bright)
    good = tiles[tiles["reason"].isna()]
    over_thermal, over_ideal = (
        (good["rms_jy"] / good[column]).to_numpy(dtype=float) for column in ("thermal_jy", "ideal_jy")
    )
    strong = measured.found[measured.found["snr"] > SIGMA]
    ratios, above, scaled = (
        column.to_numpy(dtype=float)
        for column in (bright["ratio"], fluxes["ratio_scaled"], bright["ratio_scaled"])
    )
    complete, real = measured.expected["found"].to_numpy(), measured.found["real"].to_numpy()
    places = "3–5″ rms; 1/30 beam (LoTSS DR2)"
    return [
        _drawn("flux over true flux, median, above 50 σ", ratios, np.median, "%.4f", "1.00 ± 0.02", "0.93"),
        _drawn(
            "the same, the calibrator's catalogue error taken out",
            scaled,
            np.median,
            "%.4f",
            "1.000 ± 0.003",
            "",
        ),
        _drawn("scatter of that", scaled, np.std, "%.4f", "≤ 0.01", "3 % (VLASS SE)"),
        _drawn("flux above 10 σ, that error taken out, median", above, np.median, "%.4f", "", ""),
        _drawn("from day to day, one flux, above 50 σ, rms", pairs, _rms_of_one, "%.4f", "≤ 0.015", ""),
        _drawn(
            "offset from the true place, median, above 50 σ, beams",
            offset,
            np.median,
            "%.4f",
            "≤ 0.02",
            places,
        ),
        _share("complete at 10 σ", complete, "≥ 95 %", "45 % of ≥ 50 mJy; 95 % (RACS-mid)"),
        _share("reliable above 10 σ", strong["real"].to_numpy(), "≥ 99.5 %", "≥ 99 %"),
        _share("reliable above 5 σ", real, "", ""),
        _share("tiles with an image", tiles["reason"].isna().to_numpy(), "", ""),
        _drawn(
            "rms of a tile, median, mJy",
            1e3 * good["rms_jy"].to_numpy(dtype=float),
            np.median,
            "%.2f",
            "",
            "",
        ),
        _drawn("rms of a tile over the ideal, median", over_ideal, np.median, "%.3f", "≤ 1.05", ""),
        _drawn("rms of a tile over thermal, median", over_thermal, np.median, "%.3f", "", "25–60"),
    ]


def repeats(fluxes: pd.DataFrame) -> np.ndarray:
    """Logarithm of the flux ratio of the same source on two days, all pairs."""
    pairs = []
    for _, one in fluxes.groupby(["night", "name"]):
        values = np.log(one.groupby("epoch")["flux_jy"].mean().to_numpy())
        pairs += [values[j] - values[i] for i in range(len(values)) for j in range(i + 1, len(values))]
    return np.array(pairs)


def _rms_of_one(log_ratio: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(log_ratio**2, axis=axis) / 2))


def _drawn(
    what: str,
    values: np.ndarray,
    statistic: Callable[[np.ndarray], Any],
    form: str,
    goal: str,
    published: str,
) -> Number:
    """A statistic with its standard error, by drawing with replacement."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Number(what, np.nan, np.nan, 0, form, goal, published)
    drawn = np.random.default_rng(1).choice(values, (_DRAWS, len(values)))
    spread = np.std(statistic(drawn, axis=-1))
    return Number(what, float(statistic(values, axis=-1)), float(spread), len(values), form, goal, published)


def _share(what: str, hits: np.ndarray, goal: str, published: str) -> Number:
    """A share in per cent with half the width of its 68 % interval (Wilson 1927, JASA 22, 209)."""
    n = len(hits)
    if n == 0:
        return Number(what, np.nan, np.nan, 0, "%.1f %%", goal, published)
    share = float(np.mean(hits))
    half = np.sqrt(share * (1 - share) / n + 1 / (4 * n**2)) / (1 + 1 / n)
    return Number(what, 100 * share, 100 * float(half), n, "%.1f %%", goal, published)


def compared(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What two pipelines' lines showed, by their names, beside each other."""
    lines = ["| | before | after |", "|---|---|---|"]
    return lines + [
        f"| {what} | {before.get(what, 'not measured')} | {shown} |" for what, shown in after.items()
    ]


def table(measured: Measured) -> list[str]:
    """The numbers as lines of a table."""
    lines = ["| | here (of how many) | goal | published |", "|---|---|---|---|"]
    return lines + ["| " + " | ".join(number.cells()) + " |" for number in numbers(measured)]
