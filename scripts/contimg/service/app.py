"""The application: its parts put together, what every answer carries, and what becomes of an error."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import secrets
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from contimg import __version__
from contimg.core import html
from contimg.core.errors import SystemFault
from contimg.service import (
    pages,
    routes_batches,
    routes_files,
    routes_products,
    routes_qa,
    routes_sources,
    routes_status,
    warm,
)
from contimg.service.alerts import Alerts
from contimg.service.context import Service, root_of
from contimg.service.limits import App, BodyLimit, Bucket, Receive, Scope, Send
from contimg.service.listing import Listing
from contimg.service.metrics import Metrics
from contimg.service.registry_reader import Registries, Unreadable
from contimg.service.scheduler import Scheduler
from contimg.service.security import SAFE, Audit, Guard
from contimg.service.settings import Settings
from contimg.service.store import BatchRow, Store
from contimg.service.streams import Hub
from contimg.service.submit import Submitter
from contimg.service.tables import Sky
from contimg.service.tokens import Tokens
from contimg.service.watching import Watcher

_LOG = logging.getLogger(__name__)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SHOWN = 20
_THREADS = 12
"""That handlers run in: each has its connections to the databases, some 3 MB; more would only wait for one another."""


def hold_lock(settings: Settings) -> IO[str]:
    """Be the one process that writes the job list of a tree; the lock dies with the process.

    Raises
    ------
    SystemFault
        Another service, or `contimg watch`, does.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    handle = (settings.state / "lock").open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise SystemFault(
            f"{settings.products}: another service, or `contimg watch`, works on this products tree; stop it, or set "
            "service.watch there"
        ) from None
    return handle


class Parts:
    """What a service is made of, beside its addresses; `contimg watch` is this alone."""

    def __init__(self, settings: Settings, *, watch: bool) -> None:
        options = settings.options
        self.lock = hold_lock(settings)
        store = Store(settings.state / "jobs.sqlite3")
        registries = Registries(settings.products / "state")
        metrics = Metrics(store, registries, settings.products)
        scheduler = Scheduler(settings, store, self._ended)
        submitter = Submitter(settings, store, scheduler)
        watcher = Watcher(settings, store, submitter, latency=metrics.latency.observe) if watch else None
        self.alerts = Alerts(settings, registries, watcher)
        self.service = Service(
            settings=settings,
            store=store,
            listing=Listing(store),
            scheduler=scheduler,
            submitter=submitter,
            guard=Guard(
                Tokens(settings.state),
                store,
                requests_per_s=options.requests_per_s,
                session_s=3600.0 * options.session_hours,
                names=options.names,
            ),
            audit=Audit(settings.state / "audit.jsonl"),
            hub=Hub(options.poll_s, options.max_listeners),
            registries=registries,
            sky=Sky(settings.products),
            downloads=Bucket(options.downloads_per_min / 60.0, options.downloads_per_min),
            metrics=metrics,
            watcher=watcher,
        )

    def _ended(self, batch: BatchRow) -> None:
        self.service.metrics.ended.labels(batch.kind, batch.status).inc()
        self.alerts.ended(batch)

    def start(self) -> None:
        """Begin to work."""
        self.alerts.start()
        self.service.scheduler.start()
        if self.service.watcher is not None:
            self.service.watcher.start()

    def close(self, *, began: bool = True) -> None:
        """Stop. Runs go on."""
        if began:
            if self.service.watcher is not None:
                self.service.watcher.close()
            self.service.scheduler.close()
            self.alerts.close()
        self.service.audit.close()
        self.service.store.close()
        self.lock.close()


def create(settings: Settings, *, work: bool = True) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    settings : Settings
    work : bool
        False: batches are listed and never run, for tests of the addresses alone.
    """
    parts = Parts(settings, watch=settings.options.watch)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        if not work:  # it may be served again
            yield
            return
        parts.start()
        warming = warm.later(parts.service.sky)
        yield
        warming.cancel()
        parts.close()

    app = FastAPI(
        title="DSA-110 continuum",
        version=__version__,
        description="Batches over REST, and what the products tree holds. Times are UTC, positions ICRS, fluxes Jy.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.service = parts.service
    app.state.guard, app.state.audit = parts.service.guard, parts.service.audit
    for module in (
        routes_status,
        routes_batches,
        routes_products,
        routes_qa,
        routes_sources,
        routes_files,
        pages,
    ):
        app.include_router(module.router)
    app.mount("/static/shared", StaticFiles(directory=html.STATIC), name="shared")
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    app.add_exception_handler(RequestValidationError, _unusable)
    app.add_exception_handler(HTTPException, _problem)
    app.add_exception_handler(Unreadable, _unreadable)
    app.add_exception_handler(Exception, _broken)
    options = settings.options
    app.add_middleware(Checked, guard=parts.service.guard, audit=parts.service.audit, stall_s=options.stall_s)
    app.add_middleware(BodyLimit, most_bytes=1024 * options.max_body_kb, timeout_s=options.body_timeout_s)
    if options.prefix:
        app.add_middleware(Prefixed, prefix=options.prefix)
    if options.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(options.proxies))
    return app


class Prefixed:
    """Says at which path of a proxy the service stands, whether the proxy takes that path away or leaves it.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    prefix : str
        Such as `/contimg`.
    """

    def __init__(self, app: App, *, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: by ASGI its path begins with the root path."""
        if scope["type"] == "http":
            path = scope["path"]
            inside = path == self._prefix or path.startswith(f"{self._prefix}/")
            scope = {**scope, "root_path": self._prefix, "path": path if inside else self._prefix + path}
        await self._app(scope, receive, send)


def of_api(scope: Scope) -> bool:
    """Whether a program's address was asked for, not a page."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith("/api/")


class _Stalled(Exception):
    """A client does not read what it asked for."""


class Checked:
    """Stops what comes under a foreign name or from another site's page; adds what every answer carries.

    A client that does not read what it asked for is given up: else a stream would hold a place, and a file a thread, as
    long as it likes. What waits for it in memory is 64 kB at most, the server's own bound.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    guard : Guard
    audit : Audit
    stall_s : float
        For each part of an answer.
    """

    def __init__(self, app: App, *, guard: Guard, audit: Audit, stall_s: float) -> None:
        self._app, self._guard, self._audit, self._stall_s = app, guard, audit, stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def signed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                if of_api(scope) and "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            try:
                async with asyncio.timeout(self._stall_s):
                    await send(message)
            except TimeoutError:
                raise _Stalled from None

        refused = self._refused(scope)
        try:
            await (self._app if refused is None else refused)(scope, receive, signed)
        except* _Stalled:
            _LOG.warning("%s: given up, the client does not read", scope["path"][:200])

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._guard.known_host(headers):
            return answer(400, "this service does not go by that name (service.names)")
        if scope["method"] not in SAFE and not self._guard.same_site(headers):
            self._audit.write(who=None, method=scope["method"], path=scope["path"][:500], status=403)
            return answer(403, "another site's page sent this")
        return None


def answer(status: int, detail: Any, headers: dict[str, str] | None = None) -> Response:
    """A problem, as JSON in ASCII: what clients sent may be no text at all."""
    body = json.dumps({"detail": detail}, allow_nan=False)
    return Response(body, status, media_type="application/json", headers=headers)


async def _unusable(_request: Request, error: Exception) -> Response:
    """422: where, and what is wrong; never the value itself, which may be long or no JSON."""
    assert isinstance(error, RequestValidationError)
    told = [
        {"loc": [str(part)[:100] for part in one["loc"]], "msg": str(one["msg"])[:500], "type": one["type"]}
        for one in error.errors()[:_SHOWN]
    ]
    return answer(422, told)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    page = "text/html" in request.headers.get("accept", "") and not of_api(request.scope)
    if error.status_code == 401 and page:
        return RedirectResponse(f"{root_of(request)}/login", 303)
    return answer(error.status_code, error.detail, dict(error.headers or {}))


async def _unreadable(_request: Request, error: Exception) -> Response:
    """503: a registry or a table is damaged. Everything else goes on; the next that is made mends it."""
    return answer(503, str(error), {"Retry-After": "60"})


async def _broken(request: Request, error: Exception) -> Response:
    """500: a number to find it by in the log, nothing of its inside."""
    number = secrets.token_hex(4)
    _LOG.error("error %s: %s %s", number, request.method, request.url.path[:200], exc_info=error)
    return answer(500, f"this is our error, number {number}; the service's log tells more")


def openapi(path: Path, settings: Settings) -> None:
    """Write the OpenAPI document."""
    path.write_text(json.dumps(create(settings, work=False).openapi(), indent=1) + "\n")
