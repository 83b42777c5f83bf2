"""The bright sources of a tile: found, fitted to its visibilities, subtracted from them.

What is left, Stokes I alone and averaged as far as faint sources allow, goes to the imager; the sources come
back into its image (`contimg.drift.subtract.restore`). The sources of a catalogue, where there is one, are begun
with; what else is bright, and what the catalogue has that is not there, the data say (`contimg.drift.find`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.drift.data import StokesI
from contimg.drift.find import Search, find_sources
from contimg.drift.fit import Fit
from contimg.drift.gridder import Visibilities
from contimg.drift.horizon import near_sidelobes
from contimg.drift.outside import remove_outside
from contimg.drift.predict import DriftArray
from contimg.drift.residual import POLARISATION, plan_groups, write_residuals
from contimg.drift.sources import brightest
from contimg.image import header as fitsimage
from contimg.image.options import ImagingOptions
from contimg.image.plan import ImagingPlan, fft_size, field_of_view
from contimg.image.selfcal import Corrected, calibrate
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet
from contimg.ms.weights import DataWeights
from contimg.sky.catalog import Catalog
from contimg.telescope.beam import PowerBeam
from contimg.telescope.beam_map import beam_map

FIT_SIGMA = 7.0
"""Sources above this are fitted and subtracted before CLEAN."""
FIT_PB = 0.05
"""... where the power beam is above this: beyond it no model of it is to be trusted."""
SEARCH_WIDER = 1.3
"""The field that is searched is so much wider than the beam down to `pb_limit`: what lies beyond the image casts its
sidelobes into it. An Airy beam that is 0.2 at the edge of the one is 0.03 at that of the other."""
PIXELS_PER_BEAM = 2.5
"""Across the minor axis, in the images that are searched: places and fluxes come from the fits."""
MOST_CATALOGUED = 100
SEARCH_RADIUS_DEG = 3.0  # of a beam whose first null is 3.2 deg from its centre at 1.4 GHz
CLOSEST_BEAMS = 0.5
"""Of catalogue sources closer than this (major axis of the synthesised beam) the fainter is left out."""


@dataclass(frozen=True)
class Rest:
    """What the imager gets, and what it does not.

    Attributes
    ----------
    fit : Fit or None
        The sources that were subtracted; None where nothing is bright.
    sets : tuple of Path
        Measurement Sets of the residuals, to be imaged together; none where they are kept in memory.
    polarisation : str
        What of the sets is imaged.
    outside : dict or None
        What `contimg.drift.outside.remove_outside` says of far sources; None where they were not looked for.
    selfcal : dict or None
        What `contimg.image.selfcal` did: ``search`` (a list, where the first rounds of the search left more than
        noise), ``phase``, ``amplitude``, ``departed``, ``left`` with all sources; None where it was not asked for.
    visibilities : Visibilities or None
        The residuals, where they are kept in memory: all of them, without further averaging.
    reweighted : bool
        Whether flags and weights of the set are no longer those that it came with: where it was divided by gains.
    """

    fit: Fit | None = None
    sets: tuple[Path, ...] = ()
    polarisation: str = "I"
    outside: dict[str, Any] | None = None
    selfcal: dict[str, Any] | None = None
    visibilities: Visibilities | None = None
    reweighted: bool = False

    @property
    def brightest_jy(self) -> float:
        """Highest apparent flux of a source that was subtracted; 0 without any."""
        return 0.0 if self.fit is None else float((self.fit.table["flux_jy"] * self.fit.table["beam"]).max())


def everything(ms: PrivateSet, plan: ImagingPlan) -> Rest:
    """The whole tile for the imager, without a sky model."""
    if not plan.in_memory:
        return Rest(sets=(ms.path,))
    with StokesI(ms.path) as data:
        return Rest(visibilities=Visibilities.residual(data))


def subtract_bright(
    ms: PrivateSet,
    plan: ImagingPlan,
    weights: DataWeights,
    *,
    beam: PowerBeam,
    catalog: Catalog | None = None,
    folder: Path,
    threads: int = 1,
    log: Path,
) -> Rest:
    """Find the bright sources of a calibrated tile, fit them, and subtract them from the data.

    Parameters
    ----------
    ms : PrivateSet
        With far sources (`outside`), or gains to be corrected (`selfcal`), it is another one afterwards.
    plan : ImagingPlan
        Of the tile's image.
    weights : DataWeights
        Of the tile's image.
    beam : PowerBeam
    catalog : Catalog, optional
        Its sources that should be bright are begun with.
    folder : Path
        Existing scratch directory for the residuals.
    threads : int
    log : Path
        CASA's log is appended.

    Returns
    -------
    Rest
    """
    options = plan.options
    known = None if catalog is None else catalogued(catalog, ms.meta, weights, beam)
    where = search(ms.path, ms.meta, plan, weights, options, beam)
    with _Subtraction(ms, plan, where, beam, folder, threads, log) as tile:
        if options.outside == "auto":
            tile.subtract_near_sidelobes(known)
        tile.find(known)
        if options.outside == "auto":
            tile.subtract_outside(known)
        if options.selfcal != "none":
            tile.calibrate()
        return tile.rest()


class _Subtraction:
    """A tile on its way to `Rest`, step by step; a context manager.

    Attributes
    ----------
    data : StokesI
        Of the set as it is now.
    fit : Fit or None
        The sources found by now.
    """

    def __init__(
        self,
        ms: PrivateSet,
        plan: ImagingPlan,
        where: Search,
        beam: PowerBeam,
        folder: Path,
        threads: int,
        log: Path,
    ) -> None:
        self.ms, self.plan, self.where, self.beam = ms, plan, where, beam
        self.folder, self.threads, self.log = folder, threads, log
        self.selfcal = plan.options.selfcal
        self.data = StokesI(ms.path)
        self.fit: Fit | None = None
        self.near: dict[str, Any] = {}
        self.outside: dict[str, Any] | None = None
        self.corrections: dict[str, Any] = {}
        self.reweighted = False

    def __enter__(self) -> _Subtraction:
        return self

    def __exit__(self, *_: object) -> None:
        self.data.close()

    def subtract_near_sidelobes(self, known: pd.DataFrame | None) -> None:
        """Subtract what near sidelobes let through, before the search, which would never end: it is neither a point nor
        constant."""
        if near_sidelobes(self.ms.meta):
            self.near = remove_outside(self.ms, known, **self._model)
            if any(entry["removed"] for entry in self.near.values()):
                self._read_again()

    def find(self, known: pd.DataFrame | None) -> None:
        """Search the tile, its gains corrected between the first rounds where they are what is wrong."""
        self._search(known, correct=None if self.selfcal == "none" else self._correct_between_rounds)

    def subtract_outside(self, known: pd.DataFrame | None) -> None:
        """Subtract far sources; if there is one, the field is searched again without it."""
        self.outside = remove_outside(self.ms, self._table(), **self._model)
        if any(entry["removed"] for entry in self.outside.values()):
            self._read_again()
            self._search(known)
        for name in (name for name, entry in self.near.items() if entry["removed"]):
            self.outside[name] |= {"removed": True, "before_search_jy": self.near[name]["mean_jy"]}

    def calibrate(self) -> None:
        """Divide by what the gains have changed by since their transit, and search again if they have."""
        if self.fit is None:
            return
        corrected = self._corrected(self.fit.table)
        self.corrections |= corrected.describe()
        self.corrections["left"] = None if corrected.left is None else corrected.left.describe()
        if corrected.changed:
            before = self.fit
            self._read_again()
            self._search(before.table)
            self.fit = self.fit or before

    def rest(self) -> Rest:
        """What is left without the sources, in memory or in sets averaged as far as faint sources allow."""
        array = DriftArray(self.ms.meta, beam=self.beam, freq_average=self.plan.freq_average)
        rest = Rest(
            fit=self.fit,
            outside=self.outside,
            selfcal=self.corrections or None,
            reweighted=self.reweighted,
        )
        if self.plan.in_memory:
            return replace(rest, visibilities=Visibilities.residual(self.data, array, self._table()))
        radius = self.beam.radius(0.5, float(np.mean(self.ms.meta.freq_hz)))
        loss = self.plan.options.smearing_loss
        groups = plan_groups(self.ms.meta, array.uv_m(), radius_rad=radius, loss=loss)
        sets = write_residuals(self.data, array, self._table(), groups, self.folder)
        return replace(rest, sets=tuple(sets), polarisation=POLARISATION)

    @property
    def _model(self) -> dict[str, Any]:
        return {"beam": self.beam, "freq_average": self.plan.freq_average, "threads": self.threads}

    def _table(self) -> pd.DataFrame | None:
        return None if self.fit is None else self.fit.table

    def _search(
        self, known: pd.DataFrame | None, correct: Callable[[pd.DataFrame], StokesI | None] | None = None
    ) -> None:
        self.fit = find_sources(self.data, self.where, known=known, correct=correct, **self._model)

    def _read_again(self) -> None:
        """What was read before is no longer what the set holds."""
        self.data.close()
        self.data = StokesI(self.ms.path)

    def _correct_between_rounds(self, sources: pd.DataFrame) -> StokesI | None:
        """Better data for the search to go on with, if there are any."""
        corrected = self._corrected(sources, whole_tile=True)
        self.corrections.setdefault("search", []).append(corrected.describe())
        if not corrected.changed:
            return None
        self._read_again()
        return self.data

    def _corrected(self, sources: pd.DataFrame, *, whole_tile: bool = False) -> Corrected:
        corrected = calibrate(
            self.ms,
            sources,
            amplitudes=self.selfcal == "auto",
            whole_tile=whole_tile,
            scratch=self.folder,
            log=self.log,
            **self._model,
        )
        self.reweighted |= corrected.changed
        return corrected


def search(
    ms: Path,
    meta: MsMeta,
    plan: ImagingPlan,
    data: DataWeights,
    options: ImagingOptions,
    beam: PowerBeam,
) -> Search:
    """Where and how deep to look for sources in a tile that is imaged as planned.

    Parameters
    ----------
    ms : Path
        The calibrated set.
    meta : MsMeta
        Its own.
    plan : ImagingPlan
        Of the tile's image, whose weighting is taken over.
    data : DataWeights
        Of the tile's image.
    options : ImagingOptions
    beam : PowerBeam
    """
    cell = data.beam_arcsec[1] / PIXELS_PER_BEAM
    nx, ny = (
        fft_size(SEARCH_WIDER * degrees * 3600 / cell)
        for degrees in field_of_view(meta, options.pb_limit, beam)
    )
    grid = replace(plan, nx=nx, ny=ny, cell_arcsec=cell)
    header = fitsimage.tile_header(
        meta,
        grid,
        axes=fitsimage.imager_axes(ms, meta),
        slope=fitsimage.slant(ms, meta),
        beam_arcsec=data.beam_arcsec,
        freq_hz=data.effective_freq_hz(meta.freq_hz),
        n_visibilities=data.n_visibilities,
    )
    return Search(
        header=header,
        pb=beam_map(header, meta, data.time_channel, beam),
        sigma=FIT_SIGMA,
        pb_limit=FIT_PB,
        robust=plan.robust,
        uvmin_klambda=plan.uvmin_klambda,
        rms_box_pix=options.rms_box_beams * float(np.sqrt(data.beam_arcsec[0] * data.beam_arcsec[1])) / cell,
        passes=options.search_passes,
        seconds=options.search_seconds,
    )


def catalogued(catalog: Catalog, meta: MsMeta, data: DataWeights, beam: PowerBeam) -> pd.DataFrame | None:
    """Sources of a reference catalogue that should be bright in a tile; None where there is none.

    Parameters
    ----------
    catalog : Catalog
    meta : MsMeta
        Of the tile.
    data : DataWeights
        Of the tile's image.
    beam : PowerBeam
    """
    least_jy = FIT_SIGMA * data.thermal_jy
    near = catalog.near(
        ra_deg=float(np.degrees(meta.phase_ra_rad)),
        dec_deg=float(np.degrees(meta.phase_dec_rad)),
        radius_deg=SEARCH_RADIUS_DEG,
        min_flux_jy=least_jy,
    )
    chosen = brightest(
        near[["name", "ra_deg", "dec_deg", "flux_jy", "spectral_index"]],
        meta,
        beam=beam,
        min_apparent_jy=least_jy,
        most=MOST_CATALOGUED,
        closest_arcsec=CLOSEST_BEAMS * data.beam_arcsec[0],
    )
    return None if chosen.empty else chosen
