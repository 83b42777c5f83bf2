"""A sampled beam against the pattern it was sampled from, and what it changes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from builders.drift_tiles import make_meta, simulated_ms, table_of
from contimg.config.load import load
from contimg.core.errors import ConfigError, InputError
from contimg.drift.fit import fit
from contimg.drift.predict import DriftArray
from contimg.image.plan import field_of_view
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam, airy_power, describe_beam, drift_average, load_beam
from contimg.telescope.beam_file import SampledBeam, offsets, read_beam, write_beam
from contimg.telescope.geometry import pointing_separation
from contimg.telescope.options import BeamOptions

AIRY = AiryBeam(4.65)
FREQ_HZ = np.linspace(1311.25e6, 1498.75e6, 8)
POINTING = np.radians(55.2)
# Cubic splines err by (5/384) h^4 of the fourth derivative. In angle: steps of 0.15 deg of a pattern whose shape is
# near exp(-x²/2s²), s = 1.15 deg (fourth derivative 3/s⁴): 1.1e-5. In frequency: an Airy pattern at 3 deg changes by
# less than 0.2 over the band, smoothly; steps of 27 MHz add a few 1e-6.
SPLINE = 2e-5


def sampled(pattern=airy_power, *, step_deg=0.15, west_deg=0.0, stretch=1.0, reach_deg=4.5) -> SampledBeam:
    """An Airy pattern on a grid: its centre moved west, its north-south axis stretched."""
    axis = np.radians(np.arange(-round(reach_deg / step_deg), round(reach_deg / step_deg) + 1) * step_deg)
    north, west = np.meshgrid(axis, axis, indexing="ij")
    angle = np.hypot(west - np.radians(west_deg), north / stretch)
    return SampledBeam(axis, axis, FREQ_HZ, np.stack([pattern(angle, f, 4.65) for f in FREQ_HZ]))


@pytest.fixture
def written(tmp_path):
    write_beam(tmp_path / "airy.fits", sampled())
    return BeamOptions(model="file", file=tmp_path / "airy.fits")


def test_offsets_split_the_distance_along_its_direction():
    rng = np.random.default_rng(1)
    ha, dec = rng.uniform(-0.1, 0.1, 50), POINTING + rng.uniform(-0.1, 0.1, 50)
    west, north = offsets(ha, dec, POINTING)
    np.testing.assert_allclose(np.hypot(west, north), pointing_separation(ha, dec, POINTING), rtol=1e-9)
    # on the meridian all is north; near the pointing west is the hour angle times cos(dec)
    np.testing.assert_allclose(offsets(0.0, POINTING + 0.01, POINTING), [0.0, 0.01], atol=1e-15)
    np.testing.assert_allclose(offsets(1e-4, POINTING, POINTING)[0], 1e-4 * np.cos(POINTING), rtol=1e-6)


def test_a_sampled_airy_pattern_is_the_airy_pattern(written):
    beam = load_beam(written)
    rng = np.random.default_rng(2)
    ha, dec = rng.uniform(-0.08, 0.08, 400), POINTING + rng.uniform(-0.05, 0.05, 400)
    freq = np.linspace(1311.4e6, 1498.6e6, 40)
    expected = AIRY.power(ha, dec, POINTING, freq)
    np.testing.assert_allclose(beam.power(ha, dec, POINTING, freq), expected, atol=SPLINE)
    weights = rng.uniform(0, 2, (400, 40))
    np.testing.assert_allclose(
        beam.weighted(ha, dec, POINTING, freq, weights) / weights.sum(),
        AIRY.weighted(ha, dec, POINTING, freq, weights) / weights.sum(),
        atol=SPLINE,
    )


def test_the_main_lobe_ends_where_that_of_the_airy_pattern_does(written):
    beam = load_beam(written)
    for level in (0.5, 0.2):
        # linear between samples 0.02 deg apart: h²/8 of the curvature over the slope, below 1e-4 deg
        assert np.degrees(beam.radius(level, 1.4e9)) == pytest.approx(
            np.degrees(AIRY.radius(level, 1.4e9)), abs=3e-4
        )
    fields = [field_of_view(make_meta(), 0.2, pattern) for pattern in (beam, AIRY)]
    np.testing.assert_allclose(fields[0], fields[1], atol=1e-3)


def test_fits_through_a_sampled_airy_pattern_are_those_through_the_airy_pattern(tmp_path, written):
    sources = (
        Source("a", 130.0, 55.4, 8.8, -0.5),
        Source("b", 128.9, 54.6, 3.0, -0.7),
        Source("c", 131.5, 55.9, 1.0, -1.0),
    )
    ms = simulated_ms(tmp_path, sources)
    found = [fit(ms, table_of(sources), beam=beam).table for beam in (AIRY, load_beam(written))]
    # the power at c, the farthest out, is 0.3: a beam that is wrong by SPLINE changes its flux by SPLINE / 0.3
    np.testing.assert_allclose(found[1]["flux_jy"], found[0]["flux_jy"], rtol=SPLINE / 0.3)
    np.testing.assert_allclose(found[1]["beam"], found[0]["beam"], atol=SPLINE)


def test_a_beam_that_points_west_sees_a_source_best_after_its_transit(tmp_path):
    beam = sampled(west_deg=0.3)
    meta = make_meta(n_times=3)
    array = DriftArray(meta, beam=beam)
    ra = meta.phase_ra_rad - np.radians([0.3, -0.3]) / np.cos(meta.pointing_dec_rad)
    # west is at smaller right ascension: one source is in the centre at mid-tile, the other 0.6 deg off
    power = array.power(ra, np.full(2, meta.phase_dec_rad))[:, 1, 2]
    assert power[0] == pytest.approx(1.0, abs=1e-4)
    assert power[1] == pytest.approx(airy_power(np.radians(0.6), 1.4e9, 4.65), abs=1e-3)


def test_a_beam_that_is_not_round_is_honoured_along_each_axis(tmp_path):
    write_beam(tmp_path / "oval.fits", sampled(stretch=1.3))
    beam, meta = read_beam(tmp_path / "oval.fits"), make_meta()
    step = np.radians(1.0)
    ra = meta.phase_ra_rad + np.array([step / np.cos(meta.phase_dec_rad), 0.0])
    dec = meta.phase_dec_rad + np.array([0.0, step])
    place = DriftArray(meta, beam=beam).place
    east, north = drift_average(
        ra, dec, meta.times_jd[1:2], place, meta.pointing_dec_rad, [1.4e9], np.ones((1, 1)), beam
    )
    assert east == pytest.approx(airy_power(step, 1.4e9, 4.65), abs=1e-3)
    assert north == pytest.approx(airy_power(step / 1.3, 1.4e9, 4.65), abs=1e-3)
    assert field_of_view(meta, 0.2, beam)[1] == pytest.approx(
        1.3 * field_of_view(meta, 0.2, AIRY)[1], rel=2e-3
    )


def test_axes_may_run_either_way(tmp_path):
    beam = sampled(west_deg=0.4, step_deg=0.3)
    write_beam(tmp_path / "up.fits", beam)
    with fits.open(tmp_path / "up.fits") as hdus:
        hdu = hdus[0].copy()
    hdu.data = hdu.data[::-1, :, ::-1]
    for axis, last in ((1, np.degrees(beam.ha_rad[-1])), (3, FREQ_HZ[-1])):
        hdu.header[f"CRVAL{axis}"], hdu.header[f"CDELT{axis}"] = last, -hdu.header[f"CDELT{axis}"]
    hdu.writeto(tmp_path / "down.fits")
    one, two = read_beam(tmp_path / "up.fits"), read_beam(tmp_path / "down.fits")
    np.testing.assert_allclose(two.ha_rad, one.ha_rad, atol=1e-12)
    np.testing.assert_array_equal(two.samples, one.samples)


def test_beyond_the_samples_there_is_no_power():
    beam = sampled(reach_deg=2.4)
    assert beam.planes(np.radians(2.5), 0.0).tolist() == [0.0] * 8


def test_a_beam_that_ends_too_early_or_lacks_part_of_the_band_is_refused():
    with pytest.raises(
        InputError, match=r"falls to it within its samples, found otherwise within the 0.90 deg"
    ):
        sampled(reach_deg=0.9).radius(0.2, 1.4e9)
    with pytest.raises(InputError, match=r"cover 1200.0 to 1200.0 MHz, found 1311.2 to 1498.8 MHz"):
        sampled().power(0.0, POINTING, POINTING, 1.2e9)


def test_a_file_that_is_no_beam_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a beam file"):
        read_beam(tmp_path / "none.fits")
    fits.PrimaryHDU(np.ones((8, 8))).writeto(tmp_path / "flat.fits")
    with pytest.raises(InputError, match=r"axis 1 to be HA in deg \(CTYPE1, CUNIT1\), found 'nothing'"):
        read_beam(tmp_path / "flat.fits")
    bad = sampled(step_deg=0.5)
    bad.samples[0, 0, 0] = np.nan
    write_beam(tmp_path / "nan.fits", bad)
    with pytest.raises(InputError, match="expected finite powers"):
        read_beam(tmp_path / "nan.fits")


def test_another_content_of_the_file_is_another_beam(written):
    before = describe_beam(written)
    assert load_beam(written) is load_beam(written)
    write_beam(written.file, sampled(west_deg=0.1))
    after = describe_beam(written)
    assert before["digest"] != after["digest"]
    assert {**before, "digest": ""} == {**after, "digest": ""}
    assert "digest" not in describe_beam(BeamOptions())


def test_model_and_file_go_together(tmp_path):
    for beam, message in (
        (
            {"model": "file"},
            "beam.file: found nothing beside beam.model=file; write the path of the beam file",
        ),
        ({"file": "x.fits"}, "beam.file: found x.fits beside beam.model=airy; write model: file too"),
    ):
        with pytest.raises(ConfigError, match=message):
            load({"beam": beam}, check=False)
    config = load({"beam": {"model": "file", "file": "x.fits"}}, check=False)
    assert config.resolved(tmp_path).beam.file == tmp_path / "x.fits"
    (tmp_path / "raw").mkdir()
    with pytest.raises(ConfigError, match=r"beam.file: found .*x.fits, which is not there"):
        load({"incoming": "raw", "beam": {"model": "file", "file": "x.fits"}}, base=tmp_path)
