"""Which sources of a catalogue, or of a first image, are worth fitting to a tile's visibilities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from contimg.drift.predict import DriftArray, PointSources
from contimg.ms.meta import MsMeta
from contimg.telescope.beam import PowerBeam


def brightest(
    sources: pd.DataFrame,
    meta: MsMeta,
    *,
    beam: PowerBeam | None,
    min_apparent_jy: float = 0.0,
    most: int = 100,
    closest_arcsec: float = 0.0,
) -> pd.DataFrame:
    """Choose the sources whose apparent flux, the mean over times and channels of the tile, is highest.

    Parameters
    ----------
    sources
        Columns ``ra_deg, dec_deg`` (ICRS), ``flux_jy`` (at 1.4 GHz) and, where known, ``name, spectral_index``.
    meta
        Of the tile.
    beam
        Power pattern of a dish; None: no beam.
    min_apparent_jy
        Fainter ones are left out.
    most
        At most so many.
    closest_arcsec
        Of two that are closer than this (about half the synthesised beam) the fainter is left out: the data do not
        tell them apart, and the place of the one that is fitted moves to where both are.

    Returns
    -------
    DataFrame
        Rows of `sources`, brightest first, numbered from 0, with the column ``apparent_jy``.
    """
    found = PointSources.from_table(sources)
    if len(found) == 0:
        return sources.assign(apparent_jy=np.zeros(0))
    power = DriftArray(meta, beam=beam).power(found.ra_rad, found.dec_rad)
    apparent = found.flux_jy * np.mean(power.mean(axis=1) * found.spectrum(meta.freq_hz), axis=1)
    cos_dec = np.cos(found.dec_rad)
    unit = np.column_stack(
        [cos_dec * np.cos(found.ra_rad), cos_dec * np.sin(found.ra_rad), np.sin(found.dec_rad)]
    )
    nearest = 2.0 * np.sin(0.5 * np.radians(closest_arcsec / 3600.0))
    kept: list[int] = []
    for i in np.argsort(-apparent, kind="stable"):
        if len(kept) == most or not apparent[i] >= min_apparent_jy:
            break
        if not kept or np.linalg.norm(unit[kept] - unit[i], axis=1).min() >= nearest:
            kept.append(int(i))
    return sources.iloc[kept].assign(apparent_jy=apparent[kept]).reset_index(drop=True)
