"""Where an image has data, as a Multi-Order Coverage map (IVOA MOC 2.0), which VO tools intersect and search by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from mocpy import MOC

ORDER = 11
"""HEALPix order of the finest cells: 1.7 arcmin, less than any border of a mosaic is certain by."""


def coverage(finite: np.ndarray, wcs: WCS, *, order: int = ORDER) -> MOC:
    """Make the coverage of an image.

    Parameters
    ----------
    finite : numpy.ndarray (ny, nx) bool
        Pixels that hold data.
    wcs : WCS
        Celestial, of these pixels.
    order : int
        HEALPix order of the cells: one is in the map if the pixel at its centre holds data.

    Returns
    -------
    mocpy.MOC
    """
    from astropy import units as u
    from astropy.coordinates import ICRS
    from astropy_healpix import HEALPix
    from mocpy import MOC

    ny, nx = finite.shape
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs
    pixel_deg = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))
    # a quarter more than half the diagonal: SIN pixels far from the centre are larger than those at it
    radius = min(0.625 * np.hypot(nx, ny) * pixel_deg, 180.0) * u.deg
    cells = (
        MOC.from_cone(lon=centre.ra, lat=centre.dec, radius=radius, max_depth=order)
        .flatten()
        .astype(np.int64)
    )
    grid = HEALPix(nside=2**order, order="nested", frame=ICRS())
    x, y = wcs.world_to_pixel(grid.healpix_to_skycoord(cells))
    on_sky = np.isfinite(x) & np.isfinite(y)  # the other half of the sphere has no place in the projection
    column, row = np.rint(np.where(on_sky, x, -1)).astype(int), np.rint(np.where(on_sky, y, -1)).astype(int)
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    inside[inside] = finite[row[inside], column[inside]]
    held = cells[inside]
    return MOC.from_healpix_cells(
        held.astype(np.uint64), np.full(len(held), order, dtype=np.uint8), max_depth=order
    )
