"""What real arrays have, as the simulator makes it: each by its formula, and off by default."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import HADec, SkyCoord
from astropy.time import Time
from scipy import stats
from scipy.special import j1

from contimg.simulate import (
    SimOptions,
    Source,
    a_team,
    clip,
    counts,
    gains,
    geometry,
    night,
    screen,
    signal,
    simulate,
    sky,
)
from contimg.simulate.options import Jump, from_dict, preset, to_dict
from contimg.simulate.parse import parse_jump
from contimg.simulate.stations import reference_location

BASE = SimOptions(
    start="2025-10-30T08:00:00",
    dec_deg=40.0,
    n_integrations=4,
    n_subbands=4,
    n_channels=8,
    antennas=("1", "24", "51", "102", "104", "116"),
    gain_amplitude_scatter=0.0,
    gain_phase_scatter_deg=0.0,
    delay_scatter_ns=0.0,
    band_ripple=0.0,
)


def overhead(options, *, offset_ha_deg=0.0, offset_dec_deg=0.0, **values):
    """The options with a source of 10 Jy at an offset from the pointing in the middle of the tile."""
    middle = night.tile_times_jd(options, night.start_mjd(options, []), 0).mean()
    frame = HADec(obstime=Time(middle, format="jd"), location=reference_location())
    place = SkyCoord(offset_ha_deg * u.deg, (options.dec_deg + offset_dec_deg) * u.deg, frame=frame).icrs
    source = Source("S", float(place.ra.deg), float(place.dec.deg), 10.0)
    return dataclasses.replace(options, sources=(source,), **values)


def tile(options, index=0):
    return night.tile_model(night.prepare(options, Path()), index, options.dec_deg)


def test_power_falls_along_the_band_rolls_off_at_its_edges_and_steps_between_subbands():
    options = dataclasses.replace(
        BASE, band_slope_db=-6.0, band_edge_db=10.0, band_edge_mhz=5.0, subband_steps=(0.7, 1.0, 1.4, 1.0)
    )
    antenna = gains.draw(options, "1", 60000.0)
    low, high, centre = options.band_low_hz, options.band_high_hz, options.band_centre_hz
    at = np.array([low, low + 2.5e6, low + 5.1e6, centre + 1.0, high - 5.1e6, high - 1.0])
    decibel = 20 * np.log10(gains.band_shape(antenna, 0, at))
    step = 20 * np.log10([0.7, 0.7, 0.7, 1.4, 1.0, 1.0])
    inside = (at - centre) / (high - low)
    # the edge: -10 dB at 0, half of it in dB halfway, nothing beyond 5 MHz
    np.testing.assert_allclose(decibel, -6.0 * inside + step + [-10, -5, 0, 0, 0, -10], atol=1e-5)


def test_digitiser_scales_are_each_antennas_and_subbands_own_and_known_to_the_truth():
    options = dataclasses.replace(BASE, digitiser_scatter=0.2, n_subbands=16)
    scales = np.log([gains.draw(options, str(n), 6e4).scale for n in range(1, 41)])
    assert scales.shape == (40, 16, 2)
    # 1280 draws: the standard deviation is known to 2 %
    assert scales.std() == pytest.approx(0.2, rel=0.08)
    assert abs(np.corrcoef(scales[..., 0].ravel(), scales[..., 1].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("after", [False, True])
def test_noise_has_the_bands_shape_or_joins_behind_it(after):
    options = dataclasses.replace(BASE, n_integrations=24, n_subbands=1, n_channels=32, band_slope_db=-12.0)
    model = tile(dataclasses.replace(options, noise_after_electronics=after))
    cross = model.ant1 != model.ant2
    rms = signal.subband_visibilities(model, 0)[:, cross].real.std(axis=(0, 1, 3))
    shape = gains.band_shape(model.antenna_gains[0], 0, signal.subband_freq_hz(options, 0)) ** 2
    expected = signal.noise_sigma_jy(options) * (np.ones(32) if after else shape)
    # 24 x 15 x 2 samples: 2.6 % each, 4.5 sigma
    np.testing.assert_allclose(rms, expected, rtol=0.12)


def test_the_beam_is_that_of_the_true_dish_and_the_header_states_the_other(tmp_path):
    options = overhead(BASE, offset_dec_deg=1.0, noise=False, true_dish_diameter_m=4.43)
    stated = dataclasses.replace(options, true_dish_diameter_m=0.0)
    freq = np.array([1.4e9])
    one, other = (signal.apparent_flux(tile(o), freq).mean() for o in (options, stated))
    x = np.pi * np.sin(np.radians(1.0)) * 1.4e9 / 299792458.0
    expected = [(2 * j1(x * d) / (x * d)) ** 2 for d in (4.43, 4.65)]
    assert one / other == pytest.approx(expected[0] / expected[1], rel=1e-3)
    with h5py.File(
        simulate(dataclasses.replace(options, n_subbands=1, n_channels=2), tmp_path).files(0)[0]
    ) as file:
        assert file["Header/antenna_diameters"][0] == 4.65


def phase_of(options, one, two):
    """Phase (rad) of the first channel of the baseline between two antennas, (nt,)."""
    model = tile(options)
    names = [a.name for a in model.antenna_gains]
    pair = (model.ant1 == names.index(one)) & (model.ant2 == names.index(two))
    return np.angle(signal.subband_visibilities(model, 0)[:, pair, 0, 0][:, 0])


def test_an_antenna_off_its_stated_place_turns_by_the_path_to_the_source():
    options = overhead(BASE, noise=False, smearing=False)
    moved = dataclasses.replace(options, moved_antennas=("104:0:0:0.05",))
    turned = phase_of(moved, "24", "104") - phase_of(options, "24", "104")
    sine = np.sin(np.radians(40.0)) * np.sin(reference_location().lat.rad)
    cosine = np.cos(np.radians(40.0)) * np.cos(reference_location().lat.rad)
    freq = signal.subband_freq_hz(options, 0)[0]
    # up . direction = sin(altitude); the source is on the meridian within 25 s
    expected = 2 * np.pi * 0.05 * (sine + cosine) * freq / 299792458.0
    np.testing.assert_allclose(np.angle(np.exp(1j * (turned - expected))), 0.0, atol=1e-4)


def test_swapped_antennas_carry_each_others_signal():
    options = overhead(BASE, noise=False, offset_ha_deg=0.5)
    swapped = tile(dataclasses.replace(options, swapped_antennas=("51:104",)))
    plain = tile(options)
    names = [a.name for a in plain.antenna_gains]
    one, two = names.index("51"), names.index("104")
    np.testing.assert_array_equal(swapped.positions_m[one], plain.positions_m[two])
    # what the stopper did not know: the two paths to where it looked, constant in time
    difference = swapped.path_m[:, one, 0] - plain.path_m[:, two, 0]
    assert np.ptp(difference) < 1e-9
    assert abs(difference[0]) > 1.0


def test_a_jump_begins_at_its_moment_in_its_antenna_and_stays():
    options = dataclasses.replace(
        BASE, n_tiles=2, jumps=(Jump("51", 0, 0.5, 0.6, 2.0), Jump("all", 1, 0.0, 0.96))
    )
    start = night.start_mjd(options, [])
    antennas = [gains.draw(options, name, start) for name in ("51", "24")]
    times = np.concatenate([night.tile_times_jd(options, start, k) for k in (0, 1)]) - geometry.MJD_TO_JD
    freq = np.array([1.35e9, 1.45e9])
    found = gains.evaluate(antennas, times, freq)[..., 0]
    step = 0.6 * np.exp(2j * np.pi * 2e-9 * freq)
    np.testing.assert_allclose(found[2:4, 0] / found[:2, 0], np.tile(step, (2, 1)), rtol=1e-9)
    np.testing.assert_allclose(found[4:, 0] / found[:4, 0][2:3], 0.96, rtol=1e-9)
    np.testing.assert_allclose(found[:4, 1], found[0:1, 1].repeat(4, axis=0), rtol=1e-12)
    assert parse_jump("51:0:0.5:0.6:2") == options.jumps[0]


def test_the_screen_has_kolmogorovs_structure_function():
    options = dataclasses.replace(BASE, screen_deg=10.0)
    rng = np.random.default_rng(3)
    base = rng.uniform(-1e3, 1e3, (300, 2))
    angle = rng.uniform(0, 2 * np.pi, 300)
    step = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    times = 60000.0 + np.arange(60) * 0.01
    rms = []
    for length in (250.0, 1000.0):
        pair = screen.path_m(options, times, np.concatenate([base, base + length * step]))
        rms.append(np.std(pair[:, 300:] - pair[:, :300]) * 1.4e9 / 299792458.0 * 360.0)
    # 96 waves, of which a dozen carry most: 15 %
    assert rms[1] == pytest.approx(10.0, rel=0.3)
    assert np.log(rms[1] / rms[0]) / np.log(4.0) == pytest.approx(5 / 6, abs=0.12)


def test_refraction_shifts_all_sources_alike_and_stretches_the_field():
    options = dataclasses.replace(BASE, refraction_arcsec=5.0, refraction_stretch=2.0)
    offsets = np.radians(np.array([[[0.0, 1.0, 0.0]], [[0.0, 0.0, 2.0]]]).repeat(2000, axis=1))
    times = 60000.0 + np.linspace(0, 30, 2000)
    moved = np.degrees(screen.refraction_rad(options, times, offsets)) * 3600.0
    # 4 waves each; 30 days hold more than a hundred of their periods
    assert moved[:, :, 0].std(axis=1) == pytest.approx(5.0, rel=0.1)
    stretched = (moved[:, :, 1:] - moved[:, :, :1]) / [1.0, 2.0]
    assert stretched.std(axis=1).ravel() == pytest.approx(2.0, rel=0.1)


def test_refraction_moves_the_fringes_and_leaves_the_beam():
    options = overhead(BASE, offset_dec_deg=0.5)
    plain, moved = tile(options), tile(dataclasses.replace(options, refraction_arcsec=10.0))
    np.testing.assert_array_equal(plain.separation_rad, moved.separation_rad)
    shift = (moved.path_m - plain.path_m)[..., 0]
    longest = np.linalg.norm(plain.positions_m - plain.positions_m[0], axis=1).max()
    assert (
        0.1 * longest * 4.8e-5 < np.abs(shift - shift[:, :1]).max() < 3 * longest * 4.8e-5
    )  # 10 arcsec in rad


def test_clipping_keeps_what_clipped_samples_keep():
    rng = np.random.default_rng(2)
    common, own = rng.standard_normal((2, 400_000))
    x, y = 0.6 * common + 0.8 * own, common
    for level in (0.8, 1.5, 3.0):
        clipped = np.clip(x, -level, level)
        # 400,000 samples: 0.3 %
        assert np.mean(clipped * y) / np.mean(x * y) == pytest.approx(clip.kept(level), abs=0.01)
        assert np.mean(clipped**2) == pytest.approx(clip.power(level), abs=0.01)
    gain, noise = clip.gain_and_noise(np.array([1.0, 8.0]))
    assert noise[0] > 1.02
    np.testing.assert_allclose([gain[1], noise[1]], 1.0, atol=1e-9)


def test_a_bright_source_in_the_beam_compresses_the_antennas_that_clip():
    options = overhead(BASE, noise=False, clipped_antennas=("51",), clip_sigma=1.0)
    loud = dataclasses.replace(options, sources=(dataclasses.replace(options.sources[0], flux_jy=3000.0),))
    quiet_gain, loud_gain = tile(options).receiver_gain, tile(loud).receiver_gain
    k = [a.name for a in tile(options).antenna_gains].index("51")
    assert quiet_gain[0, k, 0] == pytest.approx(clip.kept(1.0 / np.sqrt(1 + 10 / 6500)), rel=1e-3)
    assert loud_gain[0, k, 0] == pytest.approx(clip.kept(1.0 / np.sqrt(1 + 3000 / 6500)), rel=1e-3)
    assert (np.delete(quiet_gain, k, axis=1) == 1).all()


def test_antennas_have_noise_of_their_own():
    options = dataclasses.replace(BASE, sefd_scatter=0.3, n_integrations=40)
    model = tile(options)
    cross = model.ant1 != model.ant2
    rms = signal.subband_visibilities(model, 0)[:, cross].real.std(axis=(0, 2))
    expected = model.receiver_noise[0, model.ant1] * model.receiver_noise[0, model.ant2]
    # 320 samples: 4 %
    np.testing.assert_allclose(rms, signal.noise_sigma_jy(options) * expected[cross], rtol=0.18)
    assert np.ptp(expected[cross]) > 0.3


def test_counts_are_those_of_surveys_and_drawn_fluxes_follow_them():
    square_degree = (np.pi / 180) ** 2
    rng = np.random.default_rng(1)
    flux = counts.draw(rng, 1e-3, 1.0, 1000 * square_degree)
    # FIRST finds some 90 sources a square degree above 1 mJy (Becker, White & Helfand 1995), NVSS 50 above 2.5 mJy
    # (Condon et al. 1998); both to 15 %
    assert len(flux) / 1000 == pytest.approx(90, rel=0.15)
    assert (flux > 2.5e-3).sum() / 1000 == pytest.approx(50, rel=0.15)
    below = np.array([(flux > s).sum() for s in (0.01, 0.1)]) / len(flux)
    steps = np.geomspace(1e-3, 1.0, 20001)
    density = counts.density(steps) * steps
    whole = np.cumsum(density[::-1])[::-1]
    np.testing.assert_allclose(below, np.interp([0.01, 0.1], steps, whole / whole[0]), rtol=0.05)


def test_the_background_is_the_same_sky_whatever_is_observed_of_it():
    options = dataclasses.replace(BASE, background_min_jy=0.01, background_max_jy=0.05, sky_radius_deg=2.0)
    one, other = tile(options), tile(dataclasses.replace(options, n_tiles=2), 1)
    shared = set(one.sources) & set(other.sources)
    area = np.pi * 2.0**2
    expected = 0.8 * (16.6 - 4.1) * area
    assert len(one.sources) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert len(shared) > 0.5 * len(one.sources)
    assert all(0.01 <= s.flux_jy <= 0.05 for s in one.sources)


def test_field_sources_may_have_sizes_and_are_else_the_same():
    options = dataclasses.replace(BASE, field_density_per_deg2=3.0)
    plain = night.prepare(options, Path()).sources
    wide = night.prepare(dataclasses.replace(options, field_extended_fraction=0.3), Path()).sources
    assert [(s.name, s.flux_jy, s.ra_deg) for s in plain] == [(s.name, s.flux_jy, s.ra_deg) for s in wide]
    part = np.mean([s.major_arcsec > 0 for s in wide])
    assert part == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / len(wide)))
    assert stats.gmean([s.major_arcsec for s in wide if s.major_arcsec]) == pytest.approx(30.0, rel=0.1)


def test_cygnus_a_is_a_double_in_a_sidelobe():
    lobes = [s for s in a_team.sources() if s.name.startswith("CygA")]
    apart = np.hypot(
        (lobes[0].ra_deg - lobes[1].ra_deg) * np.cos(np.radians(40.73)), lobes[0].dec_deg - lobes[1].dec_deg
    )
    assert apart * 3600 == pytest.approx(115, abs=2)
    # first sidelobe of the Airy pattern, 1.75 % at 3.7 wavelengths / (pi / 2 D), that is 4.2 deg
    options = SimOptions(
        transit_of="CygA-west", start="2025-10-30", dec_deg=36.6, a_team=True, sky_radius_deg=2.0
    )
    model = tile(options)
    assert [s.name for s in model.sources] == ["CygA-west", "CygA-east"]
    apparent = signal.apparent_flux(model, np.array([1.4e9])).mean(axis=(0, 1)).sum()
    assert 10 < apparent < 30


def test_spectra_may_curve():
    source = Source("S", 0.0, 0.0, 2.0, -0.5, curvature=-0.3)
    at = sky.spectrum([source], np.array([1.4e9, 14e9]))[0]
    np.testing.assert_allclose(at, [2.0, 2.0 * 10.0**-0.8], rtol=1e-12)


def test_the_demo_and_the_realistic_night_are_the_plain_night_with_more_in_it():
    realistic, demo = preset("realistic"), preset("demo")
    same = (
        "start",
        "transit_of",
        "dec_deg",
        "antennas",
        "n_tiles",
        "faults",
        "seed",
        "rfi_lines_mhz",
    )
    plain = preset("plain")
    for other in (realistic, demo):
        assert all(getattr(other, name) == getattr(plain, name) for name in same)
        assert set(plain.sources) <= set(other.sources)
    few = night.prepare(plain, Path()).sources
    more = night.prepare(dataclasses.replace(realistic, background_min_jy=0.04), Path()).sources
    assert {s.name for s in few} < {s.name for s in more}
    antenna = gains.draw(realistic, "103", 6e4)
    shape = 20 * np.log10(gains.band_shape(antenna, 0, signal.subband_freq_hz(realistic, 15)))
    # sb15 is the lowest: its outermost end is 6 dB down
    assert shape[-1] < shape[0] - 3


def test_all_of_it_survives_json():
    options = dataclasses.replace(
        BASE,
        jumps=(Jump("1", 0, 0.5, 0.9),),
        subband_steps=(0.7, 1.4),
        moved_antennas=("1:1:0:0",),
        clip_sigma=2.0,
    )
    assert from_dict(to_dict(options)) == options
