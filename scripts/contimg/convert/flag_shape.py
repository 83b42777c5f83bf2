"""How each antenna's noise runs over the band, found while the visibilities pass by for the first time.

Second differences of neighbouring channels, (V[k-1] - 2 V[k] + V[k+1]) / √6, hold noise alone: what a source
leaves in them is below 1 % (`contimg.convert.flag_stats`). Their mean logarithm over an antenna's baselines is its
own noise and the mean of its partners', which linear equations tell apart; of the integrations the middle half
counts, so that a burst does not. What is left is smooth within a subband, as analogue filters are, and may step
between subbands, as digitisers do: a robust polynomial each for what antennas have in common, and one of lower order
for how an antenna differs from that. Lines of interference are narrower than these can follow. A steep end of the band
is an outlier to them as a line is: where noise does not explain what they leave, a polynomial of higher order takes the
place of the common one, through all that does not stand out from both sides as a line does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import MAD_TO_SIGMA
from contimg.core.robust import nanmedian
from contimg.ms.meta import MsMeta
from contimg.ms.noise import polarisations_of

MAX_INTEGRATIONS = 12
"""Of a tile's that are looked at: their logarithms are what this costs."""

COMMON_ORDERS = ((30, 4), (18, 3), (9, 2), (4, 1), (1, 0))
OWN_ORDERS = ((30, 2), (9, 1), (1, 0))
"""(channels, order) of the polynomials in a subband: the first that has as many."""
STEEP_ORDERS = ((30, 7), (18, 5))
"""Of fewer channels none is steep: they do not tell a steep end from a line beside it."""
SIDE, LEAST_SIDE = 9, 5
"""Channels on either side that a line stands out from, and how many of them have to be known."""
STEEP = 30.0
"""By so much a steep polynomial must lower the common one's χ² to take its place."""
LOG_SCATTER = 1.28
"""Of the logarithm of a power that is distributed exponentially, π/√6."""

ROUNDS, TUKEY = 8, 4.685
LEAST = 1e-30


class NoiseShape:
    """Gathers the noise of a tile, integration by integration.

    Parameters
    ----------
    meta
        Of the set.
    subbands
        Channels of each, ascending; a missing one stays 1.
    """

    def __init__(self, meta: MsMeta, subbands: Sequence[slice]) -> None:
        self._meta = meta
        self._edges = np.array([[span.start, span.stop] for span in subbands], dtype=np.int64)
        first, second = polarisations_of(meta)
        self._parallel = np.array(
            [next((k for k in np.flatnonzero(first == pol) if second[k] == pol), -1) for pol in (0, 1)]
        )
        self._used, places = np.unique([meta.ant1, meta.ant2], return_inverse=True)
        self._one, self._two = places.reshape(2, -1)
        self._every = max(1, meta.n_times // MAX_INTEGRATIONS)
        self._logs: list[NDArray[np.float32]] = []

    def wants(self, i: int) -> bool:
        """Whether integration `i` is one of those looked at."""
        return i % self._every == 0

    def add(self, data: NDArray[np.complex64], flags: NDArray[np.bool_]) -> None:
        """Add an integration, (nbl, nchan, ncorr)."""
        shape = (len(self._used), len(self._meta.freq_hz), 2)
        total, count = np.zeros(shape), np.zeros(shape, np.int32)
        _add_logs(data, flags, self._one, self._two, self._parallel, self._edges, total, count)
        mean = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        self._logs.append(mean.astype(np.float32))

    def result(self) -> NDArray[np.float64]:
        """Power of the noise, (nant, nchan, 2), of median 1 over the band; 1 where nothing is known."""
        terms = _own(_middle_half(np.array(self._logs)).astype(np.float64))
        offset = terms - nanmedian(terms, axis=1)[:, np.newaxis]
        common = nanmedian(offset, axis=0)[np.newaxis]
        # each baseline's logarithm is the sum of two antennas'; of the integrations half count; a median is 1.25 times
        # as noisy as a mean
        n_logs = 0.5 * len(self._logs) * 0.5 * len(self._used) * (len(self._used) - 1)
        error = 1.25 * 0.5 * LOG_SCATTER / np.sqrt(max(n_logs, 1.0))
        smooth = np.full(terms.shape, np.nan)
        for start, stop in self._edges:
            part = slice(start, stop)
            shared = _shared(common[:, part], error)
            smooth[:, part] = shared + _smooth(terms[:, part] - shared, OWN_ORDERS)
        level = nanmedian(smooth, axis=1)[:, np.newaxis]
        found = np.ones((len(self._meta.antenna_names), *terms.shape[1:]))
        found[self._used] = np.exp(np.where(np.isfinite(smooth), smooth - level, 0.0))
        return found


@numba.njit(nogil=True, cache=True)
def _add_logs(
    data: NDArray[np.complex64],
    flags: NDArray[np.bool_],
    ant1: NDArray[np.int64],
    ant2: NDArray[np.int64],
    parallel: NDArray[np.int64],
    edges: NDArray[np.int64],
    total: NDArray[np.float64],
    count: NDArray[np.int32],
) -> None:
    """Add ln |second difference|² of each cross-correlation to both antennas' `total`, and 1 to their `count`."""
    for b in range(data.shape[0]):
        one, two = ant1[b], ant2[b]
        if one == two:
            continue
        for pol in range(2):
            corr = parallel[pol]
            if corr < 0:
                continue
            for s in range(edges.shape[0]):
                for chan in range(edges[s, 0] + 1, edges[s, 1] - 1):
                    if flags[b, chan - 1, corr] or flags[b, chan, corr] or flags[b, chan + 1, corr]:
                        continue
                    bend = data[b, chan - 1, corr] + data[b, chan + 1, corr] - 2.0 * data[b, chan, corr]
                    square = bend.real * bend.real + bend.imag * bend.imag
                    if square > LEAST:
                        value = np.log(square)
                        total[one, chan, pol] += value
                        total[two, chan, pol] += value
                        count[one, chan, pol] += 1
                        count[two, chan, pol] += 1


def _own(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Antennas' own part of L_a = t_a + mean of the others' t, (nant, nchan, 2); NaN without data.

    With S the sum of all t, the sum of all L is 2 S, and L_a = t_a + (S - t_a) / (n - 1).
    """
    known = np.isfinite(logs)
    n = known.sum(axis=0)
    whole = 0.5 * np.where(known, logs, 0.0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = (logs - whole / (n - 1)) * (n - 1) / (n - 2)
    # two antennas cannot be told apart: each has half
    return np.asarray(np.where(n >= 3, own, 0.5 * logs))


def _middle_half(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the first axis of what lies between the quartiles; NaN without values."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    place = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    cut = count // 4
    inside = (place >= cut) & (place < count - cut)
    total = np.where(inside, ordered, np.float32(0)).sum(axis=0)
    return np.divide(total, inside.sum(axis=0), out=np.full_like(total, np.nan), where=count > 0)


def _shared(common: NDArray[np.float64], error: float) -> NDArray[np.float64]:
    """What antennas have in common in a subband, (1, nchan, 2), smooth, and steep where it is; `error` of a channel."""
    usual = _smooth(common, COMMON_ORDERS)
    if np.isfinite(common).any(axis=-1).sum() < STEEP_ORDERS[-1][0]:
        return usual
    quiet = np.where(_is_line(common, error), np.nan, common)
    steep = _smooth(quiet, STEEP_ORDERS, robust=False)
    left, left_steep = (np.nansum((quiet - fit) ** 2, axis=1, keepdims=True) for fit in (usual, steep))
    return np.where(left - left_steep > STEEP * error**2, steep, usual)


def _is_line(values: NDArray[np.float64], error: float) -> NDArray[np.bool_]:
    """What stands above the medians of both sides, (1, nchan, 2): a slope does not."""
    padded = np.pad(values, ((0, 0), (SIDE, SIDE), (0, 0)), constant_values=np.nan)
    runs = np.lib.stride_tricks.sliding_window_view(padded, SIDE, axis=1)
    known = np.isfinite(runs).sum(axis=-1) >= LEAST_SIDE
    median = np.where(known, nanmedian(runs, axis=-1), -np.inf)
    sides = np.maximum(median[:, : values.shape[1]], median[:, SIDE + 1 :])
    return np.asarray(np.isfinite(sides) & (values - sides > TUKEY * error))


def _smooth(
    values: NDArray[np.float64], orders: Sequence[tuple[int, int]], *, robust: bool = True
) -> NDArray[np.float64]:
    """Polynomials through (nant, nchan, 2) along the channels (Tukey's biweight if robust); NaN without values."""
    n_ant, n_chan, _ = values.shape
    series = values.transpose(0, 2, 1).reshape(-1, n_chan)
    known = np.isfinite(series)
    used = int(known.any(axis=0).sum())
    order = next((order for least, order in orders if used >= least), 0)
    place = np.linspace(-1.0, 1.0, n_chan) if n_chan > 1 else np.zeros(1)
    basis = np.polynomial.legendre.legvander(place, order)
    enough = known.sum(axis=1) > order
    y = np.where(known, series, 0.0)
    middle = nanmedian(series, axis=1)[:, np.newaxis]
    fit = np.where(np.isfinite(middle), middle, 0.0) * np.ones(n_chan)
    for _ in range(ROUNDS if robust else 1):
        off = np.where(known, series - fit, np.nan)
        scale = TUKEY * MAD_TO_SIGMA * nanmedian(np.abs(off), axis=1)[:, np.newaxis] + 1e-6
        weight = known.astype(float)
        if robust:
            weight *= np.clip(1.0 - (np.nan_to_num(off) / scale) ** 2, 0.0, None) ** 2
        normal = np.einsum("sc,ci,cj->sij", weight, basis, basis) + 1e-9 * np.eye(order + 1)
        right = np.einsum("sc,sc,ci->si", weight, y, basis)
        fit = np.linalg.solve(normal, right[..., np.newaxis])[..., 0] @ basis.T
    fit = np.where(enough[:, np.newaxis], fit, middle)
    return np.asarray(fit.reshape(n_ant, 2, n_chan).transpose(0, 2, 1))


@numba.njit(nogil=True, cache=True)
def flatten(
    data: NDArray[np.complex64],
    ant1: NDArray[np.int64],
    ant2: NDArray[np.int64],
    pol1: NDArray[np.int64],
    pol2: NDArray[np.int64],
    amplitude: NDArray[np.float32],
) -> None:
    """Divide a block (nt, n, nchan, ncorr) by the amplitudes (nant, nchan, 2) of its antennas' noise, in place."""
    for b in range(data.shape[1]):
        for corr in range(data.shape[3]):
            for chan in range(data.shape[2]):
                factor = np.float32(1.0) / (
                    amplitude[ant1[b], chan, pol1[corr]] * amplitude[ant2[b], chan, pol2[corr]]
                )
                for t in range(data.shape[0]):
                    data[t, b, chan, corr] *= factor
