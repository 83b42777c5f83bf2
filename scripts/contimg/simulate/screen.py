"""What the air does: a phase screen that drifts over the array, and refraction that shifts and stretches the field.

The screen adds the same path to all sources of an antenna: plane waves of many lengths whose sizes follow
Kolmogorov's spectrum, so that the structure function of phase goes as distance ** (5/3) (Thompson, Moran & Swenson,
3rd ed., eq. 13.101). Its largest waves are the gradient over the array that shifts all sources together. Refraction
shifts sources by a constant and by a term linear in their distance from the pointing centre, both changing within
hours; the beams of the dishes do not follow. Both are taken as the same at all frequencies.
"""

from __future__ import annotations

import math

import numpy as np

from contimg.simulate.geometry import SPEED_OF_LIGHT_M_S
from contimg.simulate.options import SimOptions
from contimg.simulate.streams import Stream, generator

REFERENCE_HZ = 1.4e9
WAVES = 96
WAVELENGTHS_M = 60.0, 60e3
REFRACTION_HOURS = 0.5, 6.0
REFRACTION_TERMS = 4


def _waves(options: SimOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw wave vectors (n, 2) in rad/m, relative sizes (n,) and phases (n,): equal steps of ln(wavelength)."""
    rng = generator(options.seed, Stream.SCREEN)
    length = np.geomspace(WAVELENGTHS_M[0], WAVELENGTHS_M[1], WAVES)
    angle, phase = rng.uniform(0.0, 2.0 * np.pi, (2, WAVES))
    vector = 2.0 * np.pi / length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return vector, length ** (5.0 / 6.0), phase


def path_m(options: SimOptions, times_mjd: np.ndarray, east_north_m: np.ndarray) -> np.ndarray:
    """Return the extra path (nt, nant) in metres of antennas at (nant, 2), at times (nt,) MJD UTC.

    Scaled such that two antennas 1 km apart differ by `screen_deg` rms at 1.4 GHz, in the mean over directions.
    """
    if not options.screen_deg:
        return np.zeros((len(times_mjd), len(east_north_m)))
    vector, size, phase = _waves(options)
    # of a wave's structure function on 1 km the mean over its directions: 1 - J0(k r); here by 64 angles
    turn = np.linspace(0.0, np.pi, 64, endpoint=False)
    apart = 1e3 * np.linalg.norm(vector, axis=1)[:, None] * np.cos(turn)
    structure = float((size**2 * (1.0 - np.cos(apart)).mean(axis=1)).sum())
    scale = options.screen_deg / 360.0 * SPEED_OF_LIGHT_M_S / REFERENCE_HZ / np.sqrt(structure)
    seconds = (np.asarray(times_mjd) % 1000.0) * 86400.0
    moved = east_north_m[None, :, :] - np.array([options.screen_speed_m_s, 0.0]) * seconds[:, None, None]
    return np.asarray(scale * np.sin(moved @ vector.T + phase) @ size)


def refraction_rad(
    options: SimOptions, times_mjd: np.ndarray, west_north_rad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shifts west and north (rad), each (nt, nsrc), of sources at offsets (2, nt, nsrc) from the centre."""
    if not options.refraction_arcsec and not options.refraction_stretch:
        return np.zeros(west_north_rad.shape[1:]), np.zeros(west_north_rad.shape[1:])
    rng = generator(options.seed, Stream.REFRACTION)
    hours = 24.0 * (np.asarray(times_mjd) % 1000.0)
    shortest, longest = REFRACTION_HOURS
    period = np.exp(rng.uniform(math.log(shortest), math.log(longest), (6, REFRACTION_TERMS)))
    start = rng.uniform(0.0, 2.0 * np.pi, (6, REFRACTION_TERMS))
    course = np.sin(2.0 * np.pi * hours / period[..., None] + start[..., None]).sum(axis=1)
    course *= np.sqrt(2.0 / REFRACTION_TERMS)  # (6, nt), rms 1
    shift = np.radians(options.refraction_arcsec / 3600.0) * course[:2]
    stretch = (
        options.refraction_stretch / 3600.0 * course[2:].reshape(2, 2, -1)
    )  # arcsec a degree = deg / 3600 a deg
    moved = shift[:, :, None] + np.einsum("ijt,jts->its", stretch, west_north_rad)
    return moved[0], moved[1]
