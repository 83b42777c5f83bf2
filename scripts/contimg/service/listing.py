"""Batches of the job list as JSON, written once: one that waits or has ended does not change but for its mark."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from contimg.service import wire
from contimg.service.store import Mark, Store

_MOST_BYTES = 32 * 1024 * 1024


class Listing:
    """The job list, as `answers.BatchList` and `answers.Batch` say it.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._written: OrderedDict[Mark, bytes] = OrderedDict()
        self._bytes = 0

    def page(
        self, *, limit: int, offset: int = 0, status: str | None = None, single: bool | None = None
    ) -> bytes:
        """Batches, newest first, and how many there are in all."""
        marks, total = self._store.marks(limit=limit, offset=offset, status=status, single=single)
        told = b",".join(self._told(marks))
        return b'{"items":[' + told + b'],"total":' + str(total).encode() + b"}"

    def one(self, number: int) -> bytes:
        """A batch; LookupError if there is none of that number."""
        return self._told([self._store.mark(number)])[0]

    def _told(self, marks: Sequence[Mark]) -> list[bytes]:
        with self._lock:
            known = {mark: self._written[mark] for mark in marks if mark in self._written}
            for mark in known:
                self._written.move_to_end(mark)
        unknown = [mark for mark in marks if mark not in known]
        for mark, row in zip(unknown, self._store.several([mark[0] for mark in unknown]), strict=True):
            known[mark] = wire.batch(row).model_dump_json().encode()
            if row.status != "running" and row.mark == mark:
                self._keep(mark, known[mark])
        return [known[mark] for mark in marks]

    def _keep(self, mark: Mark, text: bytes) -> None:
        with self._lock:
            self._bytes += len(text) - len(self._written.pop(mark, b""))
            self._written[mark] = text
            while self._bytes > _MOST_BYTES:
                _, old = self._written.popitem(last=False)
                self._bytes -= len(old)
