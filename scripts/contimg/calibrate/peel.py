"""Cas A, Cyg A, Tau A and Vir A taken out of a calibrator's data, where what comes through of them matters.

Round by round gains are solved on the calibrator; in the data that they calibrate each source gets a complex gain
of its own for each polarisation, time and part of the band (`contimg.drift.outside`); that, times the antennas' gains,
is subtracted from the raw data. The first gains are solved on baselines that resolve such a source
(`RESOLVED_KLAMBDA`), where all antennas have some; every further round has less of it in its gains. The rounds end when
the sources' fluxes do. How well it goes: docs/calibrate.md, "Cas A, Cyg A, Tau A and Vir A near a transit".
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.calibrate.average import long_baselines
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.solve import averaging, named_for_casa
from contimg.drift.outside import find_outside
from contimg.drift.predict import DriftArray
from contimg.gains.apply import apply_gains
from contimg.gains.tables import evaluate
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.telescope.beam import PowerBeam

RESOLVED_KLAMBDA = 4.0
"""A source of 1' is down to a hundredth there, and the lobes of Cyg A (20") to a half."""
MAX_ROUNDS = 4
SETTLED = 0.01
"""The rounds end when no source's flux changed by more than this part."""
CHANNELS = 192
"""Sources are fitted on so many channels or more."""


@dataclass(frozen=True)
class Peeled:
    """A calibrator's set without what was found of the A-team.

    Attributes
    ----------
    ms : Path
        A copy of the raw data, less the sources.
    report : dict
        As `contimg.drift.outside.remove_outside` has it.
    """

    ms: Path
    report: dict[str, Any]

    @property
    def removed_jy(self) -> dict[str, float]:
        """Mean apparent flux of each source that was subtracted."""
        return {name: entry["mean_jy"] for name, entry in self.report.items() if entry["removed"]}

    @property
    def says(self) -> str:
        """What was taken out, in words for a reason; empty if nothing was."""
        parts = [
            f"{name} with {jy:.1f} Jy, {self.report[name]['distance_deg']:.1f} deg from the pointing"
            for name, jy in self.removed_jy.items()
        ]
        return f" (taken out: {', '.join(parts)})" if parts else ""

    def settled(self, before: Peeled | None) -> bool:
        """Whether this round found what the one before did."""
        if before is None or set(before.removed_jy) != set(self.removed_jy):
            return False
        return all(abs(jy - before.removed_jy[name]) <= SETTLED * jy for name, jy in self.removed_jy.items())


def first_options(meta: MsMeta, options: CalibrationOptions) -> CalibrationOptions:
    """Of the first round: baselines from `RESOLVED_KLAMBDA` on if that leaves every antenna enough of them."""
    shortest = max(options.uvmin_klambda, RESOLVED_KLAMBDA)
    long = long_baselines(meta, shortest)
    number = np.bincount(np.r_[meta.ant1[long], meta.ant2[long]], minlength=len(meta.antenna_names))
    present = np.unique([meta.ant1, meta.ant2])
    if (number[present] < options.min_baselines_per_antenna).any():
        return options
    return options.model_copy(update={"uvmin_klambda": shortest})


def peel(
    ms: Path,
    tables: tuple[Path, Path, Path],
    known: pd.DataFrame,
    out_ms: Path,
    *,
    beam: PowerBeam,
    scratch: Path,
    threads: int,
) -> Peeled:
    """Write a copy of a calibrator's set without the A-team.

    Parameters
    ----------
    ms : Path
        Phased to the calibrator, uncalibrated; not changed.
    tables : tuple of Path
        Delays, bandpass, and phases in time, not finished (`contimg.calibrate.solve.restore_names`).
    known : DataFrame
        The calibrator and its neighbours, which the gains were solved on.
    out_ms : Path
        Replaced.
    beam : PowerBeam
        Of `known`; what comes through of the A-team is measured.
    scratch : Path
        Existing directory.
    threads : int
    """
    meta = read_meta(ms)
    step = averaging(len(meta.freq_hz), CHANNELS)
    gains = evaluate(named_for_casa(meta), *tables)
    calibrated = scratch / "calibrated.ms"
    apply_gains(ms, gains, calibrated, freq_average=step, threads=threads, origin="the first solutions")
    found = find_outside(calibrated, known, beam=beam, freq_average=step, threads=threads)
    shutil.rmtree(calibrated)
    if out_ms.exists():
        shutil.rmtree(out_ms)
    shutil.copytree(ms, out_ms)
    if found.names:
        calibrated_model = found.model(DriftArray(meta, beam=None))

        def raw(i: int) -> NDArray[np.complex64]:
            gain = np.where(gains.good, gains.at(i), 0.0).astype(np.complex64)
            return np.asarray(calibrated_model(i) * (gain[meta.ant1] * gain[meta.ant2].conj()))

        PrivateSet(out_ms).subtract(raw)
    return Peeled(out_ms, found.report)
