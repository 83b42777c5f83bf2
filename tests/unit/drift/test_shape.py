"""Gaussian sources: their axes, the many points that one stands for, and fits to noisy ones."""

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.hermite import hermgauss

from builders.drift_tiles import make_meta
from contimg.drift.fit import fit_data
from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.shape import axes_of, moved, roots, widths_of
from contimg.drift.state import FitOptions

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
SHAPE = {"major_arcsec": 40.0, "minor_arcsec": 15.0, "angle_deg": 30.0}


def table(meta, **columns):
    """Sources 0.3 deg from the phase centre unless said otherwise."""
    place = {
        "ra_deg": np.degrees(meta.phase_ra_rad) + 0.3,
        "dec_deg": np.degrees(meta.phase_dec_rad) + 0.2,
        "flux_jy": 2.0,
        "spectral_index": -0.7,
    }
    return pd.DataFrame([{**place, **columns}])


def test_axes_go_into_widths_and_come_back():
    major, minor, angle = (
        np.array([40.0, 30.0, 9.0]),
        np.array([15.0, 30.0, 0.0]),
        np.array([150.0, 0.0, 90.0]),
    )
    found = axes_of(widths_of(major, minor, angle))
    np.testing.assert_allclose(found[0], major, atol=1e-5)
    np.testing.assert_allclose(found[1], minor, atol=1e-5)
    np.testing.assert_allclose(found[2][[0, 2]], angle[[0, 2]], atol=1e-5)


def test_the_roots_give_the_fall_of_a_circle():
    # full width 20 arcsec: half of the flux is left at 0.441 / 20 arcsec (the width of a Gaussian's transform)
    root = roots(widths_of([20.0], [20.0], [0.0]))[0]
    u = 0.44127 / np.radians(20 / 3600)
    assert np.exp(-np.sum((root @ [u, 0.0]) ** 2)) == pytest.approx(0.5, abs=1e-4)


def test_a_step_beyond_zero_is_held_there_and_a_long_one_is_cut():
    start = widths_of([20.0], [10.0], [0.0])
    flat, below = moved(start, -widths_of([0.0], [0.0], [0.0]) - widths_of([14.0], [14.0], [0.0]))
    assert below.all()
    assert axes_of(flat)[1] == pytest.approx(0.0, abs=1e-6)
    far, below = moved(start, widths_of([900.0], [900.0], [0.0]))
    assert not below.any()
    np.testing.assert_allclose(far, start + widths_of([20.0], [20.0], [0.0]) / 2, rtol=1e-9)


def test_a_gaussian_shows_what_the_points_it_stands_for_do():
    # 24 x 24 nodes of Gauss-Hermite quadrature over the sky: exact for polynomials of degree 47 in the offset
    meta = make_meta(n_ant=8, n_chan=9, width_hz=20e6)
    nodes, weights = hermgauss(24)
    along, across = (
        np.sqrt(2) * nodes * SHAPE[axis] / FWHM_PER_SIGMA / 3600 for axis in ("major_arcsec", "minor_arcsec")
    )
    a, b = (grid.ravel() for grid in np.meshgrid(along, across))
    share = np.outer(weights, weights).T.ravel() / np.pi
    sine, cosine = np.sin(np.radians(SHAPE["angle_deg"])), np.cos(np.radians(SHAPE["angle_deg"]))
    one = table(meta)
    dec = one["dec_deg"].iloc[0] + a * cosine + b * sine
    points = pd.DataFrame(
        {
            "ra_deg": one["ra_deg"].iloc[0] + (a * sine - b * cosine) / np.cos(np.radians(dec)),
            "dec_deg": dec,
            "flux_jy": 2.0 * share,
            "spectral_index": -0.7,
        }
    )
    array = DriftArray(meta, beam=None, smearing=False)
    gaussian, sampled = (
        array.view(PointSources.from_table(sources)).predict(1) for sources in (one.assign(**SHAPE), points)
    )
    assert np.abs(gaussian).min() < 0.5  # the longest baselines resolve it
    # 2e-4 of 2 Jy for the parabola over the band (`drift_kernels.predict_rows`), as much for sums in single precision
    np.testing.assert_allclose(gaussian, sampled, atol=8e-4)


class InMemory:
    """Visibilities of what a table says, in noise."""

    def __init__(self, meta, sources, noise_jy, seed):
        rng = np.random.default_rng(seed)
        view = DriftArray(meta, beam=None).view(PointSources.from_table(sources))
        self.meta = meta
        shape = len(meta.ant1), len(meta.freq_hz)
        self.weight = np.where((meta.ant1 != meta.ant2)[:, None], noise_jy**-2, 0.0).astype(np.float32)
        self.weight = np.broadcast_to(self.weight, shape).copy()
        self.vis = [
            (view.predict(i) + noise_jy * (rng.normal(size=shape) + 1j * rng.normal(size=shape))).astype(
                np.complex64
            )
            for i in range(meta.n_times)
        ]

    def read(self, i):
        return self.vis[i], self.weight


@pytest.mark.parametrize("seed", [1, 2])
def test_a_gaussian_beside_a_point_has_its_flux_and_shape_and_the_point_stays_one(seed):
    meta = make_meta(n_ant=14, n_times=4, n_chan=16, width_hz=10e6)
    true = pd.concat(
        [
            table(meta, name="wide", **SHAPE),
            table(meta, name="point", ra_deg=np.degrees(meta.phase_ra_rad) - 0.2, flux_jy=1.0),
        ],
        ignore_index=True,
    ).fillna(0.0)
    data = InMemory(meta, true, 0.3, seed)
    begun = true[["name", "ra_deg", "dec_deg"]].assign(flux_jy=1.0)
    found = fit_data(data, DriftArray(meta, beam=None), begun, options=FitOptions())
    wide, point = found.table.iloc[0], found.table.iloc[1]
    assert found.converged
    assert [row["flags"] for row in (wide, point)] == ["resolved", ""]
    # 91 x 4 x 16 visibilities of 0.3 Jy: 4 mJy for a point; 4 errors, and the parabola over the band
    for row, flux in ((wide, 2.0), (point, 1.0)):
        assert abs(row["flux_jy"] - flux) < 4 * row["flux_err_jy"] + 5e-4 * flux
    assert wide["flux_err_jy"] < 0.03
    assert wide["major_arcsec"] == pytest.approx(40.0, rel=0.03)
    assert wide["minor_arcsec"] == pytest.approx(15.0, rel=0.06)
    assert wide["angle_deg"] == pytest.approx(30.0, abs=2.0)
    assert point["major_arcsec"] == point["minor_arcsec"] == 0
    assert wide["fwhm_arcsec"] == pytest.approx(np.hypot(40, 15) / np.sqrt(2), rel=0.03)
    assert found.chi2 / (2 * found.n_visibilities) == pytest.approx(1.0, abs=0.03)


def test_a_faint_source_is_given_a_shape_unless_it_is_to_stay_a_point():
    meta = make_meta(n_ant=14, n_times=4, n_chan=16, width_hz=10e6)
    true = table(meta, name="wide", **{**SHAPE, "flux_jy": 0.2})
    array = DriftArray(meta, beam=None)
    data = InMemory(meta, true, 0.3, 3)
    begun = true[["name", "ra_deg", "dec_deg"]].assign(flux_jy=0.1)
    free, held = (
        fit_data(data, array, begun, options=FitOptions(shape_snr=least)).table.iloc[0] for least in (0, 30)
    )
    assert free["flags"] == "resolved"
    assert abs(free["flux_jy"] - 0.2) < 3 * free["flux_err_jy"] < 0.06
    assert held["snr"] < 30
    assert (held["flags"], held["major_arcsec"]) == ("", 0)
