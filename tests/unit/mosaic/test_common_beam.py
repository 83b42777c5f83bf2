"""One beam for many tiles: the algebra of Gaussians, turned axes, and convolution that keeps Jy/beam right."""

import numpy as np
import pytest
from astropy import units as u
from radio_beam import Beam as RadioBeam
from radio_beam import Beams
from radio_beam.utils import BeamError

from builders.tile_images import tile_wcs
from contimg.core.errors import InputError
from contimg.mosaic.common_beam import (
    GaussianBeam,
    axes_jacobian,
    common_covariance,
    convolve_gaussian,
    covering_factor,
    enclosing_covariance,
    kernel_covariance,
)

ARCSEC = 1 / 3600


def beam(major, minor, pa):
    return GaussianBeam(major * ARCSEC, minor * ARCSEC, pa)


@pytest.mark.parametrize(("major", "minor", "pa"), [(62, 36, 10), (57, 15, 170), (25, 9, 90), (40, 38, 0)])
def test_a_beam_survives_being_a_covariance(major, minor, pa):
    back = GaussianBeam.from_covariance(beam(major, minor, pa).covariance())
    assert (back.major_deg, back.minor_deg) == pytest.approx((major * ARCSEC, minor * ARCSEC))
    assert (back.pa_deg - pa + 90) % 180 == pytest.approx(90, abs=1e-6)


def test_covariances_add_as_radio_beam_convolves():
    first, second = (62, 36, 30), (40, 20, 100)
    ours = GaussianBeam.from_covariance(beam(*first).covariance() + beam(*second).covariance())
    theirs = RadioBeam(*(v * w for v, w in zip(first, (u.arcsec, u.arcsec, u.deg), strict=True))).convolve(
        RadioBeam(*(v * w for v, w in zip(second, (u.arcsec, u.arcsec, u.deg), strict=True)))
    )
    assert ours.major_deg == pytest.approx(theirs.major.to_value("deg"))
    assert ours.minor_deg == pytest.approx(theirs.minor.to_value("deg"))
    assert ours.pa_deg == pytest.approx(theirs.pa.to_value("deg") % 180)


@pytest.mark.parametrize("shape", [(62, 36), (57, 15), (25, 9), (40, 38)])
@pytest.mark.parametrize("turn_deg", [0.0, 0.1, 3.0, 7.0])
def test_every_beam_fits_into_the_common_one(shape, turn_deg):
    covariances = [beam(*shape, 10 + turn_deg * t).covariance() for t in np.linspace(-1, 1, 12)]
    common = common_covariance(covariances)
    for own in covariances:
        assert np.linalg.eigvalsh(common - own)[0] >= -1e-12 * np.trace(own)
    # No common beam has a smaller area than that of two crossed ellipses' circumscribed one; 0.5 % is what
    # radio-beam's own tolerances leave open.
    extremes = enclosing_covariance([covariances[0], covariances[-1]])
    assert np.sqrt(np.linalg.det(common) / np.linalg.det(extremes)) < 1.005


def test_the_common_beam_of_equal_beams_is_theirs():
    own = beam(62, 36, 10).covariance()
    np.testing.assert_allclose(common_covariance([own] * 5), own, rtol=1e-6)
    assert not kernel_covariance(own, common_covariance([own] * 5)).any()


def test_the_common_beam_of_a_beam_inside_another_is_the_larger_one():
    small, large = beam(30, 20, 10).covariance(), beam(62, 36, 70).covariance()
    np.testing.assert_allclose(common_covariance([small, large]), large, rtol=1e-6)


def test_where_radio_beam_finds_none_there_is_one_all_the_same(monkeypatch):
    def fail(self, **settings):
        raise BeamError("no")

    monkeypatch.setattr(Beams, "common_beam", fail)
    covariances = [beam(57, 15, pa).covariance() for pa in (0.0, 7.0)]
    assert covering_factor(common_covariance(covariances), covariances) <= 1 + 1e-9


def test_a_beam_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"does not fit.*mosaic\.beam=native"):
        kernel_covariance(beam(62, 36, 10).covariance(), beam(62, 30, 10).covariance())


@pytest.mark.parametrize("offset_deg", [-7.5, 3.0])
def test_north_turns_by_the_convergence_of_meridians(offset_deg):
    dec_deg = 70.0
    jacobian = axes_jacobian(tile_wcs(offset_deg, dec_deg, 64), tile_wcs(0.0, dec_deg, 64))
    north = jacobian @ [0.0, 1.0]
    # tan(turn) = sin(dec) tan(offset) between the tangent planes is the leading term; the projection shears by
    # less than half the square of the distance, 0.001.
    turn = np.arctan2(north[0], north[1])
    expected = -np.arctan(np.sin(np.deg2rad(dec_deg)) * np.tan(np.deg2rad(offset_deg)))
    assert turn == pytest.approx(expected, abs=1e-3)


def test_the_axes_of_one_image_are_its_own():
    wcs = tile_wcs(359.9, -5.0, 64)
    np.testing.assert_allclose(axes_jacobian(wcs, wcs), np.eye(2), atol=1e-9)


@pytest.mark.parametrize("minor_px", [2.0, 4.0])
def test_convolution_turns_one_gaussian_into_another_of_the_same_peak(minor_px):
    """A point source stays at its flux in Jy/beam, whatever its beam becomes."""
    y, x = np.mgrid[-40:41, -40:41].astype(float)
    scale = minor_px / FWHM
    own = scale**2 * np.array([[1.0, 0.3], [0.3, 2.0]])
    target = scale**2 * np.array([[1.2, 0.1], [0.1, 2.3]])

    def shape(covariance):
        inverse = np.linalg.inv(covariance)
        return np.exp(-(inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2) / 2)

    found = convolve_gaussian(
        shape(own).astype(np.float32),
        kernel_covariance(own, target),
        scale=np.sqrt(np.linalg.det(target) / np.linalg.det(own)),
    )
    # What a Gaussian of sigma s has beyond the Nyquist frequency is folded back: exp(-(pi s)^2 / 2) is 3 % of
    # the transform at its edge for 2 pixels FWHM (2e-3 of the peak in total) and 6e-7 for 4; float32 adds 1e-6.
    np.testing.assert_allclose(found, shape(target), atol=5e-3 if minor_px == 2 else 5e-6)


def test_convolution_does_not_wrap_round():
    image = np.zeros((60, 60), np.float32)
    image[:, 0] = 1
    found = convolve_gaussian(image, np.diag([9.0, 9.0]))
    assert np.abs(found[:, 40:]).max() < 1e-6


FWHM = np.sqrt(8 * np.log(2))
