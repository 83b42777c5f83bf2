"""The files that a configuration names, read once: a mistake in one of them costs no run, and no good product.

Reading a large catalogue takes seconds. What was read and found good is noted below the products tree with the file's
size, times and inode, and is not read again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.core.errors import ConfigError, ContimgError
from contimg.core.products import write_json
from contimg.core.provenance import digest

if TYPE_CHECKING:
    from contimg.config.model import Config

_KEPT = 50


def check_named(config: Config) -> None:
    """Read every file that the configuration names, as the jobs will.

    Parameters
    ----------
    config : Config
        With absolute paths of files that are there.

    Raises
    ------
    ConfigError
        In one line: the key, the file, what is wrong.
    """
    notes = Path(config.products) / "state" / "checked.json"
    known = _read(notes)
    fresh = []
    for key, path, options, look in _files(config):
        mark = _mark(path, options)
        if mark in known:
            continue
        try:
            look()
        except ContimgError as error:
            raise ConfigError(f"{key}: {' '.join(str(error).split())}") from None
        fresh.append(mark)
    if fresh and notes.parent.is_dir():
        with contextlib.suppress(OSError):  # a tree that one may only read
            write_json(notes, [*known, *fresh][-_KEPT:])


def _files(config: Config) -> Iterator[tuple[str, Path, object, Callable[[], object]]]:
    """Key, path, the options that say how it is read, and what reads it."""

    def calibrators() -> object:
        from contimg.sky.calibrators import read_calibrators

        return read_calibrators(config.calibrators)

    def catalog() -> None:
        from contimg.sky.catalog import Catalog

        assert config.catalog is not None
        if Catalog(config.catalog, config.catalog_table).read().empty:
            raise ConfigError(f"{config.catalog}: no row with a place and a positive flux")

    def beam() -> object:
        from contimg.telescope.beam import load_beam

        return load_beam(config.beam)

    def sources() -> object:
        from contimg.photometry.positions import read_own

        assert config.photometry.sources is not None
        return read_own(config.photometry.sources)

    def strategy() -> None:
        from contimg.convert.strategy_check import check_strategy

        assert config.flagging.strategy is not None
        check_strategy(config.flagging.strategy)

    yield "calibrators", config.calibrators, None, calibrators
    if config.catalog is not None:
        yield "catalog", config.catalog, config.catalog_table.model_dump(mode="json"), catalog
    if config.beam.file is not None:
        yield "beam.file", config.beam.file, None, beam
    if config.photometry.sources is not None:
        yield "photometry.sources", config.photometry.sources, None, sources
    if config.flagging.strategy is not None:
        yield "flagging.strategy", config.flagging.strategy, None, strategy


def _mark(path: Path, options: object) -> str:
    state = path.stat()
    return digest(
        [str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev, options]
    )


def _read(notes: Path) -> list[str]:
    try:
        found = json.loads(notes.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    return [str(mark) for mark in found] if isinstance(found, list) else []
