"""The scale of tiles and the beam from fluxes alone: small tables of sources with a fault in them, and without."""

import numpy as np
import pandas as pd
import pytest
from benchlib.strips import WIDTH_ARCSEC, solved, strip

from contimg.core.tables import write as write_parquet
from contimg.qa import scale_page
from contimg.qa.plots import against_beam, beam_medians
from contimg.qa.response import Response
from contimg.qa.scale import Number


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_fault_every_gate_is_at_nought(catalogue, seed):
    response = Response(solved(strip(seed=seed, catalogue=catalogue)))
    # what is certain at 3 σ is zero but for the tails: eight factors, three numbers of the beam
    assert response.tile_scale < 0.005
    assert response.beam_slope < 0.003
    if catalogue:
        assert response.pointing < 0.003


@pytest.mark.parametrize("catalogue", [True, False])
def test_a_loss_of_power_between_two_tiles_is_found_with_and_without_a_catalogue(catalogue):
    scale = solved(strip(factors=[1, 1, 1, 1, 0.92, 0.92, 0.92, 0.92], catalogue=catalogue), anchors=("T1",))
    for tile, factor in scale.factors.items():
        # some eight sources tie each pair of tiles, 1.4 % each: four steps from the anchor at most 1 %
        assert factor.error < 0.015
        assert factor.value == pytest.approx(0.92 if tile > "T3" else 1.0, abs=4 * factor.error)
    assert Response(scale).tile_scale > 0.02


def test_a_calibrator_eight_per_cent_too_high_shows_as_a_drift_from_one_transit_to_the_next():
    factors = np.interp(np.arange(8), [1, 6], [1.0, 1.08])
    scale = solved(strip(factors=factors, catalogue=False), anchors=("T1",))
    assert scale.factors["T7"].value == pytest.approx(1.08, abs=4 * scale.factors["T7"].error)
    assert Response(scale).tile_scale > 0.02
    known = solved(strip(factors=factors), anchors=("T1",))
    assert known.factors["T7"].value == pytest.approx(1.08, abs=4 * known.factors["T7"].error)
    assert known.catalogue.value == pytest.approx(1.0, abs=4 * known.catalogue.error)


@pytest.mark.parametrize("catalogue", [True, False])
def test_a_variable_calibrator_is_not_a_drifting_array(catalogue):
    # the brightest source doubles from tile to tile: its neighbours hold the factors where they are
    tables = strip(catalogue=catalogue)
    bright = int(pd.concat(tables.values())["flux_jy"].argmax())
    ra = pd.concat(tables.values())["ra_deg"].iloc[bright]
    for t, table in enumerate(tables.values()):
        table.loc[table["ra_deg"] == ra, "flux_jy"] *= 1.0 + 0.3 * (t % 2)
    assert Response(solved(tables)).tile_scale < 0.01


@pytest.mark.parametrize("catalogue", [True, False])
def test_a_dish_that_is_not_as_configured(catalogue):
    response = Response(solved(strip(diameter_m=4.43, catalogue=catalogue)))
    # (4.43 / 4.65)² − 1 = −0.092 near the axis, where ln P is quadratic; some less negative farther out
    assert response.scale.slope.value == pytest.approx(-0.096, abs=4 * response.scale.slope.error + 0.006)
    assert response.beam_slope > 0.02
    assert any(note.startswith("beam: +") for note in response.notes())
    if catalogue:
        assert response.pointing < 0.005


@pytest.mark.parametrize("offset", [(0.0, 0.1), (0.1, 0.0), (-0.05, 0.05)])
def test_a_pointing_that_is_not_as_stated(offset):
    response = Response(solved(strip(offset_deg=offset, survey=0.05)))
    scale = response.scale
    for found, true in ((scale.east_deg, offset[0]), (scale.north_deg, offset[1])):
        # linear in the offset: 0.1 deg bends by some per cent of itself
        assert found.value == pytest.approx(true, abs=4 * found.error + 0.005)
    assert response.pointing > 0.01
    assert any(note.startswith("pointing: ") for note in response.notes())


def test_one_tile_against_a_good_catalogue_finds_dish_and_pointing():
    one = strip(1, 60, survey=0.02, diameter_m=4.43)
    assert Response(solved(one)).beam_slope > 0.01
    one = strip(1, 60, survey=0.02, offset_deg=(0.0, 0.1))
    assert Response(solved(one)).pointing > 0.01
    response = Response(solved(strip(1, 60, survey=0.02)))
    assert max(response.beam_slope, response.pointing) < 0.003


def test_with_few_sources_a_good_tile_is_still_good():
    values = []
    for seed in range(150):
        response = Response(solved(strip(1, 18, seed=seed, survey=0.03)), least=1)
        values += [response.pointing, response.beam_slope, response.catalogue_scale]
    # as rare as 3 σ, some 0.3 % each, of three numbers: one or two of 450; 3 errors alone would let some 10 through
    assert np.mean(np.array(values) > 0) < 0.015


def test_errors_of_the_factors_are_what_their_scatter_is():
    scores = []
    for seed in range(12):
        scale = solved(strip(seed=seed, catalogue=False), anchors=("T0",))
        scores += [(f.value - 1.0) / f.error for tile, f in scale.factors.items() if tile != "T0"]
    # 84 scores, those of a night correlated: some 12 × 2 free ones, their rms good to 15 %
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.4


def test_tiles_that_share_nothing_have_no_factor():
    tables = strip(3, 60, catalogue=False)
    far = {"T8": tables.pop("T0").assign(ra_deg=lambda table: table["ra_deg"] + 90.0)}
    scale = solved({**tables, **far})
    assert set(scale.factors) == {"T1", "T2"}
    assert solved(far) is None
    assert Response(None).tile_scale == "no two tiles share enough sources"
    assert "0 fluxes" in Response(None).beam_slope


def test_tables_beside_verdicts_are_solved_for_and_the_page_shows_them(tmp_path):
    found = strip(factors=[1, 1, 1, 1, 0.92, 0.92, 0.92, 0.92])
    tiles = []
    for tile, table in found.items():
        metrics = {
            "anchored": tile == "T1",
            "sefd_jy": 6500.0,
            "transits": {"t_b": {"fluxes": 1.08, "sefd": None}},
        }
        write_parquet(tmp_path / f"{tile}.sources.parquet", table, {}, {"bmaj_arcsec": WIDTH_ARCSEC})
        tiles.append(
            {"name": tile, "gates": {"rms": {}}, "metrics": metrics, "sources": f"{tile}.sources.parquet"}
        )
    unjudged = {"name": "T9", "gates": {}, "metrics": {}, "sources": "T9.sources.parquet"}
    rows, scale = scale_page.of_night([*tiles, unjudged], tmp_path, 20.0)
    assert set(rows["tile"]) == set(found)
    assert against_beam(rows).startswith(b"\x89PNG")
    assert scale.anchors == ("T1",)
    assert scale.factors["T7"].value == pytest.approx(0.92, abs=0.03)
    assert scale.to_json()["factors"]["T1"] == pytest.approx([1.0, 0.0], abs=1e-4)
    assert "tiles of the transits = 1" in scale_page.summary(scale)
    cells = {cell for row in scale_page.table(scale, tiles).rows for cell in row}
    assert {"anchor", "t_b: fluxes × 1.080, SEFD × ?"} <= cells
    assert "not compared" in scale_page.summary(None)
    assert not scale_page.table(None, tiles).rows


def test_a_beam_that_is_too_narrow_shows_in_the_medians_against_its_response():
    # fluxes too high by 10 % where the response is 0.3, by nothing where it is 1: true ratio 1 + (1 - pb) / 7
    rng = np.random.default_rng(440110)
    pb = pd.Series(rng.uniform(0.2, 1.0, 4000))
    ratio = 1.0 + (1.0 - pb) / 7.0 + rng.normal(0.0, 0.05, len(pb))
    medians = beam_medians(pb, ratio)
    assert list(medians) == pytest.approx([0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95], abs=1e-3)
    # 500 values a step, a median of them scatters by 1.25 x 0.05 / sqrt(500) = 0.003: four of it
    for middle, value in medians.items():
        assert value == pytest.approx(1.0 + (1.0 - middle) / 7.0, abs=0.012)


def test_without_a_ratio_there_is_no_picture_against_the_beam():
    alone = pd.DataFrame({"source": [0, 1], "flux_jy": [0.1, 0.2], "catalog_jy": np.nan, "pb": [0.5, 0.9]})
    assert against_beam(alone) is None
    assert against_beam(pd.DataFrame()) is None


def test_what_is_certain():
    assert Number(0.1, 0.02).beyond() == pytest.approx(0.04)
    assert Number(-0.1, 0.05).beyond() == 0.0
