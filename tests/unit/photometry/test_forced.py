"""Forced photometry gives back what was put in, with errors that are true, and agrees with another program."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.wcs import WCS

from builders.mosaic_fields import BEAM_PIX, field, header, noise, points, widths
from contimg.photometry import forced
from contimg.sky.measure import PixelBeam, measure


@pytest.fixture(scope="module")
def full():
    """1,000 sources from 5 to 500 σ in noise that rises by two from one side to the other."""
    return field(shape=(900, 1200), count=1000, snr=(5.0, 500.0))


@pytest.fixture(scope="module")
def found(full):
    return forced.extract(full.image, full.rms, full.header, full.x, full.y)


def test_fluxes_are_without_bias(full, found):
    # 300 above 50 σ of the least noise: at 1.5 times that on average the mean is known to 1/(sqrt(300) 33) = 0.18 %
    bright = full.flux > 0.05
    ratio = found.flux_jy[bright] / full.flux[bright]
    assert np.average(ratio, weights=(full.flux / full.rms.mean())[bright] ** 2) == pytest.approx(
        1.0, abs=0.002
    )


@pytest.mark.parametrize(("low", "high"), [(3, 15), (15, 60), (60, 1000)])
def test_pulls_are_one_wide_in_every_bin_of_snr(full, found, low, high):
    snr = full.flux / found.stat_err_jy
    pull = ((found.flux_jy - full.flux) / found.stat_err_jy)[(snr >= low) & (snr < high)]
    # about 300 in each: the width is known to 1/sqrt(600) = 4 %, the factor from the empty places to 2.5 %
    assert len(pull) > 150
    assert np.std(pull) == pytest.approx(1.0, abs=3 * np.hypot(1 / np.sqrt(2 * len(pull)), 0.025))
    assert abs(np.mean(pull)) < 4 / np.sqrt(len(pull))


def test_local_noise_follows_the_map_and_sources_do_not_raise_it(full, found):
    ratio = found.local_rms_jy / found.map_rms_jy
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    assert np.median(found.background_jy / found.map_rms_jy) == pytest.approx(0.0, abs=0.03)


def test_the_noise_factor_is_measured_not_assumed():
    # Noise of half the beam's width: the filter averages over more independent pixels than the formula knows
    shape = (800, 800)
    rng = np.random.default_rng(3)
    white = rng.normal(size=shape).astype(np.float32)
    out = forced.extract(white, np.ones(shape, np.float32), header(shape), np.zeros(0), np.zeros(0))
    beam = PixelBeam.from_header(header(shape))
    dy, dx = np.mgrid[-4:5, -4:5]
    along = np.hypot(*beam.offsets(dx, dy))
    expected = 1 / np.sqrt((np.exp2(-8.0 * along**2) * (along <= 0.7)).sum())  # white noise: 1/sqrt(sum b²)
    assert out.n_blanks > 2000
    assert out.noise_factor == pytest.approx(expected, rel=0.05)
    assert expected < 0.5 * forced.alone(beam)


def test_a_single_source_has_the_flux_that_measure_gives(full, found):
    """One truth: the search's and QA's fit, held at the place, less the local background."""
    rows = np.arange(0, len(full.x), 20)
    places = WCS(full.header).pixel_to_world(full.x[rows], full.y[rows])
    beam = PixelBeam.from_header(full.header)
    other = measure(full.image, full.header, places, rms=full.rms, forced=True)
    alone = other["flags"].to_numpy() == ""
    dy, dx = np.mgrid[-4:5, -4:5]
    along = np.hypot(*beam.offsets(dx, dy))
    shape = np.exp2(-4.0 * along**2) * (along <= 0.7)
    lifted = found.background_jy[rows] * shape.sum() / (shape**2).sum()  # a level seen through the filter
    assert alone.sum() > 30
    np.testing.assert_allclose(
        (other["flux_jy"] - found.flux_jy[rows])[alone], lifted[alone], atol=0.03 * full.rms.mean()
    )


@pytest.mark.parametrize("ratio", [1.0, 0.1])
def test_blends_one_beam_apart_are_told_apart(ratio):
    """Pairs one beam apart, 200 and 200 times `ratio` σ: each to 2 % of the brighter in the mean."""
    shape, rng = (800, 800), np.random.default_rng(5)
    at_y, at_x = (axis.ravel().astype(float) for axis in np.mgrid[40:760:40, 40:760:40])
    at_x, at_y = at_x + rng.uniform(-1, 1, at_x.shape), at_y + rng.uniform(-1, 1, at_y.shape)
    turn = rng.uniform(0, 2 * np.pi, at_x.shape)
    # one beam in any direction: a step of the beam's own ellipse
    to_pix = np.linalg.inv(PixelBeam.from_header(header(shape)).to_beam)
    step = to_pix @ np.array([np.cos(turn), np.sin(turn)])
    x, y = np.concatenate([at_x, at_x + step[0]]), np.concatenate([at_y, at_y + step[1]])
    flux = np.repeat([0.2, 0.2 * ratio], len(at_x))
    image = points(shape, x, y, flux) + 1e-3 * noise(shape, rng)
    out = forced.extract(image, np.full(shape, 1e-3), header(shape), x, y)
    assert out.blended.all()
    for part in (slice(0, len(at_x)), slice(len(at_x), None)):
        assert np.mean(out.flux_jy[part] / flux[part]) == pytest.approx(1.0, abs=0.02)
        pull = (out.flux_jy[part] - flux[part]) / out.stat_err_jy[part]
        assert np.std(pull) == pytest.approx(
            1.0, abs=0.15
        )  # 324 pairs: 4 %; noise a little off the model: 8 %


def test_photutils_psf_photometry_gives_the_same_fluxes(full, found):
    """Oracle: the same model fitted by photutils, at fixed places, in a window of the beam's size."""
    from photutils.psf import GaussianPSF, PSFPhotometry

    rows = np.flatnonzero((full.flux > 0.05) & (full.flux < 0.4))[::4]
    model = GaussianPSF(
        flux=1.0,
        x_fwhm=BEAM_PIX[1],
        y_fwhm=BEAM_PIX[0],
        theta=30.0,  # north through east, x to the west: counter-clockwise from +y
        bbox_factor=8,
    )
    model.x_0.fixed = model.y_0.fixed = True
    start = QTable({"x": full.x[rows], "y": full.y[rows], "flux": full.flux[rows]})
    made = PSFPhotometry(model, fit_shape=5)(full.image.astype(float), error=full.rms, init_params=start)
    # photutils' flux is the volume; ours is the peak
    peak = np.asarray(made["flux_fit"]) / (2 * np.pi * np.sqrt(np.linalg.det(widths())))
    ratio = peak / found.flux_jy[rows]
    # both read the same pixels' noise through windows of 5 × 5 and an ellipse: their difference is a third of it
    assert np.median(ratio) == pytest.approx(1.0, abs=0.003)
    assert np.std(ratio) < 0.5 * np.median(found.stat_err_jy[rows] / found.flux_jy[rows])


def test_a_source_larger_than_the_beam_is_flagged_and_its_whole_flux_seen():
    shape, rng = (300, 300), np.random.default_rng(2)
    yy, xx = np.mgrid[:300, :300]
    image = 1e-4 * noise(shape, rng) + 0.05 * np.exp(-((xx - 150.3) ** 2 + (yy - 149.6) ** 2) / (2 * 4.0**2))
    image += points(shape, [60.0], [60.0], [0.05])
    out = forced.extract(
        image, np.full(shape, 1e-4), header(shape), np.array([150.3, 60.0]), np.array([149.6, 60.0])
    )
    assert out.resolved.tolist() == [True, False]
    assert out.flux_int_jy[0] > 1.3 * out.flux_jy[0]
    assert out.flux_int_jy[1] == pytest.approx(0.05, abs=5 * out.flux_int_err_jy[1])


def test_what_is_not_covered_has_no_flux_and_an_edge_is_told():
    shape, rng = (200, 200), np.random.default_rng(4)
    image = noise(shape, rng)
    image[:, 150:] = np.nan
    x = np.array([-3.0, 100.0, 148.6, 160.0, np.nan, 250.0])
    y = np.array([100.0, 100.0, 100.0, 100.0, np.nan, 20.0])
    out = forced.extract(image, np.ones(shape), header(shape), x, y)
    assert out.covered.tolist() == [False, True, True, False, False, False]
    assert out.edge.tolist() == [False, False, True, False, False, False]
    assert np.isnan(out.flux_jy[~out.covered]).all()


def test_bands_of_rows_make_no_difference(full, found, monkeypatch):
    monkeypatch.setattr(forced, "ROWS", 97)
    monkeypatch.setattr(forced, "CHUNK", 33)
    again = forced.extract(full.image, full.rms, full.header, full.x, full.y)
    np.testing.assert_allclose(
        again.flux_jy, found.flux_jy, rtol=1e-6
    )  # 32 bit floats summed in another order
    np.testing.assert_allclose(again.stat_err_jy, found.stat_err_jy, rtol=1e-6)


def test_places_of_a_mosaic_far_from_its_centre_are_found_by_its_own_grid():
    """SIN over 10 degrees: a place 5 degrees off lands on its pixel."""
    shape = (400, 400)
    wide = header(shape)
    wide["CDELT1"], wide["CDELT2"] = -90 / 3600, 90 / 3600
    wide["BMAJ"], wide["BMIN"] = BEAM_PIX[0] * 90 / 3600, BEAM_PIX[1] * 90 / 3600
    image = points(shape, [20.25], [380.5], [1.0])
    sky = WCS(wide).pixel_to_world(20.25, 380.5)
    x, y = WCS(wide).world_to_pixel(SkyCoord(sky.ra, sky.dec))
    out = forced.extract(image, np.full(shape, 1e-3), wide, np.array([x]), np.array([y]))
    assert out.flux_jy[0] == pytest.approx(1.0, abs=0.001)
