"""The pixel grids of mosaics: one SIN projection, the same every night for a window of a strip.

A window's grid is a function of the window alone (centre, width, declination, tile radius, cell), never of
the tiles that happened to be good, so that two nights compare pixel by pixel. A mosaic that has no window
(a named one, or one centred on a transit) takes its grid from its tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contimg.core.errors import ConfigError

if TYPE_CHECKING:
    from astropy.wcs import WCS

MAX_WIDTH_DEG = 30.0
"""Widest mosaic in one SIN projection; at 15 degrees from its centre a SIN pixel is 3.4 % short."""
CELL_STEP_ARCSEC = 0.5
"""Rungs of the ladder of cell sizes that window grids may have."""
_RUNG_WIDTH = 1e-3


@dataclass(frozen=True)
class MosaicGrid:
    """A SIN projection centred on (ra_deg, dec_deg), north up, east left, square pixels.

    Attributes
    ----------
    ra_deg, dec_deg : float
        Centre and tangent point, ICRS, degrees.
    width_deg, height_deg : float
        Size of the projection plane (direction cosines times 180/pi), degrees.
    cell_arcsec : float
        Side of a pixel at the centre, arcsec.

    Raises
    ------
    ConfigError
        If the grid is wider or higher than 30 degrees, or a size is not positive.
    """

    ra_deg: float
    dec_deg: float
    width_deg: float
    height_deg: float
    cell_arcsec: float

    def __post_init__(self) -> None:
        if not (self.cell_arcsec > 0 and self.width_deg > 0 and self.height_deg > 0):
            raise ConfigError(
                f"a mosaic grid needs positive sizes, found {self.width_deg} x {self.height_deg} deg in "
                f"cells of {self.cell_arcsec} arcsec: check imaging.cell_arcsec and mosaic.width_minutes"
            )
        if max(self.width_deg, self.height_deg) > MAX_WIDTH_DEG:
            raise ConfigError(
                f"a mosaic of {self.width_deg:.1f} x {self.height_deg:.1f} deg is more than the "
                f"{MAX_WIDTH_DEG:.0f} deg that one SIN projection is used for: choose a shorter range "
                "(start, end) or smaller windows (mosaic.width_minutes)"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, both even, so that the tangent point is the centre of a pixel."""
        cell_deg = self.cell_arcsec / 3600
        rows, columns = (
            2 * math.ceil(size / cell_deg / 2 - 1e-6) for size in (self.height_deg, self.width_deg)
        )
        return rows, columns

    def wcs(self) -> WCS:
        """Return the celestial WCS; the tangent point is pixel (nx/2 + 1, ny/2 + 1), counted from 1."""
        from astropy.wcs import WCS

        rows, columns = self.shape
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [self.ra_deg, self.dec_deg]
        wcs.wcs.cdelt = [-self.cell_arcsec / 3600, self.cell_arcsec / 3600]
        wcs.wcs.crpix = [columns / 2 + 1, rows / 2 + 1]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        return wcs


def ladder_cell(cell_arcsec: float, *, step_arcsec: float = CELL_STEP_ARCSEC) -> float:
    """Round a cell size down to a rung of a fixed ladder.

    Tiles of one strip come out with slightly different cells from night to night: stellar aberration alone
    changes them by 1e-4 (v/c of the Earth) over a year. A window's grid must not follow. Cells up to 0.1 %
    short of a rung count as on it; cells finer than one step fall on a ladder ten times as fine.

    Parameters
    ----------
    cell_arcsec : float
        Cell of the tiles, arcsec.
    step_arcsec : float
        Distance between rungs, arcsec.

    Returns
    -------
    float
        The largest multiple of the step that is not more than 0.1 % above ``cell_arcsec``, arcsec.
    """
    if not cell_arcsec > 0:
        raise ConfigError(
            f"expected a positive cell in arcsec, found {cell_arcsec}: check imaging.cell_arcsec"
        )
    step = step_arcsec
    while cell_arcsec < step * (1 - _RUNG_WIDTH):
        step /= 10
    return round(math.floor(cell_arcsec * (1 + _RUNG_WIDTH) / step) * step, 9)


def circular_mean_deg(angles_deg: Sequence[float]) -> float:
    """Mean of angles on the circle, degrees in [0, 360): 359 and 1 give 0, not 180."""
    radians = np.deg2rad(np.asarray(angles_deg, dtype=np.float64))
    mean = math.atan2(float(np.sin(radians).mean()), float(np.cos(radians).mean()))
    return math.degrees(mean) % 360.0 % 360.0  # a tiny negative angle is 360.0 after the first


def project_sin(
    ra_deg: np.ndarray, dec_deg: np.ndarray, *, centre_ra_deg: float, centre_dec_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Direction cosines (l east, m north) of directions about a tangent point, in degrees (times 180/pi).

    l = cos d sin(a - a0); m = sin d cos d0 - cos d sin d0 cos(a - a0) (Greisen & Calabretta 2002, eqs 39-40
    with their eq. 5). Directions on the far hemisphere come back as NaN.
    """
    delta = np.deg2rad(np.asarray(ra_deg, dtype=np.float64) - centre_ra_deg)
    dec, dec0 = np.deg2rad(np.asarray(dec_deg, dtype=np.float64)), math.radians(centre_dec_deg)
    east = np.cos(dec) * np.sin(delta)
    north = np.sin(dec) * math.cos(dec0) - np.cos(dec) * math.sin(dec0) * np.cos(delta)
    toward = np.sin(dec) * math.sin(dec0) + np.cos(dec) * math.cos(dec0) * np.cos(delta)
    visible = toward > 0
    return np.rad2deg(np.where(visible, east, np.nan)), np.rad2deg(np.where(visible, north, np.nan))


def window_grid(
    ra_center_deg: float,
    dec_deg: float,
    width_minutes: float,
    tile_radius_deg: float,
    cell_arcsec: float,
    *,
    margin_deg: float = 0.2,
) -> MosaicGrid:
    """Return the grid of a sidereal window: the same every night.

    It holds every tile whose middle is within half the window's width of its centre. The caller passes the
    strip's nominal declination and a fixed cell (`ladder_cell`), not those of one night's tiles.

    Parameters
    ----------
    ra_center_deg, dec_deg : float
        ICRS direction of the window's middle at the strip's nominal declination, degrees.
    width_minutes : float
        Width of the window in sidereal minutes (4 minutes are 1 degree of right ascension).
    tile_radius_deg : float
        From a tile's centre to its farthest used pixel, degrees.
    cell_arcsec : float
        Side of a pixel, arcsec.
    margin_deg : float
        Room around the tiles: precession moves a strip by up to 0.14 degrees of ICRS declination in 25 years.

    Returns
    -------
    MosaicGrid

    Raises
    ------
    ConfigError
        If the window is too wide for one SIN projection.
    """
    half_ra_deg = width_minutes / 4 / 2
    if half_ra_deg * math.cos(math.radians(dec_deg)) >= MAX_WIDTH_DEG or half_ra_deg >= 90:
        raise ConfigError(
            f"a window of {width_minutes:.0f} minutes at declination {dec_deg:+.1f} is wider than the "
            f"{MAX_WIDTH_DEG:.0f} deg of one SIN projection: use a smaller mosaic.width_minutes"
        )
    # The path of the tiles' centres; its ends are its extremes in l and (away from the equator) in m.
    path = np.linspace(-half_ra_deg, half_ra_deg, 33)
    east, north = project_sin(
        ra_center_deg + path,
        np.full(path.shape, dec_deg),
        centre_ra_deg=ra_center_deg,
        centre_dec_deg=dec_deg,
    )
    border = tile_radius_deg + margin_deg
    return MosaicGrid(
        ra_deg=ra_center_deg % 360.0,
        dec_deg=dec_deg,
        width_deg=2 * (float(np.abs(east).max()) + border),
        height_deg=2 * (float(np.abs(north).max()) + border),
        cell_arcsec=cell_arcsec,
    )


def image_outline(wcs: WCS, shape: tuple[int, int], *, samples: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """ICRS right ascension and declination (degrees) of points along the edges of an image."""
    rows, columns = shape
    along_x = np.linspace(0, columns - 1, samples)
    along_y = np.linspace(0, rows - 1, samples)
    x = np.concatenate([along_x, along_x, np.zeros(samples), np.full(samples, columns - 1.0)])
    y = np.concatenate([np.zeros(samples), np.full(samples, rows - 1.0), along_y, along_y])
    ra_deg, dec_deg = wcs.wcs_pix2world(x, y, 0)
    return np.asarray(ra_deg), np.asarray(dec_deg)


def image_cell_arcsec(wcs: WCS) -> float:
    """Side of a pixel at the reference pixel, arcsec (square root of the pixel's area)."""
    matrix = np.asarray(wcs.pixel_scale_matrix)
    return math.sqrt(abs(float(np.linalg.det(matrix)))) * 3600


def grid_from_tiles(
    images: Sequence[tuple[WCS, tuple[int, int]]], *, cell_arcsec: float | None = None
) -> MosaicGrid:
    """Return a grid that covers all tiles, for a mosaic that belongs to no window.

    Parameters
    ----------
    images : sequence of (WCS, (rows, columns))
        Celestial WCS (ICRS) and shape of each tile's image.
    cell_arcsec : float or None
        Side of a pixel, arcsec; None takes the finest of the tiles, rounded down by `ladder_cell`.

    Returns
    -------
    MosaicGrid

    Raises
    ------
    ConfigError
        If the tiles span more than one SIN projection is used for.
    """
    if cell_arcsec is None:
        cell_arcsec = ladder_cell(min(image_cell_arcsec(wcs) for wcs, _ in images))
    centre_ra_deg = circular_mean_deg([float(wcs.wcs.crval[0]) for wcs, _ in images])
    centre_dec_deg = float(np.mean([float(wcs.wcs.crval[1]) for wcs, _ in images]))
    outlines = [image_outline(wcs, shape) for wcs, shape in images]
    ra_deg = np.concatenate([ra for ra, _ in outlines])
    dec_deg = np.concatenate([dec for _, dec in outlines])
    centre = {"centre_ra_deg": centre_ra_deg, "centre_dec_deg": centre_dec_deg}
    east, north = project_sin(ra_deg, dec_deg, **centre)
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        raise ConfigError(
            f"the {len(images)} tiles of this mosaic reach beyond the hemisphere about RA "
            f"{centre_ra_deg:.2f}, dec {centre_dec_deg:+.2f}: choose a shorter range (start, end); one SIN "
            f"projection is used up to {MAX_WIDTH_DEG:.0f} deg of width"
        )
    # A strip bends toward the pole about its middle: moving the tangent point to the middle of what it covers
    # keeps the grid small.
    middle_m = math.radians(float(north.min() + north.max()) / 2)
    centre["centre_dec_deg"] = round(centre_dec_deg + math.degrees(math.asin(middle_m)), 6)
    east, north = project_sin(ra_deg, dec_deg, **centre)
    border = 2 * cell_arcsec / 3600
    return MosaicGrid(
        ra_deg=centre_ra_deg,
        dec_deg=centre["centre_dec_deg"],
        width_deg=2 * float(np.abs(east).max()) + border,
        height_deg=2 * float(np.abs(north).max()) + border,
        cell_arcsec=cell_arcsec,
    )
