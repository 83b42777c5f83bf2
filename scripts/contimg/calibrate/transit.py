"""Caltables from the transit of a calibrator: delays K, bandpass BP and gains G, with a verdict.

The data, phased to the calibrator, are divided by the drifting model and averaged (`contimg.calibrate.average`). CASA
solves on that small set with its default model, a point source of 1 Jy at the phase centre: delays K, phases for the
bandpass alone, BP (never normalised: it carries the flux scale), G; once more without antennas that depart
(`contimg.calibrate.depart`). Without a catalogue the field's other sources are measured first
(`contimg.calibrate.field`). A tile is corrected by K, BP and G together (`contimg.gains.tables`).

The steps, each with its data and settings, and why they are so: docs/calibrate.md, "From data to tables".
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.calibrate import channels, depart, ensemble
from contimg.calibrate.average import average
from contimg.calibrate.field import Field, find_neighbours, measure_neighbours
from contimg.calibrate.model import DriftModel, source_table
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.peel import MAX_ROUNDS, Peeled, first_options, peel
from contimg.calibrate.plots import Corrected, plot_solutions
from contimg.calibrate.refant import choose_refant, most_isolated
from contimg.calibrate.solve import Solver, restore_names
from contimg.calibrate.transits import disturbing_jy
from contimg.calibrate.verdict import Verdict, by_antenna, calibrated, judge, own_gains
from contimg.core.casa import casatasks
from contimg.core.constants import SECONDS_PER_DAY, SPEED_OF_LIGHT_M_S
from contimg.core.errors import Rejected
from contimg.core.products import status
from contimg.drift.horizon import near_sidelobes
from contimg.gains.tables import TABLES
from contimg.jobs.scratch import working_folder
from contimg.ms.meta import MsMeta
from contimg.ms.sets import read_meta
from contimg.sky.calibrators import Calibrator, others_in_field, same_source
from contimg.telescope.beam import describe_beam, load_beam
from contimg.telescope.options import BeamOptions

logger = logging.getLogger(__name__)
FIELD_RADIUS_DEG = 4.0
"""Neighbours are looked for so far from the calibrator: the first null at 1.3 GHz plus half a tile's
drift."""

DISTURBED = 0.1
"""Of the calibrator's apparent flux: what comes through of the A-team is named where a transit fails."""

MAX_FLUX_RATIO = 2.0
"""Between catalogue and calibrator list: more is another source, or one of them is wrong."""
STRONG_NEIGHBOUR = 0.1
"""Of the calibrator's apparent flux: a catalogue's neighbours above are measured in the data. It knows no sizes, and
its fluxes are off by some per cent."""


def resolution_arcsec(meta: MsMeta) -> float:
    """What the longest baseline resolves, λ / B at mid-band; at most an arc minute."""
    used = meta.antenna_positions_m[np.unique([meta.ant1, meta.ant2])]
    longest = max(1.0, float(np.linalg.norm(used[:, np.newaxis] - used, axis=-1).max()))
    return min(60.0, float(np.degrees(SPEED_OF_LIGHT_M_S / np.mean(meta.freq_hz) / longest) * 3600.0))


def _identity(
    calibrator: Calibrator, others: Sequence[Calibrator], beam_arcsec: float
) -> dict[str, Any] | None:
    """What the reference catalogue has in the calibrator's place; None: nothing.

    Raises
    ------
    Rejected
        Its flux is another by more than `MAX_FLUX_RATIO`.
    """
    found = same_source(calibrator, others, beam_arcsec)
    if not found:
        return None
    total = sum(source.flux_jy for source, _ in found)
    ratio = total / calibrator.flux_jy
    if not 1.0 / MAX_FLUX_RATIO <= ratio <= MAX_FLUX_RATIO:
        raise Rejected(
            f"the catalogue has {total:.2f} Jy within {max(5.0, beam_arcsec):.0f} arcsec of {calibrator.name}, the "
            f"list of calibrators {calibrator.flux_jy:.2f} Jy: one of the two is wrong"
        )
    name, distance = found[0][0].name, found[0][1]
    return {"name": name, "distance_arcsec": round(distance, 2), "flux_ratio": round(ratio, 3)}


def solve_transit(
    cal_ms: Path,
    out_dir: Path,
    *,
    calibrator: Calibrator,
    others: Sequence[Calibrator] | None,
    options: CalibrationOptions,
    beam: BeamOptions,
    scratch: Path,
    threads: int,
    log: Path,
) -> dict[str, Any]:
    """Solve a calibrator's transit and judge the solutions.

    Parameters
    ----------
    cal_ms
        Measurement Set of the tile, phased to the calibrator, flagged; not changed.
    out_dir
        Existing directory; gets the CASA tables `K`, `BP` and `G` and `solutions.png`.
    calibrator
        The source at the phase centre.
    others
        Other sources of the sky; those in the beam enter the model. None: they are found in the data.
    options, beam
        Settings.
    scratch
        Existing directory for the averaged set, on a fast disk.
    threads
        For the compiled loops and CASA.
    log
        CASA's log is appended here.

    Returns
    -------
    dict
        The contents of status.json: `status` is `ok` or `rejected` with the `reason`.

    Raises
    ------
    Rejected
        If there are not enough data or no solutions at all.
    ConfigError
        If the reference antenna that is asked for is not in the array.
    """
    transit = _Transit(cal_ms, out_dir, calibrator, options, beam, scratch, threads, log)
    identity = None if calibrator.is_field else _identity(calibrator, others or (), transit.resolution_arcsec)
    transit.divide(others or ())
    transit.choose_reference()
    try:
        if transit.is_disturbed and near_sidelobes(transit.meta):
            transit.peel(others or ())
        transit.solve_delays()
        if others is None:
            transit.divide_by_what_is_found()
        elif transit.strong_neighbours:
            transit.measure_strong_neighbours(others)
        transit.solve()
        departed = depart.antennas(transit.data, out_dir, options)
        if departed.bad.any():
            transit.solve_without(departed.bad)
    except Rejected as reason:
        raise Rejected("; ".join([str(reason), *transit.disturbed()])) from None
    transit.restore_names()
    n_channels = depart.flag_channels(out_dir / "BP", options.max_channel_departure)
    transit.correct()
    verdict, noise = transit.judge()
    transit.plot(verdict.reason)
    return status(
        verdict.reason,
        inputs=[str(cal_ms)],
        caltables=list(TABLES),
        parameters={
            "calibration": options.model_dump(mode="json"),
            "beam": describe_beam(beam),
            "calibrator": asdict(calibrator),
        },
        metrics={
            **transit.describe(),
            "identity": identity,
            **noise,
            "departed": {"antennas": departed.reasons, "n_channels": n_channels},
            **verdict.metrics,
        },
    )


class _Transit:
    """A transit on its way to caltables, step by step.

    Attributes
    ----------
    meta : MsMeta
        Of the tile, phased to the calibrator.
    model : DriftModel
        What the data are divided by.
    data : CalibratorData
        Divided and averaged, in scratch.
    refant : Refant
    solver : Solver
    phases : Path
        Table of the phases that the bandpass was solved with.
    cal_ms : Path
        The data: as they were given, `raw_ms`, or without the A-team.
    peeled : Peeled or None
        What of the A-team was looked for and taken out, where it matters.
    corrected : Calibrated
        The averaged data with the finished solutions applied.
    """

    def __init__(
        self,
        cal_ms: Path,
        out_dir: Path,
        calibrator: Calibrator,
        options: CalibrationOptions,
        beam: BeamOptions,
        scratch: Path,
        threads: int,
        log: Path,
    ) -> None:
        self.raw_ms = self.cal_ms = cal_ms
        self.out_dir, self.scratch = out_dir, scratch
        self.calibrator, self.options, self.beam = calibrator, options, beam
        self.threads, self.log = threads, log
        self.meta = read_meta(cal_ms)
        self.peeled: Peeled | None = None
        self.resolution_arcsec = resolution_arcsec(self.meta)

    def divide(self, neighbours: Sequence[Calibrator]) -> None:
        """Divide by the calibrator and those of its neighbours that are in the beam, or by the whole field; average."""
        pattern, calibrator = load_beam(self.beam), self.calibrator
        first, rest = (
            ensemble.brightest_first(neighbours, self.meta, pattern)
            if calibrator.is_field
            else (
                calibrator,
                others_in_field(calibrator, neighbours, FIELD_RADIUS_DEG, self.resolution_arcsec),
            )
        )
        self.model = DriftModel(self.meta, first, rest, pattern)
        self.data = average(
            self.cal_ms,
            self.scratch / "averaged.ms",
            self.model,
            uvmin_klambda=self.options.uvmin_klambda,
            time_average_s=self.options.time_average_s,
            threads=self.threads,
            least=ensemble.LEAST_POWER if calibrator.is_field else 0.0,
        )

    @property
    def field(self) -> ensemble.Ensemble | None:
        """What a whole field is worth as a calibrator; None where one source is."""
        return ensemble.describe(self.model.mean_apparent_jy) if self.calibrator.is_field else None

    @property
    def apparent_jy(self) -> float:
        """Apparent flux of the calibrator, or the strength of the field."""
        return float(self.model.mean_apparent_jy[0]) if self.field is None else self.field.strength_jy

    @cached_property
    def a_team_jy(self) -> float:
        """What comes through of the A-team by the configured beam, Jy: none of it is in the model."""
        return disturbing_jy(
            self.calibrator, float(np.degrees(self.meta.pointing_dec_rad)), load_beam(self.beam)
        )

    @property
    def is_disturbed(self) -> bool:
        """Whether so much of the A-team is expected that it has to be looked for."""
        return self.a_team_jy >= DISTURBED * self.apparent_jy

    @property
    def strong_neighbours(self) -> list[Calibrator]:
        """Those too strong for the flux, and the point, that a list says they are."""
        if self.calibrator.is_field:
            return []
        apparent = self.model.mean_apparent_jy[1:]
        return [
            source
            for source, jy in zip(self.model.neighbours, apparent, strict=True)
            if jy > STRONG_NEIGHBOUR * self.apparent_jy
        ]

    def disturbed(self) -> list[str]:
        """What is to be said of a transit that failed with the A-team in its sidelobes."""
        if not self.is_disturbed:
            return []
        seen = "" if self.peeled is None else self.peeled.says
        return [
            f"{self.a_team_jy:.1f} Jy of Cas A, Cyg A, Tau A and Vir A come through beam and sidelobes, of the "
            f"calibrator {self.apparent_jy:.1f} Jy{seen}: take another transit"
        ]

    def choose_reference(self) -> None:
        """Choose the reference antenna; raises Rejected where too few antennas have data."""
        options = self.options
        with_data = int((self.data.unflagged > 0).sum())
        if with_data < options.min_antennas:
            raise Rejected(
                f"{with_data} antennas have data beyond {options.uvmin_klambda:g} kλ, calibration.min_antennas "
                f"{options.min_antennas}"
            )
        self.refant = choose_refant(self.data, options.refant, options.min_baselines_per_antenna)
        casa = casatasks(self.threads, self.log)
        self.solver = Solver(casa, self.refant.name, options, self.scratch, self.threads)

    def peel(self, neighbours: Sequence[Calibrator]) -> None:
        """Take the A-team out of the data, round by round, each with gains that have less of it."""
        wanted = self.options
        (self.scratch / "peeled").mkdir()
        self.options = first_options(self.meta, wanted)
        self.divide_again(neighbours)
        refant = most_isolated(self.data, wanted.min_baselines_per_antenna)
        try:
            self.peel_once(refant or self.refant.name)
        except Rejected as reason:
            logger.info("first round: %s", reason)
        self.options = wanted
        for _ in range(1, MAX_ROUNDS):
            before = self.peeled
            self.divide_again(neighbours)
            self.peel_once(self.refant.name)
            if self.peeled is not None and self.peeled.settled(before):
                break
        self.divide_again(neighbours)
        self.choose_reference()

    def peel_once(self, refant: str) -> None:
        """Solve for gains, and take out of the raw data what they show of the A-team."""
        with working_folder(self.scratch) as work:
            solver = replace(self.solver, refant=refant, options=self.options, scratch=work)
            solver.delay(self.data, work / "K")
            phases = solver.finish(self.data, work)
            self.peeled = peel(
                self.raw_ms,
                (work / "K", work / "BP", phases),
                source_table([self.model.calibrator, *self.model.neighbours]),
                self.scratch / "peeled" / self.raw_ms.name,
                beam=load_beam(self.beam),
                scratch=work,
                threads=self.threads,
            )
        self.cal_ms = self.peeled.ms
        logger.info("taken out, Jy: %s", self.peeled.removed_jy or "nothing")

    def divide_again(self, neighbours: Sequence[Calibrator]) -> None:
        """Divide data that have changed, or by another model."""
        shutil.rmtree(self.data.path)
        self.divide(neighbours)

    def solve_delays(self) -> None:
        """Solve for K."""
        self.solver.delay(self.data, self.out_dir / "K")

    @property
    def as_field(self) -> Field:
        """The tile as its neighbours are measured in it, once there are delays."""
        return Field(self.cal_ms, self.calibrator, self.beam, self.solver, self.out_dir / "K")

    def divide_by_what_is_found(self) -> None:
        """Find the neighbours in the data themselves, and divide by them too."""
        found = find_neighbours(self.as_field)
        if found:
            self.divide_again(found)

    def measure_strong_neighbours(self, listed: Sequence[Calibrator]) -> None:
        """Divide by the list, its strong sources with the flux, place and size that the data show."""
        strong = self.strong_neighbours
        rest = [source for source in self.model.neighbours if source not in strong]
        try:
            seen = measure_neighbours(self.as_field, strong, rest)
        except Rejected as reason:
            # too weak for a first look; whether it is for a calibration, its solutions say
            logger.info("strong neighbours stay as they are listed: %s", reason)
            return
        measured = {
            source.name: replace(seen[source.name], spectral_index=source.spectral_index)
            for source in strong
            if source.name in seen
        }
        self.divide_again([measured.get(source.name, source) for source in listed])

    def solve(self) -> None:
        """Solve for the phases, BP and G."""
        self.phases = self.solver.finish(self.data, self.out_dir)

    def solve_without(self, bad: NDArray[np.bool_]) -> None:
        """Flag hands of antennas, (nant, 2), and solve once more; for K too if the reference antenna is among them."""
        self.data = depart.flag_antennas(self.data, bad)
        for name in ("BP", "G"):
            shutil.rmtree(self.out_dir / name)
        (self.scratch / "again").mkdir()
        self.solver = replace(self.solver, scratch=self.scratch / "again")
        if bad[self.refant.index].any():
            self.refant = choose_refant(
                self.data, self.options.refant, self.options.min_baselines_per_antenna
            )
            self.solver = replace(self.solver, refant=self.refant.name)
            shutil.rmtree(self.out_dir / "K")
            self.solve_delays()
        self.solve()

    def restore_names(self) -> None:
        """Give the tables the antennas' own names."""
        for table in (*(self.out_dir / name for name in TABLES), self.phases):
            restore_names(table, self.cal_ms)

    def correct(self) -> None:
        """Apply the finished solutions to the averaged data they were solved on."""
        self.corrected = calibrated(self.data, own_gains(self.data, self.meta, self.out_dir))

    def judge(self) -> tuple[Verdict, dict[str, Any]]:
        """The verdict; the noise, and what it does to fluxes."""
        verdict = judge(self.data, self.corrected, self.meta, self.out_dir, self.options, self.refant.index)
        width = self.solver.channels_averaged(self.data)
        bias = channels.flux_bias(channels.antenna_snr(self.data) * width**0.5)
        sefd = channels.sefd_jy(self.data, self.meta, self.apparent_jy)
        reasons = [reason for reason in (verdict.reason, channels.too_noisy(bias)) if reason]
        reasons += self.disturbed() if reasons else []
        noise = {
            "sefd_jy": round(sefd, 1) if np.isfinite(sefd) else None,
            "bandpass_channels": width,
            "expected_flux_bias": round(bias, 6) if np.isfinite(bias) else None,
        }
        return replace(verdict, reason="; ".join(reasons) or None), noise

    def plot(self, reason: str | None) -> None:
        """Draw the solutions."""
        title = f"{self.calibrator.name} in {self.meta.tile}: {'ok' if reason is None else reason}"
        meta = self.data.meta
        corrected = Corrected(
            seconds=SECONDS_PER_DAY * (meta.times_jd - meta.times_jd[0]),
            freq_hz=meta.freq_hz,
            in_time=by_antenna(self.corrected.by_baseline, meta),
            in_frequency=self.corrected.by_channel,
        )
        present = np.isin(np.arange(len(meta.antenna_names)), [meta.ant1, meta.ant2])
        plot_solutions(
            self.out_dir,
            self.phases,
            corrected,
            present,
            self.out_dir / "solutions.png",
            title=f"{title}; reference {self.refant.name}",
        )

    def describe(self) -> dict[str, Any]:
        """Numbers for a sidecar: the reference antenna, and what the model holds."""
        return {
            "refant": {"name": self.refant.name, "reason": self.refant.reason},
            "apparent_flux_jy": round(self.apparent_jy, 4),
            "a_team_jy": round(self.a_team_jy, 4),
            "peeled": None if self.peeled is None else self.peeled.report,
            "field": None if self.field is None else self.field.to_json(),
            "neighbours": {
                source.name: round(float(jy), 4)
                for source, jy in zip(self.model.neighbours, self.model.mean_apparent_jy[1:], strict=True)
            },
            "n_time_bins": self.data.meta.n_times,
        }
