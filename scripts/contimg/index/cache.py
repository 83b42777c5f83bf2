"""What was read from raw headers, kept between calls: one JSON file for each UTC date of the files' names.

A cache and nothing else: a file of it that is missing, damaged or of another version is read again from the
raw files. Each is written beside its name and renamed, so two processes at once may both write; the last one
wins and nothing is torn. No locks, no database: the products tree may be on a network file system.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from contimg.index.subband import State, SubbandHeader

CACHE_VERSION = 3
YOUNG_S = 300.0
"""An unreadable file that changed less than this ago may still be growing: it is read again each time."""
_FIELDS = [field.name for field in fields(SubbandHeader)][3:]  # path, size and time of change are the key


class HeaderCache:
    """Headers and errors by path and state, and phase centres by tile; loaded by date when asked for.

    Parameters
    ----------
    folder
        Directory of the cache, made when first written; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._days: dict[str, dict[str, dict[str, Any]]] = {}
        self._changed: set[str] = set()

    def header(self, date: str, path: str, state: State) -> SubbandHeader | str | None:
        """The header of a file in this state, the reason why it cannot be read, or None if not known."""
        entry = self._day(date)["files"].get(path)
        try:
            if entry is None or tuple(entry[0]) != state:
                return None
            if isinstance(entry[1], str):
                return entry[1]
            values = dict(zip(_FIELDS, entry[1], strict=True))
            values |= {name: tuple(values[name]) for name in ("polarizations", "odd")}
        except (TypeError, ValueError, IndexError, KeyError):  # damaged: read the file again
            return None
        return SubbandHeader(path, state[0], state[1], **values)

    def add(self, date: str, path: str, state: State, found: SubbandHeader | str) -> None:
        """Keep what was read from a file in this state; not the error of a young one."""
        if isinstance(found, str):
            if abs(time.time() - state[1] / 1e9) < YOUNG_S:
                return
            self._day(date)["files"][path] = [state, found]
        else:
            self._day(date)["files"][path] = [state, [getattr(found, name) for name in _FIELDS]]
        self._changed.add(date)

    def centre(self, date: str, key: str) -> tuple[float, float] | None:
        """Phase centre (ICRS, deg) kept under a key, or None."""
        match self._day(date)["centres"].get(key):
            case [float(ra_deg), float(dec_deg)]:
                return ra_deg, dec_deg
        return None

    def add_centre(self, date: str, key: str, centre: tuple[float, float]) -> None:
        """Keep a phase centre (ICRS, deg)."""
        self._day(date)["centres"][key] = list(centre)
        self._changed.add(date)

    def save(self, root: str, present: Iterable[str]) -> None:
        """Write the dates that changed, without the files under `root` that are not `present` any more."""
        if self._folder is None or not self._changed:
            return
        present, prefix = set(present), root.rstrip(os.sep) + os.sep
        for date in sorted(self._changed):
            day = self._days[date]
            kept = {p: e for p, e in day["files"].items() if p in present or not p.startswith(prefix)}
            try:
                self._write(
                    self._folder, date, {"version": CACHE_VERSION, "fields": _FIELDS, **day, "files": kept}
                )
            except OSError as error:
                logging.getLogger(__name__).warning(
                    "index cache %s cannot be written: %s", self._folder, error
                )
                return
        self._changed.clear()

    @staticmethod
    def _write(folder: Path, date: str, content: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=folder, prefix=f"{date}.part.")
        try:
            with os.fdopen(descriptor, "w") as stream:
                json.dump(content, stream, separators=(",", ":"))
            Path(part).chmod(0o644)
            Path(part).replace(folder / f"{date}.json")
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def _day(self, date: str) -> dict[str, dict[str, Any]]:
        if date not in self._days:
            self._days[date] = self._load(date) or {"files": {}, "centres": {}}
        return self._days[date]

    def _load(self, date: str) -> dict[str, dict[str, Any]] | None:
        """A date's entries, or None if there are none that can be used."""
        if self._folder is None:
            return None
        try:
            content = json.loads((self._folder / f"{date}.json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(content, dict) or (content.get("version"), content.get("fields")) != (
            CACHE_VERSION,
            _FIELDS,
        ):
            return None
        files, centres = content.get("files"), content.get("centres")
        if not isinstance(files, dict) or not isinstance(centres, dict):
            return None
        return {"files": files, "centres": centres}
