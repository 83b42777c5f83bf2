"""Interpolation of a tile onto its part of a mosaic: exact coordinates, no gaps that spread, reproject's numbers."""

import numpy as np
import pytest
from reproject import reproject_interp

from builders.tile_images import gaussian, header_beam, tile_wcs
from contimg.mosaic.grid import MosaicGrid
from contimg.mosaic.regrid import (
    BlockCoordinates,
    Sums,
    add_tile,
    blocks_of,
    covered_rectangle,
    interpolate_block,
)

BEAM = header_beam({"BMAJ": 120 / 3600, "BMIN": 120 / 3600, "BPA": 0.0})


def smooth_image(size, seed=0):
    """Sources of 4 pixels FWHM on a floor: what a tile looks like to a spline."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size].astype(float)
    image = np.zeros((size, size))
    for px, py in rng.uniform(0, size, (30, 2)):
        image += rng.uniform(0.1, 1) * gaussian(x - px, y - py, BEAM, 30.0)
    return image.astype(np.float32)


@pytest.mark.parametrize("dec_deg", [-5.0, 70.0, 85.0])
@pytest.mark.parametrize("cell_arcsec", [3.0, 30.0])
def test_the_coordinates_of_a_block_are_those_of_astropy(dec_deg, cell_arcsec):
    size = round(4096 * 3 / cell_arcsec)
    grid = MosaicGrid(0.0, dec_deg, 20.0, 5.0, cell_arcsec)
    mosaic, tile = grid.wcs(), tile_wcs(7.5, dec_deg, size, cell_arcsec)
    rectangle = covered_rectangle(tile, (size, size), mosaic, grid.shape)
    # Cubic on half a block h: h^4 / 192 of the fourth derivative. With 512 pixels of 30" (h = 0.037 rad, 7e3
    # pixels a radian, derivative ~ 1) that is 7e-5 pixel; with 3" a thousand times less.
    tolerance = 1e-4 if cell_arcsec == 30 else 1e-6
    for block in list(blocks_of(rectangle, tile, mosaic))[::5]:
        y, x = np.mgrid[block.y0 : block.y1 : 37, block.x0 : block.x1 : 41].astype(float)
        exact = tile.wcs_world2pix(*mosaic.wcs_pix2world(x.ravel(), y.ravel(), 0), 0)
        found = BlockCoordinates(block.coefficients, block.half).world_to_pixel_values(
            x.ravel() - block.x0, y.ravel() - block.y0
        )
        np.testing.assert_allclose(found, exact, atol=tolerance)


def test_blocks_tile_their_rectangle_once():
    count = np.zeros((700, 900), int)
    for block in blocks_of((13, 690, 5, 877), tile_wcs(0, 55, 512), tile_wcs(1, 55, 900), size=256):
        count[block.y0 : block.y1, block.x0 : block.x1] += 1
    assert (count[13:690, 5:877] == 1).all()
    assert count.sum() == 677 * 872


def test_a_rectangle_holds_every_pixel_that_the_tile_reaches():
    tile, mosaic, shape = tile_wcs(4.0, 70.0, 400), tile_wcs(0.0, 70.5, 1000), (1000, 1000)
    y0, y1, x0, x1 = covered_rectangle(tile, (400, 400), mosaic, shape)
    y, x = np.mgrid[:1000, :1000].astype(float)
    px, py = tile.wcs_world2pix(*mosaic.wcs_pix2world(x.ravel(), y.ravel(), 0), 0)
    inside = ((px >= 0) & (px <= 399) & (py >= 0) & (py <= 399)).reshape(shape)
    assert inside.any()
    inside[y0:y1, x0:x1] = False
    assert not inside.any()


def test_a_tile_elsewhere_covers_nothing():
    assert covered_rectangle(tile_wcs(40.0, 55.0, 64), (64, 64), tile_wcs(0.0, 55.0, 64), (64, 64)) is None
    assert covered_rectangle(tile_wcs(180.0, -55.0, 64), (64, 64), tile_wcs(0.0, 55.0, 64), (64, 64)) is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_blocks_give_what_one_call_of_reproject_gives(order, threads):
    size, wcs_tile, wcs_mosaic = 600, tile_wcs(1.0, 70.0, 600), tile_wcs(0.0, 70.3, 700)
    image = smooth_image(size)
    whole = reproject_interp((image, wcs_tile), wcs_mosaic, (700, 700), order=order, return_footprint=False)
    sums = Sums.zeros((700, 700), method="weighted")
    add_tile(
        sums,
        image,
        np.ones_like(image),
        wcs_tile=wcs_tile,
        wcs_mosaic=wcs_mosaic,
        order=order,
        threads=threads,
    )
    blockwise, _ = sums.finish()
    both = np.isfinite(blockwise) & np.isfinite(whole)
    assert both.sum() > 0.99 * np.isfinite(whole).sum()
    difference = np.abs(blockwise - whole)[both]
    if order == 0:
        # Coordinates within 1e-4 pixel: a few pixels in 1e5 may round to the other neighbour.
        assert np.mean(difference > 0) < 1e-3
    else:
        # 1e-4 pixel times the steepest slope, 0.36 of the peak a pixel, is 4e-5 at most, in places.
        assert difference.max() < 4e-5 * image.max()


def test_a_gap_takes_only_the_pixels_that_touch_it():
    """Not whole rows and columns, as NaN in a cubic spline would."""
    image, weight = smooth_image(300), np.ones((300, 300), np.float32)
    weight[140:160, 100:120] = np.nan
    tile, mosaic = tile_wcs(0.02, 55.0, 300), tile_wcs(0.0, 55.0, 300)
    (block,) = blocks_of((0, 300, 0, 300), tile, mosaic)
    values, weights = interpolate_block(block, image, weight, order=3)
    y, x = np.mgrid[:300, :300].astype(float)
    px, py = (
        v.reshape(300, 300) for v in tile.wcs_world2pix(*mosaic.wcs_pix2world(x.ravel(), y.ravel(), 0), 0)
    )
    inside = (px > 1) & (px < 298) & (py > 1) & (py < 298)
    touches = (np.floor(px) >= 99) & (np.floor(px) <= 119) & (np.floor(py) >= 139) & (np.floor(py) <= 159)
    np.testing.assert_array_equal(np.isfinite(weights)[inside], ~touches[inside])
    assert np.isfinite(values[inside]).all()


def test_bicubic_keeps_the_peak_of_a_source_that_bilinear_loses():
    y, x = np.mgrid[:64, :64].astype(float)
    image = gaussian(x - 32, y - 32, BEAM, 30.0).astype(np.float32)
    peaks = {}
    for order in (1, 3):
        # Half a pixel off in both axes, where interpolation is worst.
        (block,) = blocks_of((0, 64, 0, 64), tile_wcs(0, 0, 64), shifted(0.5))
        peaks[order] = interpolate_block(block, image, np.ones_like(image), order=order)[0].max()
    truth = gaussian(np.array(0.5), np.array(0.5), BEAM, 30.0)
    # Cubic spline of a Gaussian of 4 pixels FWHM: its transform is exp(-(pi s)^2 / 2) = 6e-7 at Nyquist, and
    # what the spline attenuates below is a few 1e-3.
    assert peaks[3] == pytest.approx(truth, rel=5e-3)
    # Bilinear: 1/8 of the second derivative on each axis, 2 x 1/8 x 8 ln 2 / 16 = 8.7 % less a bit.
    assert 0.03 < 1 - peaks[1] / truth < 0.09


def shifted(pixels):
    wcs = tile_wcs(0, 0, 64)
    wcs.wcs.crpix = wcs.wcs.crpix + pixels
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("method", ["weighted", "mean"])
def test_sums_are_the_means_they_are_called(method):
    rng = np.random.default_rng(5)
    values, weights = rng.normal(size=(3, 8, 9)), rng.uniform(0.5, 4, size=(3, 8, 9))
    weights[0, :4] = np.nan
    sums = Sums.zeros((20, 20), method=method)
    (block,) = blocks_of((4, 12, 6, 15), tile_wcs(0, 0, 64), tile_wcs(0, 0, 64))
    brought = [sums.add(block, v, w) for v, w in zip(values, weights, strict=True)]
    np.testing.assert_allclose(brought, np.nansum(weights, axis=(1, 2)))
    image, inverse_variance = sums.finish()
    used = np.where(np.isfinite(weights), values, np.nan)
    if method == "weighted":
        expected = np.nansum(weights * values, axis=0) / np.nansum(weights, axis=0)
        expected_variance = 1 / np.nansum(weights, axis=0)
    else:
        expected = np.nanmean(used, axis=0)
        expected_variance = np.nansum(1 / weights, axis=0) / np.isfinite(weights).sum(axis=0) ** 2
    here = np.s_[4:12, 6:15]
    # float32 sums: 6e-8 each.
    np.testing.assert_allclose(image[here], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(1 / inverse_variance[here], expected_variance, rtol=1e-5)
    outside = np.ones((20, 20), bool)
    outside[here] = False
    assert np.isnan(image[outside]).all()
    assert (inverse_variance[outside] == 0).all()
