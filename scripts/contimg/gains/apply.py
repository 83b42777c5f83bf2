"""Caltables applied to a tile, channels averaged, in one pass.

The corrected visibility is V / (g₁ g₂*), the gains as `contimg.gains.tables` evaluates them. Its noise grows by
1/|g₁ g₂|, so its weight is the raw weight times |g₁ g₂|²: an antenna that hears little counts little. (CASA
does the same with calwt=True, from the table's gains.) The raw weight of a channel is WEIGHT over the two antennas'
noise there (`contimg.ms.noise`): receiver noise has the band's shape as the sky has, and calibrated it is flat. The
average over channels is the weighted mean

    D = Σ w |g|² V / g / Σ w |g|² = Σ w V g* / Σ w |g|²,   g = g₁ g₂*,

and its weight the sum. What is flagged, has no weight or has no good gain takes no part; where nothing is
left, the result is flagged.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.core.errors import InputError, Rejected
from contimg.gains.noise import PolarisationDifferences, sefd_jy, uniformity
from contimg.gains.tables import Gains, read_gains
from contimg.ms.meta import MsMeta
from contimg.ms.noise import polarisations_of, read_noise_shape
from contimg.ms.sets import MsWriter, read_meta

Array = NDArray[Any]


def apply_tile(
    ms: Path, cal_dir: Path, out_ms: Path, *, freq_average: int = 1, threads: int = 1
) -> dict[str, Any]:
    """Write a calibrated, channel-averaged copy of a tile's Measurement Set.

    Parameters
    ----------
    ms
        Phased, flagged, uncalibrated; not changed.
    cal_dir
        Holds the caltables K, BP and G.
    out_ms, freq_average, threads
        As for `apply_gains`.

    Returns
    -------
    dict
        As of `apply_gains`.

    Raises
    ------
    InputError
        If the set or a table cannot be read, or `freq_average` does not divide the channels.
    Rejected
        If nothing is left unflagged.
    """
    gains = read_gains(cal_dir, read_meta(ms))
    return apply_gains(ms, gains, out_ms, freq_average=freq_average, threads=threads, origin=cal_dir.name)


def apply_gains(
    ms: Path, gains: Gains, out_ms: Path, *, freq_average: int = 1, threads: int = 1, origin: str
) -> dict[str, Any]:
    """Write a copy of a Measurement Set, divided by gains and averaged over channels.

    Parameters
    ----------
    ms
        Not changed.
    gains
        On the antennas, channels and times of the set.
    out_ms
        Where to write; nothing may be there. DATA calibrated, WEIGHT_SPECTRUM per averaged channel, WEIGHT
        its mean over the channels that are not flagged.
    freq_average
        Channels to average into one; a divisor of their number.
    threads
        For the compiled loop.
    origin
        What the gains are called where nothing is left.

    Returns
    -------
    dict
        `flag_fraction_before` and `flag_fraction` (of cross-correlations, parallel hands),
        `antennas_without_gain` (names), `freq_average`, `n_channels`, `noise_over_weights` (see
        `contimg.gains.noise`; None where it cannot be known), `sefd_jy` (of a typical antenna, from the mean
        weight), `weight_uniformity` (over integrations and channels) and `sum_weight`, an array (nt,
        nchan_out): the weight of the unflagged cross-correlations, parallel hands, by integration and
        channel.

    Raises
    ------
    InputError
        If the set cannot be read, or `freq_average` does not divide the channels.
    Rejected
        If nothing is left unflagged.
    """
    meta = read_meta(ms)
    n_times, n_bl, n_chan, n_corr = meta.shape
    if freq_average < 1 or n_chan % freq_average:
        raise InputError(f"{ms}: freq_average must divide the {n_chan} channels, found {freq_average}")
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    averaged = averaged_meta(meta, freq_average)
    pol1, pol2 = polarisations_of(meta)
    quiet = 1.0 / read_noise_shape(ms, meta)
    parallel = np.flatnonzero(pol1 == pol2)
    cross = meta.ant1 != meta.ant2
    data, flag = np.empty((n_bl, n_chan, n_corr), np.complex64), np.empty((n_bl, n_chan, n_corr), bool)
    weight = np.empty((n_bl, n_corr), np.float32)
    shape = (n_bl, n_chan // freq_average, n_corr)
    out, out_weight, out_flag = (
        np.empty(shape, np.complex64),
        np.empty(shape, np.float32),
        np.empty(shape, bool),
    )
    counts = np.empty((n_bl, 2), np.int64)
    sum_weight = np.zeros((n_times, shape[1]))
    pols = PolarisationDifferences(np.flatnonzero(cross), parallel)
    flagged_before = flagged = 0
    with (
        tables.table(str(ms), ack=False) as table,
        MsWriter(out_ms, averaged, weight_spectrum=True) as writer,
    ):
        for i in range(n_times):
            for column, array in (("DATA", data), ("FLAG", flag), ("WEIGHT", weight)):
                table.getcolnp(column, array, i * n_bl, n_bl)
            _calibrate(
                data, flag, weight, quiet, meta.ant1, meta.ant2, gains.at(i), gains.good, pol1, pol2, freq_average,
                out, out_weight, out_flag, counts,
            )  # fmt: skip
            flagged_before += int(counts[cross, 0].sum())
            flagged += int(counts[cross, 1].sum())
            uvw = table.getcol("UVW", i * n_bl, n_bl)
            used = np.maximum((~out_flag).sum(axis=1), 1)
            row_weight = (out_weight.sum(axis=1, dtype=np.float64) / used).astype(np.float32)
            writer.write_time(i, uvw, out, out_flag, row_weight, out_weight)
            sum_weight[i] = out_weight[cross][..., parallel].sum(axis=(0, 2), dtype=np.float64)
            pols.add(out, out_weight, out_flag)
    total = n_times * int(cross.sum()) * len(parallel)
    if not sum_weight.any():
        raise Rejected(
            f"nothing left to image: all data are flagged after applying the caltables of {origin}"
        )
    silent = np.asarray(~gains.good.any(axis=(1, 2)))
    silent &= np.bincount(np.r_[meta.ant1, meta.ant2], minlength=len(silent)) > 0
    return {
        "flag_fraction_before": flagged_before / (total * n_chan),
        "flag_fraction": flagged / (total * shape[1]),
        "antennas_without_gain": [
            name for name, none in zip(meta.antenna_names, silent, strict=True) if none
        ],
        "freq_average": freq_average,
        "n_channels": shape[1],
        "noise_over_weights": pols.ratio(),
        "sefd_jy": sefd_jy(
            float(sum_weight.sum()),
            total * shape[1] - flagged,
            averaged.channel_width_hz,
            float(np.median(meta.integration_s)),
        ),
        "weight_uniformity": uniformity(sum_weight),
        "sum_weight": sum_weight,
    }


def averaged_meta(meta: MsMeta, freq_average: int) -> MsMeta:
    """Metadata of a set whose channels are averaged by `freq_average`."""
    return replace(
        meta,
        freq_hz=meta.freq_hz.reshape(-1, freq_average).mean(axis=1),
        channel_width_hz=meta.channel_width_hz * freq_average,
    )


@numba.njit(parallel=True, cache=True, nogil=True)
def _calibrate(
    data: Array,
    flag: Array,
    weight: Array,
    quiet: Array,
    ant1: Array,
    ant2: Array,
    gain: Array,
    good: Array,
    pol1: Array,
    pol2: Array,
    step: int,
    out: Array,
    out_weight: Array,
    out_flag: Array,
    counts: Array,
) -> None:  # pragma: no cover
    """Calibrate and average one integration into `out`, `out_weight` and `out_flag`.

    `counts` (nbl, 2) are visibilities of the parallel hands that are flagged, before and after.
    """
    for b in numba.prange(data.shape[0]):
        one, two = ant1[b], ant2[b]
        before = 0
        after = 0
        for p in range(data.shape[2]):
            h1, h2, usual = pol1[p], pol2[p], weight[b, p]
            for c in range(out.shape[1]):
                total = np.complex64(0)
                norm = np.float32(0)
                for k in range(c * step, (c + 1) * step):
                    before += h1 == h2 and flag[b, k, p]
                    if flag[b, k, p] or not usual > 0 or not good[one, k, h1] or not good[two, k, h2]:
                        continue
                    w = usual * quiet[one, k, h1] * quiet[two, k, h2]
                    g = gain[one, k, h1] * np.conj(gain[two, k, h2])
                    total += w * data[b, k, p] * np.conj(g)
                    norm += w * (g.real * g.real + g.imag * g.imag)
                out_flag[b, c, p] = not norm > 0
                after += h1 == h2 and not norm > 0
                out_weight[b, c, p] = norm
                out[b, c, p] = total / norm if norm > 0 else np.complex64(0)
        counts[b, 0], counts[b, 1] = before, after
