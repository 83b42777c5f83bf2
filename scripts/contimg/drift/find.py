"""Which sources are in a tile: dirty images of what is left, and fits to the visibilities, in turns.

No CLEAN: a round images the residual visibilities, takes the peaks that no sidelobe of a brighter one explains, and
fits all sources found so far to the visibilities through the drifting beam (`contimg.drift.fit`), which takes
them out to a few parts in a thousand, sidelobes and all. The next round sees what is fainter by the height of a
sidelobe. A peak that was none comes out of the fit without significance and is dropped.

The rounds work on Stokes I averaged over channels, kept in memory. The averaging's smearing is in the model, so
that fluxes and places are those of the full data; it costs the faintest sources far out a few per cent of their
signal-to-noise ratio.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from contimg.drift.budget import Budget
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.fit import Fit, fit_data
from contimg.drift.gridder import Gridder, Visibilities
from contimg.drift.neighbours import with_neighbours
from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.state import FitOptions
from contimg.sky.measure import PixelBeam, measure, peaks
from contimg.sky.noise import local_rms
from contimg.telescope.beam import PowerBeam

Array = NDArray[Any]
logger = logging.getLogger(__name__)
CHANNELS = 64
"""The band is averaged to about this many channels."""
MAX_ROUNDS = 8
ROUND_SIGMA = 0.5
"""A fit between rounds may rest at steps of this part of an error: what is left, a third of it, is no peak of the next
image. The last fit goes to the end."""
MAX_SOURCES = 150
MAX_NEW = 60
"""Most peaks taken in one round, brightest first."""
SIDELOBE_MARGIN = 1.2
"""A peak counts if it is this much higher than any sidelobe of a brighter one at its distance."""
NEAR_SIGMA = 100.0
"""A fit begins near its end (`contimg.drift.fit.fit_data`) where no new peak is higher: of so faint a source a
visibility shows less than its noise."""
RESIDUE = 0.003
"""What errors of the gains leave of a source that was taken out, in the first rounds, as a part of its sidelobes.
Fainter peaks in its sidelobes are left to CLEAN."""
EXCESS = 1.2
"""Variance of the first rounds' residuals over what the weights promise, above which gains may be what is wrong."""
TRUSTED = (0.2, 0.05, 0.0125)
"""Sources by which gains are corrected in the first rounds, as a part of the brightest: fainter ones may be what the
errors of the gains make of it."""
SAME_BEAMS = 0.8
"""A peak this near to a source (FWHM along the beam's axes) is that source."""
MAX_TRIES = 2
"""A peak that came out of so many fits without significance is not tried again: once may be for want of another source
in the model."""
PASSES, SECONDS = 150.0, 30.0
"""Of a search's budget, for each source."""
LAST_PASSES = 4
"""What the last fit may spend all the same, for each source."""
PROBES = 64
"""Places at which the last fit looks how much of a faint source it takes up: their mean is good to an eighth of it."""
IMAGE_ACCURACY = 1e-3  # of the gridder; the noise is far above it, and what is brighter is gone by then


@dataclass(frozen=True)
class Search:
    """Where and how deep sources are looked for.

    Attributes
    ----------
    header : Header
        2-D, with the synthesised beam: the grid of the images. With PV2_1 and PV2_2 of `contimg.image.header.slant`
        it is slanted along the array's plane, which leaves little of w.
    pb : (ny, nx) float32
        Drift-averaged power beam.
    sigma : float
        Signal-to-noise ratio in the image, and of the fitted flux.
    pb_limit : float
        Nothing is looked for where the power beam is below.
    robust, uvmin_klambda : float
        Weighting of the images.
    rms_box_pix : float
        Side of the boxes of the local rms.
    least_jy : float
        Fainter peaks (apparent, Jy/beam) are left alone.
    shape_snr : float
        Fainter sources stay points, whatever their residuals suggest.
    passes, seconds : float
        What the search may spend for each source (`contimg.drift.budget`).
    most_new : int
        Most peaks taken in one round, brightest first.
    for_model : bool
        Sources are wanted for a model alone: the last fit rests where those between rounds do, its errors are those of
        noise alone, and neither spectra in parts of the band nor `Fit.taken` are made.
    """

    header: Header
    pb: Array
    sigma: float
    pb_limit: float
    robust: float
    uvmin_klambda: float
    rms_box_pix: float
    least_jy: float = 0.0
    shape_snr: float = 0.0
    passes: float = PASSES
    seconds: float = SECONDS
    most_new: int = MAX_NEW
    for_model: bool = False


def find_sources(
    data: StokesI,
    search: Search,
    *,
    beam: PowerBeam | None,
    freq_average: int = 1,
    known: pd.DataFrame | None = None,
    correct: Callable[[pd.DataFrame], StokesI | None] | None = None,
    threads: int = 1,
) -> Fit | None:
    """Find the sources of a tile and fit them to its visibilities.

    Parameters
    ----------
    data : StokesI
        Calibrated visibilities.
    search : Search
    beam : PowerBeam or None
        Power pattern of a dish; None: no beam.
    freq_average : int
        Raw channels in each channel of `data`.
    known : DataFrame, optional
        Sources to begin with (``ra_deg, dec_deg, flux_jy``, …).
    correct : callable, optional
        Called in the first rounds with the brightest sources fitted, where residuals are above what the weights promise
        (`EXCESS`): may return better data of the same shape, with which the search goes on.
    threads : int

    Returns
    -------
    Fit or None
        Of all sources that are significant; None where there is none. Where the budget was spent first, of those
        found by then: `Fit.stopped` says so, and peaks that are left are CLEAN's.
    """
    budget = Budget(search.passes, search.seconds)
    step = channels_averaged(len(data.meta.freq_hz))
    coarse = AveragedI(data, step)
    array = DriftArray(coarse.meta, beam=beam, freq_average=freq_average * step)
    imager = _DirtyImager(coarse, search, threads)
    options = FitOptions(
        uvmin_klambda=search.uvmin_klambda,
        shape_snr=search.shape_snr,
        band_snr=np.inf,
        converged_sigma=ROUND_SIGMA,
    )
    logger.info("sidelobes: %.3f near, %.4f far", *imager.envelope[[len(imager.envelope) // 20, -1]])
    sources = pd.DataFrame(columns=["ra_deg", "dec_deg", "flux_jy"]) if known is None else known
    dropped = sources[["ra_deg", "dec_deg"]].iloc[:0]
    taken = set(PointSources.from_table(sources).names)
    trusted, stopped, near = list(TRUSTED), "", False
    names = (name for name in map("S{:03d}".format, count()) if name not in taken)
    for number in range(1, MAX_ROUNDS + 1):
        if len(sources):
            fitted = fit_data(
                coarse, array, sources, options=options, budget=budget, near=near, threads=threads
            )
            if correct is not None and trusted and fitted.noise_scale > EXCESS and not budget.used_up():
                apparent = fitted.table["flux_jy"] * fitted.table["beam"]
                better = correct(fitted.table[apparent > trusted.pop(0) * apparent.max()])
                if better is not None:
                    coarse = imager.data = AveragedI(better, step)
                    fitted = fit_data(coarse, array, sources, options=options, budget=budget, threads=threads)
            significant = fitted.table["snr"] >= search.sigma
            sources = fitted.table[significant].reset_index(drop=True)
            if not significant.all():
                dropped = pd.concat([dropped, fitted.table.loc[~significant, ["ra_deg", "dec_deg"]]])
        if len(sources) and (stopped := budget.used_up()):
            logger.warning("search stopped in round %d with %d sources: %s", number, len(sources), stopped)
            break
        new = _new_peaks(imager.residual(array, sources), search, sources, dropped, imager.envelope)
        logger.info("round %d: %d sources, %d more peaks", number, len(sources), len(new))
        if new.empty or len(sources) >= MAX_SOURCES:
            near = True
            break
        near = len(sources) > 0 and bool((new["snr"] < NEAR_SIGMA).all())
        new.insert(0, "name", list(islice(names, len(new))))
        sources = pd.concat([sources, new], ignore_index=True)
    if sources.empty:
        return None
    if stopped:
        budget, sources, near = Budget(LAST_PASSES), _one_a_place(sources, search.header), False
    # When all are known, every place is fitted: read off a dirty image, among sidelobes, it is not good enough.
    # Before, faint ones would wander.
    options = replace(options, place_snr=search.sigma)
    if not search.for_model:
        exact = FitOptions.converged_sigma
        options = replace(options, band_snr=FitOptions.band_snr, converged_sigma=exact, probes=PROBES)
    found = fit_data(coarse, array, sources, options=options, budget=budget, near=near, threads=threads)
    if not search.for_model:
        box = search.rms_box_pix
        found = with_neighbours(found, coarse, array, search.header, rms_box_pix=box, threads=threads)
    return replace(found, stopped=f"the search: {stopped}") if stopped else found


def channels_averaged(n_channels: int) -> int:
    """How many of `n_channels` channels a search averages into one: a divisor that leaves `CHANNELS` or more."""
    return max(
        (n for n in range(1, n_channels + 1) if n_channels % n == 0 and n_channels // n >= CHANNELS),
        default=1,
    )


def _new_peaks(
    image: Array, search: Search, sources: pd.DataFrame, dropped: pd.DataFrame, envelope: Array
) -> pd.DataFrame:
    """Peaks that are no sidelobes, no sources yet and not dropped `MAX_TRIES` times: ``ra_deg, dec_deg, flux_jy, snr``.

    What lies where the power beam is too low to be fitted casts sidelobes all the same.
    """
    wcs = WCS(search.header).celestial
    noise = local_rms(image, search.rms_box_pix)
    x, y = peaks(image, search.header, np.maximum(noise, search.least_jy / search.sigma), search.sigma)
    height = image[y.astype(int), x.astype(int)]
    wanted = search.pb[y.astype(int), x.astype(int)] >= search.pb_limit
    # what casts sidelobes: what is left of the sources that were taken out, then the peaks, highest first
    at_x, at_y, casts = np.zeros(0), np.zeros(0), np.zeros(0)
    if len(sources):
        at_x, at_y = wcs.world_to_pixel(SkyCoord(sources["ra_deg"], sources["dec_deg"], unit="deg"))
        casts = RESIDUE * (sources["flux_jy"] * sources["beam"]).to_numpy()
    chosen: list[int] = []
    for k in np.argsort(-height):
        distance = np.hypot(at_x - x[k], at_y - y[k]).astype(int)
        sidelobes = casts * envelope[np.minimum(distance, len(envelope) - 1)]
        if height[k] > SIDELOBE_MARGIN * sidelobes.max(initial=0.0):
            if wanted[k]:
                chosen.append(int(k))
            at_x, at_y, casts = np.append(at_x, x[k]), np.append(at_y, y[k]), np.append(casts, height[k])
        if len(chosen) == search.most_new:
            break
    if not chosen:
        return pd.DataFrame(columns=["ra_deg", "dec_deg", "flux_jy", "snr"])
    places = wcs.pixel_to_world(x[chosen], y[chosen])
    found = measure(image, search.header, places, rms=noise)
    row, column = (np.rint(found[axis]).astype(int) for axis in ("y_pix", "x_pix"))
    found["flux_jy"] = found["flux_jy"] / search.pb[row, column]
    seen_before = _count_near(found, sources, search.header) > 0
    seen_before |= _count_near(found, dropped, search.header) >= MAX_TRIES
    found = found[~seen_before]
    return found[["ra_deg", "dec_deg", "flux_jy", "snr"]].reset_index(drop=True)


def _one_a_place(sources: pd.DataFrame, header: Header) -> pd.DataFrame:
    """Of sources that ran into each other (`SAME_BEAMS`) the strongest, with the flux of all: they cancel,
    unfinished."""
    strength = (sources["flux_jy"] * sources.get("beam", 1.0)).abs()
    left = sources.loc[strength.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
    kept = []
    while len(left):
        near = np.array(
            [_count_near(left.iloc[[k]], left.iloc[[0]], header)[0] > 0 for k in range(len(left))]
        )
        kept.append({**left.iloc[0].to_dict(), "flux_jy": float(left.loc[near, "flux_jy"].sum())})
        left = left[~near].reset_index(drop=True)
    found = pd.DataFrame(kept)
    return found[found["flux_jy"] > 0].reset_index(drop=True)


def _count_near(found: pd.DataFrame, others: pd.DataFrame, header: Header) -> Array:
    """How many of `others` lie within `SAME_BEAMS` (FWHM along the axes of the beam) of each row of `found`."""
    wcs, beam = WCS(header).celestial, PixelBeam.from_header(header)
    if not len(found) or not len(others):
        return np.zeros(len(found), int)
    (x1, y1), (x2, y2) = (
        wcs.world_to_pixel(SkyCoord(table["ra_deg"], table["dec_deg"], unit="deg"))
        for table in (found, others)
    )
    distance = np.hypot(*beam.offsets(x1[:, np.newaxis] - x2, y1[:, np.newaxis] - y2))
    return np.count_nonzero(distance < SAME_BEAMS, axis=1)


class _DirtyImager:
    """Dirty images of the residuals of data in memory, Briggs-weighted."""

    def __init__(self, data: AveragedI, search: Search, threads: int) -> None:
        self.data = data
        cell_rad = float(np.radians(abs(search.header["CDELT2"])))
        rows, columns = np.nonzero(search.pb >= search.pb_limit)
        x, y = columns - search.header["CRPIX1"] + 1, rows - search.header["CRPIX2"] + 1
        self.gridder = Gridder(
            Visibilities.residual(data),
            search.header,
            cell_rad=cell_rad,
            robust=search.robust,
            uvmin_klambda=search.uvmin_klambda,
            farthest_rad=cell_rad * float(np.hypot(x, y).max(initial=0.0)),
            accuracy=IMAGE_ACCURACY,
            threads=threads,
        )
        self.envelope = self._envelope(search.header)

    def residual(self, array: DriftArray, sources: pd.DataFrame) -> Array:
        """Image of the data less the sources, (ny, nx), Jy/beam."""
        return self.gridder.dirty(Visibilities.residual(self.data, array, sources).vis)

    def _envelope(self, header: Header) -> Array:
        """Highest sidelobe at each distance (whole pixels) from a source or farther, in units of its peak.

        Within the main lobe it is 1. The last entry stands for all that is farther than a quarter of the field.
        """
        height, width = (max(64, 2 * (n // 4)) for n in self.gridder.shape)
        psf = self.gridder.psf((height, width))
        ny, nx = psf.shape
        y, x = np.indices(psf.shape)
        dx, dy = x - nx // 2, y - ny // 2
        lobe = np.hypot(*PixelBeam.from_header(header).offsets(dx, dy)) < 1.0
        farthest = min(nx, ny) // 2 - 1
        distance = np.minimum(np.hypot(dx, dy).astype(int), farthest)
        highest = ndimage.maximum(np.where(lobe, 1.0, psf), distance, np.arange(farthest + 1))
        return np.maximum.accumulate(highest[::-1])[::-1]
