"""What a calibrator and its neighbours look like to a drifting array: the model that the data are divided by.

Every source is what `contimg.drift.predict` says of it: flux times power beam in each integration and channel, its
fringe about the calibrator's place, to which the data are phased, and what averaging inside an integration and a
channel takes. That is 0.02 % (median baseline) to 0.5 % (longest) of the calibrator in the mean of its transit. It does
not separate into antennas, so no gains take it up: left out of the model, it stands as ghosts beside a bright source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.drift.predict import DriftArray, PointSources
from contimg.ms.meta import MsMeta
from contimg.sky.calibrators import Calibrator
from contimg.sky.components import parse_components
from contimg.telescope.beam import PowerBeam

SHAPE = ("major_arcsec", "minor_arcsec", "angle_deg")
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
    freq_average
        Raw channels that were averaged into each channel of the set.
    smearing
        Whether averaging in time and frequency is in the model.

    Attributes
    ----------
    apparent_jy : ndarray, (1 + nneighbours, nt, nchan), float64
        Flux times beam of the calibrator (first) and of each neighbour that is kept.
    calibrator : Calibrator
    neighbours : list of Calibrator
        Those kept, in the order of `apparent_jy`.
    """

    def __init__(
        self,
        meta: MsMeta,
        calibrator: Calibrator,
        neighbours: Sequence[Calibrator],
        beam: PowerBeam,
        *,
        freq_average: int = 1,
        smearing: bool = True,
    ) -> None:
        sources = [calibrator, *neighbours]
        array = DriftArray(meta, beam=beam, freq_average=freq_average, smearing=smearing)
        places = np.radians([[source.ra_deg, source.dec_deg] for source in sources])
        flux = np.array([source.flux_at(meta.freq_hz) for source in sources])
        apparent = flux[:, np.newaxis, :] * array.power(*places.T)
        mean = apparent.mean(axis=(1, 2))
        kept = [s for s in np.argsort(-mean[1:]) + 1 if mean[s] >= MIN_NEIGHBOUR * mean[0]][:MAX_NEIGHBOURS]
        self.apparent_jy = apparent[[0, *kept]]
        self.calibrator = calibrator
        self.neighbours = [sources[s] for s in kept]
        self._view = array.view(PointSources.from_table(source_table([calibrator, *self.neighbours])))

    @property
    def mean_apparent_jy(self) -> NDArray[np.float64]:
        """Mean apparent flux of the calibrator and of each neighbour kept, Jy, (1 + nneighbours,)."""
        return self.apparent_jy.mean(axis=(1, 2))

    def predict(self, i: int) -> NDArray[np.complex64]:
        """Visibilities of integration `i`, (nbl, nchan), Jy, in the sign of a Measurement Set."""
        return self._view.predict(i)


def source_table(sources: Sequence[Calibrator]) -> pd.DataFrame:
    """Table of sources as `PointSources.from_table` reads it, one row a component; without any it has its columns."""
    rows = [
        {
            "name": source.name,
            "ra_deg": source.ra_deg + part.east_arcsec / 3600.0 / math.cos(math.radians(source.dec_deg)),
            "dec_deg": source.dec_deg + part.north_arcsec / 3600.0,
            "flux_jy": part.share * source.flux_jy,
            "spectral_index": source.spectral_index,
            "curvature": source.curvature,
            "major_arcsec": part.major_arcsec,
            "minor_arcsec": part.minor_arcsec,
            "angle_deg": part.angle_deg,
        }
        for source in sources
        for part in parse_components(source.components)
    ]
    columns = ["name", "ra_deg", "dec_deg", "flux_jy", "spectral_index", "curvature", *SHAPE]
    return pd.DataFrame(rows, columns=columns)
