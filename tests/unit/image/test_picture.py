"""The picture of a tile: it shows what it should, quickly."""

import time

import numpy as np
from astropy.io.fits import Header
from matplotlib.image import imread

from contimg.image.picture import MAX_PIXELS, largest_of_blocks, save_picture


def make_header(nx: int, ny: int) -> Header:
    header = Header()
    for axis, (kind, value, step, size) in enumerate(
        (("RA---SIN", 0.2, -4.0, nx), ("DEC--SIN", 60.0, 4.0, ny)), start=1
    ):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CUNIT{axis}"] = kind, value, "deg"
        header[f"CDELT{axis}"], header[f"CRPIX{axis}"], header[f"NAXIS{axis}"] = (
            step / 3600,
            size / 2 + 1,
            size,
        )
    header["BMAJ"], header["BMIN"], header["BPA"] = 20 / 3600, 12 / 3600, 45.0
    header["OBJECT"], header["RESTFRQ"], header["ORIGIN"] = "2025-10-30T13:00:00", 1.405e9, "contimg test"
    return header


def test_shrinking_keeps_the_strongest_of_either_sign_and_skips_nan():
    image = np.array([[1.0, -5.0, np.nan, np.nan], [2.0, 3.0, np.nan, 0.5]])
    np.testing.assert_array_equal(largest_of_blocks(image, 2), [[-5.0, 0.5]])


def test_a_large_image_with_one_bright_pixel_shows_it_within_three_seconds(tmp_path):
    nx, ny = 5400, 4320
    image = np.random.default_rng(0).normal(0, 1e-3, (ny, nx)).astype(np.float32)
    pb = np.ones((ny, nx), np.float32)
    pictures = {}
    for name, place in (("left", (1000, 2160)), ("right", (4400, 2160))):
        one = image.copy()
        one[place[1], place[0]] = 5.0
        start = time.process_time()
        save_picture(tmp_path / f"{name}.png", one, make_header(nx, ny), pb=pb, rms_jy=1e-3, sources=[place])
        assert time.process_time() - start < 6  # 2 s on an idle core
        pictures[name] = imread(tmp_path / f"{name}.png")[..., :3]
    height, width, _ = pictures["left"].shape
    assert 600 < width < 2000
    assert max(nx, ny) > 2 * MAX_PIXELS
    # the circle (blue: more blue than red) is where the source is; the grid is blue too, but everywhere the same
    differs = np.abs(pictures["left"] - pictures["right"]).max(axis=2) > 0.2
    blue = pictures["left"][..., 2] - pictures["left"][..., 0] > 0.3
    columns = np.flatnonzero((differs & blue).any(axis=0))
    assert len(columns)
    assert columns.min() > 0.1 * width
    assert columns.max() < 0.5 * width
    assert height > 0.5 * width


def test_a_beam_level_given_twice_is_drawn_once(tmp_path):
    # imaging.pb_limit may be the half-power level, which is drawn anyway
    y, x = np.indices((120, 160), dtype=np.float32)
    pb = np.exp(-((x - 80) ** 2 + (y - 60) ** 2) / 3000).astype(np.float32)
    image = np.random.default_rng(0).normal(0, 1e-3, pb.shape).astype(np.float32)
    for name, levels in (("once", (0.5,)), ("twice", (0.5, 0.5))):
        save_picture(
            tmp_path / f"{name}.png", image, make_header(160, 120), pb=pb, rms_jy=1e-3, pb_levels=levels
        )
    np.testing.assert_array_equal(*(imread(tmp_path / f"{name}.png") for name in ("once", "twice")))
