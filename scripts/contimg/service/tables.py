"""Light curves, sources and candidates as the service reads them: one source's rows, not the table."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd  # a second of the service's start: imported when a table is first read

T = TypeVar("T")
LIGHTCURVES, SOURCES = Path("variability/lightcurves.parquet"), Path("variability/sources.parquet")
CANDIDATES = Path("variability/ese_candidates.csv")
VETTING = Path("variability/vetting.csv")


class _Kept(Generic[T]):
    """What was made of a file, made anew when the file changes."""

    def __init__(self, path: Path, make: Callable[[Path], T]) -> None:
        self._path, self._make = path, make
        self._stamp: tuple[int, int, int] | None = None
        self._value: T | None = None
        self._lock = threading.Lock()

    def get(self) -> T | None:
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return None
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        with self._lock:
            if stamp != self._stamp:
                self._value = self._make(self._path)
                self._stamp = stamp
            return self._value


class Sky:
    """The tables of a products tree that tell of sources."""

    def __init__(self, products: Path) -> None:
        self._products = products
        self._curves = _Kept(products / LIGHTCURVES, _Curves)
        self._sources = _Kept(products / SOURCES, _read_sources)
        self._candidates = _Kept(products / CANDIDATES, _read_csv)

    def curve(self, source: str) -> pd.DataFrame | None:
        """Rows of a source's light curve in order of time; None if there is no such source."""
        curves = self._curves.get()
        return None if curves is None else curves.of(source)

    def measures(self, source: str) -> dict[str, Any] | None:
        """The row of a source in the table of measures."""
        found = self._sources.get()
        if found is None or source not in found.rows:
            return None
        return {str(name): value for name, value in found.table.iloc[found.rows[source]].items()}

    def cone(
        self, ra_deg: float | None, dec_deg: float | None, radius_deg: float, *, limit: int, offset: int
    ) -> tuple[pd.DataFrame, int]:
        """Sources within a radius of a position (ICRS, degrees), nearest first; all if there is no position."""
        import numpy as np
        import pandas as pd

        found = self._sources.get()
        if found is None:
            return pd.DataFrame(), 0
        if ra_deg is None or dec_deg is None:
            return found.table.iloc[offset : offset + limit], len(found.table)
        # chord of two unit vectors: right at every separation, also at the poles and across 0h
        chord = np.linalg.norm(found.vectors - _vectors(np.array([ra_deg]), np.array([dec_deg])), axis=1)
        separation = np.degrees(2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))
        inside = np.flatnonzero(separation <= radius_deg)
        order = inside[np.argsort(separation[inside], kind="stable")]
        page = order[offset : offset + limit]
        return found.table.iloc[page].assign(separation_deg=separation[page]), len(order)

    def candidates(self) -> pd.DataFrame | None:
        """The table of candidates; None if the search has not run."""
        return self._candidates.get()

    def vetted(self) -> dict[str, tuple[str, str]]:
        """Status and notes that people gave to candidates, by source; the last entry counts."""
        import pandas as pd

        path = self._products / VETTING
        if not path.is_file():
            return {}
        table = pd.read_csv(path, dtype=str, comment="#").fillna("")
        status = "status" if "status" in table else "verdict"
        if "source_id" not in table or status not in table:
            return {}
        notes = table["notes"] if "notes" in table else pd.Series("", index=table.index)
        return {
            str(source): (str(what), str(note))
            for source, what, note in zip(table["source_id"], table[status], notes, strict=True)
        }


class _Curves:
    """The table of light curves: sorted by source, so that the statistics of its row groups find one."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        file = pq.ParquetFile(path)
        column = file.schema_arrow.get_field_index("source_id")
        self._last: list[str] = []
        self._first: list[str] = []
        for group in range(file.num_row_groups):
            told = file.metadata.row_group(group).column(column).statistics
            self._first.append(str(told.min) if told is not None and told.has_min_max else "")
            self._last.append(str(told.max) if told is not None and told.has_min_max else "\U0010ffff")
        file.close()

    def of(self, source: str) -> pd.DataFrame | None:
        import pyarrow.parquet as pq

        groups = [
            place
            for place, (first, last) in enumerate(zip(self._first, self._last, strict=True))
            if first <= source <= last
        ]
        if not groups:
            return None
        with pq.ParquetFile(self._path) as file:
            table = file.read_row_groups(groups, use_threads=False).to_pandas()
        rows = table[table["source_id"].astype(str) == source]
        return None if rows.empty else rows.sort_values("mjd", kind="stable")


class _Sources:
    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.rows = {str(name): place for place, name in enumerate(table["source_id"])}
        self.vectors = _vectors(table["ra_deg"].to_numpy(float), table["dec_deg"].to_numpy(float))


def _read_sources(path: Path) -> _Sources:
    import pandas as pd

    return _Sources(pd.read_parquet(path))


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, comment="#")


def _vectors(ra_deg: Any, dec_deg: Any) -> Any:
    import numpy as np

    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
