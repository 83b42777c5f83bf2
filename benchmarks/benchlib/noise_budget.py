"""What a tile's noise is made of: the thermal noise, what the fit of bright sources takes, and the sky in no model.

A source that nothing fits or cleans leaves its sidelobes. Their rms is computed from the truth: the apparent fluxes of
all true sources that are not in the tile's table, through the tile's uv coverage with its Briggs weights, no pipeline
code between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from casacore import tables
from numpy.typing import NDArray

from contimg.core import names
from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.products import read_json
from contimg.simulate.truth import TileTruth, Truth

Array = NDArray[np.float64]
CELL = 1.15
"""Cells of the weighting over the inverse width of the image: any near 1 will do."""
MIDDLE_PB = 0.8
"""The noise of a tile is that of its middle (docs/qa.md)."""


@dataclass(frozen=True)
class Budget:
    """Noise in the middle of a tile, Jy/beam.

    Attributes
    ----------
    tile : str
    n_fitted, n_left : int
        Sources in the tile's table; true sources that are not.
    measured_jy : float
        Robust rms of the image where the beam is above `MIDDLE_PB`.
    thermal_jy : float
        What the weights of the data give.
    fit_jy : float
        The same over √(1 − t): the residuals are multiplied by 1 / (1 − t) for what the fit takes.
    sidelobes_jy : float
        Robust rms of the sidelobes of what is in no model, at the same place.
    """

    tile: str
    n_fitted: int
    n_left: int
    measured_jy: float
    thermal_jy: float
    fit_jy: float
    sidelobes_jy: float

    @property
    def expected_jy(self) -> float:
        """What the parts add up to."""
        return math.hypot(self.fit_jy, self.sidelobes_jy)


def measure(truth: Truth, tile: TileTruth, products: Path) -> Budget:
    """The budget of an imaged tile."""
    folder = products / names.image_dir(tile.name)
    status = read_json(folder / "status.json")
    metrics, plan = status["metrics"], status["parameters"]["plan"]
    planes = {
        plane: np.squeeze(fits.getdata(folder / f"{tile.name}.{plane}.fits")) for plane in ("image", "pb")
    }
    header = fits.getheader(folder / f"{tile.name}.image.fits")
    centre = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")
    left, n_fitted = in_no_model(truth, tile, products, centre, metrics["beam_major_arcsec"])
    cell_rad = math.radians(plan["cell_arcsec"] / 3600)
    uv = coverage(products / names.science_ms(tile.name))
    dirty = sidelobes(
        uv, left, robust=float(plan["robust"]), width_rad=plan["nx"] * cell_rad, cell_rad=cell_rad
    )
    y, x = np.indices(dirty.shape) - dirty.shape[0] // 2
    radius = np.hypot(x, y) * plan["cell_arcsec"]
    middle = planes["pb"] > MIDDLE_PB
    reach = math.sqrt(middle.sum() / math.pi) * plan["cell_arcsec"]
    thermal = metrics["thermal_from_weights_jy"]
    return Budget(
        tile.name,
        n_fitted,
        len(left),
        robust_rms(planes["image"][middle]),
        thermal,
        thermal / math.sqrt(1 - metrics["sky_model"]["taken"]),
        robust_rms(dirty[radius < reach]),
    )


def in_no_model(
    truth: Truth, tile: TileTruth, products: Path, centre: SkyCoord, within_arcsec: float
) -> tuple[Array, int]:
    """True sources that are not in a tile's table: east and north of the middle (rad) and apparent flux (Jy), (n, 3);
    and how many are in the table.
    """
    fitted = pd.read_parquet(products / names.image_dir(tile.name) / f"{tile.name}.sources.parquet")
    sky = [source for source in truth.sources if tile.apparent_jy.get(source.name, 0.0) > 0]
    places = SkyCoord([s.ra_deg for s in sky], [s.dec_deg for s in sky], unit="deg")
    known = SkyCoord(fitted["ra_deg"].to_numpy(), fitted["dec_deg"].to_numpy(), unit="deg")
    _, apart, _ = places.match_to_catalog_sky(known)
    alone = apart.arcsec > within_arcsec / 2
    east, north = centre.spherical_offsets_to(places[alone])
    flux = np.array([tile.apparent_jy[source.name] for source in sky])[alone]
    return np.column_stack([east.to_value(u.rad), north.to_value(u.rad), flux]), len(fitted)


def coverage(ms: Path) -> Array:
    """U and V (wavelengths) of every unflagged cross-correlation and channel, (n, 2), in the half plane V ≥ 0."""
    with tables.table(str(ms / "SPECTRAL_WINDOW"), ack=False) as table:
        freq_hz = table.getcell("CHAN_FREQ", 0)
    with tables.table(str(ms), ack=False) as table:
        cross = table.getcol("ANTENNA1") != table.getcol("ANTENNA2")
        uvw_m, flags = table.getcol("UVW")[cross], table.getcol("FLAG")[cross]
    good = ~flags.all(axis=2)
    uv = (uvw_m[:, None, :2] * (freq_hz / SPEED_OF_LIGHT_M_S)[:, None])[good]
    return np.asarray(np.where(uv[:, 1:] < 0, -uv, uv))


def briggs(uv: Array, robust: float, cell: float) -> Array:
    """Briggs weights (his thesis, eq. 3.19) of visibilities that weigh the same, (n,): cells of `cell` wavelengths."""
    _, where, count = np.unique(
        np.round(uv / cell).astype(int), axis=0, return_inverse=True, return_counts=True
    )
    f2 = (5.0 * 10.0**-robust) ** 2 / (np.sum(count.astype(float) ** 2) / count.sum())
    return np.asarray((1.0 / (1.0 + count * f2))[where.ravel()])


def sidelobes(uv: Array, sources: Array, *, robust: float, width_rad: float, cell_rad: float) -> Array:
    """Dirty image (Jy/beam, square) of sources (n, 3: east, north, Jy), as wide as the image."""
    import ducc0

    weights = briggs(uv, robust, CELL / width_rad)
    n = 2 * int(width_rad / cell_rad / 2)
    reach = 2 * math.ceil(np.abs(sources[:, :2]).max() / cell_rad + 8)
    sky = np.zeros((reach, reach))
    pixels = np.round(sources[:, :2] / cell_rad).astype(int) + reach // 2
    np.add.at(sky, (pixels[:, 0], pixels[:, 1]), sources[:, 2])
    how = {
        "uvw": np.column_stack([uv, np.zeros(len(uv))]),
        "freq": np.array([SPEED_OF_LIGHT_M_S]),
        "pixsize_x": cell_rad,
        "pixsize_y": cell_rad,
        "epsilon": 1e-5,
        "do_wgridding": False,
    }
    vis = ducc0.wgridder.experimental.dirty2vis(dirty=sky, **how)
    dirty = ducc0.wgridder.experimental.vis2dirty(vis=vis, wgt=weights[:, None], npix_x=n, npix_y=n, **how)
    return np.asarray(dirty / weights.sum())


def robust_rms(values: NDArray[np.floating]) -> float:
    """1.4826 times the median absolute deviation."""
    from astropy.stats import mad_std

    return float(mad_std(values[np.isfinite(values)]))
