"""Which way a strip is calibrated: by the transit of a single calibrator, or on the sources of a tile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from contimg.calibrate.ensemble import LEAST_JY, RADIUS_DEG, Ensemble, apparent, describe
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transits import Transit, disturbing_jy, worth
from contimg.core.angles import wrap_deg
from contimg.core.constants import REFERENCE_HZ
from contimg.sky.calibrators import Calibrator

if TYPE_CHECKING:
    from contimg.telescope.beam import PowerBeam

STANDARD_ERROR = 0.03
"""Of a primary standard: the accuracy that Perley & Butler 2017 give their scale."""
LISTED_ERROR = 0.1
"""Of the flux of another calibrator: decades old."""
VARIABLE_ERROR = 0.2
TILE_DEG = 1.29
"""Right ascension that a tile of 309 s drifts over."""


@dataclass(frozen=True)
class Way:
    """How a strip is calibrated.

    Attributes
    ----------
    dec_deg : float
        Pointing declination.
    calibrator : Calibrator or None
        The best single one in a sidereal day; None: the field is.
    apparent_jy : float
        Its flux through the beam, or the field's strength.
    n_sources : int
        In the model.
    flux_error : float
        Expected relative error of the flux scale.
    served : bool
        Whether it is strong enough.
    """

    dec_deg: float
    calibrator: Calibrator | None
    apparent_jy: float
    n_sources: int
    flux_error: float
    served: bool = True


def ways(
    strips_deg: Iterable[float],
    calibrators: Sequence[Calibrator],
    sources: pd.DataFrame,
    options: CalibrationOptions,
    beam: PowerBeam,
) -> list[Way]:
    """Tell for every strip how mode `auto` calibrates a whole sidereal day of it.

    Parameters
    ----------
    strips_deg : iterable of float
        Pointing declinations.
    calibrators : sequence of Calibrator
        The list.
    sources : DataFrame
        The reference catalogue: ``ra_deg, dec_deg, flux_jy``.
    options : CalibrationOptions
        `min_flux_jy` and `min_pb`.
    beam : PowerBeam
    """
    found = []
    for dec_deg in strips_deg:
        single = _best(dec_deg, calibrators, options, beam)
        if single is not None:
            found.append(single)
            continue
        field = richest(dec_deg, sources, beam)
        served = field.strength_jy >= options.min_flux_jy
        found.append(Way(dec_deg, None, field.strength_jy, field.n_sources, field.flux_error, served))
    return found


def _best(
    dec_deg: float, calibrators: Sequence[Calibrator], options: CalibrationOptions, beam: PowerBeam
) -> Way | None:
    """The calibrator that ranks first in a strip, at the time of its own transit; None: none is bright enough."""
    transits = []
    for calibrator in calibrators:
        offset = calibrator.dec_deg - dec_deg
        power = float(
            beam.power(0.0, math.radians(calibrator.dec_deg), math.radians(dec_deg), REFERENCE_HZ).ravel()[0]
        )
        seen = calibrator.flux_jy * power
        if seen >= options.min_flux_jy and power >= options.min_pb:
            disturbing = disturbing_jy(calibrator, dec_deg, beam)
            transits.append(Transit("", calibrator, 0.0, offset, power, seen, disturbing))
    if not transits:
        return None
    best = max(transits, key=worth)
    return Way(dec_deg, best.calibrator, best.apparent_jy, 1, flux_error(best.calibrator))


def flux_error(calibrator: Calibrator) -> float:
    """Expected relative error of a listed flux."""
    if calibrator.variable:
        return VARIABLE_ERROR
    return STANDARD_ERROR if "Perley & Butler" in calibrator.origin else LISTED_ERROR


def richest(dec_deg: float, sources: pd.DataFrame, beam: PowerBeam) -> Ensemble:
    """The strongest field of a strip, of tiles side by side through 24 h."""
    near = sources[(np.abs(sources["dec_deg"] - dec_deg) <= RADIUS_DEG) & (sources["flux_jy"] >= LEAST_JY)]
    best = describe(np.zeros(0))
    reach = 1.5 * RADIUS_DEG / max(0.05, math.cos(math.radians(min(89.0, abs(dec_deg) + RADIUS_DEG))))
    for ra_deg in np.arange(0.0, 360.0, TILE_DEG):
        apart = np.abs(wrap_deg(near["ra_deg"].to_numpy() - ra_deg))
        seen = apparent(
            near[apart <= reach], ra_deg=float(ra_deg), dec_deg=dec_deg, half_deg=0.5 * TILE_DEG, beam=beam
        )
        field = describe(seen)
        if field.strength_jy > best.strength_jy:
            best = field
    return best


def table(found: Sequence[Way]) -> list[str]:
    """Lines of Markdown."""
    lines = ["| strip | way | apparent | flux scale |", "|---|---|---|---|"]
    for way in found:
        if way.calibrator is not None:
            what = f"transit of {way.calibrator.name}"
        else:
            what = f"field, {way.n_sources} sources" if way.served else "none: the field is too faint"
        error = f"± {100 * way.flux_error:.0f} %" if way.served else ""
        lines.append(f"| {way.dec_deg:+.0f}° | {what} | {way.apparent_jy:.2f} Jy | {error} |")
    single = sum(way.calibrator is not None for way in found)
    fields = sum(way.calibrator is None and way.served for way in found)
    return [
        *lines,
        "",
        f"{single} strips by a transit, {fields} on a field, {len(found) - single - fields} not at all.",
    ]
