"""What the nights up to the last full period are known to say: the scale that later nights are put on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from contimg.variability.ensemble import Known
from contimg.variability.ensemble_kernels import Floats, Ints
from contimg.variability.scale import ErrorModel, Units

FILE = "_solution.npz"


@dataclass(frozen=True)
class Solution:
    """A scale: sources with their means, by pointing.

    Attributes
    ----------
    source_ids : array (n_sources,) of str
        Sorted.
    level : array (n_sources,)
        Median normalised flux, Jy.
    pointings : array (n_pointings,)
        Declinations, deg.
    units : Units
        Means and offsets of every source in every pointing.
    reference : array (n_references,) of int
        Which sources set the scale.
    known : Known
        Their fluxes.
    model : ErrorModel
    """

    source_ids: npt.NDArray[np.str_]
    level: Floats
    pointings: Floats
    units: Units
    reference: Ints
    known: Known
    model: ErrorModel

    def write(self, folder: Path) -> None:
        """Write it beside the light curves."""
        units, model = self.units, self.model
        np.savez(
            folder / FILE,
            source_ids=self.source_ids,
            level=self.level,
            pointings=self.pointings,
            unit_value=units.value,
            unit_weight=units.weight,
            offset=units.offset,
            offset_var=units.offset_var,
            reference=self.reference,
            **vars(self.known),
            model=np.array([model.noise_factor, model.residual, model.residual_edge, model.n_sources]),
        )

    def level_of(self, ids: npt.NDArray[np.str_]) -> Floats:
        """Median flux of sources, NaN of those it does not know."""
        at = self._at(ids)
        return np.where(at >= 0, self.level[at], np.nan)

    def known_of(self, ids: npt.NDArray[np.str_], pointings: Floats) -> Known:
        """What it knows of the references of a new solution, whose pointings begin with its own."""
        place = np.full(len(self.source_ids), -1)
        place[self.reference] = np.arange(len(self.reference))
        at = self._at(ids)
        at = np.where(at >= 0, place[at], -1)
        known = self.known
        return replace(
            known,
            value=_padded(known.value, at, len(pointings), np.nan),
            value_var=_padded(known.value_var, at, len(pointings), np.nan),
            mean=np.where(at >= 0, known.mean[at], np.nan),
            mean_var=np.where(at >= 0, known.mean_var[at], np.nan),
            extra=np.where(at >= 0, known.extra[at], np.nan),
        )

    def units_of(self, ids: npt.NDArray[np.str_], pointings: Floats) -> Units:
        """Means and offsets of sources in pointings that begin with its own."""
        at = self._at(ids)
        n = len(pointings)
        offset = _padded(np.where(self.units.weight > 0, self.units.offset, np.nan), at, n, np.nan)
        return Units(
            value=_padded(self.units.value, at, n, 0.0),
            weight=_padded(self.units.weight, at, n, 0.0),
            offset=offset,
            offset_var=_padded(self.units.offset_var, at, n, 0.0),
        )

    def _at(self, ids: npt.NDArray[np.str_]) -> Ints:
        """Places of sources among its own, -1 of those it does not know."""
        return pd.Index(self.source_ids).get_indexer(pd.Index(ids)).astype(np.int64)


def _padded(values: Floats, at: Ints, n_pointings: int, fill: float) -> Floats:
    """Rows of an array by source, filled where the source or the pointing is not known."""
    found = np.full((len(at), n_pointings), fill)
    found[:, : values.shape[1]] = np.where((at >= 0)[:, None], values[at], fill)
    return found


def read(folder: Path) -> Solution:
    """Read the solution of a folder of light curves."""
    with np.load(folder / FILE) as file:
        noise, residual, edge, n = file["model"]
        known = {item.name: file[item.name] for item in fields(Known)}
        known["pointing_var"] = float(file["pointing_var"])
        return Solution(
            source_ids=file["source_ids"],
            level=file["level"],
            pointings=file["pointings"],
            units=Units(file["unit_value"], file["unit_weight"], file["offset"], file["offset_var"]),
            reference=file["reference"],
            known=Known(**known),
            model=ErrorModel(float(noise), float(residual), float(edge), int(n)),
        )
