"""Bandpasses of weak calibrators: on how many channels, back to all of them, and without the bias of noisy ones."""

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import full_gain, make_calibrator_ms
from contimg.calibrate import channels, transit
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.tables import read_gains, read_solutions
from contimg.ms.noise import SUBBANDS_KEYWORD, read_subbands
from contimg.telescope.options import BeamOptions

SUBBANDS = [slice(0, 12), slice(12, 24)]


@pytest.mark.parametrize(
    ("snr", "width"), [(100.0, 1), (45.0, 1), (44.0, 2), (23.0, 4), (13.1, 12), (1.0, 12)]
)
def test_channels_are_averaged_as_far_as_the_signal_asks_for_and_not_beyond_a_subband(snr, width):
    assert channels.choose_width(snr, 45.0, SUBBANDS) == width


def test_a_transit_is_refused_where_noise_would_make_fluxes_wrong_by_a_per_cent():
    # 1.0 Jy, 28 antennas: s = 6.9 in a channel, 39 on a channel of 48
    assert channels.flux_bias(39.0) == pytest.approx(0.0013, rel=0.02)
    assert channels.too_noisy(channels.flux_bias(39.0)) is None
    assert "fluxes 2.0 % too small" in channels.too_noisy(channels.flux_bias(10.0))
    assert channels.too_noisy(channels.flux_bias(0.0)) is not None


def test_lines_within_subbands_come_back_exactly_and_steps_stay():
    place = np.arange(24.0)
    true = np.where(place < 12, 1 + 0.1j * place, 3 - 0.05 * place).astype(complex)
    true = np.stack([true, 2 * true], axis=-1)[np.newaxis]
    coarse = true.reshape(1, 6, 4, 2).mean(axis=2)
    good = np.ones((1, 6, 2), bool)
    good[0, 1, 0] = False  # a gap between good ones is filled
    found, fine = channels.interpolate(coarse, good, 4, SUBBANDS)
    np.testing.assert_allclose(found, true, atol=1e-12)
    assert fine.all()
    good[0, 3:, 1] = False
    found, fine = channels.interpolate(coarse, good, 4, SUBBANDS)
    assert not fine[0, 12:, 1].any()
    assert fine[0, :, 0].all()
    good[0, 4:, 0] = False  # one is left: constant
    found, _ = channels.interpolate(coarse, good, 4, SUBBANDS)
    np.testing.assert_allclose(found[0, 12:, 0], coarse[0, 3, 0])


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    """A calibrator that an antenna sees at 5 σ in a channel: 13 Jy of noise, 7.9 Jy; subbands of 8 channels."""
    folder = tmp_path_factory.mktemp("weak")
    truth = make_calibrator_ms(folder / "cal.ms", n_ant=12, n_chan=64, sigma=13.0, drift_deg=0.0)
    with tables.table(str(truth.path), readonly=False, ack=False) as table:
        table.putkeyword(SUBBANDS_KEYWORD, np.arange(0, 65, 8, dtype=np.int32))
    return truth, folder


def solve(truth, folder, **options):
    (folder / "cal").mkdir(parents=True)
    (folder / "scratch").mkdir()
    return transit.solve_transit(
        truth.path,
        folder / "cal",
        calibrator=truth.calibrator,
        others=[],
        options=CalibrationOptions(uvmin_klambda=0.0, min_antennas=5, max_phase_scatter_deg=180, **options),
        beam=BeamOptions(),
        scratch=folder / "scratch",
        threads=1,
        log=folder / "casa.log",
    )


def flux_factor(truth, folder):
    """What sources come out as: the mean of true over solved gains, weighted as calibrated data are."""
    gains = read_gains(folder / "cal", truth.meta)
    true, solved = full_gain(truth, 6), gains.at(6)
    ratio = np.where(gains.good, true / solved, np.nan)
    cross = truth.meta.ant1 != truth.meta.ant2
    one, two = truth.meta.ant1[cross], truth.meta.ant2[cross]
    product = ratio[one] * ratio[two].conj()
    # the noise of these data is flat: weights go as |g1 g2|² of the solutions
    weight = np.where(np.isfinite(product), np.abs(solved[one] * solved[two]) ** 2, 0.0)
    return float(np.nansum(weight * product.real) / weight.sum()), gains


def test_weak_calibrators_bias_fluxes_by_noise_unless_channels_are_averaged(weak, tmp_path):
    truth, _ = weak
    assert read_subbands(truth.path, truth.meta)[-1] == slice(56, 64)
    single = solve(truth, tmp_path / "single", bandpass_snr=0.0)
    averaged = solve(truth, tmp_path / "averaged")
    assert single["metrics"]["bandpass_channels"] == 1
    assert averaged["metrics"]["bandpass_channels"] == 8
    assert "too faint" in single["reason"]
    assert averaged["metrics"]["expected_flux_bias"] == pytest.approx(
        single["metrics"]["expected_flux_bias"] / 8, rel=0.01
    )
    # 13 Jy of noise a visibility over what the gains of a baseline make of it, the median one: its S/N ratio of some 60
    # over all channels is known to 2 %, the median of 66 baselines that differ by 40 % to 1.25 x 40 % / √66 = 6 %
    meta = truth.meta
    gain = full_gain(truth, 6)
    cross = meta.ant1 != meta.ant2
    power = np.mean(np.abs(gain[meta.ant1[cross]] * gain[meta.ant2[cross]]) ** 2, axis=(1, 2))
    expected = 13.0 / np.sqrt(np.median(power)) * np.sqrt(2 * meta.channel_width_hz * meta.integration_s[0])
    assert averaged["metrics"]["sefd_jy"] == pytest.approx(expected, rel=0.12)
    # s² = 11 baselines x 12 integrations x 7.9² / (2 x 13²) x |g|⁴, some 5²: fluxes are low by 1 / s² from the
    # solutions, less where strong antennas weigh most; an eighth of it on eight channels. The scale is known to
    # 13 / 7.9 / sqrt(66 x 12 x 64 x 2), 0.5 %.
    before, _ = flux_factor(truth, tmp_path / "single")
    after, gains = flux_factor(truth, tmp_path / "averaged")
    assert before < 0.975
    assert after == pytest.approx(1.0, abs=0.01)
    assert gains.good.all()
    table = read_solutions(tmp_path / "averaged" / "cal" / "BP")
    assert table.values.shape == (1, 12, 64, 2)
    np.testing.assert_allclose(table.freq_hz, truth.meta.freq_hz)


def test_amplitudes_are_not_made_larger_by_phases_that_drift(tmp_path):
    """20° of drift within the transit takes 6 % of a mean; the amplitude that 60 s phases leave is the true one."""
    truth = make_calibrator_ms(tmp_path / "cal.ms", n_ant=8, n_times=24, sigma=0.3, drift_deg=30.0)
    solve(truth, tmp_path / "solved", max_unsteady_deg=180.0)
    gains = read_gains(tmp_path / "solved" / "cal", truth.meta)
    ratio = (np.abs(gains.at(0)) / np.abs(full_gain(truth, 0)))[gains.good]
    # an antenna drifts by up to 2 x 30 deg in 5 minutes: by 6 deg within a bin of 60 s, rms, 0.2 % of an amplitude
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.std() < 0.02
