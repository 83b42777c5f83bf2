"""What the gates said of tiles and mosaics."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response

from contimg.api import answers
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.service.context import service_of
from contimg.service.route import Plain
from contimg.service.routes_batches import NOT_FOUND, Limit, Offset
from contimg.service.routes_products import ASKED, Date, DateInPath, NameInPath, answer, page
from contimg.service.security import Reader

router = APIRouter(tags=["qa"], route_class=Plain)


@router.get("/api/qa", response_model=answers.Rows, responses=ASKED)
def list_verdicts(
    request: Request,
    _who: Reader,
    date: Date = None,
    verdict: Literal["pass", "fail"] | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Verdicts, newest night first, each with the gates that failed."""
    failed = (
        "(SELECT group_concat(name, ';') FROM gate WHERE gate.verdict_id = verdict.id AND gate.verdict = 'fail') "
        "AS failed_gates"
    )
    where = {"date = ?": date, "verdict.verdict = ?": verdict}
    columns = f"path, product, date, kind, verdict.verdict AS verdict, reason, {failed}"
    service = service_of(request)
    return answer(service, *page(service, columns, "verdict", where, "date DESC, path", limit, offset))


@router.get("/api/qa/{date}/{product}", responses=ASKED | NOT_FOUND)
def show_verdict(request: Request, date: DateInPath, product: NameInPath, _who: Reader) -> dict[str, Any]:
    """A verdict with all its gates, from its file."""
    path = service_of(request).settings.products / names.verdict(date, product)
    if not path.is_file():
        raise HTTPException(404, "no such tile or mosaic was judged")
    try:
        record: dict[str, Any] = read_json(path)
    except InputError:
        raise HTTPException(404, "the verdict cannot be read") from None
    return record
