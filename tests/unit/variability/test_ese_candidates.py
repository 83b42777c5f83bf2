"""From light curves on disk to candidates: table, page, vetting, notices, the commands, and a search that goes on."""

import functools
import json
import re

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from contimg.cli import main
from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.simulate.scattering import TYPES, Event
from contimg.simulate.survey import SurveyOptions, simulate
from contimg.variability import candidates, curves, ese, ese_job, ese_table, kernel, notice, nulls, vetting
from contimg.variability.chromatic import chromaticity
from contimg.variability.ese_options import EseOptions
from contimg.variability.series import from_frame

FIRST_MJD = 61000.0
EVENT = Event(TYPES["U"], 0.5, FIRST_MJD + 60.0, 14.0)
OPTIONS = EseOptions(null_epochs=0)


@functools.cache
def sky():
    """Thirty sources of 100 nights at 40 σ: the fifth has an event, the tenth a step where the calibrator changes."""
    settings = SurveyOptions(
        seed=12, n_sources=30, days=100, snr=40.0, width_deg=15.0, red_rms=0.005, season_rms=0.0, outliers=0.0
    )
    made = simulate(settings, [None] * 4 + [EVENT])
    owner = np.repeat(np.arange(30), np.diff(made.starts))
    flux = made.flux * np.where((owner == 9) & (made.mjd > FIRST_MJD + 30), 0.7, 1.0)
    frame = pd.DataFrame(
        {
            "source_id": np.array(made.source_ids)[owner],
            "ra_deg": made.ra_deg[owner],
            "dec_deg": made.dec_deg[owner],
            "mjd": made.mjd,
            "flux_norm": 0.02 * flux,
            "flux_norm_err": 0.02 * made.error,
            "flux_vis_jy": 0.019 * flux,
            "band_slope": made.slope,
            "band_slope_err": made.slope_error,
            "pointing_dec_deg": 55.0,
            "calibrator": np.where(made.mjd > FIRST_MJD + 30, "3C286", "3C48"),
            "software": "1",
            "catalog_digest": "a",
            "solar_elongation_deg": 80.0,
            "used": True,
        }
    )
    frame["mosaic"] = [f"2025-11-{1 + int(mjd) % 28:02d}/0830+55" for mjd in made.mjd]
    for column in curves.COLUMNS:
        if column.name not in frame:
            frame[column.name] = "" if column.name in curves.WORDS else 0
    return frame[list(curves.NAMES)]


def tree_at(folder, frame=None):
    curves.write(folder / "variability" / "lightcurves.parquet", sky() if frame is None else frame)
    return folder


def searched(folder, monkeypatch, options=OPTIONS):
    monkeypatch.chdir(folder)
    ese_job.EseSearch("variability/lightcurves.parquet", options, 1).make()
    return candidates.read(folder / "variability" / "ese_candidates.csv")


def test_the_event_is_the_one_candidate_and_has_a_page(tmp_path, monkeypatch):
    found = searched(tree_at(tmp_path), monkeypatch)
    assert found["source_id"].tolist() == ["S000004"]
    row = found.iloc[0]
    assert list(found) == list(candidates.COLUMNS)
    # the middle of an event 20 σ deep a night is known to a fraction of its width
    assert row["middle_mjd"] == pytest.approx(EVENT.middle_mjd, abs=2.0)
    assert row["far"] < 1.0
    assert row["type"] in ("lens", "grazing")
    assert row["status"] == "active"
    begin, end = EVENT.span_mjd()
    assert begin < row["first_detection_mjd"] < 0.5 * (begin + end)  # before its half is over
    # the statistic of the observatory is bounded by √N and sees less
    assert row["sigma_deviation"] < np.sqrt(row["n_epochs"])
    text = (tmp_path / "variability/candidates/S000004.html").read_text()
    assert not re.search(r"(?:src|href)=[\"']?(?!data:)\w", text)  # needs no other file
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1].replace("<\\/", "</"))
    assert len(data["points"]["mjd"]) == (sky()["source_id"] == "S000004").sum()
    assert len(data["others"]) == 5
    deepest = min(data["model"]["flux"])
    assert deepest == pytest.approx(0.01, abs=0.0015)  # 50 % of 20 mJy
    record = read_json(tmp_path / "variability/ese_candidates.json")
    assert (record["status"], record["metrics"]["candidates"]) == ("ok", 1)


def test_a_step_at_a_change_of_calibrator_is_named_and_no_candidate():
    series = from_frame(sky())
    outcome = ese.run(series, OPTIONS)
    s = series.source_ids.index("S000009")
    good, kind, _ = candidates.verdict(outcome.series, s, outcome.found, 0, outcome.rates, OPTIONS)
    assert not good
    assert kind in ("step at a change of calibrator", "offset of one calibrator")  # the same, of two


@pytest.mark.parametrize(("nightly", "named"), [(False, "caltable"), (True, None)])
def test_a_caltable_is_named_only_where_it_serves_several_nights(nightly, named):
    frame = sky().assign(calibrator="3C48")
    half = np.where(frame["mjd"] > FIRST_MJD + 30, "late", "early")
    series = from_frame(frame.assign(caltable=frame["mjd"].astype(str) if nightly else half))
    s = series.source_ids.index("S000009")
    after = int(np.searchsorted(series.mjd[series.of(s)], FIRST_MJD + 30))
    assert candidates.change_at(series, s, after) == named
    assert candidates.change_at(series, s, 3) is None


def test_a_search_that_goes_on_finds_what_a_whole_one_finds(tmp_path, monkeypatch):
    frame = sky()
    early = tree_at(tmp_path, frame[frame["mjd"] < FIRST_MJD + 62])
    assert searched(early, monkeypatch)["source_id"].tolist() == ["S000004"]  # under way
    (tmp_path / "variability/lightcurves.parquet").rename(tmp_path / "old")
    found = searched(tree_at(tmp_path), monkeypatch)
    record = read_json(tmp_path / "variability/ese_candidates.json")
    assert record["metrics"]["searched_whole"] < 5  # the common medians moved a little; the curves did not
    assert found["source_id"].tolist() == ["S000004"]
    assert found["middle_mjd"].iloc[0] == pytest.approx(EVENT.middle_mjd, abs=2.0)
    # without a new epoch nothing changes: what a shape fits to the last ones takes no event's place
    pd.testing.assert_frame_equal(searched(tmp_path, monkeypatch), found)


def test_vetting_is_kept_by_every_search_and_seen_by_notices(tmp_path, monkeypatch, capsys):
    tree = tree_at(tmp_path)
    searched(tree, monkeypatch)
    first = read_json(tree / "variability/notices.json")
    assert [item["alert_type"] for item in first] == ["initial"]
    assert (
        main(["vet", "S000004", "dismissed", "--comment", "a test", "--by", "me", "--products", str(tree)])
        == 0
    )
    with pytest.raises(InputError, match="no such candidate"):
        vetting.add(tree / vetting.FILE, candidates.read(tree / "variability/ese_candidates.csv"), "S0", "active",
                    comment="", by="me", event=None)  # fmt: skip
    found = searched(tree, monkeypatch, EseOptions(null_epochs=0, recompute=True))
    assert found["status"].tolist() == ["dismissed"]
    second = read_json(tree / "variability/notices.json")
    assert [(item["alert_type"], item["record_number"]) for item in second] == [("retraction", 2)]
    assert notice.notices(found, second) == second  # nothing new is nothing new
    # a candidate that a later search does not find is taken back once; a search of other sources says nothing of it
    assert notice.notices(found.iloc[:0], first, whole=False) == first
    third = notice.notices(found.iloc[:0], first)
    assert [(item["alert_type"], item["record_number"]) for item in third] == [("retraction", 2)]
    assert notice.notices(found.iloc[:0], third) == third
    assert "dismissed" in capsys.readouterr().out


def test_any_table_is_searched_by_the_command(tmp_path, capsys):
    frame = sky().rename(columns={"mjd": "TIME", "flux_norm": "S", "flux_norm_err": "e_S"})
    frame["S"], frame["e_S"] = 1e3 * frame["S"], 1e3 * frame["e_S"]
    some = frame[frame["source_id"].isin(["S000004", "S000005", "S000006"])]
    some[["source_id", "TIME", "S", "e_S"]].to_csv(tmp_path / "archive.csv", index=False)
    words = ["ese", str(tmp_path / "archive.csv"), "--column", "mjd=TIME", "flux_jy=S", "flux_err_jy=e_S"]
    words += [
        "--flux-unit",
        "mJy",
        "--threads",
        "1",
        "--null-epochs",
        "0",
        "--output",
        str(tmp_path / "out.csv"),
    ]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["candidates_found"] == 1
    assert said["candidates"][0]["source_id"] == "S000004"
    assert said["candidates"][0]["mean_flux_mjy"] == pytest.approx(19.0, abs=1.0)
    assert set(said) == {
        "products_db",
        "min_sigma",
        "source_id",
        "recompute",
        "candidates_found",
        "candidates",
    }
    assert candidates.read(tmp_path / "out.csv")["source_id"].tolist() == ["S000004"]
    assert main(words[:2]) == 2
    assert "--column mjd=THEIRS" in capsys.readouterr().err


def archive(path, frame):
    """Write a table in the format of its ending."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        Table.from_pandas(frame).write(path, format="votable" if path.suffix == ".vot" else None)


@pytest.mark.parametrize("name", ["a.csv", "a.vot", "a.fits", "a.ecsv", "a.parquet"])
def test_tables_of_every_format_are_read_alike(tmp_path, name):
    """Also where the table has a column of our name that is not the one meant, as our own light curves do."""
    theirs = ["source_id", "mjd", "flux_norm", "flux_norm_err", "flux_jy", "ra_deg", "band_slope"]
    frame = sky()[sky()["source_id"].isin(["S000004", "S000005"])][theirs].reset_index(drop=True)
    frame["source_id"] = frame["source_id"].astype(str)
    frame.loc[3, "band_slope"] = np.nan
    archive(tmp_path / name, frame)
    found = ese_table.read_table(tmp_path / name, {"flux_jy": "flux_norm", "flux_err_jy": "flux_norm_err"})
    wanted = frame.drop(columns="flux_jy").rename(
        columns={"flux_norm": "flux_jy", "flux_norm_err": "flux_err_jy"}
    )
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    series = from_frame(found, flux="flux_jy", error="flux_err_jy")
    assert series.source_ids == ["S000004", "S000005"]


def test_what_cannot_be_searched_is_left_out_and_said(tmp_path, capsys):
    rng = np.random.default_rng(2)
    n = 40
    frame = pd.DataFrame(
        {
            "source_id": np.repeat([2, 10], n),
            "mjd": np.tile(61000.0 + np.arange(n), 2),
            "flux_jy": 0.1 + 0.005 * rng.standard_normal(2 * n),
            "flux_err_jy": 0.005,
        }
    )
    frame.loc[n + 10 : n + 16, "flux_jy"] = [
        0.09,
        0.06,
        0.04,
        -0.01,
        0.04,
        0.06,
        0.09,
    ]  # an event, once below 0
    dark = frame[:n].assign(source_id=3, flux_jy=-0.01)
    bad = frame[:4].copy()
    bad["flux_jy"] = [np.nan, 0.1, 0.1, np.inf]
    bad["flux_err_jy"] = [0.005, 0.0, np.nan, 0.005]
    single = frame[:1].assign(source_id=7)
    table = pd.concat([frame, frame[:5], dark, bad, single]).sample(frac=1.0, random_state=1)
    table.to_csv(tmp_path / "a.csv", index=False)
    words = ["ese", str(tmp_path / "a.csv"), "--null-epochs", "0", "--threads", "1"]
    assert main([*words, "--json", "--output", str(tmp_path / "out.csv")]) == 0
    printed = capsys.readouterr()
    assert [one["source_id"] for one in json.loads(printed.out)["candidates"]] == ["10"]
    for line in (
        "left out: 4 rows without a time, a flux or a positive error",
        "left out: 5 rows that stand there twice",
        "left out: 1 sources whose median flux is not positive (3)",
        "not searched: 1 sources with fewer than 4 epochs",
    ):
        assert line in printed.err
    # the same in order, without what was left out: the same candidate
    frame.to_csv(tmp_path / "b.csv", index=False)
    assert main(["ese", str(tmp_path / "b.csv"), *words[2:], "--output", str(tmp_path / "clean.csv")]) == 0
    columns = ["source_id", "middle_mjd", "statistic", "sigma_max"]
    pd.testing.assert_frame_equal(
        candidates.read(tmp_path / "out.csv")[columns], candidates.read(tmp_path / "clean.csv")[columns]
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"mjd": [2461000.5] * 5}, "these are Julian dates; subtract 2400000.5"),
        ({"flux_jy": ["<0.02", "0.1", "0.1", "0.1", "0.1"]}, "expected numbers in flux_jy"),
        ({"flux_err_jy": [np.nan] * 5}, "no row has a time, a flux and a positive error"),
        ({"flux_jy": [-0.1] * 5}, "no row has a time, a flux and a positive error"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_reason(tmp_path, capsys, rows, says):
    table = {"mjd": 61000.0 + np.arange(5), "flux_jy": 0.1, "flux_err_jy": 0.01} | rows
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    assert main(["ese", str(tmp_path / "a.csv"), "--null-epochs", "0"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("epochs", [1, 3, 4, 6])
def test_few_epochs_make_no_candidate_and_no_error(tmp_path, capsys, epochs):
    table = pd.DataFrame({"mjd": 61000.0, "flux_jy": 0.1, "flux_err_jy": 0.01}, index=range(epochs))
    table["mjd"] += np.arange(epochs) // 2  # two at each time
    table["flux_jy"] += 1e-4 * np.arange(epochs)
    table.to_csv(tmp_path / "a.csv", index=False)
    assert main(["ese", str(tmp_path / "a.csv"), "--threads", "1"]) == 0
    assert "0 candidates in 1 sources" in capsys.readouterr().out


def test_a_preset_wins():
    assert EseOptions(preset="moderate", min_sigma=9.0).threshold_sigma == 3.5
    assert EseOptions(min_sigma=4.0).threshold_sigma == 4.0


def test_gain_errors_make_no_colour_and_lenses_do():
    frame = sky()
    series = from_frame(frame)
    outcome = ese.run(series, OPTIONS)
    s = series.source_ids.index("S000004")
    row, where = outcome.found[s, 0], series.of(s)
    mjd, error = series.mjd[where], series.slope_error[where]
    true = EVENT.slope(mjd)
    lens = chromaticity(row, mjd, true, error)
    grey = chromaticity(row, mjd, np.zeros(len(mjd)), error)
    assert grey.sigma == pytest.approx(0.0, abs=1e-9)
    assert lens.sigma > 2.0
    # rays and bank differ by the part of the source behind the lens and by its size
    assert lens.scale == pytest.approx(1.0, abs=0.5)


def test_the_tail_of_chance_is_read_off_as_it_was_made():
    rng = np.random.default_rng(3)
    tail = nulls.fit_tail(rng.exponential(1.0, 20000) + 3.0, 20000 * 300)
    # an exponential: 20,000 exp(−(x − 3)) above x, of 6 × 10⁶ epochs; extrapolated a little, to 20 %
    assert tail.per_million(10.0) == pytest.approx(20000 * np.exp(-7.0) / 6.0, rel=0.3)
    assert tail.per_million(tail.threshold(0.5)) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("family", ["flipped", "blocks", "rotated", "constants"])
def test_nulls_keep_times_and_noise_but_not_events(family):
    series = from_frame(sky())
    rng = np.random.default_rng(5)
    if family == "constants":
        null = nulls.constants(series, np.tile([0.0, 0.0, 0.02], (len(series), 1)), rng)
        spread = [np.std(null.flux[null.of(s)] / null.error[null.of(s)]) for s in range(len(null))]
        assert np.mean(spread) == pytest.approx(1.0, abs=0.05)  # 30 curves of 80 epochs: 1.4 % error
    else:
        null = getattr(nulls, family)(series, rng)
    np.testing.assert_array_equal(null.mjd, series.mjd)
    assert len(null.flux) == len(series.flux)
    if family == "blocks":
        for s in (0, 4):
            np.testing.assert_allclose(np.sort(null.flux[null.of(s)]), np.sort(series.flux[series.of(s)]))


def test_nights_of_a_table_are_brought_to_one_scale():
    rng = np.random.default_rng(6)
    nights, sources = 30, 12
    scale = 1.0 + 0.1 * rng.standard_normal(nights)
    table = pd.DataFrame(
        [
            {"source_id": f"a{s}", "mjd": 61000.0 + n, "flux_jy": (1.0 + s) * scale[n], "flux_err_jy": 0.01}
            for s in range(sources)
            for n in range(nights)
        ]
    )
    table.loc[(table["source_id"] == "a3") & (table["mjd"] > 61015) & (table["mjd"] < 61020), "flux_jy"] *= (
        0.5
    )
    flat = ese_table.normalised(table)
    ratio = flat["flux_jy"] / flat.groupby("source_id")["flux_jy"].transform("median")
    low = (flat["source_id"] == "a3") & (flat["mjd"] > 61015) & (flat["mjd"] < 61020)
    # eleven others that agree exactly: what is left is rounding, and the dip stays
    np.testing.assert_allclose(ratio[~low], 1.0, atol=1e-9)
    np.testing.assert_allclose(ratio[low], 0.5, atol=1e-9)


def test_deviations_need_company():
    lone, pair, three = np.zeros(9), np.zeros(9), np.zeros(9)
    lone[4], pair[4:6], three[3:6] = -9.0, -9.0, -9.0
    assert kernel.confirmed(lone, 4) == 0.0
    assert kernel.confirmed(pair, 4) == 4.5
    assert kernel.confirmed(three, 4) == 9.0
