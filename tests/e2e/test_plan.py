"""The plan of a night of files with nothing in them but headers."""

import re

import pytest

from contimg.names import tile_mjd, tile_name

from ..unit.uvh5_files import INTEGRATION_S, write_tile
from .conftest import snakemake

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


def test_without_a_target_everything_is_planned(headers):
    plan = snakemake("-n", **headers).stdout
    assert re.search(rf"^(contimg: )?convert_tile +{TILES}\b", plan, flags=re.MULTILINE)
    assert "mosaic_window" in plan
