"""What was retired: raw files and Measurement Sets that are gone on purpose, and must not be missed or made again.

`state/retired/{date}.json` holds, by tile, what the index knew of it and what went when. It is read while the
Snakefile is: a retired tile stays in the index, so that caltables and mosaics are the same with and without its files;
and no rule makes what would need them, so that Snakemake takes what was made of it as it is. `docs/retention.md`
tells users.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.products import read_json
from contimg.core.provenance import digest, file_digest
from contimg.index.tile import Index, LeftOut, Tile

FOLDER = "state/retired"
Records = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Retired:
    """Tiles whose files are gone on purpose, by what is gone.

    Attributes
    ----------
    raw : tuple of str
        Tiles without their raw files.
    sets : tuple of str
        Tiles without their science Measurement Set.
    lost, unjudged : tuple of str
        Of these, tiles without an image, without a verdict on it (`contimg.night.remains`).
    unmade : tuple of str
        Products of Measurement Sets that are gone, which are not there: nothing makes them any more.
    frozen : tuple of str
        Mosaics that are taken as they are: an image of theirs is lost.
    said : tuple of str
        A line on each kind of product that cannot be made any more.
    """

    raw: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    unmade: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def made_from_raw(self) -> str:
        """Pattern of the tiles that a rule may make from raw files."""
        return _but(self.raw)

    @property
    def made_from_sets(self) -> str:
        """Pattern of the tiles that a rule may make from science Measurement Sets."""
        return _but(self.sets)

    @property
    def judged(self) -> str:
        """Pattern of the tiles whose images a rule may judge."""
        return _but(self.lost)

    @property
    def dates(self) -> str:
        """Pattern of the date of a window, in front of its name: mosaics that are frozen are no rule's."""
        return _not_frozen(self.frozen) + names.DATE_PATTERN

    @property
    def calibrators(self) -> str:
        """Pattern of the calibrator of a transit's mosaic, in front of its date."""
        return _not_frozen(self.frozen) + names.NOT_A_DATE_PATTERN


NOTHING = Retired()


def _not_frozen(mosaics: Iterable[str]) -> str:
    below = "|".join(re.escape(path.removeprefix("mosaics/")) for path in mosaics)
    return rf"(?!(?:{below})$)" if below else ""


def _but(tiles: Iterable[str]) -> str:
    gone = "|".join(re.escape(tile) for tile in sorted(tiles))
    return rf"(?!(?:{gone})(?!\d)){names.TILE_PATTERN}" if gone else names.TILE_PATTERN


def path_of(tree: Path, date: str) -> Path:
    """The record of a date."""
    return tree / FOLDER / f"{date}.json"


def state(tree: Path) -> str:
    """Digest of all records: what a run was planned with is what it may start with."""
    paths = sorted((tree / FOLDER).glob("*.json"))
    return digest([[path.name, file_digest(path)] for path in paths])


def records(tree: Path, start_mjd: float | None = None, end_mjd: float | None = None) -> Records:
    """Records of the tiles that start in [start, end), by tile; None is open."""
    first = None if start_mjd is None else names.tile_date(names.tile_name(start_mjd))
    last = None if end_mjd is None else names.tile_date(names.tile_name(end_mjd))
    found: Records = {}
    for path in sorted((tree / FOLDER).glob("*.json")):
        if (first is None or path.stem >= first) and (last is None or path.stem <= last):
            found |= read_json(path)
    return {
        tile: record
        for tile, record in found.items()
        if (start_mjd is None or record["tile"]["start_mjd"] >= start_mjd)
        and (end_mjd is None or record["tile"]["start_mjd"] < end_mjd)
    }


def tile_of(record: Mapping[str, Any]) -> Tile:
    """What the index knew of a retired tile."""
    return Index.from_json({"tiles": [record["tile"]], "left_out": []}).tiles[0]


def merge(index: Index, known: Records, tree: Path, *, exclude: Iterable[str] = ()) -> tuple[Index, Retired]:
    """Put retired tiles back into an index.

    A tile whose files are all there (again) is not retired, nor is a Measurement Set that is there: what exists wins.

    Parameters
    ----------
    index : Index
        Of the files that are there.
    known : dict
        From `records`, of the same range.
    tree : Path
        The products tree.
    exclude : iterable of str
        Tiles that stay out.
    """
    present = {tile.name: tile for tile in index.tiles}
    raw = []
    for name, record in known.items():
        if name in exclude:
            continue
        then = tile_of(record)
        if "raw" in record and (name not in present or len(present[name].files) < len(then.files)):
            present[name] = then
            raw.append(name)
    sets = [
        name
        for name, record in known.items()
        if ("science" in record or name in raw) and not (tree / names.science_ms(name)).exists()
    ]
    tiles = tuple(sorted(present.values(), key=lambda tile: tile.start_mjd))
    left_out: tuple[LeftOut, ...] = tuple(entry for entry in index.left_out if entry.tile not in raw)
    return Index(tiles, left_out, index.states), Retired(tuple(raw), tuple(sets))
