"""The page of all sources: the η–V plane, what varies, how good the scale is. It needs no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core.html import document, folded, rows_table
from contimg.variability import curves

SCRIPT = Path(__file__).with_name("page.js")
SHOWN = 60
"""Sources whose light curves the page holds: the most variable."""
_POINTS = 300
REPEATABLE_SNR = 50.0

_STYLE = """<style>body{max-width:76rem}.plane{display:flex;flex-wrap:wrap;gap:1rem}
#plane{flex:3 1 26rem;height:30rem;border:1px solid #e7eaef;border-radius:.4rem;cursor:crosshair;min-width:0}
#detail{flex:2 1 18rem}.tools{display:flex;flex-wrap:wrap;gap:.9rem;align-items:center;margin:.5rem 0;font-size:.9rem}
.tools input[type=search]{width:13rem}</style>"""


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
    good = int(epochs["normalised"].sum()) if len(epochs) else 0
    steady = stability(sources)
    body = [
        _STYLE,
        "<h1>Variability</h1>",
        f'<p class="verdict yes">{len(sources)} sources, {len(epochs)} mosaics, {good} of them on the common scale; '
        f"{len(varying)} sources vary</p>",
        "<dl>",
        f"<dt>Repeatability</dt><dd>{_percent(steady['repeatability'])} beyond the noise, the median of "
        f"{steady['n_bright']} sources above {REPEATABLE_SNR:.0f} σ</dd>",
        f"<dt>Zero points</dt><dd>{_percent(_median(epochs, 'zero_point_err'))} error of the median mosaic, from "
        f"{_median(epochs, 'n_references') or 0:.0f} references</dd>",
        f"<dt>Errors</dt><dd>{_errors(facts['error_model'])}</dd>",
        "</dl>",
        _plane(facts["threshold_sigma"]),
        "<h2>What varies</h2>",
        _table(varying.head(SHOWN)) if len(varying) else "<p>Nothing above the thresholds.</p>",
        "<h2>Flux scale of the mosaics</h2>",
        _zero_points(epochs),
        _left_out(epochs),
        f"<p class=small>Made {escape(facts['made'])}, contimg {escape(facts['versions'].get('contimg', ''))}. "
        "Every column: <code>variability/sources.parquet</code>.</p>",
        f'<script type="application/json" id="data">{_data(sources, folder, top, facts["threshold_sigma"])}</script>',
        f"<script>{SCRIPT.read_text()}</script>",
    ]
    return document("Variability", body)


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


def _plane(threshold: float) -> str:
    return (
        "<h2>η and V</h2>"
        '<div class="tools"><label>Axes <select id="axes"><option value="plain">η and V</option>'
        f'<option value="sigma">above the population (lines: {threshold:g} σ)</option></select></label>'
        '<label>Signal to noise above <input id="snr" type="number" min="0" step="5" value="0" style="width:5rem">'
        '</label><label><input id="only" type="checkbox"> only what varies</label>'
        '<input id="find" type="search" placeholder="find a source"><span id="count" class="small"></span></div>'
        '<div class="plane"><canvas id="plane"></canvas><div id="detail">'
        "<p>Touch a dot to see its source. Wheel: zoom; drag: move; twice: all of it.</p></div></div>"
        '<p class="small">Colour: signal to noise, from blue (5) to orange (500). Large: variable.</p>'
    )


def _table(rows: pd.DataFrame) -> str:
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
    html = rows_table(heads, list(zip(*columns, strict=True)), range(1, len(heads)))
    for name in rows["source_id"]:
        html = html.replace(f"<td>{name}</td>", f'<td><a href="#" data-source="{name}">{name}</a></td>', 1)
    return html


def _zero_points(epochs: pd.DataFrame) -> str:
    """Zero points over time, drawn."""
    good = epochs[epochs["normalised"].astype(bool)] if len(epochs) else epochs
    if not len(good):
        return "<p>No mosaic is on the common scale.</p>"
    good = good.iloc[:: max(len(good) // 2000, 1)]
    time, value = good["mjd"].to_numpy(dtype=float), good["zero_point"].to_numpy(dtype=float)
    width, height = 900, 180
    low, high = min(value.min(), 0.95), max(value.max(), 1.05)
    x = 50 + (time - time.min()) / max(np.ptp(time), 1e-9) * (width - 60)
    y = height - 24 - (value - low) / (high - low) * (height - 34)
    one = height - 24 - (1.0 - low) / (high - low) * (height - 34)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.6"/>' for a, b in zip(x, y, strict=True))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="100%" style="max-width:none" font-size="12" fill="#667">'
        f'<path d="M50 {one:.1f}H{width - 10}" stroke="#c9ced6"/><g fill="#2457a6" fill-opacity=".5">{dots}</g>'
        f'<text x="44" y="{y.min() + 4:.0f}" text-anchor="end">{value.max():.3f}</text>'
        f'<text x="44" y="{y.max() + 4:.0f}" text-anchor="end">{value.min():.3f}</text>'
        f'<text x="50" y="{height - 6}">MJD {time.min():.0f}</text>'
        f'<text x="{width - 10}" y="{height - 6}" text-anchor="end">{time.max():.0f}</text></svg>'
    )


def _left_out(epochs: pd.DataFrame) -> str:
    bad = epochs[~epochs["normalised"].astype(bool)] if len(epochs) else epochs
    if not len(bad):
        return ""
    rows = list(zip(bad["mosaic"], bad["rows"], bad["reason"], strict=True))
    return folded(
        f"{len(bad)} mosaics that are not on the common scale",
        rows_table(("mosaic", "sources", "why"), rows[:500], (1,)),
    )


def _data(sources: pd.DataFrame, folder: Path, top: list[str], threshold: float) -> str:
    """What the script draws, as JSON columns; NaN becomes null."""

    def column(name: str, digits: int, *, log: bool = False) -> list[float | None]:
        values = sources[name].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values) if log else values
        return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]

    pairs = zip(column("vs_max", 2), column("m_max", 3), strict=True)
    data = {
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
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


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
