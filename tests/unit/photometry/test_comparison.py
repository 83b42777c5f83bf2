"""Two images of one sky: what was put between them is what the comparison says."""

import json

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from builders.mosaic_fields import field, noise, points
from contimg.cli.main import main
from contimg.core.products import status, write_json
from contimg.photometry import regrid
from contimg.photometry.comparison import compare, same_grid, tiles_of
from contimg.photometry.measured import Mosaic
from contimg.photometry.options import PhotometryOptions

SHAPE, FACTOR, CHANGED = (320, 400), 1.05, 7


@pytest.fixture(scope="module")
def sky():
    return field(shape=SHAPE, count=30, snr=(40.0, 1000.0), apart_pix=45.0)


def put(folder, image, rms, header):
    folder.mkdir(parents=True)
    for suffix, plane in (("", image), (".rms", rms)):
        fits.writeto(folder / f"{folder.name}{suffix}.fits", plane.astype(np.float32), header)
    return folder


@pytest.fixture(scope="module")
def pair(sky, tmp_path_factory):
    """A mosaic; and the same sky five per cent brighter, one source twice as bright, in other noise."""
    root = tmp_path_factory.mktemp("pair")
    flux = FACTOR * sky.flux
    flux[CHANGED] *= 2
    other = points(SHAPE, sky.x, sky.y, flux) + sky.rms * noise(SHAPE, np.random.default_rng(5))
    return put(root / "a", sky.image, sky.rms, sky.header), put(root / "b", other, sky.rms, sky.header)


@pytest.fixture(scope="module")
def compared(pair):
    return compare(Mosaic.of(pair[0]), Mosaic.of(pair[1]), PhotometryOptions())


def test_ratios_of_fluxes_are_those_put_in(sky, compared):
    fluxes = compared.numbers["fluxes"]
    assert fluxes["n_found"] == {"both": 30, "first": 0, "second": 0}
    # 30 ratios from 40 to 1000 sigma in noise of one to two units: errors of 0.2 to 7 %, median 1.25 x 1.2 % / sqrt(30)
    assert fluxes["median_ratio"] == pytest.approx(FACTOR, abs=0.01)
    place = WCS(sky.header).pixel_to_world(sky.x[CHANGED], sky.y[CHANGED])
    rows = compared.sources
    row = rows.iloc[place.match_to_catalog_sky(SkyCoord(rows["ra_deg"], rows["dec_deg"], unit="deg"))[0]]
    assert row["ratio"] == pytest.approx(2 * FACTOR, abs=4 * row["ratio_err"])
    assert row["sigma"] == rows["sigma"].max() or row["sigma"] > 5


def test_the_difference_is_second_less_first_and_its_noise_that_of_both(sky, compared):
    one, two, difference = compared.planes
    np.testing.assert_array_equal(difference, two - one)
    assert compared.numbers["same_grid"]
    assert compared.numbers["rms_jy"] == pytest.approx([float(np.median(sky.rms))] * 2)
    # independent noise of 1 to 2 units: its width is sqrt(2) times the median's, to the few per cent of its mixture
    assert compared.numbers["difference_rms_jy"] == pytest.approx(2**0.5 * np.median(sky.rms), rel=0.06)
    assert not compared.notes


def test_an_image_of_another_grid_is_put_onto_the_first_ones(sky, pair, tmp_path):
    """The same sky with its reference pixel 12.4 pixels right and 7.7 down: everything in it moves by as much."""
    header = sky.header.copy()
    header["CRPIX1"] += 12.4
    header["CRPIX2"] -= 7.7
    moved = put(tmp_path / "moved", points(SHAPE, sky.x + 12.4, sky.y - 7.7, sky.flux), sky.rms, header)
    assert not same_grid(sky.header, header)
    (plane,) = regrid.onto([fits.getdata(moved / "moved.fits")], header, sky.header)
    covered = np.isfinite(plane)
    assert 0.9 < covered.mean() < 1
    expected = points(SHAPE, sky.x, sky.y, sky.flux)
    # a cubic spline of a beam of 3.6 pixels is right to a thousandth of its peak
    assert np.abs(plane - expected)[covered].max() < 2e-3 * sky.flux.max()
    found = compare(Mosaic.of(pair[0]), Mosaic.of(moved), PhotometryOptions())
    assert found.numbers["fluxes"]["median_ratio"] == pytest.approx(1.0, abs=0.01)
    assert any("the grids differ" in note for note in found.notes)
    assert found.numbers["common_part"][0] == pytest.approx(covered.mean(), abs=1e-6)


def test_places_between_the_exact_ones_are_right_to_a_ten_thousandth_of_a_pixel(sky):
    """Two SIN projections three degrees apart, of pixels of another size, turned by the meridians' convergence."""
    own, wanted = sky.header.copy(), sky.header.copy()
    for header, ra in ((own, 128.0), (wanted, 131.0)):
        header["CRVAL1"], header["CRVAL2"] = ra, 55.0
        header["NAXIS1"] = header["NAXIS2"] = 3000
        header["CRPIX1"] = header["CRPIX2"] = 1500.5
        header["CDELT1"], header["CDELT2"] = -4.0 / 3600, 4.0 / 3600
    own["CDELT1"] *= 1.3
    there = regrid.overlap((3000, 3000), own, wanted)
    assert there is not None
    y1, y2, x1, x2 = there
    assert x2 - x1 < 2900  # the overlap, not all
    rows, columns = np.arange(y1, y2, 7.0), np.arange(x1, x2, 11.0)
    grid = np.meshgrid(columns, rows)
    exact = WCS(own).wcs_world2pix(*WCS(wanted).wcs_pix2world(*(axis.ravel() for axis in grid), 0), 0)
    found = [spline(rows, columns).ravel() for spline in regrid._coordinates(there, own, wanted)]
    assert np.abs(np.array(found) - np.array(exact)).max() < 1e-4


def test_images_of_other_parts_of_the_sky_do_not_overlap(sky):
    other = sky.header.copy()
    for place in (sky.header["CRVAL1"] + 20.0, (sky.header["CRVAL1"] + 180.0) % 360.0):
        other["CRVAL1"] = place
        assert regrid.overlap(SHAPE, other, sky.header) is None


def test_the_command_prints_the_numbers_and_writes_four_files(pair, compared, tmp_path, capsys):
    assert main(["compare", *map(str, pair), "--output", str(tmp_path / "out")]) == 0
    said, progress = capsys.readouterr()
    assert "contimg compare: sources are searched" in progress
    assert f"second / first: {compared.numbers['fluxes']['median_ratio']:.4f} (median of 30 sources" in said
    assert "1405.0" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.png", "difference.fits", "sources.csv", "comparison.json",
    }  # fmt: skip
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {key: numbers[key] for key in compared.numbers} == compared.numbers
    difference, header = fits.getdata(tmp_path / "out" / "difference.fits", header=True)
    np.testing.assert_array_equal(difference, compared.planes[2])
    assert (header["BUNIT"], header["BTYPE"]) == ("Jy/beam", "Intensity difference")
    assert len(pd.read_csv(tmp_path / "out" / "sources.csv")) == 30


def test_what_cannot_be_compared_is_refused_with_the_way_out(sky, pair, tmp_path, capsys):
    away, unit = sky.header.copy(), sky.header.copy()
    away["CRVAL2"], unit["BUNIT"] = 20.0, "K"
    cases = [
        ([pair[0], put(tmp_path / "away", sky.image, sky.rms, away)], "no pixel in common"),
        ([pair[0], put(tmp_path / "unit", sky.image, sky.rms, unit)], "unit K"),
        ([pair[0]], "found 1 images"),
        ([*pair, "--truth", "truth.json"], "found 2 images with --truth"),
        (["--truth", "truth.json"], "--products DIR"),
        ([tmp_path / "nowhere", pair[0]], "no such file or directory; `contimg query"),
    ]
    for arguments, said in cases:
        assert main(["compare", *map(str, arguments), "--output", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tiles_that_both_hold_are_named_as_they_share_noise(tmp_path):
    def mosaic(name, **weights):
        tiles = [{"tile": tile, "weight": weight} for tile, weight in weights.items()]
        write_json(tmp_path / name / "status.json", {**status(), "tiles": tiles})
        return Mosaic(tmp_path / name / f"{name}.fits", tmp_path / name / f"{name}.rms.fits")

    one, two = mosaic("a", t1=0.5, t2=0.5, t3=0.0), mosaic("b", t1=0.3, t2=0.3, t3=0.4)
    assert tiles_of(one) == {"t1", "t2"}
    assert tiles_of(one) & tiles_of(two) == {"t1", "t2"}
    tile = tmp_path / "2025-10-30T13:00:00" / "2025-10-30T13:00:00.pbcor.fits"
    assert tiles_of(Mosaic(tile, tile)) == {"2025-10-30T13:00:00"}
    assert tiles_of(Mosaic(tmp_path / "c" / "c.fits", tile)) == set()


def test_a_comparison_of_one_tiles_images_says_that_they_share_their_noise(pair, tmp_path):
    paths = []
    for tree, before in zip("ab", pair, strict=True):
        folder = tmp_path / tree / "2025-10-30T13:00:00"
        folder.mkdir(parents=True)
        for plane in before.iterdir():
            (folder / plane.name.replace(before.name, folder.name)).symlink_to(plane)
        paths.append(Mosaic.of(folder))
    notes = compare(*paths, PhotometryOptions()).notes
    assert notes == ("both hold tile 2025-10-30T13:00:00: their noise is not independent",)
