"""What a run has come to, in a colour and a line; and why groups of files were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contimg.core.text import count_of
from contimg.plan.facts import NOT_MADE
from contimg.qa.verdict import FAIL


def verdict(facts: Mapping[str, Any]) -> tuple[str, str]:
    """What a run has come to, in a word and a line.

    Parameters
    ----------
    facts : mapping
        From `gather`.

    Returns
    -------
    mood : {"yes", "part", "no"}
        Everything is there and good; all that could be made is there; something broke, or was not made.
    said : str
    """
    counts, tiles, mosaics = facts["counts"], facts["tiles"], facts["mosaics"]
    missing = counts["images"][NOT_MADE]
    if counts["errors"] or missing:
        return "no", f"{count_of(counts['errors'], 'error')}, {count_of(missing, 'image')} not made"
    lacks = []
    for what, rows, rejected in (
        ("images", tiles, counts["images"]["rejected"]),
        ("mosaics", mosaics, counts["mosaics"]["rejected"]),
    ):
        failed = sum(row["verdict"] == FAIL for row in rows)
        lacks += [f"{rejected} of {len(rows)} {what} rejected"] if rejected else []
        lacks += [f"{failed} of {len(rows)} {what} failed a gate"] if failed else []
    if facts["left_out"]:
        lacks.append(f"{count_of(len(facts['left_out']), 'group')} of files left out")
    if not tiles:
        lacks.append("no tile in this range")
    return ("part", f"Finished: {', '.join(lacks)}") if lacks else ("yes", "Complete")


def left_out_by_cause(entries: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Groups of files that no tile was made of: why, and their names; the most frequent first."""
    causes: dict[str, list[str]] = {}
    for entry in entries:
        causes.setdefault(entry["reason"], []).append(entry["tile"])
    return sorted(causes.items(), key=lambda cause: -len(cause[1]))
