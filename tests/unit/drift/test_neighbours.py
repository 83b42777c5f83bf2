"""Errors of fitted sources count the neighbours that are in no model."""

import numpy as np
import pandas as pd
import pytest

from builders.drift_tiles import simulated_ms, table_of
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.fit import fit_data
from contimg.drift.neighbours import with_neighbours
from contimg.drift.predict import DriftArray
from contimg.drift.state import FitOptions
from contimg.telescope.beam import load_beam
from contimg.telescope.options import BeamOptions
from unit.drift.test_find import SOURCES, search


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    return simulated_ms(tmp_path_factory.mktemp("neighbours"), SOURCES, n_integrations=2, n_subbands=2)


@pytest.fixture(scope="module")
def widened(tile):
    """The fit of all sources, and of the brightest alone; each before and after."""
    where, beam = search(tile), load_beam(BeamOptions())
    pairs = []
    with StokesI(tile) as data:
        coarse = AveragedI(data, 1)
        array = DriftArray(coarse.meta, beam=beam)
        rng = np.random.default_rng(8)
        empty = pd.DataFrame({"name": [f"empty{k}" for k in range(16)]})
        empty["ra_deg"] = 128.7 + rng.uniform(-1.0, 1.0, len(empty))
        empty["dec_deg"] = 55.3 + rng.uniform(-0.6, 0.6, len(empty))
        empty["flux_jy"], empty["spectral_index"] = 0.01, -0.7
        only = pd.concat([table_of(SOURCES[:1]), empty], ignore_index=True)
        for asked in (table_of(SOURCES), only):
            fit = fit_data(
                coarse, array, asked, options=FitOptions(place_snr=1e3, slope_snr=1e3, shape_snr=1e3)
            )
            pairs.append(
                (fit, with_neighbours(fit, coarse, array, where.header, rms_box_pix=where.rms_box_pix))
            )
    return pairs


def test_with_all_sources_in_the_model_errors_stay(widened):
    before, after = widened[0]
    # the local rms of boxes of 30 beams is known to some per cent, and counts only where it is above the noise
    factor = after.table["flux_err_jy"] / before.table["flux_err_jy"]
    assert factor.between(1.0, 1.2).all()
    assert after.neighbour_noise == pytest.approx(factor.median())


def test_neighbours_that_are_not_in_it_widen_errors_to_the_scatter_of_fluxes(widened):
    """16 places where nothing is scatter by what 1.6 Jy of sources that were left out make there."""
    before, after = widened[1]
    empty = before.table["name"].str.startswith("empty")
    pulls = [
        float(np.sqrt(np.mean((f.table["flux_jy"] / f.table["flux_err_jy"])[empty] ** 2))) for f in widened[1]
    ]
    assert pulls[0] > 1.5
    # of 16 the rms is known to 1/sqrt(32) = 18 %: three times that, and the beam that makes errors differ
    assert 0.45 < pulls[1] < 1.6
    row, was = after.table.iloc[0], before.table.iloc[0]
    assert row["snr"] == pytest.approx(row["flux_jy"] / row["flux_err_jy"])
    assert after.covariance[0, 0] == pytest.approx(row["flux_err_jy"] ** 2)
    assert row["flux_jy"] == was["flux_jy"]
