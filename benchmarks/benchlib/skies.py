"""The simulated nights of the scorecard: strips, seeds and conditions, never only the easy one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from contimg.simulate.options import SimOptions, Source, preset

CATALOGUE_SCATTER = 0.03
CATALOGUE_FLUX_MIN_JY = 0.02


@dataclass(frozen=True)
class Night:
    """One condition, observed on one day or more in a row.

    Attributes
    ----------
    name : str
    says : str
        What is difficult about it.
    options : SimOptions
        Of the first day.
    calibrator_error : float
        The catalogue states the calibrator's flux too high by this part.
    days : int
        Two tell how well fluxes repeat; the rest is known from one. The size `quick` has one of each night.
    """

    name: str
    says: str
    options: SimOptions
    calibrator_error: float
    days: int = 1

    def epoch(self, number: int) -> SimOptions:
        """The options of a later day: the same sky and array, other noise, interference and drift of phases."""
        day = date.fromisoformat(self.options.start[:10]) + timedelta(days=number)
        return replace(self.options, start=day.isoformat())


SIZES: dict[str, dict[str, Any]] = {
    "quick": {"n_integrations": 8, "n_channels": 48, "n_tiles": 2, "transit_tile": 0},
    "standard": {"n_integrations": 12, "n_channels": 48, "n_tiles": 4, "transit_tile": 1},
    "full": {
        "n_integrations": 24,
        "n_channels": 48,
        "n_tiles": 5,
        "transit_tile": 2,
        "antennas": (),
        "n_antennas": 96,
    },
}
"""Tiles, integrations and channels; the array is the demo's 28 antennas, or all 96. Channels of the telescope's width
cost little: in wide ones interference, and what AOFlagger takes around it, is a third of the data."""

WEAK_JY = 1.3
"""Of the faint calibrator, of which the beam leaves 1.25 Jy."""


def nights(size: str) -> list[Night]:
    """The nights of the scorecard in one of the `SIZES`.

    All have what real arrays have, the preset `realistic` (receivers' noise through the electronics, each antenna's
    own; bands that fall, edges, subbands of different scale, a phase screen, refraction, Gaussians in the field and a
    background from 3 mJy), and X and Y that point apart.
    """
    north = replace(
        preset("realistic"),
        faults=(),
        beam_squint_ha_deg=0.05,
        beam_squint_dec_deg=-0.03,
        **SIZES[size],
    )
    south = replace(
        north,
        dec_deg=-5.0,
        start="2026-01-19",
        transit_of="0000-053",
        sources=(Source("0000-053", 0.3, -5.3, 7.0, -0.6),),
        phase_drift="wander",
        phase_drift_deg_per_hour=10.0,
        subband_steps=(0.7, 1.0, 1.4),
        seed=5,
    )
    weak = replace(
        north,
        sources=(Source("0834+555", 128.7287, 55.5725, WEAK_JY, -0.4),),
        n_integrations=max(12, SIZES[size]["n_integrations"]),
        seed=13,
    )
    crowded = replace(
        north,
        sources=(*north.sources, *_doubles()),
        field_density_per_deg2=7.0,
        field_separation_arcmin=3.0,
        field_extended_fraction=0.3,
        seed=7,
    )
    sick = replace(
        north,
        dead_antennas=("36", "81"),
        dead_mode="zeros",
        sick_antennas=("15", "93"),
        clipped_antennas=("47",),
        rfi_bursts=2,
        rfi_line_jy=600.0,
        seed=11,
    )
    days = 1 if size == "quick" else 2
    return [
        Night(
            "north", "phases that drift, narrow interference and a burst, one dead antenna", north, 0.02, days
        ),
        Night(
            "south",
            "across RA 0h; phases wander by 10 deg an hour; steps of 0.7, 1, 1.4 between subbands",
            south,
            -0.03,
            days,
        ),
        Night(
            "weak",
            f"a calibrator of {WEAK_JY} Jy in a field with others as bright, one of them extended",
            weak,
            0.0,
        ),
        Night(
            "crowded",
            "four times as many sources, some only 3 arcmin apart, three in ten extended, three doubles of 12 to 60″",
            crowded,
            0.01,
        ),
        Night(
            "sick",
            "two antennas give zeros, the phases of two swing by 60 deg in minutes, one clips; more interference",
            sick,
            -0.02,
        ),
        Night(
            "outside",
            "30 and 15 Jy outside the main lobe, 3.0 and 3.6 deg from the pointing, and Cas A 11 deg from it",
            _outside(north),
            0.0,
        ),
    ]


def _doubles() -> tuple[Source, ...]:
    """Three pairs in the strip at +55.2°, all through the middle of the beam within half an hour of 0834+555."""
    pairs = (
        ("double12", 127.9, 55.0, 0.5, 0.45, 12.0),
        ("double25", 129.6, 54.7, 0.4, 0.3, 25.0),
        ("double60", 128.2, 56.0, 0.3, 0.3, 60.0),
    )
    return tuple(
        source
        for name, ra, dec, one, two, apart in pairs
        for source in (
            Source(f"{name}a", ra, dec, one, -0.7),
            Source(f"{name}b", ra, dec + apart / 3600.0, two, -0.7),
        )
    )


def _outside(north: SimOptions) -> SimOptions:
    """A strip at +70° with two strong sources beside the field, and with Cas A in the far sidelobes."""
    return replace(
        north,
        dec_deg=70.0,
        transit_of="2320+702",
        sources=(
            Source("2320+702", 350.0, 70.2, 8.0, -0.5),
            Source("outside1", 349.0, 73.0, 30.0, -0.7),
            Source("outside2", 352.0, 66.4, 15.0, -0.7),
        ),
        seed=70,
    )


def calibrator_table(options: SimOptions, error: float = 0.0) -> str:
    """The calibrator catalogue that the pipeline is given; its flux too high by the part `error`."""
    [calibrator] = [source for source in options.sources if source.name == options.transit_of]
    flux = calibrator.flux_jy * (1 + error)
    line = f"{calibrator.name},{calibrator.ra_deg},{calibrator.dec_deg},{flux},{calibrator.spectral_index},simulated"
    return f"name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n{line}\n"


def reference_table(sources: list[Source] | tuple[Source, ...], seed: int) -> str:
    """A reference catalogue of a survey: fluxes off by 3 % rms, the same for both days, nothing below 20 mJy."""
    rng = np.random.default_rng(seed)
    lines = ["name,ra_deg,dec_deg,flux_jy"]
    for source in sources:
        flux = source.flux_jy * (1 + CATALOGUE_SCATTER * rng.standard_normal())
        if flux >= CATALOGUE_FLUX_MIN_JY:
            lines.append(f"{source.name},{source.ra_deg},{source.dec_deg},{flux}")
    return "\n".join(lines) + "\n"
