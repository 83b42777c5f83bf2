"""From a request to a batch: kinds that the workflow lacks, photometry in further places, what is one and the same."""

import json

import pytest
from fastapi.testclient import TestClient

from builders import service_trees as trees
from builders.tiles import strip_of_tiles
from contimg.config.load import load
from contimg.core import names
from contimg.index.tile import Index
from contimg.night import branches
from contimg.night.night import arrange
from contimg.service import planning
from contimg.service.app import create
from contimg.service.run import _further_places
from contimg.sky.calibrators import Calibrator

MOSAIC = "2025-10-30/0830+55"
PLACES = [{"ra_deg": 128.7, "dec_deg": 55.5}, {"ra_deg": 0.1, "dec_deg": -5.0}]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = trees.make(tmp_path_factory.mktemp("submit"), tiles=1, min_subbands=1)
    return TestClient(create(settings, work=False))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/batch/photometry", {"mosaics": [MOSAIC]}),
        ("/api/batch/photometry", {"job_type": "photometry", "params": {"mosaics": [MOSAIC]}}),
        ("/api/batch/ese-detect", {"job_type": "ese-detect", "params": {}}),
        ("/api/jobs/ese-detect", {"job_type": "ese-detect", "params": {}}),
        ("/api/batch/photometry?dry_run=true", {"mosaics": [MOSAIC]}),
    ],
)
def test_a_kind_whose_rule_is_lacking_is_501_with_the_reason_and_leaves_nothing(
    client, monkeypatch, path, body
):
    monkeypatch.setattr(planning, "RULES", {"photometry": "rule_to_come", "ese-detect": "rule_to_come"})
    before = client.get("/api/batch").json()["total"]
    answer = client.post(path, json=body)
    assert answer.status_code == 501
    assert "no rule rule_to_come" in answer.json()["detail"]
    assert client.get("/api/batch").json()["total"] == before
    assert "rule_to_come" in client.get("/api/batch/kinds").json()["kinds"]["photometry"]
    assert client.post("/api/batch/image", json={"ms_paths": trees.paths(0)}).status_code == 200


def photometry(client, **more):
    answer = client.post("/api/batch/photometry", json={"mosaics": [MOSAIC], **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def spec_of(client, number):
    return client.app.state.service.store.get(number).spec


def test_further_places_are_measured_in_a_branch_that_the_same_places_share(client):
    plain = photometry(client)
    one = photometry(client, coordinates=PLACES)
    other = photometry(client, coordinates=PLACES[:1])
    assert plain["branch"] is None
    assert one["branch"] == f"batches/{one['id']}"
    assert other["branch"] == f"batches/{other['id']}"
    client.delete(f"/api/batch/{one['id']}")
    again = photometry(client, parameters={"coordinates": PLACES[::-1]})
    assert (again["branch"], again["ignored"]) == (one["branch"], {})


def test_further_places_become_the_branch_s_own_list_of_sources(client, tmp_path):
    from contimg.photometry.positions import read_own

    spec = spec_of(client, photometry(client, coordinates=PLACES)["id"])
    changed = _further_places(spec, tmp_path)
    path = tmp_path / "photometry" / "coordinates.csv"
    assert changed == {"photometry": {"sources": str(path)}}
    assert branches.STAGES[branches.first_stage(changed)] == "photometry"
    table = read_own(path)
    expected = {(place["ra_deg"], place["dec_deg"]) for place in PLACES}
    assert set(zip(table["ra_deg"], table["dec_deg"], strict=True)) == expected
    stamp = path.stat().st_mtime_ns
    _further_places(spec, tmp_path)  # resumed: the same list must not look newer
    assert path.stat().st_mtime_ns == stamp
    config = planning.configuration({}, {**spec, "changed": changed}, tmp_path)
    assert str(config.photometry.sources) == str(path)


def test_normalised_fluxes_are_those_of_the_light_curves(client, tmp_path):
    tiles = strip_of_tiles(count=4)
    source = Calibrator("A", tiles[1].ra_icrs_deg, 55.0, 5.0, -0.7, "test")
    config = load({"catalog": str(tmp_path / "catalog.csv")}, check=False)
    night = arrange(config, Index(tuple(tiles), ()), [source])
    (mosaic,) = night.mosaics()[:1]
    told = photometry(client, mosaics=[mosaic], normalize=True)
    (item,) = planning.items_of(spec_of(client, told["id"]), night, config)
    assert item.error is None
    assert item.targets[-1] == names.LIGHTCURVES
    assert item.sidecars[-1] == "variability/lightcurves.json"
    plain = photometry(client, mosaics=[mosaic])
    (item,) = planning.items_of(spec_of(client, plain["id"]), night, config)
    assert names.LIGHTCURVES not in item.targets


def test_a_dry_run_keeps_nothing(client):
    before = client.get("/api/batch").json()["total"]
    answer = client.post("/api/batch/image?dry_run=true", json={"ms_paths": ["nothing.ms"]})
    assert answer.status_code == 200
    assert answer.json()["items"][0]["error"].startswith("names no tile")
    assert client.get("/api/batch").json()["total"] == before


def test_what_has_ended_is_listed_as_it_is_after_it_was_made_again(client):
    """Pages of ended batches are kept as text: a batch that runs again must not be shown as it was."""
    store = client.app.state.service.store
    number = client.post("/api/batch/image", json={"ms_paths": ["nothing.ms"]}).json()["id"]

    def shown():
        return next(one for one in client.get("/api/batch").json()["items"] if one["id"] == number)

    assert shown()["status"] == "failed"
    assert json.dumps(shown()) == json.dumps(client.get(f"/api/batch/{number}").json())
    assert store.retry(number) == 1
    assert shown()["status"] == "pending"
    store.update_item(shown()["items"][0]["job_id"], status="done")
    store.end(number)
    assert shown()["items"][0]["status"] == "done"
