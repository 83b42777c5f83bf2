"""The simulator's visibilities: phases, smearing, noise, gains and interference against truth."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import HADec, SkyCoord
from astropy.time import Time

from contimg.simulate import SimOptions, Source, gains, geometry, night, rfi, signal, simulate, stations
from contimg.simulate.model import TileModel

ANTENNAS = ("1", "20", "51", "70", "102", "103", "104", "113", "115")
START = "2025-10-30T13:55:00"
C = 299792458.0

CLEAN = SimOptions(
    start=START,
    dec_deg=55.4,
    n_integrations=2,
    n_channels=4,
    antennas=ANTENNAS,
    noise=False,
    gain_amplitude_scatter=0.0,
    gain_phase_scatter_deg=0.0,
    delay_scatter_ns=0.0,
    band_ripple=0.0,
    seed=5,
)
SOURCE = Source("one", 129.9, 55.9, 5.0, -0.7)


def model_of(**changes: object) -> TileModel:
    options = dataclasses.replace(CLEAN, **changes)
    return night.tile_model(night.prepare(options, Path()), 0, options.dec_deg)


def cross(model: TileModel) -> np.ndarray:
    return np.flatnonzero(model.ant1 != model.ant2)


def meridian_source(integration: int, flux_jy: float) -> Source:
    """Return a source that is at (HA 0, pointing declination) at the midpoint of an integration."""
    first = night.start_mjd(CLEAN, [])
    time = Time(night.tile_times_jd(CLEAN, first, 0)[integration], format="jd", scale="utc")
    frame = HADec(obstime=time, location=stations.reference_location())
    place = SkyCoord(ha=0.0, dec=CLEAN.dec_deg, unit="deg", frame=frame).icrs
    return Source("there", place.ra.deg, place.dec.deg, flux_jy, -0.7)


def test_a_source_on_the_meridian_has_phase_zero_and_its_flux():
    model = model_of(sources=(meridian_source(1, 3.0),))
    vis = signal.subband_visibilities(model, 5)[1][cross(model)]
    expected = 3.0 * (signal.subband_freq_hz(CLEAN, 5) / 1.4e9) ** -0.7
    # float32 keeps 6e-8; a place off by 1 mas would turn 2.3 km by 3e-4 rad
    assert np.angle(vis) == pytest.approx(0.0, abs=1e-5)
    assert np.abs(vis) == pytest.approx(np.broadcast_to(expected[None, :, None], vis.shape), rel=1e-6)


def test_phases_follow_from_the_path_in_plain_vectors():
    model = model_of(sources=(SOURCE,), smearing=False)
    vis = signal.subband_visibilities(model, 0)
    freq = signal.subband_freq_hz(CLEAN, 0)
    table = stations.read_stations()
    position = table.positions_m[[table.names.index(n) for n in ANTENNAS]]
    position = position[np.argsort([int(n) for n in ANTENNAS])]
    frame = HADec(
        obstime=Time(model.times_jd[0], format="jd", scale="utc"), location=stations.reference_location()
    )
    seen = SkyCoord(SOURCE.ra_deg, SOURCE.dec_deg, unit="deg").transform_to(frame)
    longitude = stations.REFERENCE_LONGITUDE_RAD

    def ecef(hour_angle: float, dec: float) -> np.ndarray:
        greenwich = longitude - hour_angle
        return np.array([np.cos(dec) * np.cos(greenwich), np.cos(dec) * np.sin(greenwich), np.sin(dec)])

    excess = position @ (ecef(seen.ha.rad, seen.dec.rad) - ecef(0.0, np.radians(CLEAN.dec_deg)))
    baseline = excess[model.ant2] - excess[model.ant1]
    expected = np.exp(2j * np.pi * baseline[:, None] * freq[None] / C)
    rows = cross(model)
    turned = vis[0, rows, :, 0] * np.conj(expected[rows])
    # float32 visibilities
    assert np.angle(turned) == pytest.approx(0.0, abs=1e-5)


def test_pyuvdata_told_of_the_meridian_phases_a_source_to_real_positive_visibilities(tmp_path):
    from pyuvdata import UVData

    options = dataclasses.replace(CLEAN, sources=(SOURCE,), smearing=False)
    truth = simulate(options, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its checks say of this format is known
        uv = UVData()
        uv.read(truth.files(0)[3], file_type="uvh5", run_check=False)
        assert uv.phase_center_catalog[0]["cat_type"] == "unprojected"
        uv.set_lsts_from_time_array()
        pointing = np.radians(options.dec_deg)
        latitude = uv.telescope.location.lat.rad
        uv.phase_center_catalog[0] |= {"cat_type": "driftscan", "cat_name": "meridian", "cat_lon": 0.0}
        uv.phase_center_catalog[0]["cat_lat"] = np.pi / 2 - abs(pointing - latitude)
        uv.phase_center_app_ra = uv.lst_array.copy()
        uv.phase_center_app_dec = np.full(uv.Nblts, pointing)
        uv.phase_center_frame_pa = np.zeros(uv.Nblts)
        stored = uv.uvw_array.astype(float)
        uv.uvw_array = stored.copy()
        uv.set_uvws_from_antenna_positions(update_vis=False)
        # float32 of 2300 m: half a unit in the last place is 1.2e-4 m
        assert uv.uvw_array == pytest.approx(stored, abs=1.3e-4)
        uv.phase(ra=np.radians(SOURCE.ra_deg), dec=np.radians(SOURCE.dec_deg), cat_name="one")
    data = uv.data_array[uv.ant_1_array != uv.ant_2_array]
    # 1 mdeg, the two ways to the apparent place being different code; a place off by 1" would turn the
    # longest baseline by 19 deg
    assert np.degrees(np.angle(data)) == pytest.approx(0.0, abs=1e-3)
    apparent = signal.apparent_flux(
        night.tile_model(night.prepare(options, tmp_path), 0, 55.4), uv.freq_array.ravel()
    )
    spread = np.ptp(apparent) + 1e-5
    assert np.abs(data) == pytest.approx(apparent.mean(), abs=spread)


def brute_force(model: TileModel, freq_hz: float, baseline: int, t: int) -> complex:
    """Average a source's fringe over sub-integrations and sub-channels, each place from astropy."""
    options = model.options
    n_time, n_freq = 41, 101
    seconds = options.integration_s * ((np.arange(n_time) + 0.5) / n_time - 0.5)
    source = model.sources[0]
    ha, dec = geometry.hour_angle_dec(
        np.array([source.ra_deg]), np.array([source.dec_deg]), model.times_jd[t] + seconds / 86400.0
    )
    followed = geometry.direction(
        2 * np.pi * 1.00273781191135448 * seconds / 86400.0, np.full(n_time, np.radians(options.dec_deg))
    )
    table = stations.read_stations()
    at = geometry.to_meridian_frame(table.positions_m[model.antenna_numbers])
    span = at[model.ant2[baseline]] - at[model.ant1[baseline]]
    path = (geometry.direction(ha[:, 0], dec[:, 0]) - followed) @ span
    freqs = freq_hz + options.channel_width_hz * ((np.arange(n_freq) + 0.5) / n_freq - 0.5)
    return complex(np.exp(2j * np.pi * path[:, None] * freqs[None, :] / C).mean())


def test_smearing_equals_the_average_of_finely_sampled_fringes():
    # 1.3 deg off in declination and hour angle, channels of 6 MHz: up to 40 % of the fringe is lost
    source = Source("far", 131.0, 56.6, 1.0)
    model = model_of(sources=(source,), n_channels=2)
    bare = signal.subband_visibilities(model_of(sources=(source,), n_channels=2, smearing=False), 2)
    vis = signal.subband_visibilities(model, 2)
    freq = signal.subband_freq_hz(model.options, 2)
    power = np.abs(bare[0, cross(model)[0], :, 0])
    losses, errors = [], []
    for baseline in cross(model):
        for channel in (0, 1):
            expected = brute_force(model, freq[channel], baseline, 0)
            losses.append(abs(expected))
            errors.append(abs(vis[0, baseline, channel, 0] / power[channel] - expected))
    # n midpoints overstate sin(x) / x by x^2 / (6 n^2): 5e-5 at x = 1.7 and n = 101 channels, 2e-5 at x = 0.5
    # and n = 41 times. A rate that changes within the integration adds 2 pi / lambda times 7e-6 m: 2e-4.
    assert max(errors) < 3e-4
    assert min(losses) < 0.65
    assert max(losses) > 0.998


def test_a_gaussian_shows_what_the_points_it_stands_for_do():
    # nodes of Gauss-Hermite quadrature in both axes, exact for polynomials of degree 31 in the offset; the beam is made
    # so wide that it does not differ between them, and smearing is off as it does
    wide = Source("wide", 129.9, 55.9, 5.0, -0.7, 30.0, 12.0, 60.0)
    nodes, weights = np.polynomial.hermite.hermgauss(16)
    sigma = np.sqrt(2) * nodes / np.sqrt(8 * np.log(2)) / 3600
    sine, cosine = np.sin(np.radians(wide.angle_deg)), np.cos(np.radians(wide.angle_deg))
    a, b = (grid.ravel() for grid in np.meshgrid(sigma * wide.major_arcsec, sigma * wide.minor_arcsec))
    share = np.outer(weights, weights).ravel() / np.pi
    # offsets in the plane that touches the sky at the source, to the second order
    frame = SkyCoord(wide.ra_deg, wide.dec_deg, unit="deg").skyoffset_frame()
    sky = SkyCoord(a * sine + b * cosine, a * cosine - b * sine, unit="deg", frame=frame).icrs
    points = [
        Source(f"p{k}", ra, dec, wide.flux_jy * part, -0.7)
        for k, (ra, dec, part) in enumerate(zip(sky.ra.deg, sky.dec.deg, share, strict=True))
    ]
    settings = {"smearing": False, "dish_diameter_m": 0.1}
    seen = []
    for sources in ((wide,), tuple(points)):
        model = model_of(sources=sources, **settings)
        seen.append(signal.subband_visibilities(model, 3)[1][cross(model), :, 0])
    assert np.abs(seen[0]).min() < 0.2 * np.abs(seen[0]).max()  # the longest baselines resolve it
    # 256 sums in single precision; of 5 Jy
    assert np.abs(seen[0] - seen[1]).max() < 1e-4


def test_noise_follows_the_radiometer_equation_and_autocorrelations_hold_the_sefd():
    model = model_of(noise=True, n_channels=48, n_integrations=8, sefd_jy=5000.0)
    options = model.options
    vis = signal.subband_visibilities(model, 0)
    sigma = 5000.0 / np.sqrt(2 * options.channel_width_hz * options.integration_s)
    rows = cross(model)
    values = vis[:, rows].ravel()
    n = values.size
    # the standard deviation of n values is known to 1 / sqrt(2 n); 5 of those
    assert values.real.std() == pytest.approx(sigma, rel=5 / np.sqrt(2 * n))
    assert values.imag.std() == pytest.approx(sigma, rel=5 / np.sqrt(2 * n))
    assert abs(values.mean()) < 5 * sigma * np.sqrt(2 / n)
    assert abs(np.mean(values.real * values.imag)) < 5 * sigma**2 / np.sqrt(n)
    autos = np.flatnonzero(model.ant1 == model.ant2)
    auto = vis[:, autos]
    assert (auto.imag == 0).all()
    assert auto.real.mean() == pytest.approx(5000.0, abs=5 * np.sqrt(2) * sigma / np.sqrt(auto.size))
    assert auto.real.std() == pytest.approx(np.sqrt(2) * sigma, rel=5 / np.sqrt(2 * auto.size))


def test_gains_multiply_as_g1_times_conjugate_g2_and_the_truth_knows_them(tmp_path):
    changes = {
        "sources": (SOURCE,),
        "gain_amplitude_scatter": 0.2,
        "gain_phase_scatter_deg": 180.0,
        "delay_scatter_ns": 8.0,
        "band_ripple": 0.1,
        "phase_drift": "linear",
        "phase_drift_deg_per_hour": 300.0,
        "n_subbands": 2,
    }
    model = model_of(**changes)
    bare = signal.subband_visibilities(model_of(sources=(SOURCE,), n_subbands=2), 1)
    vis = signal.subband_visibilities(model, 1)
    truth = simulate(model.options, tmp_path)
    g = truth.gains(model.times_jd - 2400000.5, signal.subband_freq_hz(model.options, 1))
    expected = g[:, model.ant1] * np.conj(g[:, model.ant2]) * bare
    rows = cross(model)
    # complex64 products: a few times 6e-8
    assert vis[:, rows] == pytest.approx(expected[:, rows], rel=3e-6)
    by_name = {a.name: a for a in truth.antennas}
    # 300 deg/hour over the 12.9 s between integrations
    turned = np.angle(g[1, 0, 0, 0] / g[0, 0, 0, 0], deg=True)
    assert turned == pytest.approx(by_name["1"].drift_deg_per_hour[0] * 12.884902 / 3600.0, abs=1e-4)


def test_a_delay_turns_the_phase_by_one_cycle_per_inverse_delay():
    one = gains.draw(dataclasses.replace(CLEAN, delay_scatter_ns=10.0), "20", 60000.0)
    freq = CLEAN.band_centre_hz + np.array([0.0, 1e9 / one.delay_ns[0]])
    g = gains.evaluate([one], np.array([60000.0]), freq)[0, 0, :, 0]
    assert g[0] == pytest.approx(1.0)
    assert g[1] == pytest.approx(1.0, abs=1e-9)


def test_a_wander_starts_at_zero_and_has_the_rate_asked_for():
    options = dataclasses.replace(CLEAN, phase_drift="wander", phase_drift_deg_per_hour=20.0)
    hours = np.arange(0.0, 400.0, 0.02)
    rates = []
    for name in ANTENNAS:
        gain = gains.draw(options, name, 60000.0)
        for p in (0, 1):
            phase = gains.drift_deg(gain, p, 60000.0 + hours / 24.0)
            assert phase[0] == 0.0
            rates.append(np.diff(phase) / 0.02)
    # 18 wanders over 400 h: the mean square of each is fixed to about (period / duration)
    assert np.sqrt(np.mean(np.square(rates))) == pytest.approx(20.0, rel=0.05)


def test_a_sick_antenna_swings_within_minutes_and_the_others_are_as_without_it():
    options = dataclasses.replace(CLEAN, sick_antennas=(ANTENNAS[1],))
    hours = np.arange(0.0, 10.0, 0.001)
    times = 60000.0 + hours / 24.0
    for name in ANTENNAS[:2]:
        sick, well = (gains.draw(o, name, 60000.0) for o in (options, CLEAN))
        assert sick.amplitude == well.amplitude
        scatter = [np.std(gains.drift_deg(sick, p, times)) for p in (0, 1)]
        # four waves of at least 250 periods each: their mean square is fixed to better than 1 %
        expected = 60.0 if name == ANTENNAS[1] else 0.0
        assert scatter == pytest.approx([expected, expected], rel=0.02)


@pytest.mark.parametrize("mode", ["noise", "zeros"])
def test_a_dead_antenna_has_no_sky(mode):
    model = model_of(sources=(SOURCE,), dead_antennas=("51",), dead_mode=mode, rfi_lines_mhz=(1405.0,))
    vis = np.concatenate([signal.subband_visibilities(model, s) for s in range(16)], axis=2)
    dead = list(model.antenna_numbers).index(50)
    touched = (model.ant1 == dead) | (model.ant2 == dead)
    assert (vis[:, touched & (model.ant1 != model.ant2)] == 0).all()  # no thermal noise in this model
    auto = vis[:, touched & (model.ant1 == model.ant2)].real
    assert (auto == (6500.0 if mode == "noise" else 0.0)).all()
    assert (np.abs(vis[:, ~touched]) > 1.0).any(axis=(0, 2, 3)).all()


def test_a_line_is_in_its_channel_at_all_times_and_a_burst_in_its_integration_across_channels():
    model = model_of(rfi_lines_mhz=(1405.0,), rfi_bursts=1, n_channels=48, n_integrations=6)
    options = model.options
    vis = np.concatenate([signal.subband_visibilities(model, s) for s in range(16)], axis=2)
    freq = np.concatenate([signal.subband_freq_hz(options, s) for s in range(16)])
    hit = np.abs(vis[:, cross(model)]).max(axis=(1, 3)) > 0
    burst = model.bursts[0]
    in_line = np.abs(freq - 1405e6) < 0.5 * (options.channel_width_hz + 0.2e6)
    half = 0.5 * options.channel_width_hz
    in_burst = (freq + half > burst.freq_low_hz) & (freq - half < burst.freq_high_hz)
    expected = np.broadcast_to(in_line, hit.shape).copy()
    expected[burst.integration] |= in_burst
    assert (hit == expected).all()
    assert in_burst.mean() > 0.29


def test_interference_closes_its_phases_as_one_transmitter_does():
    model = model_of(rfi_bursts=1)
    vis = np.concatenate([signal.subband_visibilities(model, s) for s in range(16)], axis=2)
    vis = vis[model.bursts[0].integration]
    row = {pair: k for k, pair in enumerate(zip(model.ant1.tolist(), model.ant2.tolist(), strict=True))}
    lit = np.abs(vis[row[0, 1], :, 0]) > 0
    assert lit.sum() > 15
    for i, j, k in ((0, 1, 2), (1, 3, 5), (2, 4, 6)):
        triple = (vis[row[i, j]] * vis[row[j, k]] * np.conj(vis[row[i, k]]))[lit]
        # c_i c_j* c_j c_k* c_i* c_k is real; the smearing of each baseline is real, of either sign (float32)
        assert np.abs(triple.imag / triple.real).max() < 1e-5


def test_a_line_dilutes_in_a_wider_channel():
    share = rfi.overlap(np.array([1405e6, 1406e6]), 1e6, 1404.9e6, 1405.1e6)
    assert share == pytest.approx([0.2, 0.0])


def test_four_products_have_the_sky_in_the_parallel_hands_alone():
    model = model_of(sources=(SOURCE,), n_polarizations=4)
    vis = signal.subband_visibilities(model, 0)[:, cross(model)]
    assert (vis[..., [1, 2]] == 0).all()
    assert (np.abs(vis[..., [0, 3]]) > 1.0).all()
    two = signal.subband_visibilities(model_of(sources=(SOURCE,)), 0)[:, cross(model)]
    assert (vis[..., [0, 3]] == two).all()


def test_ascending_files_hold_the_same_sky_in_the_other_order():
    down = signal.subband_visibilities(model_of(sources=(SOURCE,)), 0)
    up = signal.subband_visibilities(model_of(sources=(SOURCE,), descending=False), 15)
    assert signal.subband_freq_hz(CLEAN, 0)[0] == pytest.approx(1498.75e6 - 0.5 * CLEAN.channel_width_hz)
    # the time smearing is followed to first order from either end of the subband: 0.8 % squared times x^2 / 6
    assert up[:, :, ::-1] == pytest.approx(down, rel=3e-5)


def test_the_truth_of_a_tile_is_the_flux_times_the_beam_along_the_drift():
    model = model_of(sources=(meridian_source(0, 2.0),), n_integrations=24)
    apparent = signal.apparent_flux(model, np.array([1.4e9]))[:, 0, 0]
    # from the first integration on the source drifts west by 15.04" cos(dec) a second
    offset = np.radians(15.0411 * 12.884902 / 3600.0 * np.arange(24) * np.cos(np.radians(55.4)))
    x = np.pi * 4.65 * offset * 1.4e9 / C
    series = 1 - x**2 / 4 + 5 * x**4 / 192 - 7 * x**6 / 4608  # of (2 J1(x) / x)^2
    # the drift is a small circle, not a great one: offset^3 / 24 * tan^2(dec) = 1e-5 deg; place of the source
    assert apparent == pytest.approx(2.0 * series, rel=2e-4)
