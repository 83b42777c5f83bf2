"""Rows of the matrix *fault × gate*: what a fault costs, which gates fail for it, which warn."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd

from benchlib import chain, strips
from benchlib.faults import SETTINGS, NightFault, StripFault
from contimg.core.products import read_json
from contimg.core.robust import mad_sigma
from contimg.qa.gates import CatalogueFacts, held
from contimg.qa.notes import Note
from contimg.qa.options import QaOptions
from contimg.qa.response import Response
from contimg.qa.table import NAMES
from contimg.qa.truth import compare_product
from contimg.simulate.night import simulate

BRIGHT_SNR = 20.0
NAMING = ("note antenna ", f"note {Note.POSITIONS}: ")
"""Notes that name what is wrong."""
MOST_NAMED = 4
"""So many of them a row shows."""
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
"""Of the matrix in docs/qa.md."""


def measure(fault: NightFault | StripFault, folder: Path) -> dict[str, Any]:
    """Make a fault and ask the gates; returns the row."""
    return _strip(fault) if isinstance(fault, StripFault) else _night(fault, folder)


def _strip(fault: StripFault) -> dict[str, Any]:
    """The fluxes of a strip: the gates on fluxes against the beam, from tile to tile, and against a catalogue."""
    options = QaOptions()
    tables = strips.strip(survey=0.03, **dict(fault.changes))
    response = Response(strips.solved(tables, anchors=("T1",)))
    ratios = pd.concat(tables.values())
    pairs = ratios.assign(
        ratio=ratios["flux_jy"] / ratios["catalog_jy"],
        ratio_err=ratios["flux_err_jy"] / ratios["catalog_jy"],
        offset_major_beam=0.0,
        offset_minor_beam=0.0,
    )
    facts = CatalogueFacts(
        pairs, pd.DataFrame({"detected": []}, dtype=bool), pd.DataFrame({"known": []}, dtype=bool), options
    )
    gates = held(response, options, "mosaic")
    gates += [gate for gate in held(facts, options, "mosaic") if gate.name.startswith("flux")]
    verdict = {"gates": {gate.name: gate.to_json() for gate in gates}, "notes": response.notes()}
    return {
        "key": f"{fault.name}: {fault.says}",
        "fault": fault.name,
        "size": fault.says,
        "on": "tables",
        "cost": {},
        "seen": _seen([verdict]),
        "values": _values([verdict]),
    }


def _night(fault: NightFault, folder: Path) -> dict[str, Any]:
    """A night from its raw files to its verdicts, and what it lost."""
    where = folder / "night"
    shutil.rmtree(where, ignore_errors=True)
    truth = simulate(fault.options(), where / "incoming", threads=1)
    for name, text in (
        ("calibrators.csv", fault.calibrators()),
        ("catalog.csv", fault.catalogue(truth.sources)),
    ):
        (where / name).write_text(text)
    lists = {name: str(where / f"{name}.csv") for name in ("calibrators", "catalog")}
    judged = chain.judge(where / "incoming", where / "products", {**SETTINGS, **lists})
    verdicts = [*judged.tiles, *judged.mosaics]
    seen = _seen(verdicts)
    seen += [f"calibration: {record['reason']}" for record in judged.tables if record["reason"]]
    return {
        "key": f"{fault.name}: {fault.says}",
        "fault": fault.name,
        "size": fault.says,
        "on": "raw files",
        "cost": _cost(judged, truth.sources),
        "seen": seen,
        "values": _values(verdicts),
    }


def _cost(judged: chain.Judged, sources: Iterable[Any]) -> dict[str, float | None]:
    """Median flux and offset of what is bright, and the noise of the tiles over the thermal one."""
    parts, noise = [], []
    for verdict in judged.tiles:
        status = read_json(judged.products / verdict["product"] / "status.json")
        if status["reason"] is None:
            parts.append(compare_product(judged.products / verdict["product"], tuple(sources)))
            noise.append(status["metrics"]["rms_jy"])
    if not parts:
        return {"flux": None, "scatter": None, "noise_jy": None, "offset_beam": None, "n": 0}
    found = pd.concat(parts)
    found = found[found["snr"] > BRIGHT_SNR]
    offset = np.hypot(found["offset_major_beam"], found["offset_minor_beam"])
    return {
        "flux": round(float(found["ratio"].median()), 4),
        "scatter": round(mad_sigma(found["ratio"]), 4),
        "noise_jy": round(float(np.median(noise)), 6),
        "offset_beam": round(float(np.median(offset)), 4),
        "n": len(found),
    }


def _seen(verdicts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Gates that failed, with the value of the first product, "told" behind those that stop nothing; then warnings."""
    failed: dict[str, str] = {}
    notes: list[str] = []
    for verdict in verdicts:
        for name, gate in verdict["gates"].items():
            if gate["verdict"] == "fail":
                marked = " (advisory)" if gate["advisory"] or name in QaOptions().advisory else ""
                failed.setdefault(name, f"{name} {gate['value']:.3g}{marked}")
        notes += [note for note in verdict["notes"] if note not in notes]
    return [*failed.values(), *(f"note {note}" for note in notes)]


def _values(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What each gate measured, product by product."""
    values: dict[str, list[float]] = {}
    for verdict in verdicts:
        for name, gate in verdict["gates"].items():
            if gate["value"] is not None:
                values.setdefault(name, []).append(round(gate["value"], 4))
    return values


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The matrix as lines of a table: gates that saw each fault, and where none did, that."""
    healthy = next(
        (row for row in rows.values() if row["on"] == "raw files" and row["fault"] == "healthy"), None
    )
    lines = ["| fault | how much | what it costs | seen by |", "|---|---|---|---|"]
    for row in rows.values():
        gates = [
            f"`{words[0]}`{' '.join(['', *words[1:]])}"
            for words in map(str.split, row["seen"])
            if words[0] in NAMES
        ]
        calibration = [words for words in row["seen"] if words.startswith("calibration:")]
        notes = [words.removeprefix("note ") for words in row["seen"] if words.startswith(NAMING)]
        named = sorted({_named(note) for note in notes})
        more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
        told = [f"note: {'; '.join([*named[:MOST_NAMED], *more])}"] if notes else []
        seen = ", ".join([*gates, *(f"{wrap(words, 70)[0]} …" for words in calibration), *told])
        nothing = "–" if row["fault"].startswith("healthy") else "**nothing**"
        lines.append(f"| {row['fault']} | {row['size']} | {_words(row, healthy)} | {seen or nothing} |")
    return lines


def _named(note: str) -> str:
    """What a note names, without its numbers."""
    if note.startswith("antenna"):
        return note.split(":", maxsplit=1)[0]
    return "positions that are stretched" if "change by" in note else "a shift of all positions"


def _words(row: Mapping[str, Any], healthy: Mapping[str, Any] | None) -> str:
    """What a fault costs, beside the healthy night."""
    cost = row["cost"]
    if row["on"] == "tables":
        return "as stated"
    if cost["flux"] is None:
        return "all tiles"
    noise = "" if healthy is None else f", noise × {cost['noise_jy'] / healthy['cost']['noise_jy']:.2f}"
    return f"flux {cost['flux']:.3f} ({100 * cost['scatter']:.1f} % scatter){noise}, {cost['offset_beam']:.3f} beam"


def render(page: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the matrix between its marks in the page."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{chr(10).join(table(rows))}\n{END}{after}")
