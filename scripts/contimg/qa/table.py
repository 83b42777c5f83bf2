"""The gates, one row each: a new one is a row here, its limits in `qa.options` and its value in `qa.gates`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One gate.

    Attributes
    ----------
    name : str
        Also the attribute of the facts that holds its value.
    low, high : str or None
        Options with its lower and upper limit.
    unit : str
        Of its value.
    of : {"image", "catalogue", "response"}
        The facts it looks at: those of the image alone, of the image beside the reference catalogue, or those of fluxes
        and places against the beam and from tile to tile.
    only : {"", "tile", "mosaic"}
        The one kind of product that it judges; empty: both.
    """

    name: str
    low: str | None
    high: str | None
    unit: str
    of: Literal["image", "catalogue", "response"]
    only: Literal["", "tile", "mosaic"] = ""


GATES = (
    Row("rms", None, "max_rms", "× expected", "image"),
    Row("noise", "min_noise_ratio", "max_noise_ratio", "", "image"),
    Row("dynamic_range", "min_dynamic_range", None, "", "image"),
    Row("artefacts", None, "max_artefact", "of peak", "image"),
    Row("reliability", "min_reliability", None, "", "image"),
    Row("beam", None, "max_axis_ratio", "", "image"),
    Row("flags", None, "max_flagged", "", "image"),
    Row("weights", "min_weight_uniformity", None, "", "image"),
    Row("sefd", "min_sefd_ratio", "max_sefd_ratio", "× configured", "image"),
    Row("transit_scale", None, "max_transit_scale", "", "image", "tile"),
    Row("antenna_scale", None, "max_antenna_scale", "", "image", "tile"),
    Row("coherence", None, "max_coherence_loss", "of the flux", "image", "tile"),
    Row("departed", None, "max_departed", "of the antennas", "image", "tile"),
    Row("outside", None, "max_outside", "× noise", "image", "tile"),
    Row("flux_ratio", "min_flux_ratio", "max_flux_ratio", "", "catalogue"),
    Row("flux_scatter", None, "max_flux_scatter", "", "catalogue"),
    Row("completeness", "min_completeness", None, "", "catalogue"),
    Row("counterparts", "min_counterparts", None, "", "catalogue"),
    Row("position_offset", None, "max_position_offset", "beam", "catalogue"),
    Row("position_scatter", None, "max_position_scatter", "beam", "catalogue"),
    Row("beam_slope", None, "max_beam_slope", "of the power at half power", "response"),
    Row("pointing", None, "max_pointing_deg", "deg", "response"),
    Row("catalogue_scale", None, "max_catalogue_scale", "", "response"),
    Row("tile_scale", None, "max_tile_scale", "", "response", "mosaic"),
    Row("position_gradient", None, "max_position_gradient", "beam/deg", "response", "tile"),
)
NAMES = tuple(row.name for row in GATES)
CATALOGUE_GATES = tuple(row.name for row in GATES if row.of == "catalogue")
