"""How many radio sources there are: published counts at 1.4 GHz, and random fluxes that follow them."""

from __future__ import annotations

import numpy as np

COEFFICIENTS = (0.859, 0.508, 0.376, -0.049, -0.121, 0.057, -0.008)
"""Of log10[(dN/dS) / (S^-2.5 Jy^1.5 / sr)] in powers of log10(S / mJy): Hopkins et al. 2003, AJ 125, 465, table 4."""

VALID_JY = 5e-5, 1.0
STEPS = 400


def density(flux_jy: np.ndarray) -> np.ndarray:
    """Return dN/dS in 1 / (Jy sr) at flux densities (Jy) within `VALID_JY`."""
    normalised = np.polynomial.polynomial.polyval(np.log10(np.asarray(flux_jy) * 1e3), COEFFICIENTS)
    return 10.0**normalised * np.asarray(flux_jy) ** -2.5


def draw(rng: np.random.Generator, low_jy: float, high_jy: float, area_sr: float) -> np.ndarray:
    """Return the fluxes (n,) in Jy of the sources between two fluxes in an area; n is Poisson's."""
    flux = np.geomspace(low_jy, high_jy, STEPS)
    per_log = density(flux) * flux
    steps = 0.5 * (per_log[1:] + per_log[:-1]) * np.diff(np.log(flux))
    below = np.concatenate([[0.0], np.cumsum(steps)])
    count = rng.poisson(below[-1] * area_sr)
    return np.exp(np.interp(rng.uniform(0.0, below[-1], size=count), below, np.log(flux)))
