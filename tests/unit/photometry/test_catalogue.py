"""The catalogue of an image: what is in it is found, and every file of it says units, frequency and errors."""

import io
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.wcs import WCS

from builders.mosaic_fields import field
from contimg.cli.main import main
from contimg.cli.measure import _place, calibrators_of
from contimg.core.errors import InputError
from contimg.core.products import status, write_json
from contimg.core.provenance import REPOSITORY
from contimg.photometry import catalogue
from contimg.photometry.measured import Mosaic
from contimg.photometry.options import PhotometryOptions
from contimg.sky.calibrators import read_calibrators

OPTIONS = PhotometryOptions()
CALIBRATORS = REPOSITORY / "config" / "calibrators.csv"


@pytest.fixture(scope="module")
def sky():
    return field(shape=(500, 600), count=60, snr=(30.0, 1000.0), apart_pix=45.0)


@pytest.fixture(scope="module")
def where(sky, tmp_path_factory):
    """Directory of a mosaic with its image and rms."""
    folder = tmp_path_factory.mktemp("mosaics") / "0830+55"
    folder.mkdir()
    for suffix, plane in (("", sky.image), (".rms", sky.rms)):
        fits.writeto(folder / f"0830+55{suffix}.fits", plane, sky.header)
    return folder


@pytest.fixture(scope="module")
def found(where):
    return catalogue.found_in(Mosaic.of(where), OPTIONS)[0]


def test_all_sources_are_found_with_their_fluxes_and_places(sky, found):
    truth = WCS(sky.header).pixel_to_world(sky.x, sky.y)
    at, apart, _ = truth.match_to_catalog_sky(SkyCoord(found["ra_deg"], found["dec_deg"], unit="deg"))
    assert len(set(at)) == len(sky.x) == len(found)
    rows = found.iloc[at]
    pull = (rows["flux_jy"].to_numpy() - sky.flux) / rows["stat_err_jy"].to_numpy()
    # 60 unit deviates: 1 ± 0.09; the free place raises a flux by half an error squared at 30 σ, nothing here
    assert np.std(pull) == pytest.approx(1.0, abs=0.3)
    # Condon's error of a place is for the noise at the peak; 3.3 of 60 pairs
    offset = apart.arcsec / np.hypot(rows["ra_err_arcsec"], rows["dec_err_arcsec"])
    assert np.sqrt(np.mean(offset**2)) == pytest.approx(1.0, abs=0.4)


def test_errors_hold_the_calibration_term(found):
    brightest = found.iloc[0]
    expected = np.hypot(brightest["stat_err_jy"], OPTIONS.calibration_error * brightest["flux_jy"])
    assert brightest["flux_err_jy"] == pytest.approx(expected)
    assert brightest["flux_err_jy"] > 5 * brightest["stat_err_jy"]


@pytest.mark.parametrize("kind", ["votable", "csv", "parquet"])
def test_a_file_has_the_same_rows_and_says_its_units_and_frequency(found, sky, tmp_path, kind):
    path = tmp_path / "sources"
    catalogue.write(path, found, sky.header, OPTIONS, kind=kind)
    if kind == "votable":
        table = parse_single_table(path)
        assert {f.name: str(f.unit or "") for f in table.fields}["flux_jy"] == "Jy"
        assert "primary beam" in next(f for f in table.fields if f.name == "flux_jy").description
        back, text = table.to_table().to_pandas(), path.read_text()
        assert "1405000000" in text
    elif kind == "csv":
        text = path.read_text()
        assert "# freq_hz: 1405000000.0" in text
        assert "flux_jy [Jy]" in text
        back = pd.read_csv(io.StringIO(text), comment="#")
    else:
        assert b'"freq_hz": 1405000000.0' in pq.read_schema(path).metadata[b"contimg"]
        back = pd.read_parquet(path)
    assert list(back) == list(catalogue.COLUMNS)
    np.testing.assert_allclose(back["flux_jy"], found["flux_jy"])
    assert back["source_id"].tolist() == found["source_id"].tolist()


def test_regions_are_ellipses_at_the_sources(found, sky):
    lines = catalogue.regions(found, sky.header).splitlines()
    assert lines[2] == "icrs"
    assert len(lines) == 3 + len(found)
    assert lines[3].startswith(
        f'ellipse({found["ra_deg"][0]:.6f},{found["dec_deg"][0]:.6f},15.00",10.80",120.0)'
    )


def test_an_image_without_sources_has_an_empty_catalogue(tmp_path, sky):
    rng = np.random.default_rng(1)
    for suffix, plane in (("", 1e-3 * rng.normal(size=sky.image.shape)), (".rms", sky.rms)):
        fits.writeto(tmp_path / f"m{suffix}.fits", plane.astype(np.float32), sky.header)
    rows, header = catalogue.found_in(Mosaic.of(tmp_path), OPTIONS, places=pd.DataFrame())
    assert rows.empty
    catalogue.write(tmp_path / "none.vot", rows, header, OPTIONS, kind="votable")
    assert len(parse_single_table(tmp_path / "none.vot").array) == 0


def test_sources_prints_the_brightest_first_and_writes_files(where, found, tmp_path, capsys):
    assert main(["sources", str(where), "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 sources at 1405.0 MHz; errors with the calibration term"
    assert [line.split()[0] for line in lines[2:]] == found["source_id"].tolist()[:3]
    assert main(["sources", str(where / "0830+55.fits"), "--csv", str(tmp_path / "s.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "s.csv", comment="#")) == len(found)


def test_measure_says_flux_or_limit_and_what_is_not_covered(where, sky, found, capsys):
    source = found.iloc[0]
    nothing = WCS(sky.header).pixel_to_world(5.5, 5.5)
    arguments = ["measure", str(where), "--at", source["source_id"]]
    arguments += ["--at", f"{nothing.ra.deg} {nothing.dec.deg}", "--at", "12h00m +10d"]
    assert main(arguments) == 1
    beam, noise, flux, peak, limit, outside = capsys.readouterr().out.splitlines()
    assert beam.endswith("fluxes at the very places given")
    assert f"{1e3 * source['flux_jy']:.3f} mJy there, as `contimg sources` lists it" in peak
    assert noise.startswith("rms: of the image 2 to 10 beams round the place")
    local, of_map = re.search(r"rms ([\d.]+) mJy/beam \(map ([\d.]+)\)", flux).groups()
    x, y = (
        round(float(axis))
        for axis in WCS(sky.header).world_to_pixel_values(source["ra_deg"], source["dec_deg"])
    )
    assert float(of_map) == pytest.approx(1e3 * sky.rms[y, x], rel=0.02)
    # noise that the map promises: 600 correlated pixels give it to some 10 %
    assert float(local) == pytest.approx(float(of_map), rel=0.4)
    assert "1405.0 MHz, beam 30.0 × 21.6 arcsec, PA 30 deg" in beam
    # the name's middle is up to half of 1.5 arcsec and 1 arcsec off: 0.3 % of a beam of 30 by 21.6 arcsec
    assert float(flux.split(": ")[1].split(" ±")[0]) == pytest.approx(1e3 * source["flux_jy"], rel=0.01)
    assert re.search(r"not seen: below \d+\.\d+ mJy \((flux \+ )?3 σ\)", limit)
    assert outside == "12h00m +10d: not covered by this image"


def test_a_place_beside_a_source_measures_less_than_its_peak_by_as_much_as_the_beam_falls(where, sky, found):
    source = found.iloc[0]
    fitted = SkyCoord(source["ra_deg"], source["dec_deg"], unit="deg")
    # along the minor axis, 120 deg from north through east, 0.1 of 21.6 arcsec
    beside = fitted.directional_offset_by(Angle(120, "deg"), Angle(2.16, "arcsec"))
    rows, _ = catalogue.at_places(Mosaic.of(where), beside, OPTIONS)
    # of two beams 0.1 FWHM apart one measures exp(-2 ln 2 0.1^2) of the other, all of the plane; the fit's window is a
    # little smaller, and the noise at 1000 sigma 0.1 %
    lost = 1 - rows["flux_jy"].iloc[0] / source["flux_jy"]
    assert lost == pytest.approx(1 - 2 ** (-2 * 0.1**2), abs=0.004)
    peaks = catalogue.peaks_near(Mosaic.of(where), SkyCoord([beside, fitted]), OPTIONS)
    assert peaks["flux_jy"].to_numpy() == pytest.approx([source["flux_jy"]] * 2, rel=1e-12)
    assert peaks["apart_arcsec"].to_numpy() == pytest.approx([2.16, 0.0], abs=0.05)


def test_what_is_no_image_and_what_is_no_place_are_refused(where, tmp_path, capsys):
    assert main(["sources", str(tmp_path)]) == 2
    assert "with one .rms.fits, found 0; `contimg query --products" in capsys.readouterr().err
    write_json(tmp_path / "status.json", status("1 good tiles, fewer than 2"))
    assert main(["sources", str(tmp_path)]) == 2
    assert "rejected: 1 good tiles, fewer than 2; there is no image to measure" in capsys.readouterr().err
    assert main(["measure", str(where), "--at", "somewhere"]) == 2
    assert "expected a name such as" in capsys.readouterr().err
    assert main(["measure", str(where)]) == 2
    assert "nothing to measure: give --at PLACE or --list FILE" in capsys.readouterr().err


def test_a_place_that_cannot_be_read_costs_no_other_one(where, found, capsys):
    name = found.iloc[0]["source_id"]
    assert main(["measure", str(where), "--at", "somewhere", "--at", name, "--at", "0834+555"]) == 2
    said, wrong = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.splitlines()[2:] if line[0] != " "] == [name, "0834+555"]
    assert "'somewhere': expected a name such as" in wrong
    assert "nor is it a calibrator of" in wrong


def test_a_calibrators_name_is_its_place():
    listed = read_calibrators(CALIBRATORS)
    found = SkyCoord([_place(entry.name, CALIBRATORS) for entry in listed])
    truth = SkyCoord([entry.ra_deg for entry in listed], [entry.dec_deg for entry in listed], unit="deg")
    assert found.separation(truth).arcsec == pytest.approx(0.0, abs=1e-3)
    # the VLA manual: 08h34m54.9041s +55d34m21.071s
    apart = _place("0834+555", CALIBRATORS).separation(SkyCoord("08h34m54.9041s +55d34m21.071s"))
    assert apart.arcsec == pytest.approx(0.0, abs=0.01)


def test_calibrators_are_those_of_the_configuration_that_an_image_was_made_with(tmp_path):
    """A tree whose configuration names a list of its own; without it, and without a tree, the shipped list."""
    own = tmp_path / "own.csv"
    own.write_text(CALIBRATORS.read_text())
    mosaic = tmp_path / "products" / "mosaics" / "2025-10-30" / "0830+55"
    write_json(mosaic / "status.json", {**status(), "configuration": "abc"})
    assert calibrators_of(mosaic) == CALIBRATORS  # a copy: no tree
    (tmp_path / "products" / "state" / "configs").mkdir(parents=True)
    assert calibrators_of(mosaic) == CALIBRATORS
    write_json(tmp_path / "products" / "state" / "configs" / "abc.json", {"calibrators": str(own)})
    assert calibrators_of(mosaic) == own == calibrators_of(mosaic / "0830+55.fits")
    own.unlink()
    assert calibrators_of(mosaic) == CALIBRATORS


def test_a_designation_that_is_no_calibrators_is_no_place():
    """astropy would read it as 22 h and 2 deg."""
    with pytest.raises(InputError, match="nor is it a calibrator"):
        _place("0022+003", CALIBRATORS)
