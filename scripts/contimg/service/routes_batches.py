"""Batches and jobs: submit, list, show, cancel, retry, follow. The names and shapes are those of the batch guide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from contimg.api import answers, bodies
from contimg.api.base import ENDED, KINDS, BatchState, Kind
from contimg.service import wire
from contimg.service.context import Service, service_of
from contimg.service.route import Plain
from contimg.service.security import REFUSALS, Publisher, Reader, Runner, Who
from contimg.service.store import BatchRow
from contimg.service.streams import EventStream

T = TypeVar("T")
Number = Annotated[int, InPath(ge=1, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=2**53)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200, pattern=r"^[\x21-\x7e]+$")]
DryRun = Annotated[bool, Query(description="Tell what it would do; keep nothing")]

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": answers.Problem, "description": "There is none of that number"}
}
UNUSABLE: dict[int | str, dict[str, Any]] = {
    422: {"model": answers.Problem, "description": "A key or value that cannot be used, by name"}
}
SUBMITTED: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    **UNUSABLE,
    409: {"model": answers.Problem, "description": "The idempotency key was used for another request"},
    413: {"model": answers.Problem, "description": "The body is too long"},
    501: {"model": answers.Problem, "description": "This version of the workflow cannot do it"},
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "`id: N`, `data: {\"logs\": …}`; `event: complete`"},
    204: {"description": "It has ended, and everything was told"},
    **REFUSALS, **NOT_FOUND, **UNUSABLE,
}  # fmt: skip

_BODIES: dict[Kind, Any] = {
    "convert": bodies.ConvertRequest,
    "calibrate": bodies.CalibrateRequest,
    "apply": bodies.ApplyRequest,
    "image": bodies.ImageRequest,
    "mosaic": bodies.MosaicRequest,
    "photometry": bodies.PhotometryRequest,
    "ese-detect": bodies.EseRequest,
    "publish": bodies.PublishRequest,
}
SINGLES: tuple[Kind, ...] = ("calibrate", "apply", "image", "convert", "ese-detect")

router = APIRouter(tags=["batches"], route_class=Plain)


def add_submission(app: APIRouter | FastAPI, kind: Kind, *, single: bool) -> None:
    """Add the address that takes a kind of batch."""
    body_type, who_type = _BODIES[kind], Publisher if kind == "publish" else Runner

    def submit(
        request: Request, body: Any, who: Any, dry_run: DryRun = False, idempotency_key: Key = None
    ) -> answers.Batch | answers.DryRun:
        service = service_of(request)
        told = service.submitter.submit(
            kind,
            body,
            by=who.token.name,
            key=idempotency_key,
            single=single,
            dry_run=dry_run,
            may_publish=who.token.may("publish"),
        )
        if isinstance(told, answers.Batch):
            service.audit.write(
                who=who.token.name, action="submit", kind=kind, batch=told.id, items=told.total_items
            )
        return told

    submit.__annotations__ |= {"body": body_type, "who": who_type}
    submit.__name__ = f"submit_{'job' if single else 'batch'}_{kind.replace('-', '_')}"
    submit.__doc__ = (
        f"{'A batch of one' if single else 'A batch'}: {kind}. Two forms, told apart by `job_type`."
    )
    app.post(
        f"/api/{'jobs' if single else 'batch'}/{kind}",
        response_model=answers.Batch | answers.DryRun,
        responses=SUBMITTED,
    )(submit)


for _kind in KINDS:
    add_submission(router, _kind, single=False)
for _kind in SINGLES:
    add_submission(router, _kind, single=True)


def found(get: Callable[[], T]) -> T:
    """What is known of a batch, or 404."""
    try:
        return get()
    except LookupError:
        raise HTTPException(404, "there is no batch of this number") from None


@router.get("/api/batch", response_model=answers.BatchList, responses=REFUSALS | UNUSABLE)
def list_batches(
    request: Request, _who: Reader, limit: Limit = 50, offset: Offset = 0, status: BatchState | None = None
) -> Response:
    """Batches, newest first."""
    text = service_of(request).listing.page(limit=limit, offset=offset, status=status)
    return Response(text, media_type="application/json")


@router.get("/api/batch/kinds", responses=REFUSALS)
def list_kinds(request: Request, _who: Reader) -> answers.Kinds:
    """Which kinds of batches this workflow can do: null, or why not."""
    from contimg.service import planning

    return answers.Kinds(kinds={kind: planning.missing(kind) for kind in KINDS})


@router.get("/api/batch/{number}", response_model=answers.Batch, responses=REFUSALS | NOT_FOUND | UNUSABLE)
def show_batch(request: Request, number: Number, _who: Reader) -> Response:
    """A batch with its items."""
    text = found(lambda: service_of(request).listing.one(number))
    return Response(text, media_type="application/json")


@router.post("/api/batch/{number}/cancel", responses=REFUSALS | NOT_FOUND | UNUSABLE)
def cancel_batch(request: Request, number: Number, who: Runner) -> answers.Message:
    """End a batch: its run's whole process group."""
    service = service_of(request)
    row = found(lambda: service.store.get(number))
    _may_touch(who, row)
    if not service.store.cancel(number):
        raise HTTPException(
            400, f"batch {number} is {row.status}{', being cancelled' if row.status == 'running' else ''}"
        )
    service.audit.write(who=who.token.name, action="cancel", batch=number)
    service.scheduler.wake()
    return answers.Message(message=f"batch {number} is being cancelled", batch_id=number)


@router.delete("/api/batch/{number}", responses=REFUSALS | NOT_FOUND | UNUSABLE)
def delete_batch(request: Request, number: Number, who: Runner) -> answers.Message:
    """End a batch; the same as cancel."""
    return cancel_batch(request, number, who)


@router.post("/api/batch/{number}/retry", responses=REFUSALS | NOT_FOUND | UNUSABLE)
def retry_batch(request: Request, number: Number, who: Runner) -> answers.Batch:
    """Make the failed and cancelled items of a batch again, as the same batch."""
    service = service_of(request)
    row = found(lambda: service.store.get(number))
    _may_touch(who, row)
    if not service.store.retry(number):
        raise HTTPException(400, f"batch {number} is {row.status}: no item of it can be made again")
    service.audit.write(who=who.token.name, action="retry", batch=number)
    service.scheduler.wake()
    return wire.batch(service.store.get(number))


def _may_touch(who: Who, row: BatchRow) -> None:
    """A batch that publishes is touched only by who may publish."""
    if (row.kind == "publish" or row.spec["extra"].get("wait")) and not who.token.may("publish"):
        raise HTTPException(403, "this batch publishes; the token's role does not reach that")


@router.get("/api/batch/{number}/logs", responses=STREAM, response_class=StreamingResponse)
async def batch_logs(request: Request, number: Number, _who: Reader, last_event_id: Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=40)
] = None) -> Response:  # fmt: skip
    """The log of a batch as server-sent events, to its end."""
    service = service_of(request)
    path = service.settings.folder(number) / "output.log"
    return _stream(service, "batch", number, lambda one: (path, service.store.get(one).status), last_event_id)


def _stream(
    service: Service, name: str, number: int, look: Callable[[int], tuple[Path | None, str]], last: str | None
) -> Response:
    try:
        path, status = look(number)
    except LookupError:
        if last is not None:
            return Response(status_code=204)
        raise HTTPException(404, "there is none of this number") from None
    offset = int(last) if last is not None and last.isascii() and last.isdigit() and len(last) < 17 else 0
    size = path.stat().st_size if path is not None and path.is_file() else 0
    if last is not None and status in ENDED and offset >= size:
        return Response(status_code=204)
    if not service.hub.has_room():
        raise HTTPException(429, "too many streams are open", headers={"Retry-After": "30"})
    return EventStream(service.hub.follow(name, number, look, min(offset, size)))


@router.get("/api/jobs", tags=["jobs"], response_model=answers.BatchList, responses=REFUSALS | UNUSABLE)
def list_jobs(
    request: Request, _who: Reader, limit: Limit = 50, offset: Offset = 0, status: BatchState | None = None
) -> Response:
    """Batches of one, newest first."""
    text = service_of(request).listing.page(limit=limit, offset=offset, status=status, single=True)
    return Response(text, media_type="application/json")


@router.get("/api/jobs/id/{number}", tags=["jobs"], responses=REFUSALS | NOT_FOUND | UNUSABLE)
def show_job(request: Request, number: Number, _who: Reader) -> answers.Batch:
    """An item of any batch, as a batch of one."""
    store = service_of(request).store
    try:
        item = store.item(number)
    except LookupError:
        raise HTTPException(404, "there is no job of this number") from None
    return wire.job(store.get(item.batch_id, with_items=False), item)


@router.get("/api/jobs/id/{number}/logs", tags=["jobs"], responses=STREAM, response_class=StreamingResponse)
async def job_logs(request: Request, number: Number, _who: Reader, last_event_id: Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=40)
] = None) -> Response:  # fmt: skip
    """The log of an item's job as server-sent events, to its end."""
    service = service_of(request)

    def look(one: int) -> tuple[Path | None, str]:
        item = service.store.item(one)
        batch = service.store.get(item.batch_id)
        if batch.single or item.log is None:
            return service.settings.folder(batch.id) / "output.log", item.status
        return service.settings.tree(batch.branch) / item.log, item.status

    return _stream(service, "item", number, look, last_event_id)


@router.post("/api/mosaics/create", tags=["jobs"], responses=SUBMITTED)
def create_mosaic(
    request: Request,
    body: bodies.MosaicCreate,
    who: Runner,
    dry_run: DryRun = False,
    idempotency_key: Key = None,
) -> answers.MosaicJob | answers.DryRun:
    """One mosaic: round a calibrator's transit, or of a range."""
    service = service_of(request)
    order = bodies.MosaicBody(
        calibrator_name=body.calibrator_name,
        start=body.start_time,
        end=body.end_time,
        timespan_minutes=body.timespan_minutes,
        wait_for_published=body.wait_for_published and body.calibrator_name is not None,
    )
    told = service.submitter.submit(
        "mosaic",
        order,
        by=who.token.name,
        key=idempotency_key,
        single=True,
        dry_run=dry_run,
        may_publish=who.token.may("publish"),
    )
    if isinstance(told, answers.DryRun):
        return told
    service.audit.write(who=who.token.name, action="submit", kind="mosaic", batch=told.id, items=1)
    return answers.MosaicJob(
        job_id=told.id,
        group_id=told.items[0].ms_path,
        status=told.status,
        message=f"mosaic of {told.items[0].ms_path}: batch {told.id}",
    )
