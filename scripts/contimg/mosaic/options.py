"""The section `mosaic`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from contimg.core import values
from contimg.core.options import NUMBER, Options, key


class MosaicOptions(Options):
    """Which tiles make a mosaic, and how they are put together."""

    width_minutes: Annotated[float, Field(gt=0, le=240), NUMBER] = key(
        60.0, "Width of a sidereal window: a tile is in it if its middle is.", unit="min of LST"
    )
    stride_minutes: Annotated[float, Field(gt=0, le=240), NUMBER] = key(
        30.0, "From one window's middle to the next one's.", unit="min of LST"
    )
    min_tiles: Annotated[int, Field(ge=1), NUMBER] = key(
        2, "A mosaic with fewer good tiles is rejected.", unit="tiles"
    )
    pb_limit: Annotated[float, Field(gt=0, lt=1), NUMBER] = key(
        0.2, "A tile adds nothing where its power beam is below this.", unit="of peak"
    )
    method: Literal["weighted", "mean"] = key(
        "weighted", "How overlapping tiles combine: weighted by 1/rms², or a plain mean."
    )
    beam: Literal["common", "native"] = key(
        "common",
        "common: all tiles are convolved to one restoring beam; native: each keeps its own, and the header "
        "says so.",
    )
    scale: Annotated[Literal["none", "tiles"], BeforeValidator(values.none_is_a_word)] = key(
        "none",
        "tiles: a tile whose fluxes certainly (3 σ) differ from those of the same sources in the mosaic's other tiles "
        "is divided by its factor (docs/qa.md); none: tiles are added as they are, and gate tile_scale tells.",
    )
    interpolation: Literal["bicubic", "bilinear", "nearest"] = key(
        "bicubic", "Interpolation onto the mosaic's pixels (bilinear costs a point source 1–3 % of its peak)."
    )

    @model_validator(mode="after")
    def _windows_repeat(self) -> Self:
        if 1440 % self.stride_minutes:
            raise ValueError(
                f"mosaic.stride_minutes: found {self.stride_minutes:g}, which does not divide a sidereal day "
                "of 1440 minutes; write for example 30"
            )
        return self
