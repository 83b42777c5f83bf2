"""What a tile says about the primary beam: apparent fluxes of its bright sources in parts of the tile and of the band.

A source drifts through the beam. For each source, parallel hand, part of the tile and part of the band (a *cell*) the
visibilities give the ratio of its apparent flux to what the model says (flux and slope as fitted to the whole tile,
times the model beam):

    ratio = 1 + Re Σ w m* r / Σ w |m|²,

m the model of the source in the cell, r the residual of all sources. Sidelobes of the other sources' deviations are
taken out by repeating this with the ratios in the model (`PASSES` times; they couple by a few per cent).
`contimg.beam.fit` turns the ratios of many tiles into a beam.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.core.constants import MJD_EPOCH_JD
from contimg.core.errors import Rejected
from contimg.drift import kernels
from contimg.drift.data import StokesI
from contimg.drift.normal import Limits, Problem, block_edges
from contimg.drift.predict import DriftArray, DriftView, PointSources
from contimg.ms.meta import MsMeta, parallel_hands
from contimg.ms.sets import read_meta
from contimg.telescope import geometry
from contimg.telescope.beam import PowerBeam
from contimg.telescope.beam_file import offsets

Array = NDArray[Any]
MIN_SNR = 40.0
"""Fainter sources say too little: a cell is one of about fifty."""
MAX_SOURCES = 40
TIME_PARTS = 6
PASSES = 3
CLIP_SIGMA, CLIP_ROW_SIGMA, EASE = 6.0, 8.0, 50.0
"""Bad data, as in `contimg.drift.fit`; a wrong beam leaves much of a bright source, which is not bad data."""
CORRELATIONS = {9: "XX", 12: "YY", 5: "RR", 8: "LL"}


@dataclass
class _Cells:
    """Sums over the cells of one polarisation, (nsrc, nparts, nblocks)."""

    along: Array
    norm: Array


def apparent(
    ms: Path, sources: pd.DataFrame, *, beam: PowerBeam, freq_average: int = 1, threads: int = 1
) -> pd.DataFrame:
    """Measure the apparent fluxes of fitted sources in parts of a tile and of its band.

    Parameters
    ----------
    ms : Path
        Calibrated, as `contimg.gains.apply` writes it; only read.
    sources : DataFrame
        The table of `contimg.drift.fit.fit`.
    beam : PowerBeam
        Of the model.
    freq_average : int
        Raw channels in each channel of the set.
    threads : int

    Returns
    -------
    DataFrame
        A row for each cell with data: ``ra_deg, dec_deg`` (of the source), ``flux_jy, spectral_index`` (of the model),
        ``hand, mjd, freq_hz``, ``west_deg, north_deg`` (offset from the pointing), ``power`` (of the model beam there),
        ``ratio, ratio_err``.

    Raises
    ------
    Rejected
        No source is bright enough.
    """
    import numba

    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    chosen = sources[(sources["snr"] >= MIN_SNR) & (sources["flags"] == "")].nlargest(MAX_SOURCES, "snr")
    if chosen.empty:
        raise Rejected(
            f"no source is fitted with a signal-to-noise ratio of {MIN_SNR:g}: nothing shows the beam"
        )
    meta = read_meta(ms)
    array = DriftArray(meta, beam=beam, freq_average=freq_average)
    view = array.view(PointSources.from_table(chosen))
    found = []
    for k in parallel_hands(meta):
        with StokesI(ms, hand=int(k)) as data:
            ratio, norm = _ratios(data, array, view)
        found.append(_table(meta, array, view, ratio, norm).assign(hand=CORRELATIONS[meta.correlations[k]]))
    return pd.concat(found, ignore_index=True)


def _ratios(data: StokesI, array: DriftArray, view: DriftView) -> tuple[Array, Array]:
    """Ratio of every cell and its weight, 1/σ², (nsrc, nparts, nblocks)."""
    problem = Problem(data, array)
    first = problem.sweep(view, Limits()).limits(CLIP_SIGMA, CLIP_ROW_SIGMA, EASE)
    sweep = problem.sweep(view, first)
    limits = sweep.limits(CLIP_SIGMA, CLIP_ROW_SIGMA, EASE)
    n_times, n_src = array.meta.n_times, len(view.sources)
    parts = min(TIME_PARTS, n_times)
    ratio = np.ones((n_src, parts, kernels.CHANNEL_BLOCKS))
    for _ in range(PASSES):
        cells = _Cells(np.zeros_like(ratio), np.zeros_like(ratio))
        for i in range(n_times):
            part = i * parts // n_times
            vis, weight = data.read(i)
            residual = vis - _predict(array, view, i, ratio[:, part])
            rows = view.project(i, residual, weight, sweep.used[i], limits.largest)
            sums = rows.sum(axis=0, dtype=np.float64)
            cells.along[:, part] += sums[..., 0]
            cells.norm[:, part] += sums[..., 2]
        flux = view.sources.flux_jy[:, np.newaxis, np.newaxis]
        ratio += np.divide(cells.along, cells.norm * flux, out=np.zeros_like(ratio), where=cells.norm > 0)
    return ratio, cells.norm * flux**2 / sweep.scale()


def _predict(array: DriftArray, view: DriftView, i: int, ratio: Array) -> Array:
    """Visibilities of integration `i` with the sources' fluxes times `ratio` (nsrc, nblocks)."""
    part = view.integration(i)
    n_chan = part.shape.shape[1]
    factor = np.repeat(ratio, np.diff(block_edges(n_chan)), axis=1) * view.sources.flux_jy[:, np.newaxis]
    out = np.empty((len(array.ant1), n_chan), np.complex64)
    kernels.predict_rows(
        array.ant1,
        array.ant2,
        part.real,
        part.imag,
        (part.shape * factor).astype(np.float32),
        array.f,
        part.smear_turns,
        array.freq_average,
        out,
    )
    return out


def _table(meta: MsMeta, array: DriftArray, view: DriftView, ratio: Array, weight: Array) -> pd.DataFrame:
    """One row for each cell that has weight."""
    sources = view.sources
    n_src, parts, blocks = ratio.shape
    part = np.arange(meta.n_times) * parts // meta.n_times
    n_chan = len(array.freq_hz)
    bands = [array.freq_hz[k * n_chan // blocks : (k + 1) * n_chan // blocks] for k in range(blocks)]
    times = np.array([meta.times_jd[part == k].mean() for k in range(parts)])
    ha, dec = geometry.hour_angle_dec(sources.ra_rad, sources.dec_rad, times, array.place)
    west, north = (np.degrees(angle) for angle in offsets(ha, dec, meta.pointing_dec_rad))
    freq = np.array([band.mean() if len(band) else np.nan for band in bands])
    cell = np.stack(
        np.broadcast_arrays(np.arange(n_src)[:, None, None], np.arange(parts)[:, None], np.arange(blocks))
    )
    s, t, k = cell[:, weight > 0]
    power = array.beam.power(ha, dec, meta.pointing_dec_rad, freq[np.isfinite(freq)]) if array.beam else None
    if power is None:
        power = np.ones((n_src, parts, blocks))
    return pd.DataFrame(
        {
            "ra_deg": np.degrees(sources.ra_rad[s]) % 360.0,
            "dec_deg": np.degrees(sources.dec_rad[s]),
            "flux_jy": sources.flux_jy[s],
            "spectral_index": sources.spectral_index[s],
            "mjd": times[t] - MJD_EPOCH_JD,
            "freq_hz": freq[k],
            "west_deg": west[s, t],
            "north_deg": north[s, t],
            "power": power[s, t, k],
            "ratio": ratio[s, t, k],
            "ratio_err": 1.0 / np.sqrt(weight[s, t, k]),
        }
    )
