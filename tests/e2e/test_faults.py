"""Each fault of a night: the plan names it, and the other tiles come out as if it were not there."""

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from contimg.core.names import image_dir, science_ms, science_sidecar
from contimg.core.products import read_json
from contimg.simulate import simulate

from .conftest import QUICK, fault, linked, make_night, snakemake, write_calibrators

# The fault, and what the plan must say of it.
LEFT_OUT = {
    "missing_subband": "missing sb05",
    "zero_length": "sb05",
    "truncated": "sb05",
    "garbage": "sb05",
    "incomplete": "sb05",
    "other_declination": "declination",
}
GOOD = 2
"""Tiles 0 and 1 of every night here are good, and the calibrator transits in tile 1."""


@pytest.fixture(scope="module")
def planned(tiny_options, tmp_path_factory):
    """The plan of a night of two good tiles, and one with each fault; names of its tiles."""
    where = tmp_path_factory.mktemp("left_out")
    faults = tuple(fault(kind, number, 5) for number, kind in enumerate(LEFT_OUT, GOOD))
    options = replace(tiny_options, n_tiles=GOOD + len(LEFT_OUT), faults=faults)
    truth = simulate(options, where / "incoming")
    catalogue = write_calibrators(where / "calibrators.csv", options.sources)
    night = {"incoming": where / "incoming", "products": where / "products"}
    plan = snakemake("-n", "image", **night, settings=(f"calibrators={catalogue}",)).stdout
    return plan, [tile.name for tile in truth.tiles]


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_a_broken_tile_is_left_out_with_its_reason(kind, planned):
    plan, tiles = planned
    broken = tiles[GOOD + list(LEFT_OUT).index(kind)]
    (said,) = [line for line in plan.splitlines() if "left out" in line and broken in line]
    assert LEFT_OUT[kind] in said


def test_all_but_the_broken_tiles_are_planned(planned):
    assert re.search(rf"image_tile +{GOOD} +0 ", planned[0])


TRUNCATED, GAP, DUPLICATE, PARTIAL = range(GOOD, GOOD + 4)


@pytest.fixture(scope="module")
def survivors(tiny_options, tmp_path_factory):
    """A night whose tiles may lack one subband: one lacks two, one is not there, one has one twice, one lacks one."""
    faults = (
        fault("truncated", TRUNCATED, 5),
        fault("truncated", TRUNCATED, 6),
        fault("missing_tile", GAP),
        fault("duplicate_subband", DUPLICATE, 5),
        fault("missing_subband", PARTIAL, 5),
    )
    options = replace(tiny_options, n_tiles=PARTIAL + 1, faults=faults)
    where = tmp_path_factory.mktemp("survivors")
    return make_night(where, options, "image", settings=("min_subbands=15", *QUICK))


def test_the_other_tiles_come_out_as_if_the_faults_were_not_there(clean, survivors):
    for tile in clean.truth.tiles[:GOOD]:
        path = f"{image_dir(tile.name)}/{tile.name}.pbcor.fits"
        expected, found = (fits.getdata(night.products / path) for night in (clean, survivors))
        # The same numbers go through the same programs; only the order of additions in threads may differ.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.nanmax(expected))


def test_a_tile_with_a_file_twice_is_made_and_one_cut_short_or_missing_is_not(survivors):
    tiles = [tile.name for tile in survivors.truth.tiles]
    assert read_json(survivors.products / image_dir(tiles[DUPLICATE]) / "status.json")["status"] == "ok"
    for number in (TRUNCATED, GAP):
        assert not (survivors.products / science_ms(tiles[number])).exists()
        assert not (survivors.products / image_dir(tiles[number])).exists()


def test_a_partial_tile_is_made_when_allowed_and_its_missing_channels_are_flagged(survivors):
    tile = survivors.truth.tiles[PARTIAL].name
    sidecar = read_json(survivors.products / science_sidecar(tile))
    assert sidecar["status"] == "ok"
    assert sidecar["metrics"]["flag_fraction"] >= 1 / 16  # a sixteenth of the band is not there
    assert read_json(survivors.products / image_dir(tile) / "status.json")["status"] == "ok"


UNUSABLE = ("all_zero", "all_flagged")


@pytest.fixture(scope="module")
def unusable(tiny_options, tmp_path_factory):
    """Two good tiles and two in which there is nothing, as far as their mosaic."""
    faults = tuple(fault(kind, number) for number, kind in enumerate(UNUSABLE, GOOD))
    options = replace(tiny_options, n_tiles=GOOD + len(UNUSABLE), faults=faults)
    return make_night(tmp_path_factory.mktemp("unusable"), options, "mosaic", settings=QUICK)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_tile_ends_as_rejected_and_the_mosaic_goes_on(kind, unusable):
    bad = unusable.truth.tiles[GOOD + UNUSABLE.index(kind)].name
    state = read_json(unusable.products / image_dir(bad) / "status.json")
    assert state["status"] == "rejected"
    assert state["reason"].startswith("conversion: ")
    (directory,) = unusable.directories("mosaics")
    mosaic = read_json(directory / "status.json")
    assert mosaic["status"] == "ok"
    by_tile = {tile["tile"]: tile for tile in mosaic["tiles"]}
    assert by_tile[bad]["status"] == "rejected"
    assert "conversion" in by_tile[bad]["reason"]


def test_without_a_calibrator_a_tile_is_rejected_and_never_imaged(clean, tmp_path):
    other = replace(clean, products=linked(clean.products, tmp_path / "products"))
    directory = image_dir(clean.truth.tiles[0].name)
    other.snakemake("--cores", "2", directory, settings=("calibration={min_flux_jy: 99}",))
    state = read_json(other.products / directory / "status.json")
    assert state["status"] == "rejected"
    assert "no calibrator transit" in state["reason"]
    assert list((other.products / directory).glob("*.fits")) == []
