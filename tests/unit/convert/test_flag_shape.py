"""Bands that fall, step and roll off: their noise is found, flags are of interference alone, weights are right."""

import numpy as np
import pytest

from contimg.convert.flag import Flagger
from contimg.convert.flag_shape import NoiseShape, flatten
from contimg.convert.options import FlaggingOptions
from contimg.ms.meta import MsMeta
from contimg.ms.noise import polarisations_of

NOISE_JY = 2.6
N_SUBBANDS = 16


def make_meta(n_ant=14, n_times=12, n_chan=192):
    ant1, ant2 = np.triu_indices(n_ant)
    width = 187.5e6 / n_chan
    return MsMeta(
        tile="tile",
        times_jd=2460979.05 + np.arange(n_times) * 12.884902 / 86400,
        integration_s=np.full(n_times, 12.884902),
        antenna_names=[str(101 + i) for i in range(n_ant)],
        antenna_positions_m=np.zeros((n_ant, 3)),
        diameters_m=np.full(n_ant, 4.65),
        ant1=ant1,
        ant2=ant2,
        freq_hz=1311.25e6 + (np.arange(n_chan) + 0.5) * width,
        channel_width_hz=width,
        correlations=(9, 12),
        phase_ra_rad=1.0,
        phase_dec_rad=0.9,
        field_name="meridian",
        pointing_dec_rad=0.9,
        longitude_deg=-118.0,
        latitude_deg=37.0,
        height_m=1000.0,
        telescope_name="OVRO_MMA",
    )


def band(meta, kind, rng):
    """Amplitudes of antennas (nant, nchan, 2): what the electronics do to sky and noise."""
    n_chan = len(meta.freq_hz)
    across = np.linspace(-0.5, 0.5, n_chan)
    one = {
        "flat": np.ones(n_chan),
        "falls by 6 dB": 10 ** (-6 * across / 20),
        "steps": np.repeat(np.resize([0.7, 1.0, 1.4], N_SUBBANDS), n_chan // N_SUBBANDS),
        "rolls off": 10 ** (-10 / 40 * (1 + np.cos(np.pi * np.clip((0.5 - abs(across)) * 187.5 / 6, 0, 1)))),
    }[kind]
    size = (len(meta.antenna_names), 1, 2)
    ripple = 1 + 0.1 * np.sin(
        2 * np.pi * across * 187.5 / 90 + rng.uniform(0, 6, size).transpose(0, 2, 1)[:, 0, :, None]
    )
    return np.exp(0.15 * rng.normal(size=size)) * one[None, :, None] * ripple.transpose(0, 2, 1)


def make_data(meta, amplitude, rng, *, flux_jy=3.0, lines=False):
    """Noise and a source through the electronics; lines of 300 Jy and a burst, and where they are."""
    noise = NOISE_JY * (rng.normal(size=(*meta.shape, 2)) @ [1, 1j])
    length = (meta.ant2 - meta.ant1) / len(meta.antenna_names)
    data = noise + flux_jy * np.exp(2j * np.pi * 30e-9 * length[:, None, None] * meta.freq_hz[:, None])
    found = np.zeros(meta.shape[:3], bool)
    if lines:
        for chan in (25, 80, 150):
            data[:, :, chan] += 300 * np.exp(2j * np.pi * rng.random((meta.n_times, meta.n_baselines, 1)))
            found[:, :, chan] = True
        data[4, :, 20:140] += 100 * np.exp(2j * np.pi * rng.random((meta.n_baselines, 1, 1)))
        found[4, :, 20:140] = True
    return (data * amplitude[meta.ant1] * amplitude[meta.ant2]).astype(np.complex64), found


def shape_of(meta, data):
    n = len(meta.freq_hz) // N_SUBBANDS
    noise = NoiseShape(meta, [slice(k * n, (k + 1) * n) for k in range(N_SUBBANDS)])
    for i in range(meta.n_times):
        if noise.wants(i):
            noise.add(data[i], np.zeros(data.shape[1:], bool))
    return noise.result()


def flag(meta, data, shape, **options):
    present = np.ones(len(meta.freq_hz), bool)
    with Flagger(meta, FlaggingOptions(**options), present, 1) as flagger:
        flagger.flags[:] = False

        def read_block(i, first, out):
            out[:] = data[i, first : first + len(out)]

        report = flagger.run(read_block, shape)
        return flagger.flags[:, meta.ant1 != meta.ant2].copy(), report


@pytest.mark.parametrize("lines", [False, True], ids=["quiet", "lines"])
def test_a_steep_end_is_followed_where_many_antennas_make_it_certain(lines):
    """40 antennas and two subbands of 48 channels of 244 kHz, whose outer ends fall by 6 dB within 6 MHz."""
    rng = np.random.default_rng(13)
    meta = make_meta(n_ant=40, n_chan=96)
    inside = np.minimum(np.arange(96) + 0.5, 95.5 - np.arange(96)) * 0.244 / 6
    edge = 10 ** (-6 / 40 * (1 + np.cos(np.pi * np.minimum(inside, 1))))
    amplitude = np.exp(0.15 * rng.normal(size=(40, 1, 2))) * edge[:, np.newaxis]
    noise = NoiseShape(meta, [slice(0, 48), slice(48, 96)])
    for _ in range(meta.n_times):
        data = rng.normal(size=(*meta.shape[1:], 2)) @ [1, 1j]
        if lines:
            data[:, [12, 30, 31, 70]] += 30
        data *= amplitude[meta.ant1] * amplitude[meta.ant2]
        noise.add(data.astype(np.complex64), np.zeros(data.shape, bool))
    off = np.log(noise.result() / amplitude**2)
    off -= np.median(off, axis=1, keepdims=True)
    # An antenna's own channel is the mean of 39 logarithms (1.28 each) in the middle half of 12 integrations: 0.084.
    # Three coefficients fit 46 of them, neighbours of which are alike (x 1.5): 0.03 rms; at the very ends a parabola is
    # three times as uncertain. What antennas have in common is better by √20 for each of its eight coefficients.
    assert np.std(off) < 0.04
    mean = off.mean(axis=(0, 2))
    assert np.abs(mean[1:-1]).max() < 0.05
    assert np.abs(mean).max() < 0.1


KINDS = ["flat", "falls by 6 dB", "steps", "rolls off"]


@pytest.mark.parametrize("lines", [False, True], ids=["quiet", "lines and a burst"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_of_the_noise_is_found(kind, lines):
    rng = np.random.default_rng(7)
    meta = make_meta()
    amplitude = band(meta, kind, rng)
    data, _ = make_data(meta, amplitude, rng, lines=lines)
    expected = amplitude**2 / np.median(amplitude**2, axis=1, keepdims=True)
    off = np.log(shape_of(meta, data) / expected)
    # A channel of an antenna is the mean of 13 logarithms (1.28 each) in the middle half of 12 integrations: 0.11; two
    # coefficients fit ten of them, neighbours of which are alike: 0.065 rms. Weights that are off by it are 0.4 %
    # worse. The subbands at the ends, where the band falls by 10 dB in six channels, are judged by the worst alone.
    inside = slice(12, -12) if kind == "rolls off" else slice(None)
    assert np.std(off[:, inside]) < 0.085
    assert abs(np.median(off)) < 0.02
    assert np.abs(off).max() < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_electronics_are_not_interference(kind):
    rng = np.random.default_rng(8)
    meta = make_meta(n_ant=8, n_times=24)
    data, _ = make_data(meta, band(meta, kind, rng), rng, flux_jy=8.0)
    flags, _ = flag(meta, data, shape_of(meta, data))
    # where the band falls by 10 dB in six channels the very last on either side are lost, which weigh a tenth
    assert flags.mean() < (0.025 if kind == "rolls off" else 0.002)
    if kind == "steps":  # what the search makes of the raw band
        assert flag(meta, data, None)[0].mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_interference_is_found_whatever_the_band(kind):
    rng = np.random.default_rng(9)
    meta = make_meta(n_ant=8)
    data, where = make_data(meta, band(meta, kind, rng), rng, lines=True)
    flags, _ = flag(meta, data, shape_of(meta, data))
    truth = where[:, meta.ant1 != meta.ant2]
    assert flags[truth].mean() > 0.99
    assert flags[~truth].mean() < 0.03  # stretches grow on purpose


@pytest.mark.parametrize("kind", KINDS)
def test_weights_over_shape_are_the_inverse_variance_in_every_channel_and_on_every_baseline(kind):
    rng = np.random.default_rng(10)
    meta = make_meta(n_ant=14)
    amplitude = band(meta, kind, rng)
    data, _ = make_data(meta, amplitude, rng)
    shape = shape_of(meta, data)
    _, report = flag(meta, data, shape, aoflagger=False)
    cross = meta.ant1 != meta.ant2
    variance = shape[meta.ant1] * shape[meta.ant2] / report.weight.mean(axis=0)[:, np.newaxis]
    true = (NOISE_JY * amplitude[meta.ant1] * amplitude[meta.ant2]) ** 2
    ratio = (variance / true)[cross]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    # calibrated noise is flat, so that the best weights are all the same: how much worse than the best is the mean
    # that they make?
    calibrated = 1 / ratio
    loss = np.sqrt((calibrated**2).mean()) / calibrated.mean()
    assert loss < (1.035 if kind == "rolls off" else 1.01)


def test_an_antenna_whose_gain_jumps_has_weights_that_jump():
    rng = np.random.default_rng(11)
    meta = make_meta(n_ant=14)
    gain = np.ones((meta.n_times, 14))
    gain[6:, 3] = 0.6
    data, _ = make_data(meta, np.ones((14, 192, 2)), rng, flux_jy=0.0)
    data *= (gain[:, meta.ant1] * gain[:, meta.ant2])[:, :, None, None].astype(np.float32)
    _, report = flag(meta, data, shape_of(meta, data), aoflagger=False)
    cross = meta.ant1 != meta.ant2
    mine = cross & ((meta.ant1 == 3) | (meta.ant2 == 3))
    expected = NOISE_JY**-2.0
    # 13 baselines of 190 second differences: 2.5 % an antenna and integration, a median of six
    for rows, factor in ((slice(0, 6), 1.0), (slice(6, 12), 0.6**-2)):
        assert np.median(report.weight[rows][:, mine]) == pytest.approx(expected * factor, rel=0.04)
        assert np.median(report.weight[rows][:, cross & ~mine]) == pytest.approx(expected, rel=0.04)


def test_flatten_divides_by_both_antennas():
    meta = make_meta(n_ant=3, n_times=2, n_chan=4)
    amplitude = np.random.default_rng(1).uniform(0.5, 2, (3, 4, 2)).astype(np.float32)
    data = np.ones(meta.shape, np.complex64)
    flatten(data, meta.ant1, meta.ant2, *polarisations_of(meta), amplitude)
    np.testing.assert_allclose(data[1], 1 / (amplitude[meta.ant1] * amplitude[meta.ant2]), rtol=1e-6)


def test_a_missing_subband_and_a_dead_antenna_have_no_shape():
    rng = np.random.default_rng(12)
    meta = make_meta(n_ant=6)
    data, _ = make_data(meta, np.ones((6, 192, 2)), rng)
    data[:, (meta.ant1 == 2) | (meta.ant2 == 2)] = 0
    data[:, :, 24:36] = 0
    shape = shape_of(meta, data)
    np.testing.assert_array_equal(shape[2], 1.0)
    np.testing.assert_array_equal(shape[:, 24:36], 1.0)
    assert np.isfinite(shape).all()
