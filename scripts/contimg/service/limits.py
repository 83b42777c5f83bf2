"""Limits: of the rate of a client, of bodies in size and time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CLIENTS = 10_000


class Bucket:
    """How often each client may: `rate` a second, `most` at once after a pause.

    Parameters
    ----------
    rate : float
        1/s.
    most : float
    clock : callable
        Seconds, rising.
    """

    def __init__(self, rate: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, max(most, 1.0), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str) -> float:
        """Take one; 0 if there was one, else the seconds until there is."""
        now = self._clock()
        with self._lock:
            left, since = self._left.pop(client, (self._most, now))
            left = min(self._most, left + (now - since) * self._rate)
            wait = 0.0 if left >= 1.0 else (1.0 - left) / self._rate
            self._left[client] = (left - 1.0 if wait == 0.0 else left, now)
            while len(self._left) > _CLIENTS:
                self._left.popitem(last=False)
        return wait

    def full(self, client: str) -> bool:
        """Whether a client has none left, without taking one."""
        with self._lock:
            left, since = self._left.get(client, (self._most, self._clock()))
            return left + (self._clock() - since) * self._rate < 1.0


class _TooLong(Exception):
    """A body is longer than it may be."""


class BodyLimit:
    """Refuses bodies that are too long (413) or too slow to come (408), before anything reads them.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    most_bytes : int
    timeout_s : float
        For the whole body.
    """

    def __init__(self, app: App, *, most_bytes: int, timeout_s: float) -> None:
        self._app, self._most, self._timeout = app, most_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(scope, receive)
        except _TooLong:
            await refuse(send, 413, f"the body is longer than {self._most} bytes")
            return
        except TimeoutError:
            await refuse(send, 408, f"the body did not come within {self._timeout:g} s")
            return
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated[:20]) > self._most:
            raise _TooLong
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"".join(parts)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
                raise _TooLong
            if not message.get("more_body"):
                return b"".join(parts)


async def refuse(send: Send, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
    """Answer with a problem."""
    body = json.dumps({"detail": detail}).encode()
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    if status in (408, 413):
        lines["connection"] = "close"
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(key.encode(), value.encode()) for key, value in lines.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
