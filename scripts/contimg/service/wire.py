"""Rows of the job list and of tables, as what is said on the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from contimg.api import answers
from contimg.core import names
from contimg.service.store import BatchRow, ItemRow

_PLAIN = TypeAdapter(dict[str, Any])
_FIRST_MJD, _LAST_MJD = 15020.0, 88069.0
"""1900 to 2100."""


def written(told: dict[str, Any]) -> bytes:
    """Plain values as JSON; a number that is none is null."""
    return _PLAIN.dump_json(told)


def when(seconds: float | None) -> datetime | None:
    """A UTC time of seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def when_mjd(mjd: float | None) -> datetime | None:
    """A UTC time of an MJD, to the millisecond; None where it is none that a calendar knows.

    An MJD is known to 0.6 microseconds: cut off at the second, 13:00:05 could become 13:00:04.
    """
    if mjd is None or not math.isfinite(mjd) or not _FIRST_MJD <= mjd <= _LAST_MJD:
        return None
    found = names.utc(mjd) + timedelta(microseconds=500)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


def times(mjd: Any) -> list[str | None]:
    """`when_mjd` of an array, as text on the wire."""
    import numpy as np

    days = np.asarray(mjd, dtype=float)
    known = (days >= _FIRST_MJD) & (days <= _LAST_MJD)
    ms = np.round(np.where(known, days, _FIRST_MJD) * 86400e3).astype("timedelta64[ms]")
    text = np.datetime_as_string(np.datetime64("1858-11-17", "ms") + ms, unit="s")
    return [f"{one}Z" if good else None for one, good in zip(text.tolist(), known.tolist(), strict=True)]


def number(value: Any) -> float | None:
    """A finite number, or None: JSON knows no NaN."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def plain(value: Any) -> Any:
    """A value of a table as JSON can say it."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def item(row: ItemRow) -> answers.Item:
    """An item of the job list."""
    return answers.Item(
        ms_path=row.name,
        job_id=row.id,
        status=row.status,  # type: ignore[arg-type]
        error=row.error,
        started_at=when(row.started),
        completed_at=when(row.ended),
        products=row.products,
        log_lines=row.lines,
    )


def batch(row: BatchRow) -> answers.Batch:
    """A batch of the job list."""
    states = [one.status for one in row.items]
    return answers.Batch(
        id=row.id,
        type=f"batch_{row.kind}",
        status=row.status,  # type: ignore[arg-type]
        total_items=len(states),
        completed_items=states.count("done"),
        failed_items=states.count("failed"),
        created_at=datetime.fromtimestamp(row.created, UTC),
        params=row.params,
        items=[item(one) for one in row.items],
        ignored=row.ignored,
        branch=None if row.branch is None else f"batches/{row.branch}",
        note=row.note,
        submitted_by=row.submitted_by,
    )


def job(row: BatchRow, one: ItemRow) -> answers.Batch:
    """An item as a batch of one."""
    told = batch(row)
    return told.model_copy(
        update={
            "id": one.id,
            "status": one.status,
            "total_items": 1,
            "completed_items": int(one.status == "done"),
            "failed_items": int(one.status == "failed"),
            "items": [item(one)],
        }
    )


@lru_cache(maxsize=50_000)
def iau_name(ra_deg: float, dec_deg: float) -> str:
    """Designation of a source by its position (ICRS), truncated as the IAU wants, never rounded.

    `J083454.9+553421`: tenths of a second of right ascension, seconds of declination.
    """
    # a position to 1e-9 deg is exact; without this a decimal such as 15 * 0.1 s lands below its own tenth
    tenths = math.floor(round((ra_deg % 360.0) / 15.0 * 36000.0, 6)) % 864000
    seconds = math.floor(round(abs(dec_deg) * 3600.0, 6))
    hours, rest = divmod(tenths, 36000)
    minutes, rest = divmod(rest, 600)
    sign = "-" if dec_deg < 0 else "+"
    return (
        f"J{hours:02d}{minutes:02d}{rest // 10:02d}.{rest % 10}"
        f"{sign}{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    )


def row_of(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table in plain values."""
    return {str(name): plain(value) for name, value in columns.items()}
