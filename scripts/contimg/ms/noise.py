"""The shape of each antenna's noise over the band, kept in a Measurement Set beside WEIGHT.

Receiver noise passes through the same electronics as the sky: where the band falls by 6 dB, so does the noise of a raw
visibility. Its variance on the baseline of antennas a and b, polarisations p and q, is

    σ²(t, ν) = T_a,p(ν) T_b,q(ν) / WEIGHT(t)

with T of median 1 over the band, hence WEIGHT is 1/σ² of a channel of usual noise. T is a table keyword: antennas of
the ANTENNA table x channels x polarisations, 0.7 MB, where a WEIGHT_SPECTRUM would take half as much again as DATA.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.core.errors import InputError
from contimg.ms.meta import MsMeta

NOISE_KEYWORD = "CONTIMG_NOISE"
"""Of the main table: T, (nant, nchan, 2), float32."""

SUBBANDS_KEYWORD = "CONTIMG_SUBBANDS"
"""Of the main table: the first channel of each subband, ascending, and the number of channels. Gains may step there."""

POLARISATIONS = {5: (0, 0), 6: (0, 1), 7: (1, 0), 8: (1, 1), 9: (0, 0), 10: (0, 1), 11: (1, 0), 12: (1, 1)}
"""CASA correlation type -> polarisation of antenna 1 and of antenna 2 (RR 5 … LL 8, XX 9 … YY 12)."""


def polarisations_of(meta: MsMeta) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hand of antenna 1 and of antenna 2 of each correlation, (ncorr,) each."""
    first, second = (np.array([POLARISATIONS[code][k] for code in meta.correlations]) for k in (0, 1))
    return first, second


def read_noise_shape(ms: Path, meta: MsMeta) -> NDArray[np.float32]:
    """The noise's shape, (nant, nchan, 2); 1 where the set says nothing of it.

    Raises
    ------
    InputError
        It is not of the set's antennas and channels.
    """
    expected = (len(meta.antenna_names), len(meta.freq_hz), 2)
    with tables.table(str(ms), readonly=True, ack=False) as table:
        if NOISE_KEYWORD not in table.keywordnames():
            return np.ones(expected, np.float32)
        shape = np.asarray(table.getkeyword(NOISE_KEYWORD), dtype=np.float32)
    if shape.shape != expected:
        raise InputError(
            f"{ms}: the keyword {NOISE_KEYWORD} has shape {shape.shape}, expected {expected}; convert again"
        )
    return shape


def read_subbands(ms: Path, meta: MsMeta) -> list[slice]:
    """The channels of each subband, ascending; one subband where the set says nothing of them."""
    with tables.table(str(ms), readonly=True, ack=False) as table:
        known = SUBBANDS_KEYWORD in table.keywordnames()
        edges = (
            [int(edge) for edge in table.getkeyword(SUBBANDS_KEYWORD)] if known else [0, len(meta.freq_hz)]
        )
    return [slice(first, last) for first, last in pairwise(edges)]
