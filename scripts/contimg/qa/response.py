"""Fluxes and places against the place in the beam: which rows of the tables of sources tell, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.io.fits import Header
from numpy.typing import NDArray

from contimg.core import tables as parquet
from contimg.qa.notes import Note
from contimg.qa.scale import Number, Scale, robust, solve
from contimg.sky.crossmatch import isolated, places

STEP_PIX = 3
"""Half the base of the beam's numerical gradient: some ten arcsec in a beam of three degrees."""
LEAST_PAIRS = 10
"""A slope over the beam is not looked for in fewer sources."""
HALF_POWER = float(np.log(2.0))
"""−ln P where the beam is one half: a slope times this is the error there."""
LEAST_OFFSET_BEAM = 0.005
"""Error of an offset from the catalogue beside its noise, 0.42 beam over S/N; how much they scatter is found."""
FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))
LEAST_GRADIENT = 0.05
"""Beams a degree that a note is written of: a quiet ionosphere makes 0.02 to 0.03."""
SAME_BEAMS = 0.5
"""Sources of two tiles closer than this (major axes) are the same one."""


def at_beam(path: Path, header: Header, sources: pd.DataFrame) -> pd.DataFrame:
    """The power beam where sources are, and its logarithmic gradient: ``pb`` and ``pb_east, pb_north`` per degree.

    Parameters
    ----------
    path : Path
        FITS image of the power beam, absolute, everywhere.
    header : Header
        Of the image: its pixels are north up, turned by a fraction of a degree at most.
    sources : DataFrame
        With ``x_pix, y_pix``.
    """
    with fits.open(path, memmap=True) as hdus:
        plane = hdus[0].data
        ny, nx = plane.shape
        x = np.clip(np.rint(sources["x_pix"].to_numpy(float)).astype(int), STEP_PIX, nx - 1 - STEP_PIX)
        y = np.clip(np.rint(sources["y_pix"].to_numpy(float)).astype(int), STEP_PIX, ny - 1 - STEP_PIX)

        def log(dx: int, dy: int) -> NDArray[np.float64]:
            power = np.array([plane[row + dy, column + dx] for row, column in zip(y, x, strict=True)], float)
            return np.asarray(np.log(np.maximum(power, 1e-6)))

        step_x, step_y = (2 * STEP_PIX * float(header[key]) for key in ("CDELT1", "CDELT2"))
        return sources.assign(
            pb=np.exp(log(0, 0)),
            pb_east=(log(STEP_PIX, 0) - log(-STEP_PIX, 0)) / step_x,
            pb_north=(log(0, STEP_PIX) - log(0, -STEP_PIX)) / step_y,
        )


def comparable(table: pd.DataFrame, *, min_snr: float, beam_arcsec: float) -> pd.DataFrame:
    """Sources of a tile whose fluxes mean the same in every tile: bright, compact, alone, well fitted.

    Parameters
    ----------
    table : DataFrame
        `{tile}.sources.parquet` of a tile.
    min_snr : float
    beam_arcsec : float
        Major axis.
    """
    if table.empty or "pb" not in table:
        return table.iloc[:0]
    alone = isolated(table, table, 2.0 * beam_arcsec)
    good = table["compact"].astype(bool) & ~table["flags"].str.contains("edge|moved|blended")
    return table[alone & good & (table["snr"] >= min_snr)]


def rows_of(
    tables: Mapping[str, pd.DataFrame], *, min_snr: float, beam_arcsec: Mapping[str, float]
) -> pd.DataFrame:
    """Fluxes of several tiles, each with the number of its source, as `contimg.qa.scale.solve` wants them.

    Parameters
    ----------
    tables : mapping
        Table of sources by the tile's name.
    min_snr : float
    beam_arcsec : mapping
        Major axis of the beam by tile.
    """
    chosen = [
        comparable(table, min_snr=min_snr, beam_arcsec=beam_arcsec[tile]).assign(tile=tile)
        for tile, table in tables.items()
    ]
    chosen = [table for table in chosen if len(table)]
    if not chosen:
        return pd.DataFrame()
    rows = pd.concat(chosen, ignore_index=True)
    rows["source"] = _same(rows, SAME_BEAMS * max(beam_arcsec.values()))
    rows = rows.sort_values("snr", ascending=False).drop_duplicates(["tile", "source"])
    if "catalog_jy" not in rows:
        return rows.assign(catalog_jy=np.nan, catalog_err_jy=np.nan)
    # the catalogue's flux counts where it has the source alone, too
    told = rows["comparable"].fillna(value=False).astype(bool)
    return rows.assign(catalog_jy=rows["catalog_jy"].where(told))


def _same(rows: pd.DataFrame, radius_arcsec: float) -> NDArray[np.int32]:
    """Number of the source that each row is of: rows that are joined by steps below a radius."""
    from astropy import units
    from astropy.coordinates import search_around_sky
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    where = places(rows)
    one, two, _, _ = search_around_sky(where, where, radius_arcsec * units.arcsec)
    links = coo_array((np.ones(len(one)), (one, two)), shape=(len(rows), len(rows)))
    return np.asarray(connected_components(links, directed=False)[1])


@dataclass(frozen=True)
class Response:
    """What fluxes and places say of the beam and of the tiles' scales: a value for each gate, or why there is none.

    Attributes
    ----------
    scale : Scale or None
        Of the fluxes; None where nothing could be compared.
    gradient : Number or None
        Largest change of the offset from the catalogue over the field, beams per degree.
    least : int
        Sources that a slope needs.
    """

    scale: Scale | None
    gradient: Number | None = None
    least: int = LEAST_PAIRS

    def _enough(self) -> str | None:
        links = 0 if self.scale is None else self.scale.n_links
        return None if links >= self.least else f"{links} fluxes to compare, {self.least} are needed"

    @property
    def beam_slope(self) -> float | str:
        """Error of the power beam at half power that is certain at 3 σ, in parts of it."""
        if self.scale is None or self.scale.slope is None:
            return self._enough() or "no source is seen at different places in the beam"
        return self._enough() or HALF_POWER * self.scale.slope.beyond()

    @property
    def pointing(self) -> float | str:
        """How far the dishes certainly (3 σ) point beside what is stated, along the worse axis, degrees."""
        if self.scale is None or self.scale.east_deg is None or self.scale.north_deg is None:
            return self._enough() or "no reference catalogue: `catalog` is null"
        return self._enough() or max(self.scale.east_deg.beyond(), self.scale.north_deg.beyond())

    @property
    def catalogue_scale(self) -> float | str:
        """How far the scale of the fluxes certainly (3 σ) is from the catalogue's."""
        if self.scale is None or self.scale.catalogue is None:
            return self._enough() or "no reference catalogue: `catalog` is null"
        return self._enough() or self.scale.catalogue.beyond(1.0)

    @property
    def tile_scale(self) -> float | str:
        """How far the scale of the worst tile certainly (3 σ) is from the others'."""
        if self.scale is None or len(self.scale.factors) < 2:
            return "no two tiles share enough sources"
        return max(factor.beyond(1.0) for factor in self.scale.factors.values())

    @property
    def position_gradient(self) -> float | str:
        """Change of the offset over a degree that is certain at 3 σ, beams."""
        if self.gradient is None:
            return f"fewer than {self.least} sources, or no reference catalogue"
        return self.gradient.beyond()

    def notes(self) -> list[str]:
        """What to do about it."""
        scale, said = self.scale, list[str]()
        if self.gradient is not None and self.gradient.beyond() > LEAST_GRADIENT:
            said.append(
                Note.POSITIONS.line(
                    f"offsets from the catalogue change by {self.gradient.value:.3f} ± {self.gradient.error:.3f} "
                    "beam a degree over the field (refraction); a tile is corrected for their mean"
                )
            )
        if scale is None or self._enough() is not None:
            return said
        if scale.slope is not None and scale.slope.beyond() > 0:
            width = 1.0 / np.sqrt(max(0.1, 1.0 + scale.slope.value))
            error = 0.5 * scale.slope.error
            said.append(
                Note.BEAM.line(
                    f"{100 * (width - 1):+.1f} ± {100 * error:.1f} % wider than configured by these fluxes; "
                    "measure it with the target `beam` (docs/beam.md)"
                )
            )
        east, north = scale.east_deg, scale.north_deg
        if east is not None and north is not None and max(east.beyond(), north.beyond()) > 0:
            said.append(
                Note.POINTING.line(
                    f"{east.value:+.3f} ± {east.error:.3f} deg east, {north.value:+.3f} ± {north.error:.3f} "
                    "north of what is stated, by these fluxes; measure it with the target `beam` (docs/beam.md)"
                )
            )
        return said


def fitted_gradient(shift: Mapping[str, Any] | None) -> Number | None:
    """The gradient that the image's job found among the places fitted (`contimg.image.place`); None without one."""
    found = (shift or {}).get("gradient")
    return (
        None
        if found is None
        else Number(float(found["beam_per_deg"]), float(found["error"]), float(found["n_sources"] - 3))
    )


def gradient(pairs: pd.DataFrame, header: Header) -> Number | None:
    """How offsets from the catalogue change over a tile, along the worse axis of the beam.

    Parameters
    ----------
    pairs : DataFrame
        From `contimg.qa.gates.CatalogueFacts.placed`, with ``x_pix, y_pix``.
    header : Header
        Of the image.

    Returns
    -------
    Number or None
        Length of the gradient of the offset, beams per degree, and its error; None with fewer than `LEAST_PAIRS`.
    """
    if len(pairs) < LEAST_PAIRS:
        return None
    x = (pairs["x_pix"].to_numpy(float) + 1.0 - header["CRPIX1"]) * header["CDELT1"]
    y = (pairs["y_pix"].to_numpy(float) + 1.0 - header["CRPIX2"]) * header["CDELT2"]
    # the mean offset is that of one source: as free as the gradient
    design, one, free = np.column_stack([x, y]), np.zeros(len(x), np.int64), np.zeros((2, 2))
    errors = np.hypot(LEAST_OFFSET_BEAM, FWHM_TO_SIGMA / pairs["snr"].to_numpy(float))
    worst = Number(0.0, np.inf)
    for axis in ("offset_major_beam", "offset_minor_beam"):
        values = pairs[axis].to_numpy(float)
        fitted, covariance, _ = robust(design, values, errors, one, free)
        length = float(np.hypot(*fitted))
        along = fitted / max(length, 1e-12)
        found = Number(length, float(np.sqrt(along @ covariance @ along)), len(pairs) - 3)
        if found.beyond() >= worst.beyond():
            worst = found
    return worst


def of_tables(
    tables: Mapping[str, pd.DataFrame],
    *,
    min_snr: float,
    beam_arcsec: Mapping[str, float],
    anchors: tuple[str, ...] = (),
    beam: bool = True,
) -> Scale | None:
    """Solve for what the tables of several tiles say together."""
    rows = rows_of(tables, min_snr=min_snr, beam_arcsec=beam_arcsec)
    return None if rows.empty else solve(rows, anchors=anchors, beam=beam)


def of_verdicts(
    verdicts: Sequence[tuple[Mapping[str, Any], Path]],
    *,
    min_snr: float,
    beam: bool = True,
    factors: Mapping[str, float] | None = None,
) -> Scale | None:
    """Solve for what the tables beside the verdicts on several tiles say together.

    Parameters
    ----------
    verdicts : sequence of (record, path)
        Verdicts on tiles, and where they are.
    min_snr : float
    beam : bool
        Whether to solve for the beam, too.
    factors : mapping of str to float, optional
        What tiles, by name, are divided by before.
    """
    tables, widths, anchors = read_tables(verdicts, factors)
    return of_tables(tables, min_snr=min_snr, beam_arcsec=widths, anchors=anchors, beam=beam)


def read_tables(
    verdicts: Sequence[tuple[Mapping[str, Any], Path]], factors: Mapping[str, float] | None = None
) -> tuple[dict[str, pd.DataFrame], dict[str, float], tuple[str, ...]]:
    """Tables of sources beside the verdicts on several tiles, see `of_verdicts`.

    Returns
    -------
    tables, widths : dict
        Table, and major axis of the beam (arcsec), by tile.
    anchors : tuple of str
        Tiles that hold the transit which their solutions are from.
    """
    tables: dict[str, pd.DataFrame] = {}
    widths: dict[str, float] = {}
    anchors = []
    for record, path in verdicts:
        table = path.with_name(f"{path.stem}.sources.parquet")
        if not record["metrics"] or not table.is_file():
            continue
        tile = Path(record["product"]).name
        tables[tile] = pd.read_parquet(table).rename(columns={"stat_err_jy": "flux_err_jy"})
        if factors and tile in factors:
            tables[tile] = tables[tile].assign(flux_jy=tables[tile]["flux_jy"] / factors[tile])
        widths[tile] = float(parquet.about(table).get("bmaj_arcsec", 0.0))
        if record["metrics"].get("anchored"):
            anchors.append(tile)
    return tables, widths, tuple(anchors)
