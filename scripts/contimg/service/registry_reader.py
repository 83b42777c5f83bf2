"""The registries as the service reads them: never the tree itself, so that a list costs the same for any tree."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contimg.api.answers import RegistryAge
from contimg.registry.build import CALTABLES, PRODUCTS
from contimg.registry.files import open_readonly
from contimg.service.wire import when


class Registries:
    """Both registries of a tree, opened anew when they were built anew."""

    def __init__(self, state: Path) -> None:
        self._paths = {"products": state / PRODUCTS, "caltables": state / CALTABLES}
        self._local = threading.local()

    def _open(self, name: str) -> sqlite3.Connection | None:
        path = self._paths[name]
        try:
            state = path.stat()
        except FileNotFoundError:
            return None
        stamp = (state.st_ino, state.st_mtime_ns)
        known: dict[str, tuple[tuple[int, int], sqlite3.Connection]] = self._local.__dict__.setdefault(
            "open", {}
        )
        if name in known and known[name][0] == stamp:
            return known[name][1]
        if name in known:
            known[name][1].close()
        connection = open_readonly(path)
        connection.row_factory = sqlite3.Row
        known[name] = (stamp, connection)
        return connection

    def rows(
        self, sql: str, values: Mapping[str, Any] | Sequence[Any] = (), *, of: str = "products"
    ) -> list[dict[str, Any]]:
        """Rows that a question to a registry gives; none if there is no registry yet."""
        connection = self._open(of)
        if connection is None:
            return []
        return [dict(row) for row in connection.execute(sql, values)]

    def age(self, of: str = "products") -> RegistryAge:
        """How old a registry is."""
        try:
            built = self._paths[of].stat().st_mtime
        except FileNotFoundError:
            return RegistryAge(built_at=None, age_s=None)
        return RegistryAge(built_at=when(built), age_s=round(max(0.0, time.time() - built), 1))

    def health(self) -> dict[str, str]:
        """`ok` or what is wrong, for each registry."""
        found = {}
        for name in self._paths:
            try:
                connection = self._open(name)
                if connection is None:
                    found[name] = "not built yet"
                else:
                    connection.execute("SELECT count(*) FROM meta").fetchone()
                    found[name] = "ok"
            except sqlite3.DatabaseError as error:
                found[name] = f"cannot be read: {error}"
        return found
