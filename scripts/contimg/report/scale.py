"""How stable the references of the light curves were, for the run report: from `variability/epochs.parquet`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median, pstdev
from typing import Any

from contimg.core.kinds import BY_NAME
from contimg.core.names import EPOCHS, LIGHTCURVES
from contimg.core.products import read_json

KEYS = ("zero_point", "zero_point_err", "n_references", "scatter")


def zero_points(products: Path) -> dict[str, dict[str, Any]]:
    """The zero point of each mosaic, by ``{date}/{mosaic}``; empty where there are no light curves.

    Each has `zero_point`, `zero_point_err`, `n_references`, `scatter` (of the references about it, over their usual
    errors), all None without a zero point, and `reason`.
    """
    path = products / EPOCHS
    if not path.is_file():
        return {}
    import pandas as pd

    table = pd.read_parquet(path)
    return {
        str(row["mosaic"]): {
            **{key: float(row[key]) if row["normalised"] else None for key in KEYS},
            "reason": str(row["reason"]) or None,
        }
        for row in table.to_dict("records")
        if "normalised" in row
    }


def stability(rows: Iterable[Mapping[str, Any]], products: Path) -> dict[str, Any] | None:
    """What the zero points of a run's mosaics come to; None if none was looked for.

    Returns
    -------
    dict
        `mosaics`, `normalised`; of these the medians `n_references`, `zero_point_err` and `scatter`, and `spread`, the
        standard deviation of the zero points; `repeatability`: scatter of bright sources beyond the noise, all nights.
    """
    known = list(rows)
    if not known:
        return None
    good = [row for row in known if row["zero_point"] is not None]
    record = products / BY_NAME["lightcurves"].sidecar_of(LIGHTCURVES)
    metrics = read_json(record)["metrics"] if record.is_file() else {}
    found: dict[str, Any] = {
        "mosaics": len(known),
        "normalised": len(good),
        "repeatability": metrics.get("repeatability"),
        "variable": metrics.get("variable"),
    }
    if good:
        found |= {key: median(row[key] for row in good) for key in KEYS[1:]}
        found["spread"] = pstdev(row["zero_point"] for row in good)
    return found


def line(found: Mapping[str, Any]) -> str:
    """The stability of the references in words."""
    text = f"flux scale: {found['normalised']} of {found['mosaics']} mosaics on it"
    if found["normalised"]:
        text += (
            f", with {found['n_references']:.0f} references each (median), to {_percent(found['zero_point_err'])}; "
            f"zero points differ by {_percent(found['spread'])}; references scatter by {found['scatter']:.2f} of their "
            "errors"
        )
    if found["repeatability"] is not None:
        text += f"; bright sources repeat to {_percent(found['repeatability'])}, all nights"
    return text


def _percent(value: float) -> str:
    return f"{100.0 * value:.2f} %"
