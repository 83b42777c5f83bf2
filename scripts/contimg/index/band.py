"""The channel grid of a strip: which subbands there are, from all the headers that were seen.

Subbands lie on a lattice: their lowest channels differ by whole numbers of a spacing, the width of a subband
where they adjoin. The grid runs over all slots seen in any tile of the strip, so that a subband missing in
one tile is a gap in a known place, and gaps inside it are filled. Only where no tile at all has the first or
last subbands do the labels (sb00 to sb15) have to tell: where they count along the frequencies, the grid is
extended to the instrument's 16.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from contimg.core.names import strip_dec
from contimg.index.subband import SubbandHeader

N_SUBBANDS = 16
"""Subbands that the instrument writes; a band with at most half of them is an instrument of its own."""
_ALIGNED_CHANNELS = 0.1
"""A lowest channel on the lattice may be off it by this fraction of a channel."""
Content = tuple[SubbandHeader, Sequence[tuple[float, int]]]
"""A group: a header that stands for it, and the lowest channel (Hz) and label of each of its files."""


@dataclass
class Band:
    """Slots of a strip, numbered from an arbitrary origin, ascending in frequency."""

    origin_hz: float  # lowest channel of slot 0
    spacing_hz: float
    n_channels: int
    channel_width_hz: float
    expected: int = 0  # subbands that a full tile has
    grid: list[int] = field(default_factory=list)  # slot numbers of a full tile whose place is known
    labels: dict[int, int] = field(default_factory=dict)  # slot number -> NN of sbNN, where known

    def number(self, freq_low_hz: float) -> int | None:
        """Lattice point of a subband, on the grid or not; None if it is off the lattice."""
        number = round((freq_low_hz - self.origin_hz) / self.spacing_hz)
        off_hz = abs(freq_low_hz - self.freq_low_hz(number))
        return number if off_hz <= _ALIGNED_CHANNELS * self.channel_width_hz else None

    def slot(self, freq_low_hz: float) -> int | None:
        """Slot of a subband; None if it is not on the grid."""
        number = self.number(freq_low_hz)
        return number if number in self.grid else None

    def freq_low_hz(self, number: int) -> float:
        """Centre of the lowest channel of a slot."""
        return self.origin_hz + number * self.spacing_hz

    def title(self, number: int) -> str:
        """How a slot is called in messages."""
        label = self.labels.get(number)
        if label is not None:
            return f"sb{label:02d}"
        return f"the subband at {self.freq_low_hz(number) / 1e6:.2f} MHz"

    def range_text(self, numbers: Sequence[int]) -> str:
        """Frequencies that slots cover, in MHz, adjoining ones joined."""
        half = 0.5 * self.channel_width_hz
        edges: list[list[float]] = []
        for number in sorted(numbers):
            low = self.freq_low_hz(number) - half
            high = low + self.n_channels * self.channel_width_hz
            if edges and low - edges[-1][1] < half:
                edges[-1][1] = high
            else:
                edges.append([low, high])
        return ", ".join(f"{low / 1e6:.2f}–{high / 1e6:.2f}" for low, high in edges) + " MHz"

    def close(self, seen: Counter[tuple[int, int]], min_subbands: int) -> None:
        """Fix the grid and the labels from how often each pair of slot number and label was seen."""
        votes: dict[int, Counter[int]] = defaultdict(Counter)
        for (number, label), count in seen.items():
            votes[number][label] += count
        self.labels = {
            number: min(labels, key=lambda label: (-labels[label], label)) for number, labels in votes.items()
        }
        self.grid = list(range(min(votes), max(votes) + 1))
        floor = N_SUBBANDS if len(self.grid) > N_SUBBANDS // 2 else min_subbands
        self.expected = max(len(self.grid), floor)
        line = _line(self.labels)
        if line is None:
            return
        slope, first = line  # label = slope * number + first
        counted = {slope * (label - first): label for label in range(self.expected)}
        if set(self.grid) <= set(counted):
            self.grid, self.labels = sorted(counted), counted
        else:
            self.labels = {number: slope * number + first for number in self.grid}


def find_bands(contents: Sequence[Content], min_subbands: int) -> list[Band]:
    """The band of each group: shared by the groups of a strip that fit into one grid.

    Parameters
    ----------
    contents
        The groups of all strips.
    min_subbands
        A full tile of a small instrument has at least so many.

    Returns
    -------
    list of Band
        In the order of `contents`.
    """
    strips: dict[tuple[float, int, float], list[int]] = defaultdict(list)
    for at, (header, _) in enumerate(contents):
        key = (strip_dec(math.degrees(header.dec_rad)), header.n_channels, round(header.channel_width_hz, 3))
        strips[key].append(at)
    bands: dict[int, Band] = {}
    for members in strips.values():
        rest = members
        while rest:
            bands.update(_strip_bands(contents, rest, min_subbands))
            rest = [at for at in rest if at not in bands]
    return [bands[at] for at in range(len(contents))]


def _strip_bands(contents: Sequence[Content], members: Sequence[int], min_subbands: int) -> dict[int, Band]:
    """Bands of those groups of a strip that are on its commonest lattice (one at least)."""
    header = contents[members[0]][0]
    counts = Counter(freq_hz for at in members for freq_hz, _ in contents[at][1])
    origin_hz, spacing_hz = _lattice(
        counts, header.n_channels * header.channel_width_hz, header.channel_width_hz
    )
    lattice = Band(origin_hz, spacing_hz, header.n_channels, header.channel_width_hz)
    spans = {}
    for at in members:
        numbers = Counter(n for freq_hz, _ in contents[at][1] if (n := lattice.number(freq_hz)) is not None)
        if numbers:
            spans[at] = _window(numbers)
    ranges: list[tuple[int, int]] = []
    of: dict[int, int] = {}
    # Full groups first: they set the range that the partial ones fall into.
    for at in sorted(spans, key=lambda at: (-len(set(spans[at])), contents[at][0].time0_jd)):
        low, high = min(spans[at]), max(spans[at])
        for place, (first, last) in enumerate(ranges):
            if max(high, last) - min(low, first) < N_SUBBANDS:
                ranges[place] = (min(low, first), max(high, last))
                break
        else:
            place = len(ranges)
            ranges.append((low, high))
        of[at] = place
    bands = [Band(origin_hz, spacing_hz, header.n_channels, header.channel_width_hz) for _ in ranges]
    for place, (band, (first, last)) in enumerate(zip(bands, ranges, strict=True)):
        seen = Counter(
            (number, label)
            for at in of
            if of[at] == place
            for freq_hz, label in contents[at][1]
            if (number := band.number(freq_hz)) is not None and first <= number <= last
        )
        band.close(seen, min_subbands)
    return {at: bands[place] for at, place in of.items()}


def _lattice(counts: Counter[float], subband_hz: float, channel_hz: float) -> tuple[float, float]:
    """Origin and spacing (Hz) on which most lowest channels lie: adjoining subbands, else the least gap."""
    distinct = sorted(counts)
    gaps = [b - a for a, b in pairwise(distinct) if b - a > 0.99 * subband_hz]
    best = (0, distinct[0], subband_hz)
    for spacing in [subband_hz, *([min(gaps)] if gaps else [])]:
        for origin in distinct:
            on = sum(
                count
                for freq_hz, count in counts.items()
                if abs((freq_hz - origin) - spacing * round((freq_hz - origin) / spacing))
                <= _ALIGNED_CHANNELS * channel_hz
            )
            if on > best[0]:
                best = (on, origin, spacing)
        if 2 * best[0] > counts.total():
            break
    return best[1], best[2]


def _window(numbers: Counter[int]) -> list[int]:
    """Those of a group's lattice points, no further apart than a full band, that hold most of its files."""
    starts = sorted(numbers)
    windows = [[n for n in starts if first <= n < first + N_SUBBANDS] for first in starts]
    return max(windows, key=lambda window: (sum(numbers[n] for n in window), -window[0]))


def _line(labels: dict[int, int]) -> tuple[int, int] | None:
    """(slope, first) if label = slope * number + first for every slot, slope +1 or -1; None if labels jump."""
    if len(labels) < 2:
        return None
    for slope in (1, -1):
        firsts = {label - slope * number for number, label in labels.items()}
        if len(firsts) == 1:
            return slope, firsts.pop()
    return None
