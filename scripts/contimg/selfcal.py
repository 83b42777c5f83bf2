"""In-field self-calibration: how the gains have changed since their transit, from sources fitted to the tile itself.

The fitted sources (`contimg.drift_fit`) say what every visibility should be, m. Divided by it and averaged over the
band,

    D = Σ w V m* / Σ w |m|²,   of weight Σ w |m|²,

each baseline shows the product of two antennas' remaining gains, g₁ g₂*, like a source of 1 Jy at the phase centre, and
CASA's gaincal solves for them: phases first, then amplitude and phase where the signal-to-noise ratio allows. The
interval is as short as an antenna's signal-to-noise ratio of `ANTENNA_SNR` allows. Amplitudes are divided by their
geometric mean over the antennas of a hand, so that the flux scale stays that of the calibrator.

A solution is accepted only if it lowers χ² = Σ W |D − g₁ g₂*|², the noise that the weights promise taken for granted,
by more than its free parameters do by themselves, with `SIGNIFICANT` standard deviations to spare; otherwise nothing is
changed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from casacore import tables
from numpy.typing import NDArray

from contimg.beam import PowerBeam
from contimg.calaverage import NAME_PREFIX
from contimg.caltable import evaluate
from contimg.casa import casatasks
from contimg.drift_data import parallel_hands
from contimg.drift_predict import DriftArray, PointSources
from contimg.ms import MsMeta, MsWriter, read_meta

Array = NDArray[Any]

logger = logging.getLogger(__name__)

ANTENNA_SNR = {"p": 10.0, "ap": 100.0}
"""Signal-to-noise ratio that an antenna's solution must reach in an interval: 6 deg of phase; 1 % of amplitude, a
third of what receivers drift by in hours."""

SIGNIFICANT = 6.0
MIN_ANTENNAS = 5
MIN_SNR, MIN_BASELINES = 3.0, 4  # of a solution that CASA keeps


@dataclass(frozen=True)
class Solution:
    """One solution and its verdict.

    Attributes
    ----------
    mode : str
        ``p`` or ``ap``, as of gaincal.
    accepted : bool
    reason : str
        Why it was not tried or not accepted; empty if it was.
    n_intervals : int
        Solution intervals in the tile; 0 if it was not tried.
    chi2_fall, chi2_expected : float
        By how much χ² fell, and by how much it falls with noise alone (the number of free parameters).
    phase_deg, amplitude : float
        rms of the phases and of the relative amplitudes that were found.
    """

    mode: str
    accepted: bool
    reason: str = ""
    n_intervals: int = 0
    chi2_fall: float = 0.0
    chi2_expected: float = 0.0
    phase_deg: float = 0.0
    amplitude: float = 0.0


def selfcal(
    ms: Path,
    sources: pd.DataFrame,
    *,
    mode: str,
    beam: PowerBeam | None,
    freq_average: int = 1,
    scratch: Path,
    threads: int = 1,
    log: Path,
) -> Solution:
    """Solve for what is left of the gains of a calibrated tile, and take it out if that is significant.

    Parameters
    ----------
    ms : Path
        As `contimg.apply` writes it, a private copy: DATA and weights are changed if the solution is accepted.
    sources : DataFrame
        The table of `contimg.drift_fit.fit`.
    mode : str
        ``p``: phases; ``ap``: amplitudes and phases.
    beam : PowerBeam or None
        Power pattern of a dish; None: no beam.
    freq_average : int
        Raw channels in each channel of the set.
    scratch : Path
        Existing directory.
    threads : int
    log : Path
        CASA's log is appended.

    Returns
    -------
    Solution
    """
    meta = read_meta(ms)
    array = DriftArray(meta, beam=beam, freq_average=freq_average)
    ratio, weight = _divided(ms, meta, array, sources)
    bins = _intervals(meta, weight, ANTENNA_SNR[mode])
    if bins is None:
        return Solution(
            mode, accepted=False, reason=f"no antenna reaches S/N {ANTENNA_SNR[mode]:g} over the tile"
        )
    small_ms, table = scratch / f"selfcal.{mode}.ms", scratch / f"selfcal.{mode}.table"
    small, mean, total = _write_bins(ms, small_ms, meta, bins, ratio, weight)
    casatasks(threads, log).gaincal(
        vis=str(small_ms),
        caltable=str(table),
        refant=small.antenna_names[int(np.argmax(_by_antenna(total.sum(axis=(0, 2)), small)))],
        gaintype="G",
        calmode=mode,
        solint="int",
        minsnr=MIN_SNR,
        minblperant=MIN_BASELINES,
    )
    if not table.exists():
        return Solution(mode, accepted=False, reason="no solution is good", n_intervals=len(bins))
    found = _held(evaluate(small, gain=table).varying)
    return _judge(ms, meta, mode, small, (mean, total), found, table)


def _judge(
    ms: Path, meta: MsMeta, mode: str, small: MsMeta, data: tuple[Array, Array], found: Array, table: Path
) -> Solution:
    """Accept a solution and take it out of the data, or not."""
    mean, total = data
    product = found[:, small.ant1] * found[:, small.ant2].conj()
    before, after = (float(np.sum(total * np.abs(mean - model) ** 2)) for model in (1.0, product))
    solved = np.abs(found - 1) > 0
    # one phase of each interval and hand is the reference's, and so is the ensemble's amplitude
    free = float(len(mode) * max(np.count_nonzero(solved) - found.shape[0] * found.shape[2], 0))
    fall = before - after
    accepted = fall > free + SIGNIFICANT * np.sqrt(2.0 * max(free, 1.0))
    phases = np.angle(found[solved]) if solved.any() else np.zeros(1)
    logger.info("self-calibration (%s): chi2 %.0f -> %.0f with %.0f parameters", mode, before, after, free)
    if accepted:
        named = replace(meta, antenna_names=[NAME_PREFIX + name for name in meta.antenna_names])
        _take_out(ms, meta, _held(evaluate(named, gain=table).varying))
    return Solution(
        mode,
        accepted=accepted,
        reason="" if accepted else "chi2 does not fall by more than the noise lets it",
        n_intervals=found.shape[0],
        chi2_fall=fall,
        chi2_expected=free,
        phase_deg=float(np.degrees(np.sqrt(np.mean(phases**2)))),
        amplitude=float(np.std(np.abs(found[solved]))) if solved.any() else 0.0,
    )


def _divided(ms: Path, meta: MsMeta, array: DriftArray, sources: pd.DataFrame) -> tuple[Array, Array]:
    """D and its weight, (nt, nbl, nhands), band-averaged; the weight is 0 for autocorrelations."""
    view = array.view(PointSources.from_table(sources))
    hands = parallel_hands(meta)
    n_bl = meta.n_baselines
    ratio = np.zeros((meta.n_times, n_bl, len(hands)), complex)
    weight = np.zeros(ratio.shape)
    cross = meta.ant1 != meta.ant2
    with tables.table(str(ms), ack=False) as table:
        name = "WEIGHT_SPECTRUM" if "WEIGHT_SPECTRUM" in table.colnames() else "WEIGHT"
        for i in range(meta.n_times):
            data, flag, w = (table.getcol(column, i * n_bl, n_bl) for column in ("DATA", "FLAG", name))
            w = w if w.ndim == 3 else np.broadcast_to(w[:, np.newaxis, :], data.shape)
            w = np.where(flag | ~cross[:, np.newaxis, np.newaxis], 0.0, w)[..., hands]
            model = view.predict(i)[..., np.newaxis]
            weight[i] = (w * np.abs(model) ** 2).sum(axis=1)
            ratio[i] = (w * data[..., hands] * model.conj()).sum(axis=1)
    return np.divide(ratio, weight, out=ratio, where=weight > 0), weight


def _intervals(meta: MsMeta, weight: Array, wanted_snr: float) -> list[Array] | None:
    """Integrations of each solution interval: as many intervals as the median antenna's S/N bears; None for none."""
    per_baseline = weight.mean(axis=2).sum(axis=0)
    power = _by_antenna(per_baseline, meta)
    power = power[power > 0]
    if len(power) < MIN_ANTENNAS:
        return None
    count = int(np.median(power) / wanted_snr**2)
    return np.array_split(np.arange(meta.n_times), min(count, meta.n_times)) if count else None


def _write_bins(
    ms: Path, path: Path, meta: MsMeta, bins: list[Array], ratio: Array, weight: Array
) -> tuple[MsMeta, Array, Array]:
    """Write D averaged over the intervals; its metadata, D and the weights, (nbins, nbl cross, nhands)."""
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    total = np.stack([weight[span][:, cross].sum(axis=0) for span in bins])
    mean = np.stack([(ratio * weight)[span][:, cross].sum(axis=0) for span in bins])
    mean = np.divide(mean, total, out=mean, where=total > 0)
    small = replace(
        meta,
        antenna_names=[NAME_PREFIX + name for name in meta.antenna_names],
        times_jd=np.array([meta.times_jd[span].mean() for span in bins]),
        integration_s=np.array([meta.integration_s[span].sum() for span in bins]),
        freq_hz=meta.freq_hz.mean(keepdims=True),
        channel_width_hz=meta.channel_width_hz * len(meta.freq_hz),
        correlations=tuple(meta.correlations[k] for k in parallel_hands(meta)),
        ant1=meta.ant1[cross],
        ant2=meta.ant2[cross],
    )
    with tables.table(str(ms), ack=False) as table, MsWriter(path, small) as writer:
        for number, span in enumerate(bins):
            uvw = table.getcol("UVW", int(span[len(span) // 2]) * meta.n_baselines, meta.n_baselines)[cross]
            data = mean[number][:, np.newaxis].astype(np.complex64)
            bad = ~(total[number] > 0)[:, np.newaxis]
            writer.write_time(number, uvw, data, bad, total[number].astype(np.float32))
    return small, mean, total


def _by_antenna(per_baseline: Array, meta: MsMeta) -> Array:
    """Sum over the baselines of each antenna, (nant,)."""
    n_ant = len(meta.antenna_names)
    return np.bincount(meta.ant1, per_baseline, n_ant) + np.bincount(meta.ant2, per_baseline, n_ant)


def _held(gains: Array) -> Array:
    """Gains (nt, nant, 2) with the geometric mean of the amplitudes of an interval and hand at 1.

    An antenna without a solution has a gain of exactly 1 and does not count.
    """
    solved = np.abs(gains - 1) > 0
    count = np.maximum(solved.sum(axis=1, keepdims=True), 1)
    logs = np.where(solved, np.log(np.maximum(np.abs(gains), 1e-12)), 0.0)
    return np.where(solved, gains / np.exp(logs.sum(axis=1, keepdims=True) / count), 1.0)


def _take_out(ms: Path, meta: MsMeta, gains: Array) -> None:
    """Divide DATA by the gains, and multiply the weights by their power, in place."""
    n_bl = meta.n_baselines
    hands = parallel_hands(meta)
    with tables.table(str(ms), readonly=False, ack=False) as table:
        spectrum = "WEIGHT_SPECTRUM" in table.colnames()
        for i in range(meta.n_times):
            product = gains[i, meta.ant1] * gains[i, meta.ant2].conj()
            power = (np.abs(product) ** 2).astype(np.float32)
            data, weight = (table.getcol(name, i * n_bl, n_bl) for name in ("DATA", "WEIGHT"))
            data[..., hands] /= product[:, np.newaxis]
            weight[:, hands] *= power
            table.putcol("DATA", data, i * n_bl, n_bl)
            table.putcol("WEIGHT", weight, i * n_bl, n_bl)
            if spectrum:
                by_channel = table.getcol("WEIGHT_SPECTRUM", i * n_bl, n_bl)
                by_channel[..., hands] *= power[:, np.newaxis]
                table.putcol("WEIGHT_SPECTRUM", by_channel, i * n_bl, n_bl)
