"""The section `beam`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contimg.core.options import NUMBER, Options, Place, key


class BeamOptions(Options):
    """The primary beam of one dish."""

    model: Literal["airy", "file"] = key(
        "airy", "Power pattern: airy is (2 J1(x)/x)², x = π D sin θ / λ; file: the samples of `file`."
    )
    diameter_m: Annotated[float, Field(gt=0, le=100), NUMBER] = key(
        4.65, "Diameter D of the uniformly lit dish; half power is 1.03 λ/D wide.", unit="m"
    )
    file: Place | None = key(
        None,
        "Beam file (FITS, see docs/beam.md) for model file. With another content, what depends on it is made again.",
        expects="the path of a FITS file, or null",
    )

    @model_validator(mode="after")
    def _file_where_it_is_the_model(self) -> Self:
        if (self.model == "file") != (self.file is not None):
            raise ValueError(
                f"beam.file: found {self.file or 'nothing'} beside beam.model={self.model}; write "
                + ("the path of the beam file" if self.file is None else "model: file too, or leave it out")
            )
        return self
