"""The faults of the matrix *fault × gate*: what is wrong, by how much, and the small night or strip that has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchlib.skies import reference_table
from contimg.simulate.options import Jump, SimOptions, Source, preset

ANTENNAS = (
    "1", "12", "24", "38", "51", "70", "76", "88", "102", "103", "104", "106", "109", "112", "114", "116",
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "mosaic_name": "all",
    "imaging": {"quality_tier": "development", "imsize": 1000},
}
"""What of the configuration differs: a row costs a CPU minute."""

CALIBRATOR = Source("0834+555", 128.7287, 55.5725, 8.8, -0.4)
BESIDE_CYG_A = Source("1959+456", 299.868, 45.57, 8.8, -0.4)


@dataclass(frozen=True)
class NightFault:
    """A fault that raw files have, or the lists that the pipeline is given.

    Attributes
    ----------
    name, says : str
        What it is, and by how much.
    changes : mapping
        Options of the simulator that differ from the healthy night's.
    shift_arcsec : float
        The reference catalogue has the calibrator so far north of its place.
    blend : bool
        The calibrator is two sources (`changes` has them); the lists have one point of their flux.
    calibrator : Source
        What the lists have.
    """

    name: str
    says: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    shift_arcsec: float = 0.0
    blend: bool = False
    calibrator: Source = CALIBRATOR

    def options(self) -> SimOptions:
        """What to simulate."""
        return replace(healthy(), **self.changes)

    def calibrators(self) -> str:
        """The calibrator catalogue."""
        return f"name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n{_row(self.calibrator)},simulated\n"

    def catalogue(self, sources: tuple[Source, ...]) -> str:
        """The reference catalogue of what was simulated."""
        known = tuple(
            source for source in sources if not source.name.startswith((self.calibrator.name, "CygA"))
        )
        listed = replace(self.calibrator, dec_deg=self.calibrator.dec_deg + self.shift_arcsec / 3600.0)
        return reference_table((listed, *known), self.options().seed)


@dataclass(frozen=True)
class StripFault:
    """A fault that fluxes in the tables of a strip's tiles have.

    Attributes
    ----------
    name, says : str
    changes : mapping
        Arguments of `benchlib.strips.strip` that differ.
    """

    name: str
    says: str
    changes: Mapping[str, Any]


def _row(source: Source) -> str:
    return f"{source.name},{source.ra_deg},{source.dec_deg},{source.flux_jy},{source.spectral_index}"


def healthy() -> SimOptions:
    """Two tiles with the electronics of the preset `realistic`, small."""
    return replace(
        preset("realistic"),
        faults=(),
        n_tiles=2,
        transit_tile=0,
        n_integrations=6,
        n_channels=4,
        band_low_hz=1380e6,
        band_high_hz=1430e6,
        antennas=ANTENNAS,
        dead_antennas=(),
        rfi_bursts=0,
        rfi_lines_mhz=(1405.0,),
        background_min_jy=0.0,
        a_team=False,
        field_extended_fraction=0.0,
        field_flux_min_jy=0.12,
        field_density_per_deg2=4.0,
    )


def _half(name: str, north_arcsec: float, flux_jy: float) -> Source:
    return replace(CALIBRATOR, name=name, dec_deg=CALIBRATOR.dec_deg + north_arcsec / 3600.0, flux_jy=flux_jy)


def _drift(tiles: int, last: float) -> list[float]:
    return [1.0 + (last - 1.0) * tile / (tiles - 1) for tile in range(tiles)]


NIGHTS = (
    NightFault("healthy", "seed 110"),
    NightFault("healthy, another sky", "seed 7", {"seed": 7}),
    NightFault(
        "jumps in a tile",
        "one antenna's gain falls to 0.6, another's cable gets 2 ns longer",
        {"jumps": (Jump("104", 1, 0.5, 0.6), Jump("114", 1, 0.5, 1.0, 2.0))},
    ),
    NightFault("steps between subbands", "0.7, 1, 1.4 in turn", {"subband_steps": (0.7, 1.0, 1.4)}),
    NightFault("weak calibrator", "1.3 Jy", {"sources": (replace(CALIBRATOR, flux_jy=1.3),)}),
    NightFault(
        "double calibrator in the lists as a point",
        "4.7 + 4.1 Jy, 12″ apart",
        {"sources": (_half("0834+555a", -6.0, 4.7), _half("0834+555b", 6.0, 4.1)), "transit_of": "0834+555a"},
        blend=True,
    ),
    NightFault("catalogue has the calibrator elsewhere", "6″ north", shift_arcsec=6.0),
    NightFault("phase screen", "25° rms over 1 km", {"screen_deg": 25.0}),
    NightFault("exchanged cables", "two of 16 antennas", {"swapped_antennas": ("104:114",)}),
    NightFault("an antenna not where it is stated", "1 m east", {"moved_antennas": ("104:1:0:0",)}),
    NightFault("digitisers that clip", "three of 16, at 1.5 σ", {"clipped_antennas": ("24", "104", "112")}),
    NightFault("phases that swing within minutes", "two of 16 antennas, 60° rms", {"sick_antennas": ("24", "112")}),
    NightFault("interference", "three bursts and a line, three times as strong",
               {"rfi_bursts": 3, "rfi_line_jy": 900.0, "rfi_burst_jy": 300.0}),
    NightFault("refraction", "5″, and 2″ a degree", {"refraction_arcsec": 5.0, "refraction_stretch": 2.0}),
    NightFault("squint", "X and Y 0.3° apart", {"beam_squint_ha_deg": 0.15}),
    NightFault("Cyg A 4.2° from the pointing", "1590 Jy, 27 through the first sidelobe",
               {"sources": (BESIDE_CYG_A,), "transit_of": BESIDE_CYG_A.name, "dec_deg": 45.0, "a_team": True},
               calibrator=BESIDE_CYG_A),
)  # fmt: skip

STRIPS = (
    StripFault("healthy", "eight tiles", {}),
    StripFault("calibrator's listed flux", "3 % too high", {"factors": [1.03] * 8}),
    StripFault("gains lose power between two tiles", "3 %", {"factors": [1.0] * 4 + [0.97] * 4}),
    StripFault("second calibrator's listed flux", "4 % too high: a drift", {"factors": _drift(8, 1.04)}),
    StripFault("dish", "4.55 m for 4.65: 3 % at half power", {"diameter_m": 4.55}),
    StripFault("pointing", "0.03° north: 3 % at half power", {"offset_deg": (0.0, 0.03)}),
)
