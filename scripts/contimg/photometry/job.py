"""The jobs of photometry: the list of sources from its parts, and a mosaic to its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.core import names
from contimg.core.errors import Rejected
from contimg.core.products import building, read_json, status, write_json
from contimg.photometry.options import PhotometryOptions
from contimg.qa.verdict import FAIL

if TYPE_CHECKING:
    import pandas as pd

    from contimg.sky.catalog import Catalog


KNOWN_ARCSEC = 15.0
"""A detection this near to a listed source is that one: the catalogue's faint places are off by several arcsec."""


@dataclass(frozen=True)
class SourceList:
    """Reference catalogue, own list and blind detections to `photometry/sources.parquet`."""

    path: str
    record: str
    found: tuple[str, ...]  # QA's tables of the run's mosaics; the tree's others are read too
    catalog: Catalog | None
    options: PhotometryOptions

    def make(self) -> str:
        """Put the list together."""
        from contimg.photometry import blind, positions

        options = self.options
        catalog = None if self.catalog is None else self.catalog.read()
        own = None if options.sources is None else positions.read_own(options.sources)
        parts = {"same_arcsec": options.same_arcsec, "min_flux_jy": options.min_flux_jy}
        listed = positions.assemble(catalog, own, None, **parts)
        every = sorted({*self.found, *map(str, Path("qa").glob("*/*.sources.parquet"))})
        same = max(options.same_arcsec, KNOWN_ARCSEC)
        mosaics = [path for path in map(Path, every) if not names.TILE_RE.match(path.name)]
        detections = blind.unlisted(
            map(blind.Detections.at, mosaics),
            self._everything(catalog, listed),
            least_snr=options.join_snr,
            same_arcsec=same,
        )
        new = blind.joined(detections, after=options.join_after, same_arcsec=same)
        waiting = blind.joined(detections, after=1, same_arcsec=same)
        listed = positions.assemble(catalog, own, new, **parts)
        counts = listed["origin"].value_counts()
        record = self._record(
            metrics={
                "n_sources": len(listed),
                **{f"n_{origin}": int(counts.get(origin, 0)) for origin in ("catalog", "own", "blind")},
                "n_waiting": len(waiting) - len(new),
            }
        )
        self._write(listed, record)
        return f"{len(listed)} sources, {len(new)} of them found blind"

    def _everything(self, catalog: pd.DataFrame | None, listed: pd.DataFrame) -> pd.DataFrame:
        """What counts as known: fainter sources of the catalogue too."""
        import pandas as pd

        columns = ["ra_deg", "dec_deg"]
        return (
            listed if catalog is None else pd.concat([listed[columns], catalog[columns]], ignore_index=True)
        )

    def _record(self, reason: str | None = None, metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return status(
            reason,
            parameters={
                "photometry": self.options.model_dump(mode="json"),
                "catalog": None if self.catalog is None else self.catalog.path.name,
            },
            metrics=dict(metrics or {}),
        )

    def reject(self, reason: str) -> None:
        """Leave a list without sources that says why."""
        from contimg.photometry import positions

        self._write(positions.assemble(None, None, None, same_arcsec=1.0), self._record(reason))

    def _write(self, listed: pd.DataFrame, record: dict[str, Any]) -> None:
        from contimg.photometry import positions

        with building(Path(self.path)) as part:
            positions.write(part, listed)
        write_json(Path(self.record), record)


@dataclass(frozen=True)
class PhotometryMosaic:
    """A mosaic that passed its gates to the photometry of every listed source in it."""

    directory: str
    verdict: str
    sources: str
    table: str
    record: str
    pointings: Mapping[str, float]  # declination of each tile, degrees
    options: PhotometryOptions

    def make(self) -> str:
        """Measure every source that the mosaic covers."""
        from contimg.photometry import measured, positions

        state = read_json(Path(self.directory) / "status.json")
        verdict = read_json(Path(self.verdict))
        if verdict["verdict"] == FAIL:
            raise Rejected(f"qa: {verdict['reason']}")
        mosaic = measured.Mosaic.of(Path(self.directory))
        listed = positions.read(Path(self.sources), dec_deg=mosaic.declinations())
        rows, metrics = measured.rows(mosaic, self._name(), listed, state, self.pointings, self.options)
        gates = {
            name: {key: gate[key] for key in ("value", "verdict")} for name, gate in verdict["gates"].items()
        }
        self._write(rows, self._record(metrics=metrics, gates=gates, catalog_digest=positions.digest(listed)))
        return f"{metrics['n_sources']} sources, {metrics['n_seen']} seen"

    def _name(self) -> str:
        """``{date}/{mosaic}``."""
        path = Path(self.table)
        return f"{path.parent.name}/{path.stem}"

    def _record(
        self, reason: str | None = None, metrics: Mapping[str, Any] | None = None, **extra: Any
    ) -> dict[str, Any]:
        return {
            **status(
                reason,
                inputs=[self.directory, self.verdict, self.sources],
                parameters={"photometry": self.options.model_dump(mode="json")},
                metrics=dict(metrics or {}),
                **extra,
            ),
            "product": self.directory,
        }

    def reject(self, reason: str) -> None:
        """Leave a table without rows that says why."""
        from contimg.photometry import table

        self._write(table.empty(), self._record(reason))

    def _write(self, rows: pd.DataFrame, record: dict[str, Any]) -> None:
        from contimg.photometry import table

        with building(Path(self.table)) as part:
            table.write(part, rows, record)
        write_json(Path(self.record), record)
