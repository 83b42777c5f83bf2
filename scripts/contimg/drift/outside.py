"""The Sun and the A-team in far sidelobes of the dishes: found, fitted and subtracted.

Each source above the horizon gets a free complex gain a (Jy, apparent) for each correlation product and *cell*, an
integration or some of them and a part of the band; all are solved for together, by linear least squares, in what is
left when the field's bright sources are subtracted:

    V(1, 2, t, ν) = Σₛ aₛ(product, cell) Tₛ(u) g(1, 2, t, ν) exp(2πi (τₛ₁ - τₛ₂) ν),

g the smearing, T a Gaussian of the source's size on a baseline of u wavelengths. Subtracted is what exceeds noise by
`DETECT_SIGMA` and the mirrored place by `CONTRAST`; otherwise the data are not touched. How it goes, what stays:
docs/outside.md. References: Thompson, Moran & Swenson (2017), section 10.2 (size), 6.4 (smearing); sizes: Perley &
Butler (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
from casacore import tables
from numpy.typing import NDArray
from scipy.special import diric

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.drift import kernels, outside_kernels
from contimg.drift.horizon import Sky, visible
from contimg.drift.predict import DriftArray, DriftView, PointSources
from contimg.ms.meta import MsMeta, parallel_hands
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.telescope import geometry
from contimg.telescope.beam import PowerBeam

Array = NDArray[Any]
LEAST_LEFT = 0.2
"""Baselines on which size and smearing leave less of a source do not enter its solution."""
BLOCKS = 8  # parts of the band
LEVELS = ((1, 1), (2, 2), (4, 2), (8, 4))
"""Integrations and parts of the band in a cell, finest first: the first with `CELL_SNR` is used."""
CELL_SNR = 10.0
DETECT_SIGMA, CONTRAST = 6.0, 20.0
"""What gain errors leave of the field varies slowly: few cells are independent, and ratios of 4 not rare."""


@dataclass
class _Sums:
    """Normal equations of every integration, part of the band and hand, (nhand, nt, nblock, …)."""

    normal: Array  # (..., nsrc, nsrc), complex128
    rhs: Array  # (..., nsrc)
    mirror: Array  # (..., nsrc), with the conjugate model
    overlap: Array  # (..., nsrc, nsrc), of the sources with the conjugates of all

    def grouped(self, times: int, blocks: int) -> _Sums:
        """Sums over runs of integrations and of parts of the band."""
        n_times, n_blocks = self.rhs.shape[1:3]

        def summed(values: Array) -> Array:
            values = np.add.reduceat(values, np.arange(0, n_times, times), axis=1)
            return np.add.reduceat(values, np.arange(0, n_blocks, blocks), axis=2)

        return _Sums(summed(self.normal), summed(self.rhs), summed(self.mirror), summed(self.overlap))

    def take(self, chosen: Array) -> _Sums:
        """Those of some sources."""
        return _Sums(
            self.normal[..., chosen, :][..., chosen],
            self.rhs[..., chosen],
            self.mirror[..., chosen],
            self.overlap[..., chosen, :][..., chosen],
        )

    def solve(self) -> tuple[Array, Array]:
        """Gains and the variance of their real parts, (..., nsrc); 0 and infinity where there are no data."""
        size = np.einsum("...ss->...s", self.normal).real
        some = size > 0
        scale = np.where(some, 1.0 / np.sqrt(np.where(some, size, 1.0)), 0.0)
        matrix = self.normal * scale[..., :, None] * scale[..., None, :]
        matrix += np.where(some, 1e-9, 1.0)[..., None] * np.eye(size.shape[-1])
        inverse = np.linalg.inv(matrix)
        gain = scale * np.einsum("...st,...t->...s", inverse, scale * self.rhs)
        variance = np.einsum("...ss->...s", inverse).real * scale**2
        return gain, np.where(some, variance, np.inf)


@dataclass(frozen=True)
class Found:
    """What was looked for in a set, and the gains of what was found.

    Attributes
    ----------
    report : dict
        As `remove_outside` returns it.
    sky : Sky
        The significant ones.
    gain : (nhand, nt, nchan, nsrc), complex64
        Jy, on the channels of the set.
    """

    report: dict[str, Any]
    sky: Sky
    gain: Array

    @property
    def names(self) -> list[str]:
        """Of the sources that are significant."""
        return self.sky.names

    def model(self, array: DriftArray) -> Callable[[int], Array]:
        """Visibilities of an integration, (nbl, nchan, nhand), on as many channels as the set had, or a multiple."""
        model = _Model(array, self.sky)
        gain = np.repeat(self.gain, len(array.freq_hz) // self.gain.shape[2], axis=2)
        n_bl, n_chan = array.meta.shape[1:3]

        def sources(i: int) -> Array:
            total = np.zeros((n_bl, n_chan, len(gain)), np.complex64)
            for s in range(len(model.sky.names)):
                total[model.cross] += model.unit(s, i, model.cross)[..., np.newaxis] * gain[:, i, :, s].T
            return total

        return sources


def remove_outside(
    ms: PrivateSet,
    field: pd.DataFrame | None,
    *,
    beam: PowerBeam | None,
    freq_average: int = 1,
    threads: int = 1,
) -> dict[str, Any]:
    """Subtract far sources from calibrated data.

    Parameters
    ----------
    ms : PrivateSet
        DATA is changed only if a source is significant.
    field, beam, freq_average, threads
        As for `find_outside`.

    Returns
    -------
    dict
        By source above the horizon: ``distance_deg`` from the pointing, ``altitude_deg``, ``removed``, ``mean_jy``
        (mean amplitude over cells, apparent), ``significance`` (σ above noise), ``contrast`` (power over that at the
        mirrored place), ``cell_s`` and ``cell_mhz`` (solution interval), ``baselines`` on which its size and smearing
        leave it visible, of ``baselines_all``.
    """
    found = find_outside(ms.path, field, beam=beam, freq_average=freq_average, threads=threads)
    if found.names:
        ms.subtract(found.model(DriftArray(ms.meta, beam=None, freq_average=freq_average)))
    return found.report


def find_outside(
    ms: Path,
    field: pd.DataFrame | None,
    *,
    beam: PowerBeam | None,
    freq_average: int = 1,
    threads: int = 1,
) -> Found:
    """Look for far sources in calibrated data, and solve for the gains of those that are significant.

    Parameters
    ----------
    ms : Path
    field : DataFrame or None
        The field's bright sources, as `contimg.drift.fit.fit` found them: their sidelobes are taken out of the solution
        (and not out of the data).
    beam : PowerBeam or None
        Of the field's sources.
    freq_average : int
        Raw channels in each channel of the set.
    threads : int
    """
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    meta = read_meta(ms)
    array = DriftArray(meta, beam=None, freq_average=freq_average)
    sky, report = visible(meta, array)
    significant, gain = np.zeros(len(sky.names), bool), np.zeros((0, 0, 0, 0), np.complex64)
    if sky.names:
        model, seen = _Model(array, sky), None
        if field is not None and len(field):
            known = DriftArray(meta, beam=beam, freq_average=freq_average)
            seen = known.view(PointSources.from_table(field))
        with tables.table(str(ms), readonly=True, ack=False) as table:
            sums = _accumulate(table, meta, model, seen)
        significant = _judge(sums, sky, model, report)
    chosen = sky.take(significant)
    if chosen.names:
        gain = _gains(sums.take(significant), meta, chosen, report)
    return Found(report, chosen, gain)


class _Model:
    """Visibilities of 1 Jy of each source.

    Attributes
    ----------
    solvable : bool, (nsrc, nbl)
        Where enough of a source is left to solve for it.
    used : int, (nused,)
        Baselines where that holds for any.
    """

    def __init__(self, array: DriftArray, sky: Sky) -> None:
        self.array, self.sky = array, sky
        meta = array.meta
        ha, dec = geometry.hour_angle_dec(sky.ra_rad, sky.dec_rad, meta.times_jd, array.place)
        self.w_m = array.directions(ha, dec) @ array.positions_m.T  # (nsrc, nt, nant)
        self.delay_s = (self.w_m - array.w_centre) / SPEED_OF_LIGHT_M_S
        rate = (array.rates(ha, dec) - array.stopper_rate) / SPEED_OF_LIGHT_M_S
        self.delay_change_s = rate * meta.integration_s[:, np.newaxis]
        cross = array.ant1 != array.ant2
        self.cross = np.flatnonzero(cross)
        self.solvable = np.zeros((len(sky.names), len(cross)), bool)
        for s in range(len(sky.names)):
            left = self.left(s, meta.n_times // 2, self.cross)[:, len(array.freq_hz) // 2]
            self.solvable[s, self.cross] = np.abs(left) > LEAST_LEFT
        self.used = np.flatnonzero(self.solvable.any(axis=0))

    def left(self, s: int, i: int, rows: Array) -> Array:
        """What smearing and size leave of source `s` at integration `i`, (nrow, nchan), float32."""
        array = self.array
        one, two, freq = array.ant1[rows], array.ant2[rows], array.freq_hz
        raw_hz = array.meta.channel_width_hz / array.freq_average

        def between(per_antenna: Array) -> Array:
            return np.asarray(per_antenna[one] - per_antenna[two])

        stopped = between(self.w_m[s, i] - array.w_stopped) / SPEED_OF_LIGHT_M_S
        channel = np.sinc(raw_hz * stopped)
        channel *= diric(2.0 * np.pi * raw_hz * between(self.delay_s[s, i]), array.freq_average)
        # exp(-(π θ u)² / 4 ln 2), u the baseline across the direction to the source, in wavelengths
        baseline = np.sum((array.positions_m[one] - array.positions_m[two]) ** 2, axis=1)
        across = np.maximum(baseline - between(self.w_m[s, i]) ** 2, 0.0)
        narrow = (np.pi * self.sky.fwhm_rad[s] / SPEED_OF_LIGHT_M_S) ** 2 / (4.0 * np.log(2.0))
        left = np.empty((len(rows), len(freq)), np.float32)
        outside_kernels.left_rows(channel, between(self.delay_change_s[s, i]), narrow * across, freq, left)
        return left

    def unit(self, s: int, i: int, rows: Array) -> Array:
        """Visibilities of 1 Jy of source `s` at integration `i`, (nrow, nchan), complex64."""
        array = self.array
        size = (1, array.n_antennas, len(array.freq_hz))
        real, imag = np.empty(size, np.float32), np.empty(size, np.float32)
        kernels.antenna_phasors(self.delay_s[s : s + 1, i], array.freq_hz, array.uniform, real, imag)
        fringe = (real + 1j * imag)[0]
        fringe = fringe[array.ant1[rows]] * fringe[array.ant2[rows]].conj()
        fringe *= self.left(s, i, rows)
        return np.asarray(fringe)

    def solving(self, i: int) -> Array:
        """Units of all sources on the `used` baselines, 0 where a source is lost, (nsrc, nused, nchan)."""
        units = np.stack([self.unit(s, i, self.used) for s in range(len(self.sky.names))])
        units[~self.solvable[:, self.used]] = 0.0
        return units


def _accumulate(table: tables.table, meta: MsMeta, model: _Model, field: DriftView | None) -> _Sums:
    """Read the set once and sum the normal equations of what is left over the field."""
    n_times, n_bl, n_chan, n_corr = meta.shape
    hands = parallel_hands(meta)
    n_src, n_blocks = len(model.sky.names), min(BLOCKS, n_chan)
    shape = (len(hands), n_times, n_blocks, n_src)
    sums = _Sums(*(np.zeros(size, complex) for size in ((*shape, n_src), shape, shape, (*shape, n_src))))
    edges = np.arange(n_blocks + 1) * n_chan // n_blocks
    data, flag = np.empty((n_bl, n_chan, n_corr), np.complex64), np.empty((n_bl, n_chan, n_corr), bool)
    weight = np.empty(data.shape, np.float32)
    for i in range(n_times):
        for name, array in (("DATA", data), ("FLAG", flag), ("WEIGHT_SPECTRUM", weight)):
            table.getcolnp(name, array, i * n_bl, n_bl)
        shown = np.zeros((len(model.used), n_chan), np.complex64)
        if field is not None:
            shown = field.predict(i, model.used)
        outside_kernels.add_products(
            data, flag, weight, hands, model.used, shown, model.solving(i), edges,
            sums.normal[:, i], sums.rhs[:, i], sums.mirror[:, i], sums.overlap[:, i],
        )  # fmt: skip
    return sums


def _judge(sums: _Sums, sky: Sky, model: _Model, report: dict[str, Any]) -> Array:
    """Which sources are significant, (nsrc,) bool; the report says how much."""
    cells = sums.grouped(*LEVELS[-1])
    gain, variance = cells.solve()
    some = np.isfinite(variance)
    size = np.einsum("...ss->...s", cells.normal).real
    mirrored = cells.mirror - np.einsum("...st,...t->...s", cells.overlap, gain)
    significant = np.zeros(len(sky.names), bool)
    for s, name in enumerate(sky.names):
        here = some[..., s]
        n = int(here.sum())
        if n == 0:
            report[name]["reason"] = "no baseline sees it: too long for its size or too far from the pointing"
            continue
        # |a|² / 2σ² of noise is exponential: mean 1, standard deviation 1 in a cell
        power = float(np.mean(np.abs(gain[here, s]) ** 2 / (2.0 * variance[here, s])))
        mirror = float(np.mean(np.abs(mirrored[here, s]) ** 2 / (2.0 * size[here, s])))
        sigma, contrast = (power - 1.0) * np.sqrt(n), power / max(mirror, 1.0)
        significant[s] = sigma > DETECT_SIGMA and contrast > CONTRAST
        report[name] |= {
            "significance": round(float(sigma), 1),
            "contrast": round(contrast, 2),
            "mean_jy": round(float(np.mean(np.abs(gain[here, s]))), 4),
            "baselines": int(model.solvable[s].sum()),
            "baselines_all": len(model.cross),
        }
    return significant


def _gains(sums: _Sums, meta: MsMeta, sky: Sky, report: dict[str, Any]) -> Array:
    """Gains of every hand, integration, channel and source, from the finest cells that carry them."""
    n_hands, n_times, n_blocks, n_src = sums.rhs.shape
    out = np.zeros((n_hands, n_times, len(meta.freq_hz), n_src), np.complex64)
    done = np.zeros(n_src, bool)
    for times, blocks in LEVELS:
        gain, variance = sums.grouped(times, blocks).solve()
        snr2 = np.abs(gain) ** 2 / variance
        last = (times, blocks) == LEVELS[-1]
        strong = np.median(snr2.reshape(-1, n_src), axis=0) > CELL_SNR**2
        for s in np.flatnonzero(~done & (strong | last)):
            out[..., s] = _interpolated(
                gain[..., s], np.isfinite(variance[..., s]), n_times, times, blocks, meta, n_blocks
            )
            report[sky.names[s]] |= {
                "removed": True,
                "mean_jy": round(float(np.mean(np.abs(out[..., s]))), 4),
                "cell_s": round(times * float(np.mean(meta.integration_s)), 1),
                "cell_mhz": round(blocks * meta.channel_width_hz * len(meta.freq_hz) / n_blocks / 1e6, 1),
            }
            done[s] = True
    return out


def _interpolated(
    gain: Array, good: Array, n_times: int, times: int, blocks: int, meta: MsMeta, n_blocks: int
) -> Array:
    """Gains of cells (nhand, ngroup, nband) linearly between their middles, (nhand, nt, nchan); 0 before any data."""
    n_chan = len(meta.freq_hz)
    at_time = np.array([np.arange(n_times)[k : k + times].mean() for k in range(0, n_times, times)])
    channel = np.arange(n_chan)
    edges = [k * n_chan // n_blocks for k in range(n_blocks + 1)]
    at_band = np.array(
        [channel[edges[k] : edges[min(k + blocks, n_blocks)]].mean() for k in range(0, n_blocks, blocks)]
    )
    out = np.zeros((len(gain), n_times, n_chan), complex)
    for hand in range(len(gain)):
        over_time = np.zeros((n_times, len(at_band)), complex)
        filled = np.zeros(len(at_band), bool)
        for k in range(len(at_band)):
            some = good[hand, :, k]
            if some.any():
                over_time[:, k] = np.interp(np.arange(n_times), at_time[some], gain[hand, some, k])
                filled[k] = True
        if filled.any():
            for i in range(n_times):
                out[hand, i] = np.interp(channel, at_band[filled], over_time[i, filled])
    return out
