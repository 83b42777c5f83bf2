"""The section `catalog_table`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contimg.core.options import NUMBER, Name, Number, Options, key


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
