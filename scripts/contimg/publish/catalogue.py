"""The catalogue of a published mosaic: what QA found in it, measured, as VOTable and parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from contimg.core import names
from contimg.core.names import ProductName
from contimg.photometry import catalogue
from contimg.photometry.measured import Mosaic
from contimg.photometry.options import PhotometryOptions

KINDS = {"votable": ".sources.vot", "parquet": ".sources.parquet"}


def write_catalogue(
    directory: Path, into: Path, product: ProductName, stem: str, configuration: str
) -> dict[str, Any]:
    """Write the sources of a mosaic beside its published image.

    Parameters
    ----------
    directory : Path
        Of the mosaic, in its products tree; QA's table of what was found is used if it is there.
    into : Path
        Where to write ``{stem}.sources.vot`` and ``{stem}.sources.parquet``.
    product : ProductName
    stem : str
    configuration : str
        Of the run, YAML: its section `photometry` says what the errors stand for.

    Returns
    -------
    dict
        ``n_sources``.
    """
    chosen = (yaml.safe_load(configuration) or {}).get("photometry", {})
    options = PhotometryOptions.model_validate(chosen)
    verdict = names.mosaic_verdict(product.path, product.name)
    found = directory.parents[2] / f"{verdict.removesuffix('.json')}.sources.parquet"
    places = pd.read_parquet(found) if found.is_file() else None
    mosaic = Mosaic(directory / f"{product.name}.fits", directory / f"{product.name}.rms.fits")
    rows, header = catalogue.found_in(mosaic, options, places=places)
    for kind, suffix in KINDS.items():
        catalogue.write(into / f"{stem}{suffix}", rows, header, options, kind=kind)
    return {"n_sources": len(rows)}
