"""Nights of strips that have no calibrator: what comes out where gains are solved on the catalogue's sky.

    python benchmarks/strip_nights.py               docs/calibrate.md; some two CPU minutes a strip
    python benchmarks/strip_nights.py --only 38

Small nights from raw files to verdicts: 16 antennas, three tiles of 12 integrations, 50 MHz, the electronics of the
preset `realistic`, the shipped list of calibrators, and a catalogue of the simulated sky good to 3 %. Results are kept
in benchmarks/results/strips/nights.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchlib import chain, faults, tile
from benchlib.skies import reference_table

from contimg.core.products import read_json
from contimg.qa.truth import compare_product
from contimg.simulate.night import simulate
from contimg.simulate.options import SimOptions

RESULTS = tile.CLONE / "benchmarks" / "results" / "strips" / "nights.json"
PAGE = tile.CLONE / "docs" / "calibrate.md"
BEGIN, END = "<!-- strip nights -->", "<!-- /strip nights -->"
STRIPS_DEG = (-14.0, 38.0, 80.0)
"""Strips in which no listed calibrator reaches 1 Jy: a southern, a middle and a northern one."""
BRIGHT_SNR = 20.0


def options(dec_deg: float) -> SimOptions:
    """The night of a strip."""
    return replace(
        faults.healthy(),
        start="2025-10-30T13:00:00",
        transit_of="",
        dec_deg=dec_deg,
        n_tiles=3,
        n_integrations=12,
        sources=(),
        field_flux_min_jy=0.1,
    )


def measure(dec_deg: float, folder: Path) -> dict[str, Any]:
    """Make a strip's night; returns what was calibrated on, and what fluxes and noise came out."""
    shutil.rmtree(folder, ignore_errors=True)
    night = options(dec_deg)
    truth = simulate(night, folder / "incoming", threads=1)
    catalogue = folder / "catalog.csv"
    catalogue.write_text(reference_table(truth.sources, night.seed))
    settings = {**faults.SETTINGS, "catalog": str(catalogue)}
    judged = chain.judge(folder / "incoming", folder / "products", settings)
    statuses = [read_json(judged.products / verdict["product"] / "status.json") for verdict in judged.tiles]
    made = [
        (verdict, status)
        for verdict, status in zip(judged.tiles, statuses, strict=True)
        if status["reason"] is None
    ]
    parts = [compare_product(judged.products / verdict["product"], truth.sources) for verdict, _ in made]
    bright = pd.concat(parts) if parts else pd.DataFrame({"snr": [], "ratio": []})
    bright = bright[bright["snr"] > BRIGHT_SNR]
    fields = [record["metrics"]["field"] for record in judged.tables if record["metrics"].get("field")]
    ratio = bright["ratio"].to_numpy(float)
    return {
        "strip_deg": dec_deg,
        "field": fields[0] if fields else None,
        "rejected": [record["reason"] for record in (*judged.tables, *statuses) if record["reason"]],
        "tiles": len(judged.tiles),
        "images": len(made),
        "flux": round(float(np.median(ratio)), 4) if len(ratio) else None,
        "flux_error": round(float(1.25 * np.std(ratio) / np.sqrt(len(ratio))), 4) if len(ratio) else None,
        "scatter": round(float(np.std(ratio)), 4) if len(ratio) else None,
        "n": len(ratio),
        "rms": [round(verdict["metrics"]["rms_over_expected"], 3) for verdict, _ in made],
        "sefd_jy": [round(verdict["metrics"]["sefd_jy"]) for verdict, _ in made],
        "failed": sorted(
            {
                name
                for verdict in (*judged.tiles, *judged.mosaics)
                for name, gate in verdict["gates"].items()
                if gate["verdict"] == "fail"
            }
        ),
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The rows as lines of a table."""
    lines = [
        "| strip | field: strength, sources, expected error | images | flux over truth above 20 σ "
        "| noise over expected | SEFD | gates that fail |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows.values(), key=lambda row: row["strip_deg"]):
        field = row["field"]
        on = (
            f"{field['strength_jy']:.2f} Jy, {field['n_sources']}, {100 * field['flux_error']:.1f} %"
            if field
            else "; ".join(row["rejected"])
        )
        flux = (
            f"{row['flux']:.3f} ± {row['flux_error']:.3f}, scatter {100 * row['scatter']:.1f} % ({row['n']})"
            if row["n"]
            else "–"
        )
        noise = f"{min(row['rms']):.2f} to {max(row['rms']):.2f}" if row["rms"] else "–"
        sefd = f"{min(row['sefd_jy'])} to {max(row['sefd_jy'])} Jy" if row["sefd_jy"] else "–"
        failed = ", ".join(f"`{name}`" for name in row["failed"]) or "none"
        lines.append(
            f"| {row['strip_deg']:+.0f}° | {on} | {row['images']} of {row['tiles']} | {flux} | {noise} | {sefd} "
            f"| {failed} |"
        )
    return lines


def main() -> None:
    """Make the nights, keep them, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="*", type=float, metavar="DEG", help="only these; with none, only the page"
    )
    parser.add_argument("--folder", type=Path, help="keep the nights here")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="strips"))
    for dec_deg in STRIPS_DEG:
        if arguments.only is not None and dec_deg not in arguments.only:
            continue
        started = time.process_time()
        row = measure(dec_deg, folder / f"{dec_deg:+.0f}")
        rows[f"{dec_deg:+.0f}"] = {**row, "cpu_s": round(time.process_time() - started, 1)}
        print(json.dumps(row), file=sys.stderr, flush=True)
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    if arguments.folder is None:
        shutil.rmtree(folder)
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{chr(10).join(table(rows))}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
