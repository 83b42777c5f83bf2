"""Images against a known sky: every source at its place with its flux, with each imager.

An 8.8 Jy source 0.2 deg off axis and twelve of 0.3-1.7 Jy drift through the beam; 24 antennas, all gains 1. To be
done in seconds the array is cut to 1.3 km: the beam is five times the full array's, and so are its pixels.
"""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from builders.imaging_sky import Truth, bright_field, clean_alone, make_tile
from contimg.image.plan import resolve
from contimg.image.tile import image_tile
from contimg.ms.private import PrivateSet
from contimg.sky.measure import measure
from contimg.telescope.options import BeamOptions

ARMS = (*range(1, 52, 4), *range(68, 103, 3))
PRODUCTS = ("image.fits", "pbcor.fits", "pb.fits", "rms.fits", "png", "steps.png")


@pytest.fixture(
    scope="module",
    params=[("ducc0", 37.0), ("ducc0", -5.0), ("wsclean", 37.0), ("tclean", -5.0), ("wsclean", 70.0)],
    ids=lambda p: f"{p[0]}{p[1]:+.0f}",
)
def imaged(request, tmp_path_factory):
    """The products of one tile with one imager: directory, truth, metrics."""
    backend, dec_deg = request.param
    root = tmp_path_factory.mktemp("truth")
    truth = make_tile(root / "t.ms", bright_field(), dec_deg=dec_deg, antennas=ARMS, n_times=6, n_channels=48)
    out, scratch = root / "out", root / "scratch"
    out.mkdir()
    scratch.mkdir()
    metrics = image_tile(
        PrivateSet(root / "t.ms"),
        out,
        plan=resolve(truth.meta, clean_alone(backend=backend)),
        beam=BeamOptions(),
        weights=np.ones(truth.beam.shape[:2]),
        origin={"caltable": "cal/somewhere"},
        scratch=scratch,
        threads=2,
        log=root / "log",
    )
    assert not list(scratch.iterdir())
    return out, truth, metrics


def read(out, truth: Truth, kind: str):
    return fits.getdata(out / f"{truth.meta.tile}.{kind}.fits", header=True)


def test_every_source_is_at_its_place_with_its_flux(imaged):
    out, truth, _ = imaged
    image, header = read(out, truth, "pbcor")
    rms, _ = read(out, truth, "rms")
    table = measure(image, header, truth.positions, rms=rms)
    assert (table["snr"] > 10).all()
    true = truth.flux_at(header["RESTFRQ"])
    ratio = table["flux_jy"] / true
    assert abs(np.median(ratio) - 1) < 0.02
    assert (np.abs(table["flux_jy"] - true) <= np.maximum(0.05 * true, 3 * table["flux_err_jy"])).all()
    for axis in ("major", "minor"):
        limit = np.maximum(0.1, 3 * table[f"offset_{axis}_err_beam"])
        assert (table[f"offset_{axis}_beam"].abs() <= limit).all()


def test_the_beam_is_that_of_the_drift_at_every_source(imaged):
    out, truth, metrics = imaged
    pb, header = read(out, truth, "pb")
    x, y = WCS(header).world_to_pixel(truth.positions)
    found = pb[np.rint(y).astype(int), np.rint(x).astype(int)]
    # half a pixel of 17 arcsec where the beam falls by 0.6 per degree: 2e-3; and what Briggs weighting changes
    tolerance = 2e-3 + metrics["beam_change_by_weighting"]
    np.testing.assert_allclose(found, truth.beam.mean(axis=(0, 1)), atol=tolerance)


def test_what_is_below_the_limit_is_blank_and_the_rest_is_consistent(imaged):
    out, truth, _ = imaged
    (apparent, header), (pbcor, _), (pb, _), (rms, _) = (
        read(out, truth, kind) for kind in ("image", "pbcor", "pb", "rms")
    )
    assert apparent.shape == pbcor.shape == pb.shape == rms.shape == (header["NAXIS2"], header["NAXIS1"])
    np.testing.assert_array_equal(np.isfinite(pbcor), pb >= 0.2)
    np.testing.assert_array_equal(np.isfinite(rms), pb >= 0.2)
    inside = pb >= 0.2
    np.testing.assert_allclose(pbcor[inside], apparent[inside] / pb[inside], rtol=1e-5)
    assert np.isfinite(apparent).all()
    assert np.isfinite(pb).all()
    assert WCS(header).naxis == 2
    assert header["CALTABLE"] == "cal/somewhere"
    assert header["BUNIT"] == "Jy/beam"


def test_the_metrics_agree_with_the_images(imaged):
    out, truth, metrics = imaged
    apparent, header = read(out, truth, "image")
    assert metrics["peak_jy"] == pytest.approx(apparent.max(), rel=1e-5)
    assert metrics["dynamic_range"] == pytest.approx(metrics["peak_jy"] / metrics["rms_jy"])
    assert metrics["beam_major_arcsec"] == pytest.approx(header["BMAJ"] * 3600)
    # CLEAN of sources that change as they drift leaves 2 to 6 times the noise of so small an array
    assert truth.thermal_jy < metrics["thermal_from_weights_jy"] < 1.5 * truth.thermal_jy
    assert metrics["thermal_from_weights_jy"] < metrics["rms_jy"] < 8 * metrics["thermal_from_weights_jy"]
    assert metrics["clean_tries"] == 1
    assert metrics["clean_iterations"] > 100
    assert 0 < metrics["beam_change_by_weighting"] < 0.01
    assert metrics["n_sources"] >= 13


def test_the_directory_holds_what_is_promised_and_no_more(imaged):
    out, truth, _ = imaged
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{truth.meta.tile}.{kind}" for kind in PRODUCTS
    )
