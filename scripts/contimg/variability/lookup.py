"""Which source is meant: by its name, by an older way to write it, or by a place; and what stands round it."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.coordinates import angular_separation

from contimg.core.errors import InputError
from contimg.photometry import positions

NEAR_ARCSEC = 60.0
"""A place means the nearest source within this."""
NAME_ARCSEC = 10.0
"""A name that no source has means the nearest source within this: an image's fitted place differs from the list's."""
_NAME = re.compile(r"J(\d{6})(\.\d+)?([+-]\d{6})\d*")


def separation_arcsec(sources: pd.DataFrame, ra_deg: float, dec_deg: float) -> npt.NDArray[np.float64]:
    """Distance of every source from a place (ICRS), arcsec."""
    ra, dec = (np.deg2rad(sources[name].to_numpy(dtype=float)) for name in ("ra_deg", "dec_deg"))
    apart = angular_separation(*np.deg2rad([ra_deg, dec_deg]), ra, dec)
    return np.asarray(np.rad2deg(apart) * 3600.0)


def resolve(sources: pd.DataFrame, words: list[str]) -> str:
    """Name of the source that is meant.

    Parameters
    ----------
    sources : DataFrame
        With `source_id`, `ra_deg`, `dec_deg`.
    words : list of str
        A name (J083454.9+553421, or J083454+553421 without the tenth), or right ascension and declination in degrees.
        Of a name that no source has its place counts: images and lists differ by a tenth.

    Raises
    ------
    InputError
        No source, or more than one, is meant.
    """
    if len(words) == 2:
        try:
            place = float(words[0]), float(words[1])
        except ValueError:
            raise InputError(
                f"found {' '.join(words)!r}; write a name or two numbers: RA and Dec in degrees"
            ) from None
        return _nearest(
            sources,
            place,
            NEAR_ARCSEC,
            f"no source within {NEAR_ARCSEC:.0f} arcsec of {place[0]:g} {place[1]:g}",
        )
    name = words[0].strip()
    known = sources["source_id"]
    if (known == name).any():
        return name
    wanted = _NAME.fullmatch(name)
    if wanted is None:
        raise InputError(f"no source {name}; write a name such as J083454.9+553421, or RA and Dec in degrees")
    short = [(one, _NAME.match(one)) for one in known]
    same = [one for one, parts in short if parts and parts.group(1, 3) == wanted.group(1, 3)]
    same = [one for one in same if wanted[2] is None or wanted[2] in one]
    if len(same) > 1:
        raise InputError(f"{name} may be {' or '.join(same)}; write which")
    if not same:
        meant = positions.parse(name)
        return _nearest(sources, (meant.ra.deg, meant.dec.deg), NAME_ARCSEC, f"no source {name}")
    return same[0]


def _nearest(sources: pd.DataFrame, place: tuple[float, float], within_arcsec: float, none: str) -> str:
    """Name of the source nearest to a place (degrees); an error that begins with `none` where it is farther away."""
    distance = separation_arcsec(sources, *place)
    if not len(distance):
        raise InputError("there are no light curves; make them: snakemake lightcurves")
    nearest = int(np.argmin(distance))
    found = str(sources["source_id"].iloc[nearest])
    if distance[nearest] > within_arcsec:
        raise InputError(f"{none}; the nearest is {found}, {distance[nearest]:.0f} arcsec away")
    return found


def neighbours(sources: pd.DataFrame, source_id: str, number: int) -> pd.DataFrame:
    """The nearest other sources, with `distance_arcsec`."""
    own = sources[sources["source_id"] == source_id].iloc[0]
    found = sources.assign(distance_arcsec=separation_arcsec(sources, own["ra_deg"], own["dec_deg"]))
    return found[found["source_id"] != source_id].nsmallest(number, "distance_arcsec")
