"""The state of the whole: health, status, metrics, sessions."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response

from contimg import __version__
from contimg.api import answers
from contimg.api.bodies import SessionRequest
from contimg.jobs import treelock
from contimg.service import wire
from contimg.service.context import Service, root_of, service_of
from contimg.service.metrics import CONTENT_TYPE
from contimg.service.registry_reader import Registries, Registry, Unreadable
from contimg.service.route import Plain
from contimg.service.routes_batches import UNUSABLE
from contimg.service.security import COOKIE, REFUSALS, Reader, client_of

router = APIRouter(tags=["status"], route_class=Plain)
_TILE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$")


def disk_of(service: Service) -> answers.Disk:
    """Room where the products are."""
    usage = shutil.disk_usage(service.settings.products)
    return answers.Disk(free_gb=round(usage.free / 1e9, 2), total_gb=round(usage.total / 1e9, 2))


def health_of(service: Service) -> answers.Health:
    """Whether the service can do its work."""
    databases = service.registries.health()
    databases["jobs"] = "ok" if service.store.counts() is not None else "cannot be read"
    disk = disk_of(service)
    bad = any(told.startswith("cannot") for told in databases.values())
    low = disk.free_gb < service.settings.config.disk_reserve_gb
    return answers.Health(
        status="degraded" if bad or low else "healthy",
        timestamp=datetime.now(UTC),
        databases=databases,
        disk=disk,
        version=__version__,
    )


@router.get("/api/health", responses=REFUSALS)
def health(request: Request, _who: Reader) -> answers.Health:
    """Whether the service can do its work; for more see `/api/status` and `/metrics`."""
    return health_of(service_of(request))


@dataclass
class _Asked:
    """Questions to the registries; what is damaged gives no rows, and is remembered."""

    registries: Registries
    damage: set[str] = field(default_factory=set)

    def rows(
        self, sql: str, values: Mapping[str, Any] | None = None, *, of: Registry = "products"
    ) -> list[dict[str, Any]]:
        try:
            return self.registries.rows(sql, values or {}, of=of)
        except Unreadable as error:
            self.damage.add(str(error))
            return []


@router.get("/api/status", responses=REFUSALS | UNUSABLE)
def status(
    request: Request, _who: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> answers.Status:
    """Groups of files, caltables, what runs now; `damage` says what of it cannot be read."""
    service = service_of(request)
    asked = _Asked(service.registries)
    groups = _groups(service, asked, limit)
    running = [service.store.get(number) for number in service.store.ids("running")]
    lock = service.settings.products / "state" / "lock"
    return answers.Status(
        queue=_queue(service, asked),
        recent_groups=groups,
        calibration_sets=_sets(asked, limit),
        matched_recent=sum(group.has_calibrator for group in groups),
        versions={"contimg": __version__, "python": sys.version.split()[0]},
        disk=disk_of(service),
        night={
            "running": [f"batch {row.id} ({row.kind})" for row in running],
            "writes_the_tree": treelock.holder(lock),
            "watch": service.watcher is not None,
        },
        health="degraded" if asked.damage else health_of(service).status,
        damage=sorted(asked.damage),
        registry=service.registries.age(),
    )


_STATES = {"done": "completed", "submitted": "in_progress", "ready": "pending", "collecting": "collecting",
           "failed": "failed"}  # fmt: skip


def _watched(service: Service) -> list[tuple[Any, ...]]:
    return service.store.ask(
        "SELECT name, state, first_seen, last_update, present, expected FROM watched ORDER BY name DESC LIMIT 100000"
    )


def _queue(service: Service, asked: _Asked) -> answers.Queue:
    counts = dict.fromkeys(("pending", "in_progress", "failed", "completed", "collecting"), 0)
    watched = {row[0]: _STATES[row[1]] for row in _watched(service) if _TILE.match(row[0])}
    for state in watched.values():
        counts[state] += 1
    known = asked.rows("SELECT status, count(*) AS n FROM product WHERE kind = 'science_ms' GROUP BY status")
    if not watched:
        for row in known:
            counts["completed" if row["status"] == "ok" else "failed"] += row["n"]
    return answers.Queue(total=sum(counts.values()), **counts)


def _groups(service: Service, asked: _Asked, limit: int) -> list[answers.Group]:
    """Tiles, newest first: those that are watched, then those that the registry knows."""
    rows = asked.rows(
        "SELECT product.tile AS tile, status, mjd_start, mjd_end, n_raw_files, "
        "(SELECT group_concat(calibrator, ';') FROM product AS other WHERE other.tile = product.tile "
        " AND other.kind = 'caltable') AS calibrators "
        "FROM product WHERE kind = 'science_ms' ORDER BY tile DESC LIMIT :limit",
        {"limit": limit},
    )
    found = {}
    for row in rows:
        begin = wire.when_mjd(row["mjd_start"]) or datetime.fromisoformat(row["tile"]).replace(tzinfo=UTC)
        matches = sorted(set(row["calibrators"].split(";"))) if row["calibrators"] else None
        found[row["tile"]] = answers.Group(
            group_id=row["tile"],
            state="completed" if row["status"] == "ok" else "failed",
            received_at=begin,
            last_update=wire.when_mjd(row["mjd_end"]) or begin,
            subbands_present=row["n_raw_files"],
            expected_subbands=16,
            has_calibrator=matches is not None,
            matches=matches,
        )
    for name, state, first, last, present, expected in _watched(service)[:limit]:
        if not _TILE.match(name):
            continue
        known = found.get(name)
        found[name] = answers.Group(
            group_id=name,
            state=_STATES[state],
            received_at=datetime.fromtimestamp(first, UTC),
            last_update=datetime.fromtimestamp(last, UTC),
            subbands_present=present,
            expected_subbands=expected,
            has_calibrator=known is not None and known.has_calibrator,
            matches=None if known is None else known.matches,
        )
    return [found[name] for name in sorted(found, reverse=True)[:limit]]


def _sets(asked: _Asked, limit: int) -> list[answers.CalibrationSet]:
    rows = asked.rows(
        "SELECT path, tile, calibrator, status FROM caltable ORDER BY mjd DESC LIMIT :limit",
        {"limit": limit},
        of="caltables",
    )
    return [
        answers.CalibrationSet(
            set_name=f"{row['tile']}_{row['calibrator']}",
            tables=[f"{row['path']}/{table}" for table in ("K", "BP", "G")] if row["status"] == "ok" else [],
            active=3 if row["status"] == "ok" else 0,
            total=3,
        )
        for row in rows
    ]


@router.get("/metrics", responses=REFUSALS, response_class=Response)
def metrics(request: Request, _who: Reader) -> Response:
    """What Prometheus reads."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)


@router.post("/api/session", responses=REFUSALS | UNUSABLE)
def open_session(request: Request, response: Response, body: SessionRequest) -> answers.Session:
    """A token for a cookie that no page can read; what changes something needs the CSRF token beside it."""
    service = service_of(request)
    guard, client = service.guard, client_of(request)
    if guard.failures.full(client):
        raise HTTPException(429, "too many tokens that are not known", headers={"Retry-After": "10"})
    token = guard.tokens.find(body.token)
    if token is None:
        guard.failures.take(client)
        service.audit.write(who=None, client=client, action="session", status=401)
        raise HTTPException(401, "this token is not known", headers={"WWW-Authenticate": "Bearer"})
    number, csrf, expires = guard.open_session(token)
    response.set_cookie(
        COOKIE,
        number,
        max_age=max(1, int(expires - time.time())),
        path=root_of(request) or "/",
        httponly=True,
        samesite="strict",
        secure=service.settings.options.secure_cookies or request.url.scheme == "https",
    )
    service.audit.write(who=token.name, client=client, action="session")
    return answers.Session(role=token.role, csrf_token=csrf, expires_at=datetime.fromtimestamp(expires, UTC))


@router.delete("/api/session", responses=REFUSALS)
def close_session(request: Request, response: Response, who: Reader) -> answers.Message:
    """End the session of the cookie."""
    if who.session is not None:
        service_of(request).guard.close_session(who.session)
    response.delete_cookie(COOKIE, path=root_of(request) or "/")
    return answers.Message(message="the session is closed")
