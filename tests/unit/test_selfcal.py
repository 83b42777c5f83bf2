"""Gains that drifted since the transit are found in the tile itself; where nothing drifted nothing is changed."""

import shutil

import numpy as np
import pytest
from casacore import tables

from contimg.beam import AiryBeam
from contimg.drift_fit import fit
from contimg.ms import read_meta
from contimg.selfcal import selfcal
from contimg.simulate.options import Source

from .drift_tiles import average, simulated_ms, table_of

SOURCES = (
    Source(name="A", ra_deg=128.7287, dec_deg=55.5725, flux_jy=6.0, spectral_index=-0.7),
    Source(name="B", ra_deg=129.6, dec_deg=55.0, flux_jy=1.5, spectral_index=-0.7),
)
BEAM = AiryBeam(4.65)


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    """A tile of fourteen antennas with noise and gains of 1."""
    folder = tmp_path_factory.mktemp("selfcal")
    return average(simulated_ms(folder, SOURCES), folder / "averaged.ms", 1)


def drifted(perfect, path):
    """A copy in which each antenna and hand is off by 30 deg and 3 % rms; amplitudes have a geometric mean of 1."""
    shutil.copytree(perfect, path)
    meta = read_meta(path)
    rng = np.random.default_rng(8)
    size = (len(meta.antenna_names), 2)
    used = np.unique([meta.ant1, meta.ant2])
    logs = 0.03 * rng.normal(size=size)
    logs -= logs[used].mean(axis=0)
    gain = np.exp(logs + 1j * np.radians(30.0) * rng.normal(size=size))
    with tables.table(str(path), readonly=False, ack=False) as table:
        data = table.getcol("DATA").reshape(meta.shape)
        data *= (gain[meta.ant1] * gain[meta.ant2].conj())[np.newaxis, :, np.newaxis]
        table.putcol("DATA", data.reshape(-1, *meta.shape[2:]).astype(np.complex64))
    return path


def fitted(ms):
    return fit(ms, table_of(SOURCES), beam=BEAM, threads=2)


def calibrate(ms, sources, mode, folder):
    return selfcal(ms, sources, mode=mode, beam=BEAM, scratch=folder, threads=2, log=folder / "casa.log")


def test_drifted_gains_are_found_and_the_fluxes_come_back(perfect, tmp_path):
    ms = drifted(perfect, tmp_path / "drifted.ms")
    wrong = fitted(ms)
    # exp(-(30°)²) of the flux is left by phases of 30° rms on both ends of every baseline: 0.76
    assert wrong.table["flux_jy"].iloc[0] < 0.9 * SOURCES[0].flux_jy
    phases = calibrate(ms, wrong.table, "p", tmp_path)
    assert phases.accepted
    assert 15 < phases.phase_deg < 60  # 30 deg, relative to an antenna that is off itself
    both = calibrate(ms, fitted(ms).table, "ap", tmp_path)
    assert both.accepted
    assert both.amplitude == pytest.approx(0.03, abs=0.015)
    right, best = fitted(ms), fitted(perfect)
    for k, source in enumerate(SOURCES):
        error = best.table["flux_err_jy"].iloc[k]
        assert right.table["flux_jy"].iloc[k] == pytest.approx(source.flux_jy, rel=0.01, abs=4 * error)
    # The gains that were solved for take up noise too: residuals are not above those of perfect gains by much.
    assert right.noise_scale < 1.1 * best.noise_scale


def test_with_nothing_to_correct_nothing_is_changed(perfect, tmp_path):
    ms = tmp_path / "same.ms"
    shutil.copytree(perfect, ms)
    sources = fitted(ms).table
    for mode in ("p", "ap"):
        solution = calibrate(ms, sources, mode, tmp_path)
        assert not solution.accepted
        assert "chi2" in solution.reason
        assert solution.chi2_fall < 1.6 * solution.chi2_expected
    with tables.table(str(ms), ack=False) as after, tables.table(str(perfect), ack=False) as before:
        for name in ("DATA", "WEIGHT", "WEIGHT_SPECTRUM", "FLAG"):
            np.testing.assert_array_equal(after.getcol(name), before.getcol(name))


def test_sources_too_faint_to_solve_with_are_left_alone(perfect, tmp_path):
    solution = calibrate(perfect, table_of(SOURCES).assign(flux_jy=1e-4), "p", tmp_path)
    assert not solution.accepted
    assert "reaches S/N 10" in solution.reason
    assert not (tmp_path / "casa.log").exists()
