"""What is chosen for a tile, and what surrounds the imager: weights, beam, noise, headers."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import HADec, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from casacore import tables
from scipy.special import j1

from builders.imaging_sky import SITE, make_tile
from contimg.core.errors import Rejected, SystemFault
from contimg.image import header as fitsimage
from contimg.image.options import APPLIED_BY, ImagingOptions
from contimg.image.plan import fft_size, field_of_view, resolve
from contimg.image.tile import image_tile
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.ms.weights import (
    COVERAGE_CELLS,
    ROBUST_TRIED,
    UvPlane,
    Weighting,
    choose_weighting,
    synthesised_beam,
    weigh,
)
from contimg.sky.noise import local_rms, robust_rms
from contimg.telescope import geometry
from contimg.telescope.beam import AiryBeam
from contimg.telescope.beam_map import beam_map
from contimg.telescope.options import BeamOptions

C = 299792458.0


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    """A small tile at +55: its Measurement Set and truth."""
    path = tmp_path_factory.mktemp("image") / "t.ms"
    sources = [(0.9, 0.7, 2.0, -0.7), (-1.2, 0.3, 1.0, -0.7), (0.1, -1.3, 1.0, -0.7)]
    return path, make_tile(path, sources, dec_deg=55.0, n_times=4, n_channels=16)


def plan_for(truth, **changes):
    return resolve(truth.meta, ImagingOptions(backend="wsclean", **changes), BeamOptions())


def test_the_field_reaches_the_power_limit_and_adds_the_drift(tile):
    meta = tile[1].meta
    width, height = field_of_view(meta, 0.2, AiryBeam(4.65))
    edge = np.radians(height / 2)
    x = np.pi * 4.65 * np.sin(edge) * meta.freq_hz.min() / C
    assert (2 * j1(x) / x) ** 2 == pytest.approx(0.2, abs=1e-6)
    # 309.24 s of sidereal time at declination 55
    assert width - height == pytest.approx(309.24 / 240 * 1.00274 * np.cos(np.radians(55)), rel=1e-3)


def test_half_power_is_where_the_airy_pattern_has_it():
    # x = 1.6163 = pi D sin(theta) / lambda
    assert np.sin(AiryBeam(4.65).radius(0.5, 1.4e9)) == pytest.approx(
        1.61634 * C / 1.4e9 / np.pi / 4.65, rel=1e-5
    )


@pytest.mark.parametrize(
    ("pixels", "size"), [(4501, 4608), (4500, 4500), (17, 64), (1081, 1152), (3599, 3600)]
)
def test_sizes_suit_the_fourier_transform(pixels, size):
    assert fft_size(pixels) == size


def test_pixels_follow_from_the_beam_and_the_size_from_the_field(tile):
    plan = plan_for(tile[1])
    assert 2.9 < plan.beam_arcsec[1] / plan.cell_arcsec < 3.4
    width, height = field_of_view(tile[1].meta, 0.2, AiryBeam(4.65))
    assert width <= plan.nx * plan.cell_arcsec / 3600 < 1.08 * width
    assert height <= plan.ny * plan.cell_arcsec / 3600 < 1.08 * height
    assert not plan.no_small_inversion
    assert "minor axis" in plan.why["cell_arcsec"]
    assert plan.why["robust"].startswith("tier standard: ")


def test_explicit_values_win_and_say_so(tile):
    plan = plan_for(
        tile[1],
        imsize=800,
        cell_arcsec=1.5,
        robust=-0.5,
        niter=7,
        mgain=0.6,
        channels_out=2,
        uvmin_klambda=2.0,
    )
    assert (plan.nx, plan.ny, plan.cell_arcsec) == (800, 800, 1.5)
    assert (plan.robust, plan.niter, plan.mgain, plan.channels_out, plan.uvmin_klambda) == (
        -0.5,
        7,
        0.6,
        2,
        2.0,
    )
    assert plan.no_small_inversion  # more than 5 pixels a beam
    assert {plan.why[key] for key in ("imsize", "cell_arcsec", "robust", "niter", "mgain")} == {"configured"}


def test_a_tile_without_baselines_to_image_is_rejected(tile):
    alone = replace(tile[1].meta, ant1=np.array([0]), ant2=np.array([0]))
    with pytest.raises(Rejected, match="none of 0 baselines"):
        resolve(alone, ImagingOptions())
    with pytest.raises(Rejected, match=r"longer than imaging\.uvmin_klambda, 50 klambda"):
        plan_for(tile[1], uvmin_klambda=50.0)


def test_no_key_but_those_that_calibrated_data_are_made_again_for_changes_the_averaging(tile):
    others = {
        "backend": "tclean", "sky_model": "none", "outside": "none", "selfcal": "none", "keep": ("residual",),
        "imsize": 512, "cell_arcsec": 3.0, "niter": 10, "mgain": 0.5, "auto_mask": 9.0, "auto_threshold": 3.0,
        "channels_out": 2, "multiscale": True, "place": "none", "rms_box_beams": 50.0, "search_passes": 9.0,
        "search_seconds": 9.0, "clean_seconds": 9.0,
    }  # fmt: skip
    assert set(others) == set(ImagingOptions.model_fields) - APPLIED_BY
    fine = replace(
        tile[1].meta,
        freq_hz=1311.25e6 + (np.arange(768) + 0.5) * 187.5e6 / 768,
        channel_width_hz=187.5e6 / 768,
    )
    said = {
        name: resolve(fine, ImagingOptions(**changed)).why["freq_average"]
        for name, changed in (("plain", {}), ("others", others), ("robust", {"robust": -2.0}))
    }
    assert said["others"] == said["plain"] != said["robust"]


def test_averaging_loses_what_it_may_and_no_more(tile):
    # 768 channels; the loss is computed anew from the array, naturally weighted: the plan's weighting counts long
    # baselines more, so that the bound holds with room
    meta = tile[1].meta
    width = 187.5e6 / 768
    fine = replace(meta, freq_hz=1311.25e6 + (np.arange(768) + 0.5) * width, channel_width_hz=width)
    losses = {}
    for allowed in (0.002, 0.01, 0.05):
        plan = resolve(fine, ImagingOptions(smearing_loss=allowed))
        assert 768 % plan.freq_average == 0
        loc = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
        uvw = geometry.antenna_uvw(
            meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd[:1], loc
        )[0]
        baselines = (uvw[meta.ant2] - uvw[meta.ant1])[meta.ant1 != meta.ant2]
        radius = np.sin(AiryBeam(4.65).radius(0.5, 1.405e9))
        delay = baselines[:, :2] @ [radius, 0] / C
        losses[allowed] = np.mean(1 - np.sinc(delay * plan.freq_average * width))
        assert losses[allowed] <= allowed
        assert losses[allowed] > allowed / 30  # and not needlessly fine
    assert losses[0.002] < losses[0.01] < losses[0.05]


def test_the_header_puts_sources_where_the_data_have_them(tile):
    # direction cosines along u and v, from astropy's apparent places, against the header's pixels: 0.02 arcsec of
    # second-order aberration is left, and 2e-4 of the offset from what u and v turn within half an integration
    path, truth = tile
    meta = read_meta(path)
    plan = plan_for(truth)
    axes = fitsimage.imager_axes(path, meta)
    header = fitsimage.tile_header(
        meta, plan, axes=axes, beam_arcsec=(20.0, 10.0, 45.0), freq_hz=1.4e9, n_visibilities=1
    )
    time = Time(meta.times_jd[meta.n_times // 2], format="jd", scale="utc")

    def direction(coordinates: SkyCoord) -> np.ndarray:
        place = coordinates.transform_to(HADec(obstime=time, location=SITE))
        gha = place.ha.rad - SITE.lon.rad  # Earth-fixed: longitude of the point below is -gha
        dec = place.dec.rad
        return np.stack([np.cos(dec) * np.cos(gha), -np.cos(dec) * np.sin(gha), np.sin(dec)], axis=-1)

    seen = direction(truth.positions) @ axes[:, :2] / np.radians(plan.cell_arcsec / 3600)
    x, y = WCS(header).world_to_pixel(truth.positions)
    np.testing.assert_allclose(x - plan.nx / 2, -seen[:, 0], atol=0.05 / plan.cell_arcsec)
    np.testing.assert_allclose(y - plan.ny / 2, seen[:, 1], atol=0.05 / plan.cell_arcsec)
    assert (
        abs(
            np.degrees(
                np.arccos(
                    np.clip(
                        direction(SkyCoord(meta.phase_ra_rad, meta.phase_dec_rad, unit="rad")) @ axes[:, 2],
                        -1,
                        1,
                    )
                )
            )
        )
        < 1e-3
    )


def test_a_slanted_header_puts_sources_where_an_imager_without_w_has_them(tile):
    # phase u l + v m + w (n - 1) with w = a u + b v is that of a source at l - a (1 - n), m - b (1 - n)
    path, truth = tile
    meta = read_meta(path)
    plan = plan_for(truth)
    a, b = fitsimage.slant(path, meta)
    common = dict(
        axes=fitsimage.imager_axes(path, meta), beam_arcsec=(20, 10, 45), freq_hz=1.4e9, n_visibilities=1
    )
    plain = WCS(fitsimage.tile_header(meta, plan, **common))
    slanted = WCS(fitsimage.tile_header(meta, plan, slope=(a, b), **common))
    # zenith distance 55 - 37.2 deg toward the north: |w| = tan(z) |v|, and nothing of u at the meridian
    assert abs(a) < 0.01
    assert abs(b) == pytest.approx(np.tan(np.radians(55 - 37.234)), abs=0.01)
    cell = np.radians(plan.cell_arcsec / 3600)
    (x0, y0), (x1, y1) = (wcs.world_to_pixel(truth.positions) for wcs in (plain, slanted))
    l_cos, m_cos = -(x0 - plan.nx / 2) * cell, (y0 - plan.ny / 2) * cell
    sagitta = 1 - np.sqrt(1 - l_cos**2 - m_cos**2)
    np.testing.assert_allclose(-(x1 - x0) * cell, -a * sagitta, atol=0.02 * cell)
    np.testing.assert_allclose((y1 - y0) * cell, -b * sagitta, atol=0.02 * cell)


def test_the_header_is_two_dimensional_and_complete(tile):
    path, truth = tile
    meta = read_meta(path)
    header = fitsimage.tile_header(
        meta,
        plan_for(truth),
        axes=fitsimage.imager_axes(path, meta),
        beam_arcsec=(20.0, 10.0, 45.0),
        freq_hz=1.4e9,
        n_visibilities=5,
    )
    wcs = WCS(header)
    assert wcs.naxis == 2
    assert wcs.wcs.radesys == "ICRS"
    assert header["BMAJ"] * 3600 == pytest.approx(20)
    assert header["RESTFRQ"] == header["FREQ"] == 1.4e9
    assert header["DATE-OBS"].startswith("2025-10-30T13:00:00.0")
    assert header["DATE-END"].startswith("2025-10-30T13:05:09.2")
    assert header["MJD-OBS"] == pytest.approx(Time("2025-10-30T13:00:00").mjd, abs=1e-9)
    assert (header["TELESCOP"], header["OBJECT"], header["SIDECAR"]) == ("OVRO_MMA", meta.tile, "status.json")
    assert header["ORIGIN"].startswith("contimg ")
    assert header["EXPTIME"] == pytest.approx((header["MJD-END"] - header["MJD-OBS"]) * 86400, abs=0.01)
    assert (header["STOKES"], Time(header["DATE"]).mjd > 60000) == ("I", True)
    half = meta.channel_width_hz / 2
    assert (header["FREQMIN"], header["FREQMAX"]) == (meta.freq_hz[0] - half, meta.freq_hz[-1] + half)


def test_the_beam_map_is_the_mean_of_the_airy_pattern_along_the_drift(tile):
    path, truth = tile
    meta = read_meta(path)
    plan = plan_for(truth)
    header = fitsimage.tile_header(
        meta,
        plan,
        axes=fitsimage.imager_axes(path, meta),
        beam_arcsec=(20, 10, 45),
        freq_hz=1.4e9,
        n_visibilities=1,
    )
    weights = np.ones(truth.beam.shape[:2])
    weights[0] = 0.0  # an integration that is flagged
    weights[:, 3] = 0.5
    pb = beam_map(header, meta, weights, AiryBeam(4.65))
    x, y = WCS(header).world_to_pixel(truth.positions)
    at_sources = pb[np.rint(y).astype(int), np.rint(x).astype(int)]
    expected = np.average(truth.beam.reshape(-1, 3), axis=0, weights=weights.ravel())
    # half a pixel of 4 arcsec changes the beam by 1e-3 per degree of slope 0.6/deg: 4e-4
    np.testing.assert_allclose(at_sources, expected, atol=6e-4)
    plain = beam_map(header, meta, np.ones_like(weights), AiryBeam(4.65))
    assert abs(plain[plan.ny // 2, -1] - pb[plan.ny // 2, -1]) > 0.001  # the weights matter


def test_a_uv_plane_of_one_ring_makes_the_beam_of_a_ring():
    # point spread function J0(2 pi r q); above 0.6 it is a Gaussian of FWHM 2.2 / (2 pi r) to some per cent
    radius = 5000.0
    angle = np.linspace(0, 2 * np.pi, 20000)
    plane = UvPlane.empty((0.02, 0.02), 1.2 * radius)
    u_lambda, v_lambda = radius * np.cos(angle), radius * np.sin(angle)
    plane.add(plane.cells(u_lambda, v_lambda), np.ones(len(angle)))
    major, minor, _ = synthesised_beam(plane, 2.0)
    half = 1.5211 / (2 * np.pi * radius)  # J0(1.5211) = 0.5
    assert major == pytest.approx(minor, rel=0.02)
    assert major == pytest.approx(2 * half, rel=0.08)


def test_the_beam_lies_across_the_longer_baselines():
    rng = np.random.default_rng(0)
    u_lambda, v_lambda = rng.normal(0, 2000, 50000), rng.normal(0, 1000, 50000)
    turn = np.radians(
        30
    )  # long baselines 30 deg north of east: the beam is long across them, at PA -30 = 150
    plane = UvPlane.empty((0.02, 0.02), 12000)
    east = u_lambda * np.cos(turn) - v_lambda * np.sin(turn)
    north = u_lambda * np.sin(turn) + v_lambda * np.cos(turn)
    plane.add(plane.cells(east, north), np.ones(50000))
    major, minor, angle = synthesised_beam(plane, 2.0)
    # the transform of a Gaussian of dispersion s has the FWHM sqrt(8 ln 2) / (2 pi s)
    assert minor == pytest.approx(2.3548 / (2 * np.pi * 2000), rel=0.03)
    assert major == pytest.approx(2.3548 / (2 * np.pi * 1000), rel=0.03)
    assert np.degrees(angle) == pytest.approx(150, abs=1.5)


def test_where_the_plane_is_evenly_filled_every_weighting_is_the_same():
    plane = UvPlane.empty((0.02, 0.02), 6000)
    v, u = np.indices(plane.density.shape)
    plane.density[np.hypot(u - plane.half, v) * plane.cell_u < 5000] = 3.0
    for robust in (-2.0, 0.0, 2.0):
        assert plane.noise(robust) == pytest.approx(1.0, abs=1e-12)
        chosen, _ = choose_weighting(plane, robust)
        assert chosen.robust == robust


def test_noise_times_beam_decides_where_the_preferred_weighting_is_far_from_the_least():
    # a core of 150 wavelengths beside sparse long baselines: near-natural weighting sees the core's beam alone
    rng = np.random.default_rng(1)
    plane = UvPlane.empty((0.02, 0.02), 6000)
    for scale, weight, number in ((150, 1.0, 400_000), (1500, 1.0, 40_000)):
        u_lambda, v_lambda = rng.normal(0, scale, (2, number))
        plane.add(plane.cells(u_lambda, v_lambda), np.full(number, weight))
    natural = Weighting.of(plane, 2.0)
    # 10 of 11 visibilities in the core: its beam, hardly sharpened, at the noise of natural weighting
    assert natural.noise == pytest.approx(1.0, abs=0.01)
    chosen, best = choose_weighting(plane, 2.0)
    assert chosen == best
    assert chosen.cost_arcsec < 0.7 * natural.cost_arcsec
    assert all(chosen.cost_arcsec <= Weighting.of(plane, robust).cost_arcsec for robust in ROBUST_TRIED)
    # and what is within 10 % of the least stands
    near = next(
        w
        for r in np.arange(-1, 1, 0.05)
        if (w := Weighting.of(plane, r)).cost_arcsec < 1.09 * best.cost_arcsec
    )
    assert choose_weighting(plane, near.robust)[0].robust == near.robust


@pytest.mark.parametrize("finer", [1, 2])
def test_the_coverage_of_the_uv_plane_keeps_all_weight_where_it_lies(finer):
    # cells of 100 and 50 wavelengths; half of that is more than the picture has, and two are put together
    plane = UvPlane.empty((0.01 * finer, 0.02 * finer), 8000)
    u_lambda, v_lambda = np.array([6000.0, -3000.0, 0.0, 2000.0]), np.array([0.0, 4000.0, 1000.0, -500.0])
    plane.add(plane.cells(u_lambda, v_lambda), np.array([1.0, 2.0, 4.0, 8.0]))
    found = plane.coverage()
    assert max(found.density.shape) <= 2 * COVERAGE_CELLS
    assert found.density.sum() == 15.0
    rows, columns = found.density.shape
    for u, v, weight in ((6.0, 0.0, 1.0), (-3.0, 4.0, 2.0), (0.0, 1.0, 4.0), (-2.0, 0.5, 8.0)):  # conjugated
        column = round((u / found.u_klambda + 1.0) / 2.0 * columns)
        assert found.density[round(v / found.v_klambda * rows), column] == weight
    assert 6.0 < found.u_klambda < 6.3  # no farther than is filled, to a few cells
    assert 4.0 < found.v_klambda < 4.2


def test_natural_weights_give_the_thermal_noise_and_flat_shares(tile):
    path, truth = tile
    data = weigh(path, read_meta(path), fields_rad=(0.09, 0.07), robust=2.0, uvmin_klambda=0.0)
    assert data.thermal_jy == pytest.approx(truth.thermal_jy, rel=0.02)
    uniform = weigh(path, read_meta(path), fields_rad=(0.09, 0.07), robust=-2.0, uvmin_klambda=0.0)
    assert uniform.thermal_jy > 1.05 * data.thermal_jy
    natural_jy = data.thermal_jy / data.noise_over_natural
    assert natural_jy == pytest.approx(
        truth.thermal_jy, rel=1e-3
    )  # 1 / sqrt(sum of weights), in single precision
    assert uniform.thermal_jy / uniform.noise_over_natural == pytest.approx(natural_jy, rel=1e-5)
    assert data.n_visibilities == 4 * 16 * 24 * 23 // 2
    assert data.effective_freq_hz(truth.meta.freq_hz) == pytest.approx(1.405e9, rel=2e-3)


@pytest.mark.parametrize("weighted_hands", [False, True])
def test_hands_of_unequal_weights_give_the_noise_of_what_is_imaged(tile, tmp_path, weighted_hands):
    """Imagers take (XX + YY) / 2, of variance (1 / w1 + 1 / w2) / 4; the sky model the weighted mean, 1 / (w1 + w2)."""
    path, _ = tile
    copy = tmp_path / "unequal.ms"
    shutil.copytree(path, copy)
    meta = read_meta(copy)
    with tables.table(str(copy), readonly=False, ack=False) as table:
        for column in {"WEIGHT", "WEIGHT_SPECTRUM"} & set(table.colnames()):
            weights = table.getcol(column)
            weights[..., -1] *= 0.25
            table.putcol(column, weights)
    asked = {"fields_rad": (0.09, 0.07), "robust": 2.0, "uvmin_klambda": 0.0}
    equal = weigh(path, meta, **asked)
    found = weigh(copy, meta, weighted_hands=weighted_hands, **asked)
    variance = 1 / (1 + 0.25) if weighted_hands else (1 + 1 / 0.25) / 4
    # each of them in units of the variance of one hand; of equal hands Stokes I has a half of it
    assert (found.thermal_jy / equal.thermal_jy) ** 2 == pytest.approx(2 * variance, rel=1e-4)
    with tables.table(str(copy), readonly=False, ack=False) as table:
        flags = table.getcol("FLAG")
        flags[..., 5, 0] = True
        table.putcol("FLAG", flags)
    left = weigh(copy, meta, weighted_hands=weighted_hands, **asked).time_channel[:, 5]
    assert (left > 0).all() if weighted_hands else (left == 0).all()


def test_one_hand_alone_is_counted_once(tile, tmp_path):
    path, _ = tile
    meta = read_meta(path)
    alone = replace(meta, correlations=(meta.correlations[0], 6))  # the other is no parallel hand
    asked = {"fields_rad": (0.09, 0.07), "robust": 2.0, "uvmin_klambda": 0.0}
    both = weigh(path, meta, **asked).thermal_jy
    for weighted_hands in (False, True):
        one = weigh(path, alone, weighted_hands=weighted_hands, **asked).thermal_jy
        assert one == pytest.approx(np.sqrt(2) * both, rel=1e-4)


def test_flagged_integrations_have_no_weight_and_a_flagged_tile_is_rejected(tile, tmp_path):
    path, _ = tile
    copy = tmp_path / "flagged.ms"
    shutil.copytree(path, copy)
    meta = read_meta(copy)
    rows = meta.n_baselines
    with tables.table(str(copy), readonly=False, ack=False) as table:
        flags = table.getcol("FLAG")
        flags[:rows] = True
        flags[:, 5, 0] = True  # one correlation of a channel: no Stokes I there
        table.putcol("FLAG", flags)
    data = weigh(copy, meta, fields_rad=(0.09, 0.07), robust=0.0, uvmin_klambda=0.0)
    assert (data.time_channel[0] == 0).all()
    assert (data.time_channel[:, 5] == 0).all()
    assert (np.delete(data.time_channel[1:], 5, axis=1) > 0).all()
    with tables.table(str(copy), readonly=False, ack=False) as table:
        table.putcol("FLAG", np.ones_like(flags))
    (tmp_path / "out").mkdir()
    with pytest.raises(Rejected, match="all are flagged"):
        image_tile(
            PrivateSet(copy),
            tmp_path / "out",
            plan=plan_for(tile[1]),
            beam=BeamOptions(),
            scratch=tmp_path,
            threads=1,
            log=tmp_path / "log",
        )
    assert not list((tmp_path / "out").iterdir())


def test_the_local_rms_follows_the_noise_and_not_the_sources():
    rng = np.random.default_rng(4)
    slope = np.linspace(1.0, 3.0, 600)
    image = rng.normal(0, 1, (500, 600)) * slope
    image[rng.integers(0, 500, 300), rng.integers(0, 600, 300)] += 100.0
    image[200:230, 200:230] = np.nan
    noise = local_rms(image, 100)
    # 10,000 pixels a box: 1 %; the slope across half a box at the edges, where the value is held: 6 %
    np.testing.assert_allclose(noise[:, 100:500].mean(axis=0), slope[100:500], rtol=0.05)
    assert np.isfinite(noise).all()


def test_the_rms_of_nothing_is_nan():
    assert np.isnan(robust_rms(np.zeros(100)))
    assert np.isnan(local_rms(np.full((50, 50), np.nan), 20)).all()


def test_an_imager_that_changed_the_grid_is_found_out(tile, tmp_path):
    path, truth = tile
    meta, plan = read_meta(path), plan_for(truth, imsize=64, cell_arcsec=10.0)
    header = fits.Header()
    for axis, sign in ((1, -1), (2, 1)):
        header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = 33, sign * 10.0 / 3600
    header["CRVAL2"] = np.degrees(meta.phase_dec_rad)
    plane = np.zeros((1, 1, 64, 64), np.float32)
    fits.PrimaryHDU(plane, header).writeto(tmp_path / "good.fits")
    assert fitsimage.read_plane(tmp_path / "good.fits", plan, meta).shape == (64, 64)
    header["CDELT2"] = 11.0 / 3600
    fits.PrimaryHDU(plane, header).writeto(tmp_path / "bad.fits")
    with pytest.raises(SystemFault, match="CDELT2"):
        fitsimage.read_plane(tmp_path / "bad.fits", plan, meta)
