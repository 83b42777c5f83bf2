"""A bright source tile by tile, every 309 s: what the fit to each tile's visibilities has of it, and parts of the band.

The light curves say which tiles saw a source in each mosaic; `{tile}.sources.parquet` beside each tile's image says
what the fit found (docs/drift.md; sources above 7 σ in a tile, parts of the band above 20 σ). A flux on one scale is
that of the tile over the zero point of its mosaic.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.core import names, tables
from contimg.core.angles import wrap_deg
from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import InputError
from contimg.photometry.tiles import SAME_BEAMS

BANDS = tuple(f"band{k}" for k in range(1, 5))
"""Parts of the band, from the lowest frequency."""
_FITTED = ["ra_deg", "dec_deg", "flux_jy", "flux_err_jy", "spectral_index", "flags"]
_BAND = [
    "band_slope",
    "band_slope_err",
    *(f"{band}_{what}" for band in BANDS for what in ("hz", "jy", "err_jy")),
]
COLUMNS: tables.Columns = {
    "mjd": ("d", "middle of the tile, MJD UTC; of tiles whose fit does not say it, the start"),
    "tile": ("", "the tile"),
    "mosaic": ("", "the mosaic whose zero point is used, {date}/{mosaic}"),
    "flux_jy": ("Jy", "flux density fitted to the tile's visibilities, at freq_hz"),
    "flux_err_jy": ("Jy", "its error, without that of calibration"),
    "flux_norm": ("Jy", "flux_jy over the zero point of the mosaic"),
    "flux_norm_err": ("Jy", "flux_err_jy over the zero point"),
    "used": ("", "whether the mosaic's point counts in the light curve"),
    "freq_hz": ("Hz", "frequency of the fluxes, the mosaic's"),
    "band_slope": ("", "spectral index within the band"),
    "band_slope_err": ("", "its error"),
    **{
        name: column
        for band in BANDS
        for name, column in {
            f"{band}_hz": ("Hz", f"middle of part {band[-1]} of the band"),
            f"{band}_jy": ("Jy", "flux density there, as fitted"),
            f"{band}_err_jy": ("Jy", "its error"),
        }.items()
    },
}


def series(tree: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Read what the tiles have of a source.

    Parameters
    ----------
    tree : Path
        Products tree.
    rows : DataFrame
        Of its light curve: `mosaic, tiles, ra_deg, dec_deg, bmaj_arcsec, freq_hz, zero_point, normalised, used`. A tile
        of two mosaics counts once, with the one that is used.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row a tile whose fit has the source, in order of time. Tiles that are not in the tree (any more)
        have none.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows.sort_values("used", ascending=False, kind="stable").to_dict("records"):
        for tile in filter(None, str(row["tiles"]).split(";")):
            if tile in found:
                continue
            fitted = _fitted(tree / names.image_dir(tile) / f"{tile}.sources.parquet", row)
            if fitted is not None:
                found[tile] = {"mjd": names.tile_mjd(tile), "tile": tile, "mosaic": row["mosaic"]} | fitted
    made = pd.DataFrame(list(found.values()), columns=list(COLUMNS)).astype(dict.fromkeys(_BAND, float))
    return made.sort_values("mjd", kind="stable", ignore_index=True)


def _fitted(path: Path, row: Mapping[Hashable, Any]) -> dict[str, Any] | None:
    """What the fit of a tile has at a place; None where there is no table, or not this source."""
    if not path.is_file():
        return None
    try:
        file = pq.ParquetFile(path, memory_map=True)
        there = [name for name in (*_FITTED, *_BAND) if name in file.schema_arrow.names]
        table = file.read(columns=there, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: expected a tile's fitted sources ({error}): make the tile again"
        ) from error
    if not len(table):
        return None
    ra, dec = table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy()
    east = wrap_deg(ra - row["ra_deg"]) * np.cos(np.radians(row["dec_deg"]))
    apart = 3600.0 * np.hypot(east, dec - row["dec_deg"])
    k = int(np.argmin(apart))
    values = {name: table[name][k].as_py() for name in there}
    if apart[k] > SAME_BEAMS * row["bmaj_arcsec"] or "moved" in values["flags"]:
        return None
    scale = (row["freq_hz"] / REFERENCE_HZ) ** values["spectral_index"]
    zero = row["zero_point"] if row["normalised"] else 1.0
    about = json.loads((file.schema_arrow.metadata or {}).get(tables.KEY, b"{}"))
    return {
        **({"mjd": about["mjd"]} if "mjd" in about else {}),
        "flux_jy": values["flux_jy"] * scale,
        "flux_err_jy": values["flux_err_jy"] * scale,
        "flux_norm": values["flux_jy"] * scale / zero,
        "flux_norm_err": values["flux_err_jy"] * scale / zero,
        "used": bool(row["used"]),
        "freq_hz": row["freq_hz"],
        **{name: values.get(name) for name in _BAND},
    }


def by_mosaic(tiles: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Flux in each part of the band, mean over the tiles of each mosaic with their weights, on the mosaic's scale.

    Parameters
    ----------
    tiles : DataFrame
        From `series`.
    rows : DataFrame
        Of the light curve: `mosaic, zero_point, normalised`.

    Returns
    -------
    DataFrame
        Columns `BANDS`, Jy; index: the mosaics of which all parts are known.
    """
    zero = pd.Series(np.where(rows["normalised"], rows["zero_point"], 1.0), index=rows["mosaic"].astype(str))
    means = {}
    for band in BANDS:
        flux, error = (tiles[f"{band}_{what}"] for what in ("jy", "err_jy"))
        weight = (1.0 / error**2).where(flux.notna() & (error > 0), 0.0)
        sums = pd.DataFrame({"w": weight, "wf": weight * flux.fillna(0.0)}).groupby(tiles["mosaic"]).sum()
        means[band] = sums["wf"].where(sums["w"] > 0) / sums["w"]
    found = pd.DataFrame(means).dropna()
    return found.div(zero[~zero.index.duplicated()].reindex(found.index), axis=0)
