"""Photometry tables to light curves: every row once, on one scale, and a new night costs only itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contimg.photometry import table
from contimg.simulate.lightcurve_files import simulate_lightcurves, write_table
from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import Simulation
from contimg.variability import curves, metrics, spill, tables
from contimg.variability.build import build
from contimg.variability.nights import references
from contimg.variability.options import VariabilityOptions

NIGHTS = LightcurveOptions(
    days=44,
    n_sources=60,
    ra_max_deg=130.0,
    flux_min_jy=0.01,
    red_fraction=0.0,
    outlier_fraction=0.0,
    start="2025-09-20",
)
DIM, BURST = 11, 30
OPTIONS = VariabilityOptions(recent_days=30)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Simulation]:
    """Forty-four nights; one source dims by 40 % for ten of them, another is twice as bright in two."""
    factor = np.ones((NIGHTS.n_sources, NIGHTS.days))
    factor[DIM, 20:30] = 0.6
    factor[BURST, 25:27] = 2.0
    simulation = Simulation(NIGHTS, factor=factor)
    folder = tmp_path_factory.mktemp("tree")
    simulate_lightcurves(simulation, folder)
    return folder, simulation


@pytest.fixture(scope="module")
def made(tree: tuple[Path, Simulation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "lightcurves.parquet"
    build(tree[0], folder, OPTIONS)
    return folder


def rows_of(tree: Path) -> pd.DataFrame:
    return pd.concat([table.read(tree / path) for path in tables.listed(tree)], ignore_index=True)


def everything(folder: Path) -> pd.DataFrame:
    return pd.concat(
        [curves.empty(), *(block.frame() for block in curves.read_blocks(folder))], ignore_index=True
    )


def test_every_measurement_is_there_once_as_it_was(tree, made):
    keys = ["source_id", "mjd", "mosaic"]
    wanted = rows_of(tree[0]).sort_values(keys, ignore_index=True)
    found = everything(made).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(found[list(table.NAMES)], wanted, check_dtype=False)
    one = wanted["source_id"].iloc[0]
    assert len(curves.read_source(made, one)) == (wanted["source_id"] == one).sum()


def test_overlapping_windows_of_a_day_are_one_epoch(made):
    found = everything(made)
    per_epoch = found.groupby(["source_id", "epoch"])
    assert per_epoch.size().max() == 2  # windows of an hour, every half hour
    assert per_epoch["used"].sum().max() == 1
    used = found[found["used"]].merge(
        found[~found["used"]], on=["source_id", "epoch"], suffixes=("", "_other")
    )
    assert (used["flux_norm_err"] <= used["flux_norm_err_other"]).all()


def test_constant_sources_repeat_and_events_are_what_they_were(tree, made):
    simulation = tree[1]
    ids = simulation.sources["source_id"]
    sources = metrics.measure(made, 3.0).set_index("source_id")
    quiet = sources.drop(ids[[DIM, BURST]])
    # residual 0.4 %, 1 % more at the edge of the beam: 0.7 % in the mean of the strip; raw, it is 4 %
    assert quiet["repeatability"].median() < 0.009
    assert set(sources["eta"].nlargest(2).index) == set(ids[[DIM, BURST]])
    assert sources.loc[ids[[DIM, BURST]], "variable"].all()
    assert quiet["variable"].sum() <= 2  # of 58, in a population so small that its width is known to 20 %
    for number, first, last, factor in ((DIM, 20, 30, 0.6), (BURST, 25, 27, 2.0)):
        curve = curves.read_source(made, ids[number])
        curve = curve[curve["used"]]
        day = np.round((curve["mjd"] - curve["mjd"].iloc[0]) / 0.99727).to_numpy()
        event = (day >= first) & (day < last)
        error = curve["flux_norm_err"].to_numpy()
        flux = curve["flux_norm"].to_numpy()
        ratio = np.average(flux[event], weights=error[event] ** -2) / np.average(
            flux[~event], weights=error[~event] ** -2
        )
        sigma = np.sqrt(1.0 / (error[event] ** -2).sum()) / np.average(flux[~event])
        assert abs(ratio - factor) < max(0.03 * factor, 4.0 * sigma)


def test_a_new_night_leaves_the_base_as_it_is(tree, tmp_path):
    whole = tree[0]
    tables_there = tables.listed(whole)
    last = sorted({path.split("/")[1] for path in tables_there})[-1]
    for path in tables_there:
        if path.split("/")[1] != last:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).hardlink_to(whole / path)
    kept = tmp_path / "state"
    first = build(tmp_path, tmp_path / "one", OPTIONS, kept=kept)
    assert first.metrics["base"] == "made"
    for path in tables_there:
        if path.split("/")[1] == last:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).hardlink_to(whole / path)
    second = build(tmp_path, tmp_path / "two", OPTIONS, kept=kept)
    assert second.metrics["base"] == "kept"
    base = curves.parts(tmp_path / "one")[0].name
    assert (tmp_path / "one" / base).samefile(tmp_path / "two" / base)
    # the result is that of one go
    third = build(tmp_path, tmp_path / "three", OPTIONS)
    assert third.metrics["base"] == "made"
    pd.testing.assert_frame_equal(everything(tmp_path / "two"), everything(tmp_path / "three"))
    pd.testing.assert_frame_equal(second.epochs, third.epochs)


def test_a_night_made_again_makes_the_base_again(tree, tmp_path):
    for path in tables.listed(tree[0]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).hardlink_to(tree[0] / path)
    kept = tmp_path / "state"
    build(tmp_path, tmp_path / "one", OPTIONS, kept=kept)
    again = tmp_path / tables.listed(tmp_path)[0]
    frame = table.read(again)
    again.unlink()
    write_table(again, frame.assign(flux_jy=frame["flux_jy"] * 1.1))
    assert build(tmp_path, tmp_path / "two", OPTIONS, kept=kept).metrics["base"] == "made"
    assert len(list(kept.iterdir())) == 1


def test_a_mosaic_without_references_stays_out_of_the_statistics(tree, tmp_path):
    for path in tables.listed(tree[0]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).hardlink_to(tree[0] / path)
    poor, bad = tables.listed(tmp_path)[-1], tables.listed(tmp_path)[-3]
    frame = table.read(tmp_path / poor)
    (tmp_path / poor).unlink()
    write_table(tmp_path / poor, frame.head(3))
    (tmp_path / bad).unlink()
    table.write(
        tmp_path / bad,
        table.empty(),
        {"status": "rejected", "reason": "qa: flux_scale 2.1 is not within 0.9–1.1"},
    )
    built = build(tmp_path, tmp_path / "made", OPTIONS)
    epochs = built.epochs.set_index("path")
    assert epochs.loc[poor, "reason"] == "3 references, fewer than min_references 5"
    assert epochs.loc[bad, "reason"] == "qa: flux_scale 2.1 is not within 0.9–1.1"
    rows = curves.read_source(tmp_path / "made", frame["source_id"].iloc[0])
    one = rows[rows["mosaic"] == poor.removeprefix("photometry/").removesuffix(".parquet")]
    assert len(one) == 1
    assert not one["normalised"].any()
    assert not one["used"].any()
    assert one["flux_norm"].iloc[0] == one["flux_jy"].iloc[0]


def test_pointings_calibrators_and_gaps_leave_no_step(tmp_path):
    options = dataclasses.replace(
        NIGHTS,
        days=60,
        pointing_days=20,
        pointing_rms=0.03,
        calibrator_days=15,
        gap_fraction=0.2,
        edge_rms=0.0,
    )
    simulation = Simulation(options)
    simulate_lightcurves(simulation, tmp_path)
    build(tmp_path, tmp_path / "made", VariabilityOptions(recent_days=20))
    found = everything(tmp_path / "made")
    found = found[found["used"]]
    bright = found.groupby("source_id")["snr"].transform("median") > 100
    means = found[bright].groupby(["source_id", found["pointing_dec_deg"].round(1)])["flux_norm"].mean()
    steps = means.groupby("source_id").last() / means.groupby("source_id").first() - 1.0
    # 3 % x sqrt(2) before; each mean is known to some 0.5 % / sqrt(20), and the last 20 nights keep what they find
    assert steps.std() < 0.008


def test_blocks_hold_whole_sources():
    edges = spill.block_edges(np.array([200_000, 100_000, 10, 400_000, 5]))
    assert edges.tolist() == [0, 2, 4, 5]
    assert spill.block_edges(np.zeros(0, dtype=np.int64)).tolist() == [0]


def test_the_sort_works_in_many_runs_and_blocks(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "RUN_ROWS", 700)
    monkeypatch.setattr(spill, "BLOCK_ROWS", 900)
    build(tree[0], tmp_path / "small", OPTIONS)
    monkeypatch.undo()
    build(tree[0], tmp_path / "large", OPTIONS)
    assert len(curves.parts(tmp_path / "small")) >= 3
    assert len(curves.parts(tmp_path / "large")) == 1
    pd.testing.assert_frame_equal(everything(tmp_path / "small"), everything(tmp_path / "large"))


def test_no_table_gives_no_rows(tmp_path):
    built = build(tmp_path, tmp_path / "made", OPTIONS)
    assert built.metrics["rows"] == 0
    assert everything(tmp_path / "made").empty


def test_rejected_tables_alone_give_no_rows_and_their_reasons(tmp_path):
    (tmp_path / "photometry" / "2025-10-01").mkdir(parents=True)
    path = tmp_path / "photometry" / "2025-10-01" / "0830+55.parquet"
    table.write(path, table.empty(), {"status": "rejected", "reason": "qa: no"})
    built = build(tmp_path, tmp_path / "made", OPTIONS)
    assert built.metrics["sources"] == 0
    assert built.epochs["reason"].tolist() == ["qa: no"]


def test_references_are_the_brightest_of_each_piece_and_fit_into_memory():
    sources = pd.DataFrame(
        {
            "snr": np.linspace(100.0, 10.0, 60),
            "clean": 1.0,
            "rows": 1000,
            "ra_deg": np.tile([121.0, 129.0], 30),
            "dec_deg": 55.0,
        }
    )
    assert references(sources, 20.0, 400).sum() == (sources["snr"] >= 20.0).sum()
    assert references(sources, 20.0, 15).sum() == 30
    few = references(sources, 20.0, 15, most_rows=25_000)
    assert few.sum() == 24
    assert sources["snr"][few].min() >= sources["snr"][~few].max()
    assert references(sources, 20.0, 15, most_rows=1).sum() == 20


def test_photometry_of_other_runs_is_told_by_its_state(tree):
    paths = tables.listed(tree[0])
    assert tables.state_of_others(tree[0], paths) == tables.state_of_others(
        tree[0], [*paths, "photometry/x.parquet"]
    )
    assert tables.state_of_others(tree[0], paths[:-1]) != tables.state_of_others(tree[0], paths)


def test_what_was_measured_under_which_gates_goes_with_the_rows(tmp_path):
    """The list's digest with every row, so that a step on another list is named; the gates with the epoch."""
    quiet = dataclasses.replace(NIGHTS, days=4, n_sources=40)
    simulate_lightcurves(Simulation(quiet), tmp_path)
    paths = tables.listed(tmp_path)
    for number, path in enumerate(paths):
        about = table.about(tmp_path / path)
        gates = {"rms": {"value": 1.0 + number, "verdict": "pass"}}
        rows = table.read(tmp_path / path)
        table.write(tmp_path / path, rows, {**about, "gates": gates, "catalog_digest": f"list{number > 0}"})
    epochs = build(tmp_path, tmp_path / "curves", OPTIONS).epochs
    assert [json.loads(text)["rms"]["value"] for text in epochs["gates"]] == [
        1.0 + k for k in range(len(paths))
    ]
    rows = everything(tmp_path / "curves")
    first = rows["mosaic"] == epochs["mosaic"].iloc[0]
    assert set(rows["catalog_digest"][first]) == {"listFalse"}
    assert set(rows["catalog_digest"][~first]) == {"listTrue"}
