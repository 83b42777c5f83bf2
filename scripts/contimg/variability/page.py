"""The page of all sources: the η–V plane, what varies, how good the scale is. It needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core.html import HOME, Table, render
from contimg.variability import curves

SCRIPT = Path(__file__).with_name("page.js")
SHOWN = 60
"""Sources whose light curves the page holds: the most variable."""
_POINTS = 300
REPEATABLE_SNR = 50.0


def stability(sources: pd.DataFrame) -> dict[str, float | int | None]:
    """How well bright sources repeat: the median source's scatter beyond the noise, and of how many."""
    bright = sources[(sources["snr_median"] > REPEATABLE_SNR) & (sources["n_epochs"] >= 4)]
    found = float(bright["repeatability"].median()) if len(bright) else None
    return {"repeatability": found, "n_bright": len(bright), "above_snr": REPEATABLE_SNR}


def page(sources: pd.DataFrame, epochs: pd.DataFrame, folder: Path, facts: Mapping[str, Any]) -> str:
    """Render the page.

    Parameters
    ----------
    sources : DataFrame
        `variability/sources.parquet`.
    epochs : DataFrame
        `variability/epochs.parquet`.
    folder : Path
        `variability/lightcurves.parquet`.
    facts : mapping
        `threshold_sigma`, `error_model`, `made`, `versions`.
    """
    ranked = sources.assign(rank=sources[["eta_sigma", "v_sigma"]].min(axis=1)).sort_values(
        "rank", ascending=False
    )
    varying = ranked[ranked["variable"].astype(bool)]
    top = ranked["source_id"].head(SHOWN).tolist()
    steady = stability(sources)
    return render(
        "variability/templates/variability.html",
        title="Variability",
        above=[HOME],
        n_sources=len(sources),
        n_epochs=len(epochs),
        n_scaled=int(epochs["normalised"].sum()) if len(epochs) else 0,
        n_varying=len(varying),
        repeatability=_percent(steady["repeatability"]),
        n_bright=steady["n_bright"],
        bright_snr=REPEATABLE_SNR,
        zero_point=_percent(_median(epochs, "zero_point_err")),
        references=_median(epochs, "n_references") or 0,
        errors=_errors(facts["error_model"]),
        threshold=facts["threshold_sigma"],
        varying=_table(varying.head(SHOWN)),
        scales=_zero_points(epochs),
        left_out=_left_out(epochs),
        facts=facts,
        data=_data(sources, folder, top, facts["threshold_sigma"]),
        script=SCRIPT.read_text(),
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None or not np.isfinite(value) else f"{100.0 * value:.2f} %"


def _median(table: pd.DataFrame, column: str) -> float | None:
    values = table.loc[table["normalised"].astype(bool), column].to_numpy(dtype=float)
    return float(np.median(values)) if len(values) else None


def _errors(model: Mapping[str, float]) -> str:
    if not model["n_sources"]:
        return "as stated by the photometry: too few sources and epochs to check them"
    return (
        f"noise × {model['noise_factor']:.2f}; of the flux {_percent(model['residual'])} in the beam's centre, and "
        f"{_percent(model['residual_edge'])} more at its half-power radius (from {model['n_sources']:.0f} sources)"
    )


def _table(rows: pd.DataFrame) -> Table:
    heads = ("source", "flux (mJy)", "S/N", "epochs", "η", "V", "η (σ)", "V (σ)", "V_s", "m")
    shown = rows.assign(median_flux_jy=1e3 * rows["median_flux_jy"])
    formats = {
        "source_id": "{}",
        "median_flux_jy": "{:.3g}",
        "snr_median": "{:.0f}",
        "n_epochs": "{}",
        "eta": "{:.2f}",
        "v": "{:.3f}",
        "eta_sigma": "{:.1f}",
        "v_sigma": "{:.1f}",
        "vs_max": "{:.1f}",
        "m_max": "{:.2f}",
    }
    columns = [[form.format(value) for value in shown[name].tolist()] for name, form in formats.items()]
    return Table(heads, list(zip(*columns, strict=True)), range(1, len(heads)))


def _zero_points(epochs: pd.DataFrame) -> dict[str, Any] | None:
    """Zero points over time, as places in a chart of `width` times `height`; None where there is none."""
    good = epochs[epochs["normalised"].astype(bool)] if len(epochs) else epochs
    if not len(good):
        return None
    good = good.iloc[:: max(len(good) // 2000, 1)]
    time, value = good["mjd"].to_numpy(dtype=float), good["zero_point"].to_numpy(dtype=float)
    width, height = 900, 180
    low, high = min(value.min(), 0.95), max(value.max(), 1.05)
    x = 50 + (time - time.min()) / max(np.ptp(time), 1e-9) * (width - 60)
    y = height - 24 - (value - low) / (high - low) * (height - 34)
    return {
        "width": width,
        "height": height,
        "one": height - 24 - (1.0 - low) / (high - low) * (height - 34),
        "points": list(zip(x.tolist(), y.tolist(), strict=True)),
        "values": (float(value.max()), float(value.min())),
        "times": (float(time.min()), float(time.max())),
    }


def _left_out(epochs: pd.DataFrame) -> Table:
    """The mosaics that are not on the common scale."""
    bad = epochs[~epochs["normalised"].astype(bool)] if len(epochs) else epochs
    rows = list(zip(bad["mosaic"], bad["rows"], bad["reason"], strict=True)) if len(bad) else []
    return Table(("mosaic", "sources", "why"), rows, (1,))


def _data(sources: pd.DataFrame, folder: Path, top: list[str], threshold: float) -> dict[str, Any]:
    """What the script draws, as columns; NaN becomes None."""

    def column(name: str, digits: int, *, log: bool = False) -> list[float | None]:
        values = sources[name].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values) if log else values
        return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]

    pairs = zip(column("vs_max", 2), column("m_max", 3), strict=True)
    return {
        "name": sources["source_id"].tolist(),
        "e": column("eta", 3, log=True),
        "v": column("v", 3, log=True),
        "es": column("eta_sigma", 2),
        "vs": column("v_sigma", 2),
        "snr": [value or 0.0 for value in column("snr_median", 1)],
        "flux": [value or 0.0 for value in column("median_flux_jy", 6)],
        "n": sources["n_epochs"].astype(int).tolist(),
        "var": sources["variable"].astype(int).tolist(),
        "pair": [pair if None not in pair else None for pair in pairs],
        "threshold": threshold,
        "first": top[0] if top else "",
        "curves": {name: _curve(folder, name) for name in top},
    }


def _curve(folder: Path, source_id: str) -> dict[str, list[float]]:
    """The points of a source that count, thinned: MJD, mJy and error."""
    rows = curves.read_source(folder, source_id, ["mjd", "flux_norm", "flux_norm_err", "used"])
    rows = rows[rows["used"]]
    rows = rows.iloc[:: max(len(rows) // _POINTS, 1)]
    return {
        "t": rows["mjd"].round(2).tolist(),
        "f": (1e3 * rows["flux_norm"].astype(float)).round(3).tolist(),
        "e": (1e3 * rows["flux_norm_err"].astype(float)).round(3).tolist(),
    }
