"""The options of the search for extreme scattering events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from contimg.core import values
from contimg.core.options import NUMBER, Name, Options, key

PRESETS: dict[str, float] = {"conservative": 5.0, "moderate": 3.5, "sensitive": 2.5}
"""The observatory's names of thresholds, in σ."""


class EseOptions(Options):
    """How extreme scattering events are searched for, and what becomes a candidate (docs/ese.md)."""

    preset: Literal["conservative", "moderate", "sensitive"] | None = key(
        None,
        "Threshold by name: conservative 5, moderate 3.5, sensitive 2.5 σ; it wins over min_sigma.",
        expects="conservative, moderate, sensitive or null",
        example="conservative",
    )
    min_sigma: Annotated[float, Field(gt=0), NUMBER] = key(
        5.0,
        "A source is a candidate if an epoch deviates from its baseline by this, two in a row with it by 0.6 of it the "
        "same way (one alone: by twice as much), and no step, flare or trend says it better.",
        unit="σ",
    )
    max_far: Annotated[float, Field(gt=0), NUMBER] = key(
        0.3,
        "A source is a candidate if the shape of an event is so significant that chance makes at most so many.",
        unit="per 10⁶ source-epochs",
    )
    null_epochs: Annotated[int, Field(ge=0), NUMBER] = key(
        300_000,
        "So many source-epochs without events are made of the table's own curves and searched, to learn how often "
        "chance makes a candidate here; 0: only what the shipped simulation says.",
        unit="source-epochs",
    )
    common_modes: bool = key(
        True, "Errors of months that the sources of an hour of right ascension share are removed first."
    )
    recompute: bool = key(
        False,
        "Search all of every curve; false: of a source whose earlier epochs are as at the last search, only events "
        "that reach its new ones, the others being kept.",
    )
    source_ids: Annotated[tuple[Name, ...], BeforeValidator(values.listed)] = key(
        (),
        "Only these sources; none: all.",
        expects="names such as [J083454.9+553421]",
        example=["J083454.9+553421"],
    )
    pages: Annotated[int, Field(ge=0), NUMBER] = key(
        200, "Most candidates, the most significant first, that get a page of their own."
    )

    @property
    def threshold_sigma(self) -> float:
        """The threshold in force: the preset's, if there is one."""
        return self.min_sigma if self.preset is None else PRESETS[self.preset]
