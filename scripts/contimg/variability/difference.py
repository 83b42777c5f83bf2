"""What a changed table, setting or version did to the light curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core.html import Table, render
from contimg.variability import curves

_READ = ["mosaic", "mjd", "flux_norm", "flux_norm_err", "used"]
_WIDTH, _HEIGHT = 860, 150
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
    return render(
        "variability/templates/difference.html",
        title="Light curves before and after",
        n_changed=len(changed(changes)),
        n_sources=len(changes),
        before=before,
        after=after,
        table=Table(heads, cells, range(1, len(heads))),
        drawn={name: _drawn(common(before, after, name)) for name in worst["source_id"]},
        width=_WIDTH,
        height=_HEIGHT,
    )


def _drawn(both: pd.DataFrame) -> dict[str, Any]:
    """Both versions of a light curve as places in a chart."""
    time = both["mjd"].fillna(both["mjd_after"]).to_numpy(dtype=float)
    values = both[["flux_norm", "flux_norm_after"]].to_numpy(dtype=float) * 1e3
    low, high = np.nanmin(values), np.nanmax(values)
    x = 50 + (time - time.min()) / max(np.ptp(time), 1e-9) * (_WIDTH - 60)
    y = _HEIGHT - 20 - (values - low) / max(high - low, 1e-9) * (_HEIGHT - 30)
    points = {}
    for k, name in enumerate(("before", "after")):
        there = np.isfinite(y[:, k])
        points[name] = list(zip(x[there].tolist(), y[there, k].tolist(), strict=True))
    return {"points": points, "mjy": (low, high), "times": (time.min(), time.max())}
