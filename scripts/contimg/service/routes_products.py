"""Products of the tree, as the registries know them: lists never walk the tree, and say how old the registry is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath

from contimg.api import answers
from contimg.api.bodies import ConvertBody
from contimg.core import names
from contimg.service import wire
from contimg.service.context import Service, service_of
from contimg.service.registry_reader import Registry
from contimg.service.route import Plain
from contimg.service.routes_batches import NOT_FOUND, UNUSABLE, Limit, Offset
from contimg.service.security import REFUSALS, Reader

router = APIRouter(tags=["products"], route_class=Plain)
UNREADABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": answers.Problem, "description": "The registry or table that it is read from is damaged"}
}
ASKED = REFUSALS | UNUSABLE | UNREADABLE

Date = Annotated[str | None, Query(pattern=rf"^{names.DATE_PATTERN}$")]
DateInPath = Annotated[str, InPath(pattern=rf"^{names.DATE_PATTERN}$")]
NameInPath = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+:-]{0,99}$")]
Kind = Literal["science_ms", "calibrator_ms", "calibrated_ms", "caltable", "image", "mosaic"]

_COLUMNS = (
    "path, kind, date, name, tile, calibrator, status, reason, mjd_start, mjd_end, ra_deg, dec_deg, rms_jy, "
    "flag_fraction"
)


def page(
    service: Service, select: str, source: str, where: dict[str, Any], order: str, limit: int, offset: int,
    *, of: Registry = "products",
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """One page of rows, and how many there are; conditions are fixed texts, values are bound."""
    given = {condition: value for condition, value in where.items() if value is not None}
    condition = " AND ".join(given) or "1"
    values = [value for value in given.values() if value is not ...]
    rows = service.registries.rows(
        f"SELECT {select} FROM {source} WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?",
        [*values, limit, offset],
        of=of,
    )
    total = service.registries.rows(f"SELECT count(*) AS n FROM {source} WHERE {condition}", values, of=of)
    return rows, total[0]["n"] if total else 0


def answer(service: Service, rows: list[dict[str, Any]], total: int, of: Registry = "products") -> Response:
    """Rows as `answers.Rows` says them. What SQLite gives are plain values: they need no check of each."""
    told = {"items": rows, "total": total, "registry": service.registries.age(of)}
    return Response(wire.written(told), media_type="application/json")


@router.get("/api/products", response_model=answers.Rows, responses=ASKED)
def list_products(
    request: Request,
    _who: Reader,
    kind: Kind | None = None,
    date: Date = None,
    status: Literal["ok", "rejected"] | None = None,
    calibrator: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Products in order of path."""
    where = {"kind = ?": kind, "date = ?": date, "status = ?": status, "calibrator = ?": calibrator}
    service = service_of(request)
    return answer(service, *page(service, _COLUMNS, "product", where, "path", limit, offset))


@router.get("/api/mosaics", response_model=answers.Rows, responses=ASKED)
def list_mosaics(
    request: Request, _who: Reader, date: Date = None, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """Mosaics, newest first."""
    service, columns = service_of(request), f"{_COLUMNS}, n_tiles"
    return answer(
        service, *page(service, columns, "mosaics", {"date = ?": date}, "date DESC, path", limit, offset)
    )


@router.get("/api/caltables", response_model=answers.Rows, responses=ASKED)
def list_caltables(
    request: Request,
    _who: Reader,
    mjd: Annotated[float | None, Query(ge=15020, le=88069)] = None,
    dec_deg: Annotated[float | None, Query(ge=-90, le=90)] = None,
    hours: Annotated[float, Query(gt=0, le=720)] = 12.0,
    calibrator: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Caltables: of a strip round an instant, nearest first; else all, newest first."""
    where: dict[str, Any] = {"calibrator = ?": calibrator}
    order = "mjd DESC, path"
    if dec_deg is not None:
        where["strip_deg = ?"] = names.strip_dec(dec_deg)
    if mjd is not None:
        where[f"mjd >= {mjd - hours / 24.0!r}"] = ...
        where[f"mjd <= {mjd + hours / 24.0!r}"] = ...
        order = f"abs(mjd - {mjd!r}), path"
    columns = (
        "path, date, tile, calibrator, mjd, dec_deg, status, reason, refant, apparent_flux_jy, n_antennas_solved, "
        "flagged_fraction, phase_scatter_deg, amplitude_scatter"
    )
    service = service_of(request)
    rows, total = page(service, columns, "caltable", where, order, limit, offset, of="caltables")
    return answer(service, rows, total, "caltables")


@router.get("/api/published", response_model=answers.Rows, responses=ASKED)
def list_published(
    request: Request, _who: Reader, date: Date = None, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """Versions that were published, with what became of them."""
    service, columns = service_of(request), "path, product, date, version, state, published, reason"
    where, order = {"date = ?": date}, "date DESC, path"
    return answer(service, *page(service, columns, "publication", where, order, limit, offset))


@router.get("/api/mosaics/{date}/{name}", response_model=answers.Rows, responses=ASKED | NOT_FOUND)
def show_mosaic(request: Request, date: DateInPath, name: NameInPath, _who: Reader) -> Response:
    """A mosaic with its tiles."""
    service = service_of(request)
    where = {"date = ?": date, "name = ?": name, "kind = 'mosaic'": ...}
    rows, total = page(service, _COLUMNS, "product", where, "path", 1, 0)
    if not rows:
        raise HTTPException(404, "the registry knows no such mosaic")
    tiles = service.registries.rows(
        "SELECT mosaic_tile.tile AS tile, status, reason, weight FROM mosaic_tile JOIN "
        "(SELECT id FROM product WHERE path = ?) AS it ON it.id = mosaic_id ORDER BY tile",
        [rows[0]["path"]],
    )
    return answer(service, [rows[0] | {"tiles": tiles}], total)


@router.get("/api/plan", responses=ASKED)
def plan(
    request: Request,
    _who: Reader,
    start: Annotated[str | None, Query(max_length=40)] = None,
    end: Annotated[str | None, Query(max_length=40)] = None,
) -> answers.Plans | answers.DryRun:
    """The plans that were made (`plan/` of the tree); with `start` and `end`, what converting that range would do."""
    service = service_of(request)
    if (start is None) != (end is None):
        raise HTTPException(422, "start, end: expected both or none")
    if start is None:
        folder = service.settings.products / "plan"
        found = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
        return answers.Plans(plans=[f"plan/{name}" for name in found[-1000:]])
    told = service.submitter.submit("convert", ConvertBody(start=start, end=end), by=None, dry_run=True)
    if not isinstance(told, answers.DryRun):
        raise TypeError("a dry run gave a batch")
    return told
