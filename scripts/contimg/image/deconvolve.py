"""CLEAN of what is left of a tile, by the backend of its plan; once more with safer settings where it diverged."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import Header

from contimg.core.errors import Rejected
from contimg.image import header as fitsimage
from contimg.image import wsclean
from contimg.image.bright import Rest
from contimg.image.check import Planes, implausible
from contimg.image.plan import ImagingPlan
from contimg.image.wsclean import CleanRecord, Images
from contimg.ms.meta import MsMeta

if TYPE_CHECKING:
    from contimg.image import ducc

MEMORY_GB = 3.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imager:
    """What every run of the imager on a tile has in common.

    Attributes
    ----------
    rest : Rest
        The data.
    meta : MsMeta
        Of the tile.
    work : Path
        Scratch directories are made beside it, of its name and the number of the try.
    beam_arcsec : (major, minor, angle)
        Restoring beam: FWHM in arcsec, angle in deg.
    threads : int
    memory_gb : float
        What WSClean may take.
    log : Path
        The imager's output is appended.
    in_memory : ducc.Imager, optional
        Weighed visibilities, where the data are in memory.
    """

    rest: Rest
    meta: MsMeta
    work: Path
    beam_arcsec: tuple[float, float, float]
    threads: int
    memory_gb: float
    log: Path
    in_memory: ducc.Imager | None = None

    @classmethod
    def of(
        cls,
        rest: Rest,
        meta: MsMeta,
        plan: ImagingPlan,
        header: Header,
        pb: np.ndarray,
        *,
        work: Path,
        threads: int,
        memory_gb: float = MEMORY_GB,
        log: Path,
    ) -> Imager:
        """For data in memory: weigh them, and make their point spread function and dirty image.

        Parameters
        ----------
        rest, meta, work, threads, memory_gb, log
            See the class.
        plan : ImagingPlan
        header : Header
            Of the image, with the restoring beam.
        pb : (ny, nx) float32
            Drift-averaged power beam.
        """
        ready = None
        if rest.visibilities is not None:
            from contimg.image import ducc

            ready = ducc.Imager.of(rest.visibilities, header, plan, pb=pb, threads=threads, log=log)
        beam_arcsec = (3600 * header["BMAJ"], 3600 * header["BMIN"], header["BPA"])
        return cls(rest, meta, work, beam_arcsec, threads, memory_gb, log, ready)

    def run(self, plan: ImagingPlan, folder: Path) -> tuple[Planes, CleanRecord]:
        """Run the backend of a plan in an empty folder."""
        if self.in_memory is not None:
            return self.in_memory.run(plan, folder)
        images, clean = self._run_program(plan, folder)
        planes = {
            kind: fitsimage.read_plane(path, plan, self.meta)
            for kind, path in vars(images).items()
            if path is not None
        }
        return Planes(**planes), clean

    def _run_program(self, plan: ImagingPlan, folder: Path) -> tuple[Images, CleanRecord]:
        """Run WSClean or CASA's tclean on Measurement Sets."""
        if plan.backend == "wsclean":
            return wsclean.run(
                self.rest.sets,
                folder,
                plan=plan,
                beam_arcsec=self.beam_arcsec,
                threads=self.threads,
                memory_gb=self.memory_gb,
                log=self.log,
                polarisation=self.rest.polarisation,
            )
        from contimg.image import tclean

        return tclean.run(
            self.rest.sets,
            folder,
            plan=plan,
            beam_arcsec=self.beam_arcsec,
            threads=self.threads,
            log=self.log,
            polarisation=self.rest.polarisation,
        )


@dataclass(frozen=True)
class Cleaned:
    """What the imager made of a tile.

    Attributes
    ----------
    planes : Planes
    record : CleanRecord
        What CLEAN did.
    plan : ImagingPlan
        That was used.
    tries : int
    """

    planes: Planes
    record: CleanRecord
    plan: ImagingPlan
    tries: int


def deconvolve(imager: Imager, plan: ImagingPlan) -> Cleaned:
    """Run the imager, a second time with safer settings if its CLEAN diverged.

    Raises
    ------
    Rejected
        The image is blank, or CLEAN diverged twice.
    SystemFault
        The imager failed.
    """
    reasons = []
    for attempt, used in enumerate((plan, wsclean.safer(plan)), start=1):
        folder = imager.work.with_name(f"{imager.work.name}.{attempt}")
        folder.mkdir()
        try:
            planes, clean = imager.run(used, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        restored = planes.restored
        if not np.isfinite(restored).any() or not np.nanmax(np.abs(restored)) > 0:
            raise Rejected(f"{used.backend} made a blank image")
        reason = clean.divergence() or implausible(
            planes,
            beam_pix=beam_pixels(imager.beam_arcsec, used),
            subtracted_jy=imager.rest.brightest_jy,
        )
        if reason is None:
            return Cleaned(planes, clean, used, attempt)
        _log.warning("%s, try %d: %s", imager.meta.tile, attempt, reason)
        reasons.append(reason)
    raise Rejected(f"{reasons[-1]} (and before, with the settings planned: {reasons[0]})")


def beam_pixels(beam_arcsec: tuple[float, float, float], plan: ImagingPlan) -> float:
    """Geometric mean FWHM in pixels."""
    return float(np.sqrt(beam_arcsec[0] * beam_arcsec[1])) / plan.cell_arcsec
