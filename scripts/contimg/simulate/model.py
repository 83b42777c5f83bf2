"""A tile as it is simulated: sky, beams, antennas and gains at each integration, before noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.simulate import gains, rfi
from contimg.simulate.options import SimOptions, Source


@dataclass(frozen=True)
class TileModel:
    """A tile before its noise: what its sources, antennas and interference do at each integration.

    Attributes
    ----------
    times_jd : ndarray, (nt,)
        Integration midpoints, JD UTC.
    sources : list of Source
        Those within the sky radius at mid-tile.
    separation_rad : ndarray, (2, nt, nsrc)
        From where the beams of X and Y point.
    positions_m : ndarray, (nant, 3)
        ECEF, relative to the reference point.
    path_m, rate_m_s : ndarray, (nt, nant, nsrc)
        See `geometry.excess_path`.
    extent_m : ndarray, (nt, nant, nsrc, 2)
        See `source_extent`; 0 for points.
    receiver_gain, receiver_noise : ndarray, (nt, nant, 2)
        What clipping leaves of the amplitudes, and by how much the noise's differs from that of `sefd_jy`, by clipping
        and by SEFDs of their own.
    ant1, ant2 : ndarray of int, (nbl,)
        Indices into the antennas used, autocorrelations included, ant1 <= ant2.
    """

    options: SimOptions
    key: int
    dec_deg: float
    times_jd: np.ndarray
    sources: list[Source]
    separation_rad: np.ndarray
    path_m: np.ndarray
    rate_m_s: np.ndarray
    extent_m: np.ndarray
    stopper_rate_m_s: np.ndarray
    positions_m: np.ndarray
    antenna_numbers: np.ndarray
    alive: np.ndarray
    receiver_gain: np.ndarray
    receiver_noise: np.ndarray
    antenna_gains: list[gains.AntennaGain]
    bursts: list[rfi.Burst]
    ant1: np.ndarray
    ant2: np.ndarray
