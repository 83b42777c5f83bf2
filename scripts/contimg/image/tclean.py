"""CASA tclean: the imager where WSClean is not installed; the same products from the same plan."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time

from contimg.core.casa import casatasks
from contimg.core.errors import SystemFault
from contimg.image.plan import ImagingPlan
from contimg.image.wsclean import CleanRecord, Images, MajorIteration
from contimg.ms.meta import MsMeta
from contimg.ms.sets import read_meta
from contimg.telescope import geometry

SOLAR_APEX = SkyCoord("18h", "30d", frame="fk4", equinox="B1900").icrs
DEPTH = 2.0
MULTISCALE_BEAMS = (0, 2, 5)
MAX_MAJOR = 5  # each costs 10 s; the last ones find a few per cent of the components
STOP_REASONS = {
    0: "CLEAN was not started",
    1: "maximum number of iterations",
    2: "threshold",
    3: "stopped by force",
    4: "the peak did not fall any more",
    5: "the peak grew threefold",
    6: "the peak grew threefold since its minimum",
    7: "empty mask",
    8: "noise threshold",
    9: "maximum number of passes",
}
"""tclean's stop codes (CASA documentation, tclean, "Returned dictionary")."""


def run(
    sets: Sequence[Path],
    folder: Path,
    *,
    plan: ImagingPlan,
    beam_arcsec: tuple[float, float, float],
    threads: int,
    log: Path,
    polarisation: str = "I",
) -> tuple[Images, CleanRecord]:
    """Image Measurement Sets with tclean; they are only read.

    The whole field is cleaned with Hogbom's algorithm, without a mask, to `DEPTH` times `plan.auto_mask` times
    the noise: each of its iterations costs tens of milliseconds on such images, and the last factor of two
    in depth is nine tenths of them. What is left unclean stays in the image with its right flux.

    Parameters
    ----------
    sets : sequence of Path
        Imaged together.
    folder : Path
        Empty scratch directory.
    plan, beam_arcsec
        Settings, and the restoring beam (FWHM, FWHM in arcsec, angle in deg).
    threads : int
        OpenMP threads.
    log : Path
        CASA's log is appended.
    polarisation : str
        I, or the correlation that holds Stokes I.

    Returns
    -------
    Images, CleanRecord

    Raises
    ------
    SystemFault
        CASA is missing, or tclean failed or left no image.
    """
    tasks = casatasks(threads, log.resolve())
    folder = folder.resolve()
    name = str(folder / "tile")
    parameters = arguments(
        [path.resolve() for path in sets],
        name,
        plan,
        beam_arcsec,
        pixel_scale=1 / lsrk_over_topocentric(read_meta(sets[0])),
        polarisation=polarisation,
    )
    images = {}
    kinds = ["image", "residual", "model", *(["psf"] if "psf" in plan.options.keep else [])]
    try:
        with contextlib.chdir(folder):  # CASA leaves temporary lattices in the working directory
            if "dirty" in plan.options.keep:  # the residual before CLEAN, which then goes on from it
                tasks.tclean(**{**parameters, "niter": 0})
                images["dirty"] = folder / "tile-dirty.fits"
                tasks.exportfits(imagename=f"{name}.residual", fitsimage=str(images["dirty"]))
                parameters |= {"calcpsf": False, "calcres": False}
            result = tasks.tclean(**parameters)
            for kind in kinds:
                images[kind] = folder / f"tile-{kind}.fits"
                tasks.exportfits(imagename=f"{name}.{kind}", fitsimage=str(images[kind]), overwrite=True)
    except RuntimeError as error:
        raise SystemFault(f"tclean failed: {str(error).splitlines()[-1]}; see {log}") from error
    return Images(**{_FIELDS[kind]: path for kind, path in images.items()}), record(result or {})


_FIELDS = {"image": "restored", "residual": "residual", "model": "model", "dirty": "dirty", "psf": "psf"}


def lsrk_over_topocentric(meta: MsMeta) -> float:
    """Frequency in the frame of the local standard of rest over the topocentric one, for the tile's direction.

    1 - v / c with v the speed of the array toward the phase centre: the Earth's (astropy's barycentric
    correction) and the Sun's, 20 km/s toward 18h +30 deg (1900).
    """
    place = SkyCoord(meta.phase_ra_rad, meta.phase_dec_rad, unit="rad")
    site = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    middle = Time(meta.times_jd[meta.n_times // 2], format="jd", scale="utc", location=site)
    earth = place.radial_velocity_correction("barycentric", obstime=middle).to_value("km/s")
    sun = 20.0 * np.cos(place.separation(SOLAR_APEX).rad)
    return float(1 - (earth + sun) / 299792.458)


def arguments(
    sets: Sequence[Path],
    name: str,
    plan: ImagingPlan,
    beam_arcsec: tuple[float, float, float],
    *,
    pixel_scale: float = 1.0,
    polarisation: str = "I",
) -> dict[str, Any]:
    """tclean's parameters for a plan.

    `pixel_scale` multiplies the pixel: in multi-frequency synthesis tclean takes baselines in wavelengths at
    LSRK frequencies whatever `outframe` says, so that its image is drawn out by topocentric over LSRK (7e-5,
    0.25 arcsec at 1 deg, for some tiles). Pixels larger by the same factor make up for it.
    """
    major, minor, angle = beam_arcsec
    beam_pix = (major * minor) ** 0.5 / plan.cell_arcsec
    return {
        "vis": [str(path) for path in sets],
        "imagename": name,
        "datacolumn": "data",
        "uvrange": f">{1e3 * plan.uvmin_klambda:g}lambda" if plan.uvmin_klambda > 0 else "",
        "imsize": [plan.nx, plan.ny],
        "cell": f"{plan.cell_arcsec * pixel_scale:.10g}arcsec",
        "stokes": polarisation,
        "specmode": "mfs",
        "gridder": "standard",  # the header knows what that does to places: `fitsimage.slant`
        "weighting": "briggs",
        "robust": plan.robust,
        # CASA's clark is slower still on images of this size
        "deconvolver": "multiscale" if plan.multiscale else "hogbom",
        "scales": [round(n * beam_pix) for n in MULTISCALE_BEAMS] if plan.multiscale else [],
        "niter": plan.niter,
        "gain": plan.gain,
        "nsigma": DEPTH * plan.auto_mask,
        "nmajor": min(plan.max_major, MAX_MAJOR),
        "cyclefactor": 0.01,  # so that minpsffraction alone says how far a minor cycle goes: to 1 - mgain
        "minpsffraction": round(1.0 - plan.mgain, 6),
        "pblimit": -1e-6,  # no mask by CASA's own beam of this telescope
        "restoringbeam": [f"{major:.4f}arcsec", f"{minor:.4f}arcsec", f"{angle:.4f}deg"],
        "savemodel": "none",
        "fullsummary": False,
        "parallel": False,
    }


def record(result: dict[str, Any]) -> CleanRecord:
    """What tclean's returned dictionary says of its minor cycles."""
    summary = result.get("summaryminor") or {}
    rows = summary
    for _ in range(3):  # field, channel, polarisation: one of each
        rows = next(iter(rows.values()), {}) if isinstance(rows, dict) and "iterDone" not in rows else rows
    done = rows.get("iterDone", [])
    peaks = rows.get("peakRes", [])
    before = rows.get("startPeakRes", [])
    majors = tuple(
        MajorIteration(0.0, float(first), float(last), int(count))
        for first, last, count in zip(before or _shifted(peaks), peaks, done, strict=True)
    )
    return CleanRecord(majors, STOP_REASONS.get(int(result.get("stopcode", 0)), "unknown"))


def _shifted(peaks: list[float]) -> list[float]:
    """Peaks before each minor cycle, where only those after it are known."""
    return [peaks[0], *peaks[:-1]] if len(peaks) else []
