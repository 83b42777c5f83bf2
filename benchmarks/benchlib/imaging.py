"""What imaging settings are compared on, and the numbers by which they are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchlib.cost import Cost
from contimg.qa.truth import compare_product
from contimg.simulate.options import Fault, SimOptions, Source, preset
from contimg.simulate.truth import Truth

TODAY = (
    "sky_model: none, imsize: 2048, cell_arcsec: 1.5, robust: 0.5, niter: 1000, mgain: 0.8, auto_mask: 5, "
    "auto_threshold: 1, uvmin_klambda: 1, channels_out: 1"
)
SETTINGS = {
    "today's: 2048² at 1.5″, niter 1000": f"imaging={{{TODAY}}}",
    "wide and deep CLEAN, whole beam": "imaging={sky_model: none, niter: 50000}",
    "contimg's default": "imaging={sky_model: drift}",
}
"""Settings, by name, as they are given to the workflow."""

HOUR_S = 3711.0
"""From a transit to a tile an hour later, whose calibrator is out of the beam."""


@dataclass(frozen=True)
class Case:
    """A simulated tile to image.

    Attributes
    ----------
    name, says : str
    options : SimOptions
        Of a night that begins with the calibrator's transit.
    target : int
        Index of the tile that is imaged.
    """

    name: str
    says: str
    options: SimOptions
    target: int


TWELVE = 12
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)


def surroundings(ra_deg: float, dec_deg: float) -> tuple[Source, ...]:
    """Twelve sources of 0.3 to 1.7 Jy, evenly within 0.8 deg of a place."""
    number = np.arange(TWELVE)
    radius, angle = 0.8 * np.sqrt((number + 0.5) / TWELVE), number * GOLDEN_ANGLE
    flux = 0.3 * (1.7 / 0.3) ** ((5 * number % TWELVE) / (TWELVE - 1))
    east, north = radius * np.sin(angle), radius * np.cos(angle)
    return tuple(
        Source(f"near{k}", ra_deg + float(east[k] / np.cos(np.radians(dec_deg))), dec_deg + float(north[k]),
               float(flux[k]), -0.7)
        for k in number
    )  # fmt: skip


SIZES = ("full-tile", "reduced", "demo")


def shape(size: str) -> SimOptions:
    """Array, integrations and channels of a size.

    `reduced` is half the array within 1.5 km: a beam, and so pixels, twice as wide as the full array's, so that all
    cases are done in minutes.
    """
    if size == "reduced":
        return replace(
            preset("full-tile"), n_antennas=48, max_radius_m=1500.0, n_integrations=12, n_channels=12
        )
    return preset(size)


def cases(size: str) -> list[Case]:
    """The cases, with the array and band of a size."""
    asked = shape(size)
    hour = round(HOUR_S / (asked.n_integrations * asked.integration_s))
    quiet = replace(
        preset("full-tile"),
        n_integrations=asked.n_integrations,
        n_channels=asked.n_channels,
        antennas=asked.antennas,
        n_antennas=asked.n_antennas,
        max_radius_m=asked.max_radius_m,
        phase_drift="off",
        rfi_lines_mhz=(),
        rfi_bursts=0,
    )
    later = replace(quiet, n_tiles=hour + 1, faults=tuple(Fault("missing_tile", k) for k in range(1, hour)))
    [calibrator] = quiet.sources
    centre = calibrator.dec_deg - 0.2
    surrounded = replace(
        quiet,
        dec_deg=centre,
        field_density_per_deg2=0.0,
        sources=(calibrator, *surroundings(calibrator.ra_deg, centre)),
    )
    south = replace(
        quiet,
        dec_deg=-5.0,
        start="2026-01-19",
        transit_of="0000-053",
        sources=(Source("0000-053", 0.3, -5.3, 7.0, -0.6),),
    )
    disturbed = replace(
        later,
        phase_drift="linear",
        phase_drift_deg_per_hour=3.0,
        rfi_lines_mhz=preset("full-tile").rfi_lines_mhz,
        rfi_bursts=2,
    )
    return [
        Case("bright", "8.8 Jy in the beam: the calibrator's own transit", quiet, 0),
        Case(
            "surrounded",
            "the same 0.2 deg off axis, and twelve sources of 0.3 to 1.7 Jy within 0.8 deg",
            surrounded,
            0,
        ),
        Case(
            "faint",
            "nothing above 0.5 Jy, an hour after the transit",
            replace(later, field_flux_max_jy=0.5),
            hour,
        ),
        Case("south", "declination -5 deg, 7 Jy in the beam", south, 0),
        Case(
            "disturbed",
            "an hour after the transit, phases off by 3 deg rms (5 % of a gain) since, five lines and two bursts of "
            "interference, sources up to 1.5 Jy",
            disturbed,
            hour,
        ),
    ]


def result(
    case: Case, setting: str, cost: Cost, status: dict[str, Any], directory: Path, truth: Truth
) -> dict[str, Any]:
    """Everything that is said of one image, by column."""
    row: dict[str, Any] = {
        "tile": case.name,
        "imaging": setting,
        "seconds": cost.seconds,
        "CPU s": cost.cpu_s,
    }
    row["GB"] = cost.peak_gb
    reason = cost.error or status.get("reason")
    if reason or not status:
        return {**row, "note": reason or "no image"}
    metrics = status["metrics"]
    bright = judge(compare_product(directory, truth.sources))
    return {
        **row,
        "rms mJy": 1e3 * metrics["rms_jy"],
        "rms / thermal": metrics["rms_jy"] / metrics["thermal_from_weights_jy"],
        "dynamic range": metrics["dynamic_range"],
        **bright,
        "note": "",
    }


def judge(table: pd.DataFrame) -> dict[str, float]:
    """Flux ratio of the sources above 10 σ: how many, median, scatter; and what noise alone would scatter."""
    if table.empty:
        return {"sources": 0}
    noise = table["flux_err_jy"] / table["true_jy"]
    return {
        "sources": len(table),
        "flux ratio": float(table["ratio"].median()),
        "scatter %": 100 * float(table["ratio"].std(ddof=0)),
        "noise %": 100 * float(np.sqrt(np.mean(noise**2))),
    }


def merge(earlier: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a run, and of an earlier one those of the tiles that were not imaged again."""
    again = {row["tile"] for row in rows}
    return [*(row for row in earlier if row["tile"] not in again), *rows]


FORMS = {
    "rms mJy": "{:.3f}",
    "rms / thermal": "{:.2f}",
    "dynamic range": "{:.0f}",
    "sources": "{:.0f}",
    "flux ratio": "{:.4f}",
    "scatter %": "{:.2f}",
    "noise %": "{:.2f}",
    "seconds": "{:.0f}",
    "CPU s": "{:.0f}",
    "GB": "{:.1f}",
}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One case's rows as lines of a table."""
    lines = ["| | " + " | ".join([*FORMS, ""]) + " |", "|" + "---|" * (len(FORMS) + 2)]
    for row in rows:
        cells = [form.format(row[name]) if name in row else "" for name, form in FORMS.items()]
        lines.append(f"| {row['imaging']} | " + " | ".join([*cells, " ".join(row["note"].split())]) + " |")
    return lines
