"""The plan of a night of files with nothing in them but headers."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from builders.uvh5_files import INTEGRATION_S, write_tile
from contimg.cli.main import main
from contimg.core.names import tile_mjd, tile_name
from contimg.core.products import read_json
from contimg.simulate import simulate
from contimg.simulate.options import Source

from .conftest import snakemake, write_calibrators

TILES = 6
STEP_DAYS = 24 * INTEGRATION_S / 86400.0


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """Raw files of six tiles; the calibrator 0834+555 transits in none of them."""
    where = tmp_path_factory.mktemp("headers")
    for number in range(TILES):
        start = tile_mjd("2025-10-30T20:00:00") + number * STEP_DAYS
        write_tile(where / "incoming" / tile_name(start)[:10], start, n_times=24)
    return {"incoming": where / "incoming", "products": where / "products"}


@pytest.fixture(scope="module")
def one_tile(tiny_options, tmp_path_factory):
    """Raw files of the tile in which 0834+555 transits, and the setting that names the calibrators."""
    where = tmp_path_factory.mktemp("one_tile")
    options = replace(tiny_options, n_tiles=1, transit_tile=0)
    simulate(options, where / "incoming")
    catalogue = write_calibrators(where / "calibrators.csv", options.sources)
    return where / "incoming", (f"calibrators={catalogue}",)


def test_without_a_target_everything_is_planned(headers):
    plan = snakemake("-n", **headers).stdout
    assert re.search(rf"^contimg: convert_tile +{TILES} +0 +not there$", plan, flags=re.MULTILINE)
    assert "mosaic_window" in plan


def test_a_plan_is_written_as_a_page_and_as_facts_and_makes_nothing_else(headers, capsys, tmp_path):
    pairs = [f"{key}={path}" for key, path in headers.items()]
    assert main(["plan", "--cores", "2", "--config", *pairs]) == 1
    assert "6 of 6 tiles cannot be calibrated" in capsys.readouterr().out
    # 3C295 (right ascension 212.84) transits at 19:27 of that day, and this source in the middle of the third tile
    passing = Source("passing", ra_deg=224.34, dec_deg=54.5, flux_jy=5.0)
    calibrators = f"calibrators={write_calibrators(tmp_path / 'calibrators.csv', (passing,))}"
    assert main(["plan", "--cores", "2", "--config", *pairs, calibrators]) == 0
    written = capsys.readouterr().out.splitlines()[-2:]
    facts = read_json(Path(written[1]))
    assert facts["feasible"]
    assert [row["calibrator"] for row in facts["transits"]] == ["passing"]
    assert len(facts["tiles"]) == TILES
    stages = facts["cost"]["stages"]
    assert stages["convert_tile"]["to_run"] == stages["image_tile"]["to_run"] == TILES
    assert stages["mosaic_window"]["to_run"] == len(facts["mosaics"]) > 0
    assert {entry.name for entry in headers["products"].iterdir()} == {
        ".snakemake",
        "index.html",
        "plan",
        "state",
    }
    # the same through the engine, on a disk that must stay emptier than it is
    settings = (calibrators, "disk_reserve_gb=1000000")
    done = snakemake("--cores", "2", "plan", **headers, settings=settings)
    assert "NOT FEASIBLE" in done.stdout
    assert "report:" not in done.stdout  # nothing was to be made
    assert not read_json(Path(written[1]))["feasible"]
    assert not (headers["products"] / "images").exists()


def test_the_first_look_is_a_target_and_makes_its_page_and_nothing_else(one_tile, tmp_path):
    products = tmp_path / "products"
    done = snakemake(
        "--cores", "2", "firstlight", incoming=one_tile[0], products=products, settings=one_tile[1]
    )
    found = read_json(products / "firstlight" / "firstlight.json")
    assert found["calibrator"] == "0834+555"
    # four integrations tell little else
    assert {one["name"]: one["verdict"] for one in found["findings"]}["strips"] == "borne out"
    assert re.search(r"^contimg: borne out +strips +1 tiles at 1 declinations", done.stdout, re.MULTILINE)
    assert (products / "firstlight" / "firstlight.html").is_file()
    assert not (products / "ms").exists()


def test_a_run_stops_before_the_disk_is_full_and_goes_on_when_there_is_room(one_tile, tmp_path):
    incoming, settings = one_tile
    night = {"incoming": incoming, "products": tmp_path / "products"}
    full = snakemake(
        "--cores", "2", "convert", **night, settings=(*settings, "disk_reserve_gb=1000000"), check=False
    )
    assert full.returncode == 1
    assert "the disk is nearly full" in full.stdout
    assert "finishing currently running jobs" in full.stdout
    assert list(night["products"].glob("ms/**/*.json")) == []
    assert "error, 1×: error: its job ended without a product" in full.stdout
    told = tmp_path / "told"
    command = f"notify={{command: {sys.executable} {write_teller(tmp_path)} {told}}}"
    done = snakemake("--cores", "2", "convert", **night, settings=(*settings, command))
    assert "1 of 1 tiles converted" in done.stdout
    (sidecar,) = night["products"].glob("ms/science/*/*.json")
    assert read_json(sidecar)["status"] == "ok"
    assert told.read_text().startswith("ok ")
    (page,) = night["products"].glob("plan/*.report.html")
    assert f"report: {page}" in done.stdout
    assert f"all products: {night['products'] / 'index.html'}" in done.stdout


def write_teller(folder: Path) -> Path:
    """A program that writes what it is told to the file of its argument."""
    path = folder / "tell.py"
    path.write_text(
        "import os, sys\nopen(sys.argv[1], 'w').write(os.environ['CONTIMG_STATUS'] + ' ' + sys.stdin.read())\n"
    )
    return path


def test_the_engines_report_has_the_pictures_with_their_captions(night, tmp_path):
    night.snakemake("mosaic", "--report", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    assert "each weighted with 1/rms" in text
    assert "Solutions from the transit of 0834+555" in text
    made = {path.stem for path in night.products.glob("mosaics/*/*/*.png")}
    assert made
    assert all(name in text for name in made)
