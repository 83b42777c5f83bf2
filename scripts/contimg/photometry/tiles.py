"""What the tiles of a mosaic say of each source: when, through what beam, by which caltables it was seen.

Also their second estimate of its flux: the drift fit's, in `{tile}.sources.parquet`, with the slope of its spectrum
within the band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, get_sun
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.drift.systematic import relative_error
from contimg.photometry.foreshortened import area_ratio

Array = NDArray[Any]

SAME_BEAMS = 0.5
"""A fitted source within this part of the tile's beam (major axis) of a listed one is that one."""


@dataclass(frozen=True)
class _Seen:
    """One tile at the places of all sources; weight 0 where it does not reach."""

    name: str
    mid_mjd: float
    dec_deg: float
    caltables: tuple[str, ...]
    weight: Array  # (n,), 1/Jy²
    pb: Array
    distance_deg: Array
    beam_area: Array  # over that at the tile's middle, in the mosaic's pixels


def conditions(
    places: SkyCoord,
    tiles: Sequence[Mapping[str, Any]],
    *,
    pb_limit: float,
    pointings: Mapping[str, float],
    freq_hz: float,
    cal_error: float,
    beam_width_error: float,
    mosaic: WCS,
) -> pd.DataFrame:
    """What the tiles of a mosaic say of places.

    Parameters
    ----------
    places : SkyCoord, (n,)
    tiles : sequence of mapping
        Of the mosaic's status.json: those that have weight are read, one at a time, at the places alone.
    pb_limit : float
        A tile adds nothing where its power beam is below this (of the mosaic).
    pointings : mapping of str to float
        Declination that each tile was pointed at, degrees; a tile that is not there is taken to be pointed at its
        middle.
    freq_hz : float
        To which the fluxes of the fits are brought.
    cal_error, beam_width_error : float
        Relative error of a flux by calibration and of the beam's width, in quadrature with that of the fits
        (`contimg.drift.systematic.relative_error`).
    mosaic : WCS
        Celestial, of the mosaic.

    Returns
    -------
    DataFrame
        Columns of `contimg.photometry.table` from ``mjd`` and ``pb`` to ``solar_elongation_deg``; ``n_tiles`` is 0
        where none reaches. ``beam_area``: area of the beam over that of the header
        (`contimg.photometry.foreshortened`).
    """
    used = [tile for tile in tiles if tile["weight"] > 0]
    seen, fits_of = [], []
    for tile in used:
        path = Path(tile["path"])
        seen.append(_look(path, places, pb_limit, pointings, mosaic))
        fits_of.append(_fitted(path, places, freq_hz))
    table = _averages(seen, len(places))
    relative = relative_error(table["pb"], cal_error, beam_width_error)
    table = table.join(_visibilities(fits_of, len(places), relative))
    time = Time(np.where(table["n_tiles"] > 0, table["mjd"], 51544.5), format="mjd", scale="utc")
    return table.assign(
        hour_ut=24.0 * np.mod(table["mjd"], 1.0),
        solar_elongation_deg=_from_sun(places, time),
    )


def _from_sun(places: SkyCoord, time: Time) -> Array:
    """Distance of the Sun; its place is taken once for all times, which are within an hour or two: 0.1 deg at most."""
    if not len(places):
        return np.zeros(0)
    sun = get_sun(Time(np.median(time.mjd), format="mjd", scale="utc"))
    # as directions from the Earth: with its distance astropy would see the Sun from the barycentre it is near to
    return np.asarray(SkyCoord(sun.ra, sun.dec).separation(places).deg)


def _look(
    path: Path, places: SkyCoord, pb_limit: float, pointings: Mapping[str, float], mosaic: WCS
) -> _Seen:
    """One tile's noise and beam at the places."""
    name = path.name
    record = read_json(path / "status.json")
    weight, power = np.zeros(len(places)), np.full(len(places), np.nan)
    try:
        with (
            fits.open(path / f"{name}.rms.fits", memmap=True) as noise,
            fits.open(path / f"{name}.pb.fits", memmap=True) as beam,
        ):
            header = noise[0].header
            wcs = WCS(header).celestial
            x, y = wcs.world_to_pixel(places)
            ny, nx = noise[0].data.shape[-2:]
            with np.errstate(invalid="ignore"):
                inside = np.flatnonzero((x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5))
            rows, columns = (np.rint(axis[inside]).astype(int) for axis in (y, x))
            rms = np.asarray(noise[0].data.reshape(ny, nx)[rows, columns], float)
            power[inside] = beam[0].data.reshape(ny, nx)[rows, columns]
            start, end = (Time(header[key], scale="utc").mjd for key in ("DATE-OBS", "DATE-END"))
            centre = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: expected a tile's rms and pb ({error}): make the tile again") from error
    good = (rms > 0) & np.isfinite(rms) & (power[inside] >= pb_limit)
    weight[inside[good]] = 1.0 / rms[good] ** 2
    tables = dict.fromkeys(str(Path(table).parent) for table in record.get("caltables", ()))
    return _Seen(
        name=name,
        mid_mjd=0.5 * float(start + end),
        dec_deg=pointings.get(name, float(centre.dec.deg)),
        caltables=tuple(tables),
        weight=weight,
        pb=power,
        distance_deg=np.asarray(centre.separation(places).deg),
        beam_area=area_ratio(wcs, mosaic, places),
    )


def _averages(seen: Sequence[_Seen], count: int) -> pd.DataFrame:
    """Means over the tiles with their weights, and what they are called."""
    reached = np.array([tile.weight > 0 for tile in seen]).reshape(len(seen), count)
    total = np.sum([tile.weight for tile in seen], axis=0) if seen else np.zeros(count)

    def mean(values: Sequence[Array | float]) -> Array:
        summed = np.zeros(count)
        for tile, value in zip(seen, values, strict=True):
            summed += np.where(tile.weight > 0, tile.weight * value, 0.0)
        return np.divide(summed, total, out=np.full(count, np.nan), where=total > 0)

    texts: dict[bytes, tuple[str, str, str]] = {}
    columns = []
    for row in reached.T:
        key = row.tobytes()
        if key not in texts:
            these = [tile for tile, there in zip(seen, row, strict=True) if there]
            tables = list(dict.fromkeys(table for tile in these for table in tile.caltables))
            stars = list(dict.fromkeys(Path(table).name.partition("_")[2] for table in tables))
            texts[key] = (";".join(tile.name for tile in these), ";".join(tables), ";".join(stars))
        columns.append(texts[key])
    return pd.DataFrame(
        {
            "mjd": mean([tile.mid_mjd for tile in seen]),
            "pb": mean([tile.pb for tile in seen]),
            "beam_distance_deg": mean([tile.distance_deg for tile in seen]),
            "beam_area": mean([tile.beam_area for tile in seen]),
            "pointing_dec_deg": mean([tile.dec_deg for tile in seen]),
            "n_tiles": reached.sum(axis=0),
            "tiles": pd.Series([text[0] for text in columns], dtype="str"),
            "caltable": pd.Series([text[1] for text in columns], dtype="str"),
            "calibrator": pd.Series([text[2] for text in columns], dtype="str"),
        }
    )


def _fitted(path: Path, places: SkyCoord, freq_hz: float) -> pd.DataFrame | None:
    """What a tile's drift fit has of the places; None where it has no table or none of them.

    Rows: ``source`` (index of the place), ``flux_jy, flux_err_jy`` at `freq_hz`, ``band_slope, band_slope_err``.
    """
    name = path.name
    where = path / f"{name}.sources.parquet"
    if not where.is_file() or not len(places):
        return None
    table = pd.read_parquet(where)
    table = table[~table["flags"].str.contains("moved", regex=False) & (table["flux_err_jy"] > 0)]
    if table.empty:
        return None
    at = SkyCoord(table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy(), unit="deg")
    near, apart, _ = at.match_to_catalog_sky(places)
    back, _, _ = places.match_to_catalog_sky(at)
    beam_deg = float(fits.getheader(path / f"{name}.rms.fits")["BMAJ"])
    same = (apart < SAME_BEAMS * beam_deg * u.deg) & (back[near] == np.arange(len(table)))
    scale = (freq_hz / REFERENCE_HZ) ** table["spectral_index"].to_numpy()
    without = np.full(len(table), np.nan)
    return pd.DataFrame(
        {
            "source": near,
            "flux_jy": table["flux_jy"].to_numpy() * scale,
            "flux_err_jy": table["flux_err_jy"].to_numpy() * scale,
            "band_slope": table.get("band_slope", without),
            "band_slope_err": table.get("band_slope_err", without),
        }
    )[same]


def _visibilities(found: Sequence[pd.DataFrame | None], count: int, relative: Array) -> pd.DataFrame:
    """Means of the tiles' fits with their weights."""
    there = [table for table in found if table is not None]
    made = pd.DataFrame(
        {
            name: np.full(count, np.nan)
            for name in ("flux_vis_jy", "flux_vis_err_jy", "band_slope", "band_slope_err")
        }
    ).assign(n_vis_tiles=0)
    if not there:
        return made
    rows = pd.concat(there, ignore_index=True)
    made["n_vis_tiles"] = np.bincount(rows["source"], minlength=count)
    for value, column in (("flux_jy", "flux_vis_jy"), ("band_slope", "band_slope")):
        error = rows[f"{value.removesuffix('_jy')}_err{'_jy' if value.endswith('_jy') else ''}"]
        good = np.isfinite(rows[value]) & (error > 0)
        weight = 1.0 / error[good] ** 2
        total = np.bincount(rows["source"][good], weight, minlength=count)
        summed = np.bincount(rows["source"][good], weight * rows[value][good], minlength=count)
        with np.errstate(divide="ignore", invalid="ignore"):
            made[column] = np.where(total > 0, summed / total, np.nan)
            spread = np.where(total > 0, 1.0 / np.sqrt(total), np.nan)
        if value == "flux_jy":
            spread = np.hypot(spread, relative * made[column])
        made["flux_vis_err_jy" if value == "flux_jy" else "band_slope_err"] = spread
    return made
