"""Broken files: what happens to a night's files on request."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from contimg.simulate.options import Fault, SimOptions
from contimg.simulate.streams import Stream, generator

OTHER_DECLINATION_DEG = -3.0
DUPLICATE_DELAY_S = 7
TRUNCATED_FRACTION = 0.6
GARBAGE_BYTES = 200_000


@dataclass(frozen=True)
class Plan:
    """What to do with one subband of one tile; `kinds` names its faults."""

    kinds: frozenset[str]

    @property
    def written(self) -> bool:
        """Whether a finished file appears under the subband's name."""
        return not self.kinds & {"missing_tile", "missing_subband", "incomplete"}

    @property
    def needs_data(self) -> bool:
        """Whether visibilities must be computed."""
        return not self.kinds & {"missing_tile", "missing_subband", "zero_length", "garbage"}


def plan(options: SimOptions, tile: int, subband: int) -> Plan:
    """Return the faults of one subband of one tile."""
    return Plan(frozenset(f.kind for f in options.faults if f.tile == tile and f.subband in (None, subband)))


def incomplete_name(name: str) -> str:
    """Return the name that the finished file called `name` had while it was being written."""
    return name.removesuffix(".hdf5") + "_incomplete.hdf5"


def truncate(path: Path) -> None:
    """Cut a file to 60 % of its bytes."""
    os.truncate(path, int(TRUNCATED_FRACTION * path.stat().st_size))


def write_garbage(path: Path, seed: int, tile_key: int, subband: int) -> None:
    """Write random bytes."""
    path.write_bytes(generator(seed, Stream.GARBAGE, tile_key, subband).bytes(GARBAGE_BYTES))


def of_tile(options: SimOptions, tile: int) -> list[Fault]:
    """Return the faults of a tile."""
    return [f for f in options.faults if f.tile == tile]
