"""The job of variability: photometry of all nights to light curves, their measures and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.core.errors import Rejected
from contimg.core.kinds import BY_NAME
from contimg.core.names import LIGHTCURVES
from contimg.core.products import building, status, write_json
from contimg.variability.options import VariabilityOptions

if TYPE_CHECKING:
    import pandas as pd

KEPT = "state/variability"
_RECORD = BY_NAME["lightcurves"].sidecar_of(LIGHTCURVES)


@dataclass(frozen=True)
class Lightcurves:
    """All photometry tables of the products tree to its light curves."""

    options: VariabilityOptions
    threads: int
    scratch: str | None = None

    def make(self) -> str:
        """Make the table, the measures of every source, the list of epochs and the page."""
        from contimg.core.provenance import versions
        from contimg.variability import metrics, page
        from contimg.variability.build import build

        folder = Path(LIGHTCURVES)
        scratch = None if self.scratch is None else Path(self.scratch)
        with building(folder) as part:
            built = build(Path(), part, self.options, kept=Path(KEPT), scratch=scratch, threads=self.threads)
            if not built.metrics["rows"]:
                raise Rejected(f"none of {built.metrics['tables']} photometry tables has a source")
            sources = metrics.measure(part, self.options.threshold_sigma)
            found: dict[str, Any] = {
                **built.metrics,
                "variable": int(sources["variable"].sum()),
                **page.stability(sources),
            }
            facts = {
                "threshold_sigma": self.options.threshold_sigma,
                "error_model": built.metrics["error_model"],
                "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
                "versions": versions(),
            }
            text = page.page(sources, built.epochs, part, facts)
        _write(sources, folder.parent / "sources.parquet", metrics.COLUMNS)
        _write(built.epochs, folder.parent / "epochs.parquet", {})
        with building(folder.parent / "index.html") as file:
            file.write_text(text)
        write_json(Path(_RECORD), self._record(metrics=found))
        return (
            f"{found['sources']} sources in {found['normalised']} of {found['tables']} mosaics, "
            f"{found['variable']} vary"
        )

    def _record(self, reason: str | None = None, metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The sidecar. The tables that went in are listed in `variability/epochs.parquet`, not here: thousands."""
        parameters = {"variability": self.options.model_dump(mode="json")}
        return {**status(reason, parameters=parameters, metrics=dict(metrics or {})), "product": LIGHTCURVES}

    def reject(self, reason: str) -> None:
        """Leave light curves without rows, and a page that says why."""
        import pandas as pd

        from contimg.core.html import reason_page
        from contimg.variability import curves, metrics

        folder = Path(LIGHTCURVES)
        with building(folder) as part:
            curves.write(part, curves.empty())
        _write(
            pd.DataFrame(columns=list(metrics.COLUMNS)), folder.parent / "sources.parquet", metrics.COLUMNS
        )
        _write(pd.DataFrame(columns=["path", "mosaic", "reason"]), folder.parent / "epochs.parquet", {})
        with building(folder.parent / "index.html") as file:
            file.write_text(reason_page("Variability", reason))
        write_json(Path(_RECORD), self._record(reason))


def _write(table: pd.DataFrame, path: Path, columns: Mapping[str, tuple[str, str]]) -> None:
    """Write a table with the units and meanings of its columns in the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with building(path) as part:
        content = pa.Table.from_pandas(table, preserve_index=False)
        fields = [
            field.with_metadata({"unit": columns[field.name][0], "description": columns[field.name][1]})
            if field.name in columns
            else field
            for field in content.schema
        ]
        text = {name: {"unit": unit, "description": words} for name, (unit, words) in columns.items()}
        schema = pa.schema(fields, metadata={"contimg": json.dumps({"columns": text})})
        pq.write_table(content.cast(schema), part, compression="zstd")
