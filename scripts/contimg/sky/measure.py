"""Point sources measured in an image: flux and place, by a fit of the restoring beam.

A CLEANed point source looks like the restoring beam whatever its flux, so only amplitude and position are
free: the fit is well posed at any signal-to-noise ratio, and neighbours closer than a few beams are fitted
together. Errors follow Condon (1997, PASP 109, 166) for a point source in noise that is correlated like the
beam: sigma_S is the local rms, and along each axis of the beam
sigma_x = FWHM / (sqrt(8 ln 2) * S/N) (his equation 21 with the correlation lengths of equation 41).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from scipy import optimize, sparse
from scipy.spatial import cKDTree

from contimg.core.errors import InputError
from contimg.core.robust import mad_sigma

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
WINDOW_BEAMS = (
    0.7  # pixels within this elliptical distance (FWHM) of a source enter its fit (see docs/image.md)
)
MOST_FREE = 1000
"""So many peaks of an image are fitted with free places, the strongest; 14 ms each. More are an image's noise or
artefacts, tens of thousands in a bad one, and are measured where their highest pixel is."""
JOINT_MAX = 12  # sources fitted together at most; a larger cluster is cut into its nearest neighbours


@dataclass(frozen=True)
class PixelBeam:
    """The restoring beam on the pixel grid.

    Attributes
    ----------
    to_beam : (2, 2) float
        Takes a pixel offset (x, y) to the offset along (major, minor) axis in units of the axis' FWHM.
    major_pix, minor_pix : float
        FWHM in pixels.
    """

    to_beam: np.ndarray
    major_pix: float
    minor_pix: float

    @classmethod
    def from_header(cls, header: Header) -> PixelBeam:
        """Read BMAJ, BMIN (deg), BPA (deg, from the image's north through east) and the pixel scale.

        The beam is constant on the pixel grid (it is convolved there), so its angle refers to the y axis
        of the grid, not to the meridian of the place.
        """
        missing = [key for key in ("BMAJ", "BMIN", "CDELT1", "CDELT2") if key not in header]
        if missing:
            raise InputError(
                f"image header has no {', '.join(missing)}: a restoring beam and pixel scale are needed to "
                "measure fluxes; write BMAJ, BMIN, BPA, CDELT1 and CDELT2 in degrees"
            )
        angle = np.radians(header.get("BPA", 0.0))
        # unit vectors (east, north) of the two axes; a pixel step is CDELT (deg) toward east and north
        axes = np.array([[np.sin(angle), np.cos(angle)], [-np.cos(angle), np.sin(angle)]])
        scale = np.diag([header["CDELT1"], header["CDELT2"]])
        to_beam = np.diag([1 / header["BMAJ"], 1 / header["BMIN"]]) @ axes @ scale
        cell = np.sqrt(abs(header["CDELT1"] * header["CDELT2"]))
        return cls(to_beam, header["BMAJ"] / cell, header["BMIN"] / cell)

    def offsets(self, dx: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets along the major and minor axis, in FWHM, of pixel offsets (any shape)."""
        a = self.to_beam
        return a[0, 0] * dx + a[0, 1] * dy, a[1, 0] * dx + a[1, 1] * dy

    def value(self, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Beam, peak 1, sampled at pixel offsets: exp(-4 ln 2 (major^2 + minor^2))."""
        major, minor = self.offsets(dx, dy)
        return np.exp(-4 * np.log(2) * (major**2 + minor**2))

    def box(self, radius_beams: float) -> tuple[int, int]:
        """Half width and half height (pixels) of the box round an ellipse of that radius (FWHM)."""
        inverse = np.linalg.inv(self.to_beam)
        half = radius_beams * np.sqrt((inverse**2).sum(axis=1))
        return int(np.ceil(half[0])), int(np.ceil(half[1]))


def measure(
    image: np.ndarray,
    header: Header,
    positions: SkyCoord,
    *,
    rms: np.ndarray | None = None,
    forced: bool = False,
    search_beams: float = 1.0,
    joint_beams: float = 3.0,
) -> pd.DataFrame:
    """Fit a point source (the restoring beam) at each of the given places.

    Parameters
    ----------
    image : (ny, nx) float
        Jy/beam; NaN where there is nothing.
    header : Header
        2-D celestial header with BMAJ, BMIN, BPA.
    positions : SkyCoord, shape (n,)
        Where to look, any frame.
    rms : (ny, nx) float, optional
        Local rms of `image` in Jy/beam. Without it a robust rms of the pixels within 15 beams is used.
    forced : bool
        True: position fixed at the place given, amplitude only. False: position free; the start is the
        highest pixel within `search_beams`.
    search_beams : float
        How far (in FWHM along each beam axis) the fit may go from the place given.
    joint_beams : float
        Sources closer to each other than this (FWHM) are fitted together.

    Returns
    -------
    DataFrame of n rows, in the order of `positions`, index 0..n-1
        ``ra_deg, dec_deg`` (ICRS, fitted), ``flux_jy, flux_err_jy, local_rms_jy, snr``,
        ``offset_ra_arcsec, offset_dec_arcsec`` (fitted minus given, on the sky),
        ``offset_major_beam, offset_minor_beam`` (the same along the beam's axes, in FWHM) and their
        errors ``offset_major_err_beam, offset_minor_err_beam``, ``x_pix, y_pix`` (0-based),
        ``residual_jy`` (rms of image minus fit in the window), ``flags``: "" or, joined by commas,
        "outside" (no pixel there), "edge" (window cut by the edge or NaN), "moved" (the best place is
        further than `search_beams`: measured at the place given), "blended" (fitted with a neighbour).
    """
    beam = PixelBeam.from_header(header)
    wcs = WCS(header).celestial
    places = _plain_icrs(positions)
    x0, y0 = wcs.world_to_pixel(places)
    count = len(places)
    columns = _Fits(count)
    inside = _inside(image, x0, y0)
    columns.flags[~inside] = "outside"
    if rms is None:
        noise = _nearby_rms(image, beam, x0, y0, inside)
    else:
        noise = np.full(count, np.nan)
        noise[inside] = rms[np.rint(y0[inside]).astype(int), np.rint(x0[inside]).astype(int)]
    for group in _groups(beam, x0, y0, np.flatnonzero(inside), joint_beams):
        _fit_group(image, beam, x0, y0, group, columns, forced, search_beams)
    return _table(columns, wcs, places, beam, x0, y0, noise)


def find(
    image: np.ndarray, header: Header, rms: np.ndarray, sigma: float = 5.0, *, joint_beams: float = 3.0
) -> pd.DataFrame:
    """Find the peaks above `sigma` times the local rms and fit each with the restoring beam.

    A peak is a pixel that is the highest within one beam of itself. Returns the columns of `measure`,
    brightest S/N first; offsets are from the peak pixel. Beyond the `MOST_FREE` strongest, places are not fitted, and
    the flags say "held".
    """
    x, y = peaks(image, header, rms, sigma)
    if len(x) == 0:
        return measure(image, header, SkyCoord([], [], unit="deg"), rms=rms)
    row, column = y.astype(int), x.astype(int)
    order = np.argsort(-image[row, column] / rms[row, column], kind="stable")
    places = WCS(header).celestial.pixel_to_world(x[order], y[order])
    table = measure(image, header, places[:MOST_FREE], rms=rms, joint_beams=joint_beams)
    if len(places) > MOST_FREE:
        rest = measure(image, header, places[MOST_FREE:], rms=rms, forced=True, joint_beams=joint_beams)
        rest["flags"] = [f"{flags},held".lstrip(",") for flags in rest["flags"]]
        table = pd.concat([table, rest], ignore_index=True)
    return table[table["snr"] > sigma].sort_values("snr", ascending=False, ignore_index=True)


def peaks(
    image: np.ndarray, header: Header, rms: np.ndarray, sigma: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels above `sigma` times the local rms that are the highest within one beam; x and y, 0-based, (n,)."""
    beam = PixelBeam.from_header(header)
    half_x, half_y = beam.box(1.0)
    yy, xx = np.mgrid[-half_y : half_y + 1, -half_x : half_x + 1]
    footprint = np.hypot(*beam.offsets(xx, yy)) <= 1.0
    values = np.where(np.isfinite(image), image, -np.inf)
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero((values > sigma * rms) & (rms > 0))
    # few pixels are the highest of their neighbours: only those are compared with the whole beam round them
    ny, nx = image.shape
    highest = np.ones(len(rows), bool)
    for dy, dx in product((-1, 0, 1), (-1, 0, 1)):
        beside = values[np.clip(rows + dy, 0, ny - 1), np.clip(columns + dx, 0, nx - 1)]
        highest &= values[rows, columns] >= beside
    rows, columns = rows[highest], columns[highest]
    highest = np.zeros(len(rows), bool)
    for k in range(len(rows)):
        y, x = int(rows[k]), int(columns[k])
        y1, y2, x1, x2 = (
            max(0, y - half_y),
            min(ny, y + half_y + 1),
            max(0, x - half_x),
            min(nx, x + half_x + 1),
        )
        near = footprint[y1 - y + half_y : y2 - y + half_y, x1 - x + half_x : x2 - x + half_x]
        highest[k] = values[y, x] >= values[y1:y2, x1:x2][near].max()
    return columns[highest].astype(float), rows[highest].astype(float)


class _Fits:
    """What the fits found, one entry a source."""

    def __init__(self, count: int):
        self.x = np.full(count, np.nan)
        self.y = np.full(count, np.nan)
        self.flux = np.full(count, np.nan)
        self.residual = np.full(count, np.nan)
        self.flags = np.full(count, "", dtype=object)

    def flag(self, index: int, word: str) -> None:
        self.flags[index] = f"{self.flags[index]},{word}".lstrip(",")


def _plain_icrs(positions: SkyCoord) -> SkyCoord:
    """ICRS directions, 1-D, without distance, epoch or any other attribute that makes frames differ."""
    icrs = positions.icrs
    return SkyCoord(np.atleast_1d(icrs.ra), np.atleast_1d(icrs.dec))


def _inside(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """True where the pixel under (x, y) exists and is finite."""
    ny, nx = image.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    inside[inside] = np.isfinite(image[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)])
    return inside


def _groups(
    beam: PixelBeam, x: np.ndarray, y: np.ndarray, rows: np.ndarray, joint_beams: float
) -> list[list[int]]:
    """Clusters of sources linked by distances below `joint_beams` FWHM; every row is in one cluster."""
    if len(rows) == 0:
        return []
    tree = cKDTree(np.column_stack(beam.offsets(x[rows], y[rows])))
    pairs = tree.query_pairs(joint_beams, output_type="ndarray")
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(rows),) * 2)
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    clusters = np.split(rows[order], np.flatnonzero(np.diff(label[order])) + 1)
    return [
        list(cluster[i : i + JOINT_MAX]) for cluster in clusters for i in range(0, len(cluster), JOINT_MAX)
    ]


def _window(
    image: np.ndarray, beam: PixelBeam, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (x, y, value) within WINDOW_BEAMS of any of the places; NaN and the outside left out."""
    half_x, half_y = beam.box(WINDOW_BEAMS)
    ny, nx = image.shape
    x1, x2 = max(0, int(np.floor(x.min())) - half_x), min(nx, int(np.ceil(x.max())) + half_x + 1)
    y1, y2 = max(0, int(np.floor(y.min())) - half_y), min(ny, int(np.ceil(y.max())) + half_y + 1)
    yy, xx = np.mgrid[y1:y2, x1:x2]
    near = np.zeros(xx.shape, dtype=bool)
    for px, py in zip(x, y, strict=True):
        near |= np.hypot(*beam.offsets(xx - px, yy - py)) <= WINDOW_BEAMS
    values = image[y1:y2, x1:x2]
    near &= np.isfinite(values)
    return xx[near].astype(float), yy[near].astype(float), values[near].astype(float)


def _fit_group(
    image: np.ndarray,
    beam: PixelBeam,
    x0: np.ndarray,
    y0: np.ndarray,
    group: list[int],
    out: _Fits,
    forced: bool,
    search_beams: float,
) -> None:
    """Fit the sources of one cluster together and write the result into `out`."""
    gx, gy = x0[group].copy(), y0[group].copy()
    if not forced:
        gx, gy = _starts(image, beam, gx, gy, search_beams)
    px, py, values = _window(image, beam, gx, gy)
    full = np.pi * WINDOW_BEAMS**2 * beam.major_pix * beam.minor_pix
    for i, index in enumerate(group):
        near = np.hypot(*beam.offsets(px - gx[i], py - gy[i])) <= WINDOW_BEAMS
        if near.sum() < 0.8 * full:
            out.flag(index, "edge")
        if len(group) > 1:
            out.flag(index, "blended")
    if not forced:
        gx, gy = _free_places(beam, px, py, values, gx, gy)
        for i, index in enumerate(group):
            if np.max(np.abs(beam.offsets(gx[i] - x0[index], gy[i] - y0[index]))) > search_beams:
                gx[i], gy[i] = x0[index], y0[index]
                out.flag(index, "moved")
    model = np.column_stack([beam.value(px - x, py - y) for x, y in zip(gx, gy, strict=True)])
    flux = np.linalg.lstsq(model, values, rcond=None)[0]
    residual = values - model @ flux
    for i, index in enumerate(group):
        out.x[index], out.y[index], out.flux[index] = gx[i], gy[i], flux[i]
        near = np.hypot(*beam.offsets(px - gx[i], py - gy[i])) <= WINDOW_BEAMS
        out.residual[index] = np.sqrt(np.mean(residual[near] ** 2)) if near.any() else np.nan


def _starts(
    image: np.ndarray, beam: PixelBeam, x: np.ndarray, y: np.ndarray, search_beams: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each source's highest pixel, but for those whose pixel is nearer to another one: these begin where they are.

    Two that begin at one pixel could not be told apart any more.
    """
    found = np.array([_peak(image, beam, *place, search_beams) for place in zip(x, y, strict=True)])
    fx, fy = found.T
    away = np.hypot(*beam.offsets(fx[:, np.newaxis] - x, fy[:, np.newaxis] - y))  # [peak of, place of]
    taken = away.min(axis=1) < np.diag(away)
    return np.where(taken, x, fx), np.where(taken, y, fy)


def _peak(image: np.ndarray, beam: PixelBeam, x: float, y: float, search_beams: float) -> tuple[float, float]:
    """The highest pixel within `search_beams` of the place, or the place itself when nothing is finite."""
    half_x, half_y = beam.box(search_beams)
    ny, nx = image.shape
    cx, cy = round(x), round(y)
    x1, x2, y1, y2 = (
        max(0, cx - half_x),
        min(nx, cx + half_x + 1),
        max(0, cy - half_y),
        min(ny, cy + half_y + 1),
    )
    yy, xx = np.mgrid[y1:y2, x1:x2]
    near = np.hypot(*beam.offsets(xx - x, yy - y)) <= search_beams
    values = np.where(near & np.isfinite(image[y1:y2, x1:x2]), image[y1:y2, x1:x2], -np.inf)
    if values.size == 0 or not np.isfinite(values.max()):
        return x, y
    py, px = np.unravel_index(np.argmax(values), values.shape)
    return float(px + x1), float(py + y1)


def _free_places(
    beam: PixelBeam, px: np.ndarray, py: np.ndarray, values: np.ndarray, gx: np.ndarray, gy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares places of the sources; at every step the amplitudes are the best for those places.

    (Variable projection: amplitudes are linear, so only places are searched, scaled by the beam.)
    """
    count = len(gx)
    step = np.linalg.inv(beam.to_beam)  # beam units -> pixels, keeps the problem round
    scale = np.abs(values).max() if len(values) else 0.0
    if scale == 0.0 or len(values) <= 3 * count:
        return gx, gy

    def residual(parameters: np.ndarray) -> np.ndarray:
        shift = step @ parameters.reshape(2, count)
        model = np.column_stack(
            [beam.value(px - gx[i] - shift[0, i], py - gy[i] - shift[1, i]) for i in range(count)]
        )
        flux = np.linalg.lstsq(model, values, rcond=None)[0]
        return (values - model @ flux) / scale

    found = optimize.least_squares(
        residual, np.zeros(2 * count), method="trf", bounds=(-2.0, 2.0), x_scale=0.1
    )
    shift = step @ found.x.reshape(2, count)
    return gx + shift[0], gy + shift[1]


def _nearby_rms(
    image: np.ndarray, beam: PixelBeam, x: np.ndarray, y: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Robust rms (1.4826 MAD) of the pixels between 2 and 15 beams of each place, Jy/beam."""
    half = int(np.ceil(15 * np.sqrt(beam.major_pix * beam.minor_pix)))
    ny, nx = image.shape
    noise = np.full(len(x), np.nan)
    for i in np.flatnonzero(inside):
        cx, cy = round(x[i]), round(y[i])
        x1, x2, y1, y2 = max(0, cx - half), min(nx, cx + half + 1), max(0, cy - half), min(ny, cy + half + 1)
        yy, xx = np.mgrid[y1:y2, x1:x2]
        values = image[y1:y2, x1:x2][np.hypot(*beam.offsets(xx - x[i], yy - y[i])) > 2]
        values = values[np.isfinite(values)]
        if len(values):
            noise[i] = mad_sigma(values)
    return noise


def _table(
    fits: _Fits,
    wcs: WCS,
    places: SkyCoord,
    beam: PixelBeam,
    x0: np.ndarray,
    y0: np.ndarray,
    noise: np.ndarray,
) -> pd.DataFrame:
    """The result of `measure` from pixel positions and fluxes."""
    good = np.isfinite(fits.flux)
    ra, dec = np.full(len(x0), np.nan), np.full(len(x0), np.nan)
    east, north = np.full(len(x0), np.nan), np.full(len(x0), np.nan)
    if good.any():
        fitted = _plain_icrs(wcs.pixel_to_world(fits.x[good], fits.y[good]))
        ra[good], dec[good] = fitted.ra.deg, fitted.dec.deg
        d_ra, d_dec = places[good].spherical_offsets_to(fitted)
        east[good], north[good] = d_ra.arcsec, d_dec.arcsec
    major, minor = beam.offsets(fits.x - x0, fits.y - y0)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = fits.flux / noise
        place_error = 1 / (FWHM_PER_SIGMA * np.abs(snr))
    return pd.DataFrame(
        {
            "ra_deg": ra,
            "dec_deg": dec,
            "flux_jy": fits.flux,
            "flux_err_jy": np.where(good, noise, np.nan),
            "local_rms_jy": noise,
            "snr": snr,
            "offset_ra_arcsec": east,
            "offset_dec_arcsec": north,
            "offset_major_beam": major,
            "offset_minor_beam": minor,
            "offset_major_err_beam": place_error,
            "offset_minor_err_beam": place_error,
            "residual_jy": fits.residual,
            "x_pix": fits.x,
            "y_pix": fits.y,
            "flags": fits.flags.astype(str),
        }
    )
