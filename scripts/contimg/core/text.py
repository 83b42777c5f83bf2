"""Numbers and lists as a reader likes them."""

from __future__ import annotations

from collections.abc import Iterable


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min` or `2 d 4 h`."""
    minutes = round(seconds / 60.0)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 2880:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def count_of(number: int, what: str) -> str:
    """`1 tile`, `2 tiles`, `0 tiles`."""
    return f"{number} {what}{'s' * (number != 1)}"


def some(words: Iterable[str], most: int = 4) -> str:
    """The first of some words: `a, b, c, d and 3 more`."""
    every = list(words)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
