"""The reference catalogue: any table that astropy reads, its columns named by the configuration.

Inside the pipeline a catalogue is a table with `name, ra_deg, dec_deg` (ICRS), `flux_jy, flux_err_jy` (at
1.4 GHz) and `spectral_index`, whatever the file calls them and in whatever units it has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import NamedFileError
from contimg.sky.calibrators import Calibrator
from contimg.sky.options import CatalogOptions

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Column, Table


@dataclass(frozen=True)
class Catalog:
    """A file of reference sources and how it is to be read."""

    path: Path
    options: CatalogOptions = field(default_factory=CatalogOptions)

    @classmethod
    def of(cls, described: dict[str, Any] | None) -> Catalog | None:
        """The catalogue that `Config.catalog_params` describes in a rule's params."""
        if described is None:
            return None
        return cls(Path(described["path"]), CatalogOptions.model_validate(described["options"]))

    def read(self) -> pd.DataFrame:
        """Read the whole table.

        Returns
        -------
        DataFrame
            `name`; `ra_deg, dec_deg` (ICRS); `flux_jy, flux_err_jy` at 1.4 GHz, the error NaN where the file
            has none; `spectral_index`, `CatalogOptions.typical_spectral_index` where the file has none. Rows
            without a place or a positive flux are left out.

        Raises
        ------
        NamedFileError
            The table cannot be read, lacks a column, or has one in a unit that is none of its kind.
        """
        import pandas as pd
        from astropy.io.registry import IORegistryError
        from astropy.table import Table

        try:
            table = Table.read(self.path)
        except (OSError, ValueError, IORegistryError) as error:
            raise NamedFileError(f"{self.path}: expected a table that astropy reads: {error}") from error
        chosen = self.options
        ra, dec = self._places(table)
        index = self._optional(table, "spectral_index", "", chosen.typical_spectral_index)
        index = np.where(np.isfinite(index), index, chosen.typical_spectral_index)
        to_reference = (REFERENCE_HZ / (1e6 * chosen.freq_mhz)) ** index
        flux = self._numbers(self._column(table, "flux_jy"), "Jy", chosen.flux_unit)
        error_jy = self._optional(table, "flux_err_jy", "Jy", np.nan, chosen.flux_unit)
        read = pd.DataFrame(
            {
                "name": np.asarray(self._column(table, "name")).astype(str),
                "ra_deg": ra,
                "dec_deg": dec,
                "flux_jy": flux * to_reference,
                "flux_err_jy": error_jy * to_reference,
                "spectral_index": index,
            }
        )
        usable = np.isfinite(read["ra_deg"]) & np.isfinite(read["dec_deg"]) & (read["flux_jy"] > 0)
        return read[usable].reset_index(drop=True)

    def near(
        self, *, ra_deg: float, dec_deg: float, radius_deg: float, min_flux_jy: float = 0.0
    ) -> pd.DataFrame:
        """Rows of `read` in a cap of the sky (ICRS degrees) that are bright enough, brightest first."""
        from astropy import units
        from astropy.coordinates import SkyCoord

        table = self.read()
        places = SkyCoord(table["ra_deg"], table["dec_deg"], unit="deg")
        inside = places.separation(SkyCoord(ra_deg, dec_deg, unit="deg")) <= radius_deg * units.deg
        chosen = table[inside & (table["flux_jy"] >= min_flux_jy)]
        return chosen.sort_values("flux_jy", ascending=False, kind="stable").reset_index(drop=True)

    def _column(self, table: Table, key: str) -> Column:
        name = getattr(self.options, key) or key
        if name not in table.colnames:
            raise NamedFileError(
                f"{self.path}: no column {name} among {', '.join(table.colnames)}; name the one with the sources' "
                f"{key} as catalog_table.{key}"
            )
        return table[name]

    def _optional(
        self, table: Table, key: str, unit: str, without: float, assumed: str = ""
    ) -> NDArray[np.float64]:
        """A column that a file may lack, unless the configuration names it."""
        if getattr(self.options, key) is None and key not in table.colnames:
            return np.full(len(table), without)
        return self._numbers(self._column(table, key), unit, assumed)

    def _numbers(self, column: Column, unit: str, assumed: str) -> NDArray[np.float64]:
        """Values of a column in `unit`; `assumed` is its unit where the file states none."""
        from astropy import units

        plain = getattr(column, "value", column)
        try:
            values = np.ma.filled(np.ma.asarray(plain).astype(np.float64), np.nan)
        except (TypeError, ValueError) as error:
            raise NamedFileError(
                f"{self.path}: column {column.name} holds what is no number ({error}); name another column"
            ) from error
        if not unit:
            return values
        stated = column.unit or units.Unit(assumed)
        try:
            return (values * stated).to_value(unit)
        except (
            units.UnitConversionError,
            TypeError,
        ) as error:  # TypeError: a unit that astropy does not know
            raise NamedFileError(
                f"{self.path}: column {column.name} is in {stated}, which is no unit like {unit}; name another column"
            ) from error

    def _places(self, table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension and declination in degrees, from numbers or from sexagesimal text."""
        from astropy.coordinates import SkyCoord

        ra, dec = (self._column(table, key) for key in ("ra_deg", "dec_deg"))
        if np.asarray(ra).dtype.kind not in "USO":
            return self._numbers(ra, "deg", "deg"), self._numbers(dec, "deg", "deg")
        try:
            places = SkyCoord(
                np.asarray(ra).astype(str), np.asarray(dec).astype(str), unit=("hourangle", "deg")
            )
        except ValueError as error:
            raise NamedFileError(
                f"{self.path}: columns {ra.name} and {dec.name} hold text that is no hours and degrees: {error}"
            ) from error
        return places.ra.deg, places.dec.deg


def sources_near(
    catalog: Catalog, *, ra_deg: float, dec_deg: float, radius_deg: float, min_flux_jy: float
) -> list[Calibrator]:
    """Sources of a catalogue round a place, as the calibration's model takes them; see `Catalog.near`."""
    rows = catalog.near(ra_deg=ra_deg, dec_deg=dec_deg, radius_deg=radius_deg, min_flux_jy=min_flux_jy)
    return [
        Calibrator(
            row["name"],
            row["ra_deg"],
            row["dec_deg"],
            row["flux_jy"],
            row["spectral_index"],
            catalog.path.name,
        )
        for row in rows.to_dict("records")
    ]
