"""The gates: numbers and tables in, verdicts out. Every formula is in docs/qa.md.

Gates that need the reference catalogue are not evaluated without one, and none is with too few sources:
what was not looked at has not passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtri

from contimg.core.robust import mad_sigma
from contimg.qa.options import QaOptions
from contimg.qa.response import Response
from contimg.qa.table import GATES, Row
from contimg.qa.verdict import Gate, Limits, judge, not_evaluated


@dataclass(frozen=True)
class Near:
    """What lies round the bright sources of an image.

    Attributes
    ----------
    n_bright : int
        Sources bright enough to look round.
    dynamic_range : float
        Brightest source over what is left round it: the robust rms near it beyond the image's; NaN without a source.
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


def subtracted_jy(outside: Mapping[str, Mapping[str, Any]] | None) -> float | None:
    """Flux (Jy, apparent) of what was subtracted far outside the field, each source by the baselines that see it.

    Parameters
    ----------
    outside : mapping or None
        By source, as `contimg.drift.outside.remove_outside` reports it; None where nothing was looked for.
    """
    if outside is None:
        return None
    return float(
        sum(
            # one in near sidelobes is taken out before the search, and what is then left of it looked for once more
            found.get("before_search_jy", found["mean_jy"]) * found["baselines"] / found["baselines_all"]
            for found in outside.values()
            if found["removed"]
        )
    )


@dataclass(frozen=True)
class Antennas:
    """What single antennas do to the image of a tile.

    Attributes
    ----------
    left : mapping or None
        `contimg.image.selfcal_left.Left`, as the image's sidecar has it; None where nothing was seen of it.
    left_out : mapping of str to str
        Antennas that depart from the others and are not in the image, by name, and why.
    followed : mapping of str to str
        Antennas that changed much within the tile, which self-calibration followed, and how.
    with_data : int
        Antennas with data; 0: not known.
    """

    left: Mapping[str, Any] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    followed: Mapping[str, str] = field(default_factory=dict)
    with_data: int = 0

    @classmethod
    def of(cls, made: Mapping[str, Any]) -> Antennas:
        """From the sidecar of an image."""
        selfcal = made["metrics"].get("selfcal") or {}
        between = made.get("parameters", {}).get("interpolated", {})
        contradicted = dict.fromkeys(
            between.get("departed", ()), "its amplitude is another in other transits"
        )
        left_out = {**contradicted, **between.get("left_out", {}), **selfcal.get("departed", {})}
        followed = selfcal.get("followed", {})
        return cls(selfcal.get("left"), left_out, followed, between.get("with_data", 0))

    def of_left(self, value: Callable[[Mapping[str, Any]], float]) -> float | str:
        """A number of what is left of the gains, or why there is none."""
        return "the sources are too faint to tell, or not fitted" if self.left is None else value(self.left)

    def notes(self) -> list[str]:
        """Lines on each antenna that departs."""
        said = [f"antenna {name} is left out: {why}" for name, why in self.left_out.items()]
        said += [
            f"antenna {name} changed within the tile, which was followed: {how}"
            for name, how in self.followed.items()
        ]
        if self.left is not None:
            said += [f"antenna {name} is off: {how}" for name, how in self.left["antennas"].items()]
        return said


@dataclass(frozen=True)
class ImageFacts:
    """What the gates of an image look at: a value for each of their names, or why there is none.

    Attributes
    ----------
    rms : float
        Noise of the image over `expected_rms_jy`.
    noise : float
        See `expected_rms_jy`.
    near : Near
    n_positive, n_negative : int
        Peaks above `options.detection_snr`, and below its negative.
    beam : float
        Longer over shorter axis of the beam.
    flags : float
        Flagged fraction of the cross-correlations; NaN where it is not known.
    weights : float
        From `contimg.gains.noise.uniformity`.
    sefd_jy : float
        Measured, of a typical antenna; NaN where it is not known.
    transits : mapping
        `scales` of `contimg.gains.between.Between`: other transits than the one whose solutions are used.
    antennas : Antennas
        What single antennas do to the image of a tile.
    outside_jy : float or None
        Flux of the sources far outside the field that was in a tile's data and subtracted (`subtracted_jy`).
    expected_jy : float
        `expected_rms_jy`; NaN where it is not needed.
    """

    rms: float
    noise: float
    near: Near
    n_positive: int
    n_negative: int
    beam: float
    flags: float
    weights: float
    sefd_jy: float
    options: QaOptions
    transits: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    antennas: Antennas = field(default_factory=Antennas)
    outside_jy: float | None = 0.0
    expected_jy: float = math.nan

    @property
    def sefd(self) -> float | str:
        """Measured SEFD over the configured one."""
        if self.options.sefd_jy is None:
            return "qa.sefd_jy is null"
        return self.sefd_jy / self.options.sefd_jy

    @property
    def transit_scale(self) -> float | str:
        """Largest difference of another transit's SEFD from that of the one in use."""
        known = [scale["sefd"] for scale in self.transits.values() if scale.get("sefd")]
        if not known:
            return "no other good transit to compare with"
        return max(abs(float(ratio or 1.0) - 1.0) for ratio in known)

    @property
    def antenna_scale(self) -> float | str:
        """What antennas that departed since the transit do to the scale of the fluxes."""
        return self.antennas.of_left(lambda left: abs(left["scale"]))

    @property
    def coherence(self) -> float | str:
        """What unsteady phases certainly (3 σ) take of the fluxes."""
        return self.antennas.of_left(lambda left: max(0.0, left["loss"] - 3.0 * left["loss_error"]))

    @property
    def departed(self) -> float | str:
        """Part of the antennas with data that departs from the others: left out, or changed within the tile."""
        if not self.antennas.with_data:
            return "how many antennas have data is not known"
        return len({*self.antennas.left_out, *self.antennas.followed}) / self.antennas.with_data

    @property
    def outside(self) -> float | str:
        """Flux of the sources far outside the field, over the noise."""
        if self.outside_jy is None:
            return "they were not looked for"
        return self.outside_jy / self.expected_jy

    @property
    def dynamic_range(self) -> float | str:
        """Brightest source over the rms near it beyond the image's."""
        return self.near.dynamic_range if self.near.n_bright else "no source is bright enough"

    @property
    def artefacts(self) -> float | str:
        """Deepest hole near a bright source, over its peak."""
        return self.near.worst_hole if self.near.n_bright else "no source is bright enough"

    @property
    def reliability(self) -> float | str:
        """Part of the peaks that are sources."""
        if self.n_positive < self.options.min_sources:
            return f"{self.n_positive} sources, min_sources {self.options.min_sources}"
        return reliability(self.n_positive, self.n_negative)


@dataclass(frozen=True)
class CatalogueFacts:
    """What the gates that need the catalogue look at: a value for each of their names, or why there is none.

    Attributes
    ----------
    pairs : DataFrame
        From `contimg.sky.crossmatch.compare`.
    expected : DataFrame
        From `contimg.sky.crossmatch.detected`.
    asked : DataFrame
        From `contimg.sky.crossmatch.known`.
    """

    pairs: pd.DataFrame
    expected: pd.DataFrame
    asked: pd.DataFrame
    options: QaOptions

    @property
    def bright(self) -> pd.DataFrame:
        """Pairs whose fluxes and places can be compared."""
        return self.pairs[self.pairs["comparable"] & (self.pairs["snr"] >= self.options.flux_snr)]

    @property
    def placed(self) -> pd.DataFrame:
        """Pairs whose places tell how offsets change over the field: many, each with its own error."""
        return self.pairs[self.pairs["comparable"] & (self.pairs["snr"] >= self.options.completeness_snr)]

    def _of(self, table: pd.DataFrame, value: Callable[[], float]) -> float | str:
        if len(table) < self.options.min_sources:
            return f"{len(table)} sources, min_sources {self.options.min_sources}"
        return float(value())

    @property
    def flux_ratio(self) -> float | str:
        """Median flux over the catalogue's."""
        return self._of(self.bright, self.bright["ratio"].median)

    @property
    def flux_scatter(self) -> float | str:
        """Scatter of that ratio beyond the errors."""
        return self._of(self.bright, lambda: excess_scatter(self.bright["ratio"], self.bright["ratio_err"]))

    @property
    def completeness(self) -> float | str:
        """Part of the catalogue's sources that should be seen and are."""
        return self._of(self.expected, self.expected["detected"].mean)

    @property
    def counterparts(self) -> float | str:
        """Part of the bright sources that the catalogue knows."""
        return self._of(self.asked, self.asked["known"].mean)

    @property
    def _offsets(self) -> pd.DataFrame:
        return self.bright[["offset_major_beam", "offset_minor_beam"]]

    @property
    def position_offset(self) -> float | str:
        """Median offset from the catalogue's places, along the worse axis of the beam."""
        return self._of(self.bright, lambda: self._offsets.median().abs().max())

    @property
    def position_scatter(self) -> float | str:
        """Scatter of those offsets, along the worse axis of the beam."""
        return self._of(self.bright, lambda: max(mad_sigma(self._offsets[axis]) for axis in self._offsets))


_FACTS = {"image": ImageFacts, "catalogue": CatalogueFacts, "response": Response}


def held(facts: ImageFacts | CatalogueFacts | Response | None, options: QaOptions, kind: str) -> list[Gate]:
    """Hold facts against the gates of a kind of product; None: there is no catalogue, and nothing has passed."""
    of = next((name for name, what in _FACTS.items() if isinstance(facts, what)), "catalogue")
    absent = "no reference catalogue: `catalog` is null"
    return [
        _gate(row, absent if facts is None else getattr(facts, row.name), options)
        for row in GATES
        if row.of == of and row.only in {"", kind}
    ]


def reliability(n_positive: int, n_negative: int) -> float:
    """1 - false / found: as many positive peaks are false as there are negative ones.

    Of the negative ones the 95 % lower limit counts (Gehrels 1986, ApJ 303, 336, equation 11), so that one or two
    in a shallow tile say nothing and a hundred in a mosaic say what they are.
    """
    false = 0.5 * float(chdtri(2 * n_negative, 0.95)) if n_negative else 0.0
    return 1.0 - false / n_positive


def _gate(row: Row, value: float | str, options: QaOptions) -> Gate:
    """Hold a value against the limits of a gate; a text says why there is no value."""
    limits = Limits(
        getattr(options, row.low) if row.low else None,
        getattr(options, row.high) if row.high else None,
        row.unit,
    )
    return (
        not_evaluated(row.name, value, limits) if isinstance(value, str) else judge(row.name, value, limits)
    )


def excess_scatter(values: pd.Series, errors: pd.Series) -> float:
    """Robust scatter beyond the errors: sqrt(max(0, MAD scatter² - median error²))."""
    return math.sqrt(max(0.0, mad_sigma(values) ** 2 - float(np.median(errors)) ** 2))
