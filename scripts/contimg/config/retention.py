"""The options of what happens to finished products: sections of the configuration, as in `contimg.core.options`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contimg.core.options import NUMBER, Options, Place, key


class RegistryOptions(Options):
    """The registries under `state/`: SQLite files that answer questions on the products."""

    backups: Annotated[int, Field(ge=0, le=1000), NUMBER] = key(
        7, "How many earlier versions of each registry are kept under state/backups/."
    )


Days = Annotated[float, Field(ge=0), NUMBER]


class RetentionOptions(Options):
    """What may go when (contimg retention): never what a product that is not published yet needs."""

    raw_days: Days | None = key(
        None, "Raw files may go this long after the observation; null: never.", unit="days", example=7.0
    )
    science_days: Days | None = key(
        None, "Science Measurement Sets, likewise; null: never.", unit="days", example=3.0
    )
    calibrators_days: Days | None = key(
        None,
        "Calibrators' Measurement Sets, once their caltables are made; null: never.",
        unit="days",
        example=3.0,
    )
    calibrated_days: Days | None = key(
        None, "Calibrated Measurement Sets (made on request); null: never.", unit="days", example=30.0
    )
    rejected: Literal["keep", "release"] = key(
        "keep",
        "Data of tiles and mosaics that are rejected or failed a gate: keep, or release as if they were published.",
    )
    archive: Place | None = key(
        None,
        "Where raw files go: copied, compared, then removed; null: they are removed.",
        expects="the path of a directory, or null",
        example="/archive/dsa110",
    )
