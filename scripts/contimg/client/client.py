"""The client: one method for each thing that the service does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from contimg.api import answers
from contimg.api.base import ENDED, Kind

if TYPE_CHECKING:
    import pandas as pd

A = TypeVar("A", bound=BaseModel)
_TRIES, _PAUSE_S = 5, 1.0
_PATIENCE_S = 60.0  # a service that is being started again


class ServiceError(Exception):
    """The service refused, or cannot be reached; `status` is HTTP's, 0 for no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A service, spoken to.

    Parameters
    ----------
    url : str
        Such as `http://127.0.0.1:8000`.
    token : str, optional
        From `contimg token add`.
    timeout_s : float
        Of one request.
    transport : httpx.BaseTransport, optional
        Instead of the network's, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One request; waits and tries again where the service says that it is asked too often."""
        for attempt in range(_TRIES):
            try:
                response = self._http.request(method, path, **how)
            except httpx.HTTPError as error:
                raise ServiceError(f"{self._http.base_url}: {type(error).__name__}: {error}") from error
            if response.status_code != 429 or attempt == _TRIES - 1:
                break
            time.sleep(min(float(response.headers.get("retry-after", _PAUSE_S)), 30.0))
        if response.is_error:
            raise ServiceError(_detail(response), response.status_code)
        return response

    def _get(self, kind: type[A], path: str, **params: Any) -> A:
        given = {key: value for key, value in params.items() if value is not None}
        return kind.model_validate_json(self.request("GET", path, params=given).content)

    def submit(
        self, kind: Kind, body: Mapping[str, Any], *, dry_run: bool = False, key: str | None = None
    ) -> Any:
        """Ask for a batch (`answers.Batch`), or for what it would do (`answers.DryRun`).

        A `key` makes the request safe to send twice: the second gets the batch of the first.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        response = self.request(
            "POST", f"/api/batch/{kind}", json=dict(body), headers=headers, params={"dry_run": dry_run}
        )
        kept = answers.DryRun if dry_run else answers.Batch
        return kept.model_validate_json(response.content)

    def convert(self, windows: Sequence[tuple[str, str]], **parameters: Any) -> answers.Batch:
        """Measurement Sets of the tiles that start in windows of UTC time."""
        times = [{"start_time": start, "end_time": end} for start, end in windows]
        return self._submitted("convert", {"time_windows": times, "parameters": parameters})

    def calibrate(self, ms_paths: Sequence[str], **parameters: Any) -> answers.Batch:
        """Caltables of the transits that calibrate tiles."""
        return self._submitted("calibrate", {"ms_paths": list(ms_paths), "parameters": parameters})

    def apply(self, ms_paths: Sequence[str], caltable_paths: Sequence[str] = ()) -> answers.Batch:
        """Calibrated Measurement Sets."""
        return self._submitted("apply", {"ms_paths": list(ms_paths), "caltable_paths": list(caltable_paths)})

    def image(self, ms_paths: Sequence[str], **parameters: Any) -> answers.Batch:
        """Images of tiles."""
        return self._submitted("image", {"ms_paths": list(ms_paths), "parameters": parameters})

    def mosaic(self, **body: Any) -> answers.Batch:
        """A mosaic: `name`, `start`, `end`, or `calibrator_name`, `timespan_minutes`."""
        return self._submitted("mosaic", body)

    def photometry(self, mosaics: Sequence[str], **parameters: Any) -> answers.Batch:
        """Fluxes of the sources in mosaics."""
        return self._submitted("photometry", {"mosaics": list(mosaics), "parameters": parameters})

    def ese_detect(self, **parameters: Any) -> answers.Batch:
        """Search light curves for extreme scattering events."""
        return self._submitted("ese-detect", {"job_type": "ese-detect", "params": parameters})

    def publish(self, mosaics: Sequence[str]) -> answers.Batch:
        """Publish mosaics."""
        return self._submitted("publish", {"data_ids": list(mosaics)})

    def _submitted(self, kind: Kind, body: Mapping[str, Any]) -> answers.Batch:
        batch = self.submit(kind, body)
        if not isinstance(batch, answers.Batch):
            raise ServiceError("the service answered with no batch")
        return batch

    def batch(self, number: int) -> answers.Batch:
        """A batch with its items."""
        return self._get(answers.Batch, f"/api/batch/{number}")

    def batches(self, *, limit: int = 50, offset: int = 0, status: str | None = None) -> answers.BatchList:
        """Batches, newest first."""
        return self._get(answers.BatchList, "/api/batch", limit=limit, offset=offset, status=status)

    def wait(self, number: int, *, poll_s: float = 2.0, timeout_s: float | None = None) -> answers.Batch:
        """Wait for a batch's end; TimeoutError where it takes longer. A service that is started again is waited for."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        lost: float | None = None
        while True:
            try:
                batch, lost = self.batch(number), None
            except ServiceError as error:
                lost = lost or time.monotonic()
                if error.status or time.monotonic() - lost > _PATIENCE_S:
                    raise
            else:
                if batch.status in ENDED:
                    return batch
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"batch {number} has not ended after {timeout_s:g} s")
            time.sleep(poll_s)

    def cancel(self, number: int) -> answers.Message:
        """End a batch."""
        response = self.request("POST", f"/api/batch/{number}/cancel")
        return answers.Message.model_validate_json(response.content)

    def retry(self, number: int) -> answers.Batch:
        """Make its failed items again."""
        return answers.Batch.model_validate_json(self.request("POST", f"/api/batch/{number}/retry").content)

    def logs(self, number: int, *, follow: bool = True) -> Iterator[str]:
        """Text of a batch's log as it comes, to its end; a lost connection is taken up again where it was.

        Without `follow`, what there is now.
        """
        last: str | None = None
        lost: float | None = None
        while True:
            headers = {} if last is None else {"Last-Event-ID": last}
            pause = httpx.Timeout(60.0 if follow else 1.0, connect=30.0)
            try:
                with self._http.stream(
                    "GET", f"/api/batch/{number}/logs", headers=headers, timeout=pause
                ) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.is_error:
                        answer.read()
                        raise ServiceError(_detail(answer), answer.status_code)
                    for name, number_of, data in events(answer.iter_lines()):
                        last, lost = number_of or last, None
                        if name == "complete":
                            return
                        if name == "error":
                            raise ServiceError(json.loads(data)["message"])
                        yield json.loads(data)["logs"]
            except httpx.HTTPError as error:
                if not follow:
                    return
                lost = lost or time.monotonic()
                if time.monotonic() - lost > _PATIENCE_S:
                    raise ServiceError(f"the stream was lost {_PATIENCE_S:g} s ago: {error}") from error
                time.sleep(_PAUSE_S)

    def status(self, limit: int = 20) -> answers.Status:
        """The state of the whole."""
        return self._get(answers.Status, "/api/status", limit=limit)

    def health(self) -> answers.Health:
        """Whether the service can do its work."""
        return self._get(answers.Health, "/api/health")

    def products(self, **where: Any) -> pd.DataFrame:
        """Products as a table: `kind`, `date`, `status`, `calibrator`."""
        return self._table("/api/products", "items", where)

    def mosaics(self, date: str | None = None) -> pd.DataFrame:
        """Mosaics as a table."""
        return self._table("/api/mosaics", "items", {"date": date})

    def caltables(self, **where: Any) -> pd.DataFrame:
        """Caltables as a table: `mjd`, `dec_deg`, `hours`, `calibrator`."""
        return self._table("/api/caltables", "items", where)

    def verdicts(self, **where: Any) -> pd.DataFrame:
        """What the gates said, as a table: `date`, `verdict`."""
        return self._table("/api/qa", "items", where)

    def sources(
        self, ra_deg: float | None = None, dec_deg: float | None = None, radius_deg: float = 0.1
    ) -> pd.DataFrame:
        """Sources within a radius of a position (ICRS, degrees), nearest first; all without one."""
        return self._table(
            "/api/sources", "sources", {"ra": ra_deg, "dec": dec_deg, "radius_deg": radius_deg}
        )

    def candidates(self, min_sigma: float = 0.0) -> pd.DataFrame:
        """Candidates of extreme scattering events as a table."""
        return self._table("/api/ese/candidates", "candidates", {"min_sigma": min_sigma})

    def _table(self, path: str, field: str, where: Mapping[str, Any]) -> pd.DataFrame:
        """All pages of a list."""
        import pandas as pd

        given = {key: value for key, value in where.items() if value is not None}
        rows: list[dict[str, Any]] = []
        while True:
            page = self.request("GET", path, params={**given, "limit": 1000, "offset": len(rows)}).json()
            rows += page[field]
            if not page[field] or len(rows) >= page["total"]:
                return pd.DataFrame(rows)

    def lightcurve(self, source: str) -> pd.DataFrame:
        """A source's light curve with all its columns, in order of time."""
        import io

        import pandas as pd

        answer = self.request("GET", f"/api/sources/{source}/lightcurve", params={"format": "csv"})
        return pd.read_csv(io.BytesIO(answer.content))

    def variability(self, source: str) -> answers.Variability:
        """Measures of a source's variability."""
        return self._get(answers.Variability, f"/api/sources/{source}/variability")

    def cutout(self, product: str, ra_deg: float, dec_deg: float, **how: Any) -> bytes:
        """A part of an image.

        `product` is a tile, or `{date}/{mosaic}`; further `width`, `height`, `unit`, `format` and `scale`.
        """
        path = f"/api/mosaics/{product}" if "/" in product else f"/api/images/{product}"
        return self.request("GET", f"{path}/cutout", params={"ra": ra_deg, "dec": dec_deg, **how}).content

    def download(self, path: str) -> bytes:
        """A file of the products tree."""
        return self.request("GET", f"/api/files/{path}").content


def events(lines: Iterator[str]) -> Iterator[tuple[str | None, str | None, str]]:
    """Name, number and data of the events of a stream of lines (WHATWG HTML, 9.2.6)."""
    name: str | None = None
    number: str | None = None
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name, number, "\n".join(data)
            name, number, data = None, None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            number = value
        elif field == "data":
            data.append(value)


def _detail(response: httpx.Response) -> str:
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.text[:500]
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" for one in detail)
    return f"{response.status_code}: {detail}"
