"""The options of photometry: what is measured, and what its errors stand for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contimg.core.options import NUMBER, Fraction, Options, Place, Sigmas, key


class PhotometryOptions(Options):
    """Forced photometry of every listed source in every mosaic that passed (docs/photometry.md)."""

    sources: Place | None = key(
        None,
        "Sources to measure beside those of `catalog`: any table that astropy reads with ra_deg, dec_deg (ICRS) and, "
        "where known, name and flux_jy (1.4 GHz).",
        expects="the path of a table, or null",
        example="sources/my_list.csv",
    )
    min_flux_jy: Annotated[float, Field(ge=0), NUMBER] = key(
        0.0, "Sources of `catalog` that are fainter at 1.4 GHz are not measured.", unit="Jy"
    )
    same_arcsec: Annotated[float, Field(gt=0, le=120), NUMBER] = key(
        5.0,
        "Two entries of the list that are nearer than this are one source: the earlier one.",
        unit="arcsec",
    )
    join_after: Annotated[int, Field(ge=1), NUMBER] = key(
        3,
        "A source that is in no list joins it once it was found on so many dates; then it is measured in the old "
        "mosaics too.",
        unit="dates",
    )
    join_snr: Sigmas = key(7.0, "Only what was found above this counts for that.", unit="σ")
    seen_snr: Sigmas = key(
        5.0, "A source below this is not seen: it keeps its measured flux and gets an upper limit.", unit="σ"
    )
    limit_sigma: Sigmas = key(3.0, "Upper limit: the flux, or 0 if it is negative, plus this.", unit="σ")
    blend_beams: Annotated[float, Field(gt=0, le=3), NUMBER] = key(
        1.5, "Sources nearer to each other than this are flagged as blended.", unit="beams"
    )
    background_beams: Annotated[float, Field(ge=4, le=50), NUMBER] = key(
        10.0, "Background and noise are taken from 2 beams to this distance round a source.", unit="beams"
    )
    max_rms_ratio: Annotated[float, Field(gt=1), NUMBER] = key(
        4.0, "Where the mosaic's noise is above this many times its best (1 % quantile): low weight."
    )
    artefact_part: Fraction = key(
        0.003,
        "Residual sidelobes of a bright source, as a part of it: where this is above 2 σ within background_beams of a "
        "brighter source, a measurement is flagged.",
        unit="of its flux",
    )
    calibration_error: Fraction = key(
        0.018,
        "Error of the flux scale of one mosaic, in quadrature with the noise: scatter of bright sources between tiles.",
        unit="of the flux",
    )
    beam_width_error: Fraction = key(
        0.005,
        "Error of the primary beam's width; a flux is off by 2 |ln response| times this.",
        unit="of the width",
    )


LISTED_BY = {"sources", "min_flux_jy", "same_arcsec", "join_after", "join_snr"}
"""What decides which sources are measured."""

MEASURED_BY = set(PhotometryOptions.model_fields) - LISTED_BY
"""What decides how: another way to make the list makes a mosaic's photometry again only if it gives another list."""
