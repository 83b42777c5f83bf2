"""Files of the products tree, and cut-outs of its images; with a limiter of their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from contimg.api.answers import Problem
from contimg.core import names
from contimg.core.errors import InputError
from contimg.service.context import Service, service_of
from contimg.service.routes_batches import NOT_FOUND
from contimg.service.routes_products import ASKED, DateInPath, NameInPath
from contimg.service.security import Reader, Who, client_of

router = APIRouter(tags=["files"])
SHOWN = (
    "images",
    "mosaics",
    "qa",
    "published",
    "cal",
    "photometry",
    "variability",
    "plan",
    "firstlight",
    "logs",
    "batches",
)
"""Folders of the tree whose files are given out; state/ is not one of them."""
_TYPES = {".fits": "application/fits", ".png": "image/png", ".json": "application/json", ".csv": "text/csv",
          ".parquet": "application/vnd.apache.parquet", ".log": "text/plain", ".txt": "text/plain",
          ".vot": "application/x-votable+xml", ".html": "text/html", ".svg": "image/svg+xml"}  # fmt: skip
Scale = Literal["linear", "log", "sqrt", "asinh"]
_slots: dict[int, threading.BoundedSemaphore] = {}

CUTOUT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "application/fits": {}}, "description": "The part of the image"},
    **ASKED,
    **NOT_FOUND,
}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in (*_TYPES.values(), "application/octet-stream")}, "description": "The file"},
    206: {"description": "A part of the file"},
    **ASKED,
    **NOT_FOUND,
    416: {"model": Problem, "description": "The range is not in the file"},
}  # fmt: skip


def admit(request: Request, service: Service, who: Who) -> None:
    """Let a download begin, if its client has not had too many."""
    wait = service.downloads.take(f"{who.token.name}@{client_of(request)}")
    if wait:
        raise HTTPException(429, "too many downloads", headers={"Retry-After": str(max(1, round(wait)))})


@contextmanager
def slot(service: Service) -> Iterator[None]:
    """One of the downloads at the same time."""
    semaphore = _slots.setdefault(
        id(service), threading.BoundedSemaphore(service.settings.options.max_downloads)
    )
    if not semaphore.acquire(timeout=5.0):
        raise HTTPException(429, "too many downloads go on", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        semaphore.release()


def shown(service: Service, path: str) -> Path:
    """A file of the tree that may be given out; 404 for everything else, whether it is there or not."""
    missing = HTTPException(404, "no such file")
    parts = path.split("/")
    if (
        parts[0] not in SHOWN
        or any(part.startswith(".") for part in parts)
        or "\0" in path
        or len(path) > 1000
    ):
        raise missing
    if parts[0] == "batches" and (len(parts) < 3 or parts[2] not in SHOWN):
        raise missing
    try:
        real = service.settings.place.confine(path)
    except InputError:
        raise missing from None
    root = Path(os.path.realpath(service.settings.products))
    if not real.is_relative_to(root) or real.relative_to(root).parts[0] not in SHOWN or not real.is_file():
        raise missing
    return real


@router.get("/api/files/{path:path}", responses=FILE, response_class=FileResponse)
def download(request: Request, path: str, who: Reader) -> Response:
    """A file of a product, a table, a page or a log."""
    service = service_of(request)
    admit(request, service, who)
    real = shown(service, path)
    kind = _TYPES.get(real.suffix, "application/octet-stream")
    # a page of the tree must not act in this service's name
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    }
    return FileResponse(real, media_type=kind, headers=headers)


Ra = Annotated[float, Query(ge=0, lt=360)]
Dec = Annotated[float, Query(ge=-90, le=90)]
Side = Annotated[float, Query(gt=0, le=1e5)]
_ARCSEC = {"arcsec": 1.0, "arcmin": 60.0, "deg": 3600.0}


@dataclass(frozen=True)
class View:
    """What part of an image is asked for, and how: the query of both cutouts."""

    ra: Ra
    dec: Dec
    width: Side = 300.0
    height: Side = 300.0
    unit: Literal["arcsec", "arcmin", "deg"] = "arcsec"
    format: Literal["png", "fits"] = "png"
    scale: Scale = "linear"


@router.get("/api/images/{tile}/cutout", responses=CUTOUT, response_class=Response)
def image_cutout(
    request: Request,
    tile: Annotated[str, InPath(pattern=rf"^{names.TILE_PATTERN}$")],
    who: Reader,
    view: Annotated[View, Depends()],
) -> Response:
    """A part of a tile's image, corrected for the primary beam."""
    return _cutout(request, who, f"{names.image_dir(tile)}/{tile}.pbcor.fits", view)


@router.get("/api/mosaics/{date}/{name}/cutout", responses=CUTOUT, response_class=Response)
def mosaic_cutout(
    request: Request,
    date: DateInPath,
    name: NameInPath,
    who: Reader,
    view: Annotated[View, Depends()],
) -> Response:
    """A part of a mosaic."""
    return _cutout(request, who, f"{names.window_dir(date, name)}/{name}.fits", view)


def _cutout(request: Request, who: Reader, path: str, view: View) -> Response:
    from contimg.service import cutouts  # with astropy and matplotlib: when a picture is first asked for

    service = service_of(request)
    admit(request, service, who)
    real = shown(service, path)
    unit = _ARCSEC[view.unit]
    with slot(service):
        try:
            data, header = cutouts.cut(real, view.ra, view.dec, view.width * unit, view.height * unit)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except (OSError, ValueError):
            raise HTTPException(404, "the image cannot be read") from None
        if view.format == "fits":
            return Response(cutouts.as_fits(data, header), media_type="application/fits")
        return Response(cutouts.as_png(data, view.scale), media_type="image/png")
