"""Bright sources taken out of the visibilities before CLEAN, and put back into the image.

What drifts through the beam is constant neither in time nor over the band, and CLEAN takes it for both: the
residue of a bright source, not the noise, limits the image then. Fitted and subtracted through the drifting
beam (`contimg.drift_fit`), it leaves weak sources only, which CLEAN handles well; the image gets each fitted
source back as a restoring beam of the flux that CLEAN would have given a perfect point.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.beam import PowerBeam
from contimg.drift_data import parallel_hands
from contimg.drift_predict import DriftArray, PointSources
from contimg.measure import PixelBeam
from contimg.ms import read_meta

RESTORE_BEAMS = 3.0
"""Radius (FWHM) within which a source is restored: exp(-4 ln 2 · 9) = 1e-11."""


def subtract(
    ms: Path, sources: pd.DataFrame, *, beam: PowerBeam | None, freq_average: int = 1, threads: int = 1
) -> None:
    """Subtract point sources from the DATA of a Measurement Set, in place: only for a private copy in scratch.

    Parameters
    ----------
    ms : Path
        As `contimg.apply` writes it.
    sources : DataFrame
        The table of `contimg.drift_fit.fit`.
    beam : PowerBeam or None
        Power pattern of a dish; None: no beam.
    freq_average : int
        Raw channels in each channel of the set.
    threads : int
    """
    import numba
    from casacore import tables

    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    meta = read_meta(ms)
    array = DriftArray(meta, beam=beam, freq_average=freq_average)
    view = array.view(PointSources.from_table(sources))
    hands = parallel_hands(meta)
    n_bl = meta.n_baselines
    with tables.table(str(ms), readonly=False, ack=False) as table:
        for i in range(meta.n_times):
            data = table.getcol("DATA", i * n_bl, n_bl)
            data[:, :, hands] -= view.predict(i)[:, :, np.newaxis]
            table.putcol("DATA", data, i * n_bl, n_bl)


def restore(
    image: NDArray[np.float32], header: Header, pb: NDArray[np.float32], sources: pd.DataFrame
) -> NDArray[np.float32]:
    """Add fitted sources to an apparent image.

    Parameters
    ----------
    image, pb : (ny, nx) float32
        Apparent residual image (Jy/beam) and absolute drift-averaged power beam.
    header : Header
        2-D, with the restoring beam and RESTFRQ (Hz).
    sources : DataFrame
        ``ra_deg, dec_deg, flux_jy`` (1.4 GHz) and ``spectral_index``.

    Returns
    -------
    (ny, nx) float32
        A new image.
    """
    from contimg.calibrators import REFERENCE_HZ

    beam = PixelBeam.from_header(header)
    places = SkyCoord(sources["ra_deg"], sources["dec_deg"], unit="deg")
    x, y = WCS(header).celestial.world_to_pixel(places)
    flux = sources["flux_jy"] * (header["RESTFRQ"] / REFERENCE_HZ) ** sources["spectral_index"]
    restored = image.copy()
    half_x, half_y = beam.box(RESTORE_BEAMS)
    ny, nx = image.shape
    for px, py, jy in zip(x, y, flux, strict=True):
        if not (0 <= px <= nx - 1 and 0 <= py <= ny - 1):
            continue
        x1, x2 = max(0, round(px) - half_x), min(nx, round(px) + half_x + 1)
        y1, y2 = max(0, round(py) - half_y), min(ny, round(py) + half_y + 1)
        yy, xx = np.mgrid[y1:y2, x1:x2]
        apparent = jy * pb[round(py), round(px)]
        restored[y1:y2, x1:x2] += (apparent * beam.value(xx - px, yy - py)).astype(np.float32)
    return restored


def summary(sources: pd.DataFrame) -> dict[str, Any]:
    """What a sidecar says of the fitted sources."""
    return {
        "n_fitted": len(sources),
        "brightest_fitted_jy": float(sources["flux_jy"].max()) if len(sources) else 0.0,
        "worst_fit_chi2": float(sources["chi2"].max()) if len(sources) else 0.0,
    }
