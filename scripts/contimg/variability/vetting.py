"""What people say of candidates: a file of their own, to which lines are added and which no rerun touches.

`variability/vetting.csv` has a line for each verdict: source, event's middle, state, who, when, comment. The last line
for an event holds. An event is known again by its source and by its middle being no farther than half its duration, so
that a verdict outlives a fit that moves.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from contimg.core.errors import InputError

STATES = ("active", "investigated", "dismissed")
FILE = Path("variability/vetting.csv")
COLUMNS = ("source_id", "middle_mjd", "duration_d", "status", "comment", "by", "at")


def read(path: Path) -> pd.DataFrame:
    """Read the verdicts, oldest first; none if there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, dtype={"source_id": str, "status": str, "comment": str, "by": str, "at": str})


def add(
    path: Path,
    candidates: pd.DataFrame,
    source_id: str,
    status: str,
    *,
    comment: str,
    by: str,
    event: int | None,
) -> int:
    """Add a verdict on the candidates of a source.

    Parameters
    ----------
    path : Path
        The file; it is made if it is not there.
    candidates : DataFrame
        Those there are.
    source_id : str
    status : {"active", "investigated", "dismissed"}
    comment, by : str
        Why, and who says so.
    event : int, optional
        Number of the event; by default all of the source.

    Returns
    -------
    int
        How many events it is on.

    Raises
    ------
    InputError
        There is no such state, candidate or event.
    """
    if status not in STATES:
        raise InputError(f"status: found {status!r}; write one of {', '.join(STATES)}")
    mine = candidates[candidates["source_id"] == source_id]
    if event is not None:
        mine = mine[mine["event"] == event]
    if not len(mine):
        raise InputError(
            f"{source_id}: no such candidate{'' if event is None else f' with event {event}'}; "
            f"there are {', '.join(candidates['source_id'].unique()[:5]) or 'none'}"
        )
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in mine.to_dict("records"):
        writer.writerow(
            (source_id, f"{row['middle_mjd']:.2f}", f"{row['duration_d']:.2f}", status, comment, by, at)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two people at once add two lines
        if file.tell() == 0:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
    return len(mine)


def with_status(candidates: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Give the candidates with what people said last of each."""
    stated = candidates.copy()
    for place, row in stated.iterrows():
        same = verdicts[
            (verdicts["source_id"] == row["source_id"])
            & (
                (verdicts["middle_mjd"].astype(float) - row["middle_mjd"]).abs()
                <= 0.5 * verdicts["duration_d"].astype(float).clip(lower=row["duration_d"])
            )
        ]
        if len(same):
            stated.loc[place, "status"] = same["status"].iloc[-1]
    return stated
