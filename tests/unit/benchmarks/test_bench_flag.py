"""What the flagging benchmark counts, against interference that was put in by hand."""

import bench_flag
import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import make_calibrator_ms


def test_visibilities_are_counted_by_interference_over_noise_and_by_flag():
    interference = np.array([0.0, 0.05, 0.5, 1.5, 1.9, 2.0, 50.0, 50.0], np.float32)
    flags = np.array([0, 1, 1, 1, 0, 1, 1, 0], bool)
    counts = bench_flag.score(interference, np.ones(8, np.float32), flags)
    # harmless: 2, one flagged; 0.5 is neither harmless nor counted; 1-2: 2 of which 1; 2-3: 1; 10 and more: 2
    assert counts.tolist() == [[2, 1], [2, 1], [1, 1], [0, 0], [0, 0], [0, 0], [2, 1]]


def test_flags_are_scored_by_the_difference_of_two_sets_without_autocorrelations(tmp_path):
    sigma = 0.1
    clean = make_calibrator_ms(tmp_path / "clean.ms", n_ant=5, n_times=2, n_chan=8, sigma=sigma)
    dirty = make_calibrator_ms(tmp_path / "dirty.ms", n_ant=5, n_times=2, n_chan=8, sigma=sigma)
    cross = clean.meta.ant1 != clean.meta.ant2
    with tables.table(str(dirty.path), readonly=False, ack=False) as table:
        data, flags = table.getcol("DATA"), np.zeros(table.getcol("FLAG").shape, bool)
        data[:, 3] += 20 * sigma  # all rows, autocorrelations too
        data[:, 4] += 1.5 * sigma
        flags[: clean.meta.n_baselines, 3] = True  # found in one of the two integrations
        flags[:, 0, 0] = True  # a false alarm: one hand of one of the six channels that are clean
        table.putcol("DATA", data)
        table.putcol("FLAG", flags)
        table.putcol("SIGMA", np.full(table.getcol("SIGMA").shape, sigma, np.float32))
    found = bench_flag.compare(dirty.path, clean.path)
    assert cross.sum() == 10
    assert found.found["10-inf"] == 0.5
    assert found.found["1-2"] == 0.0
    assert found.false_alarms == pytest.approx(1 / 12)


def test_a_conversion_reports_its_flags_and_what_they_cost(tmp_path):
    from benchlib import tile

    from contimg.convert.options import FlaggingOptions
    from contimg.simulate.options import preset

    raw = tile.prepare(tmp_path / "tiny", preset("tiny"), 1).incoming
    done = bench_flag.convert(raw, tmp_path / "tiny.ms", FlaggingOptions(aoflagger=False), 1)
    assert 0 <= done.flag_fraction < 0.5
    assert done.flag_s > 0
    assert done.cpu_s > 0
    assert (tmp_path / "tiny.ms" / "table.dat").is_file()
