"""The other sources in a calibrator's field, found in its own data where no catalogue names them.

Gains that were solved with flux x of a source in the model, which has the flux f, show (Jy)

    m = (1 - ρ) f + ρ x

of it. ρ is 2/N with N antennas at first, and from two rounds of solving and measuring what they say; f follows. The
rounds end when ρ |f - x| is below `SETTLED` of f. They work on a coarse copy of the tile, all integrations of some
tens of channels with the delays divided out; sources are found by `contimg.drift.find`. What a missing neighbour
costs, and how many rounds it takes: docs/calibrate.md, "Neighbours that no catalogue names".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.calibrate.average import average
from contimg.calibrate.model import MIN_NEIGHBOUR, DriftModel, source_table
from contimg.calibrate.solve import Solver, without_delays
from contimg.gains.apply import apply_gains
from contimg.image.options import ImagingOptions
from contimg.jobs.scratch import working_folder
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.sky.calibrators import Calibrator
from contimg.sky.components import Component
from contimg.telescope.beam import load_beam
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    import pandas as pd

    from contimg.drift.find import Search

logger = logging.getLogger(__name__)
FOUND_SIGMA = 6.0
PB_LIMIT = 0.1
"""Sources where the power beam is below this are too faint in the data to matter, and uncertain."""
ROBUST = 0.5
"""Weighting of the images that sources are looked for in: bright ones do not need a finer beam and its pixels."""
SAME_BEAMS = 1.5
"""What is found this near to the calibrator, in beams, is the calibrator."""
SETTLED = 0.002
"""The rounds end when gains solved with the last model take up no more than this part of any source."""
MAX_ROUNDS = 5
SHAPE_SNR = 30.0
"""Fainter sources stay points: what gains that are not right yet leave beside the calibrator looks resolved, and the
fit of a shape to it wanders."""
MOST_NEW = 20
"""Peaks taken in a round, brightest first: of 60 in a full tile's first image nine were sources, the others the sum of
their sidelobes."""
REFIT_PASSES = 4
"""Passes of a fit that begins with what was fitted before."""
LARGEST_SHARE = 0.8
"""Gains are not believed to take up more than this of a source's flux: beyond, a round's step would be more than five
times what it changed."""
LEAST_CHANGE = 0.02
"""A flux in the model must have changed by this part of what is measured to say how much the gains take up."""


@dataclass(frozen=True)
class Field:
    """A calibrator's tile.

    Attributes
    ----------
    cal_ms : Path
        Measurement Set phased to the calibrator, uncalibrated.
    calibrator : Calibrator
        The source at the phase centre.
    beam : BeamOptions
        Primary beam, by which fluxes are corrected.
    solver : Solver
    delay : Path
        Table of the delays.
    """

    cal_ms: Path
    calibrator: Calibrator
    beam: BeamOptions
    solver: Solver
    delay: Path


@dataclass(frozen=True)
class Neighbour:
    """A source while its flux is being found.

    Attributes
    ----------
    source : Calibrator
        Its flux is the estimate of its true one, and what the model of the next round holds.
    modelled_jy, measured_jy : float
        The x and m of the last round.
    share : float
        The ρ that the estimate was made with.
    """

    source: Calibrator
    modelled_jy: float
    measured_jy: float
    share: float

    @property
    def settled(self) -> bool:
        """Whether the model of the last round was right enough."""
        return self.share * abs(self.source.flux_jy - self.modelled_jy) <= SETTLED * abs(self.source.flux_jy)


def find_neighbours(field: Field) -> list[Calibrator]:
    """Find the other sources in a calibrator's tile and measure their true fluxes.

    Sources are looked for in the first round, and again as long as the gains have taken up more of one than the
    faintest that is looked for; otherwise a round measures those that are known.

    Returns
    -------
    list of Calibrator
        Fluxes at 1.4 GHz.
    """
    with working_folder(field.solver.scratch) as work:
        return [neighbour.source for neighbour in _rounds(_coarse(field, work), [], search=True)]


def measure_neighbours(
    field: Field, strong: Sequence[Calibrator], rest: Sequence[Calibrator]
) -> dict[str, Calibrator]:
    """Measure listed sources in a calibrator's tile, with the others of the list in the model as they are listed.

    Parameters
    ----------
    field : Field
    strong, rest : sequence of Calibrator
        Those to be measured, which begin at what is listed; and the others.

    Returns
    -------
    dict of str to Calibrator
        By name; without those too near to the calibrator to be told from it.
    """
    with working_folder(field.solver.scratch) as work:
        coarse = replace(_coarse(field, work), listed=tuple(rest))
        known = [Neighbour(source, source.flux_jy, source.flux_jy, coarse.share) for source in strong]
        measured = _rounds(coarse, known, search=False)
    return {neighbour.source.name: neighbour.source for neighbour in measured}


def _rounds(coarse: _Coarse, neighbours: list[Neighbour], *, search: bool) -> list[Neighbour]:
    """Solve and measure in turns, until the gains take up too little to matter."""
    solver, hidden = coarse.field.solver, search
    for number in range(1, MAX_ROUNDS + 1):
        with working_folder(solver.scratch) as scratch:
            found = coarse.measure(neighbours, replace(solver, scratch=scratch), search=hidden)
        known = [n.source.name for n in neighbours]
        neighbours = next_round(neighbours, coarse.others(found, known), share=coarse.share)
        logger.info(
            "round %d: %s",
            number,
            ", ".join(f"{n.source.name} {n.modelled_jy:.3f} -> {n.source.flux_jy:.3f}" for n in neighbours),
        )
        if all(n.settled for n in neighbours):
            break
        hidden = search and coarse.hidden(neighbours, found)
    return neighbours


def next_round(
    before: list[Neighbour], measured: Mapping[str, Calibrator], *, share: float
) -> list[Neighbour]:
    """Estimate true fluxes from those measured with the last model.

    Parameters
    ----------
    before : list of Neighbour
        Whose fluxes were the last model.
    measured : mapping of str to Calibrator
        What was found, by name; sources that were not in the model have new names.
    share : float
        ρ of a source that is new.

    Returns
    -------
    list of Neighbour
        In the order of `measured`.
    """
    known = {neighbour.source.name: neighbour for neighbour in before}
    after = []
    for name, source in measured.items():
        flux, modelled, rho = source.flux_jy, 0.0, share
        if name in known:
            last = known[name]
            modelled, rho = last.source.flux_jy, last.share
            change = modelled - last.modelled_jy
            if abs(change) > LEAST_CHANGE * abs(flux):
                rho = float(np.clip((flux - last.measured_jy) / change, 0.0, LARGEST_SHARE))
        estimate = replace(source, flux_jy=(flux - rho * modelled) / (1.0 - rho))
        after.append(Neighbour(estimate, modelled, flux, rho))
    return after


@dataclass(frozen=True)
class _Coarse:
    """The tile as the rounds see it.

    Attributes
    ----------
    field : Field
    ms : Path
        All integrations, few channels, without delays.
    meta : MsMeta
        Of `ms`.
    step : int
        Raw channels in each of its channels.
    search : Search
        Where and how deep sources are looked for.
    listed : tuple of Calibrator
        Other sources of the model, which are neither looked for nor measured.
    """

    field: Field
    ms: Path
    meta: MsMeta
    step: int
    search: Search
    listed: tuple[Calibrator, ...] = ()

    @property
    def share(self) -> float:
        """The ρ of a source of which nothing is known."""
        return 2.0 / len(np.unique([self.meta.ant1, self.meta.ant2]))

    def measure(self, neighbours: Sequence[Neighbour], solver: Solver, *, search: bool) -> pd.DataFrame:
        """Solve with the neighbours in the model; fit them to what the calibrator leaves, with `search` others too."""
        from contimg.drift.data import StokesI
        from contimg.drift.find import find_sources
        from contimg.drift.fit import fit
        from contimg.drift.state import FitOptions
        from contimg.drift.subtract import subtract

        known = [neighbour.source for neighbour in neighbours]
        beam = load_beam(self.field.beam)
        data = average(
            self.ms,
            solver.scratch / "bins.ms",
            DriftModel(
                self.meta, self.field.calibrator, [*known, *self.listed], beam, freq_average=self.step
            ),
            uvmin_klambda=solver.options.uvmin_klambda,
            time_average_s=solver.options.time_average_s,
            threads=solver.threads,
        )
        calibrated = solver.scratch / "calibrated.ms"
        gains = solver.coarse(data, self.meta)
        apply_gains(self.ms, gains, calibrated, threads=solver.threads, origin="the first solutions")
        settings: dict[str, Any] = {"beam": beam, "freq_average": self.step, "threads": solver.threads}
        # The gains were made to show the calibrator as it is in the model: it need not be fitted.
        subtract(PrivateSet(calibrated), source_table([self.field.calibrator, *self.listed]), **settings)
        if not search:
            options = FitOptions(
                uvmin_klambda=self.search.uvmin_klambda,
                max_passes=REFIT_PASSES,
                shape_snr=SHAPE_SNR,
                band_snr=np.inf,
            )
            return fit(calibrated, source_table(known), options=options, **settings).table
        with StokesI(calibrated) as visibilities:
            found = find_sources(
                visibilities, self.search, known=source_table(known) if known else None, **settings
            )
        return source_table([]) if found is None else found.table

    def hidden(self, neighbours: Sequence[Neighbour], found: pd.DataFrame) -> bool:
        """Whether the last gains took up more of a source than the faintest flux that is looked for."""
        taken = [n.share * abs(n.source.flux_jy - n.modelled_jy) for n in neighbours]
        beam = found["beam"].max() if len(found) else 0.0
        return bool(beam * max(taken, default=0.0) > self.search.least_jy)

    def others(self, found: pd.DataFrame, known: Sequence[str]) -> dict[str, Calibrator]:
        """What was found beside the calibrator, by name: sources that are not known yet get new names."""
        from astropy.coordinates import SkyCoord

        if found.empty:
            return {}
        centre = SkyCoord(self.field.calibrator.ra_deg, self.field.calibrator.dec_deg, unit="deg")
        apart = SkyCoord(found["ra_deg"], found["dec_deg"], unit="deg").separation(centre).deg
        rows = found[apart > SAME_BEAMS * self.search.header["BMAJ"]].to_dict("records")
        free = (f"field{k:02d}" for k in count(1) if f"field{k:02d}" not in known)
        sources = {}
        for row in rows:
            name = row["name"] if row["name"] in known else next(free)
            sources[name] = Calibrator(
                name,
                row["ra_deg"],
                row["dec_deg"],
                row["flux_jy"],
                row["spectral_index"],
                "found in the calibrator's own tile",
                components=_components(row),
            )
        return sources


def _components(row: Mapping[str, Any]) -> str:
    """The Gaussian that a row of a fit is, as `Calibrator` has it; nothing for a point."""
    if not row["major_arcsec"] > 0:
        return ""
    return str(Component(1.0, 0.0, 0.0, row["major_arcsec"], row["minor_arcsec"], row["angle_deg"]))


def _coarse(field: Field, folder: Path) -> _Coarse:
    """Make the coarse copy, and choose where to look: over the whole beam, down to what matters in a model."""
    from contimg.drift.find import Search
    from contimg.image.header import imager_axes, slant, tile_header
    from contimg.image.plan import resolve
    from contimg.telescope.beam_map import beam_map

    path = folder / "coarse.ms"
    step = without_delays(field.cal_ms, field.delay, path, threads=field.solver.threads)
    meta = read_meta(path)
    options = ImagingOptions(pb_limit=PB_LIMIT, robust=ROBUST)
    plan = resolve(meta, options, field.beam)
    header = tile_header(
        meta,
        plan,
        axes=imager_axes(path, meta),
        slope=slant(path, meta),
        beam_arcsec=plan.beam_arcsec,
        freq_hz=float(meta.freq_hz.mean()),
        n_visibilities=int(np.prod(meta.shape[:3])),
    )
    beam = load_beam(field.beam)
    calibrator = DriftModel(meta, field.calibrator, [], beam)
    search = Search(
        header=header,
        pb=beam_map(header, meta, np.ones((meta.n_times, len(meta.freq_hz))), beam),
        sigma=FOUND_SIGMA,
        pb_limit=PB_LIMIT,
        robust=plan.robust,
        uvmin_klambda=plan.uvmin_klambda,
        rms_box_pix=options.rms_box_beams * float(np.sqrt(np.prod(plan.beam_arcsec[:2]))) / plan.cell_arcsec,
        least_jy=MIN_NEIGHBOUR * float(calibrator.mean_apparent_jy[0]),
        shape_snr=SHAPE_SNR,
        most_new=MOST_NEW,
        for_model=True,
    )
    return _Coarse(field, path, meta, step, search)
