"""The options of variability: how light curves are put on one scale, and what counts as variable."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contimg.core.options import NUMBER, Options, key


class VariabilityOptions(Options):
    """How light curves are put on one scale, and what counts as variable (docs/variability.md)."""

    reference_snr: Annotated[float, Field(gt=0), NUMBER] = key(
        20.0,
        "Sources whose mean signal to noise is above this, and that are mostly clean, set the flux scale.",
        unit="σ",
    )
    min_references: Annotated[int, Field(ge=3), NUMBER] = key(
        5,
        "A mosaic with fewer references gets no zero point: its fluxes stay in the light curves, not normalised and "
        "out of the statistics.",
    )
    max_references: Annotated[int, Field(ge=10), NUMBER] = key(
        400,
        "At most so many references, the best, in half an hour of right ascension and 3 degrees of declination.",
    )
    max_scatter: Annotated[float, Field(gt=1), NUMBER] = key(
        4.0,
        "A mosaic whose references scatter about its zero point by more than this times their usual errors gets none.",
    )
    recent_days: Annotated[int, Field(ge=1, le=365), NUMBER] = key(
        30,
        "The scale is that of all nights up to the last full period of this length; later nights are put on it, so "
        "that a new night changes no other.",
        unit="d",
    )
    threshold_sigma: Annotated[float, Field(gt=0), NUMBER] = key(
        3.0,
        "A source is called variable when both η and V are above the population's at its signal to noise by this many "
        "robust standard deviations of their logarithms.",
        unit="σ",
    )
