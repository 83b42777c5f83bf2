"""Gains that drifted since the transit are found in the tile itself; where nothing drifted nothing is changed."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from casacore import tables

from builders.drift_tiles import average, simulated_ms, table_of
from contimg.drift.fit import fit
from contimg.image.selfcal import calibrate, solve
from contimg.image.selfcal_data import divide
from contimg.image.selfcal_depart import coherence, departs
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam

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
    """A copy whose gains are off."""
    shutil.copytree(perfect, path)
    put_gains_off(path)
    return path


def put_gains_off(ms):
    """Put each antenna and hand off by 30 deg and 3 % rms; amplitudes keep a geometric mean of 1."""
    meta = read_meta(ms)
    rng = np.random.default_rng(8)
    size = (len(meta.antenna_names), 2)
    used = np.unique([meta.ant1, meta.ant2])
    logs = 0.03 * rng.normal(size=size)
    logs -= logs[used].mean(axis=0)
    gain = np.exp(logs + 1j * np.radians(30.0) * rng.normal(size=size))
    with tables.table(str(ms), readonly=False, ack=False) as table:
        data = table.getcol("DATA").reshape(meta.shape)
        data *= (gain[meta.ant1] * gain[meta.ant2].conj())[np.newaxis, :, np.newaxis]
        table.putcol("DATA", data.reshape(-1, *meta.shape[2:]).astype(np.complex64))


def fitted(ms):
    return fit(ms, table_of(SOURCES), beam=BEAM, threads=2)


def corrected(ms, sources, folder):
    return calibrate(PrivateSet(ms), sources, beam=BEAM, scratch=folder, threads=2, log=folder / "casa.log")


def test_drifted_gains_are_found_and_the_fluxes_come_back(perfect, tmp_path):
    ms = drifted(perfect, tmp_path / "drifted.ms")
    wrong = fitted(ms)
    # exp(-(30°)²) of the flux is left by phases of 30° rms on both ends of every baseline: 0.76
    assert wrong.table["flux_jy"].iloc[0] < 0.9 * SOURCES[0].flux_jy
    phases = corrected(ms, wrong.table, tmp_path).solutions["phase"]
    assert phases.accepted
    # 30 deg of 28 gains, less their mean: good to 1 / sqrt(2 * 26) = 14 %, three of them
    assert phases.phase_deg == pytest.approx(30.0, rel=0.4)
    # the fluxes that the phases had lowered hide the amplitudes until they are fitted again, as the image job does
    corrections = corrected(ms, fitted(ms).table, tmp_path)
    amplitudes = corrections.solutions["amplitude"]
    assert corrections.departed == {}
    assert amplitudes.accepted
    assert amplitudes.amplitude == pytest.approx(0.03, abs=0.015)
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
    corrections = corrected(ms, sources, tmp_path)
    assert not corrections.changed
    for solution in corrections.solutions.values():
        assert not solution.accepted
        assert "too little to matter" in solution.reason
    # CASA, whose import takes seconds, was not needed to see that
    assert not (tmp_path / "casa.log").exists()
    with tables.table(str(ms), ack=False) as after, tables.table(str(perfect), ack=False) as before:
        for name in ("DATA", "WEIGHT", "WEIGHT_SPECTRUM", "FLAG"):
            np.testing.assert_array_equal(after.getcol(name), before.getcol(name))


def test_noise_is_not_taken_for_gains(perfect, tmp_path):
    divided = divide(perfect, fitted(perfect).table, beam=BEAM)
    for mode in ("p", "ap"):
        # as if gains could be off by much: what is found then is noise, and no solution
        worse = replace(divided, n_visibilities=1)
        solution, gains = solve(
            perfect, worse, mode=mode, scratch=tmp_path, threads=2, log=tmp_path / "casa.log"
        )
        assert gains is None
        assert "chi2" in solution.reason
        assert solution.chi2_fall < 1.6 * solution.free


def test_sources_too_faint_to_solve_with_are_left_alone(perfect, tmp_path):
    sources = table_of(SOURCES).assign(flux_jy=1e-4, beam=1.0, flags="")
    found = corrected(perfect, sources, tmp_path).solutions
    assert not found["phase"].accepted
    assert "reaches S/N 20" in found["phase"].reason
    assert "reaches S/N 100" in found["amplitude"].reason
    assert not (tmp_path / "casa.log").exists()


def test_amplitudes_are_left_alone_where_a_resolved_source_is_bright(perfect, tmp_path):
    sources = table_of(SOURCES).assign(flux_jy=1e-4, beam=1.0, flags=["", "blended,resolved"])
    assert "resolved" in corrected(perfect, sources, tmp_path).solutions["amplitude"].reason


def test_an_antenna_that_became_unsteady_is_flagged_in_its_hand_and_no_other(perfect, tmp_path):
    ms = tmp_path / "swings.ms"
    shutil.copytree(perfect, ms)
    meta = read_meta(ms)
    sick = int(meta.ant1[meta.ant1 != meta.ant2][0])
    # within every integration, so that no solution interval is short enough: from channel to channel
    turn = np.exp(1j * np.radians(80.0) * np.random.default_rng(3).normal(size=len(meta.freq_hz)))
    with tables.table(str(ms), readonly=False, ack=False) as table:
        data, before = table.getcol("DATA"), table.getcol("FLAG")
        rows = np.tile((meta.ant1 == sick) != (meta.ant2 == sick), meta.n_times)
        data[rows, :, 0] *= turn.astype(np.complex64)
        table.putcol("DATA", data)
    corrections = corrected(ms, fitted(perfect).table, tmp_path)
    assert list(corrections.departed) == [meta.antenna_names[sick]]
    assert "in polarisation 0" in corrections.departed[meta.antenna_names[sick]]
    assert corrections.changed
    with tables.table(str(ms), ack=False) as table:
        after = table.getcol("FLAG")
    touched = np.tile((meta.ant1 == sick) | (meta.ant2 == sick), meta.n_times)
    assert after[touched, :, 0].all()
    before[touched, :, 0] = True
    np.testing.assert_array_equal(after, before)


def test_no_antenna_is_flagged_where_a_third_of_them_lack_coherence(perfect):
    divided = divide(perfect, fitted(perfect).table, beam=BEAM)
    names = np.unique([divided.meta.ant1, divided.meta.ant2])
    for share, expected in ((1, 1), (len(names) // 3, 0)):
        shown = np.ones(len(divided.meta.antenna_names))
        shown[names[:share]] = 0.2
        ratio = divided.ratio * (shown[divided.meta.ant1] * shown[divided.meta.ant2])[:, np.newaxis]
        worse = replace(divided, ratio=ratio)
        bad = departs(worse, coherence(worse))
        assert np.flatnonzero(bad.all(axis=1)).tolist() == names[:expected].tolist()
        assert bad.sum() == 2 * expected
