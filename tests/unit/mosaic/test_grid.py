"""The grids of mosaics: fixed, large enough, one projection, on the circle in right ascension."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from builders.tile_images import TILE_MINUTES, tile_wcs
from contimg.core.errors import ConfigError
from contimg.mosaic.grid import (
    MosaicGrid,
    circular_mean_deg,
    grid_from_tiles,
    image_cell_arcsec,
    image_outline,
    ladder_cell,
    project_sin,
    window_grid,
)

STRIPS = [(-5.0, 150.0), (55.0, 0.0), (70.0, 359.9), (85.0, 30.0)]


def pixels_inside(grid, position):
    x, y = grid.wcs().world_to_pixel(position)
    rows, columns = grid.shape
    return (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)


@pytest.mark.parametrize(("dec_deg", "ra_deg"), STRIPS)
def test_a_window_holds_every_tile_whose_middle_is_in_it(dec_deg, ra_deg):
    grid = window_grid(ra_deg, dec_deg, 60.0, 2.0, 30.0)
    around = np.arange(0, 360, 10) * u.deg
    for offset_deg in (-7.5, -4.0, 0.0, 7.5):
        centre = SkyCoord(ra_deg + offset_deg, dec_deg, unit="deg")
        assert pixels_inside(grid, centre.directional_offset_by(around, 2.0 * u.deg)).all()


@pytest.mark.parametrize(("dec_deg", "ra_deg"), STRIPS)
def test_a_window_is_not_much_larger_than_its_tiles(dec_deg, ra_deg):
    grid = window_grid(ra_deg, dec_deg, 60.0, 2.0, 30.0)
    # 15 deg of right ascension between the outermost middles, a radius and the margin of 0.2 deg on each side.
    widest = 2 * (np.rad2deg(np.sin(np.deg2rad(7.5))) * np.cos(np.deg2rad(dec_deg)) + 2.2)
    assert grid.width_deg == pytest.approx(widest, rel=1e-9)


def test_the_tangent_point_is_the_centre_of_a_pixel():
    grid = MosaicGrid(10.0, 55.0, 3.01, 2.02, 7.0)
    rows, columns = grid.shape
    assert (rows % 2, columns % 2) == (0, 0)
    x, y = grid.wcs().wcs_world2pix([10.0], [55.0], 0)
    assert (x[0], y[0]) == pytest.approx((columns / 2, rows / 2), abs=1e-9)


def test_a_window_across_zero_hours_is_the_same_as_elsewhere():
    here, there = (window_grid(ra, 55.0, 60.0, 2.0, 30.0) for ra in (0.0, 123.0))
    assert here.shape == there.shape
    assert window_grid(360.0, 55.0, 60.0, 2.0, 30.0) == here


@pytest.mark.parametrize("minutes", [120.0, 300.0, 1440.0])
def test_a_window_wider_than_one_projection_is_refused(minutes):
    with pytest.raises(ConfigError, match=r"SIN projection.*mosaic\.width_minutes"):
        window_grid(10.0, -5.0, minutes, 2.0, 30.0)


def test_120_minutes_fit_where_the_strip_is_narrow():
    assert window_grid(10.0, 70.0, 120.0, 2.0, 30.0).width_deg < 30


def test_a_grid_without_size_is_refused():
    with pytest.raises(ConfigError, match="positive sizes"):
        MosaicGrid(0.0, 0.0, 1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("cell", "rung"),
    [
        (3.0, 3.0),
        (2.9997, 3.0),
        (3.0003, 3.0),
        (2.99, 2.5),
        (3.49, 3.0),
        (1.74, 1.5),
        (0.5, 0.5),
        (0.38, 0.35),
        (30.2, 30.0),
    ],
)
def test_cells_fall_on_the_rung_below(cell, rung):
    assert ladder_cell(cell) == pytest.approx(rung, abs=1e-12)


def test_a_cell_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="positive cell"):
        ladder_cell(0.0)


def test_the_mean_of_359_and_1_is_0():
    assert circular_mean_deg([359.0, 1.0]) == pytest.approx(0.0, abs=1e-9)
    assert circular_mean_deg([350.0, 355.0]) == pytest.approx(352.5)


@pytest.mark.parametrize("dec_deg", [-5.0, 70.0])
def test_the_projection_is_that_of_astropy(dec_deg):
    wcs = MosaicGrid(359.0, dec_deg, 20.0, 20.0, 30.0).wcs()
    rng = np.random.default_rng(3)
    ra, dec = 359 + rng.uniform(-8, 8, 50), dec_deg + rng.uniform(-4, 4, 50)
    east, north = project_sin(ra, dec, centre_ra_deg=359.0, centre_dec_deg=dec_deg)
    x, y = wcs.wcs_world2pix(ra, dec, 1)
    # Double precision on 1200 pixels: 1e-9 pixel leaves room for a few roundings.
    np.testing.assert_allclose(-(x - wcs.wcs.crpix[0]) * 30 / 3600, east, atol=1e-9)
    np.testing.assert_allclose((y - wcs.wcs.crpix[1]) * 30 / 3600, north, atol=1e-9)


def test_the_other_hemisphere_has_no_projection():
    east, north = project_sin(np.array([190.0]), np.array([0.0]), centre_ra_deg=10.0, centre_dec_deg=0.0)
    assert np.isnan(east[0])
    assert np.isnan(north[0])


@pytest.mark.parametrize(("dec_deg", "ra_deg"), STRIPS)
def test_a_grid_from_tiles_covers_all_of_them_and_little_more(dec_deg, ra_deg):
    images = [(tile_wcs(ra_deg + i * TILE_MINUTES / 4, dec_deg, 400), (400, 400)) for i in range(8)]
    grid = grid_from_tiles(images)
    rows, columns = grid.shape
    x, y = np.hstack([grid.wcs().wcs_world2pix(*image_outline(*image), 0) for image in images])
    assert x.min() >= 0
    assert y.min() >= 0
    assert x.max() <= columns - 1
    assert y.max() <= rows - 1
    # The grid is as high as the tiles reach (+- 3 pixels of border and rounding), about their middle.
    assert rows - (y.max() - y.min()) < 8
    assert grid.cell_arcsec == 30.0


def test_a_grid_from_tiles_takes_the_finest_cell():
    images = [(tile_wcs(10.0, 55.0, 64, cell), (64, 64)) for cell in (30.0, 12.3)]
    assert grid_from_tiles(images).cell_arcsec == 12.0
    assert image_cell_arcsec(images[1][0]) == pytest.approx(12.3)


def test_tiles_of_half_a_day_are_refused():
    images = [(tile_wcs(ra, 0.0, 64), (64, 64)) for ra in range(0, 180, 10)]
    with pytest.raises(ConfigError, match="shorter range"):
        grid_from_tiles(images)
