"""What is said where a registry or a table is not there, or is damaged: a declared status, and the rest goes on."""

import os
import time

import pytest
from fastapi.testclient import TestClient

from builders import service_sky, service_trees
from contimg.core.products import remove
from contimg.service.app import create
from contimg.service.tables import LIGHTCURVES

LISTS = ("/api/products", "/api/mosaics", "/api/published", "/api/qa", "/api/caltables")
SOURCE = service_sky.SOURCES[0][0]
SKY = {
    "/api/sources": "sources.parquet",
    f"/api/sources/{SOURCE}/variability": "sources.parquet",
    f"/api/sources/{SOURCE}/lightcurve": "lightcurves.parquet/_index.parquet",
    "/api/ese/candidates": "ese_candidates.csv",
}
LISTED = [*SKY.items(), ("/api/ese/candidates", "vetting.csv")]


@pytest.fixture
def served(tmp_path):
    settings = service_trees.make(tmp_path, tiles=0)
    service_sky.products(settings.products)
    service_sky.lightcurves(settings.products)
    return TestClient(create(settings, work=False)), settings.products


def spoil(path):
    path.chmod(0o644)
    path.write_bytes(b'"\xff\x00 no database and no table\n' * 100)


def registry(tree, path):
    return tree / "state" / ("cal_registry.sqlite3" if path == "/api/caltables" else "products.sqlite3")


@pytest.mark.parametrize("path", LISTS)
def test_without_a_registry_lists_are_empty_and_say_so(served, path):
    client, tree = served
    remove(registry(tree, path))
    told = client.get(path)
    assert told.status_code == 200
    assert told.json() == {"items": [], "total": 0, "registry": {"built_at": None, "age_s": None}}
    assert client.get("/api/health").json()["status"] == "healthy"  # a tree begins without one


@pytest.mark.parametrize("path", LISTS)
def test_a_damaged_registry_is_503_until_it_is_made_anew(served, path):
    client, tree = served
    good = client.get(path).json()
    spoil(registry(tree, path))
    told = client.get(path)
    assert (told.status_code, told.headers["retry-after"]) == (503, "60")
    assert "make it anew: snakemake registry" in told.json()["detail"]
    assert str(tree) not in told.text
    assert 503 in map(int, client.get("/openapi.json").json()["paths"][path]["get"]["responses"])
    assert client.get("/api/health").json()["status"] == "degraded"
    assert client.get("/api/batch").status_code == 200
    assert "contimg_registry_readable 0.0" in client.get("/metrics").text
    service_sky.products(tree)
    assert client.get(path).json()["items"] == good["items"]


def test_a_registry_cut_short_is_503_too(served):
    client, tree = served
    path = registry(tree, "/api/products")
    path.chmod(0o644)
    os.truncate(path, 6000)  # its first page and half of the next
    assert client.get("/api/products").status_code == 503
    told = client.get("/api/status")
    assert told.status_code == 200  # the state of the whole says what of it is damaged
    assert told.json()["health"] == "degraded"
    (damage,) = told.json()["damage"]
    assert "products.sqlite3 cannot be read" in damage
    assert "make it anew: snakemake registry" in damage
    assert told.json()["calibration_sets"]  # the other registry is whole


def test_lists_say_the_age_of_the_file_they_were_read_from(served):
    client, tree = served
    built = time.time() - 7200.0
    os.utime(registry(tree, "/api/products"), (built, built))
    age = client.get("/api/products").json()["registry"]["age_s"]
    assert age == pytest.approx(7200.0, abs=60.0)  # the test itself takes less than that


@pytest.mark.parametrize(("path", "file"), LISTED)
def test_a_damaged_table_is_503_and_names_it(served, path, file):
    client, tree = served
    good = client.get(path)
    assert good.status_code == 200
    spoil(tree / "variability" / file)
    told = client.get(path)
    assert told.status_code == 503
    assert file.split("/", maxsplit=1)[0] in told.json()["detail"]
    assert str(tree) not in told.text


def test_a_part_of_the_light_curves_that_is_gone_is_503(served):
    client, tree = served
    for part in (tree / LIGHTCURVES).glob("[!_]*.parquet"):
        part.unlink()
    assert client.get(f"/api/sources/{SOURCE}/lightcurve").status_code == 503
