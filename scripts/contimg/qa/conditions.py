"""What a user should know of a product that no gate can measure: the Sun, the Earth's rotation, a shift that was taken
out, work that was not finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import AltAz, SkyCoord, get_sun
from astropy.time import Time
from astropy.utils import iers

from contimg.core.angles import drift_deg
from contimg.qa.notes import Note
from contimg.telescope import geometry


@dataclass(frozen=True)
class Pointing:
    """Where and when a tile was observed: MJD UTC, ICRS, WGS84."""

    mid_mjd: float
    ra_deg: float
    dec_deg: float
    longitude_deg: float
    latitude_deg: float
    height_m: float


def sun(pointing: Pointing) -> tuple[float, float]:
    """Altitude of the Sun, and its distance from the pointing, in degrees."""
    time = Time(pointing.mid_mjd, format="mjd", scale="utc")
    site = geometry.location(pointing.longitude_deg, pointing.latitude_deg, pointing.height_m)
    place = get_sun(time)
    altitude = place.transform_to(AltAz(obstime=time, location=site)).alt.deg
    toward = SkyCoord(pointing.ra_deg, pointing.dec_deg, unit="deg").transform_to(place.frame)
    # as directions: the Sun's distance would else give parallax to the pointing
    apart = SkyCoord(place.ra, place.dec).separation(SkyCoord(toward.ra, toward.dec))
    return float(altitude), float(apart.deg)


def ut1_is_predicted(mid_mjd: float) -> bool:
    """Whether the installed Earth-rotation table only predicts UT1 at that time."""
    time = Time(mid_mjd, format="mjd", scale="utc")
    _, status = time.get_delta_ut1_utc(return_status=True)
    return bool(np.any(np.isin(status, iers.FROM_IERS_A_PREDICTION)))


def last_measured_mjd() -> float:
    """Last day (MJD) for which the installed table holds a measured UT1."""
    table = iers.earth_orientation_table.get()
    mjd = table["MJD"].to_value(units.d)
    status = table.ut1_utc_source(np.arange(len(table)))
    return float(mjd[status != iers.FROM_IERS_A_PREDICTION].max())


def notes(pointing: Pointing) -> list[str]:
    """Lines on the Sun, if it is up, and on Earth-rotation data that are older than the observation."""
    lines = []
    altitude, apart = sun(pointing)
    if altitude > 0:
        lines.append(Note.BY_DAY.line(f"Sun {altitude:.0f} deg high, {apart:.0f} deg from the pointing"))
    if ut1_is_predicted(pointing.mid_mjd):
        days = pointing.mid_mjd - last_measured_mjd()
        lines.append(
            Note.UT1.line(
                f"the Earth-rotation table was measured to {days:.0f} days before the observation (an error of 0.1 s "
                f"turns the sky by {3600.0 * drift_deg(0.1):.1f} arcsec); update astropy-iers-data and make the tile "
                "again"
            )
        )
    return lines


def unfinished(made: Mapping[str, Any]) -> list[str]:
    """Lines on what an image's job stopped before its end (its metrics): search, fit, CLEAN."""
    lines = []
    fitted = made.get("sky_model") or {}
    if fitted.get("stopped"):
        lines.append(Note.UNFINISHED.line(f"sources of the sky model, {fitted['stopped']}"))
    elif fitted.get("converged") is False:
        lines.append(
            Note.UNFINISHED.line(
                f"the fit of {fitted['n_sources']} sources was still moving after {fitted['passes']} passes"
            )
        )
    if str(made.get("clean_stopped", "")).startswith("maximum"):
        lines.append(Note.UNFINISHED.line(f"CLEAN, {made['clean_stopped']}"))
    return lines


def shifted(made: Mapping[str, Any]) -> list[str]:
    """A line on a shift against the catalogue that an image's positions were corrected for (its metrics)."""
    shift = made.get("shift")
    if not shift or not shift["taken_out"]:
        return []
    return [
        Note.POSITIONS.line(
            f"corrected for {shift['east_arcsec']:+.1f} arcsec east and {shift['north_arcsec']:+.1f} north, ± "
            f"{shift['error_arcsec']:.1f}, against the catalogue (refraction, a clock, the antennas' positions)"
        )
    ]
