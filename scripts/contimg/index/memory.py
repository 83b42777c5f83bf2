"""What a product remembers of its raw files, and whether they are still those.

A raw file may be copied again with its old name, size and time (`cp -p`, `rsync -a`): Snakemake, which compares times,
notices nothing. So a sidecar keeps the state of each file, and the next plan holds it against the state of now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core.digests import READ_IN_FULL, fingerprint
from contimg.core.products import write_json
from contimg.core.provenance import digest
from contimg.index.subband import State, state_of
from contimg.index.tile import Slot, raw_paths


@dataclass(frozen=True)
class Recalled:
    """What a rule is told of a raw file beside its path.

    Attributes
    ----------
    mark : str or None
        Of the file that is, or is to be, in place of the first one of this path; None for the first.
    ahead : bool
        Its time of change lay ahead of the clock when it was first planned with: Snakemake is not to compare it.
    """

    mark: str | None = None
    ahead: bool = False


PLAIN = Recalled()


def note(slots: Sequence[Slot]) -> dict[str, Any]:
    """What a sidecar keeps of the files of a tile: to be taken before they are read."""
    kept: dict[str, Any] = {}
    for slot in slots:
        path = slot.path
        if path is not None and Path(path).exists():
            kept[path] = {"state": list(state_of(Path(path).stat())), **slot.recalled()}
    return kept


def recall(
    slots: Sequence[Slot],
    states: Mapping[str, State],
    record: Mapping[str, Any] | None,
    *,
    failed: bool,
    now_ns: int,
    mark_of: Callable[[str, State], str | None],
) -> tuple[dict[str, Recalled], list[str]]:
    """Hold a tile's raw files against what a product of them remembers.

    Parameters
    ----------
    slots : sequence of Slot
    states : mapping of str to State
        Of the files, now.
    record : mapping or None
        The product's sidecar; None if it is not made.
    failed : bool
        The product ended with an error: whatever became of a file since is reason to try again.
    now_ns : int
        This machine's clock.
    mark_of : callable
        Gives the fingerprint of a file in a state; None where it cannot be read.

    Returns
    -------
    recalled : dict of str to Recalled
        By path, where it is not `PLAIN`.
    others : list of str
        Files that are others than those that the product was made of.
    """
    known = (record or {}).get("raw") or {}
    digests = (record or {}).get("digests") or {}
    recalled, others = {}, []
    for path in raw_paths(slots):
        state, then = states.get(path), known.get(path)
        if state is None:
            continue
        if then is None:
            found = Recalled(None, state[1] > now_ns)
        elif _same(path, state, tuple(then["state"]), digests.get(path), failed, mark_of):
            found = Recalled(then.get("mark"), then.get("ahead", False))
        else:
            found = Recalled(digest(state), state[1] > now_ns)
            others.append(path)
        if found != PLAIN:
            recalled[path] = found
    return recalled, others


def _same(
    path: str,
    now: State,
    then: tuple[int, ...],
    content: str | None,
    failed: bool,
    mark_of: Callable[[str, State], str | None],
) -> bool:
    """Whether a file is what it was, as far as that is known without reading all of it."""
    if now == then:
        return True
    if failed or now[0] != then[0]:
        return False
    if now[1] != then[1] and now[0] > READ_IN_FULL:
        return False
    mark = mark_of(path, now)
    return mark is None or mark == content


class Marks:
    """Fingerprints of raw files whose state is another than their product's, kept between plans.

    Parameters
    ----------
    folder : Path or None
        Where they are kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "fingerprints.json"
        self._known: dict[str, Any] | None = None
        self._changed = False

    def of(self, path: str, state: State) -> str | None:
        """The fingerprint of a file in a state; None if it cannot be read."""
        if self._known is None:
            self._known = self._load()
        entry = self._known.get(path)
        if isinstance(entry, list) and len(entry) == 2 and entry[0] == list(state):
            return str(entry[1])
        try:
            found = fingerprint(Path(path))
        except OSError:
            return None
        if found is not None:
            self._known[path] = [list(state), found]
            self._changed = True
        return found

    def save(self) -> None:
        """Write what was read, without files that are gone; a folder that cannot be written is only slow."""
        if self._path is None or not self._changed or self._known is None:
            return
        kept = {path: entry for path, entry in self._known.items() if Path(path).exists()}
        try:
            write_json(self._path, kept)
        except OSError:
            return

    def _load(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes()) if self._path is not None else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def ahead_of_clock(states: Mapping[str, State], paths: Iterable[str], now_ns: int) -> dict[str, float]:
    """Files whose time of change lies ahead of the clock, and by how many hours."""
    return {
        path: (states[path][1] - now_ns) / 3.6e12
        for path in paths
        if path in states and states[path][1] > now_ns
    }
