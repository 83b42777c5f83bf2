"""A tile's image: imager, primary beam, noise, picture, and the numbers that say how good it is.

The Measurement Set that comes in is calibrated and on scratch. `resolve` (`contimg.image.plan`) fixes the
settings, `image_tile` makes the files. With `imaging.sky_model: drift` the bright sources are found and fitted to
the visibilities through the drifting beam (`contimg.image.bright`), subtracted, and restored into the image of
the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io.fits import Header

from contimg.core import tables
from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import Rejected
from contimg.drift.data import StokesI
from contimg.drift.gridder import Visibilities
from contimg.drift.residual import POLARISATION
from contimg.drift.sources import COLUMNS
from contimg.drift.subtract import restore
from contimg.image import bright as skymodel
from contimg.image import header as fitsimage
from contimg.image import place, wsclean
from contimg.image.check import Planes, implausible
from contimg.image.options import ImagingOptions
from contimg.image.picture import save_picture
from contimg.image.plan import ImagingPlan
from contimg.image.wsclean import CleanRecord, Images
from contimg.ms.meta import MsMeta
from contimg.ms.sets import read_meta
from contimg.ms.weights import DataWeights, weigh
from contimg.sky.measure import find
from contimg.sky.noise import local_rms, robust_rms
from contimg.telescope.beam import load_beam
from contimg.telescope.beam_map import beam_map
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    from contimg.drift.fit import Fit
    from contimg.image.ducc import Imager
    from contimg.sky.catalog import Catalog

FOUND_SIGMA = 7.0  # sources circled in the picture and counted
MEMORY_GB = 3.0

SLANTED = ("ducc0", "tclean")
"""Backends whose images are slanted along the array's plane."""
_log = logging.getLogger(__name__)


def image_tile(
    ms: Path,
    out_dir: Path,
    *,
    plan: ImagingPlan,
    options: ImagingOptions,
    beam: BeamOptions,
    weights: np.ndarray | None = None,
    origin: Mapping[str, str] | None = None,
    scratch: Path,
    threads: int,
    log: Path,
    memory_gb: float = MEMORY_GB,
    catalog: Catalog | None = None,
) -> dict[str, Any]:
    """Image a calibrated tile and write its files.

    Writes ``{tile}.image.fits`` (apparent, Jy/beam), ``.pbcor.fits`` (over the power beam, NaN below
    `pb_limit`), ``.pb.fits`` (absolute drift-averaged power beam, everywhere), ``.rms.fits`` (local rms of
    pbcor, Jy/beam, NaN below `pb_limit`) and ``.png``; with ``sky_model: drift`` also ``.sources.parquet``, the
    table of `contimg.drift.fit.fit`; with `keep` ``.residual.fits`` and ``.model.fits`` of CLEAN.

    Parameters
    ----------
    ms : Path
        Calibrated Measurement Set written by `contimg.gains.apply`, with weights; a private copy if `outside` or
        `selfcal` of the options is not none.
    out_dir : Path
        Existing directory.
    plan : ImagingPlan
        From `contimg.image.plan.resolve`.
    options : ImagingOptions
        `pb_limit` and `rms_box_beams` are taken from here.
    beam : BeamOptions
        Primary beam.
    weights : (nt, nchan) float, optional
        Sums of the data weights. The primary beam is averaged with the weights of the image, which Briggs
        weighting changes; with `weights` the metrics tell how much that matters.
    origin : mapping, optional
        Further FITS keywords (at most 8 letters) and their values.
    scratch : Path
        Existing directory for temporary files; left as it was found.
    threads : int
    log : Path
        The imager's output is appended.
    memory_gb : float
        What WSClean may take.
    catalog : Catalog, optional
        Reference sources: with ``sky_model: drift`` those that should be bright are fitted first.

    Returns
    -------
    dict
        Metrics, JSON-able, with units in the names.

    Raises
    ------
    Rejected
        Everything is flagged, the image is blank, or CLEAN diverged twice.
    SystemFault
        The imager failed.
    """
    started = time.monotonic()
    meta = read_meta(ms)
    in_memory = plan.backend == "ducc0"
    fields = (
        float(np.radians(plan.nx * plan.cell_arcsec / 3600)),
        float(np.radians(plan.ny * plan.cell_arcsec / 3600)),
    )
    weighing = partial(
        weigh,
        ms,
        meta,
        fields_rad=fields,
        robust=plan.robust,
        uvmin_klambda=plan.uvmin_klambda,
        weighted_hands=in_memory or options.sky_model == "drift",
    )
    data = weighing()
    weighed = time.monotonic()
    pattern = load_beam(beam)
    work = scratch / f"image.{ms.stem}"
    rest_folder = scratch / f"rest.{ms.stem}"
    rest_folder.mkdir()
    try:
        fitted, outside, selfcal = None, None, None
        sets: tuple[Path, ...] = (ms,)
        polarisation = "I"
        left: Visibilities | None = None
        if options.sky_model == "drift":
            known = skymodel.catalogued(catalog, meta, data, pattern) if catalog is not None else None
            rest = skymodel.take_out(
                ms,
                rest_folder,
                skymodel.search(ms, meta, plan, data, options, pattern),
                beam=pattern,
                freq_average=plan.freq_average,
                loss=options.smearing_loss,
                known=known,
                outside=options.outside == "auto",
                selfcal=options.selfcal,
                in_memory=in_memory,
                threads=threads,
                log=log,
            )
            left = rest.visibilities
            fitted, outside, selfcal = rest.fit, rest.outside, rest.selfcal
            sets, polarisation = rest.sets, POLARISATION
            if options.multiscale == "auto" and fitted is not None and fitted.n_resolved:
                why = f"{fitted.n_resolved} of the sources fitted are resolved"
                plan = replace(plan, multiscale=True, why={**plan.why, "multiscale": why})
            if rest.reweighted:
                data = weighing()
        elif in_memory:
            with StokesI(ms) as whole:
                left = Visibilities.residual(whole)
        found = time.monotonic()
        beam_arcsec = data.beam_arcsec
        freq_hz = data.effective_freq_hz(meta.freq_hz)
        header = fitsimage.tile_header(
            meta,
            plan,
            axes=fitsimage.imager_axes(ms, meta),
            slope=fitsimage.slant(ms, meta) if plan.backend in SLANTED else (0.0, 0.0),
            beam_arcsec=beam_arcsec,
            freq_hz=freq_hz,
            n_visibilities=data.n_visibilities,
        )
        header.update({key.upper()[:8]: str(value)[-68:] for key, value in (origin or {}).items()})
        pb = beam_map(header, meta, data.time_channel, pattern)
        imager = _Imager(sets, meta, work, beam_arcsec, threads, memory_gb, log, polarisation)
        if left is not None:
            from contimg.image.ducc import Imager

            imager = replace(imager, ducc=Imager.of(left, header, plan, pb=pb, threads=threads, log=log))
        planes, clean, used, tries = _deconvolve(imager, plan, fitted)
        del imager, left
    finally:
        _remove(rest_folder)
    imaged = time.monotonic()
    apparent = planes.restored
    noise = local_rms(apparent, options.rms_box_beams * _beam_pixels(beam_arcsec, plan))
    shift = None
    if fitted is not None:
        apparent = restore(apparent, header, pb, fitted.table)
        table = fitted.table
        if catalog is not None and options.place == "auto":
            shift = place.measure(
                table,
                catalog,
                ra_deg=float(header["CRVAL1"]),
                dec_deg=float(header["CRVAL2"]),
                radius_deg=skymodel.SEARCH_RADIUS_DEG,
                beam_arcsec=beam_arcsec[:2],
            )
            if shift is not None and shift.taken_out:
                table = shift.move(header, table)
        tables.write(out_dir / f"{meta.tile}.sources.parquet", table, COLUMNS, {"freq_hz": REFERENCE_HZ})
    inside = pb >= options.pb_limit
    if not inside.any():
        raise Rejected(
            f"the image lies outside the primary beam: nowhere is it above pb_limit {options.pb_limit:g}"
        )
    pbcor = np.where(inside, apparent / np.maximum(pb, 1e-6), np.nan)
    rms = np.where(inside, noise / np.maximum(pb, 1e-6), np.nan)
    kinds = [
        ("image", apparent, "Jy/beam", "Intensity"),
        ("pbcor", pbcor, "Jy/beam", "Intensity"),
        ("pb", pb, "", "Power beam"),
        ("rms", rms, "Jy/beam", "Local rms"),
    ]
    if "residual" in options.keep:
        kinds.append(("residual", planes.residual, "Jy/beam", "Residual intensity"))
    if "model" in options.keep:
        kinds.append(("model", planes.model, "Jy/pixel", "Intensity of CLEAN components"))
    for kind, plane, unit, what in kinds:
        fitsimage.write(out_dir / f"{meta.tile}.{kind}.fits", plane, header, bunit=unit, btype=what)
    sources = find(np.where(inside, apparent, np.nan), header, noise, FOUND_SIGMA)
    centre_rms = float(np.nanmedian(noise[_central(noise.shape)]))
    save_picture(
        out_dir / f"{meta.tile}.png",
        apparent,
        header,
        pb=pb,
        rms_jy=centre_rms,
        pb_levels=(options.pb_limit, 0.5),
        sources=list(zip(sources["x_pix"], sources["y_pix"], strict=True)),
    )
    peak = float(np.nanmax(np.where(inside, apparent, np.nan)))
    metrics: dict[str, Any] = {
        "rms_jy": centre_rms,
        "thermal_from_weights_jy": data.thermal_jy,
        "noise_over_natural": data.noise_over_natural,
        "residual_rms_jy": robust_rms(planes.residual[_central(planes.residual.shape)]),
        "peak_jy": peak,
        "dynamic_range": peak / centre_rms,
        "beam_major_arcsec": beam_arcsec[0],
        "beam_minor_arcsec": beam_arcsec[1],
        "beam_angle_deg": beam_arcsec[2],
        "effective_freq_hz": freq_hz,
        "n_visibilities": data.n_visibilities,
        "pb_max": float(pb.max()),
        "n_sources": len(sources),
        "found_sigma": FOUND_SIGMA,
        "clean_iterations": clean.n_iter,
        "clean_passes": len(clean.majors),
        "clean_stopped": clean.stopped,
        "clean_tries": tries,
        "clean_multiscale": used.multiscale,
        "backend": used.backend,
        "sky_model": None if fitted is None else fitted.summary(),
        "outside": outside,
        "selfcal": selfcal,
        "shift": None if shift is None else shift.to_json(),
        "seconds_weights": weighed - started,
        "seconds_sky_model": found - weighed,
        "seconds_imager": imaged - found,
        "seconds": time.monotonic() - started,
    }
    if weights is not None:
        metrics["beam_change_by_weighting"] = _weighting_change(header, meta, data, weights, beam)
    return metrics


@dataclass(frozen=True)
class _Imager:
    """What every run of the imager on a tile has in common."""

    sets: tuple[Path, ...]
    meta: MsMeta
    work: Path
    beam_arcsec: tuple[float, float, float]
    threads: int
    memory_gb: float
    log: Path
    polarisation: str
    ducc: Imager | None = None

    def run(self, plan: ImagingPlan, folder: Path) -> tuple[Planes, CleanRecord]:
        """Run the backend of a plan in an empty folder."""
        if self.ducc is not None:
            return self.ducc.run(plan, folder)
        images, clean = self._run_program(plan, folder)
        paths = (images.restored, images.residual, images.model, images.dirty)
        planes = Planes(*(fitsimage.read_plane(path, plan, self.meta) for path in paths if path is not None))
        return planes, clean

    def _run_program(self, plan: ImagingPlan, folder: Path) -> tuple[Images, CleanRecord]:
        if plan.backend == "wsclean":
            return wsclean.run(
                self.sets,
                folder,
                plan=plan,
                beam_arcsec=self.beam_arcsec,
                threads=self.threads,
                memory_gb=self.memory_gb,
                log=self.log,
                polarisation=self.polarisation,
            )
        from contimg.image import tclean

        return tclean.run(
            self.sets,
            folder,
            plan=plan,
            beam_arcsec=self.beam_arcsec,
            threads=self.threads,
            log=self.log,
            polarisation=self.polarisation,
        )


def _deconvolve(
    imager: _Imager, plan: ImagingPlan, fitted: Fit | None = None
) -> tuple[Planes, CleanRecord, ImagingPlan, int]:
    """Run the imager, a second time with safer settings if its CLEAN diverged.

    Returns what it made, what CLEAN did, the plan that was used and how many tries it took. The scratch directory
    is made and removed.
    """
    reasons = []
    taken_out = 0.0 if fitted is None else float((fitted.table["flux_jy"] * fitted.table["beam"]).max())
    for attempt, used in enumerate((plan, wsclean.safer(plan)), start=1):
        folder = imager.work.with_name(f"{imager.work.name}.{attempt}")
        folder.mkdir()
        try:
            planes, clean = imager.run(used, folder)
        finally:
            _remove(folder)
        restored = planes.restored
        if not np.isfinite(restored).any() or not np.nanmax(np.abs(restored)) > 0:
            raise Rejected(f"{used.backend} made a blank image")
        reason = clean.divergence() or implausible(
            planes, beam_pix=_beam_pixels(imager.beam_arcsec, used), taken_out_jy=taken_out
        )
        if reason is None:
            return planes, clean, used, attempt
        _log.warning("%s, try %d: %s", imager.meta.tile, attempt, reason)
        reasons.append(reason)
    raise Rejected(f"{reasons[-1]} (and before, with the settings planned: {reasons[0]})")


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _beam_pixels(beam_arcsec: tuple[float, float, float], plan: ImagingPlan) -> float:
    """Geometric mean FWHM in pixels."""
    return float(np.sqrt(beam_arcsec[0] * beam_arcsec[1])) / plan.cell_arcsec


def _central(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The middle third of an image along each axis."""
    return slice(shape[0] // 3, -(shape[0] // 3)), slice(shape[1] // 3, -(shape[1] // 3))


def _weighting_change(
    header: Header, meta: MsMeta, data: DataWeights, weights: np.ndarray, beam: BeamOptions
) -> float:
    """Largest relative change of the beam, where it is above one half, that the image's weighting makes."""
    small = header.copy()
    for axis in (1, 2):  # the same sky in 32 x 32 pixels
        ratio = small[f"NAXIS{axis}"] / 32
        small[f"CDELT{axis}"] *= ratio
        small[f"CRPIX{axis}"], small[f"NAXIS{axis}"] = 16.5, 32
    imaged, plain = (beam_map(small, meta, w, load_beam(beam)) for w in (data.time_channel, weights))
    bright = plain > 0.5
    return float(np.max(np.abs(imaged[bright] / plain[bright] - 1))) if bright.any() else 0.0
