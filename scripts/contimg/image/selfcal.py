"""In-field self-calibration: how the gains have changed since their transit, from sources fitted to the tile itself.

With m what the fitted sources say of a visibility V (Jy) of weight w, each baseline's average over the band

    D = Σ w V m* / Σ w |m|²,   of weight Σ w |m|²,

shows the product of two antennas' remaining gains, g₁ g₂*, like a source of 1 Jy at the phase centre; CASA's gaincal
solves for them, phases first, then amplitude and phase. Amplitudes are divided by their geometric mean over the
antennas of a product (XX, YY), outliers left out, phases by their mean: scale and places stay. A solution is accepted
if it lowers χ² = Σ W |D − g₁ g₂*|² by twice its free parameters (Akaike) and by `SIGNIFICANT` standard deviations more.

Intervals, when gains are left alone, what is accepted and why: docs/image.md, "Self-calibration in the field".
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from casacore import tables
from numpy.typing import NDArray

from contimg.core.casa import NAME_PREFIX, CasaTasks, casatasks
from contimg.core.constants import MAD_TO_SIGMA
from contimg.core.robust import nanmedian
from contimg.gains.tables import Gains, evaluate
from contimg.image.selfcal_data import SIGNIFICANT, Divided, by_antenna, divide
from contimg.image.selfcal_depart import coherence, departs
from contimg.image.selfcal_left import Left, changed, left
from contimg.ms.meta import MsMeta, parallel_hands
from contimg.ms.private import PrivateSet
from contimg.ms.sets import MsWriter
from contimg.telescope.beam import PowerBeam

Array = NDArray[Any]
logger = logging.getLogger(__name__)
ANTENNA_SNR = {"p": 20.0, "ap": 100.0}
"""Signal-to-noise ratio that an antenna's solution must reach in an interval: 3 deg of phase, which take 0.3 % of the
flux of a source that is not in the model; 1 % of amplitude, a third of what receivers drift by in hours."""
LEAST_OFF = 0.01
"""Gains that are off by less than this (rms; 0.6 deg of phase) take less than 1e-4 of a flux,"""
LEAST_EXCESS = 0.003
"""and where residuals have less than this part of their variance from them, the image's rms less than half of that."""
RESOLVED_SHARE = 0.01
OUTLIER_SIGMA, LEAST_OUTLIER = 4.0, 0.1
"""Antennas whose amplitude is farther from the median one, in robust standard deviations and ln amplitude, have no part
in the mean that is held: they changed, and not all the others."""
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
    chi2_fall, free : float
        By how much χ² fell, in units of `chi2_left` where that is above 1; and by how much it falls with noise alone:
        the number of free parameters.
    chi2_left : float
        χ² per degree of freedom that the solution leaves.
    phase_deg, amplitude : float
        rms of the phases and of the relative amplitudes that were found.
    """

    mode: str
    accepted: bool = False
    reason: str = ""
    n_intervals: int = 0
    chi2_fall: float = 0.0
    free: float = 0.0
    chi2_left: float = 0.0
    phase_deg: float = 0.0
    amplitude: float = 0.0

    def describe(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        if not self.n_intervals:
            return {"accepted": False, "reason": self.reason}
        return {name: value for name, value in asdict(self).items() if name != "mode"}


@dataclass(frozen=True)
class Corrected:
    """What was done to a tile.

    Attributes
    ----------
    solutions : dict of str to Solution
        ``phase`` and, if asked for, ``amplitude``.
    departed : dict of str to str
        Antennas of which a hand was flagged, and why.
    followed : dict of str to str
        Antennas that changed much within the tile, and how; their gains were divided by.
    left : Left or None
        What is left of the others' gains; None where the sources are too faint to see it.
    """

    solutions: dict[str, Solution]
    departed: dict[str, str]
    followed: dict[str, str]
    left: Left | None

    @property
    def changed(self) -> bool:
        """Whether the set is another one now."""
        return bool(self.departed) or any(step.accepted for step in self.solutions.values())

    def describe(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            **{name: step.describe() for name, step in self.solutions.items()},
            "departed": self.departed,
            "followed": self.followed,
        }


def calibrate(
    ms: PrivateSet,
    sources: pd.DataFrame,
    *,
    amplitudes: bool = True,
    whole_tile: bool = False,
    beam: PowerBeam | None,
    freq_average: int = 1,
    scratch: Path,
    threads: int = 1,
    log: Path,
) -> Corrected:
    """Solve for phases, then for amplitudes and phases; divide by what is significant, and flag who departs.

    Parameters
    ----------
    ms : PrivateSet
        DATA and weights are changed if a solution is accepted, flags where an antenna departs.
    sources : DataFrame
        The table of `contimg.drift.fit.fit`.
    amplitudes : bool
        Whether amplitudes are solved for. They are not where a resolved source, which lacks flux on long baselines as
        if their gains were low, has more than `RESOLVED_SHARE` of the power.
    whole_tile : bool
        One interval only: for a sky of which some is not in the model yet, and would pass for changes in time.
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
    Corrected
    """
    divided = divide(ms.path, sources, beam=beam, freq_average=freq_average)
    phased, gains, solutions = divided, None, {}
    for name, mode in (("phase", "p"), ("amplitude", "ap"))[: 1 + amplitudes]:
        if mode == "ap" and _resolved_share(sources) > RESOLVED_SHARE:
            solutions[name] = Solution(mode, reason="a bright source is resolved")
            break
        solutions[name], found = solve(
            ms.path, divided, mode=mode, whole_tile=whole_tile, scratch=scratch, threads=threads, log=log
        )
        if found is not None:
            divided = divided.over(found)
            gains = found if gains is None else gains * found
        if mode == "p":
            phased = divided  # an amplitude would make up for what swinging phases take
    if gains is not None:
        ms.divide(gains)
    coherent = coherence(phased)
    bad = departs(phased, coherent)
    if bad.any():
        ms.flag_hands(bad)
    return Corrected(
        solutions,
        {
            divided.meta.antenna_names[k]: ", ".join(
                f"{coherent[k, p]:.2f} of the sources left in polarisation {p}, of the median antenna "
                f"{np.nanmedian(coherent[:, p]):.2f}"
                for p in np.flatnonzero(bad[k])
            )
            for k in np.flatnonzero(bad.any(axis=1))
        },
        {} if gains is None else changed(gains, divided.meta),
        left(divided, bad),
    )


def _resolved_share(sources: pd.DataFrame) -> float:
    """Part of the power (apparent flux squared) that is in resolved sources."""
    power = (sources["flux_jy"] * sources["beam"]) ** 2
    resolved = sources["flags"].str.contains("resolved", regex=False)
    return float(power[resolved].sum() / power.sum())


def solve(
    ms: Path,
    divided: Divided,
    *,
    mode: str,
    whole_tile: bool = False,
    scratch: Path,
    threads: int = 1,
    log: Path,
) -> tuple[Solution, Array | None]:
    """Solve for what is left of the gains of a tile.

    Parameters
    ----------
    ms : Path
        The set that was divided; only read.
    divided : Divided
    mode : str
        ``p``: phases; ``ap``: amplitudes and phases.
    whole_tile, scratch, threads, log
        As for `calibrate`.

    Returns
    -------
    solution : Solution
    gains : (nt, nant, 2) complex128, or None
        None if they were not accepted.
    """
    meta = divided.meta
    most = _most_intervals(divided, ANTENNA_SNR[mode])
    if not most:
        return Solution(mode, reason=f"no antenna reaches S/N {ANTENNA_SNR[mode]:g} over the tile"), None
    counts = sorted({1} if whole_tile else {1, round(np.sqrt(most)), most})
    little = _little_to_gain(divided, counts)
    if little:
        return Solution(mode, reason=little), None
    best, chosen = Solution(mode, reason="no solution is good"), None
    for count in counts:
        with TemporaryDirectory(dir=scratch) as folder:
            path, table = Path(folder, "selfcal.ms"), Path(folder, "gains")
            small, mean, total = _write_bins(ms, path, divided, count)
            _gaincal(path, table, mode, small, total, casatasks(threads, log))
            if not table.exists():
                continue
            trial = _judge(mode, small, mean, total, *_held(evaluate(small, gain=table)))
            if chosen is None or trial.chi2_fall - 2 * trial.free > best.chi2_fall - 2 * best.free:
                named = replace(meta, antenna_names=small.antenna_names)
                best, chosen = trial, _held(evaluate(named, gain=table))[0]
    return best, chosen if best.accepted else None


def _little_to_gain(divided: Divided, counts: list[int]) -> str:
    """Why gains that are off need not be solved for, whatever the intervals; "" if they need to.

    Of gains that are off by σ each, a baseline has 2 σ² W of χ².
    """
    excess = max(divided.excess(count) for count in counts)
    off = np.sqrt(excess / (2.0 * max(float(divided.weight.sum()), 1e-300)))
    part = excess / (2.0 * max(divided.n_visibilities, 1))
    if off >= LEAST_OFF or part >= LEAST_EXCESS:
        return ""
    return (
        f"gains are off by {off:.2%} ({np.degrees(off):.2f} deg) at most, which adds {part:.2%} to the variance of the "
        "residuals: too little to matter"
    )


def _gaincal(ms: Path, table: Path, mode: str, small: MsMeta, total: Array, casa: CasaTasks) -> None:
    """Solve for gains with gaincal; without any good solution there is no table."""
    casa.gaincal(
        vis=str(ms),
        caltable=str(table),
        refant=small.antenna_names[int(np.argmax(by_antenna(total.sum(axis=(0, 2)), small)))],
        gaintype="G",
        calmode=mode,
        solint="int",
        minsnr=MIN_SNR,
        minblperant=MIN_BASELINES,
    )


def _judge(mode: str, small: MsMeta, mean: Array, total: Array, found: Array, solved: Array) -> Solution:
    """Whether gains (nt, nant, 2), of antennas and hands with a solution, explain D better than noise would."""
    product = found[:, small.ant1] * found[:, small.ant2].conj()
    before, after = (float(np.sum(total * np.abs(mean - model) ** 2)) for model in (1.0, product))
    # of every interval and hand one phase is the reference's, and one amplitude the ensemble's
    free = float(len(mode) * len(found) * np.maximum(solved.sum(axis=0) - 1, 0).sum())
    left = after / max(2 * np.count_nonzero(total) - free, 1.0)
    fall = (before - after) / max(left, 1.0)
    accepted = fall > max(2 * free, free + SIGNIFICANT * np.sqrt(2.0 * max(free, 1.0)))
    some = found[:, solved]
    logger.info(
        "self-calibration (%s), %d intervals: chi2 falls by %.0f, %.0f parameters",
        mode,
        len(found),
        fall,
        free,
    )
    return Solution(
        mode,
        accepted=bool(accepted),
        reason="" if accepted else "chi2 does not fall by more than the noise lets it",
        n_intervals=len(found),
        chi2_fall=float(fall),
        free=float(free),
        chi2_left=float(left),
        phase_deg=float(np.degrees(np.sqrt(np.mean(np.angle(some) ** 2)))) if some.size else 0.0,
        amplitude=float(np.std(np.abs(some))) if some.size else 0.0,
    )


def _most_intervals(divided: Divided, wanted_snr: float) -> int:
    """As many solution intervals as the median antenna's S/N bears; 0 for none."""
    power = by_antenna(divided.weight.mean(axis=2).sum(axis=0), divided.meta)
    power = power[power > 0]
    if len(power) < MIN_ANTENNAS:
        return 0
    return min(int(np.median(power) / wanted_snr**2), divided.meta.n_times)


def _write_bins(ms: Path, path: Path, divided: Divided, count: int) -> tuple[MsMeta, Array, Array]:
    """Write D averaged over so many intervals; its metadata, D and the weights, (count, nbl cross, nhands)."""
    meta = divided.meta
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    bins = divided.spans(count)
    mean, total = divided.binned(count)
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


def _held(gains: Gains) -> tuple[Array, Array]:
    """Gains (nt, nant, 2) over their mean of an interval and hand, and which antennas and hands have any, (nant, 2).

    The mean is that of the logarithms of the amplitudes, without outliers (`_usual`), and of the phasors. Without a
    solution a gain is 1.
    """
    solved = gains.good[:, 0, :]
    values = gains.varying
    size = np.maximum(np.abs(values), 1e-12)
    logs = np.where(solved, np.log(size), np.nan)
    turned = np.where(solved, values / size, 0.0).sum(axis=1, keepdims=True)
    mean = np.exp(_usual(logs) + 1j * np.angle(turned))
    return np.where(solved, values / mean, 1.0), solved


def _usual(logs: Array) -> Array:
    """Mean over the antennas of (nt, nant, 2), of those that are not far from their median, (nt, 1, 2); 0 without any.

    One antenna of 16 that lost 0.4 of its gain must not take 6 % of all fluxes.
    """
    middle = nanmedian(logs, axis=1)[:, np.newaxis]
    spread = MAD_TO_SIGMA * nanmedian(np.abs(logs - middle), axis=1)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        near = np.abs(logs - middle) <= np.maximum(OUTLIER_SIGMA * spread, LEAST_OUTLIER)
    return np.asarray(
        np.where(near, logs, 0.0).sum(axis=1, keepdims=True) / np.maximum(near.sum(axis=1, keepdims=True), 1)
    )
