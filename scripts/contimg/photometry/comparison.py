"""Two images of one sky compared: difference, noise, beams, and the fluxes of the same sources.

The first is the one compared with: the difference is the second less the first, ratios are the second over the first.
An image on another grid is interpolated onto the first one's; fluxes are measured in each on its own grid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.core.errors import InputError
from contimg.core.fits import read_plane
from contimg.core.kinds import STATUS
from contimg.core.names import TILE_PATTERN
from contimg.core.products import read_json
from contimg.core.robust import mad_sigma
from contimg.photometry import catalogue, regrid
from contimg.photometry.measured import Mosaic
from contimg.photometry.options import PhotometryOptions
from contimg.photometry.positions import iau_names
from contimg.photometry.table import Flag
from contimg.sky.noise import robust_rms

Plane = NDArray[np.float32]

RATIO_SNR = 10.0
"""Sources of so many sigma in both images count in the ratio of fluxes."""
CHANGED_SIGMA = 5.0
SAME_GRID_PX = 0.01
BEAM_PART = 0.01
"""Beams that differ by no more are the same."""
_UNSOUND = int(Flag.EDGE | Flag.BLENDED | Flag.ARTEFACT | Flag.NOT_SEEN)


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to.

    Attributes
    ----------
    first, second : Path
        The images.
    header : Header
        Of the first.
    planes : tuple of (ny, nx) float32
        First, second and difference on the first one's grid, Jy/beam.
    sources : DataFrame
        Found in either: ``source_id, ra_deg, dec_deg, found_in``, ``flux_{1,2}_jy``, ``stat_err_{1,2}_jy``, ``ratio``,
        ``ratio_err``, ``sigma`` (of the difference), ``flags`` (of either).
    numbers : dict
        JSON-able, units in the names.
    notes : tuple of str
        What has to be known to read the numbers.
    """

    first: Path
    second: Path
    header: Header
    planes: tuple[Plane, Plane, Plane]
    sources: pd.DataFrame
    numbers: dict[str, Any]
    notes: tuple[str, ...]


def compare(
    first: Mosaic,
    second: Mosaic,
    options: PhotometryOptions,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Compare two images.

    Parameters
    ----------
    first, second : Mosaic
    options : PhotometryOptions
    say : callable
        Takes a line on what is done next.

    Raises
    ------
    InputError
        They have no pixel in common, or their units differ.
    """
    headers = first.header(), second.header()
    units = [str(header.get("BUNIT", "")) for header in headers]
    if units[0] != units[1]:
        raise InputError(
            f"{second.image}: unit {units[1] or '(none)'}, {first.image}: {units[0] or '(none)'}; "
            "compare images of one kind"
        )
    one, rms_one = read_plane(first.image), read_plane(first.rms)
    own, rms_own = read_plane(second.image), read_plane(second.rms)
    same = same_grid(*headers)
    if same:
        two, rms_two = own, rms_own
    else:
        say("the second image is put onto the first one's grid")
        two, rms_two = regrid.onto((own, rms_own), headers[1], headers[0])
    both = np.isfinite(one) & np.isfinite(two)
    if not both.any():
        raise InputError(
            f"{second.image} and {first.image} have no pixel in common; compare images of one field"
        )
    difference = np.where(both, two - one, np.nan)
    say("sources are searched and measured in both")
    planes = (one, rms_one), (own, rms_own)
    sources = matched((first, second), planes, headers, options)
    numbers: dict[str, Any] = {
        "images": [str(first.image), str(second.image)],
        "same_grid": same,
        "common_part": [
            float(both.sum() / max(np.isfinite(one).sum(), 1)),
            float(both.sum() / max(np.isfinite(two).sum(), 1)),
        ],
        "rms_jy": [float(np.nanmedian(plane[both])) for plane in (rms_one, rms_two)],
        "difference_rms_jy": robust_rms(difference[both]),
        "difference_peak_jy": float(difference.flat[int(np.nanargmax(np.abs(difference)))]),
        "beam": [_beam(header) for header in headers],
        "freq_hz": [float(header["RESTFRQ"]) for header in headers],
        "fluxes": ratios(sources),
        "shared_tiles": sorted(tiles_of(first) & tiles_of(second)),
    }
    notes = tuple(_notes(numbers))
    return Comparison(first.image, second.image, headers[0], (one, two, difference), sources, numbers, notes)


def tiles_of(image: Mosaic) -> set[str]:
    """Names of the tiles that a mosaic is made of, or of the tile that an image is; empty where nothing says it."""
    sidecar = image.image.parent / STATUS
    if re.fullmatch(TILE_PATTERN, sidecar.parent.name):
        return {sidecar.parent.name}
    if not sidecar.is_file():
        return set()
    return {tile["tile"] for tile in read_json(sidecar).get("tiles", ()) if tile["weight"] > 0}


def same_grid(one: Header, two: Header) -> bool:
    """Whether pixels of two images are the same places, to `SAME_GRID_PX`."""
    if any(one[f"NAXIS{axis}"] != two[f"NAXIS{axis}"] for axis in (1, 2)):
        return False
    nx, ny = one["NAXIS1"], one["NAXIS2"]
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5)))
    back = WCS(two).celestial.world_to_pixel_values(*WCS(one).celestial.pixel_to_world_values(x, y))
    apart = np.hypot(back[0] - x, back[1] - y)
    return bool(np.nanmax(apart) < SAME_GRID_PX) if np.isfinite(apart).any() else False


def matched(
    images: tuple[Mosaic, Mosaic],
    planes: tuple[tuple[Plane, Plane], tuple[Plane, Plane]],
    headers: tuple[Header, Header],
    options: PhotometryOptions,
) -> pd.DataFrame:
    """The sources of both images, each measured in both at one place.

    Parameters
    ----------
    images : tuple of Mosaic
    planes : tuple of ((ny, nx), (ny, nx)) float32
        Image and rms of each, Jy/beam, on its own grid.
    headers : tuple of Header
    options : PhotometryOptions
    """
    beam_deg = float(headers[0]["BMAJ"])
    own = catalogue.places_in(planes[0][0], headers[0], planes[0][1])
    peaks = catalogue.peaks_in(planes[1][0], headers[1], planes[1][1])
    if len(own) and len(peaks):
        seen = own.match_to_catalog_sky(peaks)[1].deg <= beam_deg
        peaks = peaks[peaks.match_to_catalog_sky(own)[1].deg > beam_deg]
    else:
        seen = np.zeros(len(own), bool)
    new = catalogue.fitted(planes[1][0], headers[1], planes[1][1], peaks)
    ra, dec = (np.concatenate([getattr(some, axis).deg for some in (own, new)]) for axis in ("ra", "dec"))
    places = pd.DataFrame(
        {
            "source_id": iau_names(ra, dec),
            "ra_deg": ra,
            "dec_deg": dec,
            "found_in": [*np.where(seen, "both", "first"), *["second"] * len(new)],
        }
    )
    for number, image in enumerate(images, start=1):
        rows, _ = catalogue.at_places(image, SkyCoord(ra, dec, unit="deg"), options)
        for name in ("flux", "stat_err"):
            places[f"{name}_{number}_jy"] = rows[f"{name}_jy"].reindex(places.index)
        places[f"flags_{number}"] = rows["flags"].reindex(places.index, fill_value=int(Flag.NOT_SEEN))
    places["flags"] = places.pop("flags_1") | places.pop("flags_2")
    one, two = places["flux_1_jy"], places["flux_2_jy"]
    places["ratio"] = two / one
    part = np.hypot(places["stat_err_1_jy"] / one, places["stat_err_2_jy"] / two)
    places["ratio_err"] = (places["ratio"] * part).abs()
    places["sigma"] = (two - one) / np.hypot(places["stat_err_1_jy"], places["stat_err_2_jy"])
    return places.sort_values("flux_1_jy", ascending=False, kind="stable", ignore_index=True)


def ratios(sources: pd.DataFrame) -> dict[str, Any]:
    """Numbers of the ratios of fluxes: those above `RATIO_SNR` in both, alone and whole in both."""
    strong = (sources["flux_1_jy"] > RATIO_SNR * sources["stat_err_1_jy"]) & (
        sources["flux_2_jy"] > RATIO_SNR * sources["stat_err_2_jy"]
    )
    good = sources[strong & ((sources["flags"] & _UNSOUND) == 0)]
    counts = sources["found_in"].value_counts()
    found: dict[str, Any] = {
        "n_found": {where: int(counts.get(where, 0)) for where in ("both", "first", "second")},
        "n_ratios": len(good),
        "median_ratio": None,
        "scatter": None,
        "n_changed": 0,
    }
    if len(good):
        middle = float(good["ratio"].median())
        found["median_ratio"] = middle
        found["scatter"] = mad_sigma(good["ratio"])
        found["n_changed"] = int((good["sigma"].abs() > CHANGED_SIGMA).sum())
    return found


def _beam(header: Header) -> dict[str, float]:
    return {
        "major_arcsec": 3600 * float(header["BMAJ"]),
        "minor_arcsec": 3600 * float(header["BMIN"]),
        "angle_deg": float(header.get("BPA", 0.0)),
    }


def _notes(numbers: dict[str, Any]) -> list[str]:
    """What has to be known to read the numbers."""
    notes = []
    if shared := numbers["shared_tiles"]:
        notes.append(f"both hold {_these(shared)}: their noise is not independent")
    if not numbers["same_grid"]:
        notes.append(
            "the grids differ: the second image was interpolated onto the first one's for the difference"
        )
    axes = [(beam["major_arcsec"], beam["minor_arcsec"]) for beam in numbers["beam"]]
    if any(abs(b / a - 1) > BEAM_PART for a, b in zip(*axes, strict=True)):
        notes.append(
            "the beams differ: bright sources leave rings in the difference; fluxes of points are not touched"
        )
    one, two = numbers["freq_hz"]
    if abs(two / one - 1) > 1e-3:
        notes.append(f"the frequencies differ by {(two - one) / 1e6:+.1f} MHz: spectra enter the ratios")
    if min(numbers["common_part"]) < 0.99:
        first, second = numbers["common_part"]
        notes.append(f"{first:.0%} of the first and {second:.0%} of the second image are common to both")
    return notes


def _these(tiles: list[str]) -> str:
    return f"tile {tiles[0]}" if len(tiles) == 1 else f"the same {len(tiles)} tiles"
