"""The contract: recorded pairs of requests and answers, one for each form and kind, replayed one after the other.

`python tests/unit/service/test_contract.py` records the answers anew: look at what changed before it is committed.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from builders import service_sky, service_trees
from contimg.service.app import create
from contimg.service.planning import missing

PAIRS = Path(__file__).parents[2] / "data" / "api"
# what changes from one time to the next: times of now, numbers of versions, room on the disk
_NOW = re.compile(r'"20(?!25-)\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"')
_VARIES = {"age_s", "free_gb", "total_gb", "version", "versions"}


def serve(folder):
    settings = service_trees.make(
        folder,
        tiles=1,
        min_subbands=1,
        service={"requests_per_s": 1e5, "roots": ["/stage/dsa110-contimg"]},
    )
    service_sky.products(settings.products)
    service_sky.lightcurves(settings.products)
    return TestClient(create(settings, work=False))


def normal(value):
    """An answer without what varies."""
    if isinstance(value, dict):
        return {key: "…" if key in _VARIES else normal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    return "…" if isinstance(value, str) and _NOW.fullmatch(json.dumps(value)) else value


def replay(client, request):
    answer = client.request(request["method"], request["path"], json=request.get("body"))
    return {"status": answer.status_code, "body": normal(answer.json())}


def recorded():
    return [(path, json.loads(path.read_text())) for path in sorted(PAIRS.glob("*.json"))]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("contract"))


@pytest.mark.parametrize(
    ("path", "pair"), recorded(), ids=lambda value: value.stem if isinstance(value, Path) else ""
)
def test_an_answer_is_what_clients_were_promised(client, path, pair):
    kind = pair["request"]["path"].rpartition("/")[2]
    told = replay(client, pair["request"])
    if pair["answer"]["status"] == 501 and kind in ("photometry", "ese-detect") and missing(kind) is None:
        assert told["status"] == 200  # the rule has come since
        return
    assert told == pair["answer"]


def test_there_is_a_pair_for_each_form_and_kind():
    bodies = {
        (pair["request"]["path"], "job_type" in pair["request"]["body"])
        for _, pair in recorded()
        if pair["request"].get("body") and pair["request"]["path"].startswith("/api/batch/")
    }
    for kind in ("convert", "calibrate", "apply", "image", "mosaic", "photometry", "publish"):
        assert {(f"/api/batch/{kind}", form) for form in (False, True)} <= bodies
    assert ("/api/batch/ese-detect", True) in bodies


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asked = serve(Path(name))
        for place, one in recorded():
            place.write_text(
                json.dumps({**one, "answer": replay(asked, one["request"])}, indent=1, ensure_ascii=False)
                + "\n"
            )
    sys.exit(0)
