"""Which raw files of a run are others than those that its Measurement Sets were made of: what makes these again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contimg.calibrate.transits import Transit
from contimg.core import names
from contimg.core.kinds import BY_NAME, STATUS
from contimg.core.text import some
from contimg.index.memory import Marks, Recalled, ahead_of_clock, recall
from contimg.index.subband import State
from contimg.index.tile import Tile
from contimg.jobs.frame import ERROR_PREFIX

Memory = dict[str, dict[str, Recalled]]
"""By Measurement Set and by raw file, where there is anything to recall."""


def recall_all(
    tree: Path,
    tiles: Mapping[str, Tile],
    transits: Mapping[str, Transit],
    states: Mapping[str, State],
    *,
    selected: Iterable[str],
    cache: Path | None,
) -> tuple[Memory, tuple[str, ...]]:
    """Hold the raw files of a run against what its products remember of them.

    Parameters
    ----------
    tree : Path
        The products.
    tiles, transits : mapping
        As `contimg.night.night.Night` has them.
    states : mapping of str to tuple
        Of the raw files, now.
    selected : iterable of str
        Tiles to speak of.
    cache : Path, optional
        Folder that keeps the fingerprints taken.

    Returns
    -------
    memory : dict
    said : tuple of str
        Lines for the user: what is made again for it, and files whose times lie ahead of the clock.
    """
    memory: Memory = {}
    changed: dict[str, list[str]] = {}
    marks, now_ns = Marks(cache), time.time_ns()
    for product, tile, sidecars in _products(tiles, transits):
        records = [_record(tree / sidecar) for sidecar in sidecars]
        found, others = recall(
            tile.slots,
            states,
            records[0],
            failed=any(str((record or {}).get("reason")).startswith(ERROR_PREFIX) for record in records),
            now_ns=now_ns,
            mark_of=marks.of,
        )
        if found:
            memory[product] = found
        if others:
            changed.setdefault(tile.name, others)
    marks.save()
    return memory, tuple(_lines(changed, [tiles[name] for name in selected], states, now_ns))


def _products(
    tiles: Mapping[str, Tile], transits: Mapping[str, Transit]
) -> Iterator[tuple[str, Tile, tuple[str, ...]]]:
    """Measurement Sets that are made of raw files, with their tile and the sidecars that speak of them."""
    for name, tile in tiles.items():
        yield names.science_ms(name), tile, (names.science_sidecar(name),)
    for path, transit in transits.items():
        ms = names.calibrator_ms(transit.tile, transit.calibrator.name)
        yield ms, tiles[transit.tile], (BY_NAME["calibrator_ms"].sidecar_of(ms), f"{path}/{STATUS}")


def _record(path: Path) -> dict[str, Any] | None:
    """A sidecar, None where it is not there or no sidecar: whoever reads the product says so."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _lines(
    changed: Mapping[str, list[str]], tiles: Sequence[Tile], states: Mapping[str, State], now_ns: int
) -> Iterator[str]:
    again = [
        f"{tile.name} ({some(Path(path).name for path in changed[tile.name])})"
        for tile in tiles
        if tile.name in changed
    ]
    if again:
        yield f"raw files changed since their tile was made, which is made again: {some(again)}"
    ahead = ahead_of_clock(states, [path for tile in tiles for path in tile.files], now_ns)
    if ahead:
        first = max(ahead, key=lambda path: ahead[path])
        yield (
            f"the times of {len(ahead)} raw file(s) lie ahead of this machine's clock ({Path(first).name} by "
            f"{ahead[first]:.1f} h): they are used all the same; set the clock of the machine that wrote them"
        )
