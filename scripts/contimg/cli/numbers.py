"""Numbers of the command line: finite, and in bounds that mean something."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


def number(low: float, high: float) -> Callable[[str], float]:
    """A type for argparse: a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"found {text!r}; write a number from {low:g} to {high:g}")
        return value

    return read


def day(text: str) -> str:
    """A type for argparse: a UTC date."""
    from contimg.core import values
    from contimg.core.errors import ContimgError

    try:
        found = values.day(text)
    except (ValueError, ContimgError):
        found = None
    if found is None:
        raise argparse.ArgumentTypeError(f"found {text!r}; write a UTC date such as 2025-10-30")
    return str(found)


def any_of(kind: type) -> Callable[[str], Any]:
    """A type for argparse, of an option whose own checks know its bounds: a finite number, or `kind` itself."""
    return {int: count(-(10**12), 10**12), float: number(-1e18, 1e18)}.get(kind, kind)


def count(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        if not (text.lstrip("+-").isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"found {text!r}; write a whole number from {low} to {high}")
        return int(text)

    return read
