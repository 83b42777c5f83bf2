"""Digitisers that clip: what a correlation keeps, and how its noise grows.

A Gaussian voltage of variance s² that is clipped at ±c keeps erf(c / (s √2)) of its correlation with any other Gaussian
(Bussgang 1952; Papoulis, 4th ed., eq. 9-76), and has the variance s² [erf(x/√2) - √(2/π) x exp(-x²/2) + x² erfc(x/√2)],
x = c / s. What rises the power, a bright source in the beam, lowers the gain.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf, erfc


def kept(level: np.ndarray) -> np.ndarray:
    """Return the part of the correlation's amplitude that an antenna clipped at `level` standard deviations keeps."""
    return np.asarray(erf(np.asarray(level) / np.sqrt(2.0)))


def power(level: np.ndarray) -> np.ndarray:
    """Return the power that is left of 1."""
    level = np.asarray(level)
    root = level / np.sqrt(2.0)
    return np.asarray(erf(root) - np.sqrt(2.0 / np.pi) * level * np.exp(-(root**2)) + level**2 * erfc(root))


def gain_and_noise(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor of the gain, and the amplitude of the noise over what that gain makes of it (1 or more)."""
    gain = kept(level)
    return gain, np.sqrt(power(level)) / gain
