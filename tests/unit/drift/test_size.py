"""Sizes of sources from what a point leaves of them: closed forms of Gaussians, in noise and beside other errors."""

import numpy as np
import pytest

from contimg.drift.size import fitted_sizes

# root mean square baselines of four ranges, at four frequencies, in wavelengths: up to 2.3 km at 1.4 GHz
UV_SQUARED = np.outer(np.array([600.0, 1800.0, 3800.0, 9000.0]) ** 2, np.linspace(0.94, 1.06, 4))
TIMES = 6
CELL_WEIGHT = 1.0e6  # of 1 Jy, each of 96 cells: S/N 10^4 for 1 Jy


def measured(fwhm_arcsec, *, flux_jy=1.0, seed=1, extra=0.0):
    """Fluxes and residual cells of a Gaussian that was fitted as a point, with noise; `extra` Jy rms in each cell."""
    rng = np.random.default_rng(seed)
    q = (np.pi * np.radians(fwhm_arcsec / 3600)) ** 2 / (4 * np.log(2))
    fall = np.broadcast_to(np.exp(-q * UV_SQUARED), (1, TIMES, 4, 4))
    point = fall.mean()  # equal weights: what least squares make of it
    cells = np.zeros((1, TIMES, 4, 4, 3))
    noise = rng.normal(0, 1, (*fall.shape, 2)) * np.sqrt(CELL_WEIGHT)
    cells[..., 0] = (
        CELL_WEIGHT * (flux_jy * (fall - point) + extra * rng.normal(0, 1, fall.shape)) + noise[..., 0]
    )
    cells[..., 1] = noise[..., 1]
    cells[..., 2] = CELL_WEIGHT
    chi2 = np.array([(cells[..., :2] ** 2).sum() / CELL_WEIGHT / (2 * TIMES * 16 - 1)])
    return fitted_sizes(np.array([flux_jy * point]), cells, UV_SQUARED, 1.0, chi2)


@pytest.mark.parametrize("fwhm_arcsec", [8.0, 20.0, 50.0, 90.0])
def test_a_gaussian_has_its_size_and_is_resolved(fwhm_arcsec):
    size, resolved = measured(fwhm_arcsec)
    assert resolved.all()
    # the grid of sizes has steps of 5 %
    assert size[0] == pytest.approx(fwhm_arcsec, rel=0.06)


@pytest.mark.parametrize("seed", range(10))
def test_a_point_is_no_gaussian(seed):
    _, resolved = measured(0.0, seed=seed)
    assert not resolved.any()


@pytest.mark.parametrize("seed", range(10))
def test_a_point_beside_what_other_sources_leave_is_no_gaussian(seed):
    # 3 % in each cell, 30 times the noise: no fall with baseline length explains it
    _, resolved = measured(0.0, seed=seed, extra=0.03)
    assert not resolved.any()


def test_a_size_that_takes_little_is_not_held_against_a_bright_source():
    # phases that scatter by 10 deg on long baselines take 1.5 %, with 1000 sigma
    size, resolved = measured(2.5, flux_jy=10.0)
    assert size[0] > 0
    assert not resolved.any()
