"""The drift model against sums over fine times and frequencies, the simulator, WSClean's predict, its own adjoint."""

import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from casacore import tables
from scipy import optimize

from builders.drift_tiles import ANTENNAS, POINTING_DEC, average, make_meta, raw_meta, simulated_ms, table_of
from builders.synthetic_ms import LOCATION, LONGITUDE_DEG
from contimg.core.errors import InputError
from contimg.drift.predict import EARTH_ROTATION_RAD_S, DriftArray, PointSources
from contimg.drift.sources import brightest
from contimg.ms.sets import MsWriter, read_meta
from contimg.simulate.options import Source
from contimg.telescope import geometry
from contimg.telescope.beam import AiryBeam, drift_power

C = 299792458.0


def offsets(meta, *places):
    """Sources at (east, north) degrees from the phase centre, 1 Jy, flat."""
    ra, dec = np.degrees(meta.phase_ra_rad), np.degrees(meta.phase_dec_rad)
    table = pd.DataFrame(
        [
            {"ra_deg": ra + e / np.cos(np.radians(dec + n)), "dec_deg": dec + n, "flux_jy": 1.0}
            for e, n in places
        ]
    )
    return PointSources.from_table(table.assign(spectral_index=0.0))


def path_m(meta, ha, dec):
    """w of every antenna toward (hour angle, declination), by its own formula, m."""
    longitude = np.radians(LONGITUDE_DEG)
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    meridian = np.array([np.cos(longitude), np.sin(longitude), 0.0])
    x, y, z = (
        meta.antenna_positions_m @ meridian,
        meta.antenna_positions_m @ east,
        meta.antenna_positions_m[:, 2],
    )
    return np.cos(dec) * (np.cos(ha) * x - np.sin(ha) * y) + np.sin(dec) * z


def fringe_by_fine_sampling(meta, source, i, step):
    """What the correlator, the fringe stopper, conversion and averaging do to 1 Jy; (nbl, nchan)."""
    raw = raw_meta(meta, step)
    a, b = meta.ant1, meta.ant2
    ha, dec = (
        v[0, i] for v in geometry.hour_angle_dec(source.ra_rad, source.dec_rad, meta.times_jd, LOCATION)
    )
    nodes, gauss = np.polynomial.legendre.leggauss(9)
    visibility = np.zeros((len(a), len(raw.freq_hz)), complex)
    for x, weight in zip(nodes, gauss, strict=True):
        turned = EARTH_ROTATION_RAD_S * 0.5 * x * meta.integration_s[i]
        extra = path_m(meta, ha + turned, dec) - path_m(meta, turned, POINTING_DEC)
        for y, part in zip(nodes, gauss, strict=True):
            freq = raw.freq_hz + 0.5 * y * raw.channel_width_hz
            visibility += 0.25 * weight * part * np.exp(2j * np.pi * np.outer(extra[a] - extra[b], freq) / C)
    centre = geometry.hour_angle_dec(meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd, LOCATION)
    moved = path_m(meta, centre[0][0, i], centre[1][0, i]) - path_m(meta, 0.0, POINTING_DEC)
    visibility *= np.exp(-2j * np.pi * np.outer(moved[a] - moved[b], raw.freq_hz) / C)
    return visibility.reshape(len(a), -1, step).mean(axis=2)


@pytest.mark.parametrize("step", [1, 4, 16])
def test_fringe_and_smearing_are_those_of_finely_sampled_times_and_frequencies(step):
    meta = make_meta(freq_average=step)
    source = offsets(meta, (0.9, -1.2))
    view = DriftArray(meta, beam=None, freq_average=step).view(source)
    for i in range(meta.n_times):
        expected = fringe_by_fine_sampling(meta, source, i, step)
        assert np.abs(expected).min() < 0.99  # there is smearing to be right about
        # Left out: the fringe's curvature within an integration, pi nu / c b w_E^2 T^2 / 12 = 3e-4 rad for 3 km.
        np.testing.assert_allclose(view.predict(i), expected, atol=4e-4)
    without = DriftArray(meta, beam=None, smearing=False).view(source).predict(0)
    np.testing.assert_allclose(np.abs(without), 1.0, atol=1e-6)


def test_prediction_is_the_direct_sum_of_flux_beam_and_fringe():
    meta = make_meta(n_chan=70)
    table = offsets(meta, (0.0, 0.0), (0.4, 0.3), (-1.1, 0.2)).to_table()
    table["flux_jy"], table["spectral_index"] = [2.0, 0.5, 3.0], [0.0, -1.0, 1.5]
    sources = PointSources.from_table(table)
    view = DriftArray(meta, beam=AiryBeam(4.65), smearing=False).view(sources)
    place = sources.ra_rad, sources.dec_rad
    power = drift_power(*place, meta.times_jd, LOCATION, meta.pointing_dec_rad, meta.freq_hz, AiryBeam(4.65))
    centre = geometry.antenna_uvw(
        meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd, LOCATION
    )
    for i in range(meta.n_times):
        expected = np.zeros((meta.n_baselines, 70), complex)
        for s, (ra, dec) in enumerate(zip(*place, strict=True)):
            toward = geometry.antenna_uvw(meta.antenna_positions_m, ra, dec, meta.times_jd, LOCATION)
            delay = (toward - centre)[i, :, 2] / C
            spectrum = sources.flux_jy[s] * (meta.freq_hz / 1.4e9) ** sources.spectral_index[s] * power[s, i]
            expected += spectrum * np.exp(
                2j * np.pi * np.outer(delay[meta.ant1] - delay[meta.ant2], meta.freq_hz)
            )
        # single precision: three sources of up to 3 Jy, 2e-7 each
        np.testing.assert_allclose(view.predict(i), expected, atol=3e-6)


def test_recurrence_over_a_whole_band_is_as_exact_as_sine_and_cosine():
    meta = make_meta(n_times=1, n_chan=768)
    array = DriftArray(meta, beam=None, smearing=False)
    view = array.view(offsets(meta, (2.0, -2.0)))
    recurrence = view.predict(0)
    array.uniform = False  # every channel by sine and cosine
    np.testing.assert_allclose(recurrence, view.predict(0), atol=3e-7)


def test_channels_that_are_not_equidistant_are_predicted_too():
    meta = make_meta(n_times=1, n_chan=6)
    whole = DriftArray(meta, beam=AiryBeam(4.65), smearing=False).view(offsets(meta, (1.0, 1.0))).predict(0)
    chosen = [0, 1, 4, 5]
    gapped = replace(meta, freq_hz=meta.freq_hz[chosen])
    array = DriftArray(gapped, beam=AiryBeam(4.65), smearing=False)
    assert not array.uniform
    np.testing.assert_allclose(array.view(offsets(meta, (1.0, 1.0))).predict(0), whole[:, chosen], atol=1e-6)


def test_beam_between_its_nodes_is_the_beam_itself_out_to_the_sidelobes():
    meta = make_meta(n_chan=96, width_hz=1953125.0)
    sources = offsets(meta, (0.0, 0.0), (1.3, 0.5), (0.0, 3.3), (5.0, 1.0))
    beam = AiryBeam(4.65)
    direct = drift_power(
        sources.ra_rad, sources.dec_rad, meta.times_jd, LOCATION, meta.pointing_dec_rad, meta.freq_hz, beam
    )
    found = DriftArray(meta, beam=beam).power(sources.ra_rad, sources.dec_rad)
    np.testing.assert_allclose(found, direct, atol=1e-8)


def test_prediction_is_what_the_simulator_puts_into_a_converted_tile(tmp_path):
    sources = (
        Source("a", 130.0, 55.4, 8.8, -0.5),
        Source("b", 128.4, 54.2, 3.0, 0.7),
        Source("c", 131.5, 56.3, 1.0, -1.0),
        Source("wide", 129.2, 55.0, 2.0, -0.7, 60.0, 25.0, 130.0),
    )
    # channels as wide as the telescope's
    band = {"n_channels": 48, "band_low_hz": 1400e6, "band_high_hz": 1446.875e6, "antennas": ANTENNAS[::2]}
    ms = simulated_ms(tmp_path, sources, noise=False, **band)
    found = PointSources.from_table(table_of(sources))
    # The simulator follows smearing across the band to first order: 1e-5 of 14.8 Jy, as is single precision's share.
    for path, step, tolerance in ((ms, 1, 2e-4), (average(ms, tmp_path / "avg.ms", 4), 4, 2e-4)):
        meta = read_meta(path)
        cross = meta.ant1 != meta.ant2
        with tables.table(str(path), ack=False) as table:
            data = table.getcol("DATA").reshape(meta.shape)
        view = DriftArray(meta, beam=AiryBeam(4.65), freq_average=step).view(found)
        plain = DriftArray(meta, beam=AiryBeam(4.65), smearing=False).view(found)
        for i in range(meta.n_times):
            for hand in (0, 1):
                np.testing.assert_allclose(view.predict(i)[cross], data[i, cross, :, hand], atol=tolerance)
            assert np.abs(plain.predict(i)[cross] - data[i, cross, :, 0]).max() > 0.05


def test_prediction_without_beam_is_that_of_wsclean(tmp_path):
    meta = make_meta(n_ant=7, n_chan=4, width_hz=4e6)
    cell, size = np.radians(5 / 3600), 1536
    pixels = {(0, 0): 1.0, (540, -396): 2.0, (-601, 257): 0.5}  # (west, north) of the centre, Jy
    image = np.zeros((1, 1, size, size), np.float32)
    for (x, y), flux in pixels.items():
        image[0, 0, size // 2 + y, size // 2 + x] = flux
    header = fits.Header()
    for axis, (name, value, step, pixel) in enumerate(
        (
            ("RA---SIN", np.degrees(meta.phase_ra_rad), -np.degrees(cell), size // 2 + 1),
            ("DEC--SIN", np.degrees(meta.phase_dec_rad), np.degrees(cell), size // 2 + 1),
            ("FREQ", float(meta.freq_hz.mean()), 16e6, 1),
            ("STOKES", 1.0, 1.0, 1),
        ),
        start=1,
    ):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = name, value
        header[f"CDELT{axis}"], header[f"CRPIX{axis}"] = step, pixel
    header["BUNIT"] = "JY/PIXEL"
    fits.writeto(tmp_path / "sky-model.fits", image, header)
    centre = meta.phase_ra_rad, meta.phase_dec_rad
    uvw = geometry.antenna_uvw(meta.antenna_positions_m, *centre, meta.times_jd, LOCATION)
    with MsWriter(tmp_path / "tile.ms", meta) as writer:
        for i in range(meta.n_times):
            data = np.zeros(meta.shape[1:], np.complex64)
            weight = np.ones((meta.n_baselines, 2), np.float32)
            writer.write_time(i, uvw[i, meta.ant1] - uvw[i, meta.ant2], data, data != 0, weight)
    subprocess.run(
        [
            "wsclean",
            "-predict",
            "-no-small-inversion",  # which errs by 1 % far from the centre
            "-j",
            "2",
            "-use-wgridder",
            "-wgridder-accuracy",
            "1e-6",
            "-name",
            "sky",
            "tile.ms",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with tables.table(str(tmp_path / "tile.ms"), ack=False) as table:
        expected = table.getcol("MODEL_DATA").reshape(meta.shape)
    # The imager's l and m are those of the uvw: of apparent places, which aberration moves. Unit vectors in the
    # place of antennas show the axes.
    axes = geometry.antenna_uvw(np.eye(3), *centre, meta.times_jd[1], LOCATION)[0]

    def place(target):
        def miss(at):
            return (
                geometry.antenna_uvw(np.eye(3), *at, meta.times_jd[1], LOCATION)[0, :, 2] @ axes[:, :2]
                - target
            )

        return optimize.fsolve(miss, centre, xtol=1e-13)

    sky = np.array([place((-x * cell, y * cell)) for x, y in pixels])
    table = pd.DataFrame(np.degrees(sky), columns=["ra_deg", "dec_deg"])
    table["flux_jy"], table["spectral_index"] = list(pixels.values()), 0.0
    view = DriftArray(meta, beam=None, smearing=False).view(PointSources.from_table(table))
    cross = meta.ant1 != meta.ant2
    for i in range(meta.n_times):
        # The gridder's error is 1e-6 of the image's norm, 3.5 Jy; single precision adds as much.
        np.testing.assert_allclose(view.predict(i)[cross], expected[i, cross, :, 0], atol=1e-5)


def test_projection_is_the_adjoint_of_prediction():
    rng = np.random.default_rng(8)
    meta = make_meta(n_ant=9, n_chan=37, freq_average=2)
    places = rng.uniform(-1.5, 1.5, (6, 2))
    sources = offsets(meta, *places)
    array = DriftArray(meta, beam=AiryBeam(4.65), freq_average=2)
    for i in range(meta.n_times):
        flux = rng.normal(size=6)
        noise = rng.normal(size=(2, meta.n_baselines, 37))
        vis = (noise[0] + 1j * noise[1]).astype(np.complex64)
        predicted = array.view(replace(sources, flux_jy=flux)).predict(i)
        left = float(np.sum(predicted.real * vis.real + predicted.imag * vis.imag, dtype=np.float64))
        right = float(flux @ array.view(sources).adjoint(i, vis))
        # single precision: sqrt(45 · 37 · 6) random errors of 2e-7
        assert left == pytest.approx(right, abs=1e-4)


def test_a_table_without_positions_is_refused():
    with pytest.raises(InputError, match="needs the columns ra_deg and dec_deg; missing"):
        PointSources.from_table(pd.DataFrame({"ra_deg": [1.0]}))
    with pytest.raises(InputError, match="source 1 has no finite position"):
        PointSources.from_table(pd.DataFrame({"ra_deg": [1.0, np.nan], "dec_deg": [0.0, 0.0]}))


def test_the_brightest_are_chosen_by_what_the_beam_leaves_of_them():
    meta = make_meta()
    table = offsets(meta, (0.0, 1.5), (0.0, 0.0), (0.002, 0.0), (0.5, 0.0)).to_table()
    table["flux_jy"] = [1.0, 0.7, 0.6, 0.1]
    chosen = brightest(table, meta, beam=AiryBeam(4.65), closest_arcsec=20.0)
    # 1 Jy at 1.5 deg (a power of about 0.4) is below 0.7 Jy on the axis, whose neighbour at 7 arcsec goes
    assert list(chosen["name"]) == ["S001", "S000", "S003"]
    assert chosen["apparent_jy"][0] == pytest.approx(0.7, rel=2e-3)
    assert list(brightest(table, meta, beam=AiryBeam(4.65), most=1)["name"]) == ["S001"]
    assert len(brightest(table, meta, beam=AiryBeam(4.65), min_apparent_jy=0.2)) == 3
    assert len(brightest(table.iloc[:0], meta, beam=AiryBeam(4.65))) == 0
