"""The rows of a benchmark, as JSON, as a table, and as the part that the README quotes."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchlib.cost import Cost

OURS, RIVAL, FLOOR = "contimg", "rival", "floor"
STAGES = {
    "convert": "Convert: raw files to a flagged Measurement Set",
    "calibrate": "Calibrate: raw files of a transit to delays, bandpass and gains",
    "image": "Image: Measurement Set and caltables to the corrected image",
    "whole": "A tile, raw files to image",
    "mosaic": "Mosaic: tiles of 4096 x 4096 pixels onto one grid, bicubic",
}
PACKAGES = (
    "snakemake", "casatasks", "python-casacore", "aoflagger", "pyuvdata", "reproject", "ducc0", "numpy", "numba",
    "h5py",
)  # fmt: skip
MEMORY_WORTH_TELLING_GB = 0.1
MARKS = "<!-- bench: benchmarks/bench.py --readme -->", "<!-- /bench -->"


@dataclass(frozen=True)
class Row:
    """One thing that was timed.

    Attributes
    ----------
    stage : str
        A key of `STAGES`.
    what : str
        In words.
    kind : {"contimg", "rival", "floor"}
    seconds, cpu_s, peak_gb, read_gb, written_gb : float
        See `benchlib.cost.Cost`.
    main : bool
        Whether the README quotes it, and ratios refer to it (of `contimg`'s).
    note, error : str
    date : str
        UTC, to the minute.
    """

    stage: str
    what: str
    kind: str
    seconds: float
    cpu_s: float
    peak_gb: float
    read_gb: float
    written_gb: float
    main: bool = False
    note: str = ""
    error: str = ""
    date: str = ""


def row(stage: str, what: str, kind: str, cost: Cost, *, main: bool = False, note: str = "") -> Row:
    """Make a row of a cost; what the command itself said of `seconds` and `note` wins."""
    said = dict(cost.said)
    return Row(
        stage=stage,
        what=what,
        kind=kind,
        seconds=round(said.get("seconds", cost.seconds), 2),
        cpu_s=round(said.get("cpu_s", cost.cpu_s), 2),
        peak_gb=round(cost.peak_gb, 3),
        read_gb=round(cost.read_gb, 3),
        written_gb=round(cost.written_gb, 3),
        main=main,
        note=said.get("note", note),
        error=cost.error,
        date=now(),
    )


def now() -> str:
    """The present minute, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")


def machine() -> dict[str, Any]:
    """The machine: processor, cores, memory, and how busy it was."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, flags=re.MULTILINE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model.group(1).strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 1),
    }


def host_kind(said: dict[str, Any]) -> str:
    """A short name of the kind of machine, for file names: `amd-epyc-2-cores`."""
    words = re.sub(r"\(.*?\)|@.*|\b(cpu|processor|with)\b", " ", said["cpu"].lower())
    return "-".join([*re.findall(r"[a-z0-9]+", words)[:4], f"{said['cores']}-cores"])


def versions(wsclean: str) -> dict[str, str]:
    """Versions of what was timed."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "wsclean": wsclean, **found}


def record(
    rows: Sequence[Row], *, threads: int, tile: str, host: dict[str, Any], wsclean: str
) -> dict[str, Any]:
    """Everything that a run found out, JSON-able."""
    return {
        "date": now(),
        "machine": host,
        "threads": threads,
        "tile": tile,
        "versions": versions(wsclean),
        "rows": [asdict(entry) for entry in rows],
    }


def merge(earlier: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """The rows of a run, and of an earlier one those that it did not measure again.

    A stage that was run again keeps the rivals that were not; stages stand in the order of `STAGES`.
    """
    again = {(entry.stage, entry.what) for entry in rows}
    stages = {entry.stage for entry in rows}
    kept = [
        entry
        for entry in earlier
        if (entry.stage, entry.what) not in again and (entry.stage not in stages or entry.kind == RIVAL)
    ]
    order = list(STAGES)
    return sorted([*rows, *kept], key=lambda entry: order.index(entry.stage))


def write(found: dict[str, Any], folder: Path) -> Path:
    """Write the record as JSON and as a page beside it, merged with the newest of such a machine; returns the page.

    Of a record of another day only rivals are taken over, each with its date.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = host_kind(found["machine"])
    path = folder / f"{found['date'][:10]}-{kind}.json"
    before = max(folder.glob(f"????-??-??-{kind}.json"), default=None)
    if before is not None:
        earlier = rows_of(json.loads(before.read_text()))
        if before != path:
            earlier = [entry for entry in earlier if entry.kind == RIVAL]
        found = {**found, "rows": [asdict(entry) for entry in merge(earlier, rows_of(found))]}
    path.write_text(json.dumps(found, indent=1) + "\n")
    page_path = path.with_suffix(".md")
    page_path.write_text(page(found))
    return page_path


def newest(folder: Path) -> dict[str, Any] | None:
    """The record of the latest run of `make bench`, whose name begins with a day; None if there is none."""
    records = [json.loads(path.read_text()) for path in folder.glob("????-??-??-*.json")]
    return max(records, key=lambda found: found["date"], default=None)


def rows_of(found: dict[str, Any]) -> list[Row]:
    """The rows of a record."""
    return [Row(**entry) for entry in found["rows"]]


def page(found: dict[str, Any]) -> str:
    """The record as a page: machine, versions, one table a stage."""
    host, rows = found["machine"], rows_of(found)
    lines = [
        f"# Benchmark of {found['date']} UTC",
        "",
        f"`make bench` on {host['cpu']}, {host['cores']} cores, {host['memory_gb']} GB, {host['system']}; "
        f"{found['threads']} threads; load before {host['load_before']}.",
        "",
        f"{found['tile']}",
        "",
        ", ".join(f"{name} {version}" for name, version in found["versions"].items()) + ".",
        "",
        "`seconds` is wall time, `CPU` user and system time of all processes, `GB` their largest sum of memory,",
        "`read` and `written` what passed through read() and write(). Stages of contimg are run as",
        "`snakemake TARGET`, its start included.",
    ]
    for stage, title in STAGES.items():
        of_stage = [entry for entry in rows if entry.stage == stage]
        if of_stage:
            lines += ["", f"## {title}", "", *table(of_stage), "", f"Run at {_dates(of_stage)} UTC."]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row]) -> list[str]:
    """One stage's rows as lines of a table; the last but one column compares with contimg's main row."""
    ours = next((entry for entry in rows if entry.kind == OURS and entry.main and not entry.error), None)
    lines = [
        "| | seconds | CPU s | GB | read GB | written GB | against contimg | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in rows:
        label = entry.what if entry.kind == OURS else f"{entry.kind}: {entry.what}"
        if entry.error:
            lines.append(f"| {label} | failed | | | | | | {_cell(entry.error)} |")
            continue
        ratio = f"{entry.seconds / ours.seconds:.2f} ×" if ours is not None and ours.seconds else ""
        lines.append(
            f"| {label} | {entry.seconds:.1f} | {entry.cpu_s:.1f} | {entry.peak_gb:.2f} | {entry.read_gb:.2f} | "
            f"{entry.written_gb:.2f} | {ratio} | {_cell(entry.note)} |"
        )
    return lines


def readme(found: dict[str, Any]) -> list[str]:
    """The lines that the README quotes: each stage's main row beside its rivals and floors."""
    rows, host = rows_of(found), found["machine"]
    lines = [
        f"{host['cpu']}, {host['cores']} cores, {host['memory_gb']:.0f} GB, load before {host['load_before']}, "
        f"{found['date'][:10]}; {found['tile']}.",
        "",
        "| | contimg | instead | floor |",
        "|---|---|---|---|",
    ]
    for stage, title in STAGES.items():
        mains = [entry for entry in rows if entry.stage == stage and entry.main and not entry.error]
        ours = next((entry for entry in mains if entry.kind == OURS), None)
        if ours is None:
            continue
        said = {
            kind: "; ".join(
                f"{entry.what} {_spent(entry)}{_day(entry, found)}" for entry in mains if entry.kind == kind
            )
            for kind in (RIVAL, FLOOR)
        }
        how = ours.what.removeprefix("contimg").removeprefix(", ")
        lines.append(f"| {title} | {how} **{_spent(ours)}** | {said[RIVAL]} | {said[FLOOR]} |")
    return lines


def quote(text: str, lines: Sequence[str], marks: tuple[str, str] = MARKS) -> str:
    """The text with the lines between its marks exchanged.

    Raises
    ------
    ValueError
        The marks are not there.
    """
    first, last = marks
    if first not in text or last not in text:
        raise ValueError(f"expected the marks {first} and {last} round the measured part; put them back")
    head, rest = text.split(first, 1)
    return "\n".join([head + first, *lines, last]) + rest.split(last, 1)[1]


def _dates(rows: Sequence[Row]) -> str:
    first, last = min(entry.date for entry in rows), max(entry.date for entry in rows)
    return first if first == last else f"{first} to {last}"


def _spent(entry: Row) -> str:
    memory = f", {entry.peak_gb:.1f} GB" if entry.peak_gb >= MEMORY_WORTH_TELLING_GB else ""
    return f"{entry.seconds:.0f} s ({entry.cpu_s:.0f} s CPU{memory})"


def _day(entry: Row, found: dict[str, Any]) -> str:
    """The day of a row of an earlier record, as the quote says it."""
    return "" if entry.date[:10] == found["date"][:10] else f" on {entry.date[:10]}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
