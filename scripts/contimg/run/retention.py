"""Retention: what of a night may go, why the rest may not, and how it goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.config.retention import RetentionOptions
from contimg.core import names
from contimg.core.digests import sha256
from contimg.core.errors import SystemFault
from contimg.core.products import flush_tree, read_json, remove, write_json
from contimg.index import retired
from contimg.index.tile import Tile
from contimg.night.night import Night

STATUS = "status.json"
RAW, SCIENCE, CALIBRATOR, CALIBRATED = "raw", "science", "calibrator", "calibrated"


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


def items(night: Night, tree: Path, options: RetentionOptions, now_mjd: float) -> Iterator[Item]:
    """Everything of a run's tiles that a policy speaks of, with what holds it; the policy's nulls hold for ever."""
    mosaics = _mosaics(night, tree)
    for name in night.selected:
        tile = night.tiles[name]
        needed = _needed(night, tree, tile, mosaics.get(name, set()), options)
        candidates = [
            (RAW, options.raw_days, tuple(Path(path) for path in tile.files), needed),
            (SCIENCE, options.science_days, (tree / names.science_ms(name),), needed),
            (CALIBRATED, options.calibrated_days, (tree / names.calibrated_ms(name),), None),
        ]
        for path, transit in night.transits.items():
            if transit.tile == name:
                ms = tree / names.calibrator_ms(name, transit.calibrator.name)
                unsolved = None if (tree / path / STATUS).is_file() else f"{path} is not made"
                candidates.append((CALIBRATOR, options.calibrators_days, (ms,), unsolved))
        age_days = now_mjd - tile.mid_mjd
        for kind, days, paths, why in candidates:
            there = tuple(path for path in paths if path.exists())
            if there:
                yield Item(kind, name, there, sum(map(_size, there)), _young(days, age_days, kind) or why)


def _young(days: float | None, age_days: float, kind: str) -> str | None:
    if days is None:
        return f"retention.{kind}… is null: never"
    return f"{age_days:.1f} days old, kept for {days:g}" if age_days < days else None


def _needed(night: Night, tree: Path, tile: Tile, mosaics: set[str], options: RetentionOptions) -> str | None:
    """Which product still needs a tile's data, and why; None if none does."""
    for path, transit in night.transits.items():
        if transit.tile == tile.name and not (tree / path / STATUS).is_file():
            return f"{path} is not made"
    image = names.image_dir(tile.name)
    if not (tree / image / STATUS).is_file():
        return f"{image} is not made"
    if read_json(tree / image / STATUS)["reason"] is not None and options.rejected == "keep":
        return f"{image} is rejected, and retention.rejected is keep"
    if not mosaics:
        return "no mosaic holds it"
    for mosaic in sorted(mosaics):
        why = _unpublished(tree, mosaic, options)
        if why is not None:
            return f"{mosaic} {why}"
    return None


def _unpublished(tree: Path, mosaic: str, options: RetentionOptions) -> str | None:
    """Why a mosaic still needs its data; None if it is published, or never will be and need not be kept."""
    found = names.product_of(mosaic)
    receipt = tree / names.receipt(found.date, found.name) if found is not None else None
    if not (tree / mosaic / STATUS).is_file():
        return "is not made"
    if receipt is None or not receipt.is_file():
        return "is not published"
    if receipt.stat().st_mtime_ns < (tree / mosaic / STATUS).stat().st_mtime_ns:
        return "was made again since it was published"
    reason = read_json(receipt)["reason"]
    if reason is not None and options.rejected == "keep":
        return f"is not published ({reason}), and retention.rejected is keep"
    return None


def _mosaics(night: Night, tree: Path) -> dict[str, set[str]]:
    """Mosaics that hold each tile: those of the run, and those of other runs that are there."""
    held: dict[str, set[str]] = {}
    for path, window in night.windows.items():
        for name in window.tiles:
            held.setdefault(name, set()).add(path)
    for sidecar in tree.glob(f"mosaics/*/*/{STATUS}"):
        path = str(sidecar.parent.relative_to(tree))
        if names.product_of(path) is not None and path not in night.windows:
            for image in read_json(sidecar)["inputs"]:
                held.setdefault(Path(image).name, set()).add(path)
    return held


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def retire(item: Item, tile: Tile, tree: Path, *, incoming: Path, archive: Path | None) -> None:
    """Let an item go: what is gone is recorded first, so that an interruption leaves nothing half-known.

    Raw files are moved to `archive` if there is one: copied, compared, then removed. Measurement Sets are removed.
    """
    date = names.tile_date(item.tile)
    path = retired.path_of(tree, date)
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    record = known.setdefault(
        item.tile, {"tile": {**vars(tile), "slots": [vars(slot) for slot in tile.slots]}}
    )
    if item.kind == RAW:  # what the tile was while its files were there
        record["tile"] = {**vars(tile), "slots": [vars(slot) for slot in tile.slots]}
    record.setdefault(item.kind, {})
    to = str(archive) if item.kind == RAW and archive is not None else None
    record[item.kind] = {"retired": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "to": to}
    write_json(path, known)
    for source in item.paths:
        if item.kind == RAW and archive is not None:
            _archive(source, archive / _below(source, incoming))
        if source.is_dir():  # no half of a Measurement Set ever has its name
            aside = source.with_name(f"{source.name}.part.{os.getpid()}")
            os.rename(source, aside)
            remove(aside)
        else:
            remove(source)


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)


def _archive(source: Path, target: Path) -> None:
    """Copy a file, flushed, and compare it; the original is untouched."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part.{os.getpid()}")
    shutil.copy2(source, part)
    flush_tree(part)
    if sha256(part) != sha256(source):
        remove(part)
        raise SystemFault(f"{target}: the copy differs from {source}, which stays; check the archive's disk")
    os.replace(part, target)


def forget(tile: str, tree: Path) -> bool:
    """Clear the record of a tile, so that its products are made again from what is there; False if it had none."""
    path = retired.path_of(tree, names.tile_date(tile))
    known = read_json(path) if path.is_file() else {}
    if tile not in known:
        return False
    del known[tile]
    write_json(path, known)
    return True
