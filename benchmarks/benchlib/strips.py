"""Tables of the sources of a strip's tiles, as the gates get them, with a fault in them or without; no image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import j1

from contimg.qa.response import of_tables
from contimg.qa.scale import Scale

STEP_DEG = 1.29
"""Of right ascension: a tile's 309 s at the equator."""
WIDTH_ARCSEC = 30.0
"""Of the beam."""
RMS_JY = 0.002
"""Of a tile; its S/N counts from the measured flux."""


def log_airy(
    east: NDArray[np.float64], north: NDArray[np.float64], diameter_m: float = 4.65
) -> NDArray[np.float64]:
    """Logarithm of the power toward offsets in degrees at 1.4 GHz."""
    x = np.pi * diameter_m / 0.21414 * np.sin(np.radians(np.hypot(east, north))) + 1e-9
    return np.asarray(np.log((2 * j1(x) / x) ** 2))


def strip(
    n_tiles: int = 8,
    n_sources: int = 160,
    *,
    seed: int = 0,
    factors: NDArray[np.float64] | list[float] | None = None,
    diameter_m: float = 4.65,
    offset_deg: tuple[float, float] = (0.0, 0.0),
    catalogue: bool = True,
    noise: float = 0.01,
    survey: float = 0.05,
) -> dict[str, pd.DataFrame]:
    """Make the tables of the tiles of a strip at the equator.

    Parameters
    ----------
    n_tiles, n_sources, seed
    factors : sequence of float, optional
        Measured over true scale of each tile.
    diameter_m, offset_deg
        Of the true dish, and where it points (east, north) beside what the model has.
    catalogue : bool
        Whether the tables hold a catalogue's fluxes, off by `survey` rms.
    noise, survey : float
        Relative errors of the fluxes beside their noise, and of the catalogue's.
    """
    rng = np.random.default_rng(seed)
    width = (n_tiles - 1) * STEP_DEG + 2.4
    places = np.column_stack([rng.uniform(-1.2, width - 1.2, n_sources), rng.uniform(-1.3, 1.3, n_sources)])
    flux = rng.pareto(1.2, n_sources) * 0.1 + 0.1
    listed = flux * np.exp(rng.normal(0, survey, n_sources))
    scales = np.ones(n_tiles) if factors is None else np.asarray(factors)
    tables = {}
    for t in range(n_tiles):
        east, north = places[:, 0] - t * STEP_DEG, places[:, 1]
        model = log_airy(east, north)
        seen = model > np.log(0.2)
        true = log_airy(east - offset_deg[0], north - offset_deg[1], diameter_m)
        error = np.hypot(noise, RMS_JY / flux)
        measured = flux * scales[t] * np.exp(true - model) * np.exp(rng.normal(0, error))
        d = 0.01
        frame = pd.DataFrame(
            {
                "ra_deg": 30.0 + places[:, 0], "dec_deg": places[:, 1], "flux_jy": measured,
                "flux_err_jy": RMS_JY * np.ones(n_sources), "snr": measured / RMS_JY, "compact": True, "flags": "",
                "pb": np.exp(model),
                "pb_east": (log_airy(east + d, north) - log_airy(east - d, north)) / (2 * d),
                "pb_north": (log_airy(east, north + d) - log_airy(east, north - d)) / (2 * d),
            }
        )  # fmt: skip
        if catalogue:
            frame = frame.assign(
                name=[f"S{k}" for k in range(n_sources)],
                catalog_jy=listed,
                catalog_err_jy=0.0,
                comparable=True,
            )
        tables[f"T{t}"] = frame[seen].reset_index(drop=True)
    return tables


def solved(tables: dict[str, pd.DataFrame], anchors: tuple[str, ...] = ()) -> Scale | None:
    """Solve for what the tables say together."""
    return of_tables(tables, min_snr=20.0, beam_arcsec=dict.fromkeys(tables, WIDTH_ARCSEC), anchors=anchors)
