"""On how many channels a bandpass is solved, and how it comes back to all of them.

Amplitudes solved from noisy data are too large: of N antennas with S/N ratio s each (complex), the power of the gains
by 1/s², and calibrated fluxes too small by as much. At 244 kHz a calibrator of 1 Jy has s = 7 with 28 antennas: 2 %. A
selection by S/N makes it worse, as it prefers large amplitudes. So channels are averaged until s is large enough,
within subbands, between which gains may step, and after what is known has been taken out: delays, and the amplitude
that the noise of each antenna has over the band (`contimg.ms.noise`), since it passes through the same electronics.
What is left is smooth, and is interpolated linearly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.calibrate.average import CalibratorData
from contimg.ms.meta import MsMeta

MAX_FLUX_BIAS = 0.01
"""Expected; a solution averaged over a subband has as much with a S/N ratio of 14."""


def antenna_snr(data: CalibratorData) -> float:
    """Expected S/N ratio of one antenna's complex gain in one channel and polarisation over the transit.

    A baseline's over both polarisations and all channels is measured, of the real part: its complex noise is twice
    that in power, and an antenna has as many baselines as the median one.
    """
    meta = data.meta
    number = np.bincount(np.r_[meta.ant1[data.long], meta.ant2[data.long]], minlength=1)
    baselines = float(np.median(number[number > 0])) if number.any() else 0.0
    channels = len(meta.freq_hz) * len(meta.correlations)
    return data.snr * math.sqrt(baselines / (2.0 * channels))


def sefd_jy(data: CalibratorData, meta: MsMeta, apparent_jy: float) -> float:
    """SEFD that the calibrator's flux gives a typical antenna: S √(2 B t n) / (S/N) of a baseline; NaN without signal.

    B and t are those of the transit, n the polarisations, less what is flagged. A flux in the list that is too high
    makes it too high by the same factor, whatever the gains are: between two transits it tells a wrong flux from gains
    that changed.

    Parameters
    ----------
    data
        Averaged: its S/N ratio, measured against the weights.
    meta
        Of the set it is from: all integrations and channels.
    apparent_jy
        The calibrator's flux times beam, mean of the transit.
    """
    used = float(data.unflagged[data.unflagged > 0].mean()) if data.unflagged.any() else 0.0
    band_hz = meta.channel_width_hz * len(meta.freq_hz)
    samples = 2.0 * band_hz * float(meta.integration_s.sum()) * len(data.meta.correlations) * used
    return apparent_jy * math.sqrt(samples) / data.snr if data.snr > 0 else math.nan


def choose_width(snr: float, wanted: float, subbands: Sequence[slice]) -> int:
    """How many channels to average: the fewest that reach `wanted`, a divisor of every subband; at most a subband."""
    whole = math.gcd(*(span.stop - span.start for span in subbands))
    widths = [width for width in range(1, whole + 1) if whole % width == 0]
    return next((width for width in widths if snr * math.sqrt(width) >= wanted), whole)


def flux_bias(snr: float) -> float:
    """By what part fluxes are too small with solutions of this S/N ratio: 1/s² by them, and by weights that follow."""
    return 2.0 / snr**2 if snr > 0 else math.inf


def too_noisy(bias: float) -> str | None:
    """Why a transit of that bias is not good; None: it is small enough."""
    if bias <= MAX_FLUX_BIAS:
        return None
    return (
        f"the calibrator is too faint: noisy amplitudes would make fluxes {100 * bias:.1f} % too small, even on "
        f"channels averaged over a subband (limit {100 * MAX_FLUX_BIAS:.0f} %)"
    )


def interpolate(
    values: NDArray[np.complex128], good: NDArray[np.bool_], width: int, subbands: Sequence[slice]
) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Bring gains from averaged channels to all: lines within each subband, continued to its edges.

    Parameters
    ----------
    values, good : (n, ncoarse, 2)
    width
        Channels in each of the averaged ones.
    subbands
        Of the channels wanted.

    Returns
    -------
    values, good : (n, nchan, 2)
        A subband without a good solution has none; gaps between good ones are filled.
    """
    n, n_coarse, _ = values.shape
    fine, fine_good = np.ones((n, n_coarse * width, 2), complex), np.zeros((n, n_coarse * width, 2), bool)
    for span in subbands:
        coarse = slice(span.start // width, span.stop // width)
        centre = (np.arange(coarse.start, coarse.stop) + 0.5) * width - 0.5
        place = np.arange(span.start, span.stop)
        for k, pol in np.argwhere(good[:, coarse].any(axis=1)):
            use = good[k, coarse, pol]
            x, y = centre[use], values[k, coarse, pol][use]
            fine[k, span, pol] = _lines(place, x, y)
            fine_good[k, span, pol] = True
    return fine, fine_good


def _lines(
    place: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Straight lines through (x, y), the outermost ones continued; a constant through one point."""
    if len(x) == 1:
        return np.full(len(place), y[0])
    left = np.clip(np.searchsorted(x, place) - 1, 0, len(x) - 2)
    part = (place - x[left]) / (x[left + 1] - x[left])
    return np.asarray((1.0 - part) * y[left] + part * y[left + 1])


def expand(
    table: Path,
    width: int,
    subbands: Sequence[slice],
    freq_hz: NDArray[np.float64],
    known: NDArray[np.float64],
) -> None:
    """Bring a bandpass table from averaged channels to all, times what had been taken out, in place.

    Parameters
    ----------
    table
        Of CASA's bandpass, one spectral window.
    width, subbands
        As of `interpolate`.
    freq_hz : (nchan,)
        Of all channels.
    known : (nant, nchan, 2)
        Amplitudes that had been taken out, by antenna.
    """
    with tables.table(str(table), readonly=False, ack=False) as main:
        antennas = main.getcol("ANTENNA1")
        values, flags = main.getcol("CPARAM"), main.getcol("FLAG")
        fine, good = interpolate(values, ~flags, width, subbands)
        fine *= known[antennas]
        spread = {
            name: np.repeat(main.getcol(name), width, axis=1)
            for name in ("PARAMERR", "SNR", "WEIGHT")
            if name in main.colnames() and main.iscelldefined(name, 0)
        }
        for row in range(main.nrows()):
            main.putcell("CPARAM", row, np.where(good[row], fine[row], 1.0).astype(np.complex64))
            main.putcell("FLAG", row, ~good[row])
            for name, column in spread.items():
                main.putcell(name, row, column[row])
    step = float(np.median(np.diff(freq_hz)))
    with tables.table(f"{table}/SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.putcell("NUM_CHAN", 0, len(freq_hz))
        window.putcell("CHAN_FREQ", 0, np.asarray(freq_hz, dtype=np.float64))
        for name in ("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
            window.putcell(name, 0, np.full(len(freq_hz), step))


def flag_weak(table: Path, least: float) -> int:
    """Flag antennas and polarisations whose median S/N ratio over a bandpass is below `least`; returns how many."""
    with tables.table(str(table), readonly=False, ack=False) as main:
        flags, snr = main.getcol("FLAG"), main.getcol("SNR")
        known = np.where(flags, np.nan, snr)
        some = ~flags.all(axis=1)
        median = np.zeros(some.shape)
        for row, pol in np.argwhere(some):
            median[row, pol] = np.nanmedian(known[row, :, pol])
        weak = some & (median < least)
        if weak.any():
            main.putcol("FLAG", flags | weak[:, np.newaxis, :])
    return int(weak.sum())
