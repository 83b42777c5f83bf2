"""The tiles of a run: those whose raw files are there, and those whose files were retired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contimg.index.build import build_index
from contimg.index.groups import Reader
from contimg.index.retired import Retired, merge, records
from contimg.index.tile import Index


class How(Protocol):
    """What of a configuration says how a file is read."""

    @property
    def reader(self) -> Reader: ...


class Where(Protocol):
    """What of a configuration says which files there are."""

    @property
    def incoming(self) -> Path: ...
    @property
    def products(self) -> Path: ...
    @property
    def min_subbands(self) -> int: ...
    @property
    def raw(self) -> How: ...
    @property
    def exclude(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Loaded:
    """An index with its retired tiles back in it.

    Attributes
    ----------
    index : Index
    retired : Retired
        Which of its tiles are without their files.
    known : frozenset of str
        Tiles that are left out, or were retired once: what a configuration may exclude.
    """

    index: Index
    retired: Retired
    known: frozenset[str]


def load_index(
    config: Where, *, start_mjd: float | None, end_mjd: float | None, cache: Path | None = None
) -> Loaded:
    """Index the raw files of a range, and put retired tiles back.

    Parameters
    ----------
    config : Where
        The configuration of a run.
    start_mjd, end_mjd : float or None
        Tiles that start in [start, end), MJD UTC; None is open.
    cache : Path, optional
        Directory of what was read before.
    """
    index = build_index(
        config.incoming,
        start_mjd=start_mjd,
        end_mjd=end_mjd,
        min_subbands=config.min_subbands,
        exclude=config.exclude,
        cache=cache,
        reader=config.raw.reader,
    )
    gone = records(config.products, start_mjd, end_mjd)
    known = frozenset({entry.tile for entry in index.left_out} | gone.keys())
    index, retired = merge(index, gone, config.products, exclude=config.exclude)
    return Loaded(index, retired, known)


def cache_of(products: Path) -> Path | None:
    """Where a products tree keeps what was read of raw files; None where there is no tree yet."""
    state = products / "state"
    return state / "index" if state.is_dir() else None
