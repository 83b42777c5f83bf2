"""What the service reads: registries, light curves, verdicts, cut-outs, files."""

import io
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from fastapi.testclient import TestClient

from builders import service_sky, service_trees
from contimg.core import names
from contimg.service.app import create
from contimg.service.wire import iau_name
from contimg.variability.curves import read_source

FIRST, SECOND = (source[0] for source in service_sky.SOURCES)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = service_trees.make(tmp_path_factory.mktemp("read"), tiles=0)
    service_sky.products(settings.products)
    service_sky.lightcurves(settings.products)
    write_image(settings.products)
    with TestClient(create(settings, work=False)) as client:
        yield client, settings


def write_image(tree):
    """An image of 200 × 200 pixels of 10 arcsec with one source of 1 Jy off its centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [120.0, 54.6], [100.5, 100.5]
    wcs.wcs.cdelt = [-10.0 / 3600.0, 10.0 / 3600.0]
    data = np.random.default_rng(2).normal(0.0, 1e-3, (1, 1, 200, 200)).astype(np.float32)
    data[0, 0, 120, 60] = 1.0
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    folder = tree / names.image_dir(service_sky.TILE)
    fits.PrimaryHDU(data, header).writeto(folder / f"{service_sky.TILE}.pbcor.fits")
    return wcs


def get(served, path, expected=200, **params):
    answer = served[0].get(path, params=params)
    assert answer.status_code == expected, answer.text
    return answer.json()


def test_lists_say_how_old_the_registry_is(served):
    for path in ("/api/products", "/api/mosaics", "/api/caltables", "/api/qa", "/api/published"):
        told = get(served, path)["registry"]
        assert told["built_at"].endswith("Z")
        assert 0 <= told["age_s"] < 3600


def test_products_by_kind_state_and_page(served):
    assert (
        get(served, "/api/products", kind="image", status="rejected")["items"][0]["reason"]
        == "everything is flagged"
    )
    first = get(served, "/api/products", kind="image", limit=2)
    rest = get(served, "/api/products", kind="image", limit=2, offset=2)
    assert (len(first["items"]), len(rest["items"]), first["total"]) == (2, 1, 3)


def test_caltables_near_an_instant(served):
    mjd = names.tile_mjd(service_sky.TILE)
    assert get(served, "/api/caltables", mjd=mjd + 0.1, dec_deg=54.61)["total"] == 1
    assert get(served, "/api/caltables", mjd=mjd + 1.0, dec_deg=54.61)["total"] == 0
    assert get(served, "/api/caltables", mjd=mjd, dec_deg=60.0)["total"] == 0


def test_a_mosaic_with_its_tiles(served):
    told = get(served, "/api/mosaics/2025-10-30/0830+55")
    assert [tile["weight"] for tile in told["items"][0]["tiles"]] == [1.0, 1.0]
    get(served, "/api/mosaics/2025-10-30/0900+55", 404)


def test_verdicts_and_one_of_them(served):
    assert get(served, "/api/qa", verdict="pass")["total"] == 1
    told = get(served, f"/api/qa/2025-10-30/{service_sky.TILE}")
    assert told["gates"]["rms"]["value"] == 1.4
    get(served, "/api/qa/2025-10-30/nothing", 404)


def test_status_holds_what_the_batch_guide_promises(served):
    told = get(served, "/api/status", limit=2)
    assert set(told["queue"]) == {"total", "pending", "in_progress", "failed", "completed", "collecting"}
    assert told["queue"]["completed"] == 3
    assert len(told["recent_groups"]) == 2
    assert set(told["recent_groups"][0]) == {
        "group_id",
        "state",
        "received_at",
        "last_update",
        "subbands_present",
        "expected_subbands",
        "has_calibrator",
        "matches",
    }
    assert told["calibration_sets"][0]["set_name"] == f"{service_sky.TILE}_0834+555"
    health = get(served, "/api/health")
    assert health["status"] == "healthy"
    assert health["timestamp"].endswith("Z")
    assert set(health["disk"]) == {"free_gb", "total_gb"}


def test_light_curves_in_four_formats_hold_the_same(served):
    mine = read_source(served[1].products / "variability/lightcurves.parquet", FIRST)
    path = f"/api/sources/{FIRST}/lightcurve"
    told = get(served, path)
    assert [point["mjd"] for point in told["flux_points"]] == mine.mjd.tolist()
    flux = [np.nan if point["flux_jy"] is None else point["flux_jy"] for point in told["flux_points"]]
    np.testing.assert_array_equal(flux, mine.flux_jy)
    assert told["flux_points"][0]["time"] == "2025-10-30T12:00:00Z"
    assert len(told["normalized_flux_points"]) == len(mine)
    content = {
        kind: served[0].get(path, params={"format": kind}).content for kind in ("csv", "votable", "parquet")
    }
    np.testing.assert_allclose(pd.read_csv(io.BytesIO(content["csv"])).flux_jy, mine.flux_jy)
    np.testing.assert_array_equal(pd.read_parquet(io.BytesIO(content["parquet"])).flux_jy, mine.flux_jy)
    votable = Table.read(io.BytesIO(content["votable"]), format="votable")
    np.testing.assert_allclose(np.ma.filled(votable["flux_jy"], np.nan), mine.flux_jy)
    get(served, "/api/sources/J000000.0+000000/lightcurve", 404)


def test_variability_of_a_source(served):
    told = get(served, f"/api/sources/{FIRST}/variability")
    assert (told["eta"], told["v"], told["vs_mean"], told["n_epochs"]) == (1.1, 0.02, None, 20)
    get(served, "/api/sources/nobody/variability", 404)


@pytest.mark.parametrize(
    ("ra", "dec", "radius", "found"),
    [
        (128.728753, 55.5725, 0.001, [FIRST]),
        (359.999, 0.0, 0.01, [SECOND]),  # across 0h: 0.0097 deg away
        (359.999, 0.0, 0.009, []),
        (0.0, -90.0, 180.0, [SECOND, FIRST]),  # from the pole, nearest first
        (10.0, 10.0, 0.1, []),
    ],
)
def test_cone_search(served, ra, dec, radius, found):
    told = get(served, "/api/sources", ra=ra, dec=dec, radius_deg=radius)
    assert [source["source_id"] for source in told["sources"]] == found
    assert told["total"] == len(found)


def test_separations_are_those_of_the_sphere(served):
    (source,) = get(served, "/api/sources", ra=128.728753, dec=55.0725, radius_deg=0.6)["sources"]
    assert source["separation_deg"] == pytest.approx(0.5, abs=1e-9)


def test_candidates_the_most_significant_first_with_peoples_verdicts(served):
    told = get(served, "/api/ese/candidates")
    assert [one["source_id"] for one in told["candidates"]] == [FIRST, SECOND]
    assert [one["status"] for one in told["candidates"]] == ["active", "dismissed"]
    assert told["candidates"][0]["first_detection_at"] == "2025-11-09T12:00:00Z"
    assert told["candidates"][1]["notes"] == "sidelobe"
    assert get(served, "/api/ese/candidates", min_sigma=5)["total"] == 1


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        # the designation of a source is truncated, never rounded (IAU, dictionary of nomenclature)
        (128.7287499, 55.5724999, "J083454.8+553420"),
        (128.72875, 55.5725, "J083454.9+553421"),
        (0.0041666, -0.0083611, "J000000.9-000030"),
        (359.99999, 0.0, "J235959.9+000000"),
        (0.0, -0.0001, "J000000.0-000000"),
    ],
)
def test_names_are_truncated(ra, dec, name):
    assert iau_name(ra, dec) == name


def test_a_cut_out_is_the_part_of_the_image_at_its_place(served, tmp_path):
    wcs = WCS(
        fits.getheader(
            served[1].products / names.image_dir(service_sky.TILE) / f"{service_sky.TILE}.pbcor.fits"
        )
    )
    ra, dec = (float(value) for value in wcs.celestial.pixel_to_world_values(60, 120))
    path = f"/api/images/{service_sky.TILE}/cutout"
    content = (
        served[0]
        .get(path, params={"ra": ra, "dec": dec, "width": 210, "height": 110, "format": "fits"})
        .content
    )
    with fits.open(io.BytesIO(content)) as hdus:
        assert hdus[0].data.shape == (11, 21)
        y, x = np.unravel_index(np.nanargmax(hdus[0].data), hdus[0].data.shape)
        at = WCS(hdus[0].header).pixel_to_world_values(x, y)
        assert hdus[0].header["BUNIT"] == "Jy/beam"
    np.testing.assert_allclose(at, (ra, dec), atol=1e-9)  # the source's pixel keeps its place
    for scale in ("linear", "log", "sqrt", "asinh"):
        png = served[0].get(path, params={"ra": ra, "dec": dec, "scale": scale})
        assert png.headers["content-type"] == "image/png"
        assert png.content.startswith(b"\x89PNG")
    assert served[0].get(path, params={"ra": 10, "dec": 0}).status_code == 422
    assert served[0].get(path, params={"ra": ra, "dec": dec, "width": 10, "unit": "deg"}).status_code == 422


def test_metrics_are_what_a_monitor_reads(served):
    text = served[0].get("/metrics").text
    for line in (
        'contimg_batches{status="pending"} 0.0',
        'contimg_tiles{status="ok"} 2.0',
        "contimg_rms_over_expected 1.4",
        "contimg_disk_free_bytes",
        "contimg_tile_latency_seconds_bucket",
    ):
        assert line in text


def test_pages_show_and_escape(served):
    assert "candidates of extreme scattering events" in served[0].get("/candidates").text
    assert FIRST in served[0].get("/sources", params={"id": FIRST}).text
    told = served[0].post("/api/batch/image", json={"ms_paths": ["<script>alert(1)</script>.ms"]}).json()
    page = served[0].get(f"/batches/{told['id']}")
    assert "&lt;script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_the_service_imports_no_casa_no_numba_no_snakemake():
    import subprocess

    code = (
        "import sys, contimg.service.app; "
        "print(sorted({'casatasks', 'casatools', 'casacore', 'numba', 'snakemake', 'matplotlib', 'scipy', 'pandas', "
        "'astropy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_warming_up_reads_the_tables_and_imports_neither_casa_nor_numba(served):
    import subprocess

    code = (
        "import gc, pathlib, sys\n"
        "from contimg.service import tables, warm\n"
        "sky = tables.Sky(pathlib.Path(sys.argv[1]))\n"
        "warm.warm(sky)\n"
        "unwanted = {'casatasks', 'casatools', 'casacore', 'numba', 'snakemake'}\n"
        "print(unwanted & set(sys.modules), gc.get_freeze_count() > 1000)\n"
        "sky._sources._make = sky._candidates._make = None  # it is not read again\n"
        "print(len(sky.cone(None, None, 1.0, limit=9, offset=0)[0]), len(sky.candidates()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(served[1].products)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["set() True", "2 2"]
