"""The gates: numbers and tables in, verdicts out. Every formula is in docs/qa.md.

Gates that need the reference catalogue are not evaluated without one, and none is with too few sources:
what was not looked at has not passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaincinv

from contimg.qa.options import QaOptions
from contimg.qa.verdict import Gate, Limits, judge, not_evaluated

LIMITS = {
    "rms": (None, "max_rms", "× expected"),
    "noise": ("min_noise_ratio", "max_noise_ratio", ""),
    "dynamic_range": ("min_dynamic_range", None, ""),
    "artefacts": (None, "max_artefact", "of peak"),
    "reliability": ("min_reliability", None, ""),
    "beam": (None, "max_axis_ratio", ""),
    "flags": (None, "max_flagged", ""),
    "weights": ("min_weight_uniformity", None, ""),
    "flux_ratio": ("min_flux_ratio", "max_flux_ratio", ""),
    "flux_scatter": (None, "max_flux_scatter", ""),
    "completeness": ("min_completeness", None, ""),
    "counterparts": ("min_counterparts", None, ""),
    "position_offset": (None, "max_position_offset", "beam"),
    "position_scatter": (None, "max_position_scatter", "beam"),
}
"""Gate: options of its lower and upper limit, unit of its value."""
CATALOGUE_GATES = tuple(LIMITS)[8:]


@dataclass(frozen=True)
class Near:
    """What lies round the bright sources of an image.

    Attributes
    ----------
    n_bright : int
        Sources bright enough to look round.
    dynamic_range : float
        Brightest source over the robust rms near it; NaN if there is no source.
    worst_hole : float
        Deepest hole near a bright source, over that source's peak; NaN without one.
    """

    n_bright: int
    dynamic_range: float
    worst_hole: float


def confusion_jy(beam_major_arcsec: float, beam_minor_arcsec: float, freq_hz: float) -> float:
    """Rms confusion: 0.2 mJy (ν/GHz)^-0.7 θmajor θminor / arcmin² (Condon & Ransom 2016, ch. 3)."""
    area_arcmin2 = beam_major_arcsec * beam_minor_arcsec / 3600.0
    return float(0.2e-3 * (freq_hz / 1e9) ** -0.7 * area_arcmin2)


def expected_rms_jy(thermal_jy: float, noise_ratio: float, confusion: float) -> float:
    """Noise that an image should have.

    Parameters
    ----------
    thermal_jy : float
        What the data weights stand for, through the image's weighting. The weights come from the scatter of the
        tile's own raw data (differences of neighbouring channels).
    noise_ratio : float
        Scatter of XX - YY between integrations over what the weights stand for; NaN counts as 1.
    confusion : float
        Jy/beam.
    """
    thermal = thermal_jy * (noise_ratio if math.isfinite(noise_ratio) else 1.0)
    return math.hypot(thermal, confusion)


def image_gates(
    *,
    rms_over_expected: float,
    noise_ratio: float,
    near: Near,
    n_positive: int,
    n_negative: int,
    axis_ratio: float,
    flagged: float,
    uniformity: float,
    options: QaOptions,
) -> list[Gate]:
    """The gates that need no catalogue.

    Parameters
    ----------
    rms_over_expected : float
        Noise of the image over `expected_rms_jy`.
    noise_ratio : float
        See `expected_rms_jy`.
    near : Near
    n_positive, n_negative : int
        Peaks above `options.detection_snr`, and below its negative.
    axis_ratio : float
        Longer over shorter axis of the beam.
    flagged : float
        Fraction of the cross-correlations; NaN where it is not known.
    uniformity : float
        From `uniformity`.
    options : QaOptions
    """
    few = f"{n_positive} sources, min_sources {options.min_sources}"
    faint = "no source is bright enough"
    values: dict[str, float | str] = {
        "rms": rms_over_expected,
        "noise": noise_ratio,
        "dynamic_range": near.dynamic_range if near.n_bright else faint,
        "artefacts": near.worst_hole if near.n_bright else faint,
        "reliability": few if n_positive < options.min_sources else reliability(n_positive, n_negative),
        "beam": axis_ratio,
        "flags": flagged,
        "weights": uniformity,
    }
    return [_gate(name, value, options) for name, value in values.items()]


def reliability(n_positive: int, n_negative: int) -> float:
    """1 - false / found: as many positive peaks are false as there are negative ones.

    Of the negative ones the 95 % lower limit counts (Gehrels 1986, ApJ 303, 336, equation 11), so that one or two
    in a shallow tile say nothing and a hundred in a mosaic say what they are.
    """
    false = float(gammaincinv(n_negative, 0.05)) if n_negative else 0.0
    return 1.0 - false / n_positive


def catalogue_gates(
    pairs: pd.DataFrame, expected: pd.DataFrame, asked: pd.DataFrame, options: QaOptions
) -> list[Gate]:
    """The gates that need a catalogue.

    Parameters
    ----------
    pairs : DataFrame
        From `contimg.sky.crossmatch.compare`.
    expected : DataFrame
        From `contimg.sky.crossmatch.detected`.
    asked : DataFrame
        From `contimg.sky.crossmatch.known`.
    options : QaOptions
    """
    bright = pairs[pairs["comparable"] & (pairs["snr"] >= options.flux_snr)]
    offsets = bright[["offset_major_beam", "offset_minor_beam"]]
    values = {
        "flux_ratio": (bright, lambda: float(bright["ratio"].median())),
        "flux_scatter": (bright, lambda: excess_scatter(bright["ratio"], bright["ratio_err"])),
        "completeness": (expected, lambda: float(expected["detected"].mean())),
        "counterparts": (asked, lambda: float(asked["known"].mean())),
        "position_offset": (bright, lambda: float(offsets.median().abs().max())),
        "position_scatter": (bright, lambda: max(mad_scatter(offsets[axis]) for axis in offsets)),
    }
    return [
        _gate(
            name,
            value()
            if len(table) >= options.min_sources
            else f"{len(table)} sources, min_sources {options.min_sources}",
            options,
        )
        for name, (table, value) in values.items()
    ]


def without_catalogue(options: QaOptions) -> list[Gate]:
    """The same gates where there is no catalogue: none evaluated, none passed."""
    return [_gate(name, "no reference catalogue: `catalog` is null", options) for name in CATALOGUE_GATES]


def _gate(name: str, value: float | str, options: QaOptions) -> Gate:
    """Hold a value against the limits of a gate; a text says why there is no value."""
    low, high, unit = LIMITS[name]
    limits = Limits(getattr(options, low) if low else None, getattr(options, high) if high else None, unit)
    return not_evaluated(name, value, limits) if isinstance(value, str) else judge(name, value, limits)


def mad_scatter(values: pd.Series) -> float:
    """Standard deviation of a normal distribution with the values' median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def excess_scatter(values: pd.Series, errors: pd.Series) -> float:
    """Robust scatter beyond the errors: sqrt(max(0, MAD scatter² - median error²))."""
    return math.sqrt(max(0.0, mad_scatter(values) ** 2 - float(np.median(errors)) ** 2))
