"""Gains that drifted between the transit and the tile, through the whole image job: fluxes and noise of the image."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from builders.imaging_sky import FoundOnce, bright_field, make_tile, through_image_job
from contimg.image.options import ImagingOptions
from contimg.image.plan import resolve
from contimg.ms.sets import read_meta
from contimg.ms.weights import weigh
from contimg.sky.measure import measure
from unit.image.test_selfcal import put_gains_off

OPTIONS = ImagingOptions(outside="none", pb_limit=0.5)  # all sources are within 1 deg
ARMS = (*range(1, 52, 4), *range(68, 103, 3))


def imaged_with(backend, root, truth):
    options = OPTIONS.model_copy(update={"backend": backend})
    return through_image_job(root / "t.ms", truth, root, options=options, scratch=root, log=root / "log")


def make(root):
    return make_tile(root / "t.ms", bright_field(), dec_deg=37.0, antennas=ARMS, n_times=6, n_channels=48)


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    """A tile, gains off by 30 deg and 3 % rms, through the whole job; and what was found in it."""
    root = tmp_path_factory.mktemp("drifted")
    truth = make(root)
    put_gains_off(root / "t.ms")
    once = FoundOnce()
    with once.imaging():
        metrics = imaged_with("ducc0", root, truth)
    return root, truth, metrics, once


@pytest.fixture(
    scope="module",
    params=[("drifted", "ducc0"), ("drifted", "wsclean"), ("drifted", "tclean"), ("perfect", "wsclean")],
    ids=" ".join,
)
def imaged(request, drifted, tmp_path_factory):
    """An 8.8 Jy source and twelve others; gains off by 30 deg and 3 % rms, or not at all."""
    kind, backend = request.param
    first, truth, metrics, once = drifted
    if (kind, backend) == ("drifted", "ducc0"):
        return kind, first, truth, metrics
    root = tmp_path_factory.mktemp(kind)
    if kind == "perfect":
        truth = make(root)
        return kind, root, truth, imaged_with(backend, root, truth)
    shutil.copytree(first / "t.ms", root / "t.ms")
    with once.imaging():
        return kind, root, truth, imaged_with(backend, root, truth)


def test_gains_are_corrected_where_they_drifted_and_only_there(imaged):
    kind, _, _, metrics = imaged
    found = metrics["selfcal"]
    if kind == "drifted":
        # of 48 gains: good to 1 / sqrt(2 * 46) = 10 %, three of them; 30 deg are found before faint sources are
        assert found["search"][0]["phase"]["phase_deg"] == pytest.approx(30.0, rel=0.3)
        amplitudes = [step["amplitude"] for step in found["search"] if step["amplitude"]["accepted"]]
        assert amplitudes[0]["amplitude"] == pytest.approx(0.03, rel=0.3)
    else:
        left = found.pop("left")
        # gains of 1: what is found is noise, some 0.1 % of a gain
        assert left["antennas"] == {}
        assert abs(left["scale"]) < 1e-3
        assert left["loss"] < 1e-3
        steps = [*found.pop("search", []), found]
        assert all(step.pop(name) == {} for step in steps for name in ("departed", "followed"))
        assert not any(solution["accepted"] for step in steps for solution in step.values())


def test_what_is_told_of_the_weights_is_that_of_the_set_as_it_was_imaged(imaged):
    """Amplitudes that are taken out change the weights, by 3 % of each antenna's."""
    _, root, truth, metrics = imaged
    plan = resolve(truth.meta, OPTIONS)
    fields = tuple(float(np.radians(n * plan.cell_arcsec / 3600)) for n in (plan.nx, plan.ny))
    asked = {"fields_rad": fields, "robust": plan.robust, "uvmin_klambda": plan.uvmin_klambda}
    after = weigh(root / "t.ms", read_meta(root / "t.ms"), weighted_hands=True, **asked)
    assert metrics["thermal_from_weights_jy"] == pytest.approx(after.thermal_jy, rel=1e-4)
    assert metrics["n_visibilities"] == after.n_visibilities


def test_the_noise_is_thermal_and_fluxes_are_right_to_one_per_cent(imaged):
    kind, root, truth, metrics = imaged
    # gains off by 3 % would leave 0.03 * 8.8 Jy / sqrt(276 baselines * 2 hands) = 11 mJy: ten times the noise
    assert metrics["rms_jy"] < (1.5 if kind == "drifted" else 1.15) * metrics["thermal_from_weights_jy"]
    image, header = fits.getdata(root / f"{truth.meta.tile}.pbcor.fits", header=True)
    rms = fits.getdata(root / f"{truth.meta.tile}.rms.fits")
    table = measure(image, header, truth.positions, rms=rms)
    true = truth.flux_at(header["RESTFRQ"])
    miss = table["flux_jy"] - true
    # 3.5 sigma of the noise: one of 26 is beyond in 1 % of all skies
    assert (np.abs(miss) < 3.5 * table["flux_err_jy"] + 0.01 * true).all()
    assert abs(np.median(table["flux_jy"] / true) - 1) < 0.01
    assert abs(table["flux_jy"].iloc[0] / true[0] - 1) < 0.01
