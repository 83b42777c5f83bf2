"""Pages of the job list as JSON; what has ended changes no more and is written once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from contimg.api.base import ENDED
from contimg.service import wire
from contimg.service.store import BatchRow, Store

_MOST_BYTES = 32 * 1024 * 1024


class Listing:
    """The job list, as `answers.BatchList` says it.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._written: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._bytes = 0

    def page(
        self, *, limit: int, offset: int = 0, status: str | None = None, single: bool | None = None
    ) -> bytes:
        """Batches, newest first, and how many there are in all."""
        rows, total = self._store.page(
            limit=limit, offset=offset, status=status, single=single, with_items=False
        )
        keys = [self._key(row) for row in rows]
        with self._lock:
            known = {key: self._written[key] for key in keys if key in self._written}
            for key in known:
                self._written.move_to_end(key)
        self._store.fill([row for row, key in zip(rows, keys, strict=True) if key not in known])
        told = []
        for row, key in zip(rows, keys, strict=True):
            text = known.get(key)
            if text is None:
                text = wire.batch(row).model_dump_json().encode()
                if row.status in ENDED:
                    self._keep(key, text)
            told.append(text)
        return b'{"items":[' + b",".join(told) + b'],"total":' + str(total).encode() + b"}"

    def _key(self, row: BatchRow) -> tuple[Any, ...]:
        """What differs as soon as anything of a batch does that has ended: it runs again, and ends at another time."""
        return row.id, row.status, row.ended, row.attempt, row.cancelled, row.note

    def _keep(self, key: tuple[Any, ...], text: bytes) -> None:
        with self._lock:
            self._bytes += len(text) - len(self._written.pop(key, b""))
            self._written[key] = text
            while self._bytes > _MOST_BYTES:
                _, old = self._written.popitem(last=False)
                self._bytes -= len(old)
