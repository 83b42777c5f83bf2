"""Diameter, offset and squint from apparent fluxes: from made-up cells with a known beam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from contimg.beam.fit import fit_beam
from contimg.core.errors import Rejected
from contimg.telescope.beam import airy_power

BANDS_HZ = np.array([1335e6, 1382e6, 1428e6, 1475e6])


def made_up(
    *, diameter_m=4.4, offset=(0.0, 0.0), squint=(0.0, 0.0), noise=0.01, n_sources=20, gains=True, seed=1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sources that drift through five tiles, as `contimg.beam.apparent` tabulates them, and the true catalogue."""
    rng = np.random.default_rng(seed)
    ra, north = rng.uniform(128.0, 132.0, n_sources), rng.uniform(-1.2, 1.2, n_sources)
    flux, index = rng.uniform(0.5, 3.0, n_sources), rng.normal(-0.7, 0.2, n_sources)
    rows = []
    for tile in range(5):
        scale = {pol: 1 + gains * rng.normal(0, 0.01) for pol in ("XX", "YY")}
        for s in range(n_sources):
            for part in range(6):
                west = (128.5 + 0.7 * tile + 0.12 * part - ra[s]) * np.cos(np.radians(55.0))
                if np.hypot(west, north[s]) > 1.9:
                    continue
                for pol, sign in (("XX", 1), ("YY", -1)):
                    x, y = (offset[k] + sign * squint[k] for k in (0, 1))
                    for band, freq in enumerate(BANDS_HZ):
                        model = airy_power(np.radians(np.hypot(west, north[s])), freq, 4.65)
                        angle = np.radians(np.hypot(west - x, north[s] - y))
                        true = airy_power(angle, freq, diameter_m) * scale[pol] * (1 + 0.03 * gains * band)
                        error = noise / model
                        rows.append(
                            {
                                "ra_deg": ra[s],
                                "dec_deg": 55.0 + north[s],
                                # what the tile's own fit gave is wrong by as much as the beam is
                                "flux_jy": 1.1 * flux[s],
                                "spectral_index": -0.7,
                                "mjd": 61000.0 + tile,
                                "freq_hz": freq,
                                "hand": pol,
                                "west_deg": west,
                                "north_deg": north[s],
                                "power": float(model),
                                "ratio": float(true / model) / 1.1 * (freq / 1.4e9) ** (index[s] + 0.7)
                                + error * rng.normal(),
                                "ratio_err": error,
                                "tile": f"tile{tile}",
                                "caltable": "one",
                            }
                        )
    known = pd.DataFrame({"ra_deg": ra, "dec_deg": 55.0 + north, "flux_jy": flux, "spectral_index": index})
    return pd.DataFrame(rows), known


def test_diameter_offset_and_squint_come_back_within_their_errors():
    cells, known = made_up(offset=(0.10, -0.08), squint=(0.05, 0.03))
    found = fit_beam(cells, start_m=4.65, known=known)
    # 1 % noise in 5000 cells: 1 % of the diameter is many errors, so the truth must lie within 1 % and 4 errors
    assert found.mean_m == pytest.approx(4.4, rel=0.01)
    for value, error, truth in (
        (found.diameter_m, found.diameter_err_m, 4.4),
        (found.offset_deg, found.offset_err_deg, [0.10, -0.08]),
        (found.squint_deg, found.squint_err_deg, [0.05, 0.03]),
    ):
        assert (np.abs(value - truth) < 4 * error).all()
        assert (error < 0.03).all()
    assert found.chi2 == pytest.approx(1.0, abs=0.1)
    assert found.n_known == found.n_sources == 20


def test_without_a_catalogue_they_come_back_too_the_offset_north_less_certain():
    cells, known = made_up(offset=(0.10, -0.08), squint=(0.05, 0.03))
    alone, helped = fit_beam(cells, start_m=4.65), fit_beam(cells, start_m=4.65, known=known)
    assert alone.mean_m == pytest.approx(4.4, rel=0.01)
    np.testing.assert_allclose(alone.squint_deg, [0.05, 0.03], atol=0.01)
    assert alone.offset_deg[0] == pytest.approx(0.10, abs=0.02)
    assert alone.offset_err_deg[1] > helped.offset_err_deg[1]
    assert abs(alone.offset_deg[1] + 0.08) < 4 * alone.offset_err_deg[1]


def test_a_right_beam_is_found_to_be_right():
    found = fit_beam(made_up(diameter_m=4.65, gains=False)[0], start_m=4.5)
    assert abs(found.mean_m - 4.65) < 4 * found.mean_err_m
    assert (np.abs(found.squint_deg) < 4 * found.squint_err_deg).all()


def test_a_variable_source_is_an_outlier_that_hardly_matters():
    cells, known = made_up()
    worst = cells["ra_deg"] == cells["ra_deg"].iloc[0]
    cells.loc[worst, "ratio"] *= 1 + 0.3 * (cells.loc[worst, "mjd"] - 61002)
    assert fit_beam(cells, start_m=4.65, known=known).mean_m == pytest.approx(4.4, rel=0.01)


def test_one_hand_has_no_squint():
    cells, known = made_up()
    found = fit_beam(cells[cells["hand"] == "XX"], start_m=4.65, known=known)
    assert np.isnan(found.squint_deg).all()
    assert found.summary()["squint_west_north_deg"] == [None, None]
    assert found.mean_m == pytest.approx(4.4, rel=0.01)


def test_the_fitted_beam_is_sampled_where_it_points():
    cells, known = made_up(offset=(0.2, -0.1))
    found = fit_beam(cells, start_m=4.65, known=known)
    beam = found.sampled(1311.25e6, 1498.75e6)
    power = beam.planes(np.radians([0.2, 0.2 + 1.2]), np.radians([-0.1, -0.1]))[:, 0]
    # the offset is right to 0.01 deg, where the slope is 0.7 a degree; the diameter to 1 %: 0.7 * 1.2 * 1 %
    np.testing.assert_allclose(power, [1.0, airy_power(np.radians(1.2), 1311.25e6, 4.4)], atol=0.015)


def test_an_offset_that_is_not_significant_is_not_in_the_sampled_beam():
    cells, known = made_up()
    found = fit_beam(cells, start_m=4.65, known=known)
    doubtful = replace(found, offset_deg=np.array([0.0, 0.044]), offset_err_deg=np.array([0.001, 0.026]))
    none = replace(found, offset_deg=np.zeros(2))
    beams = [fit.sampled(1311.25e6, 1498.75e6).samples for fit in (doubtful, none)]
    np.testing.assert_array_equal(*beams)


def test_too_little_is_refused():
    cells, _ = made_up(n_sources=2)
    with pytest.raises(Rejected, match="cells of 2 sources show the beam; at least 60 of 3"):
        fit_beam(cells, start_m=4.65)
