"""What antennas that are off do to fluxes, from data over their model: against the fluxes that such data give."""

import numpy as np
import pytest

from builders.drift_tiles import make_meta
from contimg.gains.tables import Gains
from contimg.image.selfcal import _held
from contimg.image.selfcal_data import Divided
from contimg.image.selfcal_left import changed, left

N_ANT, N_TIMES = 16, 6
NONE = np.zeros((N_ANT, 2), bool)
ANTENNA_SNR = 20.0
"""Of an antenna in an integration."""


def tile(gains=1.0, *, seed=1, extra=0.0, snr=ANTENNA_SNR):
    """D of a tile whose sources were fitted to it: gains (nt, nant, 2), noise, and `extra` sky that is in no model."""
    meta = make_meta(n_ant=N_ANT, n_times=N_TIMES)
    rng = np.random.default_rng(seed)
    gains = np.broadcast_to(gains, (N_TIMES, N_ANT, 2)).astype(complex)
    size = (N_TIMES, meta.n_baselines, 2)
    weight = np.where((meta.ant1 != meta.ant2)[:, np.newaxis], snr**2 / (N_ANT - 1), 0.0) * np.ones(size)
    noise = rng.normal(size=size) + 1j * rng.normal(size=size)
    sky = extra * np.exp(2j * np.pi * rng.uniform(size=size[1:]))  # the same in all integrations
    ratio = gains[:, meta.ant1] * gains[:, meta.ant2].conj() + sky
    ratio += np.divide(noise, np.sqrt(weight), out=np.zeros(size, complex), where=weight > 0)
    ratio /= np.sum(weight * ratio.real) / np.sum(weight)  # a flux that is fitted is the mean
    return Divided(meta, ratio, weight, weight.size)


def one_off(factor, when=slice(N_TIMES // 2, None)):
    gains = np.ones((N_TIMES, N_ANT, 2), complex)
    gains[when, 5] *= factor
    return gains


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("extra", [0.0, 0.5])
def test_noise_and_a_sky_in_no_model_change_nothing(seed, extra):
    found = left(tile(seed=seed, extra=extra), NONE)
    assert found.intervals == N_TIMES
    assert found.scale == 0.0
    assert found.loss < 3 * found.loss_error
    assert found.antennas == {}


def test_an_antenna_that_loses_gain_takes_its_share_of_the_fluxes():
    found = left(tile(one_off(0.6)), NONE)
    # 15 of 120 baselines have 0.6 for half the tile: 1 - 15 / 120 * 0.4 / 2 = 0.975; noise of an antenna in an
    # integration is 5 % of 0.4
    assert found.scale == pytest.approx(-0.025, rel=0.15)
    assert list(found.antennas) == ["6"]
    # the worst of six such values
    assert float(found.antennas["6"].split()[1].rstrip(",")) == pytest.approx(0.55, abs=0.15)
    # one of 96 would take 0.4 %: the number is what the image loses, not how far off the antenna is


def test_an_antenna_with_another_phase_takes_flux_as_well():
    found = left(tile(one_off(np.exp(1j * np.radians(-72.0)))), NONE)
    assert found.scale == pytest.approx(15 / 120 / 2 * (np.cos(np.radians(72.0)) - 1), rel=0.15)
    assert "phase -" in found.antennas["6"]


def test_what_is_left_out_of_the_image_does_not_count():
    bad = NONE.copy()
    bad[5] = True
    found = left(tile(one_off(0.6)), bad)
    assert found.scale == 0.0
    assert found.antennas == {}


def test_phases_that_scatter_take_their_variance():
    phases = np.radians(12.0) * np.random.default_rng(4).normal(size=(N_TIMES, N_ANT, 2))
    found = left(tile(np.exp(1j * phases)), NONE)
    # σ² of 192 phases, each less its interval's mean: good to √(2 / 192) = 10 %, three of them; noise adds 1 % of flux
    assert found.loss == pytest.approx(np.radians(12.0) ** 2 * (1 - 1 / N_ANT), rel=0.35)
    assert found.loss > 3 * found.loss_error


def test_antennas_that_change_within_a_tile_are_named_and_drifts_are_not():
    rng = np.random.default_rng(9)
    meta = tile().meta
    # 30 deg/h over 77 s
    hours = np.arange(N_TIMES)[:, np.newaxis, np.newaxis] * 12.9 / 3600
    phases = np.radians(30.0) * hours * rng.normal(size=(1, N_ANT, 2))
    # a phase is solved for where an antenna has S/N 20, an amplitude where it has 100
    size = (N_TIMES, N_ANT, 2)
    gains = (1.0 + 0.01 * rng.normal(size=size)) * np.exp(1j * (phases + 0.05 * rng.normal(size=size)))
    assert changed(gains, meta) == {}
    gains[3:, 5] *= 0.6
    gains[2:, 8, 1] *= np.exp(1j * np.radians(90.0))
    found = changed(gains, meta)
    assert list(found) == ["6", "9"]
    assert "polarisation 1" in found["9"]
    assert float(found["9"].split("phase by ")[1].split()[0]) == pytest.approx(90.0, abs=15.0)


def test_too_faint_a_sky_tells_nothing():
    # 8 / √6 in an integration, 8 over the tile, for which 10 are needed
    assert left(tile(snr=8.0 / np.sqrt(N_TIMES)), NONE) is None


def test_the_scale_that_a_solution_holds_is_that_of_the_antennas_which_did_not_change():
    rng = np.random.default_rng(6)
    amplitude = np.exp(0.02 * rng.normal(size=(1, N_ANT, 2)))
    amplitude[:, 5] *= 0.6
    good = np.ones((N_ANT, 1, 2), bool)
    held, solved = _held(Gains(np.ones(good.shape, complex), good, np.zeros(1), amplitude.astype(complex)))
    assert solved.all()
    others = np.delete(np.log(np.abs(held)), 5, axis=1)
    # the mean of all sixteen would put the others 1.03 too high, and all fluxes 6 % too low
    assert others.mean(axis=1) == pytest.approx(0.0, abs=1e-12)
    # with no antenna far off it is the mean of all
    amplitude[:, 5] /= 0.6
    even, _ = _held(Gains(np.ones(good.shape, complex), good, np.zeros(1), amplitude.astype(complex)))
    assert np.log(np.abs(even)).mean(axis=1) == pytest.approx(0.0, abs=1e-12)
