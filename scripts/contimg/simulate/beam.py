"""The primary beam of the simulated dishes."""

from __future__ import annotations

import numpy as np
from scipy.special import j1

from contimg.simulate.geometry import SPEED_OF_LIGHT_M_S


def power(separation_rad: np.ndarray, freq_hz: np.ndarray, diameter_m: float) -> np.ndarray:
    """Return the Airy power pattern (2 J1(x) / x)**2, x = pi D sin(theta) nu / c, of a filled circular dish.

    Parameters
    ----------
    separation_rad : ndarray
        Angle from the pointing centre, rad; broadcasts against `freq_hz` (Hz).
    diameter_m : float
        Dish diameter, m.

    References
    ----------
    Born & Wolf, Principles of Optics, 7th ed., sec. 8.5.2, eq. 14.
    """
    x = np.pi * diameter_m * np.sin(separation_rad) * freq_hz / SPEED_OF_LIGHT_M_S
    safe = np.where(x == 0.0, 1.0, x)
    return np.where(x == 0.0, 1.0, (2.0 * j1(safe) / safe) ** 2)
