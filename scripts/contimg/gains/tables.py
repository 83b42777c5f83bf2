"""Caltables read back: the gain of every antenna, channel and polarisation at any time, as CASA's applycal has it.

    g(ν, t) = exp(2πi τ (ν − ν_K)) · B(ν) · G(t)

with the delay τ and its reference frequency ν_K from K (CASA's table carries the band's centroid as the
frequency of its one channel), the bandpass B per channel, and the gain G, linear in time in real and
imaginary part between solutions and constant beyond them (a table solved with solint inf has one solution,
hence a constant). The corrected visibility is V / (g₁ g₂*).

A flagged solution of K or G, or an antenna without one, makes a gain bad at all channels; a flagged channel
of B makes that channel bad. Gaps of a few channels were filled when B was solved (`fillgaps`). On another
channel grid B is interpolated linearly between neighbouring good channels, and bad elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.core.errors import InputError, Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.ms.meta import MsMeta, times_mjd_s

TABLES = ("K", "BP", "G")


@dataclass(frozen=True)
class Gains:
    """Gains on the antennas, channels and times of one Measurement Set.

    Attributes
    ----------
    steady : (nant, nchan, 2), complex128
        Delay and bandpass of both polarisations; 1 where bad.
    good : (nant, nchan, 2), bool
    times_mjd_s : (nt,)
        For which `varying` is.
    varying : (nt, nant, 2), complex128
        The gains G.
    """

    steady: NDArray[np.complex128]
    good: NDArray[np.bool_]
    times_mjd_s: NDArray[np.float64]
    varying: NDArray[np.complex128]

    def at(self, i: int) -> NDArray[np.complex64]:
        """Gain at integration `i`, (nant, nchan, 2); 1 where bad."""
        gain = self.steady * self.varying[i][:, np.newaxis, :]
        return np.where(self.good, gain, 1.0).astype(np.complex64)


@dataclass(frozen=True)
class Solutions:
    """One caltable as arrays over (solution times, antennas).

    Attributes
    ----------
    antenna_names : list of str
    times_mjd_s : (nsol,)
        Ascending.
    freq_hz : (nchan,)
    values : (nsol, nant, nchan, 2)
        Complex gains, or delays in ns.
    flags : (nsol, nant, nchan, 2)
        True where there is no good solution.
    snr : (nsol, nant, nchan, 2)
    """

    antenna_names: list[str]
    times_mjd_s: NDArray[np.float64]
    freq_hz: NDArray[np.float64]
    values: NDArray[np.complex128] | NDArray[np.float64]
    flags: NDArray[np.bool_]
    snr: NDArray[np.float64]


def read_solutions(path: Path) -> Solutions:
    """Read a caltable of one spectral window and field.

    Raises
    ------
    InputError
        If it cannot be opened or has no solutions.
    """
    try:
        table = tables.table(str(path), ack=False)
    except RuntimeError as exc:
        raise InputError(
            f"{path}: not a caltable that can be opened ({exc}); calibrate the transit again"
        ) from exc
    with table:
        if table.nrows() == 0:
            raise InputError(f"{path}: the caltable is empty; calibrate the transit again")
        parameter = "FPARAM" if "FPARAM" in table.colnames() else "CPARAM"
        raw_values, raw_flags, raw_snr = (table.getcol(name) for name in (parameter, "FLAG", "SNR"))
        row_times, row_antennas = table.getcol("TIME"), table.getcol("ANTENNA1")
    with tables.table(f"{path}::ANTENNA", ack=False) as antennas:
        names = list(antennas.getcol("NAME"))
    with tables.table(f"{path}::SPECTRAL_WINDOW", ack=False) as windows:
        freq_hz = np.ravel(windows.getcell("CHAN_FREQ", 0)).astype(np.float64)
    if raw_values.shape[2] == 1:
        raw_values, raw_flags, raw_snr = (np.repeat(a, 2, axis=2) for a in (raw_values, raw_flags, raw_snr))
    times, number = np.unique(row_times, return_inverse=True)
    shape = (len(times), len(names), *raw_values.shape[1:])
    values = np.ones(shape, np.complex128 if parameter == "CPARAM" else np.float64)
    flags, snr = np.ones(shape, bool), np.zeros(shape)
    values[number, row_antennas] = raw_values
    flags[number, row_antennas] = raw_flags
    snr[number, row_antennas] = raw_snr
    return Solutions(names, times, freq_hz, values, flags | ~np.isfinite(values), snr)


def read_gains(cal_dir: Path, meta: MsMeta) -> Gains:
    """Evaluate the tables K, BP and G of a directory for a Measurement Set.

    Parameters
    ----------
    cal_dir
        Holds `K`, `BP` and `G`.
    meta
        Of the set that they are to be applied to; antennas are matched by name.

    Raises
    ------
    InputError
        If a table is missing or cannot be read.
    """
    return evaluate(meta, *(cal_dir / name for name in TABLES))


def evaluate(
    meta: MsMeta, delay: Path | None = None, bandpass: Path | None = None, gain: Path | None = None
) -> Gains:
    """Evaluate the product of some tables for a Measurement Set; a table left out is 1 and good everywhere."""
    n_ant, n_chan = len(meta.antenna_names), len(meta.freq_hz)
    steady, good = np.ones((n_ant, n_chan, 2), np.complex128), np.ones((n_ant, n_chan, 2), bool)
    times = times_mjd_s(meta.times_jd)
    varying = np.ones((len(times), n_ant, 2), np.complex128)
    if delay is not None:
        found = _by_name(read_solutions(delay), meta)
        cycles = found.values[0] * 1e-9 * (meta.freq_hz[np.newaxis, :, np.newaxis] - found.freq_hz[0])
        steady *= np.exp(2j * np.pi * cycles)
        good &= ~found.flags[0]
    if bandpass is not None:
        spectrum, spectrum_good = _on_channels(_by_name(read_solutions(bandpass), meta), meta)
        steady *= spectrum
        good &= spectrum_good
    if gain is not None:
        varying, varying_good = _in_time(_by_name(read_solutions(gain), meta), times)
        good &= varying_good[:, np.newaxis, :]
    return Gains(np.where(good, steady, 1.0), good, times, varying)


def phases_in_time(table: Path, meta: MsMeta) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Phases of a gain table at the times of a set.

    Returns
    -------
    phases : (nt, nant, 2)
        Of unit modulus; 1 where there is no solution.
    good : (nant, 2)
        Where there is one at any time.
    """
    varying, good = _in_time(_by_name(read_solutions(table), meta), times_mjd_s(meta.times_jd))
    size = np.abs(varying)
    return np.divide(varying, size, out=np.ones_like(varying), where=size > 0), good


def choose_tables(candidates: Sequence[Path]) -> Path:
    """Return the first candidate whose verdict is ok.

    Parameters
    ----------
    candidates
        Directories with status.json, best first.

    Raises
    ------
    Rejected
        With every candidate's reason, or because there is none.
    """
    reasons = []
    for candidate in candidates:
        status = read_json(candidate / STATUS)
        if status["status"] == "ok":
            return candidate
        reasons.append(f"{candidate.name}: {status['reason']}")
    if not reasons:
        raise Rejected("no calibrator in range: no transit within calibration.valid_hours is bright enough")
    raise Rejected("no good caltable: " + "; ".join(reasons))


def _by_name(solutions: Solutions, meta: MsMeta) -> Solutions:
    """Bring solutions to the antennas of `meta`; flagged where the table does not know one."""
    place = {name: k for k, name in enumerate(solutions.antenna_names)}
    known = np.array([name in place for name in meta.antenna_names])
    index = np.array([place.get(name, 0) for name in meta.antenna_names])
    flags = solutions.flags[:, index] | ~known[np.newaxis, :, np.newaxis, np.newaxis]
    return Solutions(
        list(meta.antenna_names),
        solutions.times_mjd_s,
        solutions.freq_hz,
        solutions.values[:, index],
        flags,
        solutions.snr[:, index],
    )


def _on_channels(bandpass: Solutions, meta: MsMeta) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Bandpass on the channels of `meta`, (nant, nchan, 2), and where it is good."""
    values, good = bandpass.values[0], ~bandpass.flags[0]
    freq = bandpass.freq_hz
    if freq.shape == meta.freq_hz.shape and np.allclose(freq, meta.freq_hz, rtol=0, atol=1.0):
        return np.where(good, values, 1.0), good
    left = np.clip(np.searchsorted(freq, meta.freq_hz, side="right") - 1, 0, max(0, len(freq) - 2))
    right = np.minimum(left + 1, len(freq) - 1)
    step = np.where(right > left, freq[right] - freq[left], 1.0)
    part = (meta.freq_hz - freq[left]) / step
    inside = (part > -1e-6) & (part < 1 + 1e-6)
    part = part[:, np.newaxis]
    # A channel that falls on a solution needs that one alone.
    needed = (good[:, left] | (part > 1 - 1e-6)) & (good[:, right] | (part < 1e-6)) & inside[:, np.newaxis]
    return np.where(needed, (1 - part) * values[:, left] + part * values[:, right], 1.0), needed


def _in_time(gain: Solutions, times: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Gains at `times`, (nt, nant, 2), and which antennas have any, (nant, 2)."""
    n_ant = gain.values.shape[1]
    varying = np.ones((len(times), n_ant, 2), np.complex128)
    good = ~gain.flags[:, :, 0]
    for antenna in range(n_ant):
        for pol in range(2):
            use = good[:, antenna, pol]
            if use.any():
                value = gain.values[use, antenna, 0, pol]
                at = gain.times_mjd_s[use]
                varying[:, antenna, pol] = np.interp(times, at, value.real) + 1j * np.interp(
                    times, at, value.imag
                )
    return varying, np.asarray(good.any(axis=0))
