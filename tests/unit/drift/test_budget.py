"""Searches that would go on for long end at their budget, at the same pass each time, with what they have."""

import numpy as np
import pytest

from builders.drift_tiles import simulated_ms, table_of
from contimg.drift.budget import FEWEST_SOURCES, Budget
from contimg.drift.data import StokesI
from contimg.drift.find import LAST_PASSES, find_sources
from contimg.qa.conditions import unfinished
from contimg.simulate.options import Source
from contimg.telescope.beam import load_beam
from contimg.telescope.options import BeamOptions
from unit.drift.test_find import NEAR, search

BEAM = BeamOptions()
# 3C295 as the simulator's users know it: 4.7 arcsec apart, of 12.0 and 10.5 Jy
DOUBLE = (
    Source("A", 212.8355, 52.2025, 12.0, -0.9),
    Source("B", 212.8376, 52.2018, 10.5, -0.9),
    Source("C", 213.4, 52.5, 1.0, -0.7),
)


def test_passes_are_counted_by_their_sources_and_seconds_by_the_clock():
    now = [0.0]
    budget = Budget(3.0, 2.0, clock=lambda: now[0])
    assert not budget.used_up()
    budget.spend(20)
    budget.spend(40)
    now[0] = 79.0
    assert not budget.used_up()  # 60 of 3 x 40; 79 s of 2 x 40
    now[0] = 80.0
    assert budget.used_up().startswith("80 s")
    now[0] = 0.0
    for _ in range(2):
        budget.spend(30)
    assert budget.used_up().startswith("120 passes")


def test_few_sources_have_the_budget_of_ten():
    budget = Budget(2.0)
    budget.spend(1)
    for _ in range(2 * FEWEST_SOURCES - 2):
        budget.spend(1)
    assert not budget.used_up()
    budget.spend(1)
    assert budget.used_up()


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return simulated_ms(
        tmp_path_factory.mktemp("double"), DOUBLE, n_integrations=2, n_subbands=2, dec_deg=52.2
    )


@pytest.mark.parametrize(
    ("limits", "said"), [({"passes": 1.5}, "passes times sources"), ({"seconds": 1e-6}, " s, ")]
)
def test_a_double_that_may_only_be_points_ends_at_its_budget_with_what_it_has(double, limits, said):
    point = table_of((Source("3C295", 212.8364, 52.2022, 22.5, -0.9),))
    with StokesI(double) as data:
        where = search(double, down_to=NEAR, shape_snr=np.inf, **limits)
        found = find_sources(data, where, beam=load_beam(BEAM), known=point, threads=1)
    assert found.stopped.startswith("the search: ")
    assert said in found.stopped
    # the last fit may have LAST_PASSES for each of ten sources
    widest = max(FEWEST_SOURCES, len(found.table))
    assert found.passes * len(found.table) <= LAST_PASSES * widest + len(found.table)
    # what it has is worth having: a double of 5 arcsec in a beam of 10 loses a few per cent as a point
    assert found.table["flux_jy"].sum() == pytest.approx(23.5, rel=0.1)
    assert (found.table["flux_jy"] > 0).all()
    assert unfinished({"sky_model": found.summary()})[0].startswith("unfinished: sources of the sky model")


def test_what_an_image_left_unfinished_is_told():
    assert not unfinished({})
    assert not unfinished({"sky_model": None, "clean_stopped": "threshold"})
    moving = {"converged": False, "stopped": "", "n_sources": 3, "passes": 10}
    assert "still moving after 10 passes" in unfinished({"sky_model": moving})[0]
    assert unfinished({"clean_stopped": "maximum number of passes"}) == [
        "unfinished: CLEAN, maximum number of passes"
    ]
