"""The compiled loop of conversion: one subband of one integration into its place in the Measurement Set.

Everything that happens to a visibility between the raw file and the Measurement Set happens in one pass over
memory: the fringe of the old phase centre is exchanged for the new one's, channels are put in ascending order,
correlations in CASA's, the visibility is conjugated as the Measurement Set wants it, and what cannot be used is
flagged.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S

RESEED_CHANNELS = 64
"""Channels between two exact sines and cosines; between them the phase advances by one multiplication.

Each multiplication in double precision turns the phase by at most 2e-16 more than it should: 64 of them make
1.4e-14 rad, and the reduction of an argument of 1e5 rad (2.6 km at 1.5 GHz) costs 1e-11 rad. Both are far below
the 6e-8 of the complex64 that is written."""

ABSURD = 1e18
"""No part of a visibility of a correlator is larger, in whatever unit: beyond it squares leave single precision."""


@numba.njit(nogil=True, cache=True, fastmath=False)
def rotate_rows(
    first: int,
    last: int,
    vis: NDArray[np.complex64],
    flags: NDArray[np.bool_],
    nsamples: NDArray[np.float32],
    extra_w_m: NDArray[np.float64],
    swapped: NDArray[np.bool_],
    corr_source: NDArray[np.int64],
    corr_source_swapped: NDArray[np.int64],
    freq_hz: NDArray[np.float64],
    uniform: bool,
    descending: bool,
    out: NDArray[np.complex64],
    out_flag: NDArray[np.bool_],
    out_samples: NDArray[np.float64],
) -> None:
    """Rotate rows first <= row < last of one subband; all arrays are written in place.

    V_new = V_old exp(-2 pi i (w_new - w_old) nu / c), then conjugated for the Measurement Set; a baseline whose
    antennas change places is conjugated twice, that is: not at all.

    Parameters
    ----------
    first, last
        The rows (baselines) to do: threads divide them.
    vis, flags, nsamples
        (nbl, nchan, npol) as read, in file order.
    extra_w_m
        (nbl,) w_new - w_old of antenna 2 - antenna 1 of the file, m.
    swapped
        (nbl,) whether the Measurement Set names the two antennas the other way round.
    corr_source, corr_source_swapped
        (ncorr,) which of the file's polarisations is each correlation, for the two cases.
    freq_hz
        (nchan,) in file order.
    uniform
        Whether the channels are equidistant, so that the phase may advance by multiplication.
    descending
        Whether the file's channels run down in frequency.
    out, out_flag
        (nbl, nchan, ncorr) this subband's slice of the integration, ascending in frequency.
    out_samples
        (nbl, ncorr, 2) the sum over good channels of `nsamples`, and their number, are added to it.
    """
    n_chan, n_corr = out.shape[1], out.shape[2]
    per_hz = -2.0 * math.pi / SPEED_OF_LIGHT_M_S
    for row in range(first, last):
        turn = per_hz * extra_w_m[row]
        source = corr_source_swapped if swapped[row] else corr_source
        sign = 1.0 if swapped[row] else -1.0
        step_re, step_im = 1.0, 0.0
        if n_chan > 1:
            step = turn * (freq_hz[n_chan - 1] - freq_hz[0]) / (n_chan - 1)
            step_re, step_im = math.cos(step), math.sin(step)
        phasor_re, phasor_im = 1.0, 0.0
        for chan in range(n_chan):
            if not uniform or chan % RESEED_CHANNELS == 0:
                angle = turn * freq_hz[chan]
                phasor_re, phasor_im = math.cos(angle), math.sin(angle)
            target = n_chan - 1 - chan if descending else chan
            for corr in range(n_corr):
                value = vis[row, chan, source[corr]]
                re, im = float(value.real), float(value.imag)
                samples = nsamples[row, chan, source[corr]]
                bad = flags[row, chan, source[corr]] or not 0.0 < samples < ABSURD
                if not (abs(re) < ABSURD and abs(im) < ABSURD):  # nor is NaN
                    re, im, bad = 0.0, 0.0, True
                elif re == 0.0 and im == 0.0:
                    bad = True
                out[row, target, corr] = complex(
                    re * phasor_re - im * phasor_im, sign * (re * phasor_im + im * phasor_re)
                )
                out_flag[row, target, corr] = bad
                if not bad:
                    out_samples[row, corr, 0] += samples
                    out_samples[row, corr, 1] += 1.0
            phasor_re, phasor_im = (
                phasor_re * step_re - phasor_im * step_im,
                phasor_re * step_im + phasor_im * step_re,
            )
