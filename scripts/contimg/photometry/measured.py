"""A mosaic's planes and a list of sources to the rows of the photometry table.

What needs the mosaic alone is `of_mosaic`, which `contimg measure` uses too; `rows` adds what its tiles say.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.core.robust import mad_sigma
from contimg.drift.systematic import relative_error
from contimg.photometry import table as layout
from contimg.photometry.forced import Forced, extract
from contimg.photometry.foreshortened import AMPLITUDE_POWER, INTEGRAL_POWER
from contimg.photometry.options import PhotometryOptions
from contimg.photometry.table import Flag

Array = NDArray[Any]

FIELD_MARGIN_DEG = 0.1


@dataclass(frozen=True)
class Mosaic:
    """Files of an image that is measured: its own and its rms (Jy/beam), corrected for the primary beam."""

    image: Path
    rms: Path

    @classmethod
    def of(cls, directory: Path) -> Mosaic:
        """Of a mosaic's directory, a tile's, or a published version's; or of its FITS file.

        Raises
        ------
        InputError
            There is no image with its rms.
        """
        if directory.suffix == ".fits":
            noise = directory.with_name(
                directory.name.removesuffix(".fits").removesuffix(".pbcor").removesuffix(".image")
                + ".rms.fits"
            )
            found = [noise] if noise.is_file() else []
        else:
            found = sorted(directory.glob("*.rms.fits")) if directory.is_dir() else []
        if len(found) != 1:
            raise InputError(f"{directory}: {_why_not(directory, len(found))}")
        stem, folder = found[0].name.removesuffix(".rms.fits"), found[0].parent
        corrected = folder / f"{stem}.pbcor.fits"
        return cls(corrected if corrected.is_file() else folder / f"{stem}.fits", found[0])

    def header(self) -> fits.Header:
        """The image's header, 2-D."""
        try:
            return fits.getheader(self.image)
        except (OSError, TypeError) as error:
            raise InputError(f"{self.image}: expected a FITS image ({error}); make it again") from error

    def declinations(self) -> tuple[float, float]:
        """Between which the image lies, degrees, with a margin."""
        header = self.header()
        wcs = WCS(header).celestial
        x = np.linspace(0, header["NAXIS1"] - 1, 50)
        y = np.linspace(0, header["NAXIS2"] - 1, 50)
        grid_x, grid_y = np.meshgrid(x, y)
        dec = wcs.pixel_to_world(grid_x, grid_y).dec.deg
        return float(np.nanmin(dec)) - FIELD_MARGIN_DEG, float(np.nanmax(dec)) + FIELD_MARGIN_DEG


def _why_not(directory: Path, found: int) -> str:
    """Why there is no image to measure."""
    listed = "`contimg query --products PRODUCTS mosaics` lists the mosaics"
    if not directory.exists():
        return f"no such file or directory; {listed}"
    status = directory / STATUS
    reason = read_json(status)["reason"] if status.is_file() else None
    if reason is not None:
        return f"rejected: {reason}; there is no image to measure"
    return f"expected the directory of a mosaic or a tile with one .rms.fits, found {found}; {listed}"


def of_mosaic(
    mosaic: Mosaic, sources: pd.DataFrame, options: PhotometryOptions
) -> tuple[pd.DataFrame, Forced, fits.Header]:
    """Measure listed sources in an image.

    Parameters
    ----------
    mosaic : Mosaic
    sources : DataFrame
        ``source_id, ra_deg, dec_deg``.
    options : PhotometryOptions

    Returns
    -------
    rows : DataFrame
        The covered ones, with the columns of `contimg.photometry.table` that the image alone gives; errors are
        statistical, `cal_err_jy` that of the flux scale. Index: row in `sources`.
    forced : Forced
        Everything, in the order of `sources`.
    header : Header
    """
    header = mosaic.header()
    places = SkyCoord(sources["ra_deg"].to_numpy(float), sources["dec_deg"].to_numpy(float), unit="deg")
    x, y = (np.asarray(axis, float) for axis in WCS(header).celestial.world_to_pixel(places))
    with ExitStack() as stack:
        planes = [
            stack.enter_context(fits.open(path, memmap=False))[0].section
            for path in (mosaic.image, mosaic.rms)
        ]
        found = extract(
            planes[0],
            planes[1],
            header,
            x,
            y,
            blend_beams=options.blend_beams,
            background_beams=options.background_beams,
        )
    seen = np.flatnonzero(found.covered)
    flux, error = found.flux_jy[seen], found.stat_err_jy[seen]
    snr = flux / error
    flags = np.zeros(len(seen), int)
    for flag, where in (
        (Flag.EDGE, found.edge[seen]),
        (Flag.BLENDED, found.blended[seen]),
        (Flag.RESOLVED, found.resolved[seen]),
        (Flag.ARTEFACT, _artefacts(places[seen], flux, error, header, options)),
        (Flag.LOW_WEIGHT, _noisy(found.map_rms_jy[seen], mosaic, options)),
        (Flag.NOT_SEEN, ~(snr >= options.seen_snr)),
    ):
        flags[where] |= int(flag)
    rows = pd.DataFrame(
        {
            "source_id": sources["source_id"].to_numpy()[seen],
            "ra_deg": places.ra.deg[seen],
            "dec_deg": places.dec.deg[seen],
            "flux_jy": flux,
            "stat_err_jy": error,
            "cal_err_jy": options.calibration_error * np.abs(flux),
            "local_rms_jy": found.local_rms_jy[seen],
            "snr": snr,
            "flags": flags,
            "flux_int_jy": found.flux_int_jy[seen],
            "flux_int_err_jy": found.flux_int_err_jy[seen],
            "background_jy": found.background_jy[seen],
            "upper_limit_jy": np.where(
                snr >= options.seen_snr, np.nan, np.maximum(flux, 0.0) + options.limit_sigma * error
            ),
            "neighbour_arcsec": _neighbours(places)[seen],
            "bmaj_arcsec": 3600.0 * header["BMAJ"],
            "bmin_arcsec": 3600.0 * header["BMIN"],
            "bpa_deg": header.get("BPA", 0.0),
            "freq_hz": float(header["RESTFRQ"]),
        },
        index=seen,
    )
    rows["flux_err_jy"] = np.hypot(rows["stat_err_jy"], rows["cal_err_jy"])
    return rows, found, header


def rows(
    mosaic: Mosaic,
    name: str,
    sources: pd.DataFrame,
    state: Mapping[str, Any],
    pointings: Mapping[str, float],
    options: PhotometryOptions,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The whole photometry table of a mosaic, and its numbers.

    Parameters
    ----------
    mosaic : Mosaic
    name : str
        ``{date}/{mosaic}``.
    sources : DataFrame
        From `contimg.photometry.positions.read`.
    state : mapping
        The mosaic's status.json.
    pointings : mapping of str to float
        Declination that each tile was pointed at, degrees.
    options : PhotometryOptions
    """
    from contimg.photometry.tiles import conditions

    measured, found, header = of_mosaic(mosaic, sources, options)
    measured = measured.reset_index(drop=True)
    places = SkyCoord(measured["ra_deg"].to_numpy(), measured["dec_deg"].to_numpy(), unit="deg")
    said = conditions(
        places,
        state["tiles"],
        pb_limit=float(header["PBLIMIT"]),
        pointings=pointings,
        freq_hz=float(header["RESTFRQ"]),
        cal_error=options.calibration_error,
        beam_width_error=options.beam_width_error,
        mosaic=WCS(header).celestial,
    )
    full = measured.join(said).assign(mosaic=name)
    area = full["beam_area"].fillna(1.0)
    for power, columns in (
        (AMPLITUDE_POWER, ("flux_jy", "stat_err_jy", "upper_limit_jy")),
        (INTEGRAL_POWER, ("flux_int_jy", "flux_int_err_jy")),
    ):
        for column in columns:
            full[column] /= area**power
    unseen = full["n_tiles"] == 0  # half a pixel beyond what any tile reaches
    full.loc[unseen, "mjd"] = float(header["MJD-AVG"])
    relative = relative_error(full["pb"], options.calibration_error, options.beam_width_error)
    full["cal_err_jy"] = relative * full["flux_jy"].abs()
    full["flux_err_jy"] = np.hypot(full["stat_err_jy"], full["cal_err_jy"])
    full["flux_int_err_jy"] = np.hypot(full["flux_int_err_jy"], relative * full["flux_int_jy"].abs())
    full = full[list(layout.NAMES)].sort_values("source_id", ignore_index=True)
    return full, {**metrics(full), "noise_factor": found.noise_factor, "n_blanks": found.n_blanks}


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Numbers of a photometry table for its sidecar, the night's page and the report."""
    seen = table[(table["flags"] & int(Flag.NOT_SEEN)) == 0]
    counts = {
        f"n_{word.replace(' ', '_')}": int((table["flags"] & int(flag) > 0).sum())
        for flag, word in layout.FLAG_WORDS.items()
    }
    both = seen[(seen["n_vis_tiles"] > 0) & (seen["snr"] > 20) & (seen["flags"] & ~int(Flag.BLENDED) == 0)]
    ratio = both["flux_jy"] / both["flux_vis_jy"]
    found: dict[str, Any] = {
        "n_sources": len(table),
        "n_seen": len(seen),
        **counts,
        "n_bright": int((table["snr"] > 50).sum()),
        "n_slopes": int(np.isfinite(table["band_slope"]).sum()),
    }
    if len(table):
        found["median_rms_jy"] = float(table["local_rms_jy"].median())
    if len(ratio) >= 3:
        found["image_over_visibilities"] = float(ratio.median())
        found["image_over_visibilities_scatter"] = mad_sigma(ratio)
    return found


def _neighbours(places: SkyCoord) -> Array:
    """Distance of the nearest other listed source, covered or not, arcsec; NaN for a single one."""
    if len(places) < 2:
        return np.full(len(places), np.nan)
    _, apart, _ = places.match_to_catalog_sky(places, nthneighbor=2)
    return np.asarray(apart.to_value(u.arcsec))


def _artefacts(
    places: SkyCoord, flux: Array, error: Array, header: fits.Header, options: PhotometryOptions
) -> Array:
    """Which sources lie in what a brighter one's residual sidelobes may be."""
    near = np.zeros(len(flux), bool)
    if len(flux) < 2:
        return near
    unit = places.cartesian.xyz.value.T
    bright = np.flatnonzero(options.artefact_part * flux > 2.0 * np.min(error))
    tree, reach = cKDTree(unit), np.radians(options.background_beams * header["BMAJ"])
    for one, around in zip(bright, tree.query_ball_point(unit[bright], reach), strict=True):
        others = np.array([k for k in around if k != one], int)
        near[others] |= (flux[others] < flux[one]) & (options.artefact_part * flux[one] > 2.0 * error[others])
    return near


def _noisy(map_rms: Array, mosaic: Mosaic, options: PhotometryOptions) -> Array:
    """Where the rms map is far above its best, of a sparse sample of the mosaic."""
    with fits.open(mosaic.rms, memmap=False) as hdus:
        plane = hdus[0].section
        sample = np.array([plane[row][::16] for row in range(0, plane.shape[0], 16)], float)
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return np.zeros(len(map_rms), bool)
    return np.asarray(map_rms > options.max_rms_ratio * np.quantile(sample, 0.01))
