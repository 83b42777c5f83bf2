"""Which sources of a catalogue, or of a first image, are worth fitting to a tile's visibilities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from contimg.core.tables import Columns
from contimg.drift.kernels import CHANNEL_BLOCKS
from contimg.drift.predict import DriftArray, PointSources
from contimg.ms.meta import MsMeta
from contimg.telescope.beam import PowerBeam

COLUMNS: Columns = {
    "name": ("", "as the catalogue has it, or S000 …"),
    "ra_deg": ("deg", "right ascension, ICRS"),
    "dec_deg": ("deg", "declination, ICRS"),
    "ra_err_arcsec": ("arcsec", "error of the right ascension on the sky; none: the place was held"),
    "dec_err_arcsec": ("arcsec", "error of the declination; none: the place was held"),
    "flux_jy": ("Jy", "flux density at 1.4 GHz, beam and smearing taken out"),
    "flux_err_jy": ("Jy", "its error from noise and sources in no model, without cal_err_jy"),
    "cal_err_jy": ("Jy", "its error from gains and the beam's model; in quadrature with flux_err_jy"),
    "spectral_index": ("", "S ∝ ν^α in the model"),
    "spectral_index_err": ("", "its error; none: it was held"),
    "band_slope": ("", "spectral index that the band tells, free or held, of sources above 20 σ"),
    "band_slope_err": ("", "its error"),
    "band_score": ("", "how many of its errors it is off the index that was held; 0: it was free"),
    **{
        name: column
        for k in range(1, CHANNEL_BLOCKS + 1)
        for name, column in {
            f"band{k}_hz": ("Hz", f"middle of part {k} of the band"),
            f"band{k}_jy": ("Jy", "flux density there, not bound to a power law, of sources above 20 σ"),
            f"band{k}_err_jy": ("Jy", "its error, other sources held"),
        }.items()
    },
    "snr": ("", "flux_jy / flux_err_jy"),
    "beam": ("of peak", "mean power beam over the weights of the data"),
    "chi2": ("", "reduced χ² of the residual at the place"),
    "chi2_dof": ("", "its degrees of freedom"),
    "major_arcsec": ("arcsec", "major axis of the Gaussian fitted, full width at half maximum; 0: a point"),
    "minor_arcsec": ("arcsec", "its minor axis"),
    "angle_deg": ("deg", "its position angle, north through east"),
    "fwhm_arcsec": ("arcsec", "√((major² + minor²) / 2); of a point what the residuals suggest"),
    "fwhm_err_arcsec": ("arcsec", "its error; none: a point, or as narrow as can be told"),
    "flags": ("", "blended, moved, resolved: joined by commas (docs/drift.md)"),
}
"""The table of fitted sources: unit and meaning of its columns."""


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
