"""Solutions that depart from their neighbours are found, and healthy ones left alone."""

from dataclasses import replace

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import full_gain, make_calibrator_ms
from contimg.calibrate import depart
from contimg.calibrate import transit as calibrate
from contimg.calibrate.depart import channels, phase_scatter_deg
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.between import changed
from contimg.gains.tables import Gains, Solutions, read_gains, read_solutions
from contimg.telescope.options import BeamOptions

N_ANT, N_CHAN = 24, 768
SIGMA = CalibrationOptions().max_channel_departure


def bandpass(noise, seed=1, n_chan=N_CHAN):
    """A bandpass as receivers have it: ripple, slope, steps between subbands of 48 channels, roll-off, noise."""
    rng = np.random.default_rng(seed)
    at = np.linspace(-1, 1, n_chan)[:, None]
    shape = (N_ANT, n_chan, 2)
    ripple = 1 + 0.1 * np.sin(2 * np.pi * (6 * n_chan / 768 * at + rng.uniform(0, 1, (N_ANT, 1, 2))))
    steps = np.repeat(1 + 0.05 * rng.normal(size=(N_ANT, n_chan // 48, 2)), 48, axis=1)
    phase = rng.uniform(-np.pi, np.pi, (N_ANT, 1, 2)) + rng.normal(size=(N_ANT, 1, 2)) * at * n_chan / 768
    values = rng.uniform(0.6, 1.6, (N_ANT, 1, 2)) * ripple * steps * (1 - 0.4 * at**8) * np.exp(1j * phase)
    values = values * (1 + noise * (rng.normal(size=shape) + 1j * rng.normal(size=shape)))
    freq = 1.31e9 + np.arange(n_chan) * 244140.625
    return Solutions(
        [str(k) for k in range(N_ANT)],
        np.zeros(1),
        freq,
        values[None],
        np.zeros((1, *shape), bool),
        np.ones((1, *shape)),
    )


@pytest.mark.parametrize("noise", [0.003, 0.02, 0.1])
@pytest.mark.parametrize("n_chan", [96, 768])
def test_no_channel_of_a_healthy_bandpass_departs(noise, n_chan):
    # 24 x 768 x 2 solutions at 7 sigma of each of two parts: 37,000 exp(-49/2) = 1e-6 expected
    found = [int(channels(bandpass(noise, seed, n_chan), SIGMA).sum()) for seed in range(3)]
    assert found == [0, 0, 0]


def test_the_edges_of_a_filter_are_no_sick_channels():
    # the lowest and highest channels of a VLA subband at L band: 0.13, 0.47, 0.72, 0.85, 0.93 of the middle, and
    # phases that turn with them, by an antenna's own amount
    clean = bandpass(0.003)
    edge = np.array([0.13, 0.47, 0.72, 0.85, 0.93])
    turn = (
        np.random.default_rng(2).uniform(-1, 1, (N_ANT, 1, 2))
        * np.array([1.0, 0.4, 0.15, 0.05, 0.02])[:, None]
    )
    values = clean.values.copy()
    values[0, :, :5] *= edge[:, None] * np.exp(1j * turn)
    values[0, :, :-6:-1] *= edge[:, None] * np.exp(1j * turn)
    sick = np.zeros(clean.flags[0].shape, bool)
    sick[3, 20, 0] = sick[5, 700, 1] = True
    values[0][sick] *= 1.4  # beside them, what is sick is still found
    np.testing.assert_array_equal(channels(replace(clean, values=values), SIGMA), sick)


def test_sick_channels_are_flagged_and_nothing_beside_them():
    clean = bandpass(0.01)
    sick = np.zeros(clean.flags[0].shape, bool)
    sick[3, 100, 0] = sick[3, 400:404, 1] = sick[7, 1, :] = sick[9, 764:766, 0] = True
    sick[11, 96:100, 0] = True  # where a subband begins, with a step
    values = clean.values.copy()
    # 7 sigma of a part is 0.07; an error of 0.3 is 30 sigma whatever its phase
    values[0][sick] *= 1 + 0.3 * np.exp(1j * np.arange(sick.sum()))
    flags = clean.flags.copy()
    flags[0, 3, 200:230, 0] = True
    np.testing.assert_array_equal(channels(replace(clean, values=values, flags=flags), SIGMA), sick)


def gains_like(solutions, scale=1.0):
    shape = (1, N_ANT, 2)
    return Gains(solutions.values[0] * scale, ~solutions.flags[0], np.zeros(1), np.ones(shape, complex))


def test_an_antenna_that_other_transits_contradict_is_found_hand_by_hand():
    one = bandpass(0.02, seed=1)
    other = gains_like(one, scale=1.2)  # a calibrator whose catalogue flux is 44 % off
    values = one.values.copy()
    values[0, 5, :, 1] *= 1.5
    values[0, 6, :, 0] *= 1.1  # healthy receivers hold to a few per cent; 30 % is the limit
    found = changed(gains_like(replace(one, values=values)), [other])
    assert np.argwhere(found).tolist() == [[5, 1]]
    # one of three others that was itself wrong does not count
    third = gains_like(one)
    third.steady[8] *= 3.0
    assert np.argwhere(changed(gains_like(one), [other, third, other])).tolist() == []
    assert not changed(gains_like(one), []).any()


def transit(folder, *, swing_deg, weak=1.0, **settings):
    """A transit of ten antennas, the fourth of which swings in phase, and the third of which is weak."""
    truth = make_calibrator_ms(folder / "cal.ms", n_ant=10, n_times=12, n_chan=16, sigma=0.1)
    _spoil(truth, 3, swing_deg, 2, weak)
    (folder / "cal").mkdir()
    options = CalibrationOptions(uvmin_klambda=0.0, min_antennas=5, time_average_s=25.0, **settings)
    record = calibrate.solve_transit(
        truth.path,
        folder / "cal",
        calibrator=truth.calibrator,
        others=[],
        options=options,
        beam=BeamOptions(),
        scratch=folder,
        threads=2,
        log=folder / "casa.log",
    )
    return truth, record, read_gains(folder / "cal", truth.meta)


def _spoil(truth, swinging, swing_deg, weak, factor):
    """Turn an antenna's phase by a wave of a period of 100 s, and make one weak, in the data."""
    meta = truth.meta
    wave = np.radians(swing_deg) * np.sqrt(2) * np.sin(2 * np.pi * np.arange(meta.n_times) * 12.9 / 100)
    with tables.table(str(truth.path), readonly=False, ack=False) as table:
        for i in range(meta.n_times):
            turn = np.ones(len(meta.antenna_names), complex)
            turn[swinging], turn[weak] = np.exp(1j * wave[i]), factor
            data = table.getcol("DATA", i * meta.n_baselines, meta.n_baselines)
            data *= (turn[meta.ant1] * turn[meta.ant2].conj())[:, None, None]
            table.putcol("DATA", data, i * meta.n_baselines, meta.n_baselines)


def test_an_antenna_that_swings_is_left_out_and_the_others_are_solved_without_it(tmp_path):
    truth, record, gains = transit(tmp_path, swing_deg=60.0)
    assert record["status"] == "ok"
    assert list(record["metrics"]["departed"]["antennas"]) == ["4"]
    assert "phases scatter by" in record["metrics"]["departed"]["antennas"]["4"]
    assert not gains.good[3].any()
    assert np.delete(gains.good, 3, axis=0).all()
    # noise of a baseline over 12 integrations and 16 channels: 0.1 √2 / √192 / 8 Jy = 0.13 %; a gain less. Of the
    # mean gain 4 deg of drift take 0.1 %. The swinging antenna in the solutions would make 10 % of it.
    true = np.abs(np.mean([full_gain(truth, i) for i in range(truth.meta.n_times)], axis=0))
    others = np.delete(np.arange(10), 3)
    ratio = np.median(np.abs(gains.at(0)) / true, axis=1)[others]
    np.testing.assert_allclose(ratio / np.median(ratio), 1, atol=0.005)
    assert record["metrics"]["phase_scatter_deg"] < 5


def test_an_antenna_too_weak_is_left_out_and_the_limit_is_the_configuration_s(tmp_path):
    for name, limit, expected in (("near", 3.0, ["3"]), ("far", 30.0, [])):
        (tmp_path / name).mkdir()
        _, record, _ = transit(tmp_path / name, swing_deg=0.0, weak=0.15, max_antenna_departure=limit)
        assert list(record["metrics"]["departed"]["antennas"]) == expected
        assert record["metrics"]["departed"]["n_channels"] == 0


def test_a_sick_channel_of_a_solved_table_is_flagged_in_it(tmp_path):
    transit(tmp_path, swing_deg=0.0)
    table = tmp_path / "cal" / "BP"
    assert depart.flag_channels(table, SIGMA) == 0
    with tables.table(str(table), readonly=False, ack=False) as solutions:
        values = solutions.getcol("CPARAM")
        values[2, 7, 1] *= 2
        solutions.putcol("CPARAM", values)
        antenna = solutions.getcol("ANTENNA1")[2]
    assert depart.flag_channels(table, SIGMA) == 1
    assert np.argwhere(read_solutions(table).flags[0]).tolist() == [[antenna, 7, 1]]


def test_an_antenna_with_bad_baselines_to_a_sick_one_alone_is_steady():
    truth_names = [str(k) for k in range(6)]
    a, b = np.triu_indices(6, 1)
    meta = type("Meta", (), {"antenna_names": truth_names, "ant1": a, "ant2": b})
    phase = np.where((a == 2) | (b == 2), 1.0, 0.01)
    mean = np.exp(1j * np.stack([phase, -phase]))[:, :, None] * np.ones(2)
    found = phase_scatter_deg(mean, meta)
    assert found[2] == pytest.approx(np.degrees(1.0))
    assert np.delete(found, 2, axis=0) == pytest.approx(np.degrees(0.01))
