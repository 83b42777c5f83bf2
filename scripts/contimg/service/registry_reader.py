"""The registries as the service reads them: never the tree itself, so that a list costs the same for any tree."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from contimg.api.answers import RegistryAge
from contimg.core.errors import InputError
from contimg.registry.build import CALTABLES, PRODUCTS
from contimg.registry.files import open_readonly
from contimg.service.wire import when

_KEPT_ROWS = 20_000  # some 20 MB
CACHE_KB = 256
"""Of a connection, of which each thread has some: the kernel keeps the pages that are read often."""

Registry = Literal["products", "caltables"]
Stamp = tuple[int, int]
Known = tuple[Stamp, list[dict[str, Any]]]


class Unreadable(InputError):
    """A registry or a table of the tree is there and cannot be read: damaged, or being put in its place just now."""


class Registries:
    """Both registries of a tree, opened anew when they were built anew.

    A registry never changes where it lies: what was asked of it lately is kept until there is another.
    """

    def __init__(self, state: Path) -> None:
        self._paths: dict[Registry, Path] = {"products": state / PRODUCTS, "caltables": state / CALTABLES}
        self._local = threading.local()
        self._lock = threading.Lock()
        self._asked: OrderedDict[tuple[Any, ...], Known] = OrderedDict()
        self._kept = 0

    def _stamp(self, name: Registry) -> Stamp | None:
        try:
            state = self._paths[name].stat()
        except FileNotFoundError:
            return None
        return state.st_ino, state.st_mtime_ns

    def _open(self, name: Registry, stamp: Stamp) -> sqlite3.Connection:
        path = self._paths[name]
        known: dict[Registry, tuple[Stamp, sqlite3.Connection]] = self._local.__dict__.setdefault("open", {})
        if name in known and known[name][0] == stamp:
            return known[name][1]
        if name in known:
            known[name][1].close()
        connection = open_readonly(path)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        known[name] = (stamp, connection)
        return connection

    def rows(
        self, sql: str, values: Mapping[str, Any] | Sequence[Any] = (), *, of: Registry = "products"
    ) -> list[dict[str, Any]]:
        """Rows that a question to a registry gives, not to be changed; none if there is no registry yet.

        Raises
        ------
        Unreadable
            The registry is damaged, or another version's.
        """
        stamp = self._stamp(of)
        if stamp is None:
            return []
        bound = tuple(values.items()) if isinstance(values, Mapping) else tuple(values)
        question = (of, sql, bound)
        with self._lock:
            known = self._asked.get(question)
            if known is not None and known[0] == stamp:
                self._asked.move_to_end(question)
                return known[1]
        try:
            found = [dict(row) for row in self._open(of, stamp).execute(sql, values)]
        except sqlite3.DatabaseError as error:
            raise Unreadable(
                f"the registry {self._paths[of].name} cannot be read ({error}); make it anew: snakemake registry"
            ) from error
        self._keep(question, (stamp, found))
        return found

    def _keep(self, question: tuple[Any, ...], answer: Known) -> None:
        with self._lock:
            old = self._asked.pop(question, None)
            self._asked[question] = answer
            self._kept += 1 + len(answer[1]) - (0 if old is None else 1 + len(old[1]))
            while self._kept > _KEPT_ROWS and len(self._asked) > 1:
                _, (_, rows) = self._asked.popitem(last=False)
                self._kept -= 1 + len(rows)

    def age(self, of: Registry = "products") -> RegistryAge:
        """How old a registry is."""
        try:
            built = self._paths[of].stat().st_mtime
        except FileNotFoundError:
            return RegistryAge(built_at=None, age_s=None)
        return RegistryAge(built_at=when(built), age_s=round(max(0.0, time.time() - built), 1))

    def health(self) -> dict[str, str]:
        """`ok` or what is wrong, for each registry."""
        found: dict[str, str] = {}
        for name in self._paths:
            try:
                known = self.rows("SELECT count(*) FROM meta", of=name)
                found[name] = "ok" if known else "not built yet"
            except Unreadable as error:
                found[name] = f"cannot be read: {error.__cause__}"
        return found
