"""What the command line of the simulator writes as one word: sources, variations, jumps, faults."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from contimg.core.errors import ConfigError
from contimg.simulate.options import Fault, Jump, Source, Variation


@contextmanager
def _parts(what: str, text: str, form: str, mark: str, counts: tuple[int, ...]) -> Iterator[list[str]]:
    """Give what stands between marks; a wrong count, or a ValueError, becomes an error that shows the form."""
    parts = [part.strip() for part in text.split(mark)]
    try:
        if len(parts) not in counts:
            raise ValueError
        yield parts
    except ValueError as exc:
        raise ConfigError(f"simulate: {what} {text!r} cannot be read; write {form}") from exc


def _finite(text: str) -> float:
    """A number that is one: a ValueError for nan and inf."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def parse_source(text: str) -> Source:
    """Return the source written as NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX[,MAJOR[,MINOR,ANGLE]]]."""
    form = "NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX[,MAJOR_ARCSEC[,MINOR_ARCSEC,ANGLE_DEG]]]"
    with _parts("source", text, form, ",", (4, 5, 6, 8)) as parts:
        numbers = [_finite(p) for p in parts[1:]]
    return Source(parts[0], *numbers, *(numbers[-1:] if len(parts) == 6 else ()))


def parse_variation(text: str) -> Variation:
    """Return the variation written as NAME,FACTOR,START,STOP."""
    with _parts("variation", text, "NAME,FACTOR,START,STOP (UTC)", ",", (4,)) as parts:
        return Variation(parts[0], _finite(parts[1]), *parts[2:])


def parse_jump(text: str) -> Jump:
    """Return the jump written as ANTENNA:TILE:FRACTION:FACTOR[:DELAY_NS]."""
    with _parts("jump", text, "ANTENNA:TILE:FRACTION:FACTOR[:DELAY_NS]", ":", (4, 5)) as parts:
        return Jump(parts[0], int(parts[1]), *(_finite(p) for p in parts[2:]))


def parse_fault(text: str) -> Fault:
    """Return the fault written as KIND:TILE[:SUBBAND]."""
    with _parts("fault", text, "KIND:TILE[:SUBBAND]", ":", (2, 3)) as parts:
        return Fault(parts[0], *(int(p) for p in parts[1:]))
