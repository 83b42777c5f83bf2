"""WSClean: what it is told, what its log says, and what is done when its CLEAN cannot be believed."""

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders.imaging_sky import clean_alone, make_tile
from contimg.core.errors import Rejected, SystemFault
from contimg.image import wsclean
from contimg.image.check import Planes, implausible
from contimg.image.plan import ImagingPlan
from contimg.image.tile import image_tile
from contimg.image.wsclean import CleanRecord, MajorIteration, parse_log
from contimg.ms.private import PrivateSet
from contimg.telescope.options import BeamOptions

PLAN = ImagingPlan(
    backend="wsclean",
    nx=128,
    ny=120,
    cell_arcsec=20.0,
    freq_average=1,
    robust=0.0,
    uvmin_klambda=1.0,
    channels_out=1,
    niter=1000,
    gain=0.1,
    mgain=0.8,
    max_major=8,
    auto_mask=4.0,
    auto_threshold=1.0,
    beam_arcsec=(60.0, 40.0, 80.0),
    no_small_inversion=False,
    options=clean_alone(),
)

LOG = """
 == Constructing image ==
 == Deconvolving (1) ==
Estimated standard deviation of background noise: 9.7 mJy
Initial peak: 7.74 Jy at 2077,1838
Next major iteration at: 1.55 Jy
Performed 9 iterations in total, 9 in this major iteration with sub-minor optimization.
Stopped on peak 1.38 Jy, because the minor-loop threshold was reached. Continuing cleaning after inversion.
 == Converting model image to visibilities ==
 == Deconvolving (2) ==
Estimated standard deviation of background noise: 918.91 µJy
Initial peak: -12.26 mJy at 2864,1663
Performed 20000 iterations in total, 19991 in this major iteration with sub-minor optimization.
Stopped on peak -2.87 mJy, because maximum number of iterations was reached.
Maximum number of minor deconvolution iterations was reached: not continuing deconvolution.
2 major iterations were performed.
"""


def majors(*rows: tuple[float, float, float]) -> CleanRecord:
    return CleanRecord(
        tuple(MajorIteration(noise, first, last, 10) for noise, first, last in rows), "threshold"
    )


def test_the_log_tells_peaks_noise_iterations_and_why_it_stopped():
    record = parse_log(LOG)
    first, second = record.majors
    assert first == MajorIteration(pytest.approx(9.7e-3), 7.74, 1.38, 9)
    assert second == MajorIteration(
        pytest.approx(918.91e-6), pytest.approx(-12.26e-3), pytest.approx(-2.87e-3), 19991
    )
    assert record.n_iter == 20000
    assert record.stopped == "maximum number of iterations was reached"
    assert record.divergence() is None


SCALES_LOG = """
 == Deconvolving (1) ==
Estimated standard deviation of background noise: 1.04 mJy
RMS per scale: {0: 1.05 mJy, 20: 76.02 µJy, 41: 31.93 µJy}
Starting multi-scale cleaning. Start peak=7.63 mJy, major iteration threshold=4.15 mJy (final)
Iteration 20, scale 0 px : 6.09 mJy at 709,515
Iteration 62, scale 41 px : 4.95 mJy at 505,418
Subminor loop is near minor loop threshold. Initiating countdown.
(8) Iteration 111, scale 0 px : 4.15 mJy at 663,414
Cleaning finished because the final threshold was reached.
 == Deconvolving (2) ==
Estimated standard deviation of background noise: 1.02 mJy
Starting multi-scale cleaning. Start peak=4.15 mJy, major iteration threshold=1.02 mJy (final)
Iteration 188, scale 0 px : -3.31 mJy at 208,278
(8) Iteration 594, scale 0 px : -1.02 mJy at 313,481
Cleaning finished because the final threshold was reached.
"""


def test_the_log_of_a_clean_with_several_scales_tells_the_same():
    # an excerpt of WSClean 3.1.0's; components are counted from the first pass on
    record = parse_log(SCALES_LOG)
    assert [major.iterations for major in record.majors] == [111, 483]
    assert record.majors[0].first_peak_jy == pytest.approx(7.63e-3)
    assert record.majors[0].last_peak_jy == pytest.approx(4.15e-3)
    assert record.majors[1].last_peak_jy == pytest.approx(-1.02e-3)
    assert record.majors[1].noise_jy == pytest.approx(1.02e-3)
    assert record.stopped == "the final threshold was reached"
    assert record.divergence() is None
    grown = SCALES_LOG.replace("-1.02 mJy at", "-31.02 mJy at")
    assert "grew from 0.00415 to 0.03102 Jy" in parse_log(grown).divergence()


def test_a_log_without_clean_has_no_passes():
    record = parse_log("Fitting beam... done\nWriting dirty image...")
    assert record.majors == ()
    assert record.divergence() is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (majors((0.01, 8.0, 1.6), (0.01, 2.4, 1.0), (0.01, 3.9, 1.0)), "pass 3 began with a peak of 3.9 Jy"),
        (majors((0.001, 8.0, 1.6), (0.001, 1.6, 0.005), (0.001, 0.005, 1.8)), "grew from 0.005 to 1.8"),
        (
            majors((0.001, 8.0, 1.6), (0.001, 1.6, 0.02), (0.001, 0.02, 0.01), (0.001, 0.04, 0.03)),
            "pass 4 began",
        ),
    ],
)
def test_a_residual_that_grows_is_a_divergence(record, said):
    assert said in record.divergence()


def test_noise_and_a_growth_made_good_later_are_no_divergence():
    # what WSClean did with an 8.8 Jy source at declination -5: a pass with the mask let 25 mJy grow to 40
    made_good = majors((0.01, 7.74, 1.4), (0.002, 0.06, 0.012), (0.0016, -0.0245, -0.006), (0.0014, -0.0399, -0.008),
                       (0.0014, -0.0084, 0.0024))  # fmt: skip
    assert made_good.divergence() is None
    # a last pass within ten times the rms of the noise, after one of five: by rounding alone it is there or not
    assert majors((0.002, 3.3, 0.008), (0.0015, 0.0079, 0.006), (0.0015, 0.0106, 0.0107)).divergence() is None
    # a field of noise: peaks of five times the rms come and go
    assert majors((0.001, 0.0050, 0.0048), (0.001, 0.0056, 0.0055)).divergence() is None


def test_the_command_holds_wsclean_to_its_threads_and_leaves_the_data_alone(tmp_path):
    command = wsclean.command(
        [Path("a.ms")], tmp_path / "tile", plan=PLAN, beam_arcsec=(60.0, 40.0, 80.0), threads=2, memory_gb=3.0
    )
    text = " ".join(command)
    for part in (
        "-j 2", "-abs-mem 3.0", "-no-update-model-required", "-reorder", f"-temp-dir {tmp_path}", "-data-column DATA",
        "-weight briggs 0", "-size 128 120", "-scale 20asec", "-minuv-l 1000", "-auto-mask 4", "-auto-threshold 1",
        "-mgain 0.8", "-nmiter 8", "-beam-shape 60.000asec 40.000asec 80.000deg",
    ):  # fmt: skip
        assert part in text
    assert "-no-small-inversion" not in text
    assert "-join-channels" not in text
    assert command[-1] == "a.ms"
    fine = replace(PLAN, no_small_inversion=True, channels_out=4, uvmin_klambda=0.0)
    text = " ".join(
        wsclean.command(
            [Path("a.ms")], tmp_path / "t", plan=fine, beam_arcsec=(9, 9, 0), threads=1, memory_gb=1
        )
    )
    assert "-no-small-inversion" in text
    assert "-channels-out 4 -join-channels" in text
    assert "-minuv-l" not in text


def test_safer_settings_stop_earlier_in_smaller_steps():
    second = wsclean.safer(PLAN)
    assert second.gain < PLAN.gain
    assert second.mgain < PLAN.mgain
    assert second.max_major < PLAN.max_major
    assert second.auto_mask > PLAN.auto_mask
    assert second.auto_threshold > PLAN.auto_threshold
    assert second.no_small_inversion
    assert "diverged" in second.why["safer"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "reading\n+ An exception occurred:\n+ >>> Invalid Table data type\n+ + +\n",
            "Invalid Table data type",
        ),
        ("a\nError: cannot write, disk full\nbye\n", "Error: cannot write, disk full"),
        ("", "it printed nothing"),
    ],
)
def test_the_decisive_line_of_a_failure(text, line):
    assert wsclean.decisive_line(text) == line


BEAM_PIX = 3.0


def made(**changes: np.ndarray) -> Planes:
    """A believable CLEAN of a 1 Jy source in noise of 1 mJy: dirty image, component, residual, restored image."""
    noise = np.random.default_rng(1).normal(0, 1e-3, (128, 128))
    source = np.zeros((128, 128))
    source[60, 60] = 1.0
    planes = {"restored": noise + source, "residual": noise, "model": source, "dirty": noise + source}
    return Planes(**{**planes, **changes})


def test_a_good_clean_has_nothing_against_it():
    assert implausible(made(), beam_pix=BEAM_PIX) is None
    assert implausible(replace(made(), dirty=None), beam_pix=BEAM_PIX) is None


def test_an_image_of_holes_is_implausible():
    assert "reaches from" in implausible(made(restored=-made().restored), beam_pix=BEAM_PIX)


def test_a_residual_above_the_image_is_implausible_unless_a_bright_source_was_taken_out_there():
    left = made().residual.copy()
    left[10, 10] = -3.0
    assert "residual of 3" in implausible(made(residual=left), beam_pix=BEAM_PIX)
    assert implausible(made(residual=left), beam_pix=BEAM_PIX, subtracted_jy=200.0) is None


def test_a_residual_above_the_dirty_image_is_implausible():
    # the restored image holds the residual too, so that it alone shows nothing
    left = made().residual.copy()
    left[10, 10] = 3.0
    reason = implausible(made(residual=left, restored=left + made().model), beam_pix=BEAM_PIX)
    assert "the residual reaches 3 Jy/beam, the dirty image 1" in reason


def test_a_bowl_is_implausible():
    left = made().residual.copy()
    left[20:60, 20:60] -= 2e-3  # twice the noise, over 13 beams: no pixel of it stands out
    assert "dug a bowl" in implausible(made(residual=left), beam_pix=BEAM_PIX)


def test_a_model_with_more_flux_than_the_data_is_implausible():
    left = made().residual.copy()
    left[60, 60] = -0.3
    assert "30% too much" in implausible(made(residual=left, model=1.3 * made().model), beam_pix=BEAM_PIX)
    assert "more than they have" in implausible(made(model=-made().model), beam_pix=BEAM_PIX)


def fake_wsclean(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program called wsclean first on PATH."""
    program = folder / "wsclean"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def run_tile(tmp_path: Path) -> dict:
    """Image a tiny tile with whatever wsclean is on PATH."""
    make_tile(
        tmp_path / "t.ms",
        [(0.0, 0.0, 5.0, 0.0)],
        dec_deg=37,
        antennas=(1, 20, 40, 75, 95),
        n_times=2,
        n_channels=4,
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    return image_tile(
        PrivateSet(tmp_path / "t.ms"),
        tmp_path / "out",
        plan=PLAN,
        beam=BeamOptions(),
        scratch=tmp_path / "scratch",
        threads=1,
        log=tmp_path / "log",
    )


def test_a_failing_wsclean_is_a_fault_of_the_system_with_its_line(tmp_path, monkeypatch):
    fake_wsclean(tmp_path, monkeypatch, "echo '+ >>> out of cheese'; exit 3\n")
    with pytest.raises(SystemFault, match=r"exit code 3.*out of cheese"):
        run_tile(tmp_path)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_wsclean_that_is_killed_is_told_from_one_that_fails(tmp_path, monkeypatch):
    fake_wsclean(tmp_path, monkeypatch, "kill -9 $$\n")
    with pytest.raises(SystemFault, match="killed by signal 9"):
        run_tile(tmp_path)


def test_a_missing_wsclean_is_a_fault_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemFault, match="apt-get install wsclean"):
        run_tile(tmp_path)


def test_a_clean_that_diverges_twice_rejects_the_tile_and_the_second_try_is_safer(tmp_path, monkeypatch):
    planes = tmp_path / "planes"
    planes.mkdir()
    plane = np.random.default_rng(0).normal(0, 1e-3, (1, 1, PLAN.ny, PLAN.nx)).astype(np.float32)
    plane[0, 0, 60, 60] = 5.0
    header = fits.Header()
    # the phase centre's declination is taken from the data: filled in below, once they exist
    script = f"""
echo "$@" >> {tmp_path}/calls
while [ "$1" != "-name" ]; do shift; done
for kind in image residual model dirty; do cp {planes}/plane.fits $2-$kind.fits; done
echo ' == Deconvolving (1) =='
echo 'Estimated standard deviation of background noise: 1 mJy'
echo 'Initial peak: 2 Jy at 1,1'
echo 'Stopped on peak 3.9 Jy, because the minor-loop threshold was reached.'
"""
    fake_wsclean(tmp_path, monkeypatch, script)
    truth = make_tile(tmp_path / "x.ms", [], dec_deg=37, antennas=(1, 20, 40), n_times=2, n_channels=4)
    for axis, (size, step) in enumerate(((PLAN.nx, -1), (PLAN.ny, 1)), start=1):
        header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = size / 2 + 1, step * PLAN.cell_arcsec / 3600
    header["CRVAL2"] = np.degrees(truth.meta.phase_dec_rad)
    fits.PrimaryHDU(plane, header).writeto(planes / "plane.fits")
    with pytest.raises(Rejected, match=r"grew from 2 to 3.9 Jy.*before, with the settings planned"):
        run_tile(tmp_path)
    calls = [call for call in (tmp_path / "calls").read_text().splitlines() if call != "--version"]
    assert len(calls) == 2
    assert "-gain 0.1 " in calls[0]
    assert "-gain 0.05 " in calls[1]
    assert "-no-small-inversion" in calls[1]
    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "out").iterdir())
