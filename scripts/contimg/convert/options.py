"""The section `flagging`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from contimg.core import values
from contimg.core.options import NUMBER, Band, Fraction, Name, Options, Place, Sigmas, key


class FlaggingOptions(Options):
    """What is flagged while raw files become a Measurement Set."""

    aoflagger: bool = key(
        True, "Search each baseline's time-frequency plane for interference with AOFlagger."
    )
    strategy: Place | None = key(
        None,
        "AOFlagger strategy, a Lua file; null: the one shipped.",
        expects="the path of a Lua file, or null",
        example="strategies/dsa110.lua",
    )
    shared_fraction: Fraction = key(
        0.5,
        "Where AOFlagger finds interference on more than this fraction of the baselines, in one channel and "
        "integration, all are flagged there; 1: never.",
    )
    rfi_bands_mhz: Annotated[tuple[Band, ...], BeforeValidator(values.listed)] = key(
        (),
        "Bands that are flagged whatever they hold. Narrow interference is known near 1350, 1395, 1405, 1422 "
        "and 1475 MHz; AOFlagger finds it where it is.",
        unit="MHz",
        expects="bands such as [[1349, 1351], [1404, 1406]]",
        example=[[1349, 1351], [1404, 1406]],
    )
    dead_antenna_fraction: Annotated[float, Field(gt=0, le=1), NUMBER] = key(
        0.95, "An antenna with more than this fraction of its data flagged or zero is dead: flagged wholly."
    )
    antenna_amplitude_sigma: Sigmas = key(
        8.0,
        "An antenna whose typical amplitude is farther than this from the other antennas' (robust standard "
        "deviations of the logarithm) is flagged.",
        unit="σ",
    )
    flag_antennas: Annotated[tuple[Name, ...], BeforeValidator(values.listed)] = key(
        (), "Antennas to flag, by NAME.", expects="names such as [21, 103]", example=["21", "103"]
    )
