"""Measured against true: the sources of a simulated night in the images and mosaics made from it.

A source counts if its true flux is above `SIGMA` times the local rms, where the primary beam is above
`PB_MIN`, and if it is a point to the image: what is measured is a peak. Sources that the image cannot tell apart
(`TOGETHER_BEAMS`) count as the brightest of them, with the flux of all. A source passes at the accuracy of
the acceptance test: found at its place to a tenth of a beam or 3 σ along each axis of the beam, its flux within 5 % or
3 σ (of many sources a little more, `error_sigma`); the median ratio within 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from contimg.sky.measure import PixelBeam

if TYPE_CHECKING:
    from astropy.io.fits import Header

SIGMA = 10.0
PB_MIN = 0.3
POINT_BEAMS = 0.2  # of the beam's minor axis: so wide a source keeps 98 % of its flux in its peak
TOGETHER_BEAMS = 0.5
MEDIAN_LIMIT = 0.02
FLUX_LIMIT = 0.05
PLACE_LIMIT_BEAM = 0.1
ERROR_SIGMA = 3.0
FEW_SOURCES = 16
"""Up to so many, `ERROR_SIGMA` holds for each: one of 16 is beyond 3 σ by chance in 4 % of all images."""
_REFERENCE_HZ = 1.4e9


class TrueSource(Protocol):
    """What is known of a simulated source: ICRS place, flux at 1.4 GHz, spectral index, FWHM (0: a point)."""

    @property
    def name(self) -> str: ...
    @property
    def ra_deg(self) -> float: ...
    @property
    def dec_deg(self) -> float: ...
    @property
    def flux_jy(self) -> float: ...
    @property
    def spectral_index(self) -> float: ...
    @property
    def major_arcsec(self) -> float: ...


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to."""

    sources: int
    flux_failures: tuple[str, ...]
    place_failures: tuple[str, ...]
    median_ratio: float
    scatter: float
    median_offset_beam: float

    @property
    def good(self) -> bool:
        """Whether every source passes and the median is right."""
        median_good = abs(self.median_ratio - 1) <= MEDIAN_LIMIT
        return self.sources > 0 and median_good and not self.flux_failures and not self.place_failures

    def line(self) -> str:
        """One line for a person."""
        if self.sources == 0:
            return f"no source above {SIGMA:g} sigma"
        text = (
            f"{self.sources} sources above {SIGMA:g} sigma: measured/true flux {self.median_ratio:.4f} (median), "
            f"scatter {100 * self.scatter:.1f} %, median offset {self.median_offset_beam:.3f} beam"
        )
        failed = sorted({*self.flux_failures, *self.place_failures})
        return text + (f"; NOT within the limits: {', '.join(failed)}" if failed else "")


def compare(
    image: np.ndarray,
    header: Header,
    rms: np.ndarray,
    sources: Sequence[TrueSource],
    *,
    pb: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure the true sources in a primary-beam-corrected image.

    Parameters
    ----------
    image, rms : (ny, nx) float
        Jy/beam; NaN outside the field.
    header : Header
        2-D, with the restoring beam and RESTFRQ (Hz), at which fluxes are compared.
    sources : sequence of TrueSource
        All of them; faint ones are fitted with their neighbours but do not count.
    pb : (ny, nx) float, optional
        Power beam. Without it (a mosaic) the limit is set where the rms is 1 / `PB_MIN` of its best.

    Returns
    -------
    DataFrame
        One row a source that counts: ``name, true_jy, flux_jy, flux_err_jy, ratio, snr, offset_major_beam,
        offset_minor_beam, flux_good, place_good, flags``.
    """
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    from contimg.sky.measure import measure

    frequency = float(header["RESTFRQ"])
    places = SkyCoord([s.ra_deg for s in sources], [s.dec_deg for s in sources], unit="deg")
    true_jy = np.array([s.flux_jy * (frequency / _REFERENCE_HZ) ** s.spectral_index for s in sources])
    x, y = WCS(header).celestial.world_to_pixel(places)
    ny, nx = image.shape
    with np.errstate(invalid="ignore"):
        inside = (x > 0) & (y > 0) & (x < nx - 1) & (y < ny - 1)
    row, column = (np.rint(np.where(inside, axis, 0)).astype(int) for axis in (y, x))
    inside &= np.isfinite(image[row, column])
    true_jy, lone = _joined(true_jy, x, y, PixelBeam.from_header(header))
    inside &= lone
    points = np.array([s.major_arcsec <= POINT_BEAMS * 3600 * header["BMIN"] for s in sources])
    counts = (
        inside & points & (quality(rms, pb)[row, column] >= PB_MIN) & (true_jy >= SIGMA * rms[row, column])
    )
    keep = [int(number) for number in np.flatnonzero(inside)]
    table = measure(image, header, places[keep], rms=rms)
    table["name"] = [sources[i].name for i in keep]
    table["true_jy"] = true_jy[keep]
    table = table[counts[keep]].reset_index(drop=True)
    table["ratio"] = table["flux_jy"] / table["true_jy"]
    miss = (table["flux_jy"] - table["true_jy"]).abs()
    sigma = error_sigma(len(table))
    table["flux_good"] = miss <= np.maximum(FLUX_LIMIT * table["true_jy"], sigma * table["flux_err_jy"])
    good = np.ones(len(table), dtype=bool)
    for axis in ("major", "minor"):
        limit = np.maximum(PLACE_LIMIT_BEAM, sigma * table[f"offset_{axis}_err_beam"])
        good &= table[f"offset_{axis}_beam"].abs() <= limit
    table["place_good"] = good
    return table


def error_sigma(n_sources: int) -> float:
    """How many σ each of so many sources may be off: chance takes one of them no more often than one of `FEW_SOURCES`.

    With p the chance of one Gaussian error beyond the limit, that of any of n is 1 − (1 − p)ⁿ (Šidák 1967, JASA 62,
    626): 3.0 for 16, 3.5 for 90.
    """
    from scipy.stats import norm

    inside = (1 - 2 * norm.sf(ERROR_SIGMA)) ** (FEW_SOURCES / max(n_sources, FEW_SOURCES))
    return float(norm.isf((1 - inside) / 2))


def _joined(
    flux_jy: np.ndarray, x: np.ndarray, y: np.ndarray, beam: PixelBeam
) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes with those of fainter sources within `TOGETHER_BEAMS`, and whether a source stands for itself."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    places = np.column_stack(beam.offsets(x[known], y[known]))
    flux, lone = flux_jy.copy(), np.zeros(len(flux_jy), dtype=bool)
    lone[known] = True
    near = cKDTree(places).query_ball_point(places, TOGETHER_BEAMS)
    for k in np.argsort(-flux_jy[known], kind="stable"):
        if lone[known[k]]:
            others = [j for j in known[near[k]] if lone[j] and j != known[k]]
            flux[known[k]] += flux_jy[others].sum()
            lone[others] = False
    return flux, lone


def judge(table: pd.DataFrame) -> Verdict:
    """Sum up what `compare` found."""
    if table.empty:
        return Verdict(0, (), (), float("nan"), float("nan"), float("nan"))
    ratio = table["ratio"].to_numpy()
    offset = np.hypot(table["offset_major_beam"], table["offset_minor_beam"])
    return Verdict(
        sources=len(table),
        flux_failures=tuple(table.loc[~table["flux_good"], "name"]),
        place_failures=tuple(table.loc[~table["place_good"], "name"]),
        median_ratio=float(np.median(ratio)),
        scatter=float(np.std(ratio)),
        median_offset_beam=float(np.median(offset)),
    )


def read_product(directory: Path) -> tuple[np.ndarray, Header, np.ndarray, np.ndarray | None]:
    """Read a tile's corrected image, or a mosaic: image, header, rms and, of a tile, power beam."""
    from astropy.io import fits

    tile = next(directory.glob("*.pbcor.fits"), None)
    stem = tile.name.removesuffix(".pbcor.fits") if tile else next(directory.glob("*.weights.fits")).name
    stem = stem.removesuffix(".weights.fits")
    image, header = fits.getdata(tile or directory / f"{stem}.fits", header=True)
    rms = fits.getdata(directory / f"{stem}.rms.fits")
    return image, header, rms, fits.getdata(directory / f"{stem}.pb.fits") if tile else None


def quality(rms: np.ndarray, pb: np.ndarray | None) -> np.ndarray:
    """How good each place is, 1 at best: the power beam of a tile, and of a mosaic its best rms over the rms."""
    return pb if pb is not None else np.nanpercentile(rms, 1) / rms


def compare_product(directory: Path, sources: Sequence[TrueSource]) -> pd.DataFrame:
    """Compare the image of a tile's directory, or the mosaic of a mosaic's, with the truth."""
    image, header, rms, pb = read_product(directory)
    return compare(image, header, rms, sources, pb=pb)
