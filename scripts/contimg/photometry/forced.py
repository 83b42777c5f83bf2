"""Forced photometry of listed places in a mosaic: coverage, amplitude, background, noise, in one pass.

Amplitude (Jy/beam): the restoring beam, fitted to the pixels within 0.7 of its full width, sources nearer than
`JOINT_BEAMS` together, by `contimg.sky.measure` as in QA and the search; in noise that is correlated like the beam
this is the matched filter (Condon 1997, PASP 109, 166). Background and noise: median and scaled MAD of image over rms
map in an annulus, times the rms map there. Errors: that noise times what the same filter scatters by at `BLANKS`
random places without a source, enlarged by the covariance of neighbours that are solved together.

Why each is so: docs/photometry.md, "What is measured". Memory is that of a band of rows, not of the mosaic.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from contimg.core.constants import MAD_TO_SIGMA
from contimg.core.robust import mad_sigma
from contimg.sky.measure import WINDOW_BEAMS, PixelBeam

Array = NDArray[Any]

JOINT_BEAMS = 3.0
"""As `contimg.sky.measure`: at 1.5 beams a neighbour ten times brighter would leave several per cent in the window."""
APERTURE_BEAMS = 1.0
INNER_BEAMS = 2.0  # of the annulus
SAMPLES = 600
"""Pixels of the annulus that are looked at: more are correlated with these."""
FEWEST = 60
"""With fewer good ones the rms map alone is believed."""
ROWS = 1024
CHUNK = 2000
BLANKS = 3000
"""Empty places: the factor they give is good to 1.17/sqrt(3000), 2 %."""
FEWEST_BLANKS = 300
BLANK_BEAMS = 4.0
MASK_LEVEL = 0.3  # of the noise: as far as a source is above this it takes no part in a background
MASK_BEAMS = 2.0
RESOLVED = 1.05
RESOLVED_SIGMA = 4.0
EDGE_PART = 0.8


class Rows(Protocol):
    """A plane of which rows can be read: an array, or the section of a FITS file."""

    def __getitem__(self, rows: Any, /) -> Array: ...


@dataclass(frozen=True)
class Forced:
    """What was measured, one entry a place; NaN and False where the mosaic does not cover it.

    Attributes
    ----------
    covered : (n,) bool
        The pixel under the place has an image and an rms.
    flux_jy, flux_int_jy : (n,) float64
        Amplitude of the beam, and flux within one beam over the part of a point's that is there.
    stat_err_jy, flux_int_err_jy : (n,) float64
        From noise.
    background_jy, local_rms_jy, map_rms_jy : (n,) float64
        Of the annulus; of the rms map at the place.
    edge, blended, resolved : (n,) bool
        `blended`: another place is within `blend_beams`.
    noise_factor : float
        Scatter of amplitudes at empty places for a unit of noise; 1.09 expected where noise looks like the beam.
    n_blanks : int
        Empty places that it was measured at; 0: the expected one was taken.
    """

    covered: Array
    flux_jy: Array
    stat_err_jy: Array
    flux_int_jy: Array
    flux_int_err_jy: Array
    background_jy: Array
    local_rms_jy: Array
    map_rms_jy: Array
    edge: Array
    blended: Array
    resolved: Array
    noise_factor: float
    n_blanks: int


@dataclass
class _Raw:
    """Measured at places, sources and blanks alike, before errors are known."""

    flux: Array
    integral: Array
    background: Array
    rms: Array
    map_rms: Array
    enlarged: Array  # error over that of a source alone
    edge: Array

    @classmethod
    def empty(cls, count: int) -> _Raw:
        made = cls(*(np.full(count, np.nan) for _ in fields(cls)))
        made.enlarged, made.edge = np.ones(count), np.zeros(count, bool)
        return made


def extract(
    image: Rows,
    rms: Rows,
    header: Header,
    x: Array,
    y: Array,
    *,
    blend_beams: float = 1.5,
    background_beams: float = 10.0,
    seed: int = 0,
) -> Forced:
    """Measure every place that a mosaic covers.

    Parameters
    ----------
    image, rms : (ny, nx)
        Jy/beam; arrays, or sections of FITS files, read by bands of rows.
    header : Header
        2-D, with NAXIS1, NAXIS2, restoring beam and pixel scale.
    x, y : (n,) float
        Places in pixels, 0-based; anything, NaN too, may lie outside.
    blend_beams, background_beams : float
        See `contimg.photometry.options.PhotometryOptions`.
    seed : int
        Of the empty places.
    """
    beam = PixelBeam.from_header(header)
    ny, nx = int(header["NAXIS2"]), int(header["NAXIS1"])
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    rows = np.flatnonzero(inside)
    blank_x, blank_y = _blanks(beam, x[rows], y[rows], (ny, nx), seed)
    every_x, every_y = np.concatenate([x, blank_x]), np.concatenate([y, blank_y])
    raw = _Raw.empty(len(every_x))
    groups = _groups(beam, x, y, rows)
    lonely = np.concatenate(
        [np.array([g[0] for g in groups if len(g) == 1], int), np.arange(len(x), len(every_x))]
    )
    joint = [g for g in groups if len(g) > 1]
    level = np.array([y[g].mean() for g in joint])
    annulus = _annulus(beam, background_beams)
    for first in range(0, ny, ROWS):
        last = min(first + ROWS, ny)
        single = lonely[(every_y[lonely] >= first - 0.5) & (every_y[lonely] < last - 0.5)]
        several = [joint[k] for k in np.flatnonzero((level >= first - 0.5) & (level < last - 0.5))]
        members = np.concatenate([single, *several]).astype(int)
        if len(members):
            band = _Band.read(image, rms, every_y[members], (ny, nx), beam, annulus)
            band.mask(beam, x[rows], y[rows])
            _measure(band, beam, annulus, every_x, every_y, members, raw)
            for group in several:
                _solve(band, beam, every_x[group], every_y[group], group, raw)
    return _finish(raw, len(x), beam, _near(beam, x, y, rows, blend_beams))


def _blanks(beam: PixelBeam, x: Array, y: Array, shape: tuple[int, int], seed: int) -> tuple[Array, Array]:
    """Random places with no listed source within `BLANK_BEAMS`."""
    rng = np.random.default_rng(seed)
    some_x, some_y = (rng.uniform(0, n - 1, 2 * BLANKS) for n in (shape[1], shape[0]))
    if len(x):
        tree = cKDTree(np.column_stack(beam.offsets(x, y)))
        apart, _ = tree.query(np.column_stack(beam.offsets(some_x, some_y)))
        some_x, some_y = some_x[apart > BLANK_BEAMS], some_y[apart > BLANK_BEAMS]
    return some_x[:BLANKS], some_y[:BLANKS]


def _groups(beam: PixelBeam, x: Array, y: Array, rows: Array) -> list[Array]:
    """Sources linked by distances below `JOINT_BEAMS`; each of `rows` is in one."""
    if len(rows) == 0:
        return []
    pairs = cKDTree(np.column_stack(beam.offsets(x[rows], y[rows]))).query_pairs(
        JOINT_BEAMS, output_type="ndarray"
    )
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(rows),) * 2)
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(label[order])) + 1)


def _near(beam: PixelBeam, x: Array, y: Array, rows: Array, beams: float) -> Array:
    """Which places have another within so many beams."""
    near = np.zeros(len(x), bool)
    if len(rows):
        pairs = cKDTree(np.column_stack(beam.offsets(x[rows], y[rows]))).query_pairs(
            beams, output_type="ndarray"
        )
        near[rows[pairs.ravel()]] = True
    return near


def _annulus(beam: PixelBeam, outer_beams: float) -> tuple[Array, Array]:
    """Offsets (x, y) of pixels of the annulus, thinned to about `SAMPLES`, spread evenly."""
    half_x, half_y = beam.box(outer_beams)
    dy, dx = np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1]
    distance = np.hypot(*beam.offsets(dx, dy))
    dx, dy = (axis[(distance >= INNER_BEAMS) & (distance <= outer_beams)] for axis in (dx, dy))
    step = max(1, len(dx) // SAMPLES)
    # a stride prime to the rows' lengths would do as well; a seeded choice cannot line up with the grid
    chosen = np.sort(np.random.default_rng(1).permutation(len(dx))[: max(len(dx) // step, 1)])
    return dx[chosen], dy[chosen]


@dataclass(frozen=True)
class _Band:
    """Some rows of a mosaic, with a margin of NaN wherever an annulus reaches beyond it."""

    image: Array  # (rows, columns), Jy/beam
    rms: Array
    quiet: Array  # image over rms, NaN on listed sources
    x0: int  # pixel of the first column, and row, of the arrays
    y0: int

    @classmethod
    def read(
        cls,
        image: Rows,
        rms: Rows,
        y: Array,
        shape: tuple[int, int],
        beam: PixelBeam,
        annulus: tuple[Array, Array],
    ) -> _Band:
        # a source whose mask reaches into an annulus is in the band whole: bands make no difference
        masked = beam.box(MASK_BEAMS)
        reach_x, reach_y = (
            int(np.abs(axis).max()) + 2 * half + 1 for axis, half in zip(annulus, masked, strict=True)
        )
        low, high = int(np.rint(y.min())) - reach_y, int(np.rint(y.max())) + reach_y + 1
        first, last = max(low, 0), min(high, shape[0])
        planes = []
        for plane in (image, rms):
            padded = np.full((high - low, shape[1] + 2 * reach_x), np.nan, np.float32)
            padded[first - low : last - low, reach_x : reach_x + shape[1]] = plane[first:last]
            planes.append(padded)
        with np.errstate(divide="ignore", invalid="ignore"):
            quiet = planes[0] / planes[1]
        return cls(planes[0], planes[1], quiet, x0=-reach_x, y0=low)

    def mask(self, beam: PixelBeam, x: Array, y: Array) -> None:
        """Take listed sources out of `quiet`, as far as each is above `MASK_LEVEL`."""
        half_x, half_y = beam.box(MASK_BEAMS)
        low, high = self.y0 + half_y, self.y0 + len(self.image) - half_y
        near = (y >= low) & (y < high - 0.5)
        x, y = x[near], y[near]
        dy, dx = (axis.ravel() for axis in np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1])
        at, width = self.at(x, y)
        flat = self.quiet.ravel()
        height = flat[at].copy()
        seen = np.flatnonzero(height > 2 * MASK_LEVEL)
        for start in range(0, len(seen), CHUNK):
            some = seen[start : start + CHUNK]
            off_x, off_y = np.rint(x[some]) - x[some], np.rint(y[some]) - y[some]
            along = np.hypot(*beam.offsets(dx + off_x[:, np.newaxis], dy + off_y[:, np.newaxis]))
            reach = 0.5 * np.sqrt(np.log2(height[some] / MASK_LEVEL))
            where = (at[some, np.newaxis] + dy * width + dx)[along <= reach[:, np.newaxis]]
            flat[where] = np.nan

    def at(self, x: Array, y: Array) -> tuple[Array, int]:
        """Places nearest to (x, y) as a flat index, and the row length."""
        column, row = np.rint(x).astype(np.int64) - self.x0, np.rint(y).astype(np.int64) - self.y0
        return row * self.image.shape[1] + column, self.image.shape[1]


def _measure(
    band: _Band, beam: PixelBeam, annulus: tuple[Array, Array], x: Array, y: Array, members: Array, raw: _Raw
) -> None:
    """Background, noise and the amplitude alone of the places of a band."""
    half_x, half_y = beam.box(APERTURE_BEAMS)
    dy, dx = (axis.ravel() for axis in np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1])
    flat_image, flat_rms, flat_quiet = (plane.ravel() for plane in (band.image, band.rms, band.quiet))
    for start in range(0, len(members), CHUNK):
        some = members[start : start + CHUNK]
        at, width = band.at(x[some], y[some])
        here = flat_rms[at].astype(float)
        here[~(np.isfinite(flat_image[at]) & (here > 0))] = np.nan
        some, at, here = some[np.isfinite(here)], at[np.isfinite(here)], here[np.isfinite(here)]
        if not len(some):
            continue
        around = at[:, np.newaxis] + annulus[1] * width + annulus[0]
        middle, scatter = _robust(flat_quiet[around])
        background = middle * here
        raw.map_rms[some], raw.background[some], raw.rms[some] = here, background, scatter * here
        values = flat_image[at[:, np.newaxis] + dy * width + dx] - background[:, np.newaxis]
        off_x, off_y = np.rint(x[some]) - x[some], np.rint(y[some]) - y[some]
        along = np.hypot(*beam.offsets(dx + off_x[:, np.newaxis], dy + off_y[:, np.newaxis]))
        shape = np.exp2(-4.0 * along**2)
        good = np.isfinite(values)
        window, aperture = along <= WINDOW_BEAMS, (along <= APERTURE_BEAMS) & good
        raw.edge[some] = (window & good).sum(axis=1) < EDGE_PART * window.sum(axis=1)
        window &= good
        values = np.where(good, values, 0.0)
        raw.flux[some] = (shape * values * window).sum(axis=1) / (shape**2 * window).sum(axis=1)
        raw.integral[some] = (values * aperture).sum(axis=1) / (shape * aperture).sum(axis=1)


def _robust(values: Array) -> tuple[Array, Array]:
    """Median and scaled median absolute deviation along the last axis without NaN; 0 and 1 where few are left."""
    values = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    few = count < FEWEST
    middle = _median(values, np.where(few, 1, count))
    apart = np.sort(np.abs(values - middle[:, np.newaxis]), axis=1)
    scatter = MAD_TO_SIGMA * _median(apart, np.where(few, 1, count))
    few |= ~(scatter > 0)
    return np.where(few, 0.0, middle), np.where(few, 1.0, scatter)


def _median(ordered: Array, count: Array) -> Array:
    """Median of the first `count` of each row."""
    rows = np.arange(len(ordered))
    return 0.5 * (ordered[rows, (count - 1) // 2].astype(float) + ordered[rows, count // 2])


def _solve(band: _Band, beam: PixelBeam, x: Array, y: Array, group: Array, raw: _Raw) -> None:
    """Amplitudes of a group together, over those of each alone."""
    there = np.isfinite(raw.map_rms[group])
    x, y, group = x[there], y[there], group[there]
    if len(group) < 2:
        return
    half_x, half_y = beam.box(APERTURE_BEAMS)
    x1, x2 = int(np.rint(x.min())) - half_x - band.x0, int(np.rint(x.max())) + half_x + 1 - band.x0
    y1, y2 = int(np.rint(y.min())) - half_y - band.y0, int(np.rint(y.max())) + half_y + 1 - band.y0
    rows, columns = np.mgrid[y1:y2, x1:x2]
    dx = columns.ravel()[:, np.newaxis] + band.x0 - x
    dy = rows.ravel()[:, np.newaxis] + band.y0 - y
    along = np.hypot(*beam.offsets(dx, dy))  # (npix, n)
    values = band.image[y1:y2, x1:x2].ravel() - np.mean(raw.background[group])
    good = np.isfinite(values)
    used = good & (along <= WINDOW_BEAMS).any(axis=1)
    shape = np.exp2(-4.0 * along**2)
    model = shape[used]
    inverse = np.linalg.pinv(model)  # (n, npix)
    flux = inverse @ values[used]
    raw.flux[group] = flux
    raw.enlarged[group] = np.sqrt(
        np.einsum("ij,jk,ik->i", inverse, _correlation(beam, dx[used], dy[used]), inverse)
    ) / alone(beam)
    left = np.where(good, values, 0.0) - np.where(good[:, np.newaxis], shape, 0.0) @ flux
    aperture = (along <= APERTURE_BEAMS) & good[:, np.newaxis]
    raw.integral[group] = flux + (left[:, np.newaxis] * aperture).sum(axis=0) / (shape * aperture).sum(axis=0)


def _correlation(beam: PixelBeam, dx: Array, dy: Array) -> Array:
    """Correlation of noise that looks like the beam, between pixels; offsets are from any place, (n, …)."""
    first_x, first_y = (axis.reshape(len(axis), -1)[:, 0] for axis in (dx, dy))
    major, minor = beam.offsets(first_x - first_x[:, np.newaxis], first_y - first_y[:, np.newaxis])
    return np.asarray(np.exp2(-4.0 * (major**2 + minor**2)))


def alone(beam: PixelBeam) -> float:
    """Scatter of the filter's amplitude of a single source for a unit of noise that is correlated like the beam."""
    half_x, half_y = beam.box(WINDOW_BEAMS)
    dy, dx = (axis.ravel() for axis in np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1])
    along = np.hypot(*beam.offsets(dx, dy))
    used = along <= WINDOW_BEAMS
    shape = np.exp2(-4.0 * along[used] ** 2)
    weight = shape / (shape @ shape)
    return float(np.sqrt(weight @ _correlation(beam, dx[used], dy[used]) @ weight))


def _finish(raw: _Raw, count: int, beam: PixelBeam, blended: Array) -> Forced:
    """Errors from the empty places, and what is more than a point."""
    blank = np.flatnonzero(np.isfinite(raw.flux[count:]) & ~raw.edge[count:]) + count
    if len(blank) >= FEWEST_BLANKS:
        unit = raw.rms[blank]
        peak, whole, more = (
            mad_sigma(scaled)
            for scaled in (
                raw.flux[blank] / unit,
                raw.integral[blank] / unit,
                (raw.integral[blank] - raw.flux[blank]) / unit,
            )
        )
    else:
        # of noise that is correlated like the beam, computed for windows of 0.7 and 1 beam
        blank, peak, whole, more = blank[:0], alone(beam), 1.46, 0.54
    n = slice(0, count)
    flux, integral, noise = raw.flux[n], raw.integral[n], raw.rms[n]
    error = noise * peak * raw.enlarged[n]
    excess_error = noise * more * raw.enlarged[n]
    with np.errstate(invalid="ignore"):
        resolved = (integral - RESOLVED * flux > RESOLVED_SIGMA * excess_error) & (flux > 0)
    return Forced(
        covered=np.isfinite(raw.flux[n]),
        flux_jy=flux,
        stat_err_jy=error,
        flux_int_jy=integral,
        flux_int_err_jy=noise * whole * raw.enlarged[n],
        background_jy=raw.background[n],
        local_rms_jy=noise,
        map_rms_jy=raw.map_rms[n],
        edge=raw.edge[n],
        blended=blended & np.isfinite(raw.flux[n]),
        resolved=resolved,
        noise_factor=peak,
        n_blanks=len(blank),
    )
