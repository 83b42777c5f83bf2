"""The options of each stage: every key of a section with its type, unit, bounds, default and meaning.

The classes are the sections of the configuration (`contimg.config.model`) and the options that the stages'
functions take. They travel to a rule's script by `model_dump(mode="json")` and come back by `model_validate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from contimg.core import values

Auto = Literal["auto"]
NUMBER = BeforeValidator(values.not_bool)  # behind the bounds, which else do not reach the JSON schema
Number = Annotated[float, NUMBER]
Fraction = Annotated[float, Field(ge=0, le=1), NUMBER]
Name = Annotated[str, Field(min_length=1), BeforeValidator(values.name, json_schema_input_type=str | int)]
Place = Annotated[Path, BeforeValidator(values.name)]
Band = Annotated[tuple[Number, Number], BeforeValidator(values.band)]
ImageSize = Annotated[int, Field(ge=64, le=20000), NUMBER]
Cell = Annotated[float, Field(gt=0, le=600), NUMBER]
Robust = Annotated[float, Field(ge=-2, le=2), NUMBER]
Iterations = Annotated[int, Field(ge=0), NUMBER]
MajorGain = Annotated[float, Field(gt=0, le=1), NUMBER]
Sigmas = Annotated[float, Field(gt=0), NUMBER]
UvMinimum = Annotated[float, Field(ge=0), NUMBER]
Channels = Annotated[int, Field(ge=1, le=64), NUMBER]


def key(default: Any, text: str, *, unit: str = "", expects: str = "", example: Any = None) -> Any:
    """Declare a key: default, meaning, unit, what is expected (where its type does not say), an example."""
    extra: dict[str, Any] = {label: said for label, said in (("unit", unit), ("expects", expects)) if said}
    shown = default if example is None else example
    return Field(default, description=text, examples=[shown], json_schema_extra=extra)


class Options(BaseModel):
    """Base of the sections: frozen, without unknown keys, values brought to one form first."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, data: Any) -> Any:
        defaults = {name: field.get_default() for name, field in cls.model_fields.items()}
        return values.cleaned(data, {k: v for k, v in defaults.items() if isinstance(v, tuple | Options)})
