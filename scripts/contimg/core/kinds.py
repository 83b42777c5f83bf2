"""What there is: every kind of product, with the one pattern of its path, its sidecar and the rule that makes it.

`contimg.core.names` makes and parses paths by these patterns; the registry's schema, the run report and `contimg retry`
go through the table. A new kind is a row here, and whatever is special to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

STATUS = "status.json"


@dataclass(frozen=True)
class Kind:
    """One kind of product.

    Attributes
    ----------
    name : str
        What it is called in the registry.
    path : str
        Pattern of its path below the products tree, with Snakemake's wildcards.
    sidecar : {"inside", "beside", "itself"}
        Where its status is: `status.json` in the directory, a .json of its name, or the product is one.
    rule : str
        The rule that makes it.
    repeats : tuple of str
        How its rejection begins where it only repeats that of an input, or a verdict shown elsewhere.
    registered : bool
        Whether it is a row of the registry's table of products.
    of_set : bool
        Whether it is made of a tile's science Measurement Set, which retention may delete.
    """

    name: str
    path: str
    sidecar: Literal["inside", "beside", "itself"]
    rule: str
    repeats: tuple[str, ...] = ()
    registered: bool = False
    of_set: bool = False

    @property
    def of_tile(self) -> bool:
        """Whether there is one of each tile."""
        return set(re.findall(r"\{(\w+)\}", self.path)) == {"date", "tile"}

    def sidecar_of(self, path: str) -> str:
        """Path of the sidecar of a product of this kind."""
        if self.sidecar == "inside":
            return f"{path}/{STATUS}"
        return path if self.sidecar == "itself" else path.rpartition(".")[0] + ".json"

    @property
    def glob(self) -> str:
        """Pattern of the paths of all sidecars of this kind (and perhaps of others), for `Path.glob`."""
        parts = ["*" if "{" in part else part for part in self.path.split("/")]
        if self.sidecar == "inside":
            return "/".join([*parts, STATUS])
        last = parts[-1] if "*" not in parts[-1] else "*.json"
        return "/".join([*parts[:-1], last.rpartition(".")[0] + ".json"])


KINDS = (
    Kind("science_ms", "ms/science/{date}/{tile}.ms", "beside", "convert_tile", registered=True),
    Kind(
        "calibrator_ms",
        "ms/calibrators/{date}/{tile}_{calibrator}.ms",
        "beside",
        "calibrate_transit",
        repeats=("conversion: ",),
        registered=True,
    ),
    Kind("caltable", "cal/{date}/{tile}_{calibrator}", "inside", "calibrate_transit", registered=True),
    Kind(
        "image",
        "images/{date}/{tile}",
        "inside",
        "image_tile",
        repeats=("conversion: ",),
        registered=True,
        of_set=True,
    ),
    Kind(
        "calibrated_ms",
        "ms/calibrated/{date}/{tile}.ms",
        "beside",
        "apply_tile",
        repeats=("conversion: ",),
        registered=True,
        of_set=True,
    ),
    Kind(
        "tile_verdict",
        "qa/{date}/{tile}.json",
        "itself",
        "qa_tile",
        repeats=("rejected: ", "no image to compare with: "),
    ),
    Kind(
        "injection",
        "qa/{date}/injection/{tile}.json",
        "itself",
        "inject_tile",
        repeats=("rejected: ", "no image to compare with: "),
        of_set=True,
    ),
    Kind("mosaic", "mosaics/{date}/{mosaic}", "inside", "mosaic_window", registered=True),
    Kind("transit_mosaic", "mosaics/{calibrator}/{date}", "inside", "mosaic_transit"),
    Kind(
        "mosaic_verdict",
        "qa/{date}/{product}.json",
        "itself",
        "qa_mosaic",
        repeats=("rejected: ", "no image to compare with: "),
    ),
    Kind("source_list", "photometry/sources.parquet", "beside", "source_list", repeats=("qa: ",)),
    Kind(
        "photometry",
        "photometry/{date}/{product}.parquet",
        "beside",
        "photometry_mosaic",
        repeats=("qa: ",),
        registered=True,
    ),
    Kind("lightcurves", "variability/lightcurves.parquet", "beside", "lightcurves"),
    Kind(
        "ese_candidates",
        "variability/ese_candidates.csv",
        "beside",
        "ese_search",
        repeats=("no light curves: ",),
    ),
    Kind("tile_beam", "beam/{date}/{tile}", "inside", "beam_tile", repeats=("image: ",), of_set=True),
    Kind("beam", "beam/{first}_{last}", "inside", "beam_measure", repeats=("none of ",)),
    Kind("receipt", "state/published/{date}/{product}.json", "itself", "publish_mosaic", repeats=("qa: ",)),
    Kind("published_list", "state/published/{date}.json", "itself", "list_published", repeats=("qa: ",)),
)
"""In the order data flow: an earlier kind is never made of a later one."""

BY_NAME = {kind.name: kind for kind in KINDS}
REGISTERED = tuple(kind.name for kind in KINDS if kind.registered)
