"""What went wrong in a run, ordered by cause, with the lines of the logs that tell why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contimg.jobs import ERROR_PREFIX
from contimg.names import TILE_PATTERN

_TAIL_BYTES = 65536
_MOST_LINES = 3
_TELLING = re.compile(
    r"\b(error|exception|failed|rejected|killed|severe|fault|no space|out of memory|cannot)\b|^\w*(Error|Fault)\b",
    re.IGNORECASE,
)
_VARIES = re.compile(rf"{TILE_PATTERN}|(?<!\w)[\w.]*/[\w./+:-]+|\d+(\.\d+)?")


@dataclass(frozen=True)
class Failure:
    """A product that is not what it should be.

    Attributes
    ----------
    product : str
        Its path in the products tree.
    reason : str
        As its sidecar says, or what can be told without one.
    log : str
        Path of the log of its job.
    lines : tuple of str
        The lines of that log that tell why.
    """

    product: str
    reason: str
    log: str
    lines: tuple[str, ...]

    @property
    def is_error(self) -> bool:
        """Whether something broke; otherwise the data were too bad."""
        return self.reason.startswith(ERROR_PREFIX)


@dataclass(frozen=True)
class Cause:
    """Failures that have the same cause: their reasons differ in numbers and names only."""

    reason: str
    products: tuple[str, ...]
    log: str
    lines: tuple[str, ...]

    @property
    def kind(self) -> str:
        """`error` for something that broke, `rejected` for bad data."""
        return "error" if self.reason.startswith(ERROR_PREFIX) else "rejected"


def by_cause(failures: Sequence[Failure]) -> list[Cause]:
    """Group failures by cause: errors first, then what the data are to blame for; the most frequent first."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(_VARIES.sub("#", failure.reason), []).append(failure)
    causes = [
        Cause(group[0].reason, tuple(failure.product for failure in group), group[0].log, group[0].lines)
        for group in groups.values()
    ]
    return sorted(causes, key=lambda cause: (cause.kind != "error", -len(cause.products), cause.reason))


def decisive_lines(log: Path) -> tuple[str, ...]:
    """The last few lines of a log that speak of an error or a rejection, in their order; else its last line."""
    if not log.is_file():
        return ()
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = [
            line.rstrip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()
        ]
    telling = list(dict.fromkeys(line for line in lines if _TELLING.search(line)))
    return tuple((telling or lines[-1:])[-_MOST_LINES:])
