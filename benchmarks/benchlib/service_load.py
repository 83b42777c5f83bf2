"""Load on a service: requests at times that do not wait for answers, clients that do, and listeners to a log.

One process, asyncio, HTTP/1.1 by hand: a client library would take more of the machine than the service does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Request = tuple[str, bytes]
"""Its kind, and the bytes that are sent."""


def request(path: str, token: str, *, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """One request as it goes over the wire."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: localhost"]
    lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


class Connection:
    """A connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, data: bytes) -> int:
        """Send a request, read the whole answer; its status. Once more if the service had closed an idle connection."""
        for again in (False, True):
            try:
                if self._reader is None or self._writer is None or again:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writer.write(data)
                return await self._answer(self._reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                if again:
                    raise
        raise AssertionError

    async def _answer(self, reader: asyncio.StreamReader) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(
            (int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), None
        )
        if length is not None:
            await reader.readexactly(length)
        else:
            while (size := int((await reader.readline()).strip(), 16)) or await reader.readline() != b"\r\n":
                await reader.readexactly(size + 2)
        return int(head[9:12])

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()


@dataclass
class Latencies:
    """How long answers took, s, by kind of request; and how many were no success."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bad: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def told(self) -> dict[str, Any]:
        """Quantiles in ms, of all and by kind."""
        everything = [one for some in self.took.values() for one in some]
        by_kind = {kind: quantiles(some) for kind, some in sorted(self.took.items())}
        return {**quantiles(everything), "not_2xx": dict(self.bad), "by_kind": by_kind}


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Number, and quantiles in ms."""
    if not seconds:
        return {"n": 0}
    found = 1e3 * np.percentile(seconds, [50, 95, 99, 100])
    return {"n": len(seconds)} | dict(
        zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), found.round(1).tolist(), strict=True)
    )


async def open_loop(port: int, requests: Sequence[Request], per_s: float) -> Latencies:
    """Send requests at random times (Poisson), whether earlier ones were answered or not.

    Time counts from when a request was due, so that one that could not be sent in time is not forgiven.
    """
    found, idle = Latencies(), list[Connection]()
    gaps = np.random.default_rng(200).exponential(1.0 / per_s, len(requests))
    due = time.perf_counter() + 0.2 + np.cumsum(gaps)

    async def one(kind: str, data: bytes, at: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        try:
            status = await connection.ask(data)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        found.took[kind].append(time.perf_counter() - at)
        found.bad[kind] += not 200 <= status < 300
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for (kind, data), at in zip(requests, due, strict=True):
            wait = at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            group.create_task(one(kind, data, float(at)))
    for connection in idle:
        connection.close()
    return found


async def closed_loop(port: int, requests: Sequence[Request], clients: int) -> tuple[Latencies, float]:
    """Let clients send one request after the other as fast as answers come; also how many a second."""
    found, left = Latencies(), iter(requests)

    async def client() -> None:
        connection = Connection(port)
        for kind, data in left:
            began = time.perf_counter()
            status = await connection.ask(data)
            found.took[kind].append(time.perf_counter() - began)
            found.bad[kind] += not 200 <= status < 300
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return found, len(requests) / (time.perf_counter() - began)


async def listen(
    port: int, token: str, path: str, log: Path, *, listeners: int, lines: int, every_s: float,
    beside: Callable[[], Awaitable[Any]] | None = None,
) -> tuple[list[float], int]:  # fmt: skip
    """Let many listen to a log into which lines are written; time from writing to hearing, s, and lines not heard.

    `beside` goes on meanwhile.
    """
    written: dict[str, float] = {}
    heard: list[float] = []
    opened = asyncio.Semaphore(0)

    async def listener() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(path, token))
        await reader.readuntil(b"\r\n\r\n")
        opened.release()
        left = lines
        while left:
            line = await reader.readline()
            now = time.perf_counter()
            if line.startswith(b"data: "):
                for name in json.loads(line[6:])["logs"].split():
                    heard.append(now - written[name])
                    left -= 1
        writer.close()

    async def write() -> None:
        for _ in range(listeners):
            await opened.acquire()
        await asyncio.sleep(1.0)
        with log.open("a", buffering=1) as stream:
            for number in range(lines):
                written[f"line{number}"] = time.perf_counter()
                stream.write(f"line{number}\n")
                await asyncio.sleep(every_s)

    jobs = [asyncio.create_task(listener()) for _ in range(listeners)]
    extra = asyncio.create_task(beside()) if beside is not None else None  # type: ignore[arg-type]
    await write()
    _, late = await asyncio.wait(jobs, timeout=30.0)
    for job in late:
        job.cancel()
    if extra is not None:
        await extra
    return heard, listeners * lines - len(heard)
