"""The section `calibration`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from contimg.core import values
from contimg.core.options import NUMBER, Fraction, Name, Options, Sigmas, UvMinimum, key

SELECTION_KEYS = {
    "mode",
    "valid_hours",
    "min_flux_jy",
    "min_pb",
    "search_radius_deg",
    "tables",
    "max_candidates",
    "closeness_hours",
    "interpolate",
}
"""What chooses transits and tables: nothing about a caltable follows from it."""


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
    mode: Literal["auto", "transit", "field"] = key(
        "auto",
        "transit: tiles are calibrated with the transit of a single calibrator; field: on all sources of `catalog` in "
        "the tile within valid_hours that has most of them; auto: by a transit, and on the field where there is none "
        "and there is a catalogue.",
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
    min_pb: Fraction = key(
        0.0,
        "A calibrator that transits where the primary beam is below this is not used, however bright it is.",
        unit="of peak",
    )
    search_radius_deg: Annotated[float, Field(gt=0, le=90), NUMBER] | None = key(
        None,
        "Nor one that transits farther than this from the pointing centre; null: min_flux_jy and min_pb decide.",
        unit="deg",
        example=1.5,
    )
    tables: Annotated[tuple[Name, ...], BeforeValidator(values.listed)] = key(
        (),
        "Only these caltables are applied, the first that is good, whatever their time; none: candidates by rank.",
        expects="directories below products such as [cal/2025-10-30/2025-10-30T13:00:00_3C286]",
        example=["cal/2025-10-30/2025-10-30T13:00:00_3C286"],
    )
    solve_delay: bool = key(
        True, "Solve for delays; false: K is zero, and the bandpass takes them up, as far as they are short."
    )
    solve_bandpass: bool = key(
        True, "Solve for a bandpass; false: BP is 1, and G carries the flux scale over the whole band."
    )
    solve_gains: bool = key(True, "Solve for gains after the bandpass; false: G is 1.")
    gain_solint: Annotated[float, Field(gt=0), NUMBER] | Literal["inf"] = key(
        "inf", "Solution interval of the gains G; inf: one solution over the transit.", unit="s", example=60.0
    )
    gain_calmode: Literal["ap", "p"] = key(
        "ap",
        "What is solved for in G: amplitudes and phases, or phases alone (the bandpass has amplitudes too).",
    )
    closeness_hours: Annotated[float, Field(gt=0), NUMBER] = key(
        6.0,
        "Candidates are ranked by apparent flux / (1 + time from the tile / this): small values prefer the "
        "nearest transit, large ones the brightest. What comes through of Cas A, Cyg A, Tau A and Vir A counts against "
        "a transit, and variable sources count half.",
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
        5.0,
        "An antenna whose bandpass has a lower signal-to-noise ratio (median over the band, of the channels it is "
        "solved on) is flagged; single channels are not chosen by it, which would prefer large amplitudes.",
        unit="σ",
    )
    bandpass_snr: Annotated[float, Field(ge=0), NUMBER] = key(
        45.0,
        "Channels of a subband are averaged until an antenna's bandpass is expected to reach this signal-to-noise "
        "ratio: noise makes amplitudes, and so fluxes, wrong by its inverse square. 0: never averaged.",
        unit="σ",
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
        "An antenna stronger or weaker than the median one by more than this factor is left out, each polarisation "
        "by itself: the limit for a reference antenna.",
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
