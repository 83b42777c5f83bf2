"""Pages for a browser: batches, sources, candidates. They show what the addresses under /api say, and hold no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from contimg import __version__
from contimg.core.html import render
from contimg.service import routes_sources, wire
from contimg.service.context import root_of, service_of
from contimg.service.routes_batches import Limit, Number, Offset, found
from contimg.service.routes_status import disk_of
from contimg.service.security import Reader, Who

router = APIRouter(include_in_schema=False)
STATIC = Path(__file__).resolve().parent / "static"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
}


def page(request: Request, name: str, who: Who | None, **told: Any) -> HTMLResponse:
    """Render a template; what it shows is escaped."""
    guard = service_of(request).guard
    csrf = guard.csrf(who.session) if who is not None and who.session is not None else ""
    text = render(
        f"service/templates/{name}",
        root=root_of(request),
        version=__version__,
        who=who,
        csrf=csrf or "",
        **told,
    )
    return HTMLResponse(text, headers=HEADERS)


@router.get("/login")
def login(request: Request) -> Response:
    """Where a token is given for a session."""
    return page(request, "login.html", None)


@router.get("/")
def home(request: Request, who: Reader) -> Response:
    """What runs, and the newest batches."""
    service = service_of(request)
    rows, total = service.store.page(limit=20)
    return page(
        request,
        "home.html",
        who,
        batches=[wire.batch(row) for row in rows],
        total=total,
        disk=disk_of(service),
        registry=service.registries.age(),
        counts=service.store.counts(),
    )


@router.get("/batches")
def batches(request: Request, who: Reader, limit: Limit = 100, offset: Offset = 0) -> Response:
    """Batches, newest first."""
    rows, total = service_of(request).store.page(limit=limit, offset=offset)
    return page(
        request, "batches.html", who, batches=[wire.batch(row) for row in rows], total=total, limit=limit,
        offset=offset,
    )  # fmt: skip


@router.get("/batches/{number}")
def batch(request: Request, number: Number, who: Reader) -> Response:
    """A batch, its items and its log as it grows."""
    row = found(lambda: service_of(request).store.get(number))
    return page(request, "batch.html", who, batch=wire.batch(row))


@router.get("/candidates")
def candidates(request: Request, who: Reader) -> Response:
    """Candidates of extreme scattering events."""
    told = routes_sources.candidates(request, who, limit=500)
    return page(request, "candidates.html", who, candidates=told.candidates, total=told.total)


@router.get("/sources")
def source(
    request: Request, who: Reader, name: Annotated[str, Query(alias="id", min_length=1, max_length=100)]
) -> Response:
    """A source with its light curve."""
    sky = service_of(request).sky
    row = sky.measures(name)
    if row is None and sky.curve(name) is None:
        raise HTTPException(404, "there is no source of this name")
    return page(request, "source.html", who, source=name, measures=wire.row_of(row or {}))
