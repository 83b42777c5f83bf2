"""How an item of a batch went: from the sidecars of its products, and what the log of its job says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TAIL_BYTES = 65536
_MOST_LINES = 3
_TELLING = re.compile(
    r"\b(error|exception|failed|rejected|killed|severe|fault|no space|out of memory|cannot)\b|^\w*(Error|Fault)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Outcome:
    """`done` or `failed`, with the reason; None where there is no product yet."""

    status: str
    error: str | None = None


def judge(products: Path, item: Mapping[str, Any]) -> Outcome | None:
    """How an item went; None as long as one of its products is not there."""
    found = [_said(products / path) for path in item["sidecars"]]
    good = [one for one in found if one is not None and one.status == "done"]
    if item.get("any_good") and good and all(one is not None for one in found):
        return good[0]
    if not found or any(one is None for one in found):
        return None
    bad = [one for one in found if one is not None and one.status == "failed"]
    return bad[0] if bad else Outcome("done")


def _said(sidecar: Path) -> Outcome | None:
    """What the sidecar of a product says; None if it is not there."""
    if not sidecar.is_file():
        return None
    if sidecar.suffix == ".parquet":
        reason = _parquet_reason(sidecar)
    elif sidecar.suffix == ".json":
        try:
            record = json.loads(sidecar.read_text())
        except (OSError, ValueError):
            return None
        reason = record.get("reason") if isinstance(record, dict) else "its sidecar cannot be read"
    else:
        reason = None
    return Outcome("done") if reason is None else Outcome("failed", str(reason))


def _parquet_reason(path: Path) -> str | None:
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        told = json.loads(metadata.get(b"contimg", b"{}"))
    except (OSError, ValueError):
        return "its table cannot be read"
    return None if told.get("reason") is None else str(told["reason"])


def decisive_lines(log: Path) -> list[str]:
    """The last few lines of a log that speak of an error or a rejection, in their order; else its last line."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rstrip()[:500] for line in text.splitlines() if line.strip()]
    telling = list(dict.fromkeys(line for line in lines if _TELLING.search(line)))
    return (telling or lines[-1:])[-_MOST_LINES:]


def read_events(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Whole lines of a file of events from an offset on, and where the next one begins."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # a line that a killed run did not finish
            continue
        if isinstance(event, dict):
            events.append(event)
    return events, offset + len(whole)


def job_outputs(events: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Outputs of the jobs that events tell of, by the number of the job."""
    return {event["job"]: event["output"] for event in events if event.get("event") == "job_info"}
