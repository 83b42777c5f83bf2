"""A bandpass on averaged channels where the band rolls off within them: raw files to gains, against the truth."""

import numpy as np

from builders.transits import convert, solve
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.tables import read_gains
from contimg.ms.sets import read_meta
from contimg.simulate import SimOptions, Source, simulate
from contimg.sky.calibrators import Calibrator


def test_the_ends_of_a_band_come_back_from_a_solution_on_a_whole_subband(tmp_path):
    """2 Jy, 16 antennas, two subbands of 48 channels of 244 kHz; the outer ends fall by 6 dB within 6 MHz."""
    options = SimOptions(
        start="2025-10-30",
        transit_of="CAL",
        dec_deg=55.2,
        n_antennas=16,
        max_radius_m=1500.0,
        sources=(Source("CAL", 128.7287, 55.5725, 2.0, -0.4),),
        seed=5,
        n_integrations=12,
        n_subbands=2,
        band_high_hz=1311.25e6 + 2 * 11.71875e6,
        band_edge_db=6.0,
        band_slope_db=-0.5,
        gain_amplitude_scatter=0.15,
        digitiser_scatter=0.15,
        band_ripple=0.1,
        sefd_scatter=0.1,
        delay_scatter_ns=6.0,
    )
    truth = simulate(options, tmp_path / "raw", threads=1)
    calibrator = Calibrator("CAL", 128.7287, 55.5725, 2.0, -0.4, "simulated")
    ms = convert(tmp_path / "raw", calibrator, tmp_path, 0)
    record = solve(ms, calibrator, tmp_path, CalibrationOptions(), [])
    assert record["status"] == "ok"
    assert record["metrics"]["bandpass_channels"] == 48
    meta = read_meta(ms)
    gains = read_gains(tmp_path / "cal", meta)
    rows = [meta.antenna_names.index(antenna.name) for antenna in truth.antennas]
    expected = truth.gains(meta.times_jd - 2400000.5, meta.freq_hz).mean(axis=0)
    ratio = np.abs(gains.at(6)[rows]) / np.abs(expected)
    assert gains.good[rows].all()
    channels = ratio.mean(axis=(0, 2))
    # The noise of 120 baselines in the middle half of 12 integrations is known to 0.03 in a channel's logarithm, its
    # amplitude to 1.5 %: eight coefficients for 46 channels, neighbours of which are alike (x 1.5), 1 % rms; at the
    # very end, where nothing is measured, five times that.
    assert channels.std() < 0.015
    assert np.abs(channels - 1).max() < 0.07
    assert abs(channels.mean() - 1) < 0.01
