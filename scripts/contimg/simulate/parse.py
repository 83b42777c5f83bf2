"""What the command line of the simulator writes as one word: sources, variations, jumps, faults."""

from __future__ import annotations

from contimg.core.errors import ConfigError
from contimg.simulate.options import Fault, Jump, Source, Variation


def parse_source(text: str) -> Source:
    """Return the source written as NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX[,MAJOR[,MINOR,ANGLE]]]."""
    parts = [p.strip() for p in text.split(",")]
    try:
        if len(parts) not in (4, 5, 6, 8):
            raise ValueError
        numbers = [float(p) for p in parts[1:]]
    except ValueError as exc:
        raise ConfigError(
            f"simulate: source {text!r} cannot be read; write NAME,RA_DEG,DEC_DEG,FLUX_JY[,SPECTRAL_INDEX"
            "[,MAJOR_ARCSEC[,MINOR_ARCSEC,ANGLE_DEG]]]"
        ) from exc
    return Source(parts[0], *numbers, *(numbers[-1:] if len(parts) == 6 else ()))


def parse_variation(text: str) -> Variation:
    """Return the variation written as NAME,FACTOR,START,STOP."""
    parts = [p.strip() for p in text.split(",")]
    try:
        if len(parts) != 4:
            raise ValueError
        return Variation(parts[0], float(parts[1]), *parts[2:])
    except ValueError as exc:
        raise ConfigError(
            f"simulate: variation {text!r} cannot be read; write NAME,FACTOR,START,STOP (UTC)"
        ) from exc


def parse_jump(text: str) -> Jump:
    """Return the jump written as ANTENNA:TILE:FRACTION:FACTOR[:DELAY_NS]."""
    parts = text.split(":")
    try:
        if len(parts) not in (4, 5):
            raise ValueError
        return Jump(parts[0], int(parts[1]), *(float(p) for p in parts[2:]))
    except ValueError as exc:
        raise ConfigError(
            f"simulate: jump {text!r} cannot be read; write ANTENNA:TILE:FRACTION:FACTOR[:DELAY_NS]"
        ) from exc


def parse_fault(text: str) -> Fault:
    """Return the fault written as KIND:TILE[:SUBBAND]."""
    parts = text.split(":")
    try:
        if len(parts) not in (2, 3):
            raise ValueError
        return Fault(parts[0], *(int(p) for p in parts[1:]))
    except ValueError as exc:
        raise ConfigError(f"simulate: fault {text!r} cannot be read; write KIND:TILE[:SUBBAND]") from exc
