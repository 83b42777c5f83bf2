"""Point-source fits against images whose sources are known."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS

from contimg.core.errors import InputError
from contimg.sky.measure import PixelBeam, find, measure

SIZE = 256
CELL = 3.0
MAJOR, MINOR, ANGLE = 20.0, 11.0, 70.0


def make_header() -> Header:
    header = Header()
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, SIZE, SIZE
    for axis, (kind, value, step) in enumerate(
        (("RA---SIN", 180.0, -CELL), ("DEC--SIN", 60.0, CELL)), start=1
    ):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CUNIT{axis}"] = kind, value, "deg"
        header[f"CDELT{axis}"], header[f"CRPIX{axis}"] = step / 3600, SIZE / 2 + 1
    header["RADESYS"] = "ICRS"
    header["BMAJ"], header["BMIN"], header["BPA"] = MAJOR / 3600, MINOR / 3600, ANGLE
    return header


HEADER = make_header()


def sources_image(places: list[tuple[float, float, float]]) -> np.ndarray:
    """Sum of beams at (x, y, Jy), each from the angles' definition: major axis `ANGLE` east of north."""
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = np.zeros((SIZE, SIZE))
    for x, y, flux in places:
        east, north = -(xx - x) * CELL, (yy - y) * CELL
        pa = np.radians(ANGLE)
        major = east * np.sin(pa) + north * np.cos(pa)
        minor = east * np.cos(pa) - north * np.sin(pa)
        image += flux * np.exp(-4 * np.log(2) * ((major / MAJOR) ** 2 + (minor / MINOR) ** 2))
    return image


def beam_noise(rng: np.random.Generator, rms: float) -> np.ndarray:
    """Noise as in an interferometer's image: its autocorrelation is the (dirty) beam."""
    white = np.fft.rfft2(rng.normal(size=(SIZE, SIZE)))
    power = np.fft.rfft2(np.fft.ifftshift(sources_image([(SIZE // 2, SIZE // 2, 1.0)])))
    noise = np.fft.irfft2(white * np.sqrt(np.abs(power)), s=(SIZE, SIZE))
    return noise * rms / noise.std()


def sky(x: list[float], y: list[float]) -> SkyCoord:
    return WCS(HEADER).pixel_to_world(x, y)


def test_a_source_between_pixels_comes_back_exactly():
    places = [(60.37, 80.81, 1.3), (150.5, 120.5, 0.02), (201.0, 40.0, 7.0)]
    x, y, flux = map(list, zip(*places, strict=True))
    # the first guess is off by half a beam
    table = measure(
        sources_image(places), HEADER, sky([v + 1 for v in x], [v - 1 for v in y]), rms=np.ones((SIZE,) * 2)
    )
    np.testing.assert_allclose(table["flux_jy"], flux, rtol=1e-5)
    np.testing.assert_allclose(table["x_pix"], x, atol=1e-3)
    np.testing.assert_allclose(table["y_pix"], y, atol=1e-3)
    found = SkyCoord(table["ra_deg"], table["dec_deg"], unit="deg")
    assert found.separation(sky(x, y)).arcsec.max() < 1e-2
    assert set(table["flags"]) == {""}


def test_offsets_are_told_along_the_axes_of_the_beam():
    pa = np.radians(ANGLE)
    along = 0.3 * MAJOR  # of the major axis, toward the east and north
    x, y = 128.0, 128.0
    moved = (x - along * np.sin(pa) / CELL, y + along * np.cos(pa) / CELL, 2.0)
    table = measure(sources_image([moved]), HEADER, sky([x], [y]), rms=np.ones((SIZE,) * 2))
    assert table["offset_major_beam"][0] == pytest.approx(0.3, abs=1e-4)
    assert table["offset_minor_beam"][0] == pytest.approx(0.0, abs=1e-4)
    assert table["offset_ra_arcsec"][0] == pytest.approx(along * np.sin(pa), abs=1e-2)
    assert table["offset_dec_arcsec"][0] == pytest.approx(along * np.cos(pa), abs=1e-2)


def test_neighbours_within_two_beams_are_told_apart():
    places = [(100.2, 100.0, 1.0), (104.7, 103.1, 0.3)]  # 16 arcsec apart
    table = measure(sources_image(places), HEADER, sky([100, 105], [100, 103]), rms=np.ones((SIZE,) * 2))
    np.testing.assert_allclose(table["flux_jy"], [1.0, 0.3], rtol=1e-4)
    assert set(table["flags"]) == {"blended"}
    alone = measure(sources_image(places), HEADER, sky([105], [103]), rms=np.ones((SIZE,) * 2), forced=True)
    assert alone["flux_jy"][0] > 0.33  # what fitting it alone makes of it


def test_errors_are_those_of_condon():
    # 8 images x 25 sources at S/N 20. The scatter of 200 pulls has a standard error of 5 %; the fit is not
    # the optimal one for correlated noise, hence 20 %.
    rng = np.random.default_rng(11)
    grid = np.arange(30, 240, 45)
    places = [
        (float(x) + dx, float(y) + dy, 1.0)
        for x in grid
        for y in grid
        for dx, dy in [rng.uniform(-0.5, 0.5, 2)]
    ]
    x, y, _ = map(list, zip(*places, strict=True))
    pulls = {"flux": [], "major": [], "minor": []}
    for _ in range(8):
        image = sources_image(places) + beam_noise(rng, 0.05)
        table = measure(image, HEADER, sky(x, y), rms=np.full((SIZE,) * 2, 0.05))
        pulls["flux"] += list((table["flux_jy"] - 1) / table["flux_err_jy"])
        for axis in ("major", "minor"):
            pulls[axis] += list(table[f"offset_{axis}_beam"] / table[f"offset_{axis}_err_beam"])
    for values in pulls.values():
        assert np.std(values) == pytest.approx(1.0, abs=0.2)
        assert abs(np.mean(values)) < 4 / np.sqrt(len(values))


def test_forced_fluxes_of_nothing_are_zero_in_the_mean():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(20, SIZE - 20, (2, 300))
    image = beam_noise(rng, 1.0)
    forced = measure(image, HEADER, sky(x, y), rms=np.ones((SIZE,) * 2), forced=True, joint_beams=0.0)
    # 300 values of unit scatter, about 2 of them to each independent beam: error of the mean below 0.1
    assert abs(forced["flux_jy"].mean()) < 0.3
    assert forced["flux_jy"].std() == pytest.approx(1.0, abs=0.2)


def test_places_without_pixels_are_flagged_not_measured():
    image = sources_image([(2.0, 128.0, 1.0), (150.0, 150.0, 1.0)])
    image[100:110, 100:110] = np.nan
    table = measure(image, HEADER, sky([-20.0, 105.0, 2.0, 150.0], [50.0, 105.0, 128.0, 150.0]))
    assert list(table["flags"]) == ["outside", "outside", "edge", ""]
    assert np.isnan(table["flux_jy"][:2]).all()
    assert table["flux_jy"][2] == pytest.approx(1.0, rel=1e-3)


def test_a_place_far_beyond_the_poles_of_the_projection_is_outside():
    table = measure(np.ones((SIZE, SIZE)), HEADER, SkyCoord([0.0], [-60.0], unit="deg"))
    assert table["flags"][0] == "outside"


def test_the_local_rms_is_that_of_the_noise_beside_the_source():
    image = sources_image([(128, 128, 5.0)]) + beam_noise(np.random.default_rng(2), 0.01)
    table = measure(image, HEADER, sky([128], [128]))
    assert table["local_rms_jy"][0] == pytest.approx(0.01, rel=0.15)
    assert table["snr"][0] == pytest.approx(500, rel=0.15)


def test_find_returns_each_source_once_and_nothing_else():
    rng = np.random.default_rng(8)
    places = [(40.3, 50.2, 1.0), (60.1, 50.0, 0.2), (200.5, 190.5, 0.1), (128.0, 30.0, 0.08)]
    image = sources_image(places) + beam_noise(rng, 0.01)
    table = find(image, HEADER, np.full((SIZE,) * 2, 0.01), 6.0)
    assert len(table) == 4
    assert list(table["snr"]) == sorted(table["snr"], reverse=True)
    for x, y, flux in places:
        row = table.iloc[np.argmin(np.hypot(table["x_pix"] - x, table["y_pix"] - y))]
        assert row["flux_jy"] == pytest.approx(flux, abs=0.04)


def test_beyond_a_number_of_peaks_the_weaker_are_measured_where_they_are(monkeypatch):
    places = [
        (30.3 + 40 * column, 30.4 + 40 * row, 1.0 + row + 0.1 * column)
        for row in range(5)
        for column in range(5)
    ]
    image, rms = sources_image(places), np.full((SIZE,) * 2, 0.01)
    free = find(image, HEADER, rms)
    monkeypatch.setattr("contimg.sky.measure.MOST_FREE", 10)
    bounded = find(image, HEADER, rms)
    assert list(bounded["flags"] == "held") == [False] * 10 + [True] * 15
    np.testing.assert_allclose(bounded["flux_jy"][:10], free["flux_jy"][:10], rtol=1e-6)
    # half a pixel each way of a beam of 11 by 20 arcsec, averaged over the pixels within 0.7 of it: 6 % at most
    np.testing.assert_allclose(bounded["flux_jy"][10:], free["flux_jy"][10:], rtol=0.06)
    np.testing.assert_allclose(bounded["x_pix"][10:], np.rint(bounded["x_pix"][10:]), atol=1e-6)
    assert (np.abs(bounded["x_pix"] - free["x_pix"]) < 1).all()


def test_find_in_an_image_of_nothing_is_empty_with_all_columns():
    table = find(np.full((SIZE,) * 2, np.nan), HEADER, np.ones((SIZE,) * 2))
    assert len(table) == 0
    assert {"ra_deg", "dec_deg", "flux_jy", "flux_err_jy", "local_rms_jy", "snr", "flags"} <= set(
        table.columns
    )


def test_the_beam_box_holds_the_ellipse():
    beam = PixelBeam.from_header(HEADER)
    half_x, half_y = beam.box(1.0)
    angle = np.linspace(0, 2 * np.pi, 200)
    edge = np.linalg.inv(beam.to_beam) @ np.array([np.cos(angle), np.sin(angle)])
    assert np.abs(edge[0]).max() <= half_x < np.abs(edge[0]).max() + 1
    assert np.abs(edge[1]).max() <= half_y < np.abs(edge[1]).max() + 1


def test_an_image_without_a_beam_is_refused_with_the_missing_keys():
    header = HEADER.copy()
    del header["BMAJ"]
    with pytest.raises(InputError, match="BMAJ"):
        measure(np.zeros((SIZE, SIZE)), header, sky([10], [10]))
