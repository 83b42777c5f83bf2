"""Truth through the whole DAG: every source above 10 σ inside a power beam of 0.3, in tiles and mosaics."""

import pandas as pd
import pytest

from contimg.core.products import read_json
from contimg.qa.truth import MEDIAN_LIMIT, compare_product, judge


def tables(made, kind):
    """What `contimg compare` measures in every good product of a kind."""
    found = {}
    for directory in made.directories(kind):
        if read_json(directory / "status.json")["status"] == "ok":
            found[directory.relative_to(made.products)] = compare_product(directory, made.truth.sources)
    return found


@pytest.mark.parametrize("name", ["night", "south", "north"])
def test_every_bright_source_of_a_mosaic_has_its_flux_and_place(name, request):
    found = tables(request.getfixturevalue(name), "mosaics")
    assert found
    for product, table in found.items():
        verdict = judge(table)
        assert verdict.sources >= 10, product
        assert verdict.good, f"{product}: {verdict.line()}"


@pytest.mark.parametrize("name", ["night", "south", "north"])
def test_every_bright_source_of_a_tile_has_its_place_and_within_the_noise_its_flux(name, request):
    found = tables(request.getfixturevalue(name), "images")
    assert len(found) >= 3
    for product, table in found.items():
        verdict = judge(table)
        assert abs(verdict.median_ratio - 1) <= MEDIAN_LIMIT, f"{product}: {verdict.line()}"
        assert not verdict.place_failures, f"{product}: {verdict.line()}"
    together = pd.concat(found.values())
    # The three tiles of a strip hold 50 to 65 measurements, the demo's four 165 (a tile's limit is for as many as it
    # holds): beyond one is to be expected in five nights of pure noise, and the tiles share the noise of their gains.
    # One is allowed, if it is within 4 sigma.
    wrong = together[~together["flux_good"]]
    assert len(together) >= 45
    assert len(wrong) <= 1, wrong[["name", "true_jy", "flux_jy", "flux_err_jy"]]
    assert ((wrong["flux_jy"] - wrong["true_jy"]).abs() < 4 * wrong["flux_err_jy"]).all()


def test_the_southern_night_crosses_midnight_and_ra_0h(south):
    dates = {path.parent.name for path in south.directories("images")}
    assert dates == {"2026-01-18", "2026-01-19"}
    crossing = [path for path in south.directories("mosaics") if path.name == "0000-05"]
    assert len(crossing) == 1
    tiles = read_json(crossing[0] / "status.json")["tiles"]
    assert [tile["status"] for tile in tiles] == ["ok"] * 3


def test_the_northern_night_was_imaged_with_tclean(north):
    for directory in north.directories("images"):
        assert read_json(directory / "status.json")["parameters"]["plan"]["backend"] == "tclean"
