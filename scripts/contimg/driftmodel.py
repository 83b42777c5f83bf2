"""What a calibrator and its neighbours look like to a drifting array: the model that the data are divided by.

The data are phased to the calibrator, so its own model is real: flux times power beam, for each integration
and channel. A neighbour adds its flux times beam with the fringe of its offset, which separates into
antennas:

    m(1, 2, ν, t) = S₀(ν) P₀(ν, t) + Σₛ Sₛ(ν) Pₛ(ν, t) eₛ₁ eₛ₂*,   eₛₐ = exp(2πi (wₛₐ − w₀ₐ) ν / c)

in the sign of a Measurement Set (the conjugate of pyuvdata's; see `contimg.ms`), w being the antenna's
coordinate toward the source (s) and the calibrator (0). Sources are unpolarised points. Smearing inside an
integration and a channel is left out: on the DSA-110 it takes 0.02 % (median baseline) to 0.5 % (longest)
of a calibrator's amplitude in the mean of its transit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contimg.beam import SPEED_OF_LIGHT_M_S, PowerBeam, drift_power
from contimg.calibrators import Calibrator
from contimg.geometry import antenna_uvw, location
from contimg.ms import MsMeta

MIN_NEIGHBOUR = 0.002
"""A neighbour enters the model if its apparent flux reaches this part of the calibrator's."""

MAX_NEIGHBOURS = 100
"""At most so many, the brightest. What is left out, N antennas' gains take up by 2/N, and every tile with the
calibrator in its beam shows it weaker by that."""


class DriftModel:
    """The model of one calibrator transit.

    Parameters
    ----------
    meta
        Of the Measurement Set, phased to the calibrator.
    calibrator
        The source at the phase centre.
    neighbours
        Other sources of its field; those too faint to matter through the beam are left out.
    beam
        Power pattern of a dish.

    Attributes
    ----------
    apparent_jy : ndarray, (1 + nneighbours, nt, nchan), float64
        Flux times beam of the calibrator (first) and of each neighbour that is kept.
    neighbours : list of Calibrator
        Those kept, in the order of `apparent_jy`.
    """

    def __init__(
        self, meta: MsMeta, calibrator: Calibrator, neighbours: Sequence[Calibrator], beam: PowerBeam
    ) -> None:
        sources = [calibrator, *neighbours]
        place = location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
        power = drift_power(
            np.radians([source.ra_deg for source in sources]),
            np.radians([source.dec_deg for source in sources]),
            meta.times_jd,
            place,
            meta.pointing_dec_rad,
            meta.freq_hz,
            beam,
        )
        flux = np.array([source.flux_at(meta.freq_hz) for source in sources])
        apparent = flux[:, np.newaxis, :] * power
        mean = apparent.mean(axis=(1, 2))
        kept = [s for s in np.argsort(-mean[1:]) + 1 if mean[s] >= MIN_NEIGHBOUR * mean[0]][:MAX_NEIGHBOURS]
        self.apparent_jy = apparent[[0, *kept]]
        self.neighbours = [sources[s] for s in kept]
        self._turns_per_hz = self._delays_s(meta, place)

    @property
    def mean_apparent_jy(self) -> NDArray[np.float64]:
        """Mean apparent flux of the calibrator and of each neighbour kept, Jy, (1 + nneighbours,)."""
        return self.apparent_jy.mean(axis=(1, 2))

    def fringes(self, i: int, freq_hz: NDArray[np.float64]) -> NDArray[np.complex64]:
        """Antenna phasors e of the neighbours at integration `i`, (nneighbours, nant, nchan).

        The turns are taken in float64 (tens of them across a beam) before they are rounded to single
        precision.
        """
        turns = self._turns_per_hz[:, i, :, np.newaxis] * freq_hz
        return np.exp(2j * np.pi * (turns - np.round(turns))).astype(np.complex64)

    def _delays_s(self, meta: MsMeta, place: object) -> NDArray[np.float64]:
        """Geometric delay of each neighbour less the phase centre's, s, (nneighbours, nt, nant)."""
        n_ant = len(meta.antenna_names)
        delays = np.empty((len(self.neighbours), meta.n_times, n_ant))
        positions = meta.antenna_positions_m
        centre = antenna_uvw(positions, meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd, place)[..., 2]
        for k, source in enumerate(self.neighbours):
            ra, dec = np.radians(source.ra_deg), np.radians(source.dec_deg)
            w = antenna_uvw(positions, ra, dec, meta.times_jd, place)[..., 2]
            delays[k] = (w - centre) / SPEED_OF_LIGHT_M_S
        return delays
