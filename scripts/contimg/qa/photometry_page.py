"""Photometry on the night's page: what was measured, and how stable the sources are that set the flux scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core.html import Table
from contimg.qa.plots import as_png, canvas

REFERENCE_SNR = 20.0
"""Sources above this, without a flag, are references."""
_COLUMNS = ("source_id", "mjd", "snr", "flux_jy", "stat_err_jy", "flux_vis_jy", "flags")
_MARKS = ("#2457a6", "#d8973c", "#3aa657", "#7b3fa0", "#d9534f", "#5b8a8a")


def tables(tree: Path, date: str, photometry: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Read what was measured of a date's mosaics, in order of time; mosaics without a row are left out.

    Parameters
    ----------
    tree : Path
        Products tree.
    date : str
        UTC date.
    photometry : sequence of mapping
        Of `contimg.qa.night.gather`: `name` and `reason`.

    Returns
    -------
    dict of DataFrame
        By mosaic: `source_id, mjd, snr, flux_jy, stat_err_jy, flux_vis_jy, flags`.
    """
    found = {}
    for one in photometry:
        paths = [tree / "photometry" / day / f"{one['name']}.parquet" for day in (date, f"{date}b")]
        there = [path for path in paths if path.is_file()]
        if one["reason"] is None and there:
            table = pd.read_parquet(there[0], columns=list(_COLUMNS))
            if len(table):
                found[str(one["name"])] = table
    return dict(sorted(found.items(), key=lambda item: float(item[1]["mjd"].median())))


def references(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare the references of a night's mosaics with each other.

    Parameters
    ----------
    measured : mapping of DataFrame
        From `tables`.

    Returns
    -------
    DataFrame
        A row a reference and mosaic, where it is in two at least: `mosaic, source_id, snr`, `ratio` (its flux over the
        mean of its mosaics), `error` (of the ratio, from noise).
    """
    parts = [
        table[(table["snr"] >= REFERENCE_SNR) & (table["flags"] == 0)].assign(mosaic=name)
        for name, table in measured.items()
    ]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_COLUMNS, "mosaic"])
    of_source = rows.groupby("source_id")["flux_jy"]
    rows = rows.assign(mean=of_source.transform("mean"), n=of_source.transform("count"))
    rows = rows[rows["n"] >= 2]
    return pd.DataFrame(
        {
            "mosaic": rows["mosaic"],
            "source_id": rows["source_id"],
            "snr": rows["snr"],
            "ratio": rows["flux_jy"] / rows["mean"],
            "error": rows["stat_err_jy"] / rows["mean"],
        }
    )


def _half_width(ratios: pd.Series) -> float:
    """Half the range of the middle 68 %."""
    low, high = np.percentile(ratios, [15.865, 84.135])
    return float(0.5 * (high - low))


def stability(rows: pd.DataFrame) -> Table:
    """How the references of each mosaic stand to the night's mean."""
    shown = [
        (
            str(name),
            f"{len(part)}",
            f"{part['ratio'].median():.4f}",
            f"{100.0 * _half_width(part['ratio']):.2f} %",
            f"{100.0 * float(part['error'].median()):.2f} %",
        )
        for name, part in rows.groupby("mosaic", sort=False)
    ]
    return Table(
        ("mosaic", "references", "flux / mean of the night", "scatter", "noise"), shown, (1, 2, 3, 4)
    )


def line(rows: pd.DataFrame) -> str:
    """The stability of the references in words."""
    if rows.empty:
        return f"not compared: no source above {REFERENCE_SNR:g} σ is in two mosaics"
    medians = rows.groupby("mosaic")["ratio"].median()
    return (
        f"{rows['source_id'].nunique()} references in two mosaics or more: mosaics differ by "
        f"{100.0 * float(medians.max() - medians.min()):.2f} % at most, fluxes scatter by "
        f"{100.0 * _half_width(rows['ratio']):.2f} % (noise {100.0 * float(rows['error'].median()):.2f} %)"
    )


def plot(measured: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> bytes | None:
    """Draw errors against fluxes, both estimators against each other, and the references of each mosaic; PNG.

    None where nothing was measured.
    """
    if not measured:
        return None
    made = canvas(9.0, 3.6)
    noise, both, stable = made.subplots(1, 3)
    for number, (name, table) in enumerate(measured.items()):
        colour = _MARKS[number % len(_MARKS)]
        noise.scatter(1e3 * table["flux_jy"].abs(), 1e3 * table["stat_err_jy"], s=6, color=colour, label=name)
        bright = table[(table["snr"] >= REFERENCE_SNR) & table["flux_vis_jy"].notna()]
        both.scatter(bright["snr"], bright["flux_jy"] / bright["flux_vis_jy"], s=8, color=colour)
        own = rows[rows["mosaic"] == name]
        stable.scatter(np.full(len(own), number), own["ratio"], s=6, color="0.7")
        if len(own):
            stable.errorbar(
                number, own["ratio"].median(), yerr=_half_width(own["ratio"]), fmt="o", ms=5, color=colour
            )
    noise.set(xscale="log", yscale="log", xlabel="|flux| (mJy)", ylabel="error from noise (mJy)")
    both.set(xscale="log", ylim=(0.8, 1.2), xlabel="signal to noise", ylabel="image / visibilities")
    both.xaxis.set_minor_formatter("")
    stable.set(ylabel="reference / its mean of the night", xticks=range(len(measured)))
    stable.set_xticklabels(measured, rotation=60, fontsize=7)
    for axes in (both, stable):
        axes.axhline(1.0, color="k", lw=0.8)
    for axes in (noise, both, stable):
        axes.grid(alpha=0.25)
    if len(measured) <= len(_MARKS):
        noise.legend(fontsize=7)
    return as_png(made)
