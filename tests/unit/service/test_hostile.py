"""The whole OpenAPI document under schemathesis, and hostile input by hand: no 500, no undeclared status, no harm."""

import asyncio
import json

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks as openapi_checks

from builders import service_sky, service_trees
from contimg.api.base import KINDS
from contimg.service.app import create
from contimg.service.limits import BodyLimit

_BOUND = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
load_all_checks()
_CHECKS: list[CheckFunction] = [
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    tree = service_trees.make(
        tmp_path_factory.mktemp("hostile"),
        tiles=1,
        min_subbands=1,
        service={"requests_per_s": 1e6, "downloads_per_min": 1e6, "max_pending": 100000},
    )
    service_sky.products(tree.products)
    service_sky.lightcurves(tree.products)
    return create(tree, work=False)


@pytest.fixture(scope="module")
def client(app):
    return TestClient(app, raise_server_exceptions=False)


def test_every_address_keeps_to_its_document(app, client):
    document = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    document.config.update(base_url="http://testserver")
    statuses, broken = {}, []

    def try_all(operation):
        @_BOUND
        @given(case=operation.as_strategy())
        def keeps_to_it(case):
            query = {name: value for name, value in (case.query or {}).items() if name != "dry_run"}
            asked = case.as_transport_kwargs() | {"params": query}
            answer = client.request(
                asked["method"],
                asked["url"],
                params=asked["params"],
                headers={name: value for name, value in dict(asked["headers"]).items() if value.isascii()},
                json=asked.get("json"),
            )
            statuses.setdefault(operation.label, set()).add(answer.status_code)
            if answer.status_code == 500:
                broken.append((operation.label, asked, answer.text))
            case.validate_response(Response.from_any(answer), checks=_CHECKS)

        keeps_to_it()

    for found in document.get_all_operations():
        operation = found.ok()
        if not operation.path.endswith("/logs") and operation.path != "/api/plan":
            try_all(operation)
    assert not broken
    assert len(statuses) > 35
    # the tests must have gone past the door: all that need no number or name of something were served
    assert sum(200 in seen for seen in statuses.values()) >= 12, statuses


NASTY = (
    "'; DROP TABLE batch; --",
    '" OR 1=1',
    "../" * 20 + "etc/passwd",
    "$(touch owned)",
    "`touch owned`",
    "| touch owned",
    "\n--configfile=/etc/passwd",
    "--snakefile=/etc/passwd",
    "{{7*7}}",
    "${7*7}",
    "<script>",
    "a" * 999,
    "\u202e\u0000x",
    "é" * 300,
    "%n%s",
    "2025-10-30T13:00:00/../../../x.ms",
    "~root/2025-10-30T13:00:00.ms",
    "\U0001f600",
)
FIELDS = {
    "convert": lambda text: {"start": text, "end": text},
    "calibrate": lambda text: {
        "ms_paths": [text],
        "parameters": {"refant": text, "field": text, "existing_k_table": text},
    },
    "apply": lambda text: {"ms_paths": [text], "caltable_paths": [text]},
    "image": lambda text: {"ms_paths": [text], "parameters": {"quality_tier": text, "backend": text}},
    "mosaic": lambda text: {"name": text, "start": "2025-10-30", "end": "2025-10-31"},
    "photometry": lambda text: {"mosaics": [text]},
    "ese-detect": lambda text: {"job_type": "ese-detect", "params": {"source_ids": [text]}},
    "publish": lambda text: {"data_ids": [text]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_injection_in_every_string(client, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in NASTY:
        answer = client.post(f"/api/batch/{kind}", json=FIELDS[kind](text))
        assert answer.status_code in (200, 400, 422, 501), (text, answer.text)
        if answer.status_code == 200 and kind in ("calibrate", "apply", "image", "publish"):
            assert all(item["status"] == "failed" for item in answer.json()["items"]) or "2025" in text
    assert list(tmp_path.iterdir()) == []
    assert client.get("/api/batch").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"ms_paths": ["x"], "parameters": {"robust": NaN}}',
        b'{"ms_paths": ["x"], "parameters": {"robust": Infinity}}',
        b'{"ms_paths": ["x"], "parameters": {"robust": 1e400}}',
        b'{"ms_paths": ["x"], "parameters": {"niter": 1' + b"0" * 4000 + b"}}",
        b'{"ms_paths": ["\\ud800"]}',
        b'{"\\ud800": 1}',
        b'{"ms_paths": ["\xff"]}',
        b"[" * 50000,
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"ms_paths": {}}',
        b'{"job_type": 5}',
        b'{"job_type": "image", "params": {"job_type": "image", "params": {}}}',
        b'{"ms_paths": ["' + b"a" * 1_000_000 + b'"]}',
    ],
)
def test_bodies_that_are_no_request(client, body):
    answer = client.post("/api/batch/image", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422), answer.text
    json.loads(answer.text)
    assert len(answer.content) < 20_000


@pytest.mark.parametrize(
    "path", ["/api/batch/0", "/api/batch/-1", "/api/batch/99999999999999999999999", "/api/batch/x"]
)
def test_numbers_that_are_none(client, path):
    assert client.get(path).status_code == 422


def test_a_slow_body_is_cut_off():
    async def never():
        await asyncio.sleep(60)

    sent = []

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        pytest.fail("nothing may reach the application")

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(BodyLimit(app, most_bytes=10, timeout_s=0.05)(scope, never, send))
    assert sent[0]["status"] == 408
