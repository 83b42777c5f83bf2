"""The compiled loops of far sources (`contimg.drift.outside`): what size and smearing leave, and normal equations."""

from __future__ import annotations

import math
from typing import Any

import numba
from numpy.typing import NDArray

Array = NDArray[Any]
FAINT = 20.0
"""Of a source whose size leaves less than exp(-20) of it, 2e-9, there is nothing."""


@numba.njit(parallel=True, cache=True, nogil=True)
def left_rows(
    fixed: Array, change_s: Array, size_s2: Array, freq_hz: Array, out: Array
) -> None:  # pragma: no cover
    """Fill `out` (nrow, nchan) with fixed sinc(change ν) exp(-size ν²); the first three are (nrow,)."""
    for r in numba.prange(len(fixed)):
        for c in range(len(freq_hz)):
            freq = freq_hz[c]
            angle, loss = math.pi * change_s[r] * freq, size_s2[r] * freq * freq
            value = fixed[r] if loss < FAINT else 0.0
            if value != 0.0:
                value *= math.exp(-loss)
                if angle != 0.0:
                    value *= math.sin(angle) / angle
            out[r, c] = value


@numba.njit(parallel=True, cache=True, nogil=True)
def add_products(
    data: Array,
    flag: Array,
    weight: Array,
    hands: Array,
    rows: Array,
    field: Array,
    units: Array,
    edges: Array,
    normal: Array,
    rhs: Array,
    mirror: Array,
    overlap: Array,
) -> None:  # pragma: no cover
    """Fill an integration's part of `_Sums`, (nhand, nblock, …), which is zero.

    `data`, `flag` and `weight` are (nbl, nchan, ncorr); of `rows` are `field` (nrow, nchan) and `units` (nsrc, …).
    """
    n_blocks, n_src = rhs.shape[1:]
    for part in numba.prange(len(hands) * n_blocks):
        h, k = part // n_blocks, part % n_blocks
        for r in range(len(rows)):
            b = rows[r]
            for c in range(edges[k], edges[k + 1]):
                w = weight[b, c, hands[h]]
                if flag[b, c, hands[h]] or not w > 0:
                    continue
                v = w * (data[b, c, hands[h]] - field[r, c])
                for s in range(n_src):
                    one = units[s, r, c]
                    if one.real == 0 and one.imag == 0:
                        continue
                    rhs[h, k, s] += one.conjugate() * v
                    mirror[h, k, s] += one * v
                    for t in range(s + 1):
                        normal[h, k, s, t] += w * (one.conjugate() * units[t, r, c])
                        overlap[h, k, s, t] += w * (one * units[t, r, c])
        for s in range(n_src):
            for t in range(s):
                normal[h, k, t, s] = normal[h, k, s, t].conjugate()
                overlap[h, k, t, s] = overlap[h, k, s, t]
