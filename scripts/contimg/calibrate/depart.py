"""Solutions that depart from their neighbours: channels of a bandpass, antennas of an array, one transit from another.

A signal-to-noise ratio says how well a number is known, not that it is a gain. Three things are held against what lies
beside them, each polarisation by itself:

- a channel of B against those beside it, in units of the antenna's own robust scatter;
- an antenna's amplitude against the median antenna, and how its phases scatter within the transit against how the
  others' do: the gain of an antenna whose phase swings in minutes is a mean that is true at no time;
- an antenna's amplitude against what other good transits of the strip found, all antennas together being free to
  differ by the calibrators' flux scales.

An antenna found in the data of its own transit is flagged there and the rest is solved again without it, since its
baselines are in everybody's solutions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.calibrate.average import CalibratorData
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.verdict import calibrated
from contimg.core.casa import NAME_PREFIX
from contimg.core.constants import MAD_TO_SIGMA
from contimg.core.robust import nanmedian
from contimg.gains.between import filled
from contimg.gains.tables import Gains, Solutions, read_gains, read_solutions
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet

WINDOW_CHANNELS = 17
"""Of the running median: a third of a subband of 48. A run of bad ones may be half as long."""
LEAST_CHANNEL = 0.1
"""A channel nearer than this part to its neighbours stays: ripple of 20 % in 128 channels makes 5 % in 5 channels."""
ROLL_OFF = 0.88
"""Where the median antenna falls below this part of what it has half a window further in, the band rolls off: by more
than 1.5 % a channel, so that a channel's neighbours do not say what it should be."""
LEAST_ABOVE_OTHERS = 3.0
"""An antenna is unsteady only if it is this much worse than the median one: a bad night is no bad antenna."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Departed:
    """Antennas that depart from the others within a transit.

    Attributes
    ----------
    bad : (nant, 2), bool
        By polarisation.
    reasons : dict
        Antenna's own name: why, with the numbers.
    """

    bad: Flags
    reasons: dict[str, str]


def antennas(data: CalibratorData, cal_dir: Path, options: CalibrationOptions) -> Departed:
    """Find antennas whose amplitude, or scatter of phases, departs from the others'.

    Parameters
    ----------
    data
        The averaged calibrator, and
    cal_dir
        the tables K, BP and G solved on it, which still carry its names of the antennas.
    options
        `max_antenna_departure`, `max_unsteady_deg`.
    """
    gains = read_gains(cal_dir, data.meta)
    amplitude = amplitudes(gains)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = amplitude / np.nanmedian(amplitude, axis=0)
        wild = np.abs(np.log(off)) > np.log(options.max_antenna_departure)
    scatter = phase_scatter_deg(calibrated(data, gains).by_baseline, data.meta)
    usual = np.nanmedian(scatter, axis=0) if np.isfinite(scatter).any() else np.zeros(2)
    with np.errstate(invalid="ignore"):
        unsteady = (scatter > options.max_unsteady_deg) & (scatter > LEAST_ABOVE_OTHERS * usual)
    reasons = {}
    for k in np.flatnonzero((wild | unsteady).any(axis=1)):
        said = [f"amplitude {off[k, p]:.2g} of the median antenna's" for p in np.flatnonzero(wild[k])]
        said += [
            f"phases scatter by {scatter[k, p]:.0f} deg, the median antenna's by {usual[p]:.0f}"
            for p in np.flatnonzero(unsteady[k])
        ]
        reasons[data.meta.antenna_names[k].removeprefix(NAME_PREFIX)] = "; ".join(said)
    return Departed(wild | unsteady, reasons)


def amplitudes(gains: Gains) -> NDArray[np.float64]:
    """Median amplitude over the good channels at the first time, (nant, 2); NaN without."""
    size = np.where(gains.good, np.abs(gains.at(0)), np.nan).astype(np.float64)
    return nanmedian(size, axis=1)


def phase_scatter_deg(mean: NDArray[np.complex128], meta: MsMeta) -> NDArray[np.float64]:
    """Rms phase of calibrated baselines, its median over an antenna's baselines, (nant, 2) in degrees.

    Parameters
    ----------
    mean : (nt, nbl, 2)
        Calibrated, averaged over the band; NaN without data. Of a point source at the phase centre: phase 0. The
        median leaves an antenna alone whose baselines to a few sick ones are bad.
    """
    square = np.where(np.isfinite(mean), np.angle(mean), np.nan) ** 2
    known = np.isfinite(square)
    rms = np.sqrt(
        np.divide(
            np.nansum(square, axis=0),
            known.sum(axis=0),
            out=np.full(square.shape[1:], np.nan),
            where=known.any(axis=0),
        )
    )
    found = np.full((len(meta.antenna_names), 2), np.nan)
    for k in range(len(found)):
        found[k] = nanmedian(rms[(meta.ant1 == k) | (meta.ant2 == k)], axis=0)
    return np.degrees(found)


def flag_antennas(data: CalibratorData, bad: Flags) -> CalibratorData:
    """Flag the polarisations of antennas in the averaged set, in place: it is private to its transit."""
    PrivateSet(data.path).flag_hands(bad)
    return replace(data, unflagged=data.unflagged * (1 - bad.mean(axis=1)))


def flag_channels(table: Path, max_sigma: float) -> int:
    """Flag the channels of a bandpass table that depart from their neighbours; returns how many."""
    bad = channels(read_solutions(table), max_sigma)
    if bad.any():
        with tables.table(str(table), readonly=False, ack=False) as solutions:
            flags = solutions.getcol("FLAG")
            rows = solutions.getcol("ANTENNA1")
            solutions.putcol("FLAG", flags | bad[rows][..., : flags.shape[2]])
    return int(bad.sum())


def channels(bandpass: Solutions, max_sigma: float) -> Flags:
    """Channels that depart from their neighbours, of each antenna and polarisation, (nant, nchan, 2).

    Held against the median of the 8 channels below, of the 8 above and of the 17 round it (fewer where the band has
    few), real and imaginary part apart. From all three it must be off by more than `max_sigma` times the robust scatter
    of the antenna's channels (from second differences, which a slope does not enter), and by more than
    `LEAST_CHANNEL`: a channel beside a step between subbands agrees with one side. Beyond its edges the band is
    continued by reflection in its outermost channels, so that a slope is none; these themselves are not judged, nor are
    those where the whole array rolls off.
    """
    values, good = bandpass.values[0].astype(np.complex128), ~bandpass.flags[0]
    n_chan = values.shape[1]
    half = max(4, min(WINDOW_CHANNELS // 2, n_chan // 48))
    if n_chan < 4 * half:
        return np.zeros(good.shape, bool)
    whole = filled(values, good)
    bottom = 2 * whole[:, :1] - whole[:, half:0:-1]
    top = 2 * whole[:, -1:] - whole[:, -2 : -half - 2 : -1]
    wide = np.concatenate([bottom, whole, top], axis=1)
    side, centre = _running_median(wide, half), _running_median(wide, 2 * half + 1)
    bend = whole[:, 1:-1] - 0.5 * (whole[:, :-2] + whole[:, 2:])
    known = (good[:, 1:-1] & good[:, :-2] & good[:, 2:])[..., np.newaxis]
    parts = np.where(known, np.stack([bend.real, bend.imag], axis=-1), np.nan)
    sigma = MAD_TO_SIGMA * nanmedian(np.abs(parts), axis=(1, 3))[:, np.newaxis, :] / np.sqrt(1.5)
    limit = np.maximum(max_sigma * sigma, LEAST_CHANNEL * np.abs(centre))
    distance = np.min(
        [np.abs(whole - median) for median in (centre, side[:, :n_chan], side[:, half + 1 :])], axis=0
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(good & (distance > limit) & _level(whole, half)[:, np.newaxis])


def _level(values: NDArray[np.complex128], half: int) -> Flags:
    """Which channels lie inside the roll-off at either end of the band, (nchan,)."""
    size = np.abs(values)
    usual = np.median(size, axis=1, keepdims=True)
    shape = np.median(
        (size / np.where(usual > 0, usual, np.inf)).swapaxes(0, 1).reshape(size.shape[1], -1), axis=1
    )
    level = np.ones(len(shape), bool)
    for side, inside in ((shape, level), (shape[::-1], level[::-1])):
        steep = side[:-half] < ROLL_OFF * side[half:]
        inside[: int(np.argmin(steep)) if not steep.all() else len(steep)] = False
    return level


def _running_median(values: NDArray[np.complex128], length: int) -> NDArray[np.complex128]:
    """Median of `length` channels from each on, parts apart, (nant, nchan - length + 1, 2)."""
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=1)
    return np.asarray(np.median(windows.real, axis=-1) + 1j * np.median(windows.imag, axis=-1))
