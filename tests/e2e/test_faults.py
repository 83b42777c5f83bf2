"""Each fault of a night: the plan names it, and the other tiles come out as if it were not there."""

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from contimg.core.products import read_json
from contimg.simulate import simulate

from .conftest import QUICK, fault, make_night, snakemake, write_calibrators

# The fault, and what the plan must say of it.
LEFT_OUT = {
    "missing_subband": "missing sb05",
    "zero_length": "sb05",
    "truncated": "sb05",
    "garbage": "sb05",
    "incomplete": "sb05",
    "other_declination": "declination",
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_a_broken_tile_is_left_out_with_its_reason(kind, tiny_options, tmp_path):
    truth = simulate(replace(tiny_options, faults=(fault(kind, 2, 5),)), tmp_path / "incoming")
    catalogue = write_calibrators(tmp_path / "calibrators.csv", tiny_options.sources)
    plan = snakemake(
        "-n",
        "image",
        incoming=tmp_path / "incoming",
        products=tmp_path / "products",
        settings=(f"calibrators={catalogue}",),
    ).stdout
    broken = truth.tiles[2].name
    (said,) = [line for line in plan.splitlines() if "left out" in line and broken in line]
    assert LEFT_OUT[kind] in said
    assert re.search(r"image_tile +2 +0 ", plan)


@pytest.mark.parametrize("kind", ["truncated", "duplicate_subband", "missing_tile"])
def test_the_other_tiles_come_out_as_if_the_fault_were_not_there(kind, clean, tiny_options, tmp_path):
    subband = None if kind == "missing_tile" else 5
    made = make_night(
        tmp_path, replace(tiny_options, faults=(fault(kind, 2, subband),)), "image", settings=QUICK
    )
    for tile in clean.truth.tiles[:2]:
        path = f"images/{tile.name[:10]}/{tile.name}/{tile.name}.pbcor.fits"
        expected, found = (fits.getdata(night.products / path) for night in (clean, made))
        # The same numbers go through the same programs; only the order of additions in threads may differ.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.nanmax(expected))


@pytest.mark.parametrize("kind", ["all_zero", "all_flagged"])
def test_an_unusable_tile_ends_as_rejected_and_the_mosaic_goes_on(kind, tiny_options, tmp_path):
    made = make_night(tmp_path, replace(tiny_options, faults=(fault(kind, 2),)), "mosaic", settings=QUICK)
    bad = made.truth.tiles[2].name
    state = read_json(made.products / f"images/{bad[:10]}/{bad}/status.json")
    assert state["status"] == "rejected"
    assert state["reason"].startswith("conversion: ")
    mosaics = [read_json(path / "status.json") for path in made.directories("mosaics")]
    holding = [mosaic for mosaic in mosaics if any(tile["tile"] == bad for tile in mosaic["tiles"])]
    assert holding
    for mosaic in holding:
        by_tile = {tile["tile"]: tile for tile in mosaic["tiles"]}
        assert by_tile[bad]["status"] == "rejected"
        assert "conversion" in by_tile[bad]["reason"]
    assert any(mosaic["status"] == "ok" for mosaic in mosaics)


def test_without_a_calibrator_a_tile_is_rejected_and_never_imaged(tiny_options, tmp_path):
    made = make_night(
        tmp_path,
        replace(tiny_options, n_tiles=1, transit_tile=0),
        "image",
        settings=("calibration={min_flux_jy: 99}",),
    )
    (directory,) = made.directories("images")
    state = read_json(directory / "status.json")
    assert state["status"] == "rejected"
    assert "no calibrator transit" in state["reason"]
    assert list(directory.glob("*.fits")) == []


def test_a_partial_tile_is_made_when_allowed_and_its_missing_channels_are_flagged(tiny_options, tmp_path):
    options = replace(tiny_options, faults=(fault("missing_subband", 2, 5),))
    made = make_night(tmp_path, options, "image", settings=("min_subbands=15", *QUICK))
    tile = made.truth.tiles[2].name
    sidecar = read_json(made.products / f"ms/science/{tile[:10]}/{tile}.json")
    assert sidecar["status"] == "ok"
    assert sidecar["metrics"]["flag_fraction"] >= 1 / 16  # a sixteenth of the band is not there
    assert read_json(made.products / f"images/{tile[:10]}/{tile}/status.json")["status"] == "ok"
