"""The front page of a products tree: what it shows, that its links lead somewhere, and who may write it."""

import fcntl
import json
import os
import re
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from contimg.cli.main import main
from contimg.core.products import status, write_json
from contimg.report import contents, nights

DATE, EARLIER = "2025-10-30", "2025-10-29"
MADE = {"made": "2025-10-30T20:00:00Z", "left_out": [], "tiles": [{"verdict": "pass"}]}
COUNTS = {"images": {"ok": 1, "rejected": 0, "not made": 0}, "mosaics": {"ok": 1, "rejected": 0}, "errors": 0}
METRICS = {
    "rms_median_jy": 2.33e-3, "rms_min_jy": 0.96e-3, "center_dec_deg": 55.2,
    "mjd_start": 60978.5, "mjd_end": 60978.5 + 61.0 / 1440.0,
}  # fmt: skip


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two nights: one of a good and a rejected mosaic, with pages, logs and light curves; one of images alone."""
    good, bad = (tmp_path / f"mosaics/{DATE}/{name}" for name in ("0830+55", "0900+55"))
    tiles = [{"tile": f"{DATE}T12:00:00", "weight": weight} for weight in (0.5, 0.5, 0.0)]
    write_json(good / "status.json", {**status(metrics=METRICS), "tiles": tiles})
    (good / "0830+55.png").write_bytes(b"png")
    (good / "0830+55.fits").write_bytes(b"fits")
    write_json(bad / "status.json", status("1 good tiles, fewer than 2"))
    verdict = {**status(metrics={"n_sources": 222}), "kind": "mosaic", "gates": {"noise": {}}}
    write_json(tmp_path / f"qa/{DATE}/0830+55.json", verdict)
    write_json(tmp_path / "mosaics/0834+555" / DATE / "status.json", status("no tile"))
    for path in (
        f"qa/{DATE}.html", f"logs/mosaic_window/{DATE}/0830+55.log", "variability/index.html",
        "variability/candidates/S1.html", "plan/a.report.html", "plan/a.html",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    write_json(tmp_path / "plan/a.report.json", {**MADE, "counts": COUNTS, "mosaics": [{"verdict": "pass"}]})
    write_json(tmp_path / f"images/{EARLIER}/{EARLIER}T13:00:00/status.json", status())
    return tmp_path


def test_the_front_page_leads_to_everything_and_every_link_is_there(tree):
    page = contents.write(tree)
    assert page == tree / "index.html"
    text = page.read_text()
    links = {unquote(path) for path in re.findall(r'(?:href|src)="([^"]*)"', text)}
    assert all((tree / path).exists() for path in links)
    assert links >= {
        f"qa/{DATE}.html", f"mosaics/{DATE}/0830+55/0830+55.png", f"mosaics/{DATE}/0830+55/0830+55.fits",
        f"mosaics/{DATE}/0900+55/status.json", f"qa/{DATE}/0830+55.json", f"logs/mosaic_window/{DATE}/0830+55.log",
        f"mosaics/0834+555/{DATE}/status.json", "plan/a.report.html", "plan/a.html", "variability/index.html",
        "variability/candidates/S1.html", "logs/mosaic_window/",
    }  # fmt: skip
    assert "1 good tiles, fewer than 2" in text
    assert "Complete" in text
    assert text.index(f">{DATE}<") < text.index(EARLIER)
    assert "1 images, 0 mosaics; no page yet" in re.sub(r"<[^>]*>", "", text)


def test_a_mosaics_picture_says_where_when_and_how_deep_it_is(tree):
    text = re.sub(r"<[^>]*>", "", contents.write(tree).read_text())
    assert "0830+55 ✓ok\nstrip +55.2°, 12:00–13:01 UTC, 2 of 3 tiles\n" in text
    assert "rms 2.33 mJy/beam (lowest 0.96), 222 sources" in text
    assert "0900+55 ✗rejected\n1 good tiles, fewer than 2" in text
    assert re.search(r"2025-10-30 20:00:00\s*1 of 1\s*1 of 1\s*✓Complete", text)


def test_a_rejected_mosaic_is_placed_by_its_window():
    window = {"dec_deg": -14.0, "mid_mjd": 60978.25}
    assert nights.caption({"parameters": {"window": window}, "tiles": [{"weight": 0.0}]}, {}) == [
        "strip -14.0°, middle 06:00 UTC, 0 of 1 tile"
    ]
    assert nights.caption({}, {}) == []


def test_nights_before_the_newest_are_a_table_without_pictures(tree, monkeypatch):
    monkeypatch.setattr(contents, "SHOWN_NIGHTS", 1)
    for number in range(3):
        (tree / f"images/2025-09-0{number + 1}").mkdir()
    found = contents.gather(tree)
    assert [night["date"] for night in found["nights"]] == [
        DATE,
        EARLIER,
        *(f"2025-09-0{n}" for n in (3, 2, 1)),
    ]
    assert "4 earlier nights" in contents.page(found, tree)


def settle(tree):
    """Make every folder of a tree an hour old: as old as those of earlier nights are."""
    for path in sorted(tree.rglob("*")):
        if path.is_dir():
            os.utime(path, (time.time() - 3600.0, time.time() - 3600.0))


def test_nights_and_logs_that_did_not_change_are_not_counted_again(tree):
    first = contents.gather(tree)
    settle(tree)
    assert contents.gather(tree) == first
    kept = nights.Kept(tree)
    assert nights.all_nights(tree, kept, pictured=14) == first["nights"]
    assert nights.logs(tree, kept) == first["logs"] == {"mosaic_window": 1}
    assert kept.counted == []


@pytest.mark.parametrize(
    ("path", "name", "shown"),
    [
        (f"images/{EARLIER}/{EARLIER}T13:10:00/status.json", f"night {EARLIER} with pictures", "2 images"),
        (f"ms/science/{DATE}/{DATE}T13:00:00.json", f"night {DATE} with pictures", "1 tiles"),
        (f"mosaics/{DATE}/0930+55/status.json", f"night {DATE} with pictures", "0930+55"),
        (f"mosaics/3C286/{EARLIER}/status.json", f"night {EARLIER} with pictures", "3C286"),
        (f"qa/{DATE}/0900+55.json", f"night {DATE} with pictures", f"qa/{DATE}/0900%2B55.json"),
    ],
)
def test_what_changed_is_counted_again_and_nothing_else(tree, path, name, shown):
    write_json(tree / f"qa/{DATE}/0830+55.json", {**status(), "kind": "mosaic", "gates": {"noise": {}}})
    contents.gather(tree)
    settle(tree)
    contents.gather(tree)
    record = {**status(), "kind": "mosaic", "gates": {}} if path.startswith("qa") else status()
    write_json(tree / path, record)
    kept = nights.Kept(tree)
    found = nights.all_nights(tree, kept, pictured=14)
    assert kept.counted == [name]
    assert shown in re.sub(
        r"(?<=\d)</?b>", "", contents.page({**contents.gather(tree), "nights": found}, tree)
    )


def test_a_damaged_memory_of_the_nights_is_made_anew(tree):
    first = contents.gather(tree)
    settle(tree)
    (tree / nights.KEPT).write_text('{"by": ')
    assert contents.gather(tree) == first
    assert json.loads((tree / nights.KEPT).read_text())["entries"]


def test_a_report_of_another_version_is_listed_and_hides_nothing(tree):
    write_json(tree / "plan/old.report.json", {"made": "2025-01-01"})
    said = {run["name"]: run["said"] for run in contents.gather(tree)["runs"]}
    assert said["old"] == "written by another version: it has no 'counts'"
    assert said["a"] == "Complete"


def test_groups_left_out_show_under_their_night_unless_they_became_tiles(tree):
    groups = [{"tile": f"{day}T13:{n}0:00", "reason": "x"} for day, n in ((DATE, 1), (DATE, 2), (EARLIER, 1))]
    for name in "bc":
        write_json(
            tree / f"plan/{name}.report.json", {**MADE, "counts": COUNTS, "mosaics": [], "left_out": groups}
        )
    write_json(tree / f"ms/science/{DATE}/{DATE}T13:20:00.json", status())
    facts = contents.gather(tree)
    assert facts["left_out"] == {DATE: 1, EARLIER: 1}
    assert "1 tiles, 1 group left out, 0 images, 3 mosaics" in re.sub(
        r"<[^>]*>", "", contents.page(facts, tree)
    )


def test_two_that_write_the_front_page_wait_for_each_other_and_leave_no_parts(tree):
    lock = tree / "state/index.lock"
    lock.parent.mkdir()
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=contents.write, args=(tree,))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not (tree / "index.html").exists()
    second.join(20.0)
    assert (tree / "index.html").is_file()
    assert not list(tree.glob("*.part.*"))


def test_an_empty_tree_has_a_front_page_too(tmp_path, capsys):
    assert main(["report", "--index", "--config", f"products={tmp_path}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")
    assert "None yet." in (tmp_path / "index.html").read_text()


def test_a_tree_that_is_not_there_is_not_made(tmp_path, capsys):
    assert main(["report", "--index", "--config", f"products={tmp_path / 'none'}"]) == 2
    assert "expected a products tree" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
