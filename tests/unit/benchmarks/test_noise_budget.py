"""The parts that a tile's noise is split into."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from benchlib import noise_budget

from contimg.core import names

TILE = "2025-10-30T13:49:38"


def test_briggs_weights_go_from_uniform_to_natural():
    uv = np.array([[0.0, 0.0]] * 9 + [[10.0, 5.0]])  # nine visibilities in one cell, one in another
    natural = noise_budget.briggs(uv, 5.0, 1.0)
    uniform = noise_budget.briggs(uv, -5.0, 1.0)
    assert natural == pytest.approx(np.full(10, natural[0]), rel=1e-6)
    assert uniform[:9].sum() == pytest.approx(uniform[9], rel=1e-6)


def test_a_source_in_no_model_leaves_the_sidelobes_of_its_coverage():
    """A mean of N cosines of random phase: 1 / √(2N) rms, known to 1 / √(2 · independent pixels), a few per cent."""
    rng = np.random.default_rng(5)
    uv = rng.uniform(-3000, 3000, (800, 2)) * [1, 1]
    uv = np.where(uv[:, 1:] < 0, -uv, uv)
    cell = np.radians(20 / 3600)
    sources = np.array([[0.0, 0.0, 2.0], [40 * cell, -30 * cell, 0.0]])
    dirty = noise_budget.sidelobes(uv, sources, robust=5.0, width_rad=256 * cell, cell_rad=cell)
    assert dirty[128, 128] == pytest.approx(2.0, rel=1e-4)
    far = dirty[:100, :100]
    assert far.std() == pytest.approx(2.0 / np.sqrt(2 * 800), rel=0.1)


def test_sources_of_the_table_are_not_counted_as_left(tmp_path):
    folder = tmp_path / names.image_dir(TILE)
    folder.mkdir(parents=True)
    pd.DataFrame({"ra_deg": [128.0], "dec_deg": [55.0]}).to_parquet(folder / f"{TILE}.sources.parquet")
    sources = [
        SimpleNamespace(name="fitted", ra_deg=128.0, dec_deg=55.0 + 3 / 3600),
        SimpleNamespace(name="left", ra_deg=128.0, dec_deg=55.5),
        SimpleNamespace(name="below the horizon", ra_deg=300.0, dec_deg=-60.0),
    ]
    tile = SimpleNamespace(name=TILE, apparent_jy={"fitted": 0.1, "left": 0.004, "below the horizon": 0.0})
    centre = SkyCoord(128.0, 55.0, unit="deg")
    left, fitted = noise_budget.in_no_model(SimpleNamespace(sources=sources), tile, tmp_path, centre, 30.0)
    assert fitted == 1
    assert left == pytest.approx(np.array([[0.0, np.radians(0.5), 0.004]]), abs=1e-9)
