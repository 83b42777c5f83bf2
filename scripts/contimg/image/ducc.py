"""Images from visibilities in memory: ducc0 grids and predicts, Radler (WSClean's deconvolution) cleans.

Between the first and the last residual image nothing is written: a pass is a CLEAN of the residual image by Radler and
an image of what its model leaves. Without w that is the dirty image less the model convolved with the point spread
function, no visibility is touched; with w it is predicted and gridded. Weights, point spread function and dirty image
are made once, for a second try with safer settings too.

References: Arras et al. 2021 (A&A 646, A58; ducc0's gridder); Offringa & Smirnov 2017 (MNRAS 471, 301; CLEAN with
automatic masks and several scales).
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from numpy.typing import NDArray
from scipy import signal

from contimg.drift.gridder import Convolution, Gridder, Visibilities
from contimg.image.check import Planes
from contimg.image.plan import ImagingPlan
from contimg.image.wsclean import CleanRecord, MajorIteration
from contimg.sky.measure import PixelBeam
from contimg.sky.noise import robust_rms

Image = NDArray[np.float32]

ACCURACY = 1e-4
"""Of gridding and prediction, relative to the brightest source; WSClean's default."""

RESTORE_BEAMS = 3.0
"""Radius (FWHM along each axis) of the restoring beam: exp(-4 ln 2 · 9) = 1e-11."""


@dataclass(frozen=True)
class Imager:
    """A tile's residual visibilities and what every CLEAN of them begins with.

    Attributes
    ----------
    gridder : Gridder
    vis : (nrows, nchan) complex64
        Jy.
    seen : Convolution or None
        How a model is seen; None where w counts, and visibilities are predicted.
    psf, dirty : (ny, nx) float32
        Jy/beam.
    beam : PixelBeam
        Restoring beam.
    threads : int
    log : Path
        What Radler prints is appended.
    """

    gridder: Gridder
    vis: NDArray[np.complex64]
    seen: Convolution | None
    psf: Image
    dirty: Image
    beam: PixelBeam
    threads: int
    log: Path

    @classmethod
    def of(
        cls, data: Visibilities, header: Header, plan: ImagingPlan, *, pb: Image, threads: int, log: Path
    ) -> Imager:
        """Weigh visibilities, and make their point spread function and dirty image.

        Parameters
        ----------
        data : Visibilities
        header : Header
            Of the image, slanted, with the restoring beam.
        plan : ImagingPlan
        pb : (ny, nx) float32
            Drift-averaged power beam: how far out sources matter decides on w.
        threads : int
        log : Path
        """
        cell_rad = float(np.radians(plan.cell_arcsec / 3600))
        gridder = Gridder(
            data,
            header,
            cell_rad=cell_rad,
            robust=plan.robust,
            uvmin_klambda=plan.uvmin_klambda,
            farthest_rad=_farthest_pix(pb) * cell_rad,
            accuracy=ACCURACY,
            threads=threads,
        )
        if gridder.wide:
            seen, psf = None, gridder.psf()
        else:
            around = gridder.psf((2 * plan.ny, 2 * plan.nx))
            seen, psf = Convolution(around, threads), middle(around)
        beam = PixelBeam.from_header(header)
        return cls(gridder, data.vis, seen, psf, gridder.dirty(data.vis), beam, threads, log)

    def run(self, plan: ImagingPlan, folder: Path) -> tuple[Planes, CleanRecord]:
        """CLEAN as planned.

        Components are looked for anywhere down to `auto_mask`, then on the pixels of those found down to
        `auto_threshold`. With several scales Radler does both by itself: its mask knows the scale of each component.

        Parameters
        ----------
        plan : ImagingPlan
        folder : Path
            Existing scratch directory.

        Returns
        -------
        Planes
        CleanRecord
            From the residual images before and after each pass: their highest peaks, wherever they are, and noise.
            After `clean_seconds` no pass is begun.
        """
        until = time.monotonic() + plan.options.clean_seconds
        residual, model = self.dirty.copy(), np.zeros_like(self.dirty)
        majors: list[MajorIteration] = []
        if plan.multiscale:
            steps = [settings(plan, self.threads, sigma=plan.auto_threshold, mask_sigma=plan.auto_mask)]
        else:
            steps = [settings(plan, self.threads, sigma=plan.auto_mask)]
            if plan.auto_threshold < plan.auto_mask:
                steps.append(
                    settings(plan, self.threads, sigma=plan.auto_threshold, mask=folder / "mask.fits")
                )
        for step in steps:
            if step.fits_mask:
                fits.PrimaryHDU((model != 0).astype(np.float32)).writeto(step.fits_mask)
            step.minor_iteration_count -= sum(major.iterations for major in majors)
            step.major_iteration_count -= len(majors)
            if min(step.minor_iteration_count, step.major_iteration_count) > 0 and (
                model.any() or not step.fits_mask
            ):
                self._clean(step, residual, model, majors, until)
        restored = residual + self._convolved(model)
        stopped = _why_it_stopped(plan, majors, late=time.monotonic() >= until) if majors else "no CLEAN"
        return Planes(restored, residual, model, self.dirty, self.psf), CleanRecord(tuple(majors), stopped)

    def _clean(
        self, step: Any, residual: Image, model: Image, majors: list[MajorIteration], until: float
    ) -> None:
        """Passes with one set of Radler's settings; images are changed in place, the record of passes grows."""
        import radler

        beam_rad = self.beam.minor_pix * self.gridder.cell_rad
        cleaner = radler.Radler(step, self.psf, residual, model, beam_rad)  # keeps views of the images
        cleaner.worker_thread_count = self.threads
        goes_on, number = True, 0
        while goes_on and (not majors or time.monotonic() < until):
            number += 1
            noise, first, before = robust_rms(residual), _peak(residual), cleaner.iteration_number
            with printed_to(self.log):
                goes_on = cleaner.perform(number)
            done = cleaner.iteration_number - before
            majors.append(MajorIteration(noise, first, _peak(residual), done))
            residual[:] = self.residual(model)

    def residual(self, model: Image) -> Image:
        """What the data have beyond a model (Jy/pixel), Jy/beam."""
        if self.seen is None:
            return self.gridder.residual(self.vis, model)
        return self.dirty - self.seen.image(model)

    def _convolved(self, model: Image) -> Image:
        """A model (Jy/pixel) as the restoring beam shows it, Jy/beam."""
        half_x, half_y = self.beam.box(RESTORE_BEAMS)
        y, x = np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1]
        kernel = self.beam.value(x, y).astype(np.float32)
        return np.asarray(signal.oaconvolve(model, kernel, mode="same"), np.float32)


def settings(
    plan: ImagingPlan,
    threads: int,
    *,
    sigma: float,
    mask_sigma: float | None = None,
    mask: Path | None = None,
) -> Any:
    """Radler's settings for a plan.

    Parameters
    ----------
    plan : ImagingPlan
    threads : int
    sigma : float
        How deep, in times the noise of the residual image.
    mask_sigma : float, optional
        Down to where components are looked for anywhere; then where they are.
    mask : Path, optional
        FITS image of where components may be.
    """
    import radler

    made = radler.Settings()
    made.trimmed_image_width, made.trimmed_image_height = plan.nx, plan.ny
    made.pixel_scale.x = made.pixel_scale.y = float(np.radians(plan.cell_arcsec / 3600))
    made.thread_count = made.parallel.max_threads = threads
    made.minor_iteration_count, made.major_iteration_count = plan.niter, plan.max_major
    made.minor_loop_gain, made.major_loop_gain = plan.gain, each_gain(plan.mgain)
    made.auto_threshold_sigma = sigma
    if mask_sigma is not None:
        made.auto_mask_sigma = mask_sigma
    if mask is not None:
        made.fits_mask = str(mask)
    made.use_sub_minor_optimization = True
    kinds = radler.AlgorithmType
    made.algorithm_type = kinds.multiscale if plan.multiscale else kinds.generic_clean
    return made


def middle(image: Image) -> Image:
    """The middle half of an image along either axis."""
    ny, nx = image.shape
    return np.ascontiguousarray(image[ny // 4 : ny // 4 + ny // 2, nx // 4 : nx // 4 + nx // 2])


def each_gain(mgain: float) -> float:
    """Radler's major loop gain for a plan's: two passes together take `mgain` of the peak.

    A pass costs a tenth of WSClean's, and Radler 1.2 raises the gain by 0.06 in the first two. With `mgain` itself an
    8.8 Jy source at declination -5, whose sidelobes change as it drifts, diverged, as it does in WSClean; with half
    steps, and without the source taken out before, 13 sources at -5, +37 and +70 leave 0.6, 0.9 and 1.0 times the rms
    that WSClean leaves.
    """
    return 1 - float(np.sqrt(1 - mgain))


@contextmanager
def printed_to(log: Path) -> Iterator[None]:
    """What compiled code prints to standard output meanwhile is appended to a file."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    try:
        with log.open("ab") as sink:
            os.dup2(sink.fileno(), 1)
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _why_it_stopped(plan: ImagingPlan, majors: list[MajorIteration], *, late: bool) -> str:
    if late:
        return f"maximum time: {plan.options.clean_seconds:g} s, after {len(majors)} passes"
    if sum(major.iterations for major in majors) >= plan.niter:
        return "maximum number of iterations"
    return "maximum number of passes" if len(majors) >= plan.max_major else "threshold"


def _peak(image: Image) -> float:
    """The pixel farthest from zero."""
    low, high = float(image.min()), float(image.max())
    return high if high >= -low else low


def _farthest_pix(pb: Image, limit: float = 0.05) -> float:
    """Distance from the middle of the farthest pixel where the power beam is above a limit."""
    ny, nx = pb.shape
    rows, columns = np.nonzero(pb >= limit)
    return float(np.hypot(columns - nx // 2, rows - ny // 2).max(initial=0.0))
