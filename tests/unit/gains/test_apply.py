"""Applying caltables: as CASA's applycal does it, as the noise wants it, and as the truth says."""

import shutil

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import make_calibrator_ms
from contimg.calibrate import transit
from contimg.calibrate.options import CalibrationOptions
from contimg.core import casa
from contimg.core.errors import InputError, Rejected
from contimg.gains.apply import apply_tile
from contimg.gains.tables import read_gains
from contimg.ms.sets import read_meta
from contimg.telescope.options import BeamOptions

DEAD = 4
N_CHAN = 32


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A transit with four correlations and its tables, in which a few channels of one hand are flagged."""
    folder = tmp_path_factory.mktemp("night")
    truth = make_calibrator_ms(
        folder / "cal.ms", dead=(DEAD,), correlations=(9, 10, 11, 12), sigma=0.3, drift_deg=0.0
    )
    (folder / "cal").mkdir()
    transit.solve_transit(
        truth.path,
        folder / "cal",
        calibrator=truth.calibrator,
        others=[],
        options=CalibrationOptions(uvmin_klambda=0.0, min_antennas=5),
        beam=BeamOptions(),
        scratch=folder,
        threads=2,
        log=folder / "casa.log",
    )
    with tables.table(str(folder / "cal" / "BP"), readonly=False, ack=False) as bandpass:
        flags = bandpass.getcol("FLAG")
        flags[2, 10:14, 0] = True
        bandpass.putcol("FLAG", flags)
    with tables.table(str(truth.path), readonly=False, ack=False) as table:
        flags = table.getcol("FLAG")
        flags[::7, 3:9, 1] = True
        table.putcol("FLAG", flags)
    return truth, folder


def columns(ms, *names):
    """Columns of a Measurement Set."""
    with tables.table(str(ms), ack=False) as table:
        return [table.getcol(name) for name in names]


def test_without_averaging_data_and_flags_are_those_of_casa_applycal(night, tmp_path):
    truth, folder = night
    shutil.copytree(truth.path, tmp_path / "casa.ms")
    casa.casatasks(2, tmp_path / "casa.log").applycal(
        vis=str(tmp_path / "casa.ms"),
        gaintable=[str(folder / "cal" / name) for name in ("K", "BP", "G")],
        interp=["nearest", "nearest,linearflag", "nearest"],
        calwt=False,
        flagbackup=False,
        applymode="calflag",
    )
    apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=1, threads=2)
    expected, expected_flag = columns(tmp_path / "casa.ms", "CORRECTED_DATA", "FLAG")
    found, found_flag = columns(tmp_path / "ours.ms", "DATA", "FLAG")
    np.testing.assert_array_equal(found_flag, expected_flag)
    use = ~found_flag
    assert 0.1 < use.mean() < 0.9
    np.testing.assert_allclose(found[use], expected[use], rtol=1e-5)


def test_calibrated_calibrator_has_its_apparent_flux_and_no_phase(night, tmp_path):
    truth, folder = night
    apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=4, threads=2)
    data, flag = columns(tmp_path / "ours.ms", "DATA", "FLAG")
    mean = data[..., 0][~flag[..., 0]].mean()
    # 8 Jy through the beam at 0.2° and the drift: 7.885 Jy in the mean of times and channels. Noise of the mean:
    # 0.3 Jy / √(12 · 36 · 32) = 3 mJy; errors of the gains, 0.4 % each, average down over antennas.
    assert abs(mean - 7.885) < 0.02
    for cross_hand in (1, 2):
        assert abs(data[..., cross_hand][~flag[..., cross_hand]].mean()) < 0.02


@pytest.mark.parametrize("step", [1, 4, 32])
def test_average_is_the_weighted_mean_of_what_is_good(night, tmp_path, step):
    truth, folder = night
    report = apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=step, threads=2)
    data, flag, weight = columns(truth.path, "DATA", "FLAG", "WEIGHT")
    gains = read_gains(folder / "cal", truth.meta)
    meta = truth.meta
    i, n_bl = 7, meta.n_baselines
    rows = slice(i * n_bl, (i + 1) * n_bl)
    one, two = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    gain = gains.at(i)[meta.ant1][..., one] * gains.at(i)[meta.ant2][..., two].conj()
    good = gains.good[meta.ant1][..., one] & gains.good[meta.ant2][..., two] & ~flag[rows]
    w = np.where(good, weight[rows][:, None, :] * np.abs(gain) ** 2, 0).reshape(n_bl, -1, step, 4)
    corrected = (data[rows] / gain).reshape(n_bl, -1, step, 4)
    total = w.sum(axis=2)
    expected = (w * corrected).sum(axis=2) / np.where(total > 0, total, 1)
    found, found_flag, spectrum = columns(tmp_path / "ours.ms", "DATA", "FLAG", "WEIGHT_SPECTRUM")
    np.testing.assert_array_equal(found_flag[rows], total == 0)
    # Single-precision sums of up to 32 numbers of 10 Jy that partly cancel.
    np.testing.assert_allclose(found[rows], expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(spectrum[rows], total, rtol=1e-5)
    cross = meta.ant1 != meta.ant2
    np.testing.assert_allclose(report["sum_weight"][i], total[cross][..., [0, 3]].sum(axis=(0, 2)), rtol=1e-5)


def test_weights_are_one_over_the_variance_after_calibration(night, tmp_path):
    truth, folder = night
    apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=4, threads=2)
    data, flag, weight = columns(tmp_path / "ours.ms", "DATA", "FLAG", "WEIGHT_SPECTRUM")
    # Cross hands hold noise alone, of σ² in the real and in the imaginary part.
    noise, w, use = data[..., 1:3], weight[..., 1:3], ~flag[..., 1:3]
    normalised = noise[use] * np.sqrt(w[use])
    # Variance of n = 2 · 6912 normal deviates: 1 ± √(2/n) = 0.012, 4 sigma; the gains add 2 σ_g ≈ 0.3 %.
    assert np.mean(normalised.real**2) == pytest.approx(1.0, abs=0.05)
    assert np.mean(normalised.imag**2) == pytest.approx(1.0, abs=0.05)
    # The strongest and the weakest antennas differ: an unscaled weight would not do.
    assert w[use].max() / w[use].min() > 3


def test_averaged_set_says_where_its_channels_are_and_keeps_everything_else(night, tmp_path):
    truth, folder = night
    report = apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=8, threads=1)
    before, after = read_meta(truth.path), read_meta(tmp_path / "ours.ms")
    np.testing.assert_allclose(after.freq_hz, before.freq_hz.reshape(4, 8).mean(axis=1))
    assert after.channel_width_hz == pytest.approx(8 * before.channel_width_hz)
    for name in ("times_jd", "ant1", "ant2", "antenna_positions_m", "integration_s"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name in (
        "tile",
        "phase_ra_rad",
        "phase_dec_rad",
        "pointing_dec_rad",
        "antenna_names",
        "correlations",
    ):
        assert getattr(after, name) == getattr(before, name)
    np.testing.assert_array_equal(*(columns(ms, "UVW")[0] for ms in (truth.path, tmp_path / "ours.ms")))
    assert report["antennas_without_gain"] == ["5"]
    assert (report["freq_average"], report["n_channels"]) == (8, 4)
    assert 0.2 <= report["flag_fraction"] < report["flag_fraction_before"] + 0.05


def test_the_input_is_not_changed(night, tmp_path):
    truth, folder = night
    before = {
        path: path.read_bytes()
        for path in truth.path.rglob("*")
        if path.is_file() and path.name != "table.lock"
    }
    apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=2, threads=2)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_step_that_does_not_divide_the_channels_is_refused(night, tmp_path):
    truth, folder = night
    with pytest.raises(InputError, match=r"freq_average must divide the 32 channels, found 5"):
        apply_tile(truth.path, folder / "cal", tmp_path / "ours.ms", freq_average=5)
    assert not (tmp_path / "ours.ms").exists()


def test_tables_that_leave_nothing_are_a_reason_to_reject(night, tmp_path):
    truth, folder = night
    shutil.copytree(folder / "cal", tmp_path / "cal")
    with tables.table(str(tmp_path / "cal" / "G"), readonly=False, ack=False) as gains:
        gains.putcol("FLAG", np.ones_like(gains.getcol("FLAG")))
    with pytest.raises(Rejected, match=r"nothing left to image: all data are flagged after applying"):
        apply_tile(truth.path, tmp_path / "cal", tmp_path / "ours.ms")
