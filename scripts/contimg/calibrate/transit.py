"""Caltables from the transit of a calibrator: delays K, bandpass BP and gains G, with a verdict.

The data, phased to the calibrator, are divided by the drifting model and averaged (`contimg.calibrate.average`); CASA
solves on that small set with its default model, a point source of 1 Jy at the phase centre. In order:

0. Without a catalogue, the other sources of the field are found and measured first, on coarse data
   (`contimg.calibrate.field`); they enter the model.
1. K: one delay an antenna and hand over the whole transit, from its baseline to the reference antenna. That one
   may be shorter than `uvmin_klambda`, which holds for all that follows: an antenna near the reference antenna
   would have no delay otherwise, and a delay is not sensitive to what short baselines see beside the calibrator.
2. Phases every `prebandpass_solint_s`, from data without delays and of few channels: they keep the bandpass
   coherent and are then thrown away.
3. BP: one complex bandpass over the whole transit, with K, on the data with those phases taken out and averaged to
   one time; never normalised: it carries the flux scale. Gaps of up to `fillgaps_channels` are interpolated.
4. G: amplitude and phase over the whole transit, on the data with K and BP taken out and averaged to one channel:
   the mean phase, and an amplitude near 1.
5. Antennas that depart from the others are flagged and 2 to 4 done again without them; then channels that depart
   from their neighbours are flagged (`contimg.caldepart`).

A tile is corrected by K, BP and G together (`contimg.gains.tables`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from contimg.calibrate import channels, depart, ensemble
from contimg.calibrate.average import CalibratorData, average
from contimg.calibrate.field import Field, find_neighbours
from contimg.calibrate.model import DriftModel
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.plots import plot_solutions
from contimg.calibrate.refant import choose_refant
from contimg.calibrate.solve import Solver, restore_names
from contimg.calibrate.verdict import judge
from contimg.core.casa import casatasks
from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.errors import Rejected
from contimg.core.products import status
from contimg.gains.tables import TABLES
from contimg.ms.meta import MsMeta
from contimg.ms.sets import read_meta
from contimg.sky.calibrators import Calibrator, others_in_field, same_source
from contimg.telescope.beam import describe_beam, load_beam
from contimg.telescope.options import BeamOptions

FIELD_RADIUS_DEG = 4.0
"""Neighbours are looked for so far from the calibrator: the first null at 1.3 GHz plus half a tile's
drift."""

MAX_FLUX_RATIO = 2.0
"""Between catalogue and calibrator list: more is another source, or one of them is wrong."""


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
    meta = read_meta(cal_ms)

    beam_arcsec = resolution_arcsec(meta)
    identity = None if calibrator.is_field else _identity(calibrator, others or (), beam_arcsec)

    def divided(neighbours: Sequence[Calibrator]) -> tuple[DriftModel, CalibratorData]:
        pattern = load_beam(beam)
        first, rest = (
            ensemble.brightest_first(neighbours, meta, pattern)
            if calibrator.is_field
            else (calibrator, others_in_field(calibrator, neighbours, FIELD_RADIUS_DEG, beam_arcsec))
        )
        model = DriftModel(meta, first, rest, pattern)
        return model, average(
            cal_ms,
            scratch / "averaged.ms",
            model,
            uvmin_klambda=options.uvmin_klambda,
            time_average_s=options.time_average_s,
            threads=threads,
            least=ensemble.LEAST_POWER if calibrator.is_field else 0.0,
        )

    model, data = divided(others or ())
    field = ensemble.describe(model.mean_apparent_jy) if calibrator.is_field else None
    apparent_jy = float(model.mean_apparent_jy[0]) if field is None else field.strength_jy
    with_data = int((data.unflagged > 0).sum())
    if with_data < options.min_antennas:
        raise Rejected(
            f"{with_data} antennas have data beyond {options.uvmin_klambda:g} kλ, calibration.min_antennas "
            f"{options.min_antennas}"
        )
    refant = choose_refant(data, options.refant, options.min_baselines_per_antenna)
    solver = Solver(casatasks(threads, log), refant.name, options, scratch, threads)
    solver.delay(data, out_dir / "K")
    if others is None:
        found = find_neighbours(Field(cal_ms, calibrator, beam), solver, out_dir / "K")
        if found:
            shutil.rmtree(data.path)
            model, data = divided(found)
    phases = solver.finish(data, out_dir)
    departed = depart.antennas(data, out_dir, options)
    if departed.bad.any():
        data = depart.flag_antennas(data, departed.bad)
        for name in ("BP", "G"):
            shutil.rmtree(out_dir / name)
        (scratch / "again").mkdir()
        solver = replace(solver, scratch=scratch / "again")
        if departed.bad[refant.index].any():
            refant = choose_refant(data, options.refant, options.min_baselines_per_antenna)
            solver = replace(solver, refant=refant.name)
            shutil.rmtree(out_dir / "K")
            solver.delay(data, out_dir / "K")
        phases = solver.finish(data, out_dir)
    for table in (*(out_dir / name for name in TABLES), phases):
        restore_names(table, cal_ms)
    n_channels = depart.flag_channels(out_dir / "BP", options.max_channel_departure)
    verdict = judge(data, meta, out_dir, options, refant.index)
    width = solver.channels_averaged(data)
    bias = channels.flux_bias(channels.antenna_snr(data) * width**0.5)
    sefd = channels.sefd_jy(data, meta, apparent_jy)
    reasons = [reason for reason in (verdict.reason, channels.too_noisy(bias)) if reason]
    verdict = replace(verdict, reason="; ".join(reasons) or None)
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
            "apparent_flux_jy": round(apparent_jy, 4),
            "field": None if field is None else field.to_json(),
            "neighbours": {
                source.name: round(float(apparent), 4)
                for source, apparent in zip(model.neighbours, model.mean_apparent_jy[1:], strict=True)
            },
            "identity": identity,
            "n_time_bins": data.meta.n_times,
            "sefd_jy": round(sefd, 1) if np.isfinite(sefd) else None,
            "bandpass_channels": width,
            "expected_flux_bias": round(bias, 6) if np.isfinite(bias) else None,
            "departed": {"antennas": departed.reasons, "n_channels": n_channels},
            **verdict.metrics,
        },
    )
