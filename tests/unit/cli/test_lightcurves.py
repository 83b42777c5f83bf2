"""The commands on light curves: one source, two versions, other formats, simulated nights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from contimg.cli import main
from contimg.core.errors import InputError
from contimg.variability import curves, lookup, metrics
from unit.variability.test_curves import rows

NAMES = ["J083454.9+553421", "J083456.1+553501", "J091200.0+550000"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "products" / "variability" / "lightcurves.parquet"
    folder.parent.mkdir(parents=True)
    frame = rows(NAMES, 60000.0 + np.arange(5.0))
    place = {
        name: (128.7287 + 0.005 * k + 9.0 * (k == 2), 55.5725 + 0.01 * k) for k, name in enumerate(NAMES)
    }
    frame = frame.assign(
        ra_deg=frame["source_id"].map(lambda name: place[name][0]),
        dec_deg=frame["source_id"].map(lambda name: place[name][1]),
        flux_norm=0.1 + 0.001 * np.arange(len(frame)),
        flux_norm_err=0.002,
        zero_point=1.0,
        stat_err_jy=0.001,
        normalised=True,
        used=True,
        flags=1,
        mosaic=[f"2025-10-0{k % 5 + 1}/0830+55" for k in range(len(frame))],
    )
    curves.write(folder, frame)
    metrics.measure(folder, 3.0).to_parquet(folder.parent / "sources.parquet")
    return tmp_path / "products"


def test_a_source_is_printed_with_its_neighbours_and_drawn(tree, tmp_path, capsys):
    picture = tmp_path / "curve.png"
    assert (
        main(["lightcurve", NAMES[0], "--products", str(tree), "--plot", str(picture), "--neighbours", "1"])
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.count("2025-10-0") == 5
    assert "edge" in printed
    assert NAMES[1] in printed.split("neighbours:")[1]
    assert NAMES[2] not in printed
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_a_bright_source_is_printed_tile_by_tile(tree, tmp_path, capsys):
    folder = tree / "variability" / "lightcurves.parquet"
    frame = pd.concat([block.frame() for block in curves.read_blocks(folder)])
    tile = "2025-10-01T13:00:00"
    frame = frame.assign(tiles=np.where(frame["mosaic"] == "2025-10-01/0830+55", tile, ""), bmaj_arcsec=15.0)
    frame = frame.assign(freq_hz=1.4e9, zero_point=0.5)
    shutil.rmtree(folder)
    curves.write(folder, frame)
    image = tree / "images" / "2025-10-01" / tile
    image.mkdir(parents=True)
    fitted = {
        "ra_deg": 128.7287,
        "dec_deg": 55.5725,
        "flux_jy": 0.1,
        "flux_err_jy": 0.002,
        "spectral_index": -0.7,
    }
    pd.DataFrame([{**fitted, "flags": ""}]).to_parquet(image / f"{tile}.sources.parquet")
    words = ["lightcurve", NAMES[0], "--products", str(tree), "--tiles"]
    assert main([*words, "--plot", str(tmp_path / "tiles.png")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1:6] for line in printed if tile in line] == [
        [tile, "100.000", "2.000", "200.000", "4.000"]
    ]
    assert printed[-1].startswith(f"{NAMES[0]}: 1 tiles")
    assert main([*words, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("mjd,tile,mosaic,flux_jy")


@pytest.mark.parametrize(
    "words", [["J083454+553421"], ["128.7288", "55.5724"], ["J083454.9+553421"], ["J083455.0+553419"]]
)
def test_a_source_is_meant_by_either_name_or_place(tree, words):
    sources = pd.read_parquet(tree / "variability" / "sources.parquet")
    assert lookup.resolve(sources, words) == NAMES[0]


def test_one_epoch_has_no_measures_of_variation(tree, capsys):
    path = tree / "variability" / "sources.parquet"
    pd.read_parquet(path).assign(n_epochs=1, eta=np.nan, v=np.nan).to_parquet(path)
    assert main(["lightcurve", NAMES[0], "--products", str(tree), "--neighbours", "0"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("  1 epoch, 5 points")
    assert second.endswith("mJy  how much it varies takes two epochs")


def test_what_is_not_there_is_said_with_what_is_nearest(tree, capsys):
    sources = pd.read_parquet(tree / "variability" / "sources.parquet")
    with pytest.raises(InputError, match=r"the nearest is J083456\.1\+553501, \d+ arcsec away"):
        lookup.resolve(sources, ["128.7", "55.7"])
    with pytest.raises(InputError, match=r"no source J000000\.0\+000000; the nearest is J08345"):
        lookup.resolve(sources, ["J000000.0+000000"])
    assert main(["lightcurve", "x", "--products", str(tree.parent)]) == 2
    assert "snakemake lightcurves" in capsys.readouterr().err


def test_two_versions_differ_where_something_changed(tree, tmp_path, capsys):
    old = tree / "variability" / "lightcurves.parquet"
    assert main(["diff", str(tree), str(old)]) == 0
    assert "0 of 3 light curves changed" in capsys.readouterr().out
    frame = pd.concat([block.frame() for block in curves.read_blocks(old)])
    frame["flux_norm"] += np.where((frame["source_id"] == NAMES[1]) & (frame["mjd"] == 60002.0), 0.01, 0.0)
    frame = frame[~((frame["source_id"] == NAMES[2]) & (frame["mjd"] == 60004.0))]
    curves.write(tmp_path / "new", frame)
    assert main(["diff", str(old), str(tmp_path / "new"), "--page", str(tmp_path / "page.html")]) == 1
    printed = capsys.readouterr().out
    assert "2 of 3 light curves changed" in printed
    line = next(line for line in printed.splitlines() if NAMES[1] in line)
    assert line.split()[-1] == "5"  # 10 mJy in errors of 2
    assert "2 of 3 sources changed" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", ["out.vot", "out.csv", "out.parquet", "out.fits"])
def test_light_curves_go_to_other_formats_and_come_back(tree, tmp_path, name):
    out = tmp_path / name
    assert main(["export", str(out), "--source", NAMES[0], NAMES[2], "--products", str(tree)]) == 0
    found = pd.read_parquet(out) if name.endswith("parquet") else Table.read(out).to_pandas()
    assert len(found) == 10
    wanted = curves.read_source(tree / "variability" / "lightcurves.parquet", NAMES[0])
    np.testing.assert_allclose(found["flux_norm"][:5], wanted["flux_norm"])
    if name.endswith("vot"):
        assert str(Table.read(out)["flux_norm"].unit) == "Jy"


def test_measures_are_exported_and_an_unknown_format_is_refused(tree, tmp_path, capsys):
    out = tmp_path / "sources.vot"
    assert main(["export", str(out), "--what", "sources", "--products", str(tree)]) == 0
    assert len(Table.read(out)) == 3
    assert main(["export", "x.xls", "--products", str(tree)]) == 2
    assert "write one of .vot" in capsys.readouterr().err


def test_nights_are_simulated_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "year"
    words = ["simulate", "lightcurves", "--days", "2", "--n-sources", "20", "--gap-fraction", "0", str(out)]
    assert main(words) == 0
    assert "of 2 nights, 20 sources" in capsys.readouterr().out
    assert len(pd.read_parquet(out / "truth.sources.parquet")) == 20
    shutil.rmtree(out / "photometry")
    assert main(words) == 0
