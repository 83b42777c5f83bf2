"""The picture of a mosaic shows its sources, where they are."""

import numpy as np
from astropy.io import fits
from matplotlib.image import imread

from builders.tile_images import tile_wcs
from contimg.core.pictures import shrink, where_data_are
from contimg.mosaic.picture import save_picture


def test_a_point_source_survives_shrinking():
    image = np.full((10, 13), -1.0)
    image[4, 7] = 5.0
    image[:, :3] = np.nan
    small = shrink(image, 3)
    assert small.shape == (3, 4)
    assert small[1, 2] == 5.0
    assert np.isnan(small[:, 0]).all()
    assert (small[:, 1:].ravel() == -1).sum() == 8


def test_a_pixel_of_the_shrunk_image_lies_in_the_middle_of_its_block():
    wcs = tile_wcs(10.0, 55.0, 600)
    ra, dec = wcs.wcs_pix2world([31.0], [43.0], 0)
    x, y = wcs[::3, ::3].wcs_world2pix(ra, dec, 0)
    assert np.allclose((x[0], y[0]), (10.0, 14.0), atol=1e-6)


def test_a_source_is_black_in_the_picture_and_east_is_left(tmp_path):
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1e-3, (300, 300)).astype(np.float32)
    image[140:160, 40:60] = 1.0  # low x: east
    header = tile_wcs(10.0, 55.0, 300).to_header()
    header["BMAJ"], header["BMIN"], header["BPA"], header["BEAMMODE"] = 0.05, 0.03, 20.0, "common"
    header["OBJECT"], header["DATE-OBS"], header["NTILES"] = "0040+55", "2025-10-30T13:00:00", 3
    save_picture(tmp_path / "m.png", image, np.full_like(image, 1e-3), fits.Header(header))
    picture = imread(tmp_path / "m.png")[..., :3].mean(axis=2)
    black = picture < 0.02
    # A 20 x 20 block of black pixels is the source: nothing else in the frame (text, ticks) is as thick.
    inside = np.lib.stride_tricks.sliding_window_view(black, (20, 20)).all(axis=(2, 3))
    rows, columns = np.nonzero(inside)
    assert rows.size > 0
    assert columns.min() < 0.4 * picture.shape[1]
    assert 0.3 < rows.mean() / picture.shape[0] < 0.7


def test_a_picture_is_cropped_to_its_data_with_a_margin_and_an_empty_image_is_whole():
    image = np.full((400, 1000), np.nan)
    image[100:200, 300:800] = 0.0
    # margins of 2 % of 100 rows and of 500 columns
    assert where_data_are(image) == (slice(98, 202), slice(290, 810))
    image[:] = np.nan
    assert where_data_are(image) == (slice(0, 400), slice(0, 1000))
