"""The job list: batches, their items, sessions and what was watched, in one SQLite file (WAL, one writer).

The service holds no other truth, and the science none here: lose the file and every product is still there.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS number (next INTEGER NOT NULL);
INSERT INTO number SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM number);
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL,
    params TEXT NOT NULL, spec TEXT NOT NULL, ignored TEXT NOT NULL, submitted_by TEXT, digest TEXT NOT NULL,
    idem_key TEXT, note TEXT, branch INTEGER, attempt INTEGER NOT NULL DEFAULT 0, killed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0, single INTEGER NOT NULL DEFAULT 0, origin TEXT NOT NULL DEFAULT 'request'
);
CREATE INDEX IF NOT EXISTS batch_status ON batch (status, id);
CREATE INDEX IF NOT EXISTS batch_digest ON batch (digest, id);
CREATE UNIQUE INDEX IF NOT EXISTS batch_idem ON batch (submitted_by, idem_key) WHERE idem_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY, batch_id INTEGER NOT NULL REFERENCES batch (id), position INTEGER NOT NULL,
    name TEXT NOT NULL, status TEXT NOT NULL, error TEXT, started REAL, ended REAL,
    products TEXT NOT NULL DEFAULT '[]', lines TEXT NOT NULL DEFAULT '[]', log TEXT
);
CREATE INDEX IF NOT EXISTS item_batch ON item (batch_id, position);
CREATE TABLE IF NOT EXISTS session (
    hash TEXT PRIMARY KEY, token TEXT NOT NULL, csrf TEXT NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS watched (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, first_seen REAL NOT NULL, last_update REAL NOT NULL,
    present INTEGER NOT NULL, expected INTEGER NOT NULL, last_file REAL, batch_id INTEGER, image_at REAL
) WITHOUT ROWID;
"""

Mark = tuple[int, str, float | None, int, int, str | None]
"""Columns `id, status, ended, attempt, cancelled, note` of a batch."""


@dataclass
class ItemRow:
    """A row of the table of items."""

    id: int
    batch_id: int
    name: str
    status: str
    error: str | None = None
    started: float | None = None
    ended: float | None = None
    products: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    log: str | None = None


@dataclass
class BatchRow:
    """A row of the table of batches, with its items."""

    id: int
    kind: str
    status: str
    created: float
    started: float | None
    ended: float | None
    params: dict[str, Any]
    spec: dict[str, Any]
    ignored: dict[str, str]
    submitted_by: str | None
    digest: str
    idem_key: str | None
    note: str | None
    branch: int | None
    attempt: int
    killed: int
    cancelled: bool
    single: bool
    origin: str
    items: list[ItemRow] = field(default_factory=list)

    @property
    def mark(self) -> Mark:
        """What is other once anything of a batch that waits or has ended is: it runs, and ends at another time."""
        return self.id, self.status, self.ended, self.attempt, int(self.cancelled), self.note


@dataclass(frozen=True)
class NewBatch:
    """What is put on the list: `items` are names, each with the reason why it cannot be done, or None."""

    kind: str
    params: dict[str, Any]
    spec: dict[str, Any]
    ignored: dict[str, str]
    digest: str
    items: Sequence[tuple[str, str | None]]
    branch_digest: str | None = None
    submitted_by: str | None = None
    idem_key: str | None = None
    single: bool = False
    origin: str = "request"


def status_of(states: Sequence[str], *, cancelled: bool = False) -> str:
    """State of a batch from those of its items."""
    kinds = set(states)
    if kinds & {"pending", "running"}:
        return "running" if kinds - {"pending"} else "pending"
    if cancelled and "cancelled" in kinds:
        return "cancelled"
    if kinds <= {"done"}:
        return "done"
    return "partial" if "done" in kinds else "failed"


_BATCH = (
    "id, kind, status, created, started, ended, params, spec, ignored, submitted_by, digest, idem_key, note, branch, "
    "attempt, killed, cancelled, single, origin"
)
_ITEM = "id, batch_id, name, status, error, started, ended, products, lines, log"
_MARK = "id, status, ended, attempt, cancelled, note"


class Store:
    """The job list.

    Parameters
    ----------
    path : Path
        Made if it is not there. One process at a time writes it (`contimg.service.app` holds a lock).
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.RLock()
        self._local = threading.local()
        self._writer = self._open()
        self._writer.executescript(SCHEMA)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=30.0, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-256")  # kB; each thread has a connection
        return connection

    @property
    def _reader(self) -> sqlite3.Connection:
        found = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._open()
        return found

    def close(self) -> None:
        """Close the writer; readers close with their threads."""
        self._writer.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction at a time."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def add(self, new: NewBatch, *, watched: Sequence[str] = ()) -> tuple[BatchRow, bool]:
        """Put a batch on the list, unless it is there: under its key, or the same one waiting or running.

        What is `watched` is marked as submitted in the same transaction: a death between the two would repeat or
        forget it.

        Returns
        -------
        BatchRow
        bool
            Whether it is new.

        Raises
        ------
        KeyError
            The idempotency key was used for another request.
        """
        with self.writing() as db:
            if new.idem_key is not None:
                found = db.execute(
                    "SELECT id, digest FROM batch WHERE submitted_by IS ? AND idem_key = ?",
                    (new.submitted_by, new.idem_key),
                ).fetchone()
                if found is not None:
                    if found[1] != new.digest:
                        raise KeyError(new.idem_key)
                    self._mark(db, watched, found[0])
                    return self._get(db, found[0]), False
            same = db.execute(
                "SELECT id FROM batch WHERE digest = ? AND status IN ('pending', 'running') AND cancelled = 0 "
                "ORDER BY id DESC LIMIT 1",
                (new.digest,),
            ).fetchone()
            if same is not None and new.idem_key is None:
                self._mark(db, watched, same[0])
                return self._get(db, same[0]), False
            batch = self._insert(db, new)
            self._mark(db, watched, batch.id)
            return batch, True

    def _mark(self, db: sqlite3.Connection, watched: Sequence[str], number: int) -> None:
        db.executemany(
            "UPDATE watched SET state = 'submitted', batch_id = ? WHERE name = ?",
            [(number, name) for name in watched],
        )

    def _insert(self, db: sqlite3.Connection, new: NewBatch) -> BatchRow:
        number = int(db.execute("SELECT next FROM number").fetchone()[0])
        branch = None
        if new.branch_digest is not None:
            earlier = db.execute(
                "SELECT branch FROM batch WHERE json_extract(spec, '$.branch_digest') = ? AND branch IS NOT NULL "
                "ORDER BY id LIMIT 1",
                (new.branch_digest,),
            ).fetchone()
            branch = number if earlier is None else int(earlier[0])
        states = ["failed" if problem else "pending" for _, problem in new.items]
        now = time.time()
        status = status_of(states)
        status = "pending" if status == "running" else status
        db.execute(
            f"INSERT INTO batch ({_BATCH}) VALUES (?,?,?,?,NULL,?,?,?,?,?,?,?,NULL,?,0,0,0,?,?)",
            (
                number, new.kind, status, now, now if status == "failed" else None, json.dumps(new.params),
                json.dumps({**new.spec, "branch_digest": new.branch_digest}), json.dumps(new.ignored), new.submitted_by,
                new.digest, new.idem_key, branch, new.single, new.origin,
            ),
        )  # fmt: skip
        first = number if new.single else number + 1
        db.executemany(
            "INSERT INTO item (id, batch_id, position, name, status, error, ended) VALUES (?,?,?,?,?,?,?)",
            [
                (first + place, number, place, name, state, problem, now if problem else None)
                for place, ((name, problem), state) in enumerate(zip(new.items, states, strict=True))
            ],
        )
        db.execute("UPDATE number SET next = ?", (max(first + len(new.items), number + 1),))
        return self._get(db, number)

    def _get(self, db: sqlite3.Connection, number: int, *, with_items: bool = True) -> BatchRow:
        row = db.execute(f"SELECT {_BATCH} FROM batch WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise LookupError(number)
        if not with_items:
            return _batch(row, [])
        items = db.execute(f"SELECT {_ITEM} FROM item WHERE batch_id = ? ORDER BY position", (number,))
        return _batch(row, [_item(entry) for entry in items])

    def get(self, number: int, *, with_items: bool = True) -> BatchRow:
        """A batch; LookupError if there is none of that number."""
        return self._get(self._reader, number, with_items=with_items)

    def item(self, number: int) -> ItemRow:
        """An item; LookupError if there is none of that number."""
        row = self._reader.execute(f"SELECT {_ITEM} FROM item WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise LookupError(number)
        return _item(row)

    def page(
        self, *, limit: int, offset: int = 0, status: str | None = None, single: bool | None = None
    ) -> tuple[list[BatchRow], int]:
        """Batches with their items, newest first, and how many there are in all."""
        marks, total = self.marks(limit=limit, offset=offset, status=status, single=single)
        return self.several([mark[0] for mark in marks]), total

    def marks(
        self, *, limit: int, offset: int = 0, status: str | None = None, single: bool | None = None
    ) -> tuple[list[Mark], int]:
        """Marks of batches, newest first, and how many batches there are in all."""
        where, values = ["1"], list[Any]()
        if status is not None:
            where.append("status = ?")
            values.append(status)
        if single is not None:
            where.append("single = ?")
            values.append(single)
        condition = " AND ".join(where)
        db = self._reader
        (total,) = db.execute(f"SELECT count(*) FROM batch WHERE {condition}", values).fetchone()
        rows = db.execute(
            f"SELECT {_MARK} FROM batch WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        return rows.fetchall(), int(total)

    def mark(self, number: int) -> Mark:
        """Mark of a batch; LookupError if there is none of that number."""
        row: Mark | None = self._reader.execute(
            f"SELECT {_MARK} FROM batch WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            raise LookupError(number)
        return row

    def several(self, numbers: Sequence[int]) -> list[BatchRow]:
        """Batches with their items, in the order of the numbers."""
        if not numbers:
            return []
        places = ",".join("?" * len(numbers))
        rows = self._reader.execute(f"SELECT {_BATCH} FROM batch WHERE id IN ({places})", list(numbers))
        by_id = {row[0]: _batch(row, []) for row in rows}
        items = f"SELECT {_ITEM} FROM item WHERE batch_id IN ({places}) ORDER BY batch_id, position"
        for row in self._reader.execute(items, list(numbers)):
            by_id[row[1]].items.append(_item(row))
        return [by_id[number] for number in numbers]

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows that a question gives."""
        return self._reader.execute(sql, values).fetchall()

    def ids(self, *states: str) -> list[int]:
        """Numbers of the batches in some states, oldest first."""
        places = ",".join("?" * len(states))
        rows = self._reader.execute(f"SELECT id FROM batch WHERE status IN ({places}) ORDER BY id", states)
        return [int(row[0]) for row in rows]

    def first_waiting(self) -> list[int]:
        """Number of the batch of each tree that has waited longest, oldest first: others of its tree come after it."""
        rows = self._reader.execute(
            "SELECT min(id) AS first FROM batch WHERE status = 'pending' GROUP BY branch ORDER BY first"
        )
        return [int(row[0]) for row in rows]

    def waiting(self) -> int:
        """How many batches wait."""
        (found,) = self._reader.execute("SELECT count(*) FROM batch WHERE status = 'pending'").fetchone()
        return int(found)

    def counts(self) -> dict[str, int]:
        """How many batches are in each state."""
        rows = self._reader.execute("SELECT status, count(*) FROM batch GROUP BY status")
        return {str(status): int(count) for status, count in rows}

    def update_batch(self, number: int, **values: Any) -> None:
        """Set columns of a batch."""
        self._update("batch", number, values)

    def update_item(self, number: int, **values: Any) -> None:
        """Set columns of an item."""
        self._update("item", number, values)

    def _update(self, table: str, number: int, values: dict[str, Any]) -> None:
        plain = {
            name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in values.items()
        }  # fmt: skip
        with self.writing() as db:
            columns = ", ".join(f"{name} = ?" for name in plain)
            db.execute(f"UPDATE {table} SET {columns} WHERE id = ?", (*plain.values(), number))

    def cancel(self, number: int) -> bool:
        """Ask for a batch's end; False unless it waits or runs. One that waits is cancelled at once."""
        with self.writing() as db:
            batch = self._get(db, number)
            if batch.status not in ("pending", "running") or batch.cancelled:
                return False
            db.execute("UPDATE batch SET cancelled = 1 WHERE id = ?", (number,))
            if batch.status == "pending":
                self._end_open(db, number, "cancelled", "cancelled before it began")
            return True

    def _end_open(self, db: sqlite3.Connection, number: int, state: str, error: str | None) -> None:
        now = time.time()
        db.execute(
            "UPDATE item SET status = ?, error = ?, ended = ? WHERE batch_id = ? AND status IN ('pending', 'running')",
            (state, error, now, number),
        )
        batch = self._get(db, number)
        status = status_of([item.status for item in batch.items], cancelled=batch.cancelled)
        db.execute("UPDATE batch SET status = ?, ended = ? WHERE id = ?", (status, now, number))

    def end(self, number: int, *, state: str = "failed", error: str | None = None) -> BatchRow:
        """End a batch; items that are still open end in `state`."""
        with self.writing() as db:
            self._end_open(db, number, state, error)
            return self._get(db, number)

    def retry(self, number: int) -> int:
        """Put the failed and cancelled items of a batch that has ended on the list again; returns how many."""
        with self.writing() as db:
            batch = self._get(db, number)
            again = [item.id for item in batch.items if item.status in ("failed", "cancelled")]
            if batch.status in ("pending", "running") or not again:
                return 0
            db.executemany(
                "UPDATE item SET status = 'pending', error = NULL, started = NULL, ended = NULL, lines = '[]' "
                "WHERE id = ?",
                [(one,) for one in again],
            )
            db.execute(
                "UPDATE batch SET status = 'pending', ended = NULL, cancelled = 0, killed = 0, note = ? WHERE id = ?",
                (f"{len(again)} items again", number),
            )
            return len(again)


def _batch(row: Sequence[Any], items: list[ItemRow]) -> BatchRow:
    fields = (
        *row[:6],
        json.loads(row[6]),
        json.loads(row[7]),
        json.loads(row[8]),
        *row[9:16],
        bool(row[16]),
        bool(row[17]),
        row[18],
        items,
    )
    return BatchRow(*fields)


def _item(row: Sequence[Any]) -> ItemRow:
    products, lines = ([] if text == "[]" else json.loads(text) for text in (row[7], row[8]))
    fields = (*row[:7], products, lines, row[9])
    return ItemRow(*fields)
