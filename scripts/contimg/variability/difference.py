"""What a changed table, setting or version did to the light curves."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from contimg.core.html import document, rows_table
from contimg.variability import curves

_READ = ["mosaic", "mjd", "flux_norm", "flux_norm_err", "used"]
COLUMNS = ("source_id", "before", "after", "gone", "new", "used_changed", "ratio", "rms_sigma", "max_sigma")


def compare(before: Path, after: Path) -> Iterator[dict[str, object]]:
    """Compare two versions of the light curves, source by source, in order of name.

    Parameters
    ----------
    before, after : Path
        Two `variability/lightcurves.parquet`.

    Yields
    ------
    dict
        `source_id`; `before`, `after`: number of points; `gone`, `new`: points of one version only; `used_changed`:
        points that count in one version only; `ratio`: median of the fluxes after over before; `rms_sigma`,
        `max_sigma`: change of the fluxes in their errors before (NaN without common points).
    """
    for name in sorted({*curves.index(before), *curves.index(after)}):
        both = common(before, after, name)
        old, new = both["_merge"] == "left_only", both["_merge"] == "right_only"
        shared = both[both["_merge"] == "both"]
        change = (shared["flux_norm_after"] - shared["flux_norm"]) / shared["flux_norm_err"]
        some = len(shared) > 0
        yield {
            "source_id": name,
            "before": int((~new).sum()),
            "after": int((~old).sum()),
            "gone": int(old.sum()),
            "new": int(new.sum()),
            "used_changed": int((shared["used"].astype(bool) != shared["used_after"].astype(bool)).sum()),
            "ratio": float((shared["flux_norm_after"] / shared["flux_norm"]).median()) if some else np.nan,
            "rms_sigma": float(np.sqrt((change**2).mean())) if some else np.nan,
            "max_sigma": float(change.abs().max()) if some else np.nan,
        }


def common(before: Path, after: Path, source_id: str) -> pd.DataFrame:
    """Points of a source in both versions, by mosaic: columns of the second end in `_after`, `_merge` says where."""
    old, new = (curves.read_source(folder, source_id, _READ) for folder in (before, after))
    return old.merge(new, on="mosaic", how="outer", suffixes=("", "_after"), indicator=True)


def changed(changes: pd.DataFrame) -> pd.DataFrame:
    """The sources of `compare` in whose curves anything is different."""
    points = changes[["gone", "new", "used_changed"]].sum(axis=1) > 0
    return changes[points | (changes["max_sigma"] != 0)]


def page(changes: pd.DataFrame, before: Path, after: Path, most: int = 60) -> str:
    """Light curves before (grey) and after (blue), of those that changed most."""
    worst = changes.sort_values("max_sigma", ascending=False, na_position="last").head(most)
    heads = ("source", "before", "after", "gone", "new", "counted or not", "ratio", "rms (σ)", "largest (σ)")
    cells = [
        (row[0], *row[1:6], f"{row[6]:.4f}", f"{row[7]:.3f}", f"{row[8]:.2f}")
        for row in worst[list(COLUMNS)].itertuples(index=False, name=None)
    ]
    body = [
        "<h1>Light curves before and after</h1>",
        f'<p class="verdict yes">{len(changed(changes))} of {len(changes)} sources changed</p>',
        f"<p>Before: <code>{escape(str(before))}</code>, grey. After: <code>{escape(str(after))}</code>, blue.</p>",
        rows_table(heads, cells, range(1, len(heads))),
    ]
    for name in worst["source_id"]:
        body += [f"<h2>{escape(name)}</h2>", _drawn(common(before, after, name))]
    return document("Light curves before and after", body)


def _drawn(both: pd.DataFrame) -> str:
    """Both versions of a light curve as SVG."""
    width, height = 860, 150
    time = both["mjd"].fillna(both["mjd_after"]).to_numpy(dtype=float)
    values = both[["flux_norm", "flux_norm_after"]].to_numpy(dtype=float) * 1e3
    low, high = np.nanmin(values), np.nanmax(values)
    x = 50 + (time - time.min()) / max(np.ptp(time), 1e-9) * (width - 60)
    y = height - 20 - (values - low) / max(high - low, 1e-9) * (height - 30)
    dots = []
    for k, colour in enumerate(("#9aa3b2", "#2457a6")):
        there = np.isfinite(y[:, k])
        dots.append(f'<g fill="{colour}" fill-opacity=".7">')
        dots += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in zip(x[there], y[there, k], strict=True)
        ]
        dots.append("</g>")
    text = (
        f'<text x="44" y="14" text-anchor="end">{high:.4g}</text>'
        f'<text x="44" y="{height - 20}" text-anchor="end">{low:.4g}</text>'
        f'<text x="50" y="{height - 4}">MJD {time.min():.0f} to {time.max():.0f}, mJy</text>'
    )
    style = 'width="100%" style="max-width:none" font-size="11" fill="#667"'
    return f'<svg viewBox="0 0 {width} {height}" {style}>{text}{"".join(dots)}</svg>'
