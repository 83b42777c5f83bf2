"""Sources: cone search, light curves, variability, candidates of extreme scattering events."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath

from contimg.api import answers
from contimg.service import wire
from contimg.service.context import service_of
from contimg.service.route import Plain
from contimg.service.routes_batches import NOT_FOUND, Limit, Offset
from contimg.service.routes_products import ASKED
from contimg.service.security import Reader
from contimg.service.tables import Row, Sky

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

router = APIRouter(tags=["sources"], route_class=Plain)
SourceId = Annotated[str, InPath(min_length=1, max_length=100, pattern=r"^[^/\x00-\x1f]+$")]
_STATUS = {"investigated", "dismissed"}


@router.get("/api/sources", response_model=answers.Sources, responses=ASKED)
def list_sources(
    request: Request,
    _who: Reader,
    ra: Annotated[float | None, Query(ge=0, lt=360)] = None,
    dec: Annotated[float | None, Query(ge=-90, le=90)] = None,
    radius_deg: Annotated[float, Query(gt=0, le=180)] = 0.1,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Sources within a radius of a position (ICRS), nearest first; without one, all."""
    if (ra is None) != (dec is None):
        raise HTTPException(422, "ra, dec: expected both or none")
    rows, total = service_of(request).sky.cone(ra, dec, radius_deg, limit=limit, offset=offset)
    return _json({"sources": [_source(row) for row in rows], "total": total})


def _json(told: dict[str, Any]) -> Response:
    return Response(wire.written(told), media_type="application/json")


def _source(row: Row) -> Row:
    """Fields of `answers.Source`: a hundred objects of it a request would cost more than all else."""
    ra, dec = row["ra_deg"], row["dec_deg"]
    told = {name: row.get(name) for name in ("mean_flux_jy", "eta", "v", "separation_deg")}
    n_epochs = wire.number(row.get("n_epochs"))
    return {
        "source_id": str(row["source_id"]),
        "name": wire.iau_name(ra, dec),
        "ra_deg": ra,
        "dec_deg": dec,
        "n_epochs": None if n_epochs is None else int(n_epochs),
        **told,
    }


def _curve(sky: Sky, source: str, columns: tuple[str, ...] | None = None) -> pa.Table:
    table = sky.curve(source, columns)
    if table is None:
        raise HTTPException(404, "there is no light curve of this source")
    return table


@router.get(
    "/api/sources/{source}/lightcurve",
    responses=ASKED
    | NOT_FOUND
    | {
        200: {
            "model": answers.LightCurve,
            "content": {
                "text/csv": {},
                "application/x-votable+xml": {},
                "application/vnd.apache.parquet": {},
            },
        }
    },
)
def lightcurve(
    request: Request,
    source: SourceId,
    _who: Reader,
    format: Literal["json", "csv", "votable", "parquet"] = "json",  # noqa: A002  the contract's name
) -> Response:
    """A source's fluxes in order of time."""
    sky = service_of(request).sky
    if format != "json":
        from contimg.variability.curves import to_frame

        content, kind = _FORMATS[format](to_frame(_curve(sky, source)))
        return Response(content, media_type=kind)
    table = _curve(sky, source, _SHOWN)
    fluxes, normalized = _points(table)
    told = {
        "source_id": source,
        "ra_deg": wire.number(table["ra_deg"][0].as_py()),
        "dec_deg": wire.number(table["dec_deg"][0].as_py()),
        "flux_points": fluxes,
        "normalized_flux_points": normalized,
    }
    return _json(told)


_SHOWN = (
    "ra_deg",
    "dec_deg",
    "mjd",
    "mosaic",
    "flux_jy",
    "flux_err_jy",
    "flux_norm",
    "flux_norm_err",
)  # columns are read one by one


def _points(table: pa.Table) -> tuple[list[Row], list[Row]]:
    """Fields of `answers.FluxPoint`: a thousand objects of it a request would cost more than all else."""
    mjds = table["mjd"].to_numpy()
    # a dictionary's values one by one take fifteen times as long
    mosaics = table["mosaic"].cast("string").to_pylist()
    when = list(zip(mjds.tolist(), wire.times(mjds), mosaics, strict=True))
    told = []
    for names in (("flux_jy", "flux_err_jy"), ("flux_norm", "flux_norm_err")):
        values, errors = (table[name].to_numpy().astype(float).tolist() for name in names)
        told.append(
            [
                {"mjd": mjd, "time": time, "flux_jy": value, "flux_err_jy": error, "image_id": mosaic}
                for (mjd, time, mosaic), value, error in zip(when, values, errors, strict=True)
                if time is not None
            ]
        )
    return told[0], told[1]


def _csv(table: pd.DataFrame) -> tuple[bytes, str]:
    return table.to_csv(index=False).encode(), "text/csv"


def _votable(table: pd.DataFrame) -> tuple[bytes, str]:
    from astropy.table import Table

    told = io.BytesIO()
    plain = table.copy()
    for name in plain.columns:
        if plain[name].dtype.kind not in "biuf":
            plain[name] = plain[name].astype(str).astype(object)
    Table.from_pandas(plain).write(told, format="votable")
    return told.getvalue(), "application/x-votable+xml"


def _parquet(table: pd.DataFrame) -> tuple[bytes, str]:
    told = io.BytesIO()
    table.to_parquet(told, index=False)
    return told.getvalue(), "application/vnd.apache.parquet"


_FORMATS: dict[str, Callable[[pd.DataFrame], tuple[bytes, str]]] = {
    "csv": _csv,
    "votable": _votable,
    "parquet": _parquet,
}


@router.get("/api/sources/{source}/variability", responses=ASKED | NOT_FOUND)
def variability(request: Request, source: SourceId, _who: Reader) -> answers.Variability:
    """Measures of a source's variability."""
    row = service_of(request).sky.measures(source)
    if row is None:
        raise HTTPException(404, "there is no source of this name")
    return answers.Variability(
        source_id=source,
        v=wire.number(row.get("v")),
        eta=wire.number(row.get("eta")),
        vs_mean=wire.number(row.get("vs_mean")),
        m_mean=wire.number(row.get("m_mean")),
        n_epochs=int(wire.number(row.get("n_epochs")) or 0),
        measures=wire.row_of(row),
    )


@router.get("/api/ese/candidates", responses=ASKED)
def candidates(
    request: Request,
    _who: Reader,
    limit: Limit = 100,
    offset: Offset = 0,
    min_sigma: Annotated[float, Query(ge=0, le=1e6)] = 0.0,
) -> answers.Candidates:
    """Candidates, the most significant first; people's verdicts come from `variability/vetting.csv`."""
    sky = service_of(request).sky
    rows = [row for row in sky.candidates() if row["significance"] >= min_sigma]
    vetted = sky.vetted()
    told = [_candidate(row, sky, vetted) for row in rows[offset : offset + limit]]
    return answers.Candidates(candidates=told, total=len(rows))


def _candidate(row: Row, sky: Sky, vetted: dict[str, tuple[str, str]]) -> answers.Candidate:
    source = str(row["source_id"])
    status, notes = vetted.get(source, (str(row.get("status", "active")), ""))
    return answers.Candidate(
        id=int(row["id"]),
        source_id=source,
        ra_deg=wire.number(row.get("ra_deg")),
        dec_deg=wire.number(row.get("dec_deg")),
        first_detection_at=wire.when_mjd(wire.number(row.get("first_detection_mjd"))),
        last_detection_at=wire.when_mjd(wire.number(row.get("last_detection_mjd"))),
        max_sigma_dev=wire.number(row["significance"]),
        current_flux_jy=wire.number(sky.current(source)),
        baseline_flux_jy=wire.number(row.get("median_flux_jy")),
        status=status if status in _STATUS else "active",  # type: ignore[arg-type]
        notes=notes or None,
    )
