"""Caltables read back: names, channels, times, flags; and which of several is taken."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import make_calibrator_ms
from contimg.calibrate import transit
from contimg.calibrate.options import CalibrationOptions
from contimg.core.errors import InputError, Rejected
from contimg.core.products import status, write_json
from contimg.gains import tables as caltable
from contimg.gains.tables import choose_tables, read_gains, read_solutions
from contimg.telescope.options import BeamOptions

N_ANT, N_CHAN = 6, 16


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A solved transit of six antennas: its truth and the directory of its tables."""
    folder = tmp_path_factory.mktemp("solved")
    truth = make_calibrator_ms(folder / "cal.ms", n_ant=N_ANT, n_chan=N_CHAN, n_times=6, sigma=0.1)
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
    return truth, folder / "cal"


@pytest.fixture
def copied(solved, tmp_path):
    """The tables in a directory that a test may write to."""
    shutil.copytree(solved[1], tmp_path / "cal")
    return solved[0], tmp_path / "cal"


def flag(table, antenna, channels, pol):
    """Set flags of a caltable."""
    with tables.table(str(table), readonly=False, ack=False) as solutions:
        flags = solutions.getcol("FLAG")
        flags[solutions.getcol("ANTENNA1") == antenna, channels, pol] = True
        solutions.putcol("FLAG", flags)


def test_gain_is_delay_times_bandpass_times_gain(solved):
    truth, cal = solved
    delay, bandpass, gain = (read_solutions(cal / name) for name in caltable.TABLES)
    gains = read_gains(cal, truth.meta)
    # The delay turns about the middle of the band, where CASA puts the one channel of a K table.
    middle = truth.meta.freq_hz.mean()
    for antenna, channel, pol in ((0, 0, 0), (3, 7, 1), (5, 15, 0)):
        turns = delay.values[0, antenna, 0, pol] * 1e-9 * (truth.meta.freq_hz[channel] - middle)
        expected = np.exp(2j * np.pi * turns)
        expected *= bandpass.values[0, antenna, channel, pol] * gain.values[0, antenna, 0, pol]
        assert gains.at(2)[antenna, channel, pol] == pytest.approx(expected, rel=1e-6)
    assert gains.good.all()


def test_a_flagged_channel_is_bad_by_itself_and_a_flagged_delay_or_gain_at_all_channels(copied):
    truth, cal = copied
    flag(cal / "BP", 1, slice(4, 6), 0)
    flag(cal / "K", 2, 0, 1)
    flag(cal / "G", 3, 0, 0)
    good = read_gains(cal, truth.meta).good
    expected = np.ones((N_ANT, N_CHAN, 2), bool)
    expected[1, 4:6, 0] = False
    expected[2, :, 1] = False
    expected[3, :, 0] = False
    np.testing.assert_array_equal(good, expected)


def test_antennas_are_matched_by_name_in_any_order_and_unknown_ones_are_bad(solved):
    truth, cal = solved
    straight = read_gains(cal, truth.meta)
    names = ["6", "4", "77", "1", "2", "3"]
    turned = read_gains(cal, replace(truth.meta, antenna_names=names))
    for place, name in enumerate(names):
        if name == "77":
            assert not turned.good[place].any()
        else:
            np.testing.assert_array_equal(turned.at(0)[place], straight.at(0)[int(name) - 1])


def test_on_another_channel_grid_the_bandpass_is_linear_between_good_channels_and_bad_beyond(copied):
    truth, cal = copied
    flag(cal / "BP", 1, slice(4, 5), 0)
    freq = truth.meta.freq_hz
    step = freq[1] - freq[0]
    other = np.array([freq[0] - 0.5 * step, freq[2], freq[3] + 0.25 * step, freq[7] + step / 2])
    gains = read_gains(cal, replace(truth.meta, freq_hz=other))
    bandpass, delay, gain = (read_solutions(cal / name) for name in ("BP", "K", "G"))
    assert not gains.good[:, 0].any()
    assert gains.good[:, 1].all()
    assert gains.good[0, 2, 0]
    assert not gains.good[1, 2, 0], "a neighbour of the flagged channel needs it"
    value = (bandpass.values[0, 0, 7, 1] + bandpass.values[0, 0, 8, 1]) / 2 * gain.values[0, 0, 0, 1]
    turns = delay.values[0, 0, 0, 1] * 1e-9 * (other[3] - freq.mean())
    assert gains.at(0)[0, 3, 1] == pytest.approx(value * np.exp(2j * np.pi * turns), rel=1e-6)


def test_gains_of_two_times_are_joined_by_a_line_and_held_beyond(copied):
    truth, cal = copied
    with tables.table(str(cal / "G"), readonly=False, ack=False) as table:
        count = table.nrows()
        table.copyrows(table, nrow=count)
        first = table.getcol("TIME")[0]
        table.putcol("TIME", np.full(count, first - 20.0), 0, count)
        table.putcol("TIME", np.full(count, first + 20.0), count, count)
        table.putcol("CPARAM", np.full((count, 1, 2), 1.0 + 0j), 0, count)
        table.putcol("CPARAM", np.full((count, 1, 2), 1.0 + 1j), count, count)
    at = np.array([-100.0, -20.0, 0.0, 10.0, 20.0, 100.0])
    times = (first + at) / 86400 + 2400000.5
    varying = read_gains(cal, replace(truth.meta, times_jd=times, integration_s=np.ones(6))).varying
    # JD in float64 steps by 40 µs: 1e-6 of the 40 s between the solutions.
    np.testing.assert_allclose(varying[:, 3, 1], 1 + 1j * np.clip((at + 20) / 40, 0, 1), atol=3e-6)


def test_a_missing_table_is_named(solved, tmp_path):
    truth, cal = solved
    shutil.copytree(cal, tmp_path / "cal")
    shutil.rmtree(tmp_path / "cal" / "BP")
    with pytest.raises(InputError, match=r"cal/BP: not a caltable that can be opened"):
        read_gains(tmp_path / "cal", truth.meta)


def verdict(folder, name, reason):
    """A caltable directory that is good (None) or rejected."""
    (folder / name).mkdir()
    write_json(folder / name / "status.json", status(reason))
    return folder / name


def test_the_first_good_candidate_is_taken(tmp_path):
    candidates = [
        verdict(tmp_path, "a", "clouds"),
        verdict(tmp_path, "b", None),
        verdict(tmp_path, "c", None),
    ]
    assert choose_tables(candidates) == tmp_path / "b"


def test_without_a_good_candidate_every_reason_is_told(tmp_path):
    candidates = [verdict(tmp_path, "a", "not seen"), verdict(tmp_path, "b", "3 antennas")]
    with pytest.raises(Rejected, match=r"^no good caltable: a: not seen; b: 3 antennas$"):
        choose_tables(candidates)


def test_without_any_candidate_the_reason_names_what_decides(tmp_path):
    with pytest.raises(Rejected, match=r"no calibrator in range: .*calibration\.valid_hours"):
        choose_tables([])
