"""A mosaic of synthetic tiles to its photometry: truth, conditions, both estimators, and what is not measured."""

import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord

from builders.photometry_nights import COUNT, DATE, DEC, NAME, NOISE_JY, SLOPE, plant, sky
from contimg.core import names
from contimg.core.errors import Rejected
from contimg.core.products import write_json
from contimg.core.provenance import REPOSITORY
from contimg.photometry import positions, table
from contimg.photometry.job import PhotometryMosaic, SourceList
from contimg.photometry.options import PhotometryOptions
from contimg.photometry.table import Flag
from contimg.qa import verdict as qa
from contimg.sky.catalog import Catalog

SKY = sky()
BLANK = (127.6, 55.02)  # where there is nothing


def catalogue(path, sources):
    lines = ["name,ra_deg,dec_deg,flux_jy,spectral_index"]
    lines += [f"C{i},{ra},{dec},{jy},{SLOPE}" for i, (ra, dec, jy) in enumerate(sources)]
    path.write_text("\n".join(lines) + "\n")
    return Catalog(path)


def listed(catalog, found=(), **options):
    job = SourceList(
        path=names.SOURCE_LIST,
        record="photometry/sources.json",
        found=tuple(found),
        catalog=catalog,
        options=PhotometryOptions(**options),
    )
    return job, job.make()


def measured(mosaic, **options):
    job = PhotometryMosaic(
        directory=mosaic,
        verdict=names.verdict(DATE, NAME),
        sources=names.SOURCE_LIST,
        table=names.photometry(DATE, NAME),
        record=f"photometry/{DATE}/{NAME}.json",
        pointings={},
        options=PhotometryOptions(**options),
    )
    return job, job.make()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A tree with everything measured; the list has a source that is not there and one that is not covered."""
    tree = tmp_path_factory.mktemp("night")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        mosaic = plant(tree, SKY)
        listed(catalogue(tree / "catalog.csv", [*SKY, (*BLANK, 0.01), (300.0, 55.0, 1.0)]))
        _, line = measured(mosaic)
        yield mosaic, line, table.read(tree / names.photometry(DATE, NAME)), tree


def of_truth(found):
    """Rows of the planted sources, in their order, with the truth."""
    truth = SkyCoord([row[0] for row in SKY], [row[1] for row in SKY], unit="deg")
    at, apart, _ = truth.match_to_catalog_sky(SkyCoord(found["ra_deg"], found["dec_deg"], unit="deg"))
    assert apart.arcsec.max() < 0.01
    return found.iloc[at].reset_index(drop=True).assign(truth=[row[2] for row in SKY])


def test_fluxes_of_a_mosaic_are_those_that_were_put_in(night):
    rows = of_truth(night[2])
    good = rows[rows["flags"] == 0]
    assert len(good) > 20
    ratio = good["flux_jy"] / good["truth"]
    # 2 mJy of noise per tile, above 0.1 Jy: 2 % for the faintest, 0.1 % for the brightest
    weight = (good["truth"] / good["stat_err_jy"]) ** 2
    assert np.average(ratio, weights=weight) == pytest.approx(1.0, abs=0.005)
    pull = (good["flux_jy"] - good["truth"]) / good["flux_err_jy"]
    assert np.abs(pull).max() < 4.5


def test_the_fluxes_fitted_to_the_visibilities_are_combined_with_their_weights(night):
    rows = of_truth(night[2])
    everywhere = rows[rows["n_vis_tiles"] == COUNT]
    assert len(everywhere) > 10
    # flux_jy of the fit is at 1.4 GHz, which is the mosaic's frequency too; +1 %, -1 % and 0 average to 0
    np.testing.assert_allclose(everywhere["flux_vis_jy"], everywhere["truth"], rtol=1e-6)
    stat = 1e-3 / np.sqrt(COUNT)
    options = PhotometryOptions()
    beam = 2.0 * np.abs(np.log(everywhere["pb"])) * options.beam_width_error
    expected = np.hypot(stat, np.hypot(options.calibration_error, beam) * everywhere["truth"])
    np.testing.assert_allclose(everywhere["flux_vis_err_jy"], expected, rtol=1e-5)
    np.testing.assert_allclose(everywhere["band_slope"], SLOPE, rtol=1e-5)  # the third tile has none
    np.testing.assert_allclose(everywhere["band_slope_err"], 0.1 / np.sqrt(2), rtol=1e-5)


def test_a_source_tells_when_and_through_what_it_was_seen(night):
    rows = of_truth(night[2])
    middle = rows.iloc[int(np.argmin(rows["beam_distance_deg"]))]
    assert middle["pb"] > 0.99 * rows["pb"].max()
    assert middle["n_tiles"] == COUNT == len(middle["tiles"].split(";"))
    assert middle["calibrator"] == "0834+555"
    assert middle["caltable"] == f"cal/{DATE}/{DATE}T12:00:00_0834+555;cal/{DATE}/{DATE}T12:01:00_0834+555"
    assert middle["pointing_dec_deg"] == pytest.approx(DEC)
    assert middle["hour_ut"] == pytest.approx(13.13, abs=0.15)
    assert rows["mjd"].between(names.tile_mjd(f"{DATE}T13:00:00"), names.tile_mjd(f"{DATE}T13:16:00")).all()
    # the Sun is at RA 215 deg, Dec -13.8 deg then: 99.9 deg from RA 127.5, Dec 55 by the cosine formula
    assert rows["solar_elongation_deg"].between(97.5, 102.5).all()
    east = rows[rows["ra_deg"] > 128.5]
    west = rows[rows["ra_deg"] < 126.5]
    assert east["mjd"].mean() > west["mjd"].mean()  # later tiles see what lies further east


def test_a_place_without_a_source_has_its_flux_and_a_limit_and_what_is_not_covered_no_row(night):
    rows = night[2]
    blank = rows[np.hypot(rows["ra_deg"] - BLANK[0], rows["dec_deg"] - BLANK[1]) < 1e-6].iloc[0]
    assert blank["flags"] & Flag.NOT_SEEN
    assert abs(blank["flux_jy"]) < 5 * blank["stat_err_jy"]
    assert blank["upper_limit_jy"] == pytest.approx(
        max(blank["flux_jy"], 0) + 3 * blank["stat_err_jy"], rel=1e-5
    )
    assert not (rows["ra_deg"] > 200).any()
    assert rows["source_id"].is_unique
    assert rows.loc[rows["flags"] == 0, "upper_limit_jy"].isna().all()


def test_the_sidecar_says_what_was_measured(night):
    _, line, rows, tree = night
    record = json.loads((tree / f"photometry/{DATE}/{NAME}.json").read_text())
    assert record["status"] == "ok"
    assert record["metrics"]["n_sources"] == len(rows)
    assert line == f"{len(rows)} sources, {record['metrics']['n_seen']} seen"
    assert record["metrics"]["image_over_visibilities"] == pytest.approx(1.0, abs=0.01)
    assert record["metrics"]["median_rms_jy"] == pytest.approx(
        NOISE_JY, rel=0.8
    )  # the beam corrected: 1 to 5 times
    assert table.about(tree / names.photometry(DATE, NAME))["metrics"] == record["metrics"]


def test_the_table_says_which_list_was_measured_and_what_the_gates_said(night):
    tree = night[3]
    about = table.about(tree / names.photometry(DATE, NAME))
    assert about["gates"] == {"reliability": {"value": 0.99, "verdict": "pass"}}
    near = positions.read(tree / names.SOURCE_LIST, dec_deg=(50.0, 60.0))
    assert about["catalog_digest"] == positions.digest(near)


def test_a_mosaic_that_failed_gives_no_rows_and_the_reason(night, tmp_path, monkeypatch):
    monkeypatch.chdir(night[3])
    verdict = tmp_path / "verdict.json"
    write_json(verdict, qa.record(night[0], "mosaic", rejected="rms 4.1 × expected, limit 3"))
    job = PhotometryMosaic(
        night[0], str(verdict), names.SOURCE_LIST, str(tmp_path / "t.parquet"), str(tmp_path / "t.json"), {},
        PhotometryOptions(),
    )  # fmt: skip
    with pytest.raises(Rejected, match=r"qa: rms 4\.1") as raised:
        job.make()
    job.reject(str(raised.value))
    assert table.read(tmp_path / "t.parquet").empty
    assert table.about(tmp_path / "t.parquet")["reason"] == "qa: rms 4.1 × expected, limit 3"


def found_on(tree, date, places, *, verdict="pass", snr=20.0):
    """QA's table of what was found in a mosaic of a date, and its verdict."""
    folder = tree / "qa" / date
    folder.mkdir(parents=True, exist_ok=True)
    ra, dec = (np.array(column, float) for column in zip(*places, strict=True))
    frame = pd.DataFrame({"ra_deg": ra, "dec_deg": dec, "flux_jy": 0.05, "snr": snr, "flags": ""})
    frame.to_parquet(folder / f"{NAME}.sources.parquet")
    gates = {"reliability": {"value": 0.98}}
    (folder / f"{NAME}.json").write_text(json.dumps({"verdict": verdict, "gates": gates}))
    return f"qa/{date}/{NAME}.sources.parquet"


def test_what_is_found_often_enough_joins_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = catalogue(tmp_path / "catalog.csv", SKY[:3])
    new, rare, known = (128.0, 55.5), (127.0, 54.5), SKY[0][:2]
    jitter = 1.0 / 3600
    dates = ("2025-10-30", "2025-10-31", "2025-11-01")
    for number, date in enumerate(dates):
        places = [(new[0], new[1] + number * jitter), known, *([rare] if number == 0 else [])]
        found_on(tmp_path, date, places)
    found_on(tmp_path, "2025-11-02", [rare], verdict="fail")
    found_on(tmp_path, "2025-11-03", [rare], snr=6.0)
    _, line = listed(catalog)
    assert line == "4 sources, 1 of them found blind"
    first = positions.read(tmp_path / names.SOURCE_LIST)
    (blind,) = first[first["origin"] == "blind"].to_dict("records")
    assert (blind["ra_deg"], blind["dec_deg"]) == pytest.approx((new[0], new[1] + jitter))
    assert blind["n_dates"] == 3
    record = json.loads((tmp_path / "photometry/sources.json").read_text())
    assert record["metrics"]["n_waiting"] == 1
    # a fourth detection, 5 arcsec off, moves neither place nor name
    found_on(tmp_path, "2025-11-04", [(new[0], new[1] + 5 * jitter)])
    listed(catalog)
    again = positions.read(tmp_path / names.SOURCE_LIST)
    assert again["source_id"].tolist() == first["source_id"].tolist()


def test_without_a_catalogue_the_list_is_the_own_one_and_what_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("ra_deg,dec_deg\n127.5,55\n")
    found_on(tmp_path, "2025-10-30", [(128.0, 55.5)])
    _, line = listed(None, sources=tmp_path / "mine.csv", join_after=1)
    assert line == "2 sources, 1 of them found blind"


def test_the_example_notebook_opens_the_mosaic_its_catalogue_and_its_status(night, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    mosaic, _, _, tree = night
    monkeypatch.setenv("CONTIMG_MOSAIC", str(tree / mosaic))
    paths = [str(REPOSITORY / "scripts"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    notebook = nbformat.read(REPOSITORY / "docs" / "notebooks" / "products.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = json.dumps(notebook.cells)
    assert "unit of flux_jy: Jy" in shown
    assert f"{COUNT} tiles" in shown
    # the brightest of the sky, at its pixel: less than its peak by what half a pixel of four loses
    said = re.search(r"J\d{6}\.\d[+-]\d{6} ([\d.]+) Jy/beam", shown)
    assert said is not None
    brightest = max(row[2] for row in SKY)
    assert 0.9 * brightest < float(said[1]) < 1.02 * brightest
