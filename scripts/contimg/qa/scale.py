"""One solution for the fluxes of the same sources in several tiles: a factor a tile, and how the beam is wrong.

The logarithm of a flux that was measured in tile t of source j, where the power beam that it was divided by is P:

    ln S_tj = ln S_j + f_t + s ln P + o · (−∇ ln P) + noise                  (measured)
    ln C_j  = ln S_j − c + noise                                             (catalogue, where there is one)

f_t: the tile's factor, its mean over the anchors held at 0; s = (D/D₀)² − 1 for a dish of D taken for one of D₀, near
the axis; o (degrees east, north): where the dishes point beside their stated pointing; c: scale of all fluxes over
the catalogue's. The S_j are eliminated. What shows without a catalogue, and what not: docs/qa.md, "One scale, and the
beam".

Least squares with Huber weights (Huber 1964, Ann. Math. Stat. 35, 73); errors are scaled by the χ² that is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

FLOOR = 0.01
"""Error of a flux beside its noise: gains, deconvolution and neighbours, as simulated nights have it above 50 σ."""
CATALOGUE_FLOOR = 0.03
"""Of a catalogue's flux beside its stated error: the scale of one survey against another's, weak variability."""
HUBER = 1.5
ITERATIONS = 12
UNTIED = 0.5
"""Prior of ln f_t: a tile that nothing ties to the others keeps an error of this."""
FREE = 3.0
"""Prior of all else: what the data do not tell keeps an error of this."""
TIED = 0.2
"""A factor that is known worse than this says nothing."""
LEAST_SCALE = 0.3
"""Errors are never made smaller than this part of what the floors say: ten pairs that agree by chance are no proof."""


@dataclass(frozen=True)
class Number:
    """A value and its standard error, whose scale was found from so many degrees of freedom."""

    value: float
    error: float
    degrees: float = math.inf

    def beyond(self, of: float = 0.0) -> float:
        """How far from a value it certainly is: at 3 σ, or as far as Student's t of that probability says.

        With 6 degrees of freedom that is 4.9 of the errors that are found from them, with 30 it is 3.3.
        """
        sigmas = 3.0 if math.isinf(self.degrees) else float(stdtrit(max(1.0, self.degrees), ndtr(3.0)))
        return max(0.0, abs(self.value - of) - sigmas * self.error)

    def to_json(self) -> list[float]:
        """Value and error, rounded."""
        return [round(self.value, 5), round(self.error, 5)]


@dataclass(frozen=True)
class Scale:
    """What fluxes of the same sources say of the tiles and of the beam.

    Attributes
    ----------
    factors : dict of str to Number
        Measured over true scale of each tile, relative to the anchors; tiles that nothing ties to others are left out.
    slope : Number or None
        s above; None where it was not asked for or nothing tells.
    east_deg, north_deg : Number or None
        o above; None without a catalogue.
    catalogue : Number or None
        exp(c): fluxes of the anchors over the catalogue's.
    anchors : tuple of str
        Tiles whose mean factor is 1.
    n_sources, n_links : int
        Sources that are seen twice or more, and fluxes beyond the first of each.
    scatter : float
        Of the fluxes about the solution, over what noise and floors promise.
    """

    factors: dict[str, Number]
    slope: Number | None
    east_deg: Number | None
    north_deg: Number | None
    catalogue: Number | None
    anchors: tuple[str, ...]
    n_sources: int
    n_links: int
    scatter: float

    def to_json(self) -> dict[str, object]:
        """For a sidecar."""
        shown = {
            name: None if number is None else number.to_json()
            for name, number in (
                ("beam_slope", self.slope),
                ("east_deg", self.east_deg),
                ("north_deg", self.north_deg),
                ("over_catalogue", self.catalogue),
            )
        }
        return {
            "factors": {tile: number.to_json() for tile, number in self.factors.items()},
            "anchors": list(self.anchors),
            **shown,
            "n_sources": self.n_sources,
            "n_links": self.n_links,
            "scatter": round(self.scatter, 3),
        }


def solve(rows: pd.DataFrame, *, anchors: tuple[str, ...] = (), beam: bool = True) -> Scale | None:
    """Solve for the factors of the tiles and for the beam.

    Parameters
    ----------
    rows : DataFrame
        One row a flux: ``tile, source`` (the same for the same source), ``flux_jy, flux_err_jy``, the power beam ``pb``
        and its logarithmic gradient ``pb_east, pb_north`` (per degree), and ``catalog_jy, catalog_err_jy`` (NaN where
        the catalogue has nothing).
    anchors : tuple of str
        Tiles whose mean factor is 1; those without a row do not count.
    beam : bool
        Whether to solve for the beam.

    Returns
    -------
    Scale or None
        None where no source is seen twice.
    """
    rows = rows[(rows["flux_jy"] > 0) & (rows["pb"] > 0)].reset_index(drop=True)
    known = rows[rows["catalog_jy"] > 0].drop_duplicates("source")
    tiles = sorted(set(rows["tile"]))
    columns = _columns(tiles, catalogued=len(known) > 0, beam=beam)
    design, values, errors = _equations(rows, known, tiles, columns)
    source = pd.factorize(pd.concat([rows["source"], known["source"]]))[0]
    seen = np.bincount(source)
    used = seen[source] > 1
    if not used.any():
        return None
    design, values, errors, source = design[used], values[used], errors[used], source[used]
    source = np.unique(source, return_inverse=True)[1]
    held = tuple(tile for tile in anchors if tile in tiles) or tuple(tiles)
    prior = np.diag([1.0 / UNTIED**2 if name in tiles else 1.0 / FREE**2 for name in columns])
    gauge = np.array([1.0 if name in held else 0.0 for name in columns]) / len(held)
    prior += 1e10 * np.outer(gauge, gauge)
    solution, covariance, scatter = robust(design, values, errors, source, prior)
    links = len(values) - int(source.max()) - 1
    numbers = {
        name: Number(
            float(solution[k]), float(math.sqrt(max(0.0, covariance[k, k]))), links - len(columns) + 1
        )
        for k, name in enumerate(columns)
    }
    return Scale(
        factors={
            tile: _exp(numbers[tile]) for tile in tiles if len(tiles) == 1 or numbers[tile].error < TIED
        },
        slope=_told(numbers.get("slope")),
        east_deg=_told(numbers.get("east")),
        north_deg=_told(numbers.get("north")),
        catalogue=_exp(numbers["catalogue"]) if "catalogue" in numbers else None,
        anchors=held,
        n_sources=int(source.max()) + 1,
        n_links=links,
        scatter=scatter,
    )


def _columns(tiles: list[str], *, catalogued: bool, beam: bool) -> list[str]:
    names = list(tiles)
    if catalogued:
        names.append("catalogue")
    if beam:
        names += ["slope", "east", "north"] if catalogued else ["slope"]
    return names


def _equations(
    rows: pd.DataFrame, known: pd.DataFrame, tiles: list[str], columns: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Design matrix, values and errors: the fluxes measured, then those of the catalogue."""
    at = {name: k for k, name in enumerate(columns)}
    design = np.zeros((len(rows) + len(known), len(columns)))
    measured = design[: len(rows)]
    measured[np.arange(len(rows)), rows["tile"].map({tile: k for k, tile in enumerate(tiles)})] = 1.0
    for name, part in (
        ("slope", np.log(rows["pb"])),
        ("east", -rows["pb_east"]),
        ("north", -rows["pb_north"]),
    ):
        if name in at:
            measured[:, at[name]] = part
    if "catalogue" in at:
        design[len(rows) :, at["catalogue"]] = -1.0
    values = np.log(np.concatenate([rows["flux_jy"], known["catalog_jy"]]).astype(float))
    relative = [
        rows["flux_err_jy"] / rows["flux_jy"],
        known["catalog_err_jy"].fillna(0) / known["catalog_jy"],
    ]
    floors = [np.full(len(rows), FLOOR), np.full(len(known), CATALOGUE_FLOOR)]
    return design, values, np.hypot(np.concatenate(relative), np.concatenate(floors))


def robust(
    design: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    source: NDArray[np.int64],
    prior: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Least squares with Huber weights, the mean of each source being free.

    Parameters
    ----------
    design, values, errors, source : (n, ncol), (n,), (n,), (n,)
        `source`: number of the source of each value, from 0 on.
    prior : (ncol, ncol)
        Added to the normal matrix.

    Returns
    -------
    solution, covariance, scatter : (ncol,), (ncol, ncol), float
        Scatter is that of the residuals over the errors, and in the covariance.
    """
    count = int(source.max()) + 1
    huber = np.ones(len(values))
    for _ in range(ITERATIONS):
        weight = huber / errors**2
        total = np.bincount(source, weight, count)
        mean = np.bincount(source, weight * values, count) / total
        means = np.stack([np.bincount(source, weight * column, count) / total for column in design.T], axis=1)
        left, reduced = values - mean[source], design - means[source]
        normal = (reduced * weight[:, np.newaxis]).T @ reduced
        solution = np.linalg.solve(normal + prior, (reduced * weight[:, np.newaxis]).T @ left)
        residual = left - reduced @ solution
        # a flux takes part in its source's mean: its residual is smaller than its error by what it weighs there
        free = errors * np.sqrt(np.maximum(1.0 - weight / total[source], 1e-3))
        score = np.abs(residual) / free
        told = float(np.trace(np.linalg.solve(normal + prior, normal)))
        degrees = max(1.0, len(values) - count - told)
        chi2 = float(np.sum(huber * (residual / errors) ** 2)) / degrees
        scatter = max(LEAST_SCALE, math.sqrt(chi2))
        huber = np.minimum(1.0, HUBER * scatter / np.maximum(score, 1e-12))
    covariance = scatter**2 * np.linalg.inv(normal + prior)
    return np.asarray(solution), np.asarray(covariance), scatter


def _exp(number: Number) -> Number:
    value = math.exp(number.value)
    return Number(value, value * number.error, number.degrees)


def _told(number: Number | None) -> Number | None:
    """A number of the beam, where the data tell it."""
    return number if number is not None and number.error < 1.0 else None
