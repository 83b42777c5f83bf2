"""Gates through the whole DAG: nights that must pass them, and one where a gate stops a tile before its mosaics."""

import re
from dataclasses import replace
from urllib.parse import unquote

import pandas as pd
import pytest

from contimg.core import names
from contimg.core.products import read_json
from contimg.qa.table import CATALOGUE_GATES
from contimg.simulate.options import preset

from .conftest import linked


def verdicts(made, kind):
    """Verdicts on the products of a kind, by the product's directory."""
    records = [read_json(path) for path in sorted(made.products.glob("qa/*/*.json"))]
    return {record["product"]: record for record in records if record["kind"] == kind}


def test_without_a_catalogue_its_gates_are_not_evaluated(clean):
    for kind in ("tile", "mosaic"):
        found = verdicts(clean, kind)
        assert found
        assert all(record["gates"]["flux_ratio"]["verdict"] == "not evaluated" for record in found.values())


def test_a_good_night_passes(night):
    for kind, count in (("tile", 4), ("mosaic", len(night.directories("mosaics")))):
        found = verdicts(night, kind)
        assert len(found) == count
        for product, record in found.items():
            assert record["verdict"] == "pass", f"{product}: {record['reason']}"
            assert record["gates"]["flux_ratio"]["verdict"] == "pass"
            assert record["gates"]["rms"]["verdict"] == "pass"
    for record in verdicts(night, "tile").values():
        # weights are from the data; antennas' SEFDs scatter by 10 %, so that their median is 2 % uncertain
        assert record["metrics"]["noise_over_weights"] == pytest.approx(1.0, abs=0.05)
        assert record["metrics"]["sefd_jy"] == pytest.approx(preset("demo").sefd_jy, rel=0.1)
    page = (night.products / "qa/2025-10-30.html").read_text()
    assert "4 of 5 tiles are good" in page
    assert f"{night.truth.tiles[0].name}: left out: 15 of 16 subbands: missing sb07" in page


def test_the_pages_of_a_night_lead_to_each_other_and_every_link_is_there(night):
    pages = [
        night.products / "index.html",
        *night.products.glob("qa/*.html"),
        *night.products.glob("plan/*.html"),
    ]
    assert len(pages) >= 3
    for page in pages:
        links = re.findall(r'(?:href|src)="(?!data:)([^"]*)"', page.read_text())
        assert links
        assert [path for path in links if not (page.parent / unquote(path)).exists()] == []


def test_a_tile_that_fails_a_gate_is_in_no_mosaic_and_nothing_else_changes(night, tmp_path):
    flags = {path: record["gates"]["flags"]["value"] for path, record in verdicts(night, "tile").items()}
    worst, second = sorted(flags, key=flags.get)[-1:-3:-1]
    limit = 0.5 * (flags[worst] + flags[second])
    assert flags[second] < limit < flags[worst]
    other = replace(night, products=linked(night.products, tmp_path / "products"))
    before = {path: path.stat().st_mtime_ns for path in other.products.glob("images/*/*/*")}
    other.snakemake("--cores", "2", "qa", settings=(f"qa={{max_flagged: {limit}}}",))
    assert {path: path.stat().st_mtime_ns for path in other.products.glob("images/*/*/*")} == before
    found = verdicts(other, "tile")
    assert [path for path, record in found.items() if record["verdict"] == "fail"] == [worst]
    assert found[worst]["reason"].startswith("flags ")
    held = 0
    for directory in other.directories("mosaics"):
        for tile in read_json(directory / "status.json")["tiles"]:
            if names.image_dir(tile["tile"]) == worst:
                held += 1
                assert (tile["status"], tile["weight"]) == ("rejected", 0.0)
                assert tile["reason"] == f"qa: {found[worst]['reason']}"
            elif tile["status"] == "ok":
                assert tile["weight"] > 0
    assert held == len(other.directories("mosaics"))
    page = (other.products / "qa/2025-10-30.html").read_text()
    assert f"{worst.rsplit('/', 1)[-1]}: {found[worst]['reason']}" in page


def catalogue(source, target, scale):
    """A reference catalogue with its fluxes off by a factor."""
    table = pd.read_csv(source)
    table["flux_jy"] *= scale
    table.to_csv(target, index=False)
    return target


def test_a_night_passes_the_gates_of_a_right_catalogue(south):
    for product, record in verdicts(south, "tile").items():
        assert record["verdict"] == "pass", f"{product}: {record['reason']}"
        gates = record["gates"]
        assert all(gates[name]["verdict"] == "pass" for name in CATALOGUE_GATES if name != "counterparts")
        # medians of five sources or more above 20 sigma: 1.25 x 5 % / sqrt(5) = 3 % and less; and a fiftieth of a beam
        assert gates["flux_ratio"]["value"] == pytest.approx(1.0, abs=0.03)
        assert gates["position_offset"]["value"] < 0.03


def test_with_a_catalogue_of_another_scale_every_tile_fails_and_no_mosaic_is_made(south, tmp_path):
    other = replace(south, products=linked(south.products, tmp_path / "products"))
    wrong = catalogue(south.incoming / "sources.csv", tmp_path / "wrong.csv", 1.25)
    # images stay: what is asked is what the gates say of them
    judging = ("--allowed-rules", "qa_tile", "mosaic_window", "qa_mosaic")
    asked = [path.relative_to(other.products) for path in other.directories("mosaics")]
    targets = [names.mosaic_verdict(str(path), path.name) for path in asked]
    other.snakemake(*targets, *judging, "--cores", "2", settings=(f"catalog={wrong}",))
    for record in verdicts(other, "tile").values():
        gate = record["gates"]["flux_ratio"]
        assert gate["value"] == pytest.approx(1 / 1.25, abs=0.03)
        assert (gate["verdict"], record["verdict"]) == ("fail", "fail")
        assert record["reason"].startswith("flux_ratio 0.")
    for record in verdicts(other, "mosaic").values():
        assert record["verdict"] == "fail"
        assert record["reason"].startswith("rejected: 0 good tiles")
    for path in other.directories("mosaics"):
        made = read_json(path / "status.json")
        assert made["status"] == "rejected"
        assert all("qa: flux_ratio" in tile["reason"] for tile in made["tiles"])


def test_injected_sources_come_back_with_their_flux_where_they_should_and_not_where_they_cannot(
    clean, tmp_path
):
    other = replace(clean, products=linked(clean.products, tmp_path / "products"))
    tile = clean.truth.tiles[0].name
    record = names.injection_record(tile)
    other.snakemake("--cores", "2", record)
    state = read_json(other.products / record)
    assert state["status"] == "ok"
    steps = {step["snr"]: step for step in state["metrics"]["steps"]}
    assert steps[2.0]["recovered"] <= 1  # 5 sigma are needed: P = 0.1 % for each of five
    for snr in (20.0, 30.0, 50.0):
        assert steps[snr]["recovered"] == steps[snr]["injected"] > 0
    # the median of 15 with errors of 2 to 5 % is good to 1.25 x 4 % / sqrt(15) = 1.3 %: three of that, and 2 % that
    # CLEAN of ten antennas may lose
    assert state["metrics"]["flux_ratio"] == pytest.approx(1.0, abs=0.06)
    assert abs(state["metrics"]["offset_major_beam"]) < 0.1
    assert abs(state["metrics"]["offset_minor_beam"]) < 0.1
    images = list(other.products.glob(f"images/*/{tile}/*.fits"))
    assert images
    assert all(path.samefile(clean.products / path.relative_to(other.products)) for path in images)
