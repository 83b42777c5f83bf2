"""Does an event change with frequency as plasma makes it? The spectral index within the band, against α ∝ λ².

Gain, beam and normalisation errors multiply all of the band alike and leave the spectral index alone. A plasma lens
refracts as λ², so that the shape found from the flux alone predicts how the index goes: its size is then fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.variability import kernel
from contimg.variability.lens import REACH, bank
from contimg.variability.series import Floats


@dataclass(frozen=True)
class Chromaticity:
    """What the spectral index says of an event.

    Attributes
    ----------
    sigma : float
        Size of the predicted change of the index over its error: positive if it goes as α ∝ λ² says. NaN: no indices.
    expected : float
        What it would be, on average, were the shape right.
    scale : float
        The change over the predicted one: 1 for a plasma lens, 0 for what leaves the index alone.
    """

    sigma: float
    expected: float
    scale: float


def shape_at(row: Floats, mjd: Floats) -> Floats:
    """Relative change of flux that an event (a row of the search) makes at times (MJD)."""
    made = bank()
    x = np.linspace(-REACH, REACH, made.shapes.shape[1])
    place = (mjd - row[kernel.MIDDLE]) / row[kernel.WIDTH]
    change: Floats = row[kernel.AMPLITUDE] * np.interp(
        place, x, made.shapes[int(row[kernel.SHAPE])], left=0.0, right=0.0
    )
    return change


def predicted_slope(row: Floats, mjd: Floats) -> Floats:
    """Change of the spectral index that α ∝ λ² predicts for an event at times (MJD).

    With a part f of the flux behind the lens, S = 1 + f (M − 1), and d ln S / d ln ν = f M (d ln M / d ln ν) / S.
    """
    made = bank()
    number, part = int(row[kernel.SHAPE]), row[kernel.AMPLITUDE]
    x = np.linspace(-REACH, REACH, made.shapes.shape[1])
    place = (mjd - row[kernel.MIDDLE]) / row[kernel.WIDTH]
    change = np.interp(place, x, made.shapes[number], left=0.0, right=0.0)
    slope = np.interp(place, x, made.slopes[number], left=0.0, right=0.0)
    result: Floats = part * (1.0 + change) * slope / np.maximum(1.0 + part * change, 0.05)
    return result


def chromaticity(row: Floats, mjd: Floats, slope: Floats, slope_error: Floats) -> Chromaticity:
    """Fit the predicted change of the spectral index, and a constant, to the measured one.

    Parameters
    ----------
    row : ndarray
        Of the search (`kernel.COLUMNS`).
    mjd, slope, slope_error : ndarray, (N,)
        Times, spectral indices and their errors; NaN where there is none.
    """
    good = np.isfinite(slope) & (slope_error > 0)
    if good.sum() < 3:
        return Chromaticity(np.nan, np.nan, np.nan)
    weight = 1.0 / slope_error[good] ** 2
    template = predicted_slope(row, mjd[good])
    template = template - np.average(template, weights=weight)
    norm = float(np.sum(weight * template**2))
    if norm <= 0.0:
        return Chromaticity(np.nan, np.nan, np.nan)
    number = float(np.sum(weight * template * slope[good]))
    return Chromaticity(number / np.sqrt(norm), float(np.sqrt(norm)), number / norm)
