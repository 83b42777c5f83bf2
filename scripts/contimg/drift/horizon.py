"""The Sun and the A-team: where they are, how wide, and which stand above the horizon outside the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.drift.predict import DriftArray
from contimg.ms.meta import MsMeta
from contimg.telescope import geometry
from contimg.telescope.geometry import pointing_separation

Array = NDArray[Any]
SUN = "Sun"
PLACES: dict[str, tuple[float, float, float]] = {
    "Cas A": (350.866, 58.812, 4.0),
    "Cyg A": (299.868, 40.734, 1.5),
    "Tau A": (83.633, 22.015, 5.0),
    "Vir A": (187.706, 12.391, 1.0),
}
"""ICRS right ascension and declination (deg), and the width at half power (arcmin) of a Gaussian like its core."""
LOBES: dict[str, dict[str, tuple[float, float, float]]] = {
    "Cyg A": {"Cyg A west": (299.8484, 40.7391, 0.3), "Cyg A east": (299.8880, 40.7287, 0.32)},
}
"""In near sidelobes these take the place of the one Gaussian, which long baselines do not see: places and widths of the
lobes (Carilli & Barthel 1996, A&AR 7, 1)."""
SUN_ARCMIN = 30.0
FIELD_DEG = 2.6
"""What is nearer to the pointing belongs to the field, which is searched as far out; the beam is 0.01 there."""
NEAR_DEG = 12.0
"""Within, near sidelobes let through what a search of the field would take for many sources."""
LOWEST_DEG = 1.0  # altitude


@dataclass(frozen=True)
class Sky:
    """Sources above the horizon and outside the field."""

    names: list[str]
    ra_rad: Array
    dec_rad: Array
    fwhm_rad: Array

    def take(self, chosen: Array) -> Sky:
        names = [name for name, keep in zip(self.names, chosen, strict=True) if keep]
        return Sky(names, self.ra_rad[chosen], self.dec_rad[chosen], self.fwhm_rad[chosen])


def visible(meta: MsMeta, array: DriftArray) -> tuple[Sky, dict[str, Any]]:
    """Sources above the horizon and outside the field, and the beginning of the report on them."""
    middle = np.array([0.5 * (meta.times_jd[0] + meta.times_jd[-1])])
    sun = sun_icrs(float(middle[0]))
    places = {SUN: (*sun, SUN_ARCMIN), **PLACES}
    for name, lobes in LOBES.items():
        ra, dec = (np.radians([value]) for value in places[name][:2])
        ha, dec_app = (values[:, 0] for values in geometry.hour_angle_dec(ra, dec, middle, array.place))
        if pointing_separation(ha, dec_app, meta.pointing_dec_rad)[0] < np.radians(NEAR_DEG):
            del places[name]
            places |= lobes
    ra, dec, size = (np.array(column) for column in zip(*places.values(), strict=True))
    ra, dec, fwhm = np.radians(ra), np.radians(dec), np.radians(size / 60.0)
    ha, dec_app = (values[:, 0] for values in geometry.hour_angle_dec(ra, dec, middle, array.place))
    latitude = array.place.lat.rad
    altitude = np.arcsin(np.sin(latitude) * np.sin(dec_app) + np.cos(latitude) * np.cos(dec_app) * np.cos(ha))
    distance = pointing_separation(ha, dec_app, meta.pointing_dec_rad)
    chosen = (altitude > np.radians(LOWEST_DEG)) & (distance > np.radians(FIELD_DEG))
    names = list(places)
    report = {
        names[s]: {
            "distance_deg": round(float(np.degrees(distance[s])), 2),
            "altitude_deg": round(float(np.degrees(altitude[s])), 2),
            "removed": False,
        }
        for s in np.flatnonzero(chosen)
    }
    return Sky(names, ra, dec, fwhm).take(chosen), report


def near_sidelobes(meta: MsMeta) -> list[str]:
    """Names of the sources above the horizon that near sidelobes may let through (`NEAR_DEG`), the Sun left out."""
    array = DriftArray(meta, beam=None)
    _, report = visible(meta, array)
    return [name for name, seen in report.items() if name != SUN and seen["distance_deg"] < NEAR_DEG]


def sun_icrs(time_jd: float) -> tuple[float, float]:
    """ICRS direction (deg) in which a star would be seen where the Sun is (its parallax, 9 arcsec, left out)."""
    from astropy.coordinates import GCRS, ICRS, SkyCoord, get_sun
    from astropy.time import Time

    time = Time(time_jd, format="jd", scale="utc")
    sun = get_sun(time)
    star = SkyCoord(sun.ra, sun.dec, frame=GCRS(obstime=time)).transform_to(ICRS())
    return float(star.ra.deg), float(star.dec.deg)
