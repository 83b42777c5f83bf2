"""What went wrong in a run, ordered by cause, with the lines of the logs that tell why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.kinds import KINDS, STATUS, Kind
from contimg.core.names import TILE_PATTERN
from contimg.core.products import read_json
from contimg.jobs import frame
from contimg.jobs.frame import ERROR_PREFIX
from contimg.night.night import Night
from contimg.plan.facts import NOT_MADE

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
class Made:
    """A product of a run with its sidecar and the log of its job, all relative to the products tree.

    `key` is what its job is known by (`contimg.jobs.frame.run`).
    """

    key: str
    sidecar: str
    log: str
    kind: Kind


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


def outcome(sidecar: Path) -> dict[str, Any]:
    """What a sidecar says: status, reason, metrics and parameters; `not made` if there is none."""
    if not sidecar.is_file():
        return {"status": NOT_MADE, "reason": None, "metrics": {}, "parameters": {}, "caltables": []}
    record: dict[str, Any] = read_json(sidecar)
    return record


_ENDED_WELL = re.compile(r"contimg\.jobs\.frame (?!.*: failed \(attempt )")


def _broke(log: Path) -> bool:
    """Whether the job of a product that is not there broke; not where it ended well: the product was removed since."""
    if not log.is_file():
        return False
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        last = stream.read().decode(errors="replace").rstrip().rpartition("\n")[2]
    return _ENDED_WELL.search(last) is None


def made_of(night: Night) -> Iterator[Made]:
    """Everything that jobs of a night make, kind by kind; what was not asked for as well."""
    tiles = sorted(night.candidates)
    others: dict[str, Iterable[str]] = {
        "caltable": night.needed_cal_dirs(night.candidates),
        "mosaic": night.mosaics(),
        "mosaic_verdict": night.mosaic_verdicts,
        "source_list": [names.SOURCE_LIST] * night.measured,
        "photometry": night.photometry(),
        "lightcurves": [names.LIGHTCURVES] * night.measured,
        "ese_candidates": [names.ESE_CANDIDATES] * night.measured,
        "beam": night.beams(),
        "receipt": night.publication_records(),
    }
    for kind in KINDS:
        paths = [names.of_tile(kind, tile) for tile in tiles] if kind.of_tile else others.get(kind.name, ())
        yield from map(made, paths)


def made(path: str) -> Made:
    """A product by its path."""
    kind, log = names.log_of(path)
    return Made(path, kind.sidecar_of(path), log, kind)


def sidecars_of(paths: Iterable[str]) -> list[str]:
    """Sidecars of the products among some paths; pages and registries have none."""
    found: dict[str, None] = {}
    for path in paths:
        try:
            found[made(path).sidecar] = None
        except ValueError:
            continue
    return list(found)


def failures(night: Night, products: Path) -> list[Failure]:
    """Every product that is rejected, or that a job tried to make and did not."""
    found = []
    killed = set(frame.killed(products))
    for entry in made_of(night):
        there = outcome(products / entry.sidecar)
        reason = there["reason"]
        if there["status"] == NOT_MADE:
            if entry.key in killed:
                reason = f"{ERROR_PREFIX}its job was killed or is still running"
            elif _broke(products / entry.log):
                reason = f"{ERROR_PREFIX}its job ended without a product"
        elif there["status"] == "ok" or _follows(entry.kind, reason):
            continue
        if reason:
            product = entry.sidecar.removesuffix(f"/{STATUS}")
            found.append(Failure(product, reason, entry.log, decisive_lines(products / entry.log)))
    return found


def _follows(kind: Kind, reason: str | None) -> bool:
    """Whether a rejection only repeats that of an input, which is listed itself, or a verdict, which is shown."""
    return str(reason).startswith(kind.repeats)
