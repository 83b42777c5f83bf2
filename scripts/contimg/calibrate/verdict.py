"""Is a calibration good? Its tables judged by themselves and by what they leave in their own data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.calibrate.average import CalibratorData
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.tables import Gains, Solutions, read_gains, read_solutions
from contimg.ms.meta import MsMeta


@dataclass(frozen=True)
class Residuals:
    """What is left of a unit point source after calibration, band-averaged per long baseline, bin and polarisation.

    Attributes
    ----------
    amplitude_scatter, phase_scatter_deg : float
        Standard deviation of the amplitude (fraction) and rms of the phase over all baselines, bins and
        polarisations.
    by_antenna : (nant, 2)
        The same for an antenna's baselines; NaN without data.
    amplitude
        Mean amplitude: 1 if model and solutions agree.
    """

    amplitude_scatter: float
    phase_scatter_deg: float
    by_antenna: NDArray[np.float64]
    amplitude: float


@dataclass(frozen=True)
class Verdict:
    """`reason` is None if the calibration is good; `metrics` go into status.json."""

    reason: str | None
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Calibrated:
    """The averaged data's long baselines with gains applied: 1 + 0i of the model where the gains are right.

    Attributes
    ----------
    by_baseline : (nt, nbl, 2)
        Mean over the band; NaN without data.
    by_channel : (nchan, 2)
        Mean over baselines and time; NaN without data.
    """

    by_baseline: NDArray[np.complex128]
    by_channel: NDArray[np.complex128]


def calibrated(data: CalibratorData, gains: Gains) -> Calibrated:
    """Apply gains to the averaged data and take their means, in one pass.

    Means are weighted by |g|², as the data are after calibration: those of least variance.
    """
    meta = data.meta
    n_bl = meta.n_baselines
    mean = np.full((meta.n_times, n_bl, 2), np.nan, complex)
    sums, powers = np.zeros((len(meta.freq_hz), 2), complex), np.zeros((len(meta.freq_hz), 2))
    good = gains.good[meta.ant1] & gains.good[meta.ant2] & data.long[:, np.newaxis, np.newaxis]
    with tables.table(str(data.path), ack=False) as table:
        for i in range(meta.n_times):
            visibility = table.getcol("DATA", i * n_bl, n_bl)
            use = good & ~table.getcol("FLAG", i * n_bl, n_bl)
            gain = gains.at(i)
            product = gain[meta.ant1] * gain[meta.ant2].conj()
            power = np.where(use, np.abs(product) ** 2, 0.0)
            turned = np.where(use, visibility * product.conj(), 0.0)
            of_band = power.sum(axis=1)
            np.divide(turned.sum(axis=1), of_band, out=mean[i], where=of_band > 0)
            sums += turned.sum(axis=0)
            powers += power.sum(axis=0)
    nothing = np.full(sums.shape, np.nan, complex)
    return Calibrated(mean, np.divide(sums, powers, out=nothing, where=powers > 0))


def by_antenna(mean: NDArray[np.complex128], meta: MsMeta) -> NDArray[np.complex128]:
    """Of calibrated baselines, (nt, nbl, 2), the mean of each antenna's, (nt, nant, 2); NaN without data."""
    good = np.isfinite(mean)
    there = np.zeros((len(mean), len(meta.antenna_names), 2))
    total = np.zeros(there.shape, complex)
    for ends in (meta.ant1, meta.ant2):
        # the second antenna of a baseline sees the phase of the other sign
        values = np.where(good, mean if ends is meta.ant1 else mean.conj(), 0.0)
        for baseline, antenna in enumerate(ends):
            total[:, antenna] += values[:, baseline]
            there[:, antenna] += good[:, baseline]
    return np.divide(total, there, out=np.full(total.shape, np.nan, complex), where=there > 0)


def own_gains(data: CalibratorData, science_meta: MsMeta, cal_dir: Path) -> Gains:
    """The solutions of a directory, finished, for the averaged data that they were solved on."""
    return read_gains(cal_dir, replace(data.meta, antenna_names=science_meta.antenna_names))


def residuals(mean: NDArray[np.complex128], meta: MsMeta) -> Residuals:
    """Measure what is not 1 + 0i in calibrated baselines, (nt, nbl, 2)."""
    n_ant, n_bl = len(meta.antenna_names), meta.n_baselines
    flat = mean.reshape(-1, n_bl * 2)
    ok = np.isfinite(flat)
    if not ok.any():
        return Residuals(np.nan, np.nan, np.full((n_ant, 2), np.nan), np.nan)
    by_antenna = np.full((n_ant, 2), np.nan)
    for antenna in range(n_ant):
        mine = mean[:, (meta.ant1 == antenna) | (meta.ant2 == antenna)]
        mine = mine[np.isfinite(mine)]
        if mine.size:
            by_antenna[antenna] = _scatter(mine)
    amplitude, phase = _scatter(flat[ok])
    return Residuals(amplitude, phase, by_antenna, float(np.abs(flat[ok]).mean()))


def judge(
    data: CalibratorData,
    corrected: Calibrated,
    science_meta: MsMeta,
    cal_dir: Path,
    options: CalibrationOptions,
    refant: int,
) -> Verdict:
    """Judge the tables K, BP and G of a directory.

    Parameters
    ----------
    data
        The averaged calibrator that they were solved on.
    corrected
        The same with these tables' gains applied (`own_gains`).
    science_meta
        Of the set it was averaged from: the same antennas, with their own names.
    cal_dir
        Holds the tables.
    options
        The limits.
    refant
        Index of the reference antenna.
    """
    solutions = {name: read_solutions(cal_dir / name) for name in ("K", "BP", "G")}
    gains = read_gains(cal_dir, science_meta)
    present = np.zeros(len(science_meta.antenna_names), bool)
    present[np.r_[data.meta.ant1, data.meta.ant2]] = True
    left = residuals(corrected.by_baseline, data.meta)
    good = gains.good[present]
    solved = gains.good.any(axis=(1, 2))
    metrics: dict[str, Any] = {
        "n_antennas": int(present.sum()),
        "n_antennas_solved": int(solved.sum()),
        "flagged_fraction": float(1 - good.mean()),
        "snr_bandpass": _median(solutions["BP"].snr[~solutions["BP"].flags]),
        "snr_gain": _median(solutions["G"].snr[~solutions["G"].flags]),
        "snr_baseline": data.snr,
        "residual_amplitude": left.amplitude,
        "amplitude_scatter": left.amplitude_scatter,
        "phase_scatter_deg": left.phase_scatter_deg,
        "antennas": _by_antenna(science_meta, present, data, gains, solutions, left),
    }
    return Verdict(_reason(metrics, gains.good[refant].any(), options), _finite(metrics))


def _reason(metrics: dict[str, Any], refant_solved: bool, options: CalibrationOptions) -> str | None:
    faults = []
    if metrics["n_antennas_solved"] < options.min_antennas:
        faults.append(
            f"{metrics['n_antennas_solved']} antennas solved, calibration.min_antennas {options.min_antennas}"
        )
    if metrics["flagged_fraction"] > options.max_flagged_fraction:
        faults.append(
            f"{100 * metrics['flagged_fraction']:.0f} % of the solutions flagged, "
            f"calibration.max_flagged_fraction {100 * options.max_flagged_fraction:.0f} %"
        )
    # Written so that a scatter which is not a number fails.
    if not metrics["phase_scatter_deg"] <= options.max_phase_scatter_deg:
        faults.append(
            f"calibrated phases scatter by {metrics['phase_scatter_deg']:.0f} deg, "
            f"calibration.max_phase_scatter_deg {options.max_phase_scatter_deg:g}"
        )
    if not refant_solved:
        faults.append("the reference antenna has no solution")
    return "; ".join(faults) or None


def _by_antenna(
    meta: MsMeta,
    present: NDArray[np.bool_],
    data: CalibratorData,
    gains: Gains,
    solutions: dict[str, Solutions],
    left: Residuals,
) -> dict[str, dict[str, Any]]:
    rows = {}
    for k, name in enumerate(meta.antenna_names):
        if not present[k]:
            continue
        ok = gains.good[k]
        rows[name] = {
            "flagged_fraction": float(1 - ok.mean()),
            "data_flagged_fraction": float(1 - data.unflagged[k]),
            "delay_ns": [_value(solutions["K"].values[0, k, 0, p], ok[:, p].any()) for p in range(2)],
            "amplitude": _median(np.abs(gains.at(0)[k])[ok]),
            "snr_bandpass": _median(solutions["BP"].snr[0, k][~solutions["BP"].flags[0, k]]),
            "snr_gain": _median(solutions["G"].snr[:, k][~solutions["G"].flags[:, k]]),
            "amplitude_scatter": float(left.by_antenna[k, 0]),
            "phase_scatter_deg": float(left.by_antenna[k, 1]),
        }
    return rows


def _scatter(values: NDArray[np.complex128]) -> tuple[float, float]:
    """Standard deviation of the amplitude, relative, and rms of the phase in degrees."""
    amplitude = np.abs(values)
    return (
        float(amplitude.std() / amplitude.mean()),
        float(np.degrees(np.sqrt(np.mean(np.angle(values) ** 2)))),
    )


def _value(value: float, good: np.bool_) -> float:
    return float(value) if good else float("nan")


def _median(values: NDArray[Any]) -> float:
    return float(np.median(values)) if values.size else float("nan")


def _finite(item: Any) -> Any:
    """Replace what is not a number by None, which JSON has."""
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_finite(value) for value in item]
    if isinstance(item, float):
        return round(item, 6) if np.isfinite(item) else None
    return item
