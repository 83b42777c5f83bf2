"""What the first look at raw files reads, and what it expects of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contimg.core.options import NUMBER, Options, key


class FirstLightOptions(Options):
    """How much is read, and the values that the pipeline takes for granted."""

    subbands: Annotated[int, Field(ge=1, le=64), NUMBER] = key(
        4, "Subbands of the calibrator's tile that are read, spread over the band."
    )
    hours: Annotated[int, Field(ge=1, le=288), NUMBER] = key(
        6, "Tiles, spread over the range, whose interference is looked at (two integrations of each)."
    )
    min_flux_jy: Annotated[float, Field(gt=0), NUMBER] = key(
        1.0, "Least apparent flux of the calibrator that fringes are measured on.", unit="Jy"
    )
    sefd_jy: Annotated[float, Field(gt=0), NUMBER] = key(
        6500.0, "System equivalent flux density that is expected of an antenna.", unit="Jy"
    )
    field_sources: Annotated[int, Field(ge=1, le=200), NUMBER] = key(
        25, "Catalogue sources whose fluxes tell pointing and width of the beam."
    )
