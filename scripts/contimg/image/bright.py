"""The bright sources of a tile, out of its visibilities: found, fitted, subtracted.

What is left, Stokes I alone and averaged as far as faint sources allow, goes to the imager; the sources come
back into its image (`contimg.drift.subtract.restore`). The sources of a catalogue, where there is one, are begun
with; what else is bright, and what the catalogue has that is not there, the data say (`contimg.drift.find`).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.drift.data import StokesI
from contimg.drift.find import Search, find_sources
from contimg.drift.fit import Fit
from contimg.drift.gridder import Visibilities
from contimg.drift.outside import near_sidelobes, remove_outside
from contimg.drift.predict import DriftArray
from contimg.drift.residual import plan_groups, write_residuals
from contimg.drift.sources import brightest
from contimg.image import header as fitsimage
from contimg.image.options import ImagingOptions
from contimg.image.plan import ImagingPlan, fft_size, field_of_view
from contimg.image.selfcal import calibrate
from contimg.ms.meta import MsMeta
from contimg.ms.sets import read_meta
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
        The sources that were taken out; None where nothing is bright.
    sets : tuple of Path
        Measurement Sets of the residuals, to be imaged together; none where they are kept in memory.
    outside : dict or None
        What `contimg.drift.outside.remove_outside` says of far sources; None where they were not looked for.
    selfcal : dict or None
        What `contimg.image.selfcal` did: ``search`` (a list, where the first rounds of the search left more than
        noise), ``phase``, ``amplitude``, ``departed`` with all sources; None where it was not asked for.
    visibilities : Visibilities or None
        The residuals, where they are kept in memory: all of them, without further averaging.
    reweighted : bool
        Whether flags and weights of the set are no longer those that it came with: where gains were taken out of it.
    """

    fit: Fit | None
    sets: tuple[Path, ...]
    outside: dict[str, Any] | None = None
    selfcal: dict[str, Any] | None = None
    reweighted: bool = False
    visibilities: Visibilities | None = None


def take_out(
    ms: Path,
    folder: Path,
    search: Search,
    *,
    beam: PowerBeam,
    freq_average: int,
    loss: float,
    known: pd.DataFrame | None = None,
    outside: bool = False,
    selfcal: str = "none",
    in_memory: bool = False,
    threads: int = 1,
    log: Path,
) -> Rest:
    """Find the bright sources of a calibrated tile, fit them, and take them out of the data.

    Parameters
    ----------
    ms : Path
        Calibrated Measurement Set; a private copy if `outside` or `selfcal`.
    folder : Path
        Existing scratch directory for the residuals.
    search : Search
        Where and how deep to look.
    beam : PowerBeam
    freq_average : int
        Raw channels in each channel of the set.
    loss : float
        Largest part of its peak that a source at half power may lose as the residuals are averaged.
    known : DataFrame, optional
        Sources to begin with, from `catalogued`.
    outside : bool
        Whether far sources are taken out of its DATA; if there is one, the field is searched again without it.
    selfcal : str
        ``auto``: what gains have changed by since their transit is solved for with the sources that were found, and
        taken out of its DATA; ``phase``: their phases alone; ``none``. See `contimg.image.selfcal`.
    in_memory : bool
        Whether the residuals are returned, or written for an imager that reads Measurement Sets.
    threads : int
    log : Path
        CASA's log is appended.

    Returns
    -------
    Rest
    """
    array = DriftArray(read_meta(ms), beam=beam, freq_average=freq_average)
    model: dict[str, Any] = {"beam": beam, "freq_average": freq_average, "threads": threads}
    own: dict[str, Any] = {"scratch": folder, "log": log, **model}
    report, steps, reweighted = None, dict[str, Any](), False
    with ExitStack() as stack:
        data = stack.enter_context(StokesI(ms))

        def read() -> StokesI:
            nonlocal data
            stack.close()  # what was read before is no longer what the set holds
            data = stack.enter_context(StokesI(ms))
            return data

        def correct(sources: pd.DataFrame) -> StokesI | None:
            nonlocal reweighted
            corrected = calibrate(ms, sources, amplitudes=selfcal == "auto", whole_tile=True, **own)
            steps.setdefault("search", []).append(corrected.describe())
            reweighted |= corrected.changed
            return read() if corrected.changed else None

        first = None if selfcal == "none" else correct
        before = dict[str, Any]()
        if outside and near_sidelobes(data.meta):
            # what a first sidelobe lets through is neither a point nor constant: a search would never end
            before = remove_outside(ms, known, **model)
            data = read() if any(entry["removed"] for entry in before.values()) else data
        found = find_sources(data, search, known=known, correct=first, **model)
        if outside:
            report = remove_outside(ms, None if found is None else found.table, **model)
            if any(entry["removed"] for entry in report.values()):
                found = find_sources(read(), search, known=known, **model)
            for name in (name for name, entry in before.items() if entry["removed"]):
                report[name] |= {"removed": True, "before_search_jy": before[name]["mean_jy"]}
        if selfcal != "none" and found is not None:
            corrected = calibrate(ms, found.table, amplitudes=selfcal == "auto", **own)
            steps |= corrected.describe()
            reweighted |= corrected.changed
            if corrected.changed:
                found = find_sources(read(), search, known=found.table, **model) or found
        table = None if found is None else found.table
        if in_memory:
            left = Visibilities.residual(data, array, table)
            return Rest(found, (), report, steps or None, reweighted, left)
        radius = beam.radius(0.5, float(np.mean(data.meta.freq_hz)))
        groups = plan_groups(data.meta, array.uv_m(), radius_rad=radius, loss=loss)
        sets = write_residuals(data, array, table, groups, folder)
    return Rest(found, tuple(sets), report, steps or None, reweighted)


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
