"""The imager in memory: against WSClean on the same data and weights, its guards, its log, the choice of it."""

import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest
from astropy.io import fits
from casacore import tables
from pydantic import ValidationError
from reproject import reproject_interp

from builders.imaging_sky import Truth, bright_field, clean_alone, make_tile
from contimg.core.errors import Rejected
from contimg.drift.data import StokesI
from contimg.drift.gridder import FLAT_RAD, Gridder, Visibilities
from contimg.image import ducc, wsclean
from contimg.image import header as fitsimage
from contimg.image.ducc import Imager, printed_to
from contimg.image.options import ImagingOptions
from contimg.image.plan import ImagingPlan, resolve
from contimg.image.tile import image_tile
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.ms.weights import weigh
from contimg.sky.measure import measure
from contimg.sky.noise import robust_rms
from contimg.telescope.beam import load_beam
from contimg.telescope.beam_map import beam_map
from contimg.telescope.options import BeamOptions

ARMS = (*range(1, 52, 4), *range(68, 103, 3))
SMALL = {"nx": 384, "ny": 384}
"""Of a plan: 1.8 deg, with the sources well inside."""


def imager(ms, plan, data, slope, log):
    """Our imager of a set on a grid of that slant, and the grid's header and beam."""
    meta = read_meta(ms)
    header = fitsimage.tile_header(
        meta,
        plan,
        axes=fitsimage.imager_axes(ms, meta),
        slope=slope,
        beam_arcsec=data.beam_arcsec,
        freq_hz=data.effective_freq_hz(meta.freq_hz),
        n_visibilities=data.n_visibilities,
    )
    pb = beam_map(header, meta, data.time_channel, load_beam(BeamOptions()))
    with StokesI(ms) as whole:
        left = Visibilities.residual(whole)
    return Imager.of(left, header, plan, pb=pb, threads=2, log=log), header, pb


def put_weights(ms, imaging):
    """Make a set's weights those of its image, so that natural weighting is what was Briggs weighting."""
    meta = read_meta(ms)
    cross = np.tile(meta.ant1 != meta.ant2, meta.n_times)
    with tables.table(str(ms), readonly=False, ack=False) as table:
        weights = table.getcol("WEIGHT_SPECTRUM")
        weights[cross] = imaging[:, :, np.newaxis]
        table.putcol("WEIGHT_SPECTRUM", weights)


@dataclass(frozen=True)
class Both:
    """One tile, imaged twice."""

    truth: Truth
    plan: ImagingPlan
    theirs: dict[str, np.ndarray]
    flat: Imager
    header: fits.Header
    inside: np.ndarray
    slanted: Imager
    own_header: fits.Header

    @property
    def rms_jy(self) -> float:
        return robust_rms(self.theirs["residual"])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A tile with sources from 7 to 220 sigma: by WSClean, and in memory unslanted and slanted, with equal weights."""
    root = tmp_path_factory.mktemp("both")
    rng = np.random.default_rng(4)
    sources = [(*rng.uniform(-0.9, 0.9, 2), float(flux), -0.7) for flux in np.geomspace(0.01, 0.3, 14)]
    truth = make_tile(root / "t.ms", sources, dec_deg=55.0, antennas=ARMS, n_times=6, n_channels=48)
    meta = read_meta(root / "t.ms")
    plan = replace(resolve(truth.meta, ImagingOptions(backend="ducc0")), no_small_inversion=True)
    fields = tuple(np.radians(n * plan.cell_arcsec / 3600) for n in (plan.nx, plan.ny))
    data = weigh(
        root / "t.ms", meta, fields_rad=fields, robust=plan.robust, uvmin_klambda=0.0, weighted_hands=True
    )
    flat, header, pb = imager(root / "t.ms", plan, data, (0.0, 0.0), root / "log")
    slanted, own_header, _ = imager(
        root / "t.ms", plan, data, fitsimage.slant(root / "t.ms", meta), root / "log"
    )
    put_weights(root / "t.ms", flat.gridder.weight)
    command = wsclean.command(
        [root / "t.ms"], root / "w", plan=plan, beam_arcsec=data.beam_arcsec, threads=2, memory_gb=2.0
    )
    at = command.index("briggs")
    command[at : at + 2] = ["natural"]
    subprocess.run([command[0], "-make-psf", *command[1:]], check=True, capture_output=True)
    theirs = {
        kind: fitsimage.read_plane(root / f"w-{kind}.fits", plan, meta)
        for kind in ("psf", "dirty", "model", "residual", "image")
    }
    return Both(truth, plan, theirs, flat, header, pb > 0.2, slanted, own_header)


def test_point_spread_function_and_residuals_are_those_of_wsclean(both):
    # both grid to 1e-4 of the brightest; the PSF has 1 Jy, the image 0.24 Jy at 1 mJy rms
    np.testing.assert_allclose(both.flat.psf, both.theirs["psf"], atol=1e-4)
    differs = both.flat.dirty - both.theirs["dirty"]
    assert np.std(differs[both.inside]) < 2e-3 * both.rms_jy
    differs = both.flat.gridder.residual(both.flat.vis, both.theirs["model"]) - both.theirs["residual"]
    assert np.std(differs[both.inside]) < 2e-3 * both.rms_jy


def test_a_slanted_image_is_the_same_sky(both):
    """With pixels of a third, so that regridding errs by (1/3)^4 of 4 % of the noise."""
    assert not both.slanted.gridder.wide
    fine = both.own_header.copy()
    for axis in ("1", "2"):
        fine[f"NAXIS{axis}"] *= 3
        fine[f"CDELT{axis}"] /= 3
        fine[f"CRPIX{axis}"] = fine[f"NAXIS{axis}"] / 2 + 1
    ms = both.slanted.log.parent / "t.ms"  # whose weights are the image's: those of natural weighting
    with StokesI(ms) as whole:
        data = Visibilities.residual(whole)
    how = {
        "cell_rad": both.flat.gridder.cell_rad / 3,
        "robust": 100.0,
        "uvmin_klambda": 0.0,
        "accuracy": 1e-4,
    }
    # 1 rad away w counts for any array. Without it FLAT_RAD is what the noise at the edge may change by
    for farthest_rad, limit in ((1.0, 2e-3), (0.0, FLAT_RAD)):
        gridder = Gridder(data, fine, farthest_rad=farthest_rad, threads=2, **how)
        assert gridder.wide is (farthest_rad > 0)
        back, _ = reproject_interp((gridder.dirty(data.vis), fine), both.header, order="bicubic")
        assert np.std((back - both.flat.dirty)[both.inside]) < limit * both.rms_jy


def test_without_w_a_model_convolved_is_what_prediction_and_gridding_make_of_it(both):
    """Of CLEAN's components, and of a source in one corner, whose sidelobes reach the other."""
    corner = np.zeros_like(both.slanted.dirty)
    corner[1, 2] = 1.0
    for model, peak_jy in ((both.theirs["model"], 0.3), (corner, 1.0)):
        seen = both.slanted.residual(model) - both.slanted.gridder.residual(both.slanted.vis, model)
        assert np.abs(seen).max() < 1e-4 * peak_jy  # ducc0's accuracy, relative to the brightest
    assert both.flat.seen is None  # w counts in the frame of the set


def test_fluxes_are_those_of_wsclean(both, tmp_path):
    planes, clean = both.flat.run(both.plan, tmp_path)
    assert clean.divergence() is None
    ours = measure(planes.restored, both.header, both.truth.positions)
    theirs = measure(both.theirs["image"], both.header, both.truth.positions)
    differs = (ours["flux_jy"] - theirs["flux_jy"]).abs()
    # CLEANs of different steps share the data's noise, not all of what they make of it: half a sigma of a faint source
    assert (differs < 0.5 * theirs["flux_err_jy"] + 0.005 * theirs["flux_jy"]).all()
    assert np.median(ours["flux_jy"] / theirs["flux_jy"]) == pytest.approx(1.0, abs=0.005)
    assert robust_rms(planes.residual) < 1.02 * both.rms_jy


def image(root, sources, **more):
    """A tile through the image job in memory; its scratch directory is left empty."""
    truth = make_tile(root / "t.ms", sources, dec_deg=55.0, antennas=ARMS, n_times=6, n_channels=48)
    (root / "out").mkdir()
    (root / "scratch").mkdir()
    options = clean_alone(backend="ducc0", keep=("residual", "model"))
    metrics = image_tile(
        PrivateSet(root / "t.ms"),
        root / "out",
        plan=replace(resolve(truth.meta, options), **more),
        beam=BeamOptions(),
        scratch=root / "scratch",
        threads=2,
        log=root / "log",
    )
    assert not list((root / "scratch").iterdir())
    return truth, metrics


def test_a_bright_source_far_out_is_cleaned_without_a_sky_model(tmp_path):
    """8 Jy at 1.5 deg, where the beam changes by 7 % either way: sidelobes of 0.2 leave 1.4 % of it, 47 mJy."""
    near = [(0.5, -0.2, 0.3, -0.7), (-0.4, 0.3, 0.2, -0.7), (0.1, 0.4, 0.1, -0.7), (-0.2, -0.5, 0.06, -0.7)]
    truth, metrics = image(tmp_path, [(1.2, 0.9, 8.0, -0.7), *near])
    tile = tmp_path / "out" / truth.meta.tile
    apparent, header = fits.getdata(f"{tile}.image.fits", header=True)
    table = measure(apparent, header, truth.positions)
    true = truth.flux_at(header["RESTFRQ"]) * truth.beam.mean(axis=(0, 1))
    miss = (table["flux_jy"] - true).abs()
    assert miss[0] < 0.01 * true[0]
    assert (miss[1:] < 0.014 * true[0] + 3.5 * table["flux_err_jy"][1:]).all()
    assert np.median(table["flux_jy"] / true) == pytest.approx(1.0, abs=0.02)
    assert metrics["clean_tries"] == 1
    assert metrics["rms_jy"] < 2 * metrics["thermal_from_weights_jy"]
    assert metrics["backend"] == "ducc0"


def test_several_scales_find_what_is_no_point(tmp_path):
    truth, metrics = image(tmp_path, [(0.1, 0.1, 1.0, -0.7, 180.0)], multiscale=True, **SMALL)
    model = fits.getdata(tmp_path / "out" / f"{truth.meta.tile}.model.fits")
    seen = float(truth.flux_jy[0] * truth.beam.mean())
    assert model.sum() == pytest.approx(seen, rel=0.1)
    assert metrics["clean_multiscale"]


def test_a_clean_that_diverges_twice_rejects_the_tile(tmp_path, monkeypatch):
    """A point spread function of a tenth of its height makes every component ten times too bright."""
    right = ducc.middle
    monkeypatch.setattr(ducc, "middle", lambda around: right(around) / np.float32(10))
    with pytest.raises(Rejected, match=r"CLEAN .*before, with the settings planned: CLEAN"):
        image(tmp_path, bright_field()[:1], **SMALL)
    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "out").iterdir())


def test_without_iterations_the_image_is_the_dirty_one(both, tmp_path):
    planes, clean = both.flat.run(replace(both.plan, niter=0), tmp_path)
    np.testing.assert_array_equal(planes.restored, both.flat.dirty)
    assert not planes.model.any()
    assert (clean.majors, clean.stopped) == ((), "no CLEAN")


def test_when_its_time_is_up_clean_ends_after_the_pass_and_says_so(both, tmp_path):
    options = both.plan.options.model_copy(update={"clean_seconds": 1e-6})
    planes, clean = both.flat.run(replace(both.plan, options=options), tmp_path)
    assert len(clean.majors) == 1
    assert clean.stopped == "maximum time: 1e-06 s, after 1 passes"
    # what it has come to is an image: the peak of the residual fell, and restored is residual and components
    assert abs(clean.majors[0].last_peak_jy) < abs(clean.majors[0].first_peak_jy)
    assert planes.model.any()


def test_what_compiled_code_prints_goes_to_the_log_and_no_further(tmp_path, capfd):
    log = tmp_path / "log"
    log.write_text("before\n")
    with printed_to(log):
        os.write(1, b"inside\n")
    os.write(1, b"after\n")
    assert log.read_text() == "before\ninside\n"
    assert capfd.readouterr().out == "after\n"


def test_auto_takes_the_first_imager_there_is_and_says_why(both, monkeypatch):
    options = ImagingOptions()
    plan = resolve(both.truth.meta, options)
    assert (plan.backend, plan.why["backend"]) == ("ducc0", "ducc0 and radler can be imported")
    parts = resolve(both.truth.meta, ImagingOptions(channels_out=4))
    assert parts.backend == "wsclean"
    assert "not in 4 parts" in parts.why["backend"]

    real = importlib.import_module

    def without(name, *more):
        if name == "radler":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    plan = resolve(both.truth.meta, options)
    assert (plan.backend, plan.why["backend"]) == ("wsclean", "radler cannot be imported; wsclean is on PATH")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    plan = resolve(both.truth.meta, options)
    assert (plan.backend, plan.why["backend"]) == (
        "tclean",
        "radler cannot be imported; wsclean is not on PATH",
    )


def test_parts_of_the_band_are_refused_with_the_way_out():
    with pytest.raises(ValidationError, match=r"channels_out: found 4 .*write 1, or backend: wsclean"):
        ImagingOptions(backend="ducc0", channels_out=4)
