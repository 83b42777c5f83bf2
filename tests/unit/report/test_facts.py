import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders.tiles import strip_of_tiles
from contimg.config.model import Config
from contimg.core.names import (
    EPOCHS,
    beam_dir,
    caltable_dir,
    image_dir,
    mosaic_verdict,
    receipt,
    science_sidecar,
    tile_verdict,
)
from contimg.core.products import status, write_json
from contimg.index.tile import Index, LeftOut
from contimg.night.night import arrange
from contimg.report import facts as report
from contimg.report.failures import Failure, by_cause, decisive_lines, made_of
from contimg.report.page import glance
from contimg.sky.calibrators import Calibrator

SOURCE = Calibrator("0834+555", 128.7287, 55.5725, 8.8, -0.4, "test")


def failure(product, reason):
    return Failure(product, reason, "logs/x.log", ())


def test_failures_that_differ_in_numbers_and_names_only_have_one_cause_and_errors_come_first():
    causes = by_cause(
        [
            failure("a", "12 % of the data are left"),
            failure("b", "9.5 % of the data are left"),
            failure("c", "error: /raw/2025-10-30T13:00:00_sb03.hdf5: vanished"),
            failure("d", "error: /raw/2025-10-30T13:05:09_sb07.hdf5: vanished"),
            failure("e", "no calibrator"),
        ]
    )
    assert [(cause.kind, cause.products) for cause in causes] == [
        ("error", ("c", "d")),
        ("rejected", ("a", "b")),
        ("rejected", ("e",)),
    ]


def test_the_decisive_lines_of_a_log_are_its_last_errors(tmp_path):
    log = tmp_path / "job.log"
    log.write_text(
        "reading\nTraceback (most recent call last):\n  File x\nOSError: disk gone\ndone with nothing\n"
        "images/t: failed (attempt 3 of 3): disk gone\nbye\n"
    )
    assert decisive_lines(log) == ("OSError: disk gone", "images/t: failed (attempt 3 of 3): disk gone")
    log.write_text("one\ntwo\n")
    assert decisive_lines(log) == ("two",)
    assert decisive_lines(tmp_path / "none.log") == ()


@pytest.fixture
def run(tmp_path):
    """What a run left of four tiles: one good, one without data, one whose job broke, one never made; and its range."""
    tiles = strip_of_tiles(count=4)
    names = [tile.name for tile in tiles]
    config = Config.model_validate({"products": str(tmp_path), "start": "2025-10-30", "end": "2025-10-31"})
    lost = LeftOut("2025-10-30T17:00:00", "15 of 16 subbands: missing sb03", ())
    night = arrange(config, Index(tuple(tiles), (lost,)), [SOURCE])
    for name, reason in ((names[0], None), (names[1], "all data are zero"), (names[2], None)):
        write_json(tmp_path / science_sidecar(name), status(reason, metrics={"flag_fraction": 0.25}))
    tables = f"{caltable_dir(names[0], 'X')}/K"
    good = status(caltables=[tables], metrics={"rms_jy": 0.002}, parameters={"borrowed": True})
    write_json(tmp_path / image_dir(names[0]) / "status.json", good)
    write_json(tmp_path / image_dir(names[1]) / "status.json", status("conversion: all data are zero"))
    write_json(tmp_path / image_dir(names[2]) / "status.json", status("error: wsclean ended with 1"))
    judged = {**status(), "verdict": "pass", "gates": {"flux_ratio": {"value": 1.02}}}
    write_json(tmp_path / tile_verdict(names[0]), judged)
    log = tmp_path / f"logs/image_tile/2025-10-30/{names[2]}.log"
    log.parent.mkdir(parents=True)
    log.write_text("wsclean: error: no such column\n")
    return config, night, names


def test_a_report_tells_of_every_tile_what_became_of_it(run):
    config, night, names = run
    facts = report.gather(config, night)
    by_tile = {row["tile"]: row for row in facts["tiles"]}
    first = by_tile[names[0]]
    assert (first["rms_mjy"], first["flag_fraction"], first["flux_ratio"]) == (2.0, 0.25, 1.02)
    assert (first["caltable"], first["borrowed"], first["verdict"]) == (f"{names[0]}_X", True, "pass")
    assert by_tile[names[3]]["image"] == "not made"
    assert facts["counts"]["images"] == {"ok": 1, "rejected": 2, "not made": 1}
    assert facts["counts"]["errors"] == 1


def test_a_cause_is_listed_once_where_it_arose_with_the_lines_of_its_log(run):
    config, night, _ = run
    causes = report.gather(config, night)["causes"]
    assert [(cause["kind"], cause["reason"]) for cause in causes] == [
        ("error", "error: wsclean ended with 1"),
        ("rejected", "all data are zero"),  # of the data, not again of the image
    ]
    assert causes[0]["lines"] == ("wsclean: error: no such column",)
    assert "error, 1×: error: wsclean ended with 1" in report.summary(report.gather(config, night))


def of_mosaic(run, number=0):
    """Directory, verdict and receipt of a mosaic of the run."""
    mosaic, window = list(run[1].windows.items())[number]
    verdict = mosaic_verdict(mosaic, window.name)
    return mosaic, verdict, receipt(verdict.split("/")[1], window.name)


def test_a_report_tells_the_verdict_on_a_mosaic_and_where_it_is_published(run, tmp_path):
    mosaic, verdict, receipt_of_it = of_mosaic(run)
    write_json(tmp_path / mosaic / "status.json", status())
    write_json(tmp_path / verdict, {**status(), "verdict": "pass"})
    write_json(tmp_path / receipt_of_it, status(published="published/2025-10-30/x/v1"))
    measured = verdict.replace("qa/", "photometry/")
    write_json(tmp_path / measured, status(metrics={"n_sources": 42, "n_seen": 31}))
    facts, html = report.make(run[0], run[1])
    row = next(row for row in facts["mosaics"] if row["mosaic"] == mosaic)
    assert (row["verdict"], row["published"]) == ("pass", "published/2025-10-30/x/v1")
    assert "published/2025-10-30/x/v1" in html.read_text()
    assert (row["n_seen"], row["n_measured"]) == (31, 42)
    assert "31 of 42" in html.read_text()


def test_a_report_tells_how_stable_the_references_of_the_flux_scale_were(run, tmp_path):
    assert report.gather(*run[:2])["scale"] is None
    verdicts = [mosaic_verdict(path, window.name) for path, window in run[1].windows.items()]
    mosaics = [verdict.removeprefix("qa/").removesuffix(".json") for verdict in verdicts[:2]]
    rows = {
        "mosaic": ["2025-10-29/other", *mosaics], "normalised": [True, True, False], "zero_point": [0.9, 1.02, np.nan],
        "zero_point_err": [0.5, 0.002, np.nan], "n_references": [3, 40, 2], "scatter": [9.0, 1.1, np.nan],
        "reason": ["", "", "2 references, 5 are needed"],
    }  # fmt: skip
    (tmp_path / EPOCHS).parent.mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / EPOCHS)
    write_json(
        tmp_path / "variability/lightcurves.json", status(metrics={"repeatability": 0.0047, "variable": 3})
    )
    facts, html = report.make(*run[:2])
    # of the run's own mosaics alone
    assert facts["scale"] == {
        "mosaics": 2, "normalised": 1, "n_references": 40.0, "zero_point_err": 0.002, "scatter": 1.1, "spread": 0.0,
        "repeatability": 0.0047, "variable": 3,
    }  # fmt: skip
    said = "1 of 2 mosaics on it, with 40 references each (median), to 0.20 %"
    assert any(said in line for line in report.summary(facts))
    for words in (said, "1.0200 ± 0.0020 (40)", "none: 2 references, 5 are needed", "repeat to 0.47 %"):
        assert words in html.read_text()


def test_a_mosaic_that_did_not_pass_is_shown_with_its_reason_and_is_no_failure_of_its_publication(
    run, tmp_path
):
    mosaic, verdict, receipt_of_it = of_mosaic(run)
    write_json(tmp_path / mosaic / "status.json", status())
    write_json(tmp_path / verdict, {**status("noise 4.1 times thermal"), "status": "ok", "verdict": "fail"})
    write_json(tmp_path / receipt_of_it, status("qa: noise 4.1 times thermal"))
    facts = report.gather(*run[:2])
    row = next(row for row in facts["mosaics"] if row["mosaic"] == mosaic)
    assert (row["verdict"], row["verdict_reason"]) == ("fail", "noise 4.1 times thermal")
    assert not any("4.1" in failure["reason"] for failure in facts["failures"])


def test_what_broke_after_the_images_is_a_failure_too(run, tmp_path):
    _, night, tiles = run
    _, verdict, receipt_of_it = of_mosaic(run)
    broken = [verdict, receipt_of_it, f"{beam_dir(tiles[0])}/status.json", f"{night.beams()[0]}/status.json"]
    for sidecar in broken:
        write_json(tmp_path / sidecar, status("error: OSError: disk gone"))
    write_json(tmp_path / beam_dir(tiles[1]) / "status.json", status("image: all data are zero"))
    facts = report.gather(*run[:2])
    (cause,) = [cause for cause in facts["causes"] if "disk gone" in cause["reason"]]
    assert sorted(cause["products"]) == sorted(path.removesuffix("/status.json") for path in broken)
    assert facts["counts"]["errors"] == 1 + len(broken)  # and the image of the fixture
    assert not any(failure["product"].startswith(beam_dir(tiles[1])) for failure in facts["failures"])


def test_every_rule_whose_product_may_be_rejected_is_looked_at_by_the_report(run):
    """A rule's log tells which it is; its script ends by `frame.run_rule`."""
    scripts = (Path(__file__).parents[3] / "scripts").glob("*.py")
    rules = {path.stem for path in scripts if "frame.run_rule" in path.read_text()}
    night = replace(run[1], injected=(run[2][0],), measured=True)
    told = {made.log.split("/")[1].replace("mosaic_transit", "mosaic_window") for made in made_of(night)}
    # The page of a night has no sidecar; no transit is near enough to the tiles of this one.
    assert told == rules - {"qa_night", "calibrate_transit"}


def test_a_job_that_left_a_log_and_no_product_is_an_error(run, tmp_path):
    config, night, names = run
    log = tmp_path / f"logs/convert_tile/2025-10-30/{names[3]}.log"
    log.parent.mkdir(parents=True)
    log.write_text("started\n")
    assert report.gather(config, night)["causes"][0]["reason"] == "error: its job ended without a product"


def test_times_are_told_beside_those_of_the_plan(run, tmp_path):
    config, night, names = run
    folder = tmp_path / "benchmarks/image_tile/2025-10-30"
    folder.mkdir(parents=True)
    for name, seconds in zip(names, (10.0, 20.0, 30.0), strict=False):
        (folder / f"{name}.tsv").write_text(f"s\tcpu_time\n{seconds}\t36\n")
    stages = {"image_tile": {"hours_one_by_one": 1.0, "to_run": 144}}
    write_json(tmp_path / "plan/2025-10-30_2025-10-31.json", {"cost": {"stages": stages}})
    row = report.gather(config, night)["times"]["image_tile"]
    assert (row["jobs"], row["median_s"], row["planned_s"]) == (3, 20.0, 25.0)
    assert row["core_hours"] == pytest.approx(0.03)


def test_the_page_needs_no_other_file_and_says_the_reasons(run):
    config, night, _ = run
    _, html = report.make(config, night)
    text = html.read_text()
    assert html.name == "2025-10-30_2025-10-31.report.html"
    assert 'name="viewport"' in text
    assert not re.search(r"(src|url)\s*[=(]", text)
    assert set(re.findall(r'href="(\.\./)?', text)) == {"../"}  # links lead into the tree
    assert "no such column" in text
    assert json.loads(html.with_suffix(".json").read_text())["counts"]["errors"] == 1


def test_a_chart_has_a_point_for_every_tile_with_a_number():
    rows = [{"tile": f"2025-10-30T13:0{n}:00", "rms_mjy": n or None, "image": "ok"} for n in range(4)]
    assert glance("noise", rows, "rms_mjy", "mJy").count("<circle") == 3
    assert glance("noise", rows, "flux_ratio", "") == ""


def outcomes(**changes):
    """Facts of a run of four tiles and two mosaics, as far as its verdict looks."""
    none = {"ok": 0, "rejected": 0, "not made": 0}
    facts = {
        "counts": {"images": none, "mosaics": none, "errors": 0},
        "tiles": [{"verdict": "pass"}] * 4,
        "mosaics": [{"verdict": "pass"}] * 2,
        "left_out": [],
    }
    counts = {**facts["counts"], **changes.pop("counts", {})}
    return {**facts, **changes, "counts": counts}


def few(**numbers):
    return {"ok": 0, "rejected": 0, "not made": 0, **numbers}


@pytest.mark.parametrize(
    ("facts", "mood", "said"),
    [
        (outcomes(), "yes", "Complete"),
        (outcomes(counts={"images": few(rejected=3)}), "part", "Finished: 3 of 4 images rejected"),
        (
            outcomes(counts={"mosaics": few(rejected=2)}, left_out=[{"tile": "t", "reason": "r"}]),
            "part",
            "Finished: 2 of 2 mosaics rejected, 1 group of files left out",
        ),
        (
            outcomes(mosaics=[{"verdict": "fail"}, {"verdict": "pass"}]),
            "part",
            "Finished: 1 of 2 mosaics failed a gate",
        ),
        (outcomes(tiles=[]), "part", "Finished: no tile in this range"),
        (outcomes(counts={"errors": 1, "images": few(rejected=3)}), "no", "1 error, 0 images not made"),
    ],
)
def test_the_verdict_has_the_colour_of_what_came_out(facts, mood, said):
    assert report.verdict(facts) == (mood, said)


def test_groups_left_out_are_among_what_went_wrong(run):
    facts, html = report.make(*run[:2])
    reason = "15 of 16 subbands: missing sb03"
    assert f"left out, 1×: {reason}" in report.summary(facts)
    wrong = html.read_text().partition("What went wrong")[2].partition("<h2>")[0]
    assert reason in wrong
    assert "Nothing." not in wrong


def test_a_product_that_was_removed_after_its_job_had_ended_well_is_no_error(run, tmp_path):
    config, night, names = run
    log = tmp_path / f"logs/image_tile/2025-10-30/{names[3]}.log"
    ended = "2025-10-30 20:00:00,000 contimg.jobs.frame images/t: "
    for last, errors in (
        (f"{ended}rms 2 mJy, 8 s", 1),
        (f"{ended}failed (attempt 1 of 3): gone; see {log}", 2),
    ):
        log.write_text(f"reading\n{last}\n")
        assert report.gather(config, night)["counts"]["errors"] == errors
