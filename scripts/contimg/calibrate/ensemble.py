"""A tile calibrated on the catalogue's sky, where no single calibrator serves: which tile, how well, and the model.

Divided by a model of many sources, data tell the gains as well as a calibrator of the model's rms would: the root of
the sum of the squares of the apparent fluxes, which is the strength of a field. The flux scale is the ensemble's:
sources count by their squares, each with the error that its catalogue flux has from variability and from spectra, so
that the scale of K equal ones is √K better than that of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transits import Transit
from contimg.core.angles import drift_deg, wrap_deg
from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import Rejected
from contimg.core.names import strip_dec
from contimg.index.tile import Tile
from contimg.sky.calibrators import FIELD, Calibrator
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    import pandas as pd

    from contimg.ms.meta import MsMeta
    from contimg.sky.catalog import Catalog
    from contimg.telescope.beam import PowerBeam

RADIUS_DEG = 4.0
"""As far as the model reaches."""
LEAST_POWER = 0.2
"""Of the mean power of the model on a baseline: with many sources it is distributed exponentially, and what is left out
holds 2 % of the information."""
APART_HOURS = 0.5
"""A field is a candidate where no tile nearer than this is stronger."""
LEAST_JY = 0.02
"""Fainter catalogue sources add nothing to a strength of 1 Jy."""
SOURCE_ERROR = 0.1
"""Of one source's flux now against the catalogue's: variability and spectrum, as surveys of different years scatter."""
SCALE_ERROR = 0.03
"""Of a survey's flux scale."""
HOUR_ANGLES = (-1.0, 0.0, 1.0)
"""Where in a tile the beam is taken, in units of half its length."""


@dataclass(frozen=True)
class Ensemble:
    """The sources of a field as one calibrator.

    Attributes
    ----------
    strength_jy : float
        √Σ S², S apparent.
    n_sources : int
        Sources that reach a hundredth of the brightest.
    flux_error : float
        Expected relative error of the flux scale.
    brightest_jy : float
        Apparent.
    """

    strength_jy: float
    n_sources: int
    flux_error: float
    brightest_jy: float

    def to_json(self) -> dict[str, float]:
        """For a sidecar."""
        return {
            "strength_jy": round(self.strength_jy, 4),
            "n_sources": self.n_sources,
            "flux_error": round(self.flux_error, 4),
            "brightest_jy": round(self.brightest_jy, 4),
        }


def describe(apparent_jy: NDArray[np.float64]) -> Ensemble:
    """Sum up apparent fluxes, (n,), Jy."""
    if len(apparent_jy) == 0 or not apparent_jy.max() > 0:
        return Ensemble(0.0, 0, math.inf, 0.0)
    square = apparent_jy**2
    single = SOURCE_ERROR * math.sqrt(float((square**2).sum())) / float(square.sum())
    return Ensemble(
        strength_jy=math.sqrt(float(square.sum())),
        n_sources=int((apparent_jy >= 0.01 * apparent_jy.max()).sum()),
        flux_error=math.hypot(single, SCALE_ERROR),
        brightest_jy=float(apparent_jy.max()),
    )


def apparent(
    sources: pd.DataFrame | Mapping[str, Sequence[float]],
    *,
    ra_deg: float,
    dec_deg: float,
    half_deg: float,
    beam: PowerBeam,
) -> NDArray[np.float64]:
    """Apparent fluxes of catalogue sources in a tile, the mean over its drift, Jy at 1.4 GHz, (n,).

    Parameters
    ----------
    sources : DataFrame, or mapping of columns
        ``ra_deg, dec_deg, flux_jy``.
    ra_deg, dec_deg : float
        Middle of the tile.
    half_deg : float
        Half of the right ascension that it drifts over.
    beam : PowerBeam
    """
    ra, dec = (np.radians(np.asarray(sources[name], float)) for name in ("ra_deg", "dec_deg"))
    power = np.zeros(len(ra))
    for step in HOUR_ANGLES:
        hour_angle = np.radians(ra_deg + step * half_deg) - ra
        power += beam.power(hour_angle, dec, math.radians(dec_deg), REFERENCE_HZ).reshape(-1)
    return np.asarray(sources["flux_jy"], float) * power / len(HOUR_ANGLES)


def brightest_first(
    sources: Sequence[Calibrator], meta: MsMeta, beam: PowerBeam
) -> tuple[Calibrator, list[Calibrator]]:
    """The source that is brightest through the beam of a tile, and the others in order: the model of a field.

    Raises
    ------
    Rejected
        If there is none.
    """
    table = {name: [getattr(s, name) for s in sources] for name in ("ra_deg", "dec_deg", "flux_jy")}
    seen = apparent(
        table,
        ra_deg=math.degrees(meta.phase_ra_rad),
        dec_deg=math.degrees(meta.phase_dec_rad),
        half_deg=0.5 * drift_deg(float(meta.integration_s.sum())),
        beam=beam,
    )
    order = np.argsort(-seen, kind="stable")
    if not len(order) or not seen[order[0]] > 0:
        raise Rejected("the catalogue has no source in the tile")
    return sources[order[0]], [sources[k] for k in order[1:]]


def find_fields(
    tiles: Iterable[Tile],
    catalog: Catalog,
    transits: Sequence[Transit],
    options: CalibrationOptions,
    beam: BeamOptions,
) -> list[Transit]:
    """Tiles that may be calibrated on all their sources, in order of time.

    Parameters
    ----------
    tiles : iterable of Tile
        Complete tiles of any strips.
    catalog : Catalog
        Read only where a strip needs it.
    transits : sequence of Transit
        Those of single calibrators. With `mode` auto a strip whose tiles all have one within `valid_hours` needs no
        field.
    options : CalibrationOptions
        `min_flux_jy` is the least strength.
    beam : BeamOptions

    Returns
    -------
    list of Transit
        At the middle of each tile that is the strongest within `APART_HOURS`.
    """
    from contimg.telescope.beam import load_beam

    strips: dict[float, list[Tile]] = {}
    for tile in tiles:
        strips.setdefault(strip_dec(tile.dec_deg), []).append(tile)
    needed = strips
    if options.mode != "field":
        of = {tile.name: dec for dec, members in strips.items() for tile in members}
        theirs: dict[float, list[Transit]] = {dec: [] for dec in strips}
        for transit in transits:
            theirs[of[transit.tile]].append(transit)
        needed = {
            dec: members
            for dec, members in strips.items()
            if not all(_served(tile, theirs[dec], options) for tile in members)
        }
    if not needed:
        return []
    pattern = load_beam(beam)
    rows = catalog.read()
    rows = rows[rows["flux_jy"] >= LEAST_JY]
    found = []
    for members in needed.values():
        members.sort(key=lambda tile: tile.mid_mjd)
        low, high = (limit(tile.dec_icrs_deg for tile in members) for limit in (min, max))
        near = rows[rows["dec_deg"].between(low - RADIUS_DEG, high + RADIUS_DEG)]
        fields = [_strength(tile, near, pattern) for tile in members]
        strength = np.array([field.strength_jy for field in fields])
        mid = np.array([tile.mid_mjd for tile in members])
        first = np.searchsorted(mid, mid - APART_HOURS / 24.0, side="left")
        last = np.searchsorted(mid, mid + APART_HOURS / 24.0, side="right")
        found += [
            _transit(tile, field, catalog)
            for tile, field, start, stop in zip(members, fields, first, last, strict=True)
            if options.min_flux_jy <= field.strength_jy == strength[start:stop].max()
        ]
    return sorted(found, key=lambda transit: transit.mjd)


def _served(tile: Tile, transits: Sequence[Transit], options: CalibrationOptions) -> bool:
    return any(abs(transit.mjd - tile.mid_mjd) * 24.0 <= options.valid_hours for transit in transits)


def _strength(tile: Tile, rows: pd.DataFrame, beam: PowerBeam) -> Ensemble:
    """Strength of a tile's field."""
    near = np.abs(rows["dec_deg"] - tile.dec_icrs_deg) <= RADIUS_DEG
    apart = np.abs(wrap_deg(rows["ra_deg"].to_numpy() - tile.ra_icrs_deg))
    near &= apart * np.cos(np.radians(rows["dec_deg"])) <= 1.5 * RADIUS_DEG
    where = {"ra_deg": tile.ra_icrs_deg, "dec_deg": tile.dec_icrs_deg, "half_deg": tile.half_deg}
    return describe(apparent(rows[near], **where, beam=beam))


def _transit(tile: Tile, field: Ensemble, catalog: Catalog) -> Transit:
    origin = f"{field.n_sources} sources of {catalog.path.name}: flux scale to {100 * field.flux_error:.1f} %"
    calibrator = Calibrator(
        FIELD, tile.ra_icrs_deg, tile.dec_icrs_deg, round(field.strength_jy, 4), -0.7, origin
    )
    return Transit(tile.name, calibrator, tile.mid_mjd, 0.0, 1.0, field.strength_jy)
