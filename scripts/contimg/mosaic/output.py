"""What a mosaic looks like on disk: its header, its three planes, its picture and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.constants import SECONDS_PER_DAY
from contimg.mosaic.common_beam import GaussianBeam
from contimg.mosaic.grid import MosaicGrid
from contimg.mosaic.picture import save_picture
from contimg.mosaic.tiles import TileImage

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from contimg.mosaic.options import MosaicOptions

_ROWS_AT_ONCE = 512


def make_header(
    grid: MosaicGrid,
    *,
    name: str,
    tiles: Sequence[TileImage],
    shares: np.ndarray,
    beam: GaussianBeam,
    options: MosaicOptions,
    origin: dict[str, Any],
) -> Header:
    """Return the header of a mosaic: 2-D, ICRS, SIN, with beam, frequency, dates, method and origin.

    Parameters
    ----------
    grid : MosaicGrid
    name : str
        OBJECT.
    tiles : sequence of TileImage
        The tiles in the mosaic.
    shares : numpy.ndarray (len(tiles),)
        Fraction of all weight that each brought: frequency and mean time are their averages with it.
    beam : GaussianBeam
        The common beam, or the average of the tiles' own.
    options : MosaicOptions
    origin : dict
        ``software``, ``sidecar`` and any other, see `contimg.mosaic.coadd.make_mosaic`.
    """
    from astropy.time import Time

    header = grid.wcs().to_header()
    starts, ends = np.array([t.start_mjd for t in tiles]), np.array([t.end_mjd for t in tiles])
    mean_mjd = float(np.sum(shares * (starts + ends) / 2))
    freq_hz = float(np.sum(shares * [tile.freq_hz for tile in tiles]))

    def isot(mjd: float) -> str:
        return str(Time(mjd, format="mjd", scale="utc").isot)

    header["OBJECT"] = (name, "mosaic")
    header["BUNIT"] = ("Jy/beam", "")
    header["BTYPE"] = ("Intensity", "")
    header["BMAJ"] = (beam.major_deg, "[deg] beam, full width at half power")
    header["BMIN"] = (beam.minor_deg, "[deg]")
    header["BPA"] = (beam.pa_deg, "[deg] from +y through east")
    header["BEAMMODE"] = (options.beam, "common: all convolved to it; native: average")
    header["RESTFRQ"] = (freq_hz, "[Hz] effective frequency")
    header["FREQ"] = (freq_hz, "[Hz] effective frequency")
    bands = [tile.band_hz for tile in tiles if tile.band_hz is not None]
    if bands:
        header["FREQMIN"] = (min(low for low, _ in bands), "[Hz] lower edge of the band")
        header["FREQMAX"] = (max(high for _, high in bands), "[Hz] upper edge of the band")
    header["STOKES"] = ("I", "")
    header["EXPTIME"] = (round(SECONDS_PER_DAY * float((ends - starts).sum()), 3), "[s] observed, all tiles")
    header["TIMESYS"] = ("UTC", "")
    header["DATE"] = (f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", "when this file was written")
    header["DATE-OBS"] = (isot(float(starts.min())), "start of the earliest tile")
    header["DATE-END"] = (isot(float(ends.max())), "end of the latest tile")
    header["DATE-AVG"] = (isot(mean_mjd), "weighted mean time")
    header["MJD-OBS"] = (float(starts.min()), "[d] DATE-OBS")
    header["MJD-END"] = (float(ends.max()), "[d] DATE-END")
    header["MJD-AVG"] = (mean_mjd, "[d] DATE-AVG")
    header["TELESCOP"] = (tiles[0].telescope, "")
    header["NTILES"] = (len(tiles), "tiles in the mosaic")
    header["MOSMETH"] = (options.method, "weighted by 1/rms^2, or mean")
    header["INTERPOL"] = (options.interpolation, "onto the mosaic's pixels")
    header["PBLIMIT"] = (options.pb_limit, "tiles used down to this power beam")
    header["ORIGIN"] = (str(origin.get("software", "contimg")), "")
    header["SIDECAR"] = (str(origin.get("sidecar", "status.json")), "inputs, options, versions")
    for key, value in origin.items():
        if key not in {"software", "sidecar"}:
            header.add_history(f"{key}: {value}")
    for tile in tiles:
        header.add_history(f"tile {tile.name}")
    return header


def write_planes(
    out_dir: Path, name: str, header: Header, image: np.ndarray, weight: np.ndarray, *, grid: MosaicGrid
) -> dict[str, Any]:
    """Write mosaic, weights, rms and picture; return the mosaic's metrics.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx) float32
        Jy/beam, NaN where no tile reaches.
    weight : numpy.ndarray (ny, nx) float32
        Inverse variance, (Jy/beam)^-2, 0 where no tile reaches. Turned into the rms in place.
    """
    from astropy.io import fits

    def write(suffix: str, data: np.ndarray, **cards: Any) -> None:
        own = header.copy()
        own.update(cards)
        fits.PrimaryHDU(data, own).writeto(out_dir / f"{name}{suffix}.fits", overwrite=True)

    write("", image)
    write(".weights", weight, BUNIT="beam2 Jy-2", BTYPE="Weight")
    for first in range(0, weight.shape[0], _ROWS_AT_ONCE):
        rows = weight[first : first + _ROWS_AT_ONCE]
        rows[rows <= 0] = np.nan
        np.reciprocal(np.sqrt(rows, out=rows), out=rows)
    write(".rms", weight, BTYPE="RMS")
    save_picture(out_dir / f"{name}.png", image, weight, header)
    return _metrics(image, weight, header, grid)


def _metrics(image: np.ndarray, rms: np.ndarray, header: Header, grid: MosaicGrid) -> dict[str, Any]:
    """Numbers of a mosaic, unit-bearing names, plain Python values."""
    return {
        "n_tiles": int(header["NTILES"]),
        "rms_median_jy": float(np.nanmedian(rms[::2, ::2])),
        "rms_min_jy": float(np.nanmin(rms)),
        "peak_jy": float(np.nanmax(image)),
        "area_deg2": covered_area_deg2(rms, grid),
        "beam_major_arcsec": header["BMAJ"] * 3600,
        "beam_minor_arcsec": header["BMIN"] * 3600,
        "beam_pa_deg": header["BPA"],
        "beam_mode": header["BEAMMODE"],
        "freq_hz": header["RESTFRQ"],
        "mjd_start": header["MJD-OBS"],
        "mjd_mean": header["MJD-AVG"],
        "mjd_end": header["MJD-END"],
        "n_rows": grid.shape[0],
        "n_columns": grid.shape[1],
        "cell_arcsec": grid.cell_arcsec,
        "center_ra_deg": grid.ra_deg,
        "center_dec_deg": grid.dec_deg,
    }


def covered_area_deg2(rms: np.ndarray, grid: MosaicGrid) -> float:
    """Solid angle with a finite rms: a SIN pixel at (l, m) holds cell^2 / sqrt(1 - l^2 - m^2)."""
    rows, columns = grid.shape
    cell = np.deg2rad(grid.cell_arcsec / 3600)
    l_squared = ((np.arange(columns) - columns // 2) * cell) ** 2
    total = 0.0
    for row in range(rows):
        m_squared = ((row - rows // 2) * cell) ** 2
        total += float(np.sum(np.isfinite(rms[row]) / np.sqrt(1 - l_squared - m_squared)))
    return float(total * np.rad2deg(cell) ** 2)
