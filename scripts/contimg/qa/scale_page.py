"""What the night's page says of the flux scale: a factor a tile over the whole night, the beam, and the transits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from contimg.core.html import Table
from contimg.qa.response import read_tables, rows_of
from contimg.qa.scale import Number, Scale, solve


def of_night(
    tiles: Sequence[Mapping[str, Any]], tree: Path, flux_snr: float
) -> tuple[pd.DataFrame, Scale | None]:
    """Compare the fluxes of all tiles of a night that were judged, good or not, and solve for the tiles' factors.

    Parameters
    ----------
    tiles : sequence of mapping
        As `contimg.qa.night.gather` has them.
    tree : Path
        Products tree.
    flux_snr : float
        Sources above this count.

    Returns
    -------
    rows : DataFrame
        From `contimg.qa.response.rows_of`.
    scale : Scale or None
        None where nothing can be compared.
    """
    verdicts = [
        (
            {"product": tile["name"], "metrics": tile["metrics"]},
            tree / (tile["sources"].removesuffix(".sources.parquet") + ".json"),
        )
        for tile in tiles
        if tile["gates"]
    ]
    tables, widths, anchors = read_tables(verdicts)
    rows = rows_of(tables, min_snr=flux_snr, beam_arcsec=widths)
    return rows, None if rows.empty else solve(rows, anchors=anchors)


def summary(scale: Scale | None) -> str:
    """One line for the first screen."""
    if scale is None or len(scale.factors) < 2:
        return "not compared: no two tiles share enough sources"
    values = [number.value for number in scale.factors.values()]
    held = "tiles of the transits" if len(scale.anchors) < len(values) else "mean of all tiles"
    text = f"tiles' factors {min(values):.3f} to {max(values):.3f} ({held} = 1; {scale.n_sources} sources)"
    for what, number, unit in (
        ("over the catalogue", scale.catalogue, ""),
        ("beam's slope", scale.slope, ""),
        ("pointing east", scale.east_deg, "°"),
        ("north", scale.north_deg, "°"),
    ):
        if number is not None:
            text += f"; {what} {_shown(number)}{unit}"
    return text


def table(scale: Scale | None, tiles: Sequence[Mapping[str, Any]]) -> Table:
    """The factor of every tile, and how other transits compare with the one in use; no rows without factors."""
    heads = ("tile", "factor", "±", "", "SEFD (Jy)", "other transits over the one in use")
    rows: list[tuple[str, ...]] = []
    if scale is None or len(scale.factors) < 2:
        return Table(heads, rows)
    for tile in tiles:
        factor = scale.factors.get(tile["name"])
        others = tile["metrics"].get("transits", {})
        said = [
            f"{name}: fluxes × {_rounded(other.get('fluxes'))}, SEFD × {_rounded(other.get('sefd'))}"
            for name, other in others.items()
        ]
        rows.append(
            (
                tile["name"],
                "" if factor is None else f"{factor.value:.3f}",
                "" if factor is None else f"{factor.error:.3f}",
                "anchor" if tile["metrics"].get("anchored") else "",
                _rounded(tile["metrics"].get("sefd_jy"), 0),
                "; ".join(said),
            )
        )
    return Table(heads, rows, (1, 2, 4))


def _shown(number: Number) -> str:
    return f"{number.value:.3f} ± {number.error:.3f}"


def _rounded(value: float | None, digits: int = 3) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
