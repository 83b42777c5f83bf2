"""What a note of a verdict is about: the words that begin it, in one list.

Pages count notes by them and a mosaic counts those of its tiles, so that nothing is looked for in their texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Note(StrEnum):
    """The words that begin a note. Notes on single antennas begin with the antenna's name."""

    BY_DAY = "by day"
    UT1 = "UT1 is a prediction"
    UNFINISHED = "unfinished"
    POSITIONS = "positions"
    BEAM = "beam"
    POINTING = "pointing"
    NOISY = "noisier than expected"

    def line(self, text: str) -> str:
        """A note of this kind."""
        return f"{self}: {text}"

    def among(self, record: Mapping[str, Any]) -> bool:
        """Whether a verdict has a note of this kind."""
        return any(about(line) == self for line in record["notes"])


def about(line: str) -> str:
    """What a note is about: the words before its colon."""
    return line.partition(":")[0]
