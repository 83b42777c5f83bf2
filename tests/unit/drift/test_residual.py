"""Residual sets against direct averages, and the loss by averaging against what was allowed."""

from dataclasses import replace

import numpy as np
import pytest
from casacore import tables

from builders.drift_tiles import make_meta, simulated_ms, table_of
from contimg.drift.data import StokesI
from contimg.drift.predict import DriftArray
from contimg.drift.residual import Group, plan_groups, write_residuals
from contimg.ms.sets import read_meta
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam

SOURCES = (
    Source(name="0834+555", ra_deg=128.7287, dec_deg=55.5725, flux_jy=8.0, spectral_index=-0.4),
    Source(name="B", ra_deg=129.5, dec_deg=55.0, flux_jy=1.0, spectral_index=-0.7),
)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    return simulated_ms(tmp_path_factory.mktemp("residual"), SOURCES, noise=False, smearing=True)


def groups_of(meta):
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    return [Group(cross[::2], 1, 1), Group(cross[1::2], 4, 3)]


def test_the_true_sources_leave_nothing_in_any_group(tile, tmp_path):
    meta = read_meta(tile)
    array = DriftArray(meta, beam=AiryBeam(4.65))
    with StokesI(tile) as data:
        paths = write_residuals(data, array, table_of(SOURCES), groups_of(meta), tmp_path)
        whole = write_residuals(data, array, None, groups_of(meta)[:1], tmp_path / "..")
    for path in paths:
        with tables.table(str(path), ack=False) as table:
            left = table.getcol("DATA")[~table.getcol("FLAG")]
        # the model and the simulator agree to 1e-4 of a source, in float32 sums of 9 Jy
        assert np.abs(left).max() < 3e-3
    with tables.table(str(whole[0]), ack=False) as table:
        assert np.abs(table.getcol("DATA")).max() > 5.0


def test_a_group_holds_the_weighted_means_of_its_baselines_times_and_channels(tile, tmp_path):
    meta = read_meta(tile)
    group = groups_of(meta)[1]
    with StokesI(tile) as data:
        (path,) = write_residuals(data, DriftArray(meta, beam=AiryBeam(4.65)), None, [group], tmp_path)
        read = [data.read(i) for i in range(3)]
        uvw = np.mean([data.uvw(i)[group.rows] for i in range(3)], axis=0)
    vis, weight = (np.array([part[k][group.rows] for part in read]) for k in (0, 1))
    blocks = (3, len(group.rows), -1, 4)
    total = weight.reshape(blocks).sum(axis=(0, 3))
    expected = (vis * weight).reshape(blocks).sum(axis=(0, 3)) / np.where(total > 0, total, 1)
    small = read_meta(path)
    assert small.shape == (meta.n_times // 3, len(group.rows), len(meta.freq_hz) // 4, 1)
    np.testing.assert_allclose(small.freq_hz, meta.freq_hz.reshape(-1, 4).mean(axis=1))
    with tables.table(str(path), ack=False) as table:
        count = len(group.rows)
        np.testing.assert_allclose(table.getcol("DATA", 0, count)[..., 0], expected, atol=1e-5)
        np.testing.assert_allclose(table.getcol("WEIGHT_SPECTRUM", 0, count)[..., 0], total, rtol=1e-5)
        np.testing.assert_allclose(table.getcol("UVW", 0, count), uvw, atol=1e-6)
        np.testing.assert_array_equal(table.getcol("FLAG", 0, count)[..., 0], total == 0)
        assert table.getcol("INTERVAL", 0, 1)[0] == pytest.approx(meta.integration_s[:3].sum())


def test_averaging_takes_no_more_than_allowed_and_most_of_the_data_away():
    meta = make_meta(n_ant=40, n_times=24, n_chan=256, freq_average=3)
    length = np.random.default_rng(1).exponential(400.0, len(meta.ant1))
    radius = np.radians(1.35)
    groups = plan_groups(meta, length, radius_rad=radius, loss=0.004)
    rows = np.concatenate([group.rows for group in groups])
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(meta.ant1 != meta.ant2))
    losses, data = [], 0.0
    for group in groups:
        # the exact loss: a mean of exp(i x) over the averaged channels and times of a source at the worst angle
        delay = length[group.rows] * np.sin(radius) / 299792458.0
        over_band = np.arange(group.channels) * meta.channel_width_hz
        over_time = np.arange(group.times) * 12.884902 * 7.2921e-5 * meta.freq_hz[-1]
        turns = delay[:, None, None] * (over_band[:, None] + over_time[None, :])
        losses.append(1 - np.abs(np.exp(2j * np.pi * turns).mean(axis=(1, 2))))
        data += len(group.rows) / (group.channels * group.times)
    # the sum of both effects is a bound on what the two do together
    assert np.concatenate(losses).mean() <= 0.004 * 1.02
    assert data < 0.6 * len(rows)


def test_nothing_is_averaged_where_nothing_may_be_lost():
    meta = make_meta(n_ant=6, n_times=4, n_chan=8)
    length = np.full(len(meta.ant1), 1000.0)
    (group,) = plan_groups(meta, length, radius_rad=0.02, loss=0.0)
    assert (group.channels, group.times) == (1, 1)
    assert len(group.rows) == 15


def test_channels_that_do_not_divide_stay_as_they_are():
    meta = replace(make_meta(n_ant=6, n_times=4, n_chan=5))
    for group in plan_groups(meta, np.full(len(meta.ant1), 1.0), radius_rad=0.02, loss=0.5):
        assert 5 % group.channels == 0
