"""How the true flux of a calibrator's neighbour follows from what gains that lack it leave of it."""

from dataclasses import replace

import pytest

from contimg.calibrate.field import Neighbour, _components, next_round
from contimg.sky.calibrators import Calibrator
from contimg.sky.components import Component, parse_components

SOURCE = Calibrator("field01", 130.0, 55.0, 1.0, -0.7, "test")


def measured(flux_jy: float, modelled_jy: float, share: float) -> Calibrator:
    """What a source of `flux_jy` shows behind gains that were solved with `modelled_jy` in the model."""
    return replace(SOURCE, flux_jy=(1 - share) * flux_jy + share * modelled_jy)


def rounds(flux_jy: float, share: float, prior: float) -> list[Neighbour]:
    """Neighbours of successive rounds, until they are settled."""
    found: list[Neighbour] = []
    history = []
    while not history or not history[-1].settled:
        modelled = history[-1].source.flux_jy if history else 0.0
        found = next_round(found, {"field01": measured(flux_jy, modelled, share)}, share=prior)
        history.append(found[0])
    return history


@pytest.mark.parametrize(("share", "most"), [(0.02, 2), (0.07, 3), (0.4, 3), (0.7, 3)])
def test_a_flux_is_right_after_as_many_rounds_as_its_share_takes(share, most):
    history = rounds(0.5, share, prior=0.02)
    assert len(history) <= most
    # A settled estimate is at worst as far off as the share of what is allowed to be unsettled.
    assert history[-1].source.flux_jy == pytest.approx(0.5, rel=0.002)


def test_a_share_that_two_rounds_contradict_stays_within_bounds():
    first = next_round([], {"field01": SOURCE}, share=0.1)
    # More in the model than before, and less measured: no share is negative.
    (worse,) = next_round(first, {"field01": replace(SOURCE, flux_jy=0.9)}, share=0.1)
    assert worse.share == 0.0
    assert worse.source.flux_jy == 0.9
    # Twice as much measured as the model changed by: no share is above the largest.
    (more,) = next_round(first, {"field01": replace(SOURCE, flux_jy=4.0)}, share=0.1)
    assert more.share == 0.8


def test_a_source_that_is_lost_leaves_the_model_and_a_new_one_enters_it():
    first = next_round([], {"field01": SOURCE}, share=0.1)
    other = replace(SOURCE, name="field02", flux_jy=0.3)
    (new,) = next_round(first, {"field02": other}, share=0.1)
    assert (new.source.name, new.modelled_jy, new.measured_jy) == ("field02", 0.0, 0.3)
    assert not new.settled


def test_a_source_that_was_fitted_as_a_gaussian_keeps_its_size():
    row = {"major_arcsec": 34.0, "minor_arcsec": 14.5, "angle_deg": -30.25}
    (component,) = parse_components(_components(row))
    assert component == Component(1.0, 0.0, 0.0, 34.0, 14.5, -30.25)
    assert _components(row | {"major_arcsec": 0.0}) == ""
