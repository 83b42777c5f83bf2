"""The model of a calibrator that is no point: what its components show on a baseline."""

import numpy as np
import pytest

from builders.synthetic_ms import make_calibrator_ms
from contimg.calibrate.model import DriftModel, source_table
from contimg.calibrate.transit import resolution_arcsec
from contimg.sky.calibrators import Calibrator
from contimg.telescope.beam import AiryBeam


@pytest.fixture(scope="module")
def transit(tmp_path_factory):
    return make_calibrator_ms(tmp_path_factory.mktemp("model") / "cal.ms", n_ant=6, n_times=2, n_chan=4)


def test_a_double_shows_its_separation_on_long_baselines_and_all_its_flux_on_short_ones(transit):
    meta, point = transit.meta, transit.calibrator
    apart = 30.0  # arcsec, so that 1 km sees it
    double = Calibrator(
        point.name, point.ra_deg, point.dec_deg, point.flux_jy, point.spectral_index, "made up", 0.0,
        f"0.5:0:{apart / 2} 0.5:0:-{apart / 2}",
    )  # fmt: skip
    alone, two = (DriftModel(meta, source, [], AiryBeam(4.65)) for source in (point, double))
    ratio = two.predict(1) / alone.predict(1)
    # a symmetric double keeps its phase and has cos(pi v s) of its flux; v from the set's own uvw, to first order
    from casacore import tables

    with tables.table(str(transit.path), ack=False) as table:
        v = table.getcol("UVW", meta.n_baselines, meta.n_baselines)[:, 1]
    expected = np.cos(np.pi * np.outer(v, meta.freq_hz / 299792458.0) * np.radians(apart / 3600))
    np.testing.assert_allclose(ratio, expected, atol=2e-3)
    assert expected.min() < 0.9
    assert two.mean_apparent_jy[0] == pytest.approx(alone.mean_apparent_jy[0])


def test_curvature_is_in_the_model(transit):
    meta, point = transit.meta, transit.calibrator
    values = (point.name, point.ra_deg, point.dec_deg, point.flux_jy, point.spectral_index, "made up")
    curved = Calibrator(*values, -3.0)
    alone, bent = (DriftModel(meta, source, [], AiryBeam(4.65)) for source in (point, curved))
    ratio = np.abs(bent.predict(0) / alone.predict(0))
    expected = 10 ** (-3.0 * np.log10(meta.freq_hz / 1.4e9) ** 2)
    np.testing.assert_allclose(ratio, np.broadcast_to(expected, ratio.shape), rtol=1e-5)
    np.testing.assert_allclose(curved.flux_at(meta.freq_hz) / point.flux_at(meta.freq_hz), expected)


def test_components_stand_where_they_are_said_to(transit):
    source = Calibrator("A", 10.0, 60.0, 4.0, -0.7, "made up", 0.0, "0.75:10:0 0.25:0:-5:3:2:40")
    table = source_table([source])
    assert list(table["flux_jy"]) == [3.0, 1.0]
    np.testing.assert_allclose((table["ra_deg"] - 10.0) * 3600, [20.0, 0.0], atol=1e-9)  # cos 60 deg
    np.testing.assert_allclose((table["dec_deg"] - 60.0) * 3600, [0.0, -5.0], atol=1e-9)
    assert tuple(table.loc[1, ["major_arcsec", "minor_arcsec", "angle_deg"]]) == (3.0, 2.0, 40.0)


def test_the_resolution_is_that_of_the_longest_baseline(transit):
    positions = transit.meta.antenna_positions_m
    longest = max(np.linalg.norm(a - b) for a in positions for b in positions)
    expected = np.degrees(299792458.0 / transit.meta.freq_hz.mean() / longest) * 3600
    assert resolution_arcsec(transit.meta) == pytest.approx(min(60.0, expected), rel=1e-6)
