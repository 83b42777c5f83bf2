"""What all wire types share: no unknown keys, no NaN, strings of bounded length, times in UTC with a `Z`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

MOST_ITEMS = 10_000
"""Of one list on the wire, whatever the service's own limit is."""

Kind = Literal[
    "convert", "calibrate", "apply", "image", "mosaic", "photometry", "ese-detect", "publish"
]  # fmt: skip
KINDS: tuple[Kind, ...] = (
    "convert", "calibrate", "apply", "image", "mosaic", "photometry", "ese-detect", "publish",
)  # fmt: skip
State = Literal["pending", "running", "done", "failed", "cancelled"]
BatchState = Literal["pending", "running", "done", "failed", "cancelled", "partial"]
ENDED = frozenset({"done", "failed", "cancelled", "partial"})

Text = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]
Texts = Annotated[list[Text], Field(max_length=MOST_ITEMS)]
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


def iso(when: datetime) -> str:
    """A time in UTC, to the second, with a `Z`."""
    return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


Instant = Annotated[datetime, PlainSerializer(iso, return_type=str)]


class Request(BaseModel):
    """Base of what clients send: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=1000)


class Answer(BaseModel):
    """Base of what the service says; a later service may say more, which an older client passes over."""

    model_config = ConfigDict(extra="ignore")
