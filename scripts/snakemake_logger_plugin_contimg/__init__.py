"""A logger of Snakemake: every event of a run as a line of JSON in one file, flushed at once.

    snakemake --logger contimg --logger-contimg-path events.jsonl …

The service of the pipeline reads the file while the run goes on; a run never knows whether somebody does. Each line
holds `event` and `time` (seconds since 1970), and what the event tells: `jobs` (numbers of jobs that start), `job`,
`rule`, `output`, `log` (of one job), `message`, `done`, `total`.
"""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

TOLD = (
    "workflow_started",
    "run_info",
    "job_info",
    "job_started",
    "job_finished",
    "job_error",
    "group_error",
    "progress",
    "error",
)


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Settings of the plugin, on Snakemake's command line as `--logger-contimg-path`."""

    path: str = field(
        default="", metadata={"help": "File that the events are appended to.", "required": True}
    )


class LogHandler(LogHandlerBase):
    """Writes the events that tell how a run goes."""

    def __post_init__(self) -> None:
        path = getattr(self.settings, "path", "")
        if not path:
            raise ValueError("--logger-contimg-path: expected the file that events are written to")
        self._stream: TextIO = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  closed with the handler

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event; what cannot be written is the logger's to report, it never ends the run."""
        try:
            told = event_of(record)
            if told is not None:
                self._stream.write(json.dumps(told) + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    writes_to_stream = False  # type: ignore[assignment]
    writes_to_file = False  # type: ignore[assignment]  # Snakemake would name the file on the terminal
    has_filter = True  # type: ignore[assignment]  # a quiet terminal hides what this file needs
    has_formatter = True  # type: ignore[assignment]
    needs_rulegraph = False  # type: ignore[assignment]


def event_of(record: logging.LogRecord) -> dict[str, Any] | None:
    """What a record of Snakemake's logger tells, as plain values; None if it is nothing to keep."""
    event = str(getattr(getattr(record, "event", None), "value", ""))
    if event not in TOLD:
        return None
    told: dict[str, Any] = {"event": event, "time": round(time.time(), 3)}
    job = getattr(record, "jobid", getattr(record, "job_id", None))
    if job is not None:
        told["job"] = int(job)
    if event == "job_started":
        told["jobs"] = [int(number) for number in getattr(record, "jobs", None) or ()]
    if event in ("job_info", "job_error"):
        told["rule"] = str(getattr(record, "rule_name", ""))
        told["output"] = _texts(getattr(record, "output", None))
        told["log"] = _texts(getattr(record, "log", None))
    if event == "progress":
        told |= {"done": int(getattr(record, "done", 0)), "total": int(getattr(record, "total", 0))}
    if event in ("error", "run_info"):
        told["message"] = str(record.msg or "")[:4000]
    return told


def _texts(values: Iterable[Any] | None) -> list[str]:
    # Snakemake adds a remark in brackets to some files, such as "(update)"
    return [str(value).split(" (")[0] for value in values or ()]
