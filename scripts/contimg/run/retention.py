"""Retention: what of a night may go, why the rest may not, and how it goes.

Nothing is removed before it was proved that nothing needs it (`contimg.run.needed`), and before what is gone is on
disk as a record. What an archive gets is copied, flushed, read again and compared; the only copy is never removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.core import names
from contimg.core.apart import fingerprints
from contimg.core.digests import sha256
from contimg.core.errors import InputError, SystemFault
from contimg.core.products import flush, flush_tree, read_json, remove, write_json
from contimg.index import retired
from contimg.index.tile import Index, Tile
from contimg.night.night import Night
from contimg.run import trees
from contimg.run.needed import Needed

RAW, SCIENCE, CALIBRATOR, CALIBRATED = "raw", "science", "calibrator", "calibrated"
_GOING = ".part.retired"


@dataclass(frozen=True)
class Item:
    """Something that takes space and may be retired.

    Attributes
    ----------
    kind : str
        `raw`, `science`, `calibrator` or `calibrated`.
    tile : str
    paths : tuple of Path
        Files (raw) or one Measurement Set; those that are there.
    bytes : int
    held : str or None
        Why it has to stay; None if it may go.
    """

    kind: str
    tile: str
    paths: tuple[Path, ...]
    bytes: int
    held: str | None


def items(night: Night, config: Config, now_mjd: float) -> Iterator[Item]:
    """Everything of a run's tiles that a policy speaks of, with what holds it; the policy's nulls hold for ever.

    Parameters
    ----------
    night : Night
        Planned from the files that are there now.
    config : Config
        Of the run, with absolute paths.
    now_mjd : float
        MJD UTC.
    """
    with fingerprints() as marks:
        yield from _items(night, config, now_mjd, Needed(night, config, marks))


def _items(night: Night, config: Config, now_mjd: float, needed: Needed) -> Iterator[Item]:
    tree, options = Path(config.products), config.retention
    wanted_by: dict[frozenset[Path], list[str]] = {}
    for name in night.selected:
        tile = night.tiles[name]
        candidates = [
            (RAW, options.raw_days, tuple(Path(path) for path in tile.files)),
            (SCIENCE, options.science_days, (tree / names.science_ms(name),)),
            (CALIBRATED, options.calibrated_days, (tree / names.calibrated_ms(name),)),
        ]
        transits = {
            names.calibrator_ms(name, transit.calibrator.name): path
            for path, transit in night.transits.items()
            if transit.tile == name
        }
        candidates += [(CALIBRATOR, options.calibrators_days, (tree / ms,)) for ms in transits]
        age_days = now_mjd - tile.mid_mjd
        for kind, days, paths in candidates:
            there = tuple(path for path in paths if path.exists())
            if not there:
                continue
            why = _young(days, age_days, kind)
            if why is None and kind == CALIBRATOR:
                why = needed.caltable(transits[str(there[0].relative_to(tree))])
            elif why is None and kind in (RAW, SCIENCE):
                why = needed.tile(name)
            if why is None and kind == RAW:
                folders = frozenset(path.parent for path in there)
                if folders not in wanted_by:
                    wanted_by[folders] = trees.others(Path(config.incoming), tree, folders)
                why = _others(wanted_by[folders]) or _unsafe(there, Path(config.incoming), options.archive)
            yield Item(kind, name, there, sum(map(_size, there)), why)


def _young(days: float | None, age_days: float, kind: str) -> str | None:
    if days is None:
        key = "calibrators" if kind == CALIBRATOR else kind
        return (
            f"retention.{key}_days is not set: {'raw files' if kind == RAW else 'Measurement Sets'} are kept"
        )
    return None if age_days >= days else f"{age_days:.1f} days old, kept for {days:g}"


def _others(wanted_by: list[str]) -> str | None:
    if not wanted_by:
        return None
    return f"{wanted_by[0]} is made of it too (contimg retention --release PRODUCTS, if that may be without)"


def _unsafe(files: tuple[Path, ...], incoming: Path, archive: Path | None) -> str | None:
    """Why raw files cannot go the way they should: the archive would hold no copy of its own."""
    for path in files:
        if path.is_symlink():
            return f"{path} is a link: what it points to is not this directory's to remove"
        if archive is None:
            if not path.resolve().is_relative_to(incoming.resolve()):
                return f"{path} lies outside `incoming`, behind a link ({path.resolve()})"
            continue
        target = archive / _below(path, incoming)
        if target.resolve().is_relative_to(incoming.resolve()):
            return f"retention.archive: {archive} lies in `incoming`"
        if target.exists() and path.samefile(target):
            return f"{target} is this very file, no copy of it"
        if target.exists() and target.stat().st_size != path.stat().st_size:
            return f"{target} is another file of this name"
    return None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def retire(item: Item, tile: Tile, tree: Path, *, incoming: Path, archive: Path | None) -> None:
    """Let an item go.

    Raw files are copied to `archive`, if there is one, and compared; then what goes is recorded; then it is removed.
    A kill at any moment leaves every raw file whole in one of the two places, and the next call goes on.

    Raises
    ------
    SystemFault
        A copy is not what the original is, or a file changed meanwhile: nothing is removed.
    """
    if item.held is not None:
        raise SystemFault(f"{item.kind} {item.tile}: asked to remove what is held: {item.held}")
    to = archive if item.kind == RAW else None
    before = {path: _state(path) for path in item.paths if path.is_file()}
    copies = {} if to is None else {path: _archive(path, to / _below(path, incoming)) for path in item.paths}
    _record(item, tile, tree, to)
    for path in item.paths:
        if path.is_dir():  # no half of a Measurement Set ever has its name
            aside = path.with_name(f"{path.name}{_GOING}")
            remove(aside)
            os.rename(path, aside)
            remove(aside)
            continue
        if _state(path) != before[path] or (path in copies and path.samefile(copies[path])):
            raise SystemFault(
                f"{path}: it changed while it was to be removed, and stays; look who writes there"
            )
        path.unlink()
        flush(path.parent)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _record(item: Item, tile: Tile, tree: Path, to: Path | None) -> None:
    path = retired.path_of(tree, names.tile_date(item.tile))
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    whole = {"tile": {**vars(tile), "slots": [vars(slot) for slot in tile.slots]}}
    record = known.setdefault(item.tile, whole)
    if item.kind == RAW:  # what the tile was while its files were there
        record["tile"] = whole["tile"]
    record[item.kind] = {
        "retired": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "to": None if to is None else str(to),
    }
    write_json(path, known)
    flush(path.parent)


def finish(tree: Path) -> list[Path]:
    """Remove what killed calls left half removed; the caller holds the tree's lock."""
    left = sorted(tree.glob(f"ms/*/*/*{_GOING}"))
    for path in left:
        remove(path)
    return left


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)


def _archive(source: Path, target: Path) -> Path:
    """Copy a file, flushed with its directory, and compare it; the original is untouched, and nothing written over.

    Raises
    ------
    SystemFault
        Something else has the name, the copy differs, or the archive has no room or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mark = sha256(source)
        if not target.exists():
            _copy(source, target, mark)
        _compare(target, source, mark)
    except OSError as error:
        raise SystemFault(
            f"{target}: the archive cannot take {source}, which stays ({error.strerror}); mend that, or make room, and "
            "start the same command again"
        ) from error
    return target


def _copy(source: Path, target: Path, mark: str) -> None:
    part = target.with_name(f"{target.name}.part.retention")
    try:
        shutil.copy2(source, part)
        flush_tree(part)
        _compare(part, source, mark)
        _name(part, target)
        flush(target.parent)
    finally:
        remove(part)


def _name(part: Path, target: Path) -> None:
    """Give a file its name, unless something has it by now."""
    try:
        os.link(part, target)
    except FileExistsError:
        return  # compared next
    except OSError:  # a file system without links
        os.rename(part, target)


def _compare(copy: Path, source: Path, mark: str) -> None:
    if copy.samefile(source):
        raise SystemFault(
            f"{copy}: this is {source} itself, no copy of it, which stays; give another `archive`"
        )
    if sha256(copy) != mark:
        raise SystemFault(
            f"{copy}: the copy differs from {source}, which stays; check the archive's disk and files"
        )


def forget(tile: str, tree: Path, index: Index) -> None:
    """Clear the record of a tile, so that its products are made again from what is there.

    Parameters
    ----------
    tile : str
    tree : Path
        The products tree.
    index : Index
        Of the raw files that are there now, without what is retired.

    Raises
    ------
    InputError
        The tile is not retired, or nothing is there that could bring it back.
    """
    path = retired.path_of(tree, names.tile_date(tile))
    known = read_json(path) if path.is_file() else {}
    if tile not in known:
        raise InputError(f"--forget: {tile} is not retired; state/retired/ has the tiles that are")
    then = retired.tile_of(known[tile])
    now = next((found for found in index.tiles if found.name == tile), None)
    if now is None or len(now.files) < len(then.files):
        raise InputError(
            f"--forget: {tile}: {0 if now is None else len(now.files)} of its {len(then.files)} raw files are in "
            "`incoming`, and without them nothing of it could be made again: its mosaics would lose it. Put the files "
            f"back first{_where(known[tile])}"
        )
    del known[tile]
    write_json(path, known)


def _where(record: dict[str, Any]) -> str:
    to = record.get(RAW, {}).get("to")
    return "" if to is None else f" (they went to {to})"
