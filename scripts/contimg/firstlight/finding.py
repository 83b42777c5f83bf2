"""One assumption, and what the data say of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether an assumption stands."""

    HOLDS = "borne out"
    FAILS = "not borne out"
    UNTOLD = "cannot be told"


@dataclass(frozen=True)
class Finding:
    """An assumption, what was measured, and what to do.

    Attributes
    ----------
    name : str
        Short and stable: the key in firstlight.json.
    assumption : str
        What the pipeline takes for granted.
    verdict : Verdict
    measured : str
        The measured value with its error, in words.
    advice : str
        What to set or look at; empty where nothing is to be done.
    value, error : float or None
        The number behind it, in `unit`.
    unit : str
    """

    name: str
    assumption: str
    verdict: Verdict
    measured: str
    advice: str = ""
    value: float | None = None
    error: float | None = None
    unit: str = ""


def untold(name: str, assumption: str, why: str, advice: str = "") -> Finding:
    """A finding that these data do not allow."""
    return Finding(name, assumption, Verdict.UNTOLD, why, advice)


def judged(
    name: str, assumption: str, holds: bool, measured: str, advice: str, **numbers: float | str | None
) -> Finding:
    """A finding whose advice is only given where the assumption fails."""
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Finding(name, assumption, verdict, measured, "" if holds else advice, **numbers)  # type: ignore[arg-type]
