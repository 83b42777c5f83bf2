"""The options of each stage: every key of a section with its type, unit, bounds, default and meaning.

The classes are the sections of the configuration (`contimg.config`) and the options that the stages'
functions take. They travel to a rule's script by `model_dump(mode="json")` and come back by `model_validate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from contimg import config_values as values

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


class CalibrationOptions(Options):
    """Which transits calibrate a tile, how they are solved, and when a solution is good."""

    refant: Name = key(
        "auto",
        "Reference antenna by NAME (103 is the antenna called 103, not the one with that index), or auto: a "
        "healthy, well-connected outrigger is chosen. A named antenna that is not usable is "
        "replaced, and said so.",
        expects="auto or an antenna's name",
        example="103",
    )
    valid_hours: Annotated[float, Field(gt=0, le=720), NUMBER] = key(
        12.0, "A tile uses no table from a transit farther away in time than this.", unit="h"
    )
    min_flux_jy: Annotated[float, Field(ge=0), NUMBER] = key(
        1.0,
        "Faintest calibrator: its flux density at 1.4 GHz times the primary beam at transit.",
        unit="Jy, apparent",
    )
    max_candidates: Annotated[int, Field(ge=1, le=20), NUMBER] = key(
        3, "How many transits are solved for a tile, best first; the first with a good solution is used."
    )
    closeness_hours: Annotated[float, Field(gt=0), NUMBER] = key(
        6.0,
        "Candidates are ranked by apparent flux / (1 + time from the tile / this): small values prefer the "
        "nearest transit, large ones the brightest.",
        unit="h",
    )
    uvmin_klambda: UvMinimum = key(1.0, "Baselines shorter than this do not enter the solutions.", unit="kλ")
    min_baselines_per_antenna: Annotated[int, Field(ge=2), NUMBER] = key(
        4, "An antenna with fewer baselines left is not solved for."
    )
    prebandpass_solint_s: Annotated[float, Field(gt=0), NUMBER] = key(
        60.0, "Solution interval of the phase solution that is applied while solving the bandpass.", unit="s"
    )
    bandpass_minsnr: Annotated[float, Field(ge=0), NUMBER] = key(
        5.0, "A bandpass solution of lower signal-to-noise ratio is flagged.", unit="σ"
    )
    gain_minsnr: Annotated[float, Field(ge=0), NUMBER] = key(
        3.0, "A gain solution of lower signal-to-noise ratio is flagged.", unit="σ"
    )
    delay_minsnr: Annotated[float, Field(ge=0), NUMBER] = key(
        3.0, "A delay solution of lower signal-to-noise ratio is flagged.", unit="σ"
    )
    fillgaps_channels: Annotated[int, Field(ge=0), NUMBER] = key(
        3, "Gaps in the bandpass up to this wide are interpolated.", unit="channels"
    )
    time_average_s: Annotated[float, Field(ge=0), NUMBER] = key(
        60.0, "The calibrator's data are averaged over this time before solving; 0: not averaged.", unit="s"
    )
    find_neighbours: bool = key(
        True,
        "Without a catalogue, the other sources in the calibrator's tile are found in its own data and enter the "
        "model: what a model lacks, N antennas' gains take up by 2/N.",
    )
    interpolate: bool = key(
        True,
        "A tile between two transits with good solutions gets gains between theirs, linear in time; false: those of "
        "the best transit alone.",
    )
    max_channel_departure: Sigmas = key(
        7.0,
        "A channel of a bandpass that is off by more than this, and by 10 %, from the medians of the channels below, "
        "above and round it is flagged. Of solutions that scatter normally 2 in 10¹¹ are.",
        unit="σ",
    )
    max_antenna_departure: Annotated[float, Field(gt=1), NUMBER] = key(
        3.0,
        "An antenna stronger or weaker than the median one by more than this factor is left out, hand by hand: the "
        "limit for a reference antenna.",
    )
    max_unsteady_deg: Annotated[float, Field(gt=0, le=180), NUMBER] = key(
        15.0,
        "An antenna whose calibrated phases scatter by more than this (rms) within the transit, and three times as "
        "much as the median antenna's, is left out: at 15 deg it loses 3 % of its amplitude.",
        unit="deg",
    )
    max_flagged_fraction: Fraction = key(
        0.5,
        "A transit whose solutions are flagged beyond this fraction of antennas and channels is rejected.",
    )
    min_antennas: Annotated[int, Field(ge=3), NUMBER] = key(
        6, "A transit with fewer antennas solved is rejected.", unit="antennas"
    )
    max_phase_scatter_deg: Annotated[float, Field(gt=0, le=180), NUMBER] = key(
        40.0, "A transit whose calibrated phases scatter more than this (rms) is rejected.", unit="deg"
    )


class CatalogOptions(Options):
    """How the reference catalogue is read: its columns by name, its units and its frequency."""

    name: Name = key("name", "Column of the sources' names.", expects="a column's name", example="NVSS")
    ra_deg: Name = key(
        "ra_deg",
        "Column of right ascensions (ICRS): in the unit that the table states, degrees where it states none, or text "
        "in hours.",
        expects="a column's name",
        example="RAJ2000",
    )
    dec_deg: Name = key(
        "dec_deg",
        "Column of declinations, likewise; text in degrees.",
        expects="a column's name",
        example="DEJ2000",
    )
    flux_jy: Name = key("flux_jy", "Column of flux densities.", expects="a column's name", example="S1.4")
    flux_err_jy: Name | None = key(
        None,
        "Column of their errors; null: flux_err_jy if the table has it.",
        expects="a column's name, or null",
        example="e_S1.4",
    )
    spectral_index: Name | None = key(
        None,
        "Column of spectral indices; null: spectral_index if the table has it.",
        expects="a column's name, or null",
        example="alpha",
    )
    flux_unit: Literal["Jy", "mJy", "uJy"] = key(
        "Jy", "Unit of fluxes and errors where the table states none."
    )
    freq_mhz: Annotated[float, Field(gt=0), NUMBER] = key(
        1400.0, "Frequency of the fluxes; they are brought to 1.4 GHz by the spectral index.", unit="MHz"
    )
    typical_spectral_index: Number = key(
        -0.7, "Spectral index where the table gives none (extragalactic sources: Condon 1984, ApJ 287, 461)."
    )


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


class ImagingOptions(Options):
    """How a tile is imaged. `auto` takes the quality tier's value, or follows from beam and field."""

    backend: Literal["auto", "wsclean", "tclean"] = key(
        "auto", "Imager: auto is WSClean where it is installed, CASA tclean otherwise."
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
        "auto: the Sun, Cas A, Cyg A, Tau A and Vir A are looked for in far sidelobes and taken out where significant; "
        "none: they are left. With sky_model drift.",
    )
    selfcal: Annotated[Literal["auto", "phase", "none"], BeforeValidator(values.none_is_a_word)] = key(
        "auto",
        "auto: what the gains have changed by since their transit is solved for with the sources fitted, phases then "
        "amplitudes, and taken out where χ² says that it helps; phase: phases alone; none. With sky_model drift.",
    )
    keep: Annotated[tuple[Literal["residual", "model"], ...], BeforeValidator(values.listed)] = key(
        (),
        "Further images of a tile: residual is what CLEAN left (Jy/beam), model its components (Jy/pixel); fitted "
        "sources are in neither, but in sources.parquet.",
        expects="names among residual and model, such as [residual]",
        example=["residual", "model"],
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
    rms_box_beams: Annotated[float, Field(ge=5), NUMBER] = key(
        30.0, "Side of the box in which the local rms is taken.", unit="synthesised beams"
    )

    @model_validator(mode="after")
    def _mask_above_threshold(self) -> Self:
        mask, threshold = self.auto_mask, self.auto_threshold
        if isinstance(mask, float) and isinstance(threshold, float) and threshold > mask:
            raise ValueError(
                f"imaging.auto_threshold: found {threshold:g}, above imaging.auto_mask, {mask:g}; write a "
                "smaller one"
            )
        return self


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
