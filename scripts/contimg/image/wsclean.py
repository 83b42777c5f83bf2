"""WSClean: its command, its log, and whether its CLEAN can be believed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contimg.core.errors import SystemFault
from contimg.image import programs
from contimg.image.check import NOISE_PEAK
from contimg.image.plan import ImagingPlan

KINDS = ("image", "residual", "model", "dirty")
_PREFIX = {"": 1.0, "K": 1e3, "m": 1e-3, "µ": 1e-6, "u": 1e-6, "n": 1e-9}
_FLUX = r"(-?[\d.]+(?:e[+-]?\d+)?) ?(K|m|µ|u|n|)Jy"
_GROWTH = (
    1.1  # the residual peak may not grow by more than this, unless it is below `NOISE_PEAK` times the noise
)
_HICCUP = 0.01  # or, in passes before the last, no more than this part of the first peak


@dataclass(frozen=True)
class MajorIteration:
    """One pass of CLEAN: peaks (Jy, signed) before and after its minor iterations, and the noise then (Jy)."""

    noise_jy: float
    first_peak_jy: float
    last_peak_jy: float
    iterations: int


@dataclass(frozen=True)
class CleanRecord:
    """What an imager said about its CLEAN.

    Attributes
    ----------
    majors : tuple of MajorIteration
    stopped : str
        Why the last minor loop ended, in the imager's words.
    """

    majors: tuple[MajorIteration, ...]
    stopped: str

    @property
    def n_iter(self) -> int:
        """Components found."""
        return sum(major.iterations for major in self.majors)

    def divergence(self) -> str | None:
        """Why this CLEAN cannot be believed; None if it can.

        The largest residual has to fall in each minor loop and from each pass to the next. Growth does not count
        below the highest peaks of the noise, nor, as long as the last pass makes it good, below 1 % of the first
        peak: a mask that opens on the foot of a bright source lets the residual beside it grow for one pass.
        """
        if not self.majors:
            return None
        floor = _HICCUP * abs(self.majors[0].first_peak_jy)
        lowest = abs(self.majors[0].first_peak_jy)
        for number, major in enumerate(self.majors, start=1):
            first, last = abs(major.first_peak_jy), abs(major.last_peak_jy)
            noise = NOISE_PEAK * major.noise_jy
            bound = max(noise, floor) if number < len(self.majors) else noise
            if first > max(_GROWTH * lowest, bound):
                return f"CLEAN diverged: pass {number} began with a peak of {first:.4g} Jy, after {lowest:.4g} Jy"
            if last > max(_GROWTH * first, bound):
                return f"CLEAN diverged: in pass {number} the residual peak grew from {first:.4g} to {last:.4g} Jy"
            lowest = min(lowest, first)
        return None


@dataclass(frozen=True)
class Images:
    """FITS files that an imager left in scratch (4-D, Jy/beam; the model in Jy/pixel, the PSF 1 at its middle)."""

    restored: Path
    residual: Path
    model: Path
    dirty: Path | None = None
    psf: Path | None = None


def command(
    sets: Sequence[Path],
    prefix: Path,
    *,
    plan: ImagingPlan,
    beam_arcsec: tuple[float, float, float],
    threads: int,
    memory_gb: float,
    polarisation: str = "I",
) -> list[str]:
    """WSClean's arguments for a plan.

    Parameters
    ----------
    sets : sequence of Path
        Measurement Sets, imaged together.
    prefix : Path
        Of the names of the products.
    plan : ImagingPlan
    beam_arcsec : (major, minor, angle)
        Restoring beam: FWHM, FWHM, deg.
    threads : int
    memory_gb : float
        Limit of what WSClean may take.
    polarisation : str
        I, or the correlation that holds Stokes I.
    """
    major, minor, angle = beam_arcsec
    arguments = ["wsclean", "-j", str(threads), "-abs-mem", f"{memory_gb:.1f}"]
    arguments += ["-no-update-model-required", "-reorder", "-temp-dir", str(prefix.parent)]
    arguments += ["-data-column", "DATA", "-pol", polarisation, "-use-wgridder"]
    arguments += ["-weight", "briggs", f"{plan.robust:g}", "-size", str(plan.nx), str(plan.ny)]
    arguments += ["-scale", f"{plan.cell_arcsec:g}asec"]
    arguments += ["-beam-shape", f"{major:.3f}asec", f"{minor:.3f}asec", f"{angle:.3f}deg"]
    if plan.uvmin_klambda > 0:
        arguments += ["-minuv-l", f"{1e3 * plan.uvmin_klambda:g}"]
    if plan.no_small_inversion:
        arguments += ["-no-small-inversion"]
    if "psf" in plan.options.keep:
        arguments += ["-make-psf"]  # without it none is left where there is no CLEAN
    if plan.multiscale:
        arguments += ["-multiscale"]
    if plan.channels_out > 1:
        arguments += ["-channels-out", str(plan.channels_out), "-join-channels", "-fit-spectral-pol", "2"]
    arguments += ["-niter", str(plan.niter), "-gain", f"{plan.gain:g}", "-mgain", f"{plan.mgain:g}"]
    arguments += ["-nmiter", str(plan.max_major), "-auto-mask", f"{plan.auto_mask:g}"]
    arguments += ["-auto-threshold", f"{plan.auto_threshold:g}", "-name", str(prefix), *map(str, sets)]
    return arguments


def safer(plan: ImagingPlan) -> ImagingPlan:
    """Settings for a second try after CLEAN diverged: stop earlier, take smaller steps, full-size inversion."""
    return replace(
        plan,
        gain=0.5 * plan.gain,
        mgain=min(plan.mgain, 0.7),
        max_major=min(plan.max_major, 6),
        auto_mask=max(1.5 * plan.auto_mask, 7.0),
        auto_threshold=max(2 * plan.auto_threshold, 4.0),
        no_small_inversion=True,
        why={**plan.why, "safer": "CLEAN diverged with the settings planned"},
    )


def run(
    sets: Sequence[Path],
    folder: Path,
    *,
    plan: ImagingPlan,
    beam_arcsec: tuple[float, float, float],
    threads: int,
    memory_gb: float,
    log: Path,
    polarisation: str = "I",
) -> tuple[Images, CleanRecord]:
    """Image Measurement Sets, which are only read.

    Parameters
    ----------
    sets : sequence of Path
    folder : Path
        Empty scratch directory for the products and WSClean's temporary files.
    plan, beam_arcsec, threads, memory_gb, polarisation
        See `command`.
    log : Path
        WSClean's output is appended.

    Returns
    -------
    Images, CleanRecord

    Raises
    ------
    SystemFault
        WSClean is missing, was killed, failed, or left no image; with the line of its log that says why.
    """
    program = programs.wsclean()
    if program is None:
        raise SystemFault(
            "wsclean is not on PATH; install it (Debian: apt-get install wsclean) or set imaging.backend"
        )
    prefix = folder / "tile"
    arguments = command(
        sets,
        prefix,
        plan=plan,
        beam_arcsec=beam_arcsec,
        threads=threads,
        memory_gb=memory_gb,
        polarisation=polarisation,
    )
    arguments[0] = program.path
    # its own threads are -j; it refuses to share the cores with those of OpenBLAS
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads)}
    with log.open("a+", encoding="utf-8", errors="replace") as sink:
        sink.write(" ".join(arguments) + "\n")
        sink.flush()
        start = sink.tell()
        done = subprocess.run(arguments, stdout=sink, stderr=subprocess.STDOUT, env=environment, check=False)
        sink.seek(start)
        text = sink.read()
    if done.returncode != 0:
        raise SystemFault(f"wsclean failed ({_how(done.returncode)}): {decisive_line(text)}; see {log}")
    part = "-MFS" if plan.channels_out > 1 else ""
    images = Images(*(Path(f"{prefix}{part}-{kind}.fits") for kind in KINDS))
    if plan.niter == 0:  # without CLEAN there is neither residual nor model
        images = Images(images.restored, images.restored, images.restored, images.restored)
    if "psf" in plan.options.keep:
        images = replace(images, psf=Path(f"{prefix}{part}-psf.fits"))
    for path in (images.restored, images.residual, images.model, images.dirty, images.psf):
        if path is not None and not path.is_file():
            raise SystemFault(f"wsclean ended well without {path.name}: {decisive_line(text)}; see {log}")
    return images, parse_log(text)


def parse_log(text: str) -> CleanRecord:
    """Read the passes of CLEAN from what WSClean printed."""
    majors: list[MajorIteration] = []
    stopped = "no CLEAN"
    for section in re.split(r"== Deconvolving \(\d+\) ==", text)[1:]:
        noise = re.search(rf"standard deviation of background noise: {_FLUX}", section)
        first = re.search(rf"(?:Initial peak: |Start peak=){_FLUX}", section)
        if first is None:
            continue
        if "Starting multi-scale cleaning" in section:
            majors.append(_scales_pass(section, first, noise, sum(major.iterations for major in majors)))
            because = re.search(r"finished because (.*?)\.", section)
            stopped = because.group(1) if because else stopped
            continue
        last = re.search(rf"Stopped on peak {_FLUX}, because (.*?)\.", section)
        count = re.search(r"(\d+) in this major iteration", section)
        peak = _jansky(first)
        majors.append(
            MajorIteration(
                noise_jy=_jansky(noise) if noise else 0.0,
                first_peak_jy=peak,
                last_peak_jy=_jansky(last) if last else peak,
                iterations=int(count.group(1)) if count else 0,
            )
        )
        if last:
            stopped = last.group(3)
    return CleanRecord(tuple(majors), stopped)


def _scales_pass(
    section: str, first: re.Match[str], noise: re.Match[str] | None, before: int
) -> MajorIteration:
    """One pass of a CLEAN with several scales, which counts components from the first pass on: `before` in those."""
    steps = re.findall(rf"Iteration (\d+), scale [\d.]+ px : {_FLUX}", section)
    peak = _jansky(first)
    return MajorIteration(
        noise_jy=_jansky(noise) if noise else 0.0,
        first_peak_jy=peak,
        last_peak_jy=float(steps[-1][1]) * _PREFIX[steps[-1][2]] if steps else peak,
        iterations=int(steps[-1][0]) - before if steps else 0,
    )


def decisive_line(text: str) -> str:
    """The line of WSClean's output that says what went wrong: what follows >>>, or the last one."""
    raised = re.findall(r">>> *(.+)", text)
    if raised:
        return raised[-1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.search(r"error|exception|cannot|could not|killed", line, re.IGNORECASE)
    ]
    return (errors or lines or ["it printed nothing"])[-1]


def _jansky(match: re.Match[str]) -> float:
    return float(match.group(1)) * _PREFIX[match.group(2)]


def _how(code: int) -> str:
    return f"killed by signal {-code}; more memory?" if code < 0 else f"exit code {code}"
