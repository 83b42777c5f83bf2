"""What a search of sources may cost: passes through the visibilities first, seconds of the clock as a last bound.

A pass costs as many units as it has sources. A search may spend `passes` units for each of its sources, so that
the same data
always stop at the same pass, whatever the machine. Seconds are counted likewise, against a machine that is too
slow or a
loop that no pass counts. Where the budget is spent, what was fitted so far is kept, and why it stopped is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FEWEST_SOURCES = 10
"""A search of fewer sources has the budget of so many: its first rounds know few of them."""


@dataclass
class Budget:
    """One search's budget.

    Attributes
    ----------
    passes : float
        Passes through the visibilities for each source.
    seconds : float
        Of the clock, for each source.
    clock : callable
        Seconds since some moment.
    spent : int
        Passes times sources so far.
    widest : int
        Most sources in a pass so far.
    """

    passes: float = float("inf")
    seconds: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    spent: int = 0
    widest: int = 0
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def spend(self, n_sources: int) -> None:
        """Count a pass with so many sources."""
        self.spent += n_sources
        self.widest = max(self.widest, n_sources)

    def used_up(self) -> str:
        """Why nothing more may be spent; empty where more may be."""
        shares = max(self.widest, FEWEST_SOURCES)
        if self.spent >= self.passes * shares:
            return f"{self.spent} passes times sources, {self.passes:g} for each of {shares} sources were allowed"
        if self.clock() - self.began >= self.seconds * shares:
            return f"{self.clock() - self.began:.0f} s, {self.seconds:g} s for each of {shares} sources were allowed"
        return ""
