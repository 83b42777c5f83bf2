"""What can still be made of a range whose raw files or Measurement Sets are gone on purpose.

What cannot is left out of the plan and said; what exists stays as it is, whatever was made of it. So every range still
plans, with other settings, another catalogue, or after a product was deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contimg.calibrate.transits import Transit
from contimg.core import names
from contimg.core.kinds import KINDS, STATUS
from contimg.index.retired import Retired
from contimg.mosaic.windows import Window


def settle(
    tree: Path,
    gone: Retired,
    *,
    transits: Mapping[str, Transit],
    candidates: Mapping[str, Sequence[str]],
    windows: Mapping[str, Window],
    injected: Sequence[str],
) -> dict[str, Any]:
    """Leave out of a plan what retired data would be needed for and what is not there.

    Parameters
    ----------
    tree : Path
        The products tree.
    gone : Retired
        As `contimg.index.retired.merge` found it.
    transits, candidates, windows, injected
        As `contimg.night.night.Night` has them.

    Returns
    -------
    dict
        The last four as they can be, and `retired` with its further fields. A Measurement Set whose raw files are
        there and whose image is not counts as not retired.
    """
    if not (gone.raw or gone.sets):
        return {}
    no_image = {name for name in gone.sets if not (tree / names.image_dir(name) / STATUS).is_file()}
    raw = set(gone.raw)
    lost = sorted(no_image & raw)
    sets = tuple(name for name in gone.sets if name in raw or name not in no_image)
    solved = {
        path: transit
        for path, transit in transits.items()
        if transit.tile not in raw or (tree / path / STATUS).is_file()
    }
    unjudged = [name for name in lost if not (tree / names.tile_verdict(name)).is_file()]
    of_sets = (names.of_tile(kind, name) for kind in KINDS if kind.of_set for name in sets)
    unmade = tuple(path for path in of_sets if not (tree / path).exists())
    asked = tuple(name for name in injected if names.injection_record(name) not in unmade)
    mosaics, frozen, dropped = _windows(windows, tree, set(lost), set(unjudged))
    said = [
        *_line("caltables", sorted(transits.keys() - solved.keys())),
        *_line("images", lost),
        *_line("injected sources", [name for name in injected if name not in asked]),
        *_line("mosaics of lost images", dropped),
        *(f"{path}: an image of it is lost and cannot be made again; it stays as it is" for path in frozen),
    ]
    return {
        "transits": solved,
        "candidates": {
            name: tuple(path for path in paths if path in solved) for name, paths in candidates.items()
        },
        "windows": mosaics,
        "injected": asked,
        "retired": replace(
            gone,
            sets=sets,
            lost=tuple(lost),
            unjudged=tuple(unjudged),
            frozen=tuple(frozen),
            unmade=unmade,
            said=tuple(said),
        ),
    }


def _windows(
    all_windows: Mapping[str, Window], tree: Path, lost: set[str], unjudged: set[str]
) -> tuple[dict[str, Window], list[str], list[str]]:
    """Mosaics that are asked for, those of them that are taken as they are, and those that nothing can be said of."""
    windows: dict[str, Window] = {}
    frozen, dropped = [], []
    for path, window in all_windows.items():
        there = (tree / path / STATUS).is_file()
        tiles = window.tiles if there else tuple(tile for tile in window.tiles if tile not in lost)
        if not tiles or (there and unjudged.intersection(tiles)):
            dropped.append(path)
            continue
        if there and lost.intersection(tiles):
            frozen.append(path)
        windows[path] = replace(window, tiles=tiles)
    return windows, frozen, dropped


def _line(what: str, which: Iterable[str]) -> list[str]:
    some = list(which)
    if not some:
        return []
    shown = ", ".join(some[:3]) + (" …" if len(some) > 3 else "")
    return [f"{len(some)} {what} cannot be made any more, their data are retired: {shown}"]
