"""The options of quality assurance: the limit of every gate, each with its origin."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from contimg.core import values
from contimg.core.options import NUMBER, Auto, Fraction, Options, Sigmas, key
from contimg.qa.table import NAMES

Positive = Annotated[float, Field(gt=0), NUMBER]


def _gate_name(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"qa.advisory: found {name!r}; expected names among {', '.join(NAMES)}")
    return name


GateName = Annotated[str, AfterValidator(_gate_name), WithJsonSchema({"type": "string", "enum": list(NAMES)})]
INJECTED_BY = {"injection_pb", "detection_snr", "completeness_snr", "flux_snr", "match_beams", "min_sources"}
"""What changes injected sources or what is said of them: a changed limit of a gate images no tile once more."""
NOT_JUDGED_BY = {"injection_minutes", "injection_pb"}
"""What no verdict depends on."""


class QaOptions(Options):
    """When a tile or a mosaic is good enough to go on: the limits of its gates (docs/qa.md)."""

    advisory: Annotated[tuple[GateName, ...], BeforeValidator(values.listed)] = key(
        ("transit_scale", "catalogue_scale", "departed", "outside"),
        "Gates that are evaluated and reported but stop nothing.",
        expects="names of gates such as [artefacts, beam]",
        example=["artefacts"],
    )
    max_rms: Positive = key(
        3.0,
        "Gate rms: noise of the image over what is expected of it, thermal and confusion. 1 is perfect; the goal is "
        "1.3, the acceptance test of a full tile 2.",
    )
    confusion_mjy: Annotated[float, Field(ge=0), NUMBER] | Auto = key(
        "auto",
        "Confusion noise that is expected beside the thermal one; auto: from the beam, 0.2 mJy (GHz/ν)^0.7 per square "
        "arcmin of its axes' product (Condon & Ransom 2016, Essential Radio Astronomy, ch. 3).",
        unit="mJy/beam",
        example=0.1,
    )
    min_noise_ratio: Positive = key(
        0.7,
        "Gate noise: scatter of XX - YY from one integration to the next over what the weights stand for; 1 if the "
        "weights are right. An error of 30 % is far outside their statistics.",
    )
    max_noise_ratio: Positive = key(
        1.5,
        "Gate noise, upper limit: gains that change in seconds, interference and correlator faults raise it.",
    )
    min_dynamic_range: Positive = key(
        300.0,
        "Gate dynamic_range: brightest source over the rms within 10 beams of it, less the image's noise. Phases wrong "
        "by 10 degrees in each of N = 96 antennas give N / (√2 φ) = 400 (Perley 1999, ASP 180, 275).",
    )
    max_artefact: Fraction = key(
        0.05,
        "Gate artefacts: deepest hole within 10 beams of a source above 200 σ, over its peak. The sidelobes of "
        "an array of 96 antennas that CLEAN left alone are some 5 %.",
        unit="of peak",
    )
    min_reliability: Fraction = key(
        0.9,
        "Gate reliability: 1 - (negative peaks) / (positive peaks) beyond detection_snr, of the former the 95 % lower "
        "limit of their number. The goal is 0.995.",
    )
    max_axis_ratio: Annotated[float, Field(ge=1), NUMBER] = key(
        6.0, "Gate beam: longer over shorter axis of the beam. The full array gives 1.7 to 4."
    )
    max_flagged: Fraction = key(
        0.7,
        "Gate flags: flagged part of the cross-correlations that are imaged. Beyond it 45 % of the signal is left.",
    )
    min_weight_uniformity: Fraction = key(
        0.3,
        "Gate weights: (Σw)² / (N Σw²) over the integrations and channels of a tile, or the tiles of a mosaic; 1 if "
        "all weigh the same. Below 0.3 a few of them are the image.",
    )
    sefd_jy: Positive | None = key(
        6500.0,
        "System equivalent flux density that an antenna should have; null: gate sefd is not evaluated.",
        unit="Jy",
        example=6500.0,
    )
    min_sefd_ratio: Positive = key(
        0.6,
        "Gate sefd: measured SEFD over sefd_jy. Lower than any receiver has, it says that fluxes are too low.",
    )
    max_sefd_ratio: Positive = key(
        1.6,
        "Gate sefd, upper limit: fluxes too high, or receivers too noisy. The Galactic plane adds up to a half, at "
        "most of its places a tenth.",
    )
    max_transit_scale: Positive = key(
        0.06,
        "Gate transit_scale: difference of the SEFD of another transit from the one whose solutions a tile uses. It is "
        "that of their calibrators' listed fluxes; a transit in the Galactic plane differs by up to a half. With "
        "a catalogue flux_ratio says which one is wrong.",
    )
    max_antenna_scale: Positive = key(
        0.01,
        "Gate antenna_scale: by how much antennas that are certainly (5 σ) off, each against the usual one, change the "
        "scale of a tile's fluxes. One of 16 that loses 0.4 of its gain takes 0.05, one of 96 0.008.",
    )
    max_coherence_loss: Fraction = key(
        0.02,
        "Gate coherence: part of the flux that phases certainly (3 σ) take which are left unsteady within a tile: "
        "σ² of a scatter of σ, 0.02 for 8 deg.",
        unit="of the flux",
    )
    max_departed: Fraction = key(
        0.09,
        "Gate departed: part of the antennas with data that departs from the others: left out, or changed by more "
        "than 0.3 within the tile. 0.09 of them left out make the noise a tenth higher. Reported only: what is left is "
        "good, and the cause (exchanged cables, a receiver) is somebody's to find.",
        unit="of the antennas",
    )
    max_outside: Positive = key(
        1000.0,
        "Gate outside: flux of the Sun and the A-team that was in a tile's data and subtracted, each source's by its "
        "part of the baselines, over the expected noise. Cyg A 4.2 deg from the pointing gave 2400, and 1.43 times the "
        "noise; by that, what the subtraction leaves makes a tenth more at 1000. Advisory: it says why, and fluxes and "
        "noise have gates of their own.",
        unit="× noise",
    )
    detection_snr: Sigmas = key(5.0, "A source counts as detected above this.", unit="σ")
    completeness_snr: Sigmas = key(
        10.0,
        "Completeness is counted over catalogue sources that should be above this, at their place in the "
        "primary beam and the noise.",
        unit="σ",
    )
    flux_snr: Sigmas = key(
        20.0,
        "Fluxes and places are compared for sources above this: their own errors are then 5 % and 1/50 beam.",
        unit="σ",
    )
    min_sources: Annotated[int, Field(ge=1), NUMBER] = key(
        5, "A gate that counts sources is not evaluated with fewer of them."
    )
    match_beams: Positive = key(
        1.0,
        "A catalogue source and a detection are the same within this distance, if each is the other's nearest.",
        unit="major axes of the beam",
    )
    catalog_beam_arcsec: Positive = key(
        45.0,
        "Resolution of the catalogue: sources with a companion nearer than it, or than two beams, are not compared "
        "(NVSS: 45).",
        unit="arcsec",
    )
    min_flux_ratio: Positive = key(
        0.95,
        "Gate flux_ratio: median of measured over catalogue flux. The goal is 0.98 to 1.02; surveys agree to 3 %, and "
        "the median of a tile's sources, of which some vary, is good to 2 %.",
    )
    max_flux_ratio: Positive = key(1.05, "Gate flux_ratio, upper limit.")
    max_flux_scatter: Positive = key(
        0.2,
        "Gate flux_scatter: robust scatter of the ratio beyond the errors of both. Sources that vary, spectra and "
        "resolution make 0.1 between surveys.",
    )
    min_completeness: Fraction = key(
        0.9, "Gate completeness: detected part of the catalogue sources that should be. The goal is 0.95."
    )
    min_counterparts: Fraction = key(
        0.9,
        "Gate counterparts: part of the detections above completeness_snr, and twice as bright as the catalogue "
        "reaches, that the catalogue has too.",
    )
    max_position_offset: Positive = key(
        0.1,
        "Gate position_offset: median offset from the catalogue along either axis of the beam. The goal is 1/30.",
        unit="beam",
    )
    max_position_scatter: Positive = key(
        0.3, "Gate position_scatter: robust scatter about that median along either axis.", unit="beam"
    )

    max_beam_slope: Positive = key(
        0.01,
        "Gate beam_slope: error of the power beam at half power that is certain at 3 σ, from the flux of sources at "
        "different places in the beam. A dish of 4.43 m taken for 4.65 m makes 0.066.",
        unit="of power",
    )
    max_pointing_deg: Positive = key(
        0.01,
        "Gate pointing: by how much the dishes certainly (3 σ) point beside what is stated, north or east, from fluxes "
        "over the catalogue's. 0.01 deg is 1 % of the power at half power.",
        unit="deg",
    )
    max_catalogue_scale: Positive = key(
        0.01,
        "Gate catalogue_scale: by how much the scale of the fluxes certainly (3 σ) differs from the catalogue's: "
        "the calibrator's listed flux, or the survey's scale, which is good to 1 to 3 %. Reported only, unless it is "
        "removed from qa.advisory.",
    )
    max_tile_scale: Positive = key(
        0.01,
        "Gate tile_scale of a mosaic: by how much the fluxes of one of its tiles certainly (3 σ) differ from those of "
        "the same sources in the others.",
    )
    max_position_gradient: Positive = key(
        0.1,
        "Gate position_gradient: change of the offset from the catalogue over a degree of the field, along either axis "
        "of the beam, that is certain at 3 σ.",
        unit="beam/deg",
    )

    injection_minutes: Annotated[float, Field(gt=0, le=1440), NUMBER] | None = key(
        120.0,
        "Known faint sources are put into the data of every tile whose right ascension holds a multiple of this, the "
        "same sky every night, and the tile is imaged once more: 12 tiles a day at 120. null: none.",
        unit="min of right ascension",
        example=120.0,
    )
    injection_pb: Annotated[float, Field(gt=0, lt=1), NUMBER] = key(
        0.3, "Nothing is injected where the power beam is below this.", unit="of peak"
    )

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        for what in ("noise_ratio", "flux_ratio", "sefd_ratio"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low >= high:
                raise ValueError(
                    f"qa.min_{what}: found {low:g}, not below qa.max_{what}, {high:g}; write a smaller one"
                )
        return self
