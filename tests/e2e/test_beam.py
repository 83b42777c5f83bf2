"""The beam from the data of a night: the target `beam`, on a night whose two hands look apart."""

import numpy as np
import pytest

from contimg.core.products import read_json
from contimg.telescope.beam_file import read_beam

from .conftest import SQUINT


@pytest.fixture(scope="module")
def measured(south):
    """What the target makes of the three tiles at -5."""
    south.snakemake("--cores", "2", "beam")
    (made,) = (path for path in south.products.glob("beam/*_*"))
    return made, read_json(made / "status.json")


def test_the_diameter_and_the_squint_are_those_of_the_simulated_dishes(measured):
    _, record = measured
    assert record["status"] == "ok", record["reason"]
    found = record["metrics"]
    assert found["n_tiles"] == 3
    assert found["n_sources_known"] == found["n_sources"]
    error = np.array(found["squint_err_deg"])
    truth = [SQUINT["beam_squint_ha_deg"], SQUINT["beam_squint_dec_deg"]]
    # three tiles of 22 antennas: 4 errors, which must be small enough to say something (a beam is 2.7 deg wide)
    assert (np.abs(np.array(found["squint_west_north_deg"]) - truth) < 4 * error).all()
    assert (error < 0.03).all()
    assert abs(found["diameter_m"] - 4.65) < max(4 * found["diameter_err_m"], 0.01 * 4.65)


def test_the_beam_file_is_one_that_the_pipeline_reads_and_points_where_the_record_says(measured):
    made, record = measured
    beam = read_beam(made / f"{made.name}.beam.fits")
    west, north = np.radians(record["metrics"]["offset_west_north_deg"])
    assert beam.planes(west, north)[3] == pytest.approx(1.0, abs=0.01)
    assert (made / f"{made.name}.beam.png").is_file()


def test_a_tile_says_which_caltable_it_was_calibrated_with_and_nothing_is_made_twice(south, measured):
    for path in south.products.glob("beam/*/*/status.json"):
        record = read_json(path)
        assert record["caltables"][0].startswith("cal/")
        assert record["metrics"]["n_cells"] > 100
    assert "Nothing to be done" in south.snakemake("-n", "beam").stdout
