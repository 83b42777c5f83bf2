"""Simulated photometry: the columns of the photometry rule, and the errors that were asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from contimg.core.errors import ConfigError
from contimg.photometry import table
from contimg.simulate.lightcurve_files import NOT_SEEN, SCHEMA, photometry, simulate_lightcurves
from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import LONGITUDE_DEG, Simulation, era_deg, iau_name

QUIET = LightcurveOptions(
    days=40,
    n_sources=40,
    gain_rms=0.0,
    field_rms=0.0,
    season_rms=0.0,
    residual_rms=0.0,
    edge_rms=0.0,
    calibrator_days=0,
    calibrator_rms=0.0,
    gap_fraction=0.0,
    lost_fraction=0.0,
    red_fraction=0.0,
    outlier_fraction=0.0,
)


def fluxes(simulation: Simulation) -> pd.DataFrame:
    return pd.concat(
        [
            simulation.measure(mosaic).assign(mosaic=f"{mosaic.date}/{mosaic.name}")
            for mosaic in simulation.mosaics()
        ]
    )


def test_the_tables_are_those_of_the_photometry_rule(tmp_path):
    simulation = Simulation(dataclasses.replace(QUIET, days=2))
    written = simulate_lightcurves(simulation, tmp_path)
    assert [field.name for field in SCHEMA] == list(table.NAMES)
    assert [field.type for field in SCHEMA] == [column.type for column in table.COLUMNS]
    assert int(table.Flag.NOT_SEEN) == NOT_SEEN
    for path in written:
        frame = table.read(path)
        assert set(frame["mosaic"]) == {f"{path.parent.name}/{path.stem}"}
        assert table.about(path)["status"] == "ok"
    with pytest.raises(ConfigError, match="found photometry in it"):
        simulate_lightcurves(simulation, tmp_path)


def test_noise_is_what_the_tables_state():
    simulation = Simulation(QUIET)
    rows = fluxes(simulation).merge(
        simulation.sources[["source_id", "flux_jy"]], on="source_id", suffixes=("", "_true")
    )
    pulls = (rows["flux_jy"] - rows["flux_jy_true"]) / rows["stat_err_jy"]
    # n draws of a normal deviate: the width is known to 1/sqrt(2n), the mean to 1/sqrt(n); 4 sigma
    assert abs(pulls.std() - 1.0) < 4.0 / np.sqrt(2 * len(pulls))
    assert abs(pulls.mean()) < 4.0 / np.sqrt(len(pulls))


def test_a_mosaics_sources_share_its_flux_scale():
    simulation = Simulation(dataclasses.replace(QUIET, gain_rms=0.05, rms_jy=1e-9))
    rows = fluxes(simulation).merge(
        simulation.sources[["source_id", "flux_jy"]], on="source_id", suffixes=("", "_true")
    )
    ratio = (rows["flux_jy"] / rows["flux_jy_true"]).groupby(rows["mosaic"])
    assert ratio.std().max() < 1e-6
    assert (
        0.04 < (rows["flux_jy"] / rows["flux_jy_true"]).std() < 0.06
    )  # 5 %, of some 150 mosaics: 6 % of itself


def test_a_source_transits_when_the_tables_say():
    simulation = Simulation(dataclasses.replace(QUIET, days=5))
    rows = fluxes(simulation)
    hour_angle = (era_deg(rows["mjd"].to_numpy()) + LONGITUDE_DEG - rows["ra_deg"] + 180.0) % 360.0 - 180.0
    # within a mosaic, time goes with right ascension as if the day were the sidereal one: 0.3 % of 7.5 deg
    assert np.abs(hour_angle).max() < 0.03


def test_a_longer_simulation_begins_with_the_shorter_one():
    short, long = (
        Simulation(dataclasses.replace(QUIET, days=3)),
        Simulation(dataclasses.replace(QUIET, days=9)),
    )
    for one, two in zip(short.mosaics(), long.mosaics(), strict=False):
        pd.testing.assert_frame_equal(photometry(short, one), photometry(long, two))


def test_events_multiply_the_true_flux():
    factor = np.ones((QUIET.n_sources, QUIET.days))
    factor[7, 20:] = 0.6
    dim, plain = Simulation(QUIET, factor=factor), Simulation(QUIET)
    mosaic = next(m for m in plain.mosaics() if m.day == 25 and 7 in plain.in_mosaic(m))
    rows = plain.in_mosaic(mosaic)
    ratio = dim.intrinsic(mosaic, rows) / plain.intrinsic(mosaic, rows)
    assert np.allclose(ratio, np.where(rows == 7, 0.6, 1.0))


def test_red_noise_has_the_variance_and_the_memory_asked_for():
    simulation = Simulation(
        dataclasses.replace(QUIET, n_sources=400, days=300, red_fraction=0.999, red_rms=0.2, red_days=20.0)
    )
    walk = np.log(simulation.red_noise[simulation.sources["red"].to_numpy()])
    # 400 sources x 300 d / (2 x 20 d) independent values: the variance is known to 3 %
    assert abs(walk.std() / 0.2 - 1.0) < 0.05
    lagged = np.mean(walk[:, 20:] * walk[:, :-20]) / walk.var()
    assert abs(lagged - np.exp(-1.0)) < 0.05


def test_gaps_take_the_fraction_asked_for():
    there = Simulation(dataclasses.replace(QUIET, days=4000, gap_fraction=0.2, gap_days=4.0)).observed
    # some 200 gaps of exponential length: 10 % of 0.2
    assert abs(there.mean() - 0.8) < 0.06
    ends = np.flatnonzero(np.diff(there.astype(int)))
    lengths = np.diff(ends)[~there[ends[:-1] + 1]]
    assert 3.0 < lengths.mean() < 5.0


def test_names_are_truncated_never_rounded():
    assert iau_name((8 + 34 / 60 + 54.97 / 3600) * 15, 55 + 34 / 60 + 21.99 / 3600) == "J083454.9+553421"
    assert iau_name(359.99999, -0.5) == "J235959.9-003000"


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(ConfigError, match="gap_fraction: found"):
        LightcurveOptions(gap_fraction=1.2)
    with pytest.raises(ConfigError, match="start: found 'yesterday'"):
        LightcurveOptions(start="yesterday")
