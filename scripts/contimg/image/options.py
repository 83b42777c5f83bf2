"""The section `imaging`, and the quality tiers that its keys on `auto` are filled from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from contimg.core import values
from contimg.core.errors import ConfigError
from contimg.core.messages import explain, read_yaml
from contimg.core.options import (
    NUMBER,
    Auto,
    Cell,
    Channels,
    ImageSize,
    Iterations,
    MajorGain,
    Options,
    Robust,
    Sigmas,
    UvMinimum,
    key,
)
from contimg.core.provenance import REPOSITORY

SHIPPED_TIERS = REPOSITORY / "config" / "quality_tiers.yaml"


def load_tiers(path: Path | None = None) -> dict[str, Tier]:
    """Read the quality tiers.

    Parameters
    ----------
    path : Path, optional
        YAML file: tier, then key: value; by default the one shipped, `config/quality_tiers.yaml`.

    Returns
    -------
    dict of str to Tier

    Raises
    ------
    ConfigError
        When the file, a tier or a key is missing, unknown or out of bounds.
    """
    path = SHIPPED_TIERS if path is None else path
    try:
        tiers = Tiers.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, Tiers)}") from None
    return {name: getattr(tiers, name) for name in Tiers.model_fields}


def resolve_imaging(options: ImagingOptions, tiers: Mapping[str, Tier]) -> ImagingOptions:
    """Give the keys left on `auto` the values of the quality tier; an explicit value wins.

    `imsize` and `cell_arcsec` stay `auto` unless the tier names them: they follow from beam and field.

    Raises
    ------
    ConfigError
        When an explicit value and the tier's contradict each other.
    """
    tier = tiers[options.quality_tier]
    filled = {name: getattr(tier, name) for name in Tier.model_fields if getattr(options, name) == "auto"}
    try:
        return ImagingOptions.model_validate(options.model_dump() | filled)
    except ValidationError as error:
        raise ConfigError(explain(error, ImagingOptions, under="imaging")) from None


APPLIED_BY = {"quality_tier", "robust", "uvmin_klambda", "pb_limit", "smearing_loss"}
"""What decides how many channels are averaged when gains are applied: no other key changes calibrated data."""


class ImagingOptions(Options):
    """How a tile is imaged. `auto` takes the quality tier's value, or follows from beam and field."""

    backend: Literal["auto", "ducc0", "wsclean", "tclean"] = key(
        "auto",
        "Imager: ducc0 grids in memory, CLEAN is Radler's; auto is ducc0 where both are installed and the band is one "
        "image, else WSClean where it is installed, else CASA tclean.",
    )
    quality_tier: Literal["development", "standard", "high_precision"] = key(
        "standard", "Row of config/quality_tiers.yaml that the keys left on auto take their values from."
    )
    sky_model: Annotated[Literal["drift", "none"], BeforeValidator(values.none_is_a_word)] = key(
        "drift",
        "drift: sources above 7 σ are fitted to the visibilities through the drifting beam, subtracted before CLEAN "
        "and restored after it; none: CLEAN alone.",
    )
    outside: Annotated[Literal["auto", "none"], BeforeValidator(values.none_is_a_word)] = key(
        "auto",
        "auto: the Sun, Cas A, Cyg A, Tau A and Vir A are looked for in far sidelobes and subtracted where "
        "significant; none: they are left. With sky_model drift.",
    )
    selfcal: Annotated[Literal["auto", "phase", "none"], BeforeValidator(values.none_is_a_word)] = key(
        "auto",
        "auto: what the gains have changed by since their transit is solved for with the sources fitted, phases then "
        "amplitudes, and corrected where χ² says that it helps; phase: phases alone; none. With sky_model drift.",
    )
    keep: Annotated[
        tuple[Literal["residual", "model", "dirty", "psf"], ...], BeforeValidator(values.listed)
    ] = key(
        (),
        "Further images of a tile: dirty is what CLEAN began with and residual what it left (Jy/beam), model its "
        "components (Jy/pixel), psf the point spread function (1 at its middle). Fitted sources are in none of them, "
        "but in sources.parquet.",
        expects="names among dirty, psf, model and residual, such as [residual]",
        example=["dirty", "psf", "model", "residual"],
    )
    imsize: ImageSize | Auto = key(
        "auto", "Side of a square image; auto: pb_limit and the drift.", unit="pixels", example=4800
    )
    cell_arcsec: Cell | Auto = key(
        "auto", "Side of a pixel; auto: from the synthesised beam.", unit="arcsec", example=3.0
    )
    robust: Robust | Auto = key(
        "auto",
        "Briggs weighting, from -2 (uniform) to 2 (natural); auto: the tier's, unless another value "
        "has 10 % less noise × beam.",
        example=0.0,
    )
    niter: Iterations | Auto = key("auto", "Most CLEAN iterations.", example=20000)
    mgain: MajorGain | Auto = key(
        "auto",
        "Part of the peak that CLEAN removes between two passes through the visibilities.",
        example=0.8,
    )
    auto_mask: Sigmas | Auto = key(
        "auto", "CLEAN looks for new components down to this many times the noise.", unit="σ", example=4.0
    )
    auto_threshold: Sigmas | Auto = key(
        "auto",
        "CLEAN goes on inside the components found down to this many times the noise.",
        unit="σ",
        example=1.0,
    )
    uvmin_klambda: UvMinimum | Auto = key(
        "auto", "Shorter baselines are left out of the image.", unit="kλ", example=1.0
    )
    channels_out: Channels | Auto = key(
        "auto", "Parts of the band that CLEAN treats as images of their own, joined in its search.", example=1
    )
    multiscale: bool | Auto = key(
        "auto",
        "CLEAN with components of several sizes; auto: where a source that was fitted is no point.",
        expects="auto, true or false",
        example=True,
    )
    pb_limit: Annotated[float, Field(gt=0, lt=1), NUMBER] = key(
        0.2, "Where the power beam is below this, the corrected image and its rms are blank.", unit="of peak"
    )
    smearing_loss: Annotated[float, Field(gt=0, le=0.1), NUMBER] = key(
        0.01,
        "Channels are averaged as far as a source at half power loses at most this part of its peak "
        "(weighted mean over baselines).",
        unit="fraction",
    )
    place: Annotated[Literal["auto", "none"], BeforeValidator(values.none_is_a_word)] = key(
        "auto",
        "auto: a tile's shift against `catalog` (the ionosphere's, a clock's) is removed from the headers where it is "
        "significant, with sky_model drift; none: places stay as they were observed.",
    )
    rms_box_beams: Annotated[float, Field(ge=5), NUMBER] = key(
        30.0, "Side of the box in which the local rms is taken.", unit="synthesised beams"
    )

    search_passes: Annotated[float, Field(ge=5), NUMBER] = key(
        150.0,
        "With sky_model drift: passes through the visibilities that a search may spend for each of its "
        "sources (counted as 10 "
        "at least). Then the job goes on with what it has, and says so.",
        unit="passes",
    )
    search_seconds: Annotated[float, Field(gt=0), NUMBER] = key(
        30.0,
        "Seconds of the clock for each source, likewise: the last bound, for what stops at passes is the same on every "
        "machine.",
        unit="s",
    )

    clean_seconds: Annotated[float, Field(gt=0), NUMBER] = key(
        900.0,
        "With ducc0: seconds of the clock after which CLEAN begins no further pass; a full tile takes 20. The image is "
        "what it has come to, and QA notes that it is unfinished. A last bound, as search_seconds.",
        unit="s",
    )

    @model_validator(mode="after")
    def _one_band_with_ducc0(self) -> Self:
        if self.backend == "ducc0" and isinstance(self.channels_out, int) and self.channels_out > 1:
            raise ValueError(
                f"imaging.channels_out: found {self.channels_out} with imaging.backend=ducc0, which images the band as "
                "one; write 1, or backend: wsclean"
            )
        return self

    @model_validator(mode="after")
    def _mask_above_threshold(self) -> Self:
        mask, threshold = self.auto_mask, self.auto_threshold
        if isinstance(mask, float) and isinstance(threshold, float) and threshold > mask:
            raise ValueError(
                f"imaging.auto_threshold: found {threshold:g}, above imaging.auto_mask, {mask:g}; write a "
                "smaller one"
            )
        return self


class Tier(Options):
    """A row of `config/quality_tiers.yaml`: what the keys of `imaging` left on `auto` become."""

    imsize: ImageSize | Auto = key("auto", "See imaging.imsize; auto: from beam and field.")
    cell_arcsec: Cell | Auto = key("auto", "See imaging.cell_arcsec; auto: from beam and field.")
    robust: Robust = key(..., "See imaging.robust.", example=0.0)
    niter: Iterations = key(..., "See imaging.niter.", example=20000)
    mgain: MajorGain = key(..., "See imaging.mgain.", example=0.8)
    auto_mask: Sigmas = key(..., "See imaging.auto_mask.", example=4.0)
    auto_threshold: Sigmas = key(..., "See imaging.auto_threshold.", example=1.0)
    uvmin_klambda: UvMinimum = key(..., "See imaging.uvmin_klambda.", example=1.0)
    channels_out: Channels = key(..., "See imaging.channels_out.", example=1)


class Tiers(Options):
    """All rows of `config/quality_tiers.yaml`."""

    development: Tier
    standard: Tier
    high_precision: Tier
