"""The solutions of a transit, each by one task of CASA on data as small as it allows.

CASA's default model is a point source of 1 Jy at the phase centre, which is what data divided by their model
(`contimg.calibrate.average`) show of the calibrator. Where not one solution is good, CASA writes no table and says so
in its log only; here that is an error with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.calibrate import bandpass, channels
from contimg.calibrate.average import CalibratorData, collapse
from contimg.calibrate.options import CalibrationOptions
from contimg.core.casa import NAME_PREFIX, CasaTasks
from contimg.core.errors import Rejected
from contimg.gains.apply import apply_gains
from contimg.gains.tables import Gains, evaluate, phases_in_time
from contimg.ms.meta import MsMeta
from contimg.ms.noise import read_noise_shape, read_subbands
from contimg.ms.sets import read_meta

COARSE_CHANNELS = 32
"""Phases do not need more channels than this, once delays are taken out."""


@dataclass(frozen=True)
class Solver:
    """What the solutions of a transit have in common.

    Attributes
    ----------
    casa : CasaTasks
    refant : str
        NAME of the reference antenna, as in the raw data.
    options : CalibrationOptions
    scratch : Path
        Existing directory.
    threads : int
        For the compiled loops.
    """

    casa: CasaTasks
    refant: str
    options: CalibrationOptions
    scratch: Path
    threads: int

    def delay(self, data: CalibratorData, table: Path) -> None:
        """One delay an antenna and hand over the transit, from its baseline to the reference antenna."""
        refant = NAME_PREFIX + self.refant  # the unmistakable name that the averaged set gives it
        self.casa.gaincal(
            vis=str(data.path),
            caltable=str(table),
            refant=refant,
            antenna=f"{refant}&*",
            minblperant=1,
            gaintype="K",
            solint="inf",
            minsnr=self.options.delay_minsnr,
        )
        _require(table, "delay", data)
        if not self.options.solve_delay:
            neutralise(table)

    def phases(self, data: CalibratorData, ms: Path, table: Path) -> None:
        """Solve for phases every `prebandpass_solint_s`, from a set without delays made from `data`."""
        self._gaincal(ms, table, calmode="p", solint=f"{self.options.prebandpass_solint_s}s")
        _require(table, "phase", data)

    def bandpass(
        self, data: CalibratorData, ms: Path, table: Path, *, delay: Path | None, gaps: bool = True
    ) -> None:
        """One complex bandpass from a set of one time made from `data`; `delay` is applied."""
        bandpass.solve(
            self.casa,
            ms,
            table,
            fillgaps=self.options.fillgaps_channels if gaps else 0,
            scratch=self.scratch,
            threads=self.threads,
            **self._common(),
            bandtype="B",
            solint="inf",
            combine="scan",
            solnorm=False,
            minsnr=0.0,
            gaintable=[] if delay is None else [str(delay)],
        )
        if table.exists():
            channels.flag_weak(table, self.options.bandpass_minsnr)
        _require(table, "bandpass", data)

    def gain(self, data: CalibratorData, ms: Path, table: Path) -> None:
        """Gains every `gain_solint`, from a set made from `data` with K and BP taken out."""
        solint = self.options.gain_solint
        self._gaincal(
            ms, table, calmode=self.options.gain_calmode, solint=solint if solint == "inf" else f"{solint}s"
        )
        _require(table, "gain", data)

    def coarse(self, data: CalibratorData, meta: MsMeta) -> Gains:
        """Phases in time and a bandpass from coarse data without delays, as gains on the set of `meta`.

        `meta` is of the set that `data` were averaged from.
        """
        phases, coarse = self.scratch / "coarse.phases", self.scratch / "coarse.bandpass"
        self.phases(data, data.path, phases)
        collapsed = self.scratch / "coarse_collapsed.ms"
        collapse(data, *phases_in_time(phases, data.meta), collapsed, self.threads)
        self.bandpass(data, collapsed, coarse, delay=None)
        return evaluate(named_for_casa(meta), bandpass=coarse, gain=phases)

    def finish(self, data: CalibratorData, folder: Path) -> Path:
        """Make BP and G in `folder`, where K is, and return the table of the phases that were taken out for BP."""
        delay, band, gain = (folder / name for name in ("K", "BP", "G"))
        phases = self.scratch / "phases"
        squeezed = self._averaged(data, evaluate(data.meta, delay=delay), "squeezed", COARSE_CHANNELS)
        self.phases(data, squeezed, phases)
        turned = phases_in_time(phases, data.meta)
        collapsed = self.scratch / "collapsed.ms"
        width = self.channels_averaged(data)
        if width == 1:
            collapse(data, *turned, collapsed, self.threads)
            self.bandpass(data, collapsed, band, delay=delay)
        else:
            self._smooth_bandpass(data, turned, collapsed, band, delay, width)
        if not self.options.solve_bandpass:
            neutralise(band)
        steady = evaluate(data.meta, delay=delay, bandpass=band)
        if self.options.gain_solint == "inf":
            known = replace(steady, varying=turned[0], good=steady.good & turned[1][:, np.newaxis])
            self.gain(data, self._averaged(data, known, "flat", 1), gain)
            _turn(gain, turned[0].mean(axis=0))
        else:
            self.gain(data, self._averaged(data, steady, "flat", 1), gain)
        if not self.options.solve_gains:
            neutralise(gain)
        return phases

    def channels_averaged(self, data: CalibratorData) -> int:
        """How many channels each solution of the bandpass has."""
        subbands = read_subbands(data.path, data.meta)
        return channels.choose_width(channels.antenna_snr(data), self.options.bandpass_snr, subbands)

    def _smooth_bandpass(
        self,
        data: CalibratorData,
        turned: tuple[NDArray[np.complex128], NDArray[np.bool_]],
        collapsed: Path,
        band: Path,
        delay: Path,
        width: int,
    ) -> None:
        """Solve a bandpass on averaged channels and bring it to all."""
        amplitude = np.sqrt(read_noise_shape(data.path, data.meta)).astype(np.float64)
        delays = evaluate(data.meta, delay=delay)
        phases, good = turned
        usable = good & delays.good.any(axis=1)
        collapse(data, phases, usable, collapsed, self.threads, known=delays.steady * amplitude, width=width)
        self.bandpass(data, collapsed, band, delay=None, gaps=False)
        channels.expand(band, width, read_subbands(data.path, data.meta), data.meta.freq_hz, amplitude)

    def _averaged(self, data: CalibratorData, gains: Gains, name: str, channels: int) -> Path:
        """A copy of the averaged data without some gains, averaged to at least so many channels."""
        path = self.scratch / f"{name}.ms"
        step = averaging(len(data.meta.freq_hz), channels)
        apply_gains(data.path, gains, path, freq_average=step, threads=self.threads, origin=name)
        return path

    def _common(self) -> dict[str, Any]:
        shortest = self.options.uvmin_klambda
        return {
            "refant": NAME_PREFIX + self.refant,
            "minblperant": self.options.min_baselines_per_antenna,
            "uvrange": f">{shortest}klambda" if shortest > 0 else "",
        }

    def _gaincal(self, ms: Path, table: Path, **settings: Any) -> None:
        self.casa.gaincal(
            vis=str(ms),
            caltable=str(table),
            **self._common(),
            gaintype="G",
            minsnr=self.options.gain_minsnr,
            **settings,
        )


def _turn(table: Path, mean: NDArray[np.complex128]) -> None:
    """Turn gains by the phases of `mean`, (nant, 2): those that had been taken out before they were solved for."""
    size = np.abs(mean)
    phase = np.divide(mean, size, out=np.ones_like(mean), where=size > 0)
    with tables.table(str(table), readonly=False, ack=False) as main:
        turned = main.getcol("CPARAM") * phase[main.getcol("ANTENNA1")][:, np.newaxis, :]
        main.putcol("CPARAM", turned.astype(np.complex64))


def averaging(n_channels: int, least: int) -> int:
    """How many of `n_channels` may be averaged into one: the largest divisor that leaves `least` or more."""
    return max(
        (n for n in range(1, n_channels + 1) if n_channels % n == 0 and n_channels // n >= least), default=1
    )


def without_delays(ms: Path, delay: Path, out_ms: Path, *, threads: int) -> int:
    """Write a coarse copy of a calibrator's set with its delays taken out; returns how many channels are one."""
    meta = read_meta(ms)
    step = averaging(len(meta.freq_hz), COARSE_CHANNELS)
    gains = evaluate(named_for_casa(meta), delay=delay)
    apply_gains(ms, gains, out_ms, freq_average=step, threads=threads, origin=delay.name)
    return step


def neutralise(table: Path) -> None:
    """Set the solutions of a table that is not wanted to 1, or its delays to 0; what is flagged stays flagged."""
    with tables.table(str(table), readonly=False, ack=False) as main:
        is_delay = "FPARAM" in main.colnames()
        column = "FPARAM" if is_delay else "CPARAM"
        main.putcol(column, np.full_like(main.getcol(column), 0.0 if is_delay else 1.0))


def restore_names(table: Path, ms: Path) -> None:
    """Give a caltable the antennas' own names, and the set that its data came from."""
    with tables.table(f"{table}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcol("NAME", [name.removeprefix(NAME_PREFIX) for name in antennas.getcol("NAME")])
    with tables.table(str(table), readonly=False, ack=False) as main:
        main.putkeyword("MSName", ms.name)


def named_for_casa(meta: MsMeta) -> MsMeta:
    """The antennas under the names that unfinished tables have."""
    return replace(meta, antenna_names=[NAME_PREFIX + name for name in meta.antenna_names])


def _require(table: Path, kind: str, data: CalibratorData) -> None:
    found = table.exists()
    if found:
        with tables.table(str(table), ack=False) as solutions:
            found = solutions.nrows() > 0 and not solutions.getcol("FLAG").all()
    if not found:
        raise Rejected(
            f"no {kind} solution is good: the calibrator is not seen, or the data are bad (signal-to-noise "
            f"ratio of a baseline over the transit, median: {data.snr:.1f})"
        )
