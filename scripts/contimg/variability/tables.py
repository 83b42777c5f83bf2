"""Which photometry tables there are, and which of them are recent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from contimg.core import names, provenance


def listed(tree: Path) -> list[str]:
    """Photometry tables of a products tree, relative to it, in order of date and name."""
    found = (tree / "photometry").glob("*/*.parquet")
    return sorted(path.relative_to(tree).as_posix() for path in found if ".part." not in path.name)


def state(tree: Path, paths: Iterable[str]) -> str:
    """Digest of which tables there are, with their sizes and times of change."""
    seen = [(path, (tree / path).stat()) for path in paths]
    return provenance.digest([[path, at.st_size, at.st_mtime_ns] for path, at in seen])


def state_of_others(tree: Path, own: Iterable[str]) -> str:
    """Digest of the state of the photometry tables that other runs made: with them, light curves are made again."""
    mine = set(own)
    return state(tree, [path for path in listed(tree) if path not in mine])


def _day(path: str) -> int:
    """MJD of the date in a table's path."""
    return round(names.mjd(datetime.fromisoformat(path.split("/")[1].removesuffix("b"))))


def split(paths: Sequence[str], recent_days: int) -> tuple[list[str], list[str]]:
    """Tables of all nights up to the last full period of `recent_days`, and the later ones.

    Periods are counted in MJD, so that the split depends on the tables alone. With fewer than half a period of nights
    before it, all are recent: so few know no source well.
    """
    if not paths:
        return [], []
    days = [_day(path) for path in paths]
    edge = max(days) // recent_days * recent_days
    old = [path for path, day in zip(paths, days, strict=True) if day < edge]
    if len({path.split("/")[1] for path in old}) < max(recent_days / 2, 3):
        return [], list(paths)
    return old, [path for path, day in zip(paths, days, strict=True) if day >= edge]
