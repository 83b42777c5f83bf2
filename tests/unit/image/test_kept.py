"""`imaging.keep` with every imager: the point spread function, the dirty image, and what CLEAN makes of them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from builders.imaging_sky import clean_alone, make_tile, through_image_job

ANTENNAS = (*range(1, 52, 5), *range(68, 103, 4), 103, 105, 109)
SOURCES = [(0.03, 0.02, 0.5, -0.7), (-0.04, 0.03, 0.3, -0.7)]
KEPT = ("dirty", "psf", "model", "residual")


@pytest.fixture(scope="module", params=["ducc0", "wsclean", "tclean"])
def kept(request, tmp_path_factory):
    """Planes of a tile of two points, its header and what is true of it."""
    root = tmp_path_factory.mktemp("kept")
    truth = make_tile(root / "t.ms", SOURCES, dec_deg=37.0, antennas=ANTENNAS, n_times=4, n_channels=16)
    options = clean_alone(backend=request.param, imsize=256, keep=KEPT)
    (root / "out").mkdir()
    metrics = through_image_job(
        root / "t.ms", truth, root / "out", options=options, scratch=root, log=root / "log"
    )
    tile = root / "out" / truth.meta.tile
    header = fits.getheader(f"{tile}.dirty.fits")
    planes = {kind: fits.getdata(f"{tile}.{kind}.fits").astype(float) for kind in KEPT}
    return planes, header, truth, metrics


def test_the_point_spread_function_is_one_at_the_phase_centre_and_nowhere_more(kept):
    planes, header, _, _ = kept
    psf = planes["psf"]
    middle = int(header["CRPIX2"]) - 1, int(header["CRPIX1"]) - 1
    assert psf[middle] == pytest.approx(1.0, abs=1e-3)  # gridded to 1e-4
    assert np.unravel_index(np.argmax(psf), psf.shape) == middle
    assert header["BUNIT"] == "Jy/beam"


def test_the_dirty_image_is_the_sky_through_that_function(kept):
    """D(s) = Σ S psf(s - source) + noise, with the PSF moved by fractions of a pixel as its Fourier phases say."""
    planes, header, truth, metrics = kept
    x, y = WCS(header).world_to_pixel(truth.positions)
    true = truth.flux_at(header["RESTFRQ"]) * truth.beam.mean(axis=(0, 1))
    ny, nx = planes["psf"].shape
    v, u = np.fft.fftfreq(ny)[:, np.newaxis], np.fft.fftfreq(nx)
    sky = sum(
        s * np.exp(-2j * np.pi * (u * (a - nx // 2) + v * (b - ny // 2)))
        for s, a, b in zip(true, x, y, strict=True)
    )
    predicted = np.fft.ifft2(np.fft.fft2(planes["psf"]) * sky).real
    inside = (slice(64, -64),) * 2  # farther out sidelobes are wrapped round the edge
    # noise of 128 x 128 pixels; the beam changes by 1 % as sources drift through it, not alike for all baselines
    miss = np.abs((planes["dirty"] - predicted)[inside]).max()
    assert miss < 0.02 * true.max() + 5 * metrics["rms_jy"]
    assert predicted[inside].max() > 20 * metrics["rms_jy"]


def test_clean_took_its_model_through_that_function_out_of_that_image(kept):
    """Dirty - residual = model * PSF; over a drifting field the PSF is the same to a part of its sidelobes."""
    planes, _, _, metrics = kept
    taken = planes["dirty"] - planes["residual"]
    around = np.fft.fft2(np.fft.ifftshift(planes["psf"]))
    predicted = np.fft.ifft2(around * np.fft.fft2(planes["model"])).real
    inside = (slice(64, -64),) * 2
    assert np.abs(taken[inside]).max() > 20 * metrics["rms_jy"]
    assert np.abs((taken - predicted)[inside]).max() < 0.03 * np.abs(taken).max()
