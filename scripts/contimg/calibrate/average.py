"""A calibrator's data divided by its model and averaged in time: all that the solutions need, in a small set.

For visibilities V of weight w (1/σ²) and model m, the unit-source visibility of least variance in a bin is

    D = Σ w V m* / Σ w |m|²,   with weight Σ w |m|²

(the maximum-likelihood estimate of the antenna gains' product, constant over the bin; where the model is
small the data count little, and nothing is ever divided by a small number). D is what CASA expects of a
point source of 1 Jy at the phase centre, which is its model where a Measurement Set has no MODEL_DATA.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.calibrate.model import DriftModel
from contimg.core.casa import NAME_PREFIX
from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.ms.meta import PARALLEL_HANDS, MsMeta
from contimg.ms.noise import (
    NOISE_KEYWORD,
    SUBBANDS_KEYWORD,
    polarisations_of,
    read_noise_shape,
    read_subbands,
)
from contimg.ms.sets import MsWriter, read_meta
from contimg.telescope.geometry import antenna_uvw, location

Array = NDArray[Any]


@dataclass(frozen=True)
class CalibratorData:
    """The averaged data, and what they say about the antennas before anything is solved.

    Attributes
    ----------
    path
        The small Measurement Set.
    meta
        Its metadata; antenna names carry `NAME_PREFIX`.
    long : (nbl,)
        Which baselines are longer than the shortest that enters the solutions.
    unflagged : (nant,)
        Fraction of an antenna's visibilities on its long baselines that are not flagged.
    amplitude : (nant,)
        Median over an antenna's long baselines of the coherent amplitude, in units of the model (the root of the
        mean product of neighbouring channels, which noise does not bias); NaN without data.
    snr : float
        Signal-to-noise ratio of a baseline's mean over the transit, median over long baselines.
    """

    path: Path
    meta: MsMeta
    long: NDArray[np.bool_]
    unflagged: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    snr: float


def time_bins(integration_s: NDArray[np.float64], time_average_s: float) -> list[slice]:
    """Split the integrations into runs of equal length, as near `time_average_s` as whole numbers allow.

    0, or less than an integration, leaves every integration by itself.
    """
    n_times = len(integration_s)
    length = max(1, round(time_average_s / float(np.median(integration_s))))
    n_bins = max(1, round(n_times / length))
    edges = np.round(np.linspace(0, n_times, n_bins + 1)).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def long_baselines(meta: MsMeta, uvmin_klambda: float) -> NDArray[np.bool_]:
    """Which baselines are cross-correlations longer than `uvmin_klambda` at mid-time and mid-band, (nbl,)."""
    place = location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    middle = meta.times_jd[meta.n_times // 2]
    uvw = antenna_uvw(meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, middle, place)[0]
    length_m = np.hypot(*(uvw[meta.ant2, :2] - uvw[meta.ant1, :2]).T)
    klambda = length_m * float(np.mean(meta.freq_hz)) / SPEED_OF_LIGHT_M_S / 1e3
    return np.asarray((meta.ant1 != meta.ant2) & (klambda > uvmin_klambda))


def average(
    ms: Path,
    out_ms: Path,
    model: DriftModel,
    *,
    uvmin_klambda: float,
    time_average_s: float,
    threads: int,
    least: float = 0.0,
) -> CalibratorData:
    """Divide a calibrator's data by its model and average them in time, in one pass.

    Parameters
    ----------
    ms
        Phased to the calibrator, flagged.
    out_ms
        Where the small set is written.
    model
        Of that transit.
    uvmin_klambda
        Shorter baselines are averaged too, but do not count in what is said of the antennas.
    time_average_s
        Length of the bins; 0 does not average.
    threads
        For the compiled loop.
    least
        Where the model's power is below this part of its mean over the channels of a baseline, nothing is kept: the
        solvers give all channels of a baseline one weight, and sources that cancel leave noise alone.

    Returns
    -------
    CalibratorData
    """
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    meta = read_meta(ms)
    keep = np.flatnonzero(meta.ant1 != meta.ant2)
    long = long_baselines(meta, uvmin_klambda)[keep]
    pols = np.array([k for k, c in enumerate(meta.correlations) if c in PARALLEL_HANDS])
    bins = time_bins(meta.integration_s, time_average_s)
    small = _small_meta(meta, keep, pols, bins)
    n_bl, n_chan, n_pol = small.shape[1:]
    count = np.zeros(n_bl, dtype=np.int64)
    statistics = np.zeros((n_bl, 4))
    noise = read_noise_shape(ms, meta)
    pol = polarisations_of(meta)[0][pols]
    quiet = (1.0 / (noise[meta.ant1] * noise[meta.ant2]))[..., pol]
    place = location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    uvw = antenna_uvw(meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, small.times_jd, place)
    shape = meta.shape[1:]
    data, flag = np.empty(shape, np.complex64), np.empty(shape, bool)
    weight = np.empty((shape[0], shape[2]), np.float32)
    total, norm = np.empty((n_bl, n_chan, n_pol), np.complex64), np.empty((n_bl, n_chan, n_pol), np.float32)
    with tables.table(str(ms), ack=False) as table, MsWriter(out_ms, small) as writer:
        for number, span in enumerate(bins):
            total[:], norm[:] = 0, 0
            for i in range(span.start, span.stop):
                for column, array in (("DATA", data), ("FLAG", flag), ("WEIGHT", weight)):
                    table.getcolnp(column, array, i * meta.n_baselines, meta.n_baselines)
                _accumulate(keep, pols, data, flag, weight, quiet, model.predict(i), total, norm, count)
            if least > 0:
                norm[norm < least * norm.mean(axis=1, keepdims=True)] = 0
            bad = _finish(total, norm, statistics)
            row_uvw = uvw[number, small.ant1] - uvw[number, small.ant2]
            writer.write_time(number, row_uvw, total, bad, _row_weight(norm / quiet[keep], bad))
        writer.write_keyword(NOISE_KEYWORD, noise)
        edges = [span.start for span in read_subbands(ms, meta)]
        writer.write_keyword(SUBBANDS_KEYWORD, np.array([*edges, len(meta.freq_hz)], dtype=np.int32))
    return _describe(out_ms, small, long, count / (meta.n_times * n_chan * n_pol), statistics)


def collapse(
    data: CalibratorData,
    phases: NDArray[np.complex128],
    good: NDArray[np.bool_],
    out_ms: Path,
    threads: int,
    *,
    known: NDArray[np.complex128] | None = None,
    width: int = 1,
) -> None:
    """Take solved phases out of averaged data and average the bins into one: what a bandpass is solved on.

    Parameters
    ----------
    data
        The averaged data; their set is not changed.
    phases : (nt, nant, 2)
        Gain of unit modulus of each bin, antenna and polarisation.
    good : (nant, 2)
        Where there is one.
    out_ms
        Where the set of one time is written.
    threads
        For the compiled loop.
    known : (nant, nchan, 2), optional
        What is known of the gains over the band: taken out as well.
    width
        Channels averaged into one, a divisor of their number. With `known` of the noise's shape they are equally noisy.
    """
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    meta = data.meta
    back = (
        None if known is None else (1.0 / (known[meta.ant1] * known[meta.ant2].conj())).astype(np.complex64)
    )
    n_bl = meta.n_baselines
    total, norm = np.zeros(meta.shape[1:], np.complex64), np.zeros(meta.shape[1:], np.float32)
    visibility, flag = np.empty(meta.shape[1:], np.complex64), np.empty(meta.shape[1:], bool)
    usable = good[meta.ant1] & good[meta.ant2]
    one = replace(
        meta,
        times_jd=meta.times_jd.mean(keepdims=True),
        integration_s=meta.integration_s.sum(keepdims=True),
        freq_hz=meta.freq_hz.reshape(-1, width).mean(axis=1),
        channel_width_hz=meta.channel_width_hz * width,
    )
    with tables.table(str(data.path), ack=False) as table, MsWriter(out_ms, one) as writer:
        for i in range(meta.n_times):
            for column, array in (("DATA", visibility), ("FLAG", flag)):
                table.getcolnp(column, array, i * n_bl, n_bl)
            weight = np.where(usable, table.getcol("WEIGHT", i * n_bl, n_bl), 0).astype(np.float32)
            turn = (phases[i, meta.ant1] * phases[i, meta.ant2].conj()).astype(np.complex64)
            if back is not None:
                visibility *= back
            _add_turned(visibility, flag, weight, turn, total, norm)
        if width > 1:
            total, norm = (array.reshape(n_bl, -1, width, 2).sum(axis=2) for array in (total, norm))
        bad = _finish(total, norm, np.zeros((n_bl, 4)))
        uvw = table.getcol("UVW", meta.n_times // 2 * n_bl, n_bl)
        writer.write_time(0, uvw, total, bad, _row_weight(norm, bad))


def _row_weight(norm: NDArray[np.float32], bad: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean weight of a row's good channels: CASA's solvers were found to ignore WEIGHT_SPECTRUM."""
    return (norm.sum(axis=1, dtype=np.float64) / np.maximum((~bad).sum(axis=1), 1)).astype(np.float32)


def _small_meta(meta: MsMeta, keep: NDArray[np.int64], pols: NDArray[np.int64], bins: list[slice]) -> MsMeta:
    return replace(
        meta,
        times_jd=np.array([meta.times_jd[span].mean() for span in bins]),
        integration_s=np.array([meta.integration_s[span].sum() for span in bins]),
        antenna_names=[NAME_PREFIX + name for name in meta.antenna_names],
        ant1=meta.ant1[keep],
        ant2=meta.ant2[keep],
        correlations=tuple(meta.correlations[k] for k in pols),
    )


@numba.njit(parallel=True, cache=True, nogil=True)
def _accumulate(
    keep: Array,
    pols: Array,
    data: Array,
    flag: Array,
    weight: Array,
    quiet: Array,
    model: Array,
    total: Array,
    norm: Array,
    count: Array,
) -> None:  # pragma: no cover
    """Add w V m* to `total` and w |m|² to `norm` for the baselines kept; count what is not flagged."""
    for k in numba.prange(keep.size):
        b = keep[k]
        used = 0
        for c in range(data.shape[1]):
            m = model[b, c]
            power = m.real * m.real + m.imag * m.imag
            for p in range(pols.size):
                q = pols[p]
                w = weight[b, q] * quiet[b, c, p]
                if not flag[b, c, q] and w > 0:
                    total[k, c, p] += w * np.conj(m) * data[b, c, q]
                    norm[k, c, p] += w * power
                    used += 1
        count[k] += used


@numba.njit(parallel=True, cache=True, nogil=True)
def _add_turned(
    data: Array, flag: Array, weight: Array, turn: Array, total: Array, norm: Array
) -> None:  # pragma: no cover
    """Add w V turn* to `total` and w to `norm`; `turn` is (nbl, 2) and of unit modulus."""
    for b in numba.prange(data.shape[0]):
        for p in range(data.shape[2]):
            back = weight[b, p] * np.conj(turn[b, p])
            for c in range(data.shape[1]):
                if not flag[b, c, p]:
                    total[b, c, p] += back * data[b, c, p]
                    norm[b, c, p] += weight[b, p]


@numba.njit(parallel=True, cache=True, nogil=True)
def _finish(total: Array, norm: Array, statistics: Array) -> Array:  # pragma: no cover
    """Turn sums into means in place; return the flags; add up what tells a baseline's coherent amplitude.

    `statistics` per baseline: real and imaginary part of Σ D(c + 1) D(c)*, number of such pairs, Σ w Re D(c + 1) D(c)*.
    """
    bad = np.empty(total.shape, np.bool_)
    for k in numba.prange(total.shape[0]):
        for p in range(total.shape[2]):
            for c in range(total.shape[1]):
                bad[k, c, p] = not norm[k, c, p] > 0
                if bad[k, c, p]:
                    total[k, c, p] = 0
                    norm[k, c, p] = 0
                else:
                    total[k, c, p] /= norm[k, c, p]
                    if c > 0 and not bad[k, c - 1, p]:
                        pair = total[k, c, p] * np.conj(total[k, c - 1, p])
                        statistics[k, 0] += pair.real
                        statistics[k, 1] += pair.imag
                        statistics[k, 2] += 1
                        statistics[k, 3] += pair.real * np.sqrt(norm[k, c, p] * norm[k, c - 1, p])
    return bad


def _describe(
    path: Path,
    meta: MsMeta,
    long: NDArray[np.bool_],
    unflagged: NDArray[np.float64],
    statistics: NDArray[np.float64],
) -> CalibratorData:
    """Sum up per-baseline statistics by antenna."""
    n_ant = len(meta.antenna_names)
    pairs = np.where(long, statistics[:, 2], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        amplitude = np.sqrt(np.hypot(statistics[:, 0], statistics[:, 1]) / pairs)
        # Only the real part here: noise averages to nothing, and a channel is narrow against any delay.
        snr = np.sqrt(np.maximum(statistics[:, 3], 0.0))
    by_antenna, fraction = np.full(n_ant, np.nan), np.zeros(n_ant)
    for antenna in range(n_ant):
        mine = long & ((meta.ant1 == antenna) | (meta.ant2 == antenna))
        if mine.any():
            fraction[antenna] = unflagged[mine].mean()
        usable = mine & (pairs > 0)
        if usable.any():
            by_antenna[antenna] = np.median(amplitude[usable])
    usable = pairs > 0
    return CalibratorData(
        path, meta, long, fraction, by_antenna, float(np.median(snr[usable])) if usable.any() else 0.0
    )
