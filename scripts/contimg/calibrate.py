"""Caltables from the transit of a calibrator: delays K, bandpass BP and gains G, with a verdict.

The data, phased to the calibrator, are divided by the drifting model and averaged (`contimg.calaverage`); CASA
solves on that small set with its default model, a point source of 1 Jy at the phase centre. In order:

1. K: one delay an antenna and hand over the whole transit, from its baseline to the reference antenna. That one
   may be shorter than `uvmin_klambda`, which holds for all that follows: an antenna near the reference antenna
   would have no delay otherwise, and a delay is not sensitive to what short baselines see beside the calibrator.
2. Phases every `prebandpass_solint_s`, with K: they keep the bandpass coherent and are then thrown away.
3. BP: one complex bandpass over the whole transit, with K, on the data with those phases taken out and averaged to
   one time; never normalised: it carries the flux scale. Gaps of up to `fillgaps_channels` are interpolated.
4. G: amplitude and phase over the whole transit, with K and BP: the mean phase, and an amplitude near 1.

A tile is corrected by K, BP and G together (`contimg.caltable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casacore import tables

from contimg.beam import describe_beam, load_beam
from contimg.calaverage import NAME_PREFIX, CalibratorData, average, collapse
from contimg.calibrators import Calibrator, others_in_field
from contimg.calplots import plot_solutions
from contimg.caltable import TABLES, choose_tables, phases_in_time
from contimg.calverdict import judge
from contimg.casa import CasaTasks, casatasks
from contimg.driftmodel import DriftModel
from contimg.errors import Rejected
from contimg.ms import read_meta
from contimg.options import BeamOptions, CalibrationOptions
from contimg.products import status
from contimg.refant import Refant, choose_refant

__all__ = ["choose_tables", "solve_transit"]

FIELD_RADIUS_DEG = 4.0
"""Neighbours are looked for so far from the calibrator: the first null at 1.3 GHz plus half a tile's
drift."""


def solve_transit(
    cal_ms: Path,
    out_dir: Path,
    *,
    calibrator: Calibrator,
    others: Sequence[Calibrator],
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
        Other sources of the sky; those in the beam enter the model.
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
    meta = read_meta(cal_ms)
    model = DriftModel(
        meta, calibrator, others_in_field(calibrator, others, FIELD_RADIUS_DEG), load_beam(beam)
    )
    data = average(
        cal_ms,
        scratch / "averaged.ms",
        model,
        uvmin_klambda=options.uvmin_klambda,
        time_average_s=options.time_average_s,
        threads=threads,
    )
    with_data = int((data.unflagged > 0).sum())
    if with_data < options.min_antennas:
        raise Rejected(
            f"{with_data} antennas have data beyond {options.uvmin_klambda:g} kλ, calibration.min_antennas "
            f"{options.min_antennas}"
        )
    refant = choose_refant(data, options.refant, options.min_baselines_per_antenna)
    phases = _solve(data, refant, out_dir, options, scratch, threads, casatasks(threads, log))
    for table in (*(out_dir / name for name in TABLES), phases):
        _restore_names(table, cal_ms)
    verdict = judge(data, meta, out_dir, options, refant.index)
    title = f"{calibrator.name} in {meta.tile}: {'ok' if verdict.reason is None else verdict.reason}"
    plot_solutions(out_dir, phases, out_dir / "solutions.png", title=f"{title}; reference {refant.name}")
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
            "refant": {"name": refant.name, "reason": refant.reason},
            "apparent_flux_jy": round(float(model.mean_apparent_jy[0]), 4),
            "neighbours": {
                source.name: round(float(apparent), 4)
                for source, apparent in zip(model.neighbours, model.mean_apparent_jy[1:], strict=True)
            },
            "n_time_bins": data.meta.n_times,
            **verdict.metrics,
        },
    )


def _solve(
    data: CalibratorData,
    refant: Refant,
    out_dir: Path,
    options: CalibrationOptions,
    scratch: Path,
    threads: int,
    casa: CasaTasks,
) -> Path:
    """Make K, BP and G in `out_dir`; returns the table of the pre-bandpass phases."""
    delay, bandpass, gain = (str(out_dir / name) for name in TABLES)
    phases = str(scratch / "phases")
    common: dict[str, Any] = {
        "vis": str(data.path),
        # By the unmistakable name that the averaged set gives it.
        "refant": NAME_PREFIX + refant.name,
    }
    casa.gaincal(
        **common,
        caltable=delay,
        gaintype="K",
        solint="inf",
        minsnr=options.delay_minsnr,
        antenna=f"{common['refant']}&*",
        minblperant=1,
    )
    _require(delay, "delay", data)
    common["minblperant"] = options.min_baselines_per_antenna
    common["uvrange"] = f">{options.uvmin_klambda}klambda" if options.uvmin_klambda > 0 else ""
    casa.gaincal(
        **common,
        caltable=phases,
        gaintype="G",
        calmode="p",
        solint=f"{options.prebandpass_solint_s}s",
        minsnr=options.gain_minsnr,
        gaintable=[delay],
    )
    _require(phases, "phase", data)
    collapse(data, *phases_in_time(Path(phases), data.meta), scratch / "collapsed.ms", threads)
    casa.bandpass(
        **{**common, "vis": str(scratch / "collapsed.ms")},
        caltable=bandpass,
        bandtype="B",
        solint="inf",
        combine="scan",
        solnorm=False,
        minsnr=options.bandpass_minsnr,
        fillgaps=options.fillgaps_channels,
        gaintable=[delay],
    )
    _require(bandpass, "bandpass", data)
    casa.gaincal(
        **common,
        caltable=gain,
        gaintype="G",
        calmode="ap",
        solint="inf",
        minsnr=options.gain_minsnr,
        gaintable=[delay, bandpass],
    )
    _require(gain, "gain", data)
    return Path(phases)


def _require(table: str, kind: str, data: CalibratorData) -> None:
    """CASA writes no table, and says so in its log only, where not one solution is good."""
    found = Path(table).exists()
    if found:
        with tables.table(table, ack=False) as solutions:
            found = solutions.nrows() > 0 and not solutions.getcol("FLAG").all()
    if not found:
        raise Rejected(
            f"no {kind} solution is good: the calibrator is not seen, or the data are bad (signal-to-noise "
            f"ratio of a baseline over the transit, median: {data.snr:.1f})"
        )


def _restore_names(table: Path, cal_ms: Path) -> None:
    """Give a caltable the antennas' own names, and the set that its data came from."""
    with tables.table(f"{table}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcol("NAME", [name.removeprefix(NAME_PREFIX) for name in antennas.getcol("NAME")])
    with tables.table(str(table), readonly=False, ack=False) as main:
        main.putkeyword("MSName", cal_ms.name)
