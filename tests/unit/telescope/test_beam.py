"""The Airy beam against its closed forms, and the drift average against the sum it stands for."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from contimg.telescope import beam, geometry

C = 299792458.0
FREQ = 1.4e9
DISH = 4.65
AIRY = beam.AiryBeam(DISH)
LOC = geometry.location(-118.283, 37.234, 1188.0)
MID_JD = 2460978.0417


def test_half_power_is_at_half_of_1_029_wavelengths_over_the_dish():
    # (2 J1(x)/x)² = 1/2 at x = 1.61633995; as sin θ = x λ/(π D), FWHM/2 in sine is 0.514497 λ/D.
    theta = np.arcsin(1.61633994832 / np.pi * C / FREQ / DISH)
    assert beam.airy_power(theta, FREQ, DISH) == pytest.approx(0.5, abs=1e-10)
    assert 2 * np.sin(theta) == pytest.approx(1.029 * C / FREQ / DISH, rel=1e-3)
    assert np.degrees(2 * theta) == pytest.approx(2.715, abs=0.005)


def test_first_null_is_at_1_22_wavelengths_over_the_dish():
    # First zero of J1: 3.8317059702.
    theta = np.arcsin(3.8317059702075125 / np.pi * C / FREQ / DISH)
    assert np.sin(theta) * FREQ * DISH / C == pytest.approx(1.2197, abs=1e-4)
    assert beam.airy_power(theta, FREQ, DISH) < 1e-20


def test_beam_is_the_fourier_transform_of_a_filled_disk():
    # 2 J1(x)/x = 2 ∫0^1 J0(x r) r dr, integrated numerically: an independent way to the same pattern.
    theta = 0.021
    x = np.pi * DISH * np.sin(theta) * FREQ / C
    voltage = 2 * quad(lambda r: j0(x * r) * r, 0, 1)[0]
    assert beam.airy_power(theta, FREQ, DISH) == pytest.approx(voltage**2, rel=1e-10)


def test_beam_is_one_on_the_axis_and_smooth_beside_it():
    theta = np.array([0.0, 1e-12, 1e-9, 1e-8, 1e-6, 1e-5])
    x = np.pi * DISH * theta * FREQ / C
    # Series 1 − x²/4 + 5x⁴/192: the next term at x = 7e-4 is below 1e-14.
    np.testing.assert_allclose(beam.airy_power(theta, FREQ, DISH), 1 - x**2 / 4, atol=3e-13)


def test_dish_sees_nothing_behind_itself():
    assert beam.airy_power(np.radians([91.0, 180.0]), FREQ, DISH).tolist() == [0.0, 0.0]


def test_beam_scales_with_frequency_times_sine():
    theta = np.radians(1.1)
    narrower = np.arcsin(np.sin(theta) * 1311.4 / 1498.6)
    assert beam.airy_power(theta, 1311.4e6, DISH) == pytest.approx(
        beam.airy_power(narrower, 1498.6e6, DISH), rel=1e-12
    )


def test_a_dish_without_size_is_refused():
    with pytest.raises(ValueError, match="must be positive, found 0"):
        beam.airy_power(0.0, FREQ, 0.0)


def test_separation_agrees_with_the_dot_product_of_unit_vectors():
    rng = np.random.default_rng(3)
    ha, dec = rng.uniform(-np.pi, np.pi, 50), rng.uniform(-1.5, 1.5, 50)
    pointing = 0.65
    cosine = np.sin(dec) * np.sin(pointing) + np.cos(dec) * np.cos(pointing) * np.cos(ha)
    # arccos loses half the digits only near 0 and π, which 50 random points stay clear of by > 1e-2 rad.
    np.testing.assert_allclose(beam.pointing_separation(ha, dec, pointing), np.arccos(cosine), atol=1e-12)


def test_separation_keeps_its_digits_at_a_microarcsecond():
    tiny = np.radians(1e-6 / 3600)
    assert beam.pointing_separation(0.0, 0.65 + tiny, 0.65) == pytest.approx(tiny, rel=1e-3)
    assert beam.pointing_separation(tiny, 0.65, 0.65) == pytest.approx(tiny * np.cos(0.65), rel=1e-9)


def _drift(n_times: int) -> np.ndarray:
    return MID_JD + (np.arange(n_times) - (n_times - 1) / 2) * 12.884902 / 86400


def test_a_source_drifts_symmetrically_through_the_beam_about_its_transit():
    times = _drift(25)
    pointing = np.radians(55.0)
    ra, dec = geometry.meridian_icrs(MID_JD, pointing, LOC)
    power = beam.drift_power(ra, dec, times, LOC, pointing, [FREQ], AIRY)[0, :, 0]
    assert power[12] == pytest.approx(1.0, abs=1e-9)
    # Transit is at MID_JD to the ms, so the two sides agree to under 2e-5.
    np.testing.assert_allclose(power, power[::-1], atol=2e-5)
    assert np.all(np.diff(power[:13]) > 0)


def test_drift_average_is_the_weighted_mean_of_the_drift_power():
    times, freq = _drift(6), np.linspace(1311e6, 1498e6, 5)
    pointing = np.radians(55.0)
    ra0, dec0 = geometry.meridian_icrs(MID_JD, pointing, LOC)
    ra, dec = np.ravel(ra0) + np.array([0.0, 0.01, -0.02]), np.ravel(dec0) + np.array([0.0, -0.005, 0.01])
    weights = np.random.default_rng(1).uniform(0, 2, (6, 5))
    weights[:, 3] = 0.0
    power = beam.drift_power(ra, dec, times, LOC, pointing, freq, AIRY)
    expected = (power * weights).sum(axis=(1, 2)) / weights.sum()
    got = beam.drift_average(ra, dec, times, LOC, pointing, freq, weights, AIRY)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_flagging_half_a_tile_changes_the_beam_of_a_source_off_centre():
    times, pointing = _drift(24), np.radians(30.0)
    ra0, dec0 = geometry.meridian_icrs(MID_JD, pointing, LOC)
    east = np.ravel(ra0) + np.radians(1.0) / np.cos(pointing)
    all_data, second_half = np.ones((24, 1)), np.ones((24, 1))
    second_half[:12] = 0
    arguments = (east, np.ravel(dec0), times, LOC, pointing, [FREQ])
    whole = beam.drift_average(*arguments, all_data, AIRY)[0]
    half = beam.drift_average(*arguments, second_half, AIRY)[0]
    # The source rises through the beam: half a tile is 155 s · 15″ · cos 30° = 0.56°, so the second half sees
    # it 0.28° nearer the centre on the mean. d ln P/dθ at 1° is −0.98/°, hence 0.27 in ln P, about +24…31 %.
    assert 1.15 < half / whole < 1.35


def test_weights_of_a_wrong_shape_or_without_data_are_refused():
    arguments = ([0.1], [0.9], _drift(3), LOC, 0.9, [FREQ, 1.41e9])
    with pytest.raises(ValueError, match=r"\(3, 2\), found \(2, 3\)"):
        beam.drift_average(*arguments, np.ones((2, 3)), AIRY)
    with pytest.raises(ValueError, match="sum to zero"):
        beam.drift_average(*arguments, np.zeros((3, 2)), AIRY)
