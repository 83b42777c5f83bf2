"""Other files of a subband, for one whose data turn out to be damaged when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.index.tile import Slot


class FileFault(InputError):
    """One raw file cannot be read; `path` says which."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path


@contextmanager
def faults_of(path: str) -> Iterator[None]:
    """Name the file that an `InputError` of its reader is about."""
    try:
        yield
    except InputError as error:
        raise FileFault(path, str(error)) from error


def frozen(manifest: str | None, tile: str) -> dict[str, tuple[str, ...]]:
    """Spares of the files of a tile, by path, as a run has frozen its index; none outside a run.

    A rule's parameters do not have them: another spare makes no product again.
    """
    if manifest is None or not Path(manifest).is_file():
        return {}
    found = [entry for entry in read_json(Path(manifest))["index"]["tiles"] if entry["name"] == tile]
    return {slot["path"]: tuple(slot["spares"]) for entry in found for slot in entry["slots"] if slot["path"]}


def replaced(
    slots: Sequence[Slot], path: str, spares: Mapping[str, Sequence[str]]
) -> tuple[Slot, ...] | None:
    """The slots with the next spare in place of a file; None if there is no further one."""
    for number, slot in enumerate(slots):
        if slot.path == path:
            left = slot.spares or tuple(spares.get(path, ()))
            if not left:
                return None
            other = replace(slot, path=left[0], spares=tuple(left[1:]))
            return (*slots[:number], other, *slots[number + 1 :])
    return None
