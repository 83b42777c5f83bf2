"""The night's page says what became of each product, why, and how long it took."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from contimg.core.products import read_json, status, write_json
from contimg.qa import night
from contimg.qa import page as qa_page
from contimg.qa.verdict import Limits, judge, record

DATE = "2025-10-30"
TILES = [f"{DATE}T13:0{minute}:00" for minute in range(4)]
MID_MJD = 60978.5424  # 13:01


def write_tile(tree, name, *, reason=None, gates=(), rms_jy=2e-3):
    """Sidecars of a tile from its Measurement Set to its verdict."""
    write_json(tree / f"ms/science/{DATE}/{name}.json", status(inputs=[str(tree / f"raw/{name}.hdf5")]))
    (tree / "raw").mkdir(exist_ok=True)
    (tree / f"raw/{name}.hdf5").touch()
    write_json(tree / f"images/{DATE}/{name}/status.json", status(reason, caltables=[f"cal/{DATE}/t_c/K"]))
    metrics = {
        "rms_jy": rms_jy, "expected_rms_jy": 1e-3, "rms_over_expected": 1e3 * rms_jy, "sefd_jy": 6500.0,
        "flag_fraction": 0.1, "mid_mjd": MID_MJD,
    }  # fmt: skip
    verdict = record(
        f"images/{DATE}/{name}", "tile", gates, rejected=None if reason is None else f"rejected: {reason}",
        metrics={} if reason else metrics, notes=["by day: Sun 39 deg high, 70 deg from the pointing"],
    )  # fmt: skip
    write_json(tree / f"qa/{DATE}/{name}.json", verdict)
    return verdict


@pytest.fixture
def tree(tmp_path):
    """Four tiles: two good, one that failed a gate, one rejected; a mosaic of them, and one that could not be made."""
    good = judge("rms", 1.5, Limits(None, 3.0, "× expected"))
    bad = judge("rms", 4.0, Limits(None, 3.0, "× expected"))
    verdicts = [
        write_tile(tmp_path, TILES[0], gates=[good]),
        write_tile(tmp_path, TILES[1], gates=[bad], rms_jy=4e-3),
        write_tile(tmp_path, TILES[2], reason="conversion: all visibilities are zero"),
        write_tile(tmp_path, TILES[3], gates=[good]),
    ]
    write_json(
        tmp_path / f"cal/{DATE}/t_c/status.json",
        status(metrics={"refant": {"name": "103"}, "phase_scatter_deg": 0.325}),
    )
    window = {"name": "0900+55", "mid_mjd": MID_MJD, "width_minutes": 60.0}
    tiles = [
        {"tile": name, "status": "ok" if v["reason"] is None else "rejected", "reason": v["reason"],
         "weight": 0.5 if v["reason"] is None else 0.0}
        for name, v in zip(TILES, verdicts, strict=True)
    ]  # fmt: skip
    made = status(parameters={"window": window}, tiles=tiles)
    write_json(tmp_path / f"mosaics/{DATE}/0900+55/status.json", made)
    (tmp_path / f"mosaics/{DATE}/0900+55/0900+55.weights.fits").touch()
    write_json(
        tmp_path / f"qa/{DATE}/0900+55.json",
        record(f"mosaics/{DATE}/0900+55", "mosaic", metrics={"rms_jy": 1e-3, "mid_mjd": MID_MJD}),
    )
    late = {"name": "1100+55", "mid_mjd": MID_MJD + 2 / 24, "width_minutes": 60.0}
    failed = status(
        "1 good tiles, fewer than mosaic.min_tiles=2", parameters={"window": late}, tiles=tiles[:3]
    )
    write_json(tmp_path / f"mosaics/{DATE}/1100+55/status.json", failed)
    write_json(
        tmp_path / f"qa/{DATE}/1100+55.json",
        record(f"mosaics/{DATE}/1100+55", "mosaic", rejected=f"rejected: {failed['reason']}"),
    )
    return tmp_path


LEFT_OUT = (
    (f"{DATE}T13:20:00", "lost 5 subbands: sb01 sb03 sb04 sb08 sb11"),
    (f"{DATE}T15:10:00", "missing sb05"),
    (f"{DATE}T22:00:00", "zero-length sb00"),
)


def test_every_product_has_its_state_and_every_gap_its_first_cause(tree):
    facts = night.gather(DATE, tree, LEFT_OUT)
    assert [tile["state"] for tile in facts["tiles"]] == ["ok", "failed", "rejected", "ok"]
    one, other = facts["mosaics"]
    assert (one["name"], one["state"], one["used"], one["wanted"]) == ("0900+55", "ok", 2, 4)
    assert one["causes"] == [
        f"{TILES[1]}: rms 4 × expected, limit 3",
        f"{TILES[2]}: rejected: conversion: all visibilities are zero",
        f"{DATE}T13:20:00: left out: lost 5 subbands: sb01 sb03 sb04 sb08 sb11",
    ]
    assert (other["name"], other["state"]) == ("1100+55", "rejected")
    assert f"{DATE}T15:10:00: left out: missing sb05" in other["causes"]
    assert facts["lost"] == [f"{DATE}T22:00:00: left out: zero-length sb00"]  # in no mosaic of the date
    text, well = night.headline(facts)
    assert text == "1 of 2 mosaics pass; 2 of 7 tiles are good; most often fails: rms (1)"
    assert not well


def test_the_page_says_what_was_measured(tree):
    ratio = {"image_over_visibilities": 0.998, "image_over_visibilities_scatter": 0.0074}
    numbers = {"n_sources": 42, "n_seen": 31, "n_bright": 12, "n_slopes": 20, "noise_factor": 1.084, **ratio}
    write_json(tree / f"photometry/{DATE}/0900+55.json", status(metrics=numbers))
    write_json(tree / f"photometry/{DATE}/1100+55.json", status("qa: rejected: 1 good tiles"))
    facts = night.gather(DATE, tree, ())
    html = qa_page.page(facts, tree, 20.0)
    assert (
        "1 of 2 mosaics measured; a mosaic has 42 sources, 31 seen, 12 above 50 σ (medians); "
        "flux in the image over that in the visibilities 0.998 ± 0.007"
    ) in html
    assert "qa: rejected: 1 good tiles" in html
    assert "1.08" in html


def test_the_noisiest_tile_has_its_numbers_and_the_reason(tree):
    """Above expected, and in mJy: two tiles may be the noisiest, and the page says of which it speaks."""
    from PIL import Image

    far, high = TILES[1], TILES[3]
    for tile, rms_jy, over, why in ((far, 2e-3, 5.0, "Cas A is in the data"), (high, 6e-3, 1.1, None)):
        path = tree / f"qa/{DATE}/{tile}.json"
        verdict = read_json(path)
        verdict["metrics"] |= {"rms_jy": rms_jy, "rms_over_expected": over, "why_noisy": why}
        write_json(path, verdict)
    Image.new("RGB", (8, 8)).save(tree / f"images/{DATE}/{far}/{far}.steps.png")
    html = qa_page.page(night.gather(DATE, tree, ()), tree, 20.0)
    assert (
        f"{far} is farthest above what is expected of it: rms 2 mJy/beam at its middle, 5.00 × expected"
        in html
    )
    assert "Why: Cas A is in the data." in html
    assert "by day (4 tiles); in full below" in html
    assert f"The highest rms has {high}: rms 6 mJy/beam at its middle, 1.10 × expected" in html


def test_the_latency_clock_names_the_slowest_step(tree):
    # raw files at 1000 s; sets at 1060, tables at 1040 (before the sets: no time of their own), images at 1400, ...
    ends = {
        "raw/*.hdf5": 1000, "ms/science/*/*.json": 1060, "cal/*/*/status.json": 1040, "images/*/*/status.json": 1400,
        "qa/*/*T*.json": 1410, "mosaics/*/0900*/status.json": 1500, "qa/*/0900*.json": 1510,
    }  # fmt: skip
    for pattern, second in ends.items():
        for path in tree.glob(pattern):
            os.utime(path, (second, second))
    facts = night.gather(DATE, tree, ())
    clock = facts["mosaics"][0]["latency"]
    assert clock["seconds"] == 510
    assert list(clock["steps"].values()) == [60, 0, 340, 10, 90, 10]
    assert clock["slowest"] == "images"
    for path in tree.glob("raw/*"):
        path.unlink()
    assert night.gather(DATE, tree, ())["mosaics"][0]["latency"] is None


def test_the_page_needs_no_other_file_and_says_it_all(tree, monkeypatch):
    pd.DataFrame(
        {
            "snr": [30.0, 40.0], "ratio": [1.02, None], "comparable": [True, None], "catalog_jy": [0.1, None],
            "offset_east_arcsec": [0.5, None], "offset_north_arcsec": [-0.5, None],
        }
    ).to_parquet(tree / f"qa/{DATE}/{TILES[0]}.sources.parquet")  # fmt: skip
    for name, fraction in zip(TILES[:2], (0.1, 0.3), strict=True):
        write_json(
            tree / f"ms/science/{DATE}/{name}.json",
            status(
                metrics={
                    "flag_fraction": fraction, "dead_antennas": ["2"], "flag_fraction_by_antenna": {"1": 0.1, "2": 1.0},
                    "flag_fraction_by_subband": [fraction] * 16, "flag_fraction_by_time": [fraction] * 24,
                    "flag_fraction_by_length": [{"from_m": 8.0, "to_m": 16.0, "fraction": fraction}],
                }
            ),
        )  # fmt: skip
    monkeypatch.chdir(tree)
    job = qa_page.NightPage(DATE, f"qa/{DATE}.html", LEFT_OUT, 20.0)
    assert job.make().startswith("1 of 2 mosaics pass")
    page = Path(f"qa/{DATE}.html").read_text()
    links = re.findall(r'src="([^"]{0,40})', page)
    assert len(links) == 3  # noise against time, fluxes against the catalogue, flags
    assert re.findall('alt="flags of ([^"]*)"', page) == [TILES[1]]  # the tile that lost most
    assert all(link.startswith("data:") for link in links)
    deeper = {path.removeprefix("../") for path in re.findall(r'href="([^"]*)"', page)} - {"index.html"}
    assert f"qa/{DATE}/{TILES[0]}.json" in {unquote(path) for path in deeper}
    for text in ("2 ok, 1 failed, 1 rejected, 3 left out", "1.020 (median of 1 pairs)", "by 0.71″", "by day",
                 "1100+55: no mosaic, because", "lost 5 subbands", "SEFD 6500 Jy"):  # fmt: skip
        assert text in page
    job.reject("error: disk full")
    assert "disk full" in Path(f"qa/{DATE}.html").read_text()
