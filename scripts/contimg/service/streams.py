"""Logs as server-sent events: one look at each log for all who listen, and every listener at its own place."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from fastapi.responses import StreamingResponse
from starlette.types import Send

from contimg.api.base import ENDED

KEEPALIVE_S = 15.0
_CHUNK = 64 * 1024
_PIECES = 16

Look = Callable[[int], tuple[Path | None, str]]
"""Of a batch or an item: the path of its log, and its state."""


@dataclass
class _Watched:
    look: Look
    listeners: int = 0
    path: Path | None = None
    size: int = -1
    status: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    pieces: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    def update(self, number: int) -> bool:
        """Look; whether something is new."""
        path, status = self.look(number)
        size = _size(path)
        if (path, size, status) == (self.path, self.size, self.status):
            return False
        self.path, self.size, self.status = path, size, status
        self.pieces.clear()
        return True

    def piece(self, offset: int) -> tuple[bytes, int]:
        """The event with what comes after an offset, and where the next begins: read once for all who are there."""
        if offset not in self.pieces:
            text, following = _read(self.path, offset)
            told = event({"logs": text}, number=following) if text else b""
            if not told:
                return b"", following
            if len(self.pieces) >= _PIECES:
                self.pieces.pop(next(iter(self.pieces)))
            self.pieces[offset] = told, following
        return self.pieces[offset]


class EventStream(StreamingResponse):
    """Server-sent events; what yields them is closed with the answer, however that ends, and not by the collector."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send until the events end, or the client does."""
        async with aclosing(self._events):
            await super().stream_response(send)


class Hub:
    """Looks at the logs that somebody listens to.

    Parameters
    ----------
    every_s : float
        How often.
    most : int
        Listeners at the same time.
    """

    def __init__(self, every_s: float, most: int) -> None:
        self._every, self._most = every_s, most
        self._watched: dict[tuple[str, int], _Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self.listeners = 0

    def has_room(self) -> bool:
        """Whether one more may listen."""
        return self.listeners < self._most

    async def follow(
        self, name: str, number: int, look: Look, offset: int, *, keepalive_s: float = KEEPALIVE_S
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of a log from an offset (bytes) on, until its batch or item has ended."""
        key = (name, number)
        watched = self._watched.setdefault(key, _Watched(look))
        watched.listeners += 1
        self.listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            if watched.size < 0:
                watched.update(number)
            yield b": open\n\n"
            while True:
                changed, status = watched.changed, watched.status
                told, offset = watched.piece(offset)
                if told:
                    yield told
                    continue
                if status in ENDED:
                    yield event({"status": status}, name="complete", number=offset)
                    return
                try:
                    async with asyncio.timeout(keepalive_s):
                        await changed.wait()
                except TimeoutError:
                    yield b": waiting\n\n"
        except OSError as error:
            yield event({"message": f"the log cannot be read: {error.strerror}"}, name="error")
        finally:
            self.listeners -= 1
            watched.listeners -= 1
            if not watched.listeners:
                self._watched.pop(key, None)

    async def _poll(self) -> None:
        while self._watched:
            for (_, number), watched in list(self._watched.items()):
                if watched.update(number):
                    watched.changed.set()
                    watched.changed = asyncio.Event()
            await asyncio.sleep(self._every)


def event(data: dict[str, str], *, name: str | None = None, number: int | None = None) -> bytes:
    """One event as it goes over the wire; JSON holds no line break, so that it is one line of data."""
    lines = [] if number is None else [f"id: {number}"]
    lines += [] if name is None else [f"event: {name}"]
    lines.append(f"data: {json.dumps(data)}")
    return ("\n".join(lines) + "\n\n").encode()


def _size(path: Path | None) -> int:
    if path is None:
        return 0
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path | None, offset: int) -> tuple[str, int]:
    """New text from an offset on, and where the next begins; a character is never cut in two."""
    if path is None:
        return "", offset
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(_CHUNK)
    except FileNotFoundError:
        return "", offset
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    pending = len(decoder.getstate()[0])
    if pending and len(data) < _CHUNK and not text:
        return "", offset  # the rest of a character has yet to be written
    return text, offset + len(data) - pending
