"""Light curves, sources and candidates as the service reads them: one source's rows, not the table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from contimg.core.errors import InputError

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
        self._one = threading.Lock()
        self._newest: tuple[tuple[int, int], dict[str, float | None]] = ((0, 0), {})
        self._sources = _Kept(products / SOURCES, _read_sources)
        self._candidates = _Kept(products / CANDIDATES, _read_csv)

    def curve(self, source: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """Rows of a source's light curve in order of time, all columns or some; None if there is no such source."""
        from contimg.variability.curves import INDEX, read_source

        folder = self._products / LIGHTCURVES
        if not (folder / INDEX).is_file():
            return None
        try:
            with self._one:  # open files are kept, and Parquet's readers are for one thread
                rows = read_source(folder, source, columns)
        except (InputError, OSError):  # made anew just now, or damaged
            return None
        if rows.empty:
            return None
        return rows if rows["mjd"].is_monotonic_increasing else rows.sort_values("mjd", kind="stable")

    def current(self, source: str) -> float | None:
        """The newest flux of a source, Jy; None if it has no light curve. Kept until there are other light curves."""
        from contimg.variability.curves import INDEX

        try:
            state = (self._products / LIGHTCURVES / INDEX).stat()
        except FileNotFoundError:
            return None
        stamp = (state.st_ino, state.st_mtime_ns)
        if stamp != self._newest[0]:
            self._newest = (stamp, {})
        known = self._newest[1]
        if source not in known:
            rows = self.curve(source, ("mjd", "flux_jy"))
            known[source] = None if rows is None else float(rows["flux_jy"].iloc[-1])
        return known[source]

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
        apart = found.vectors - _vectors(np.array([ra_deg]), np.array([dec_deg]))
        chord = np.sqrt(np.einsum("ij,ij->i", apart, apart))
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
        source, status, notes = (
            next((name for name in names if name in table), None)
            for names in (("source_id", "source"), ("status", "state"), ("notes", "comment"))
        )
        if source is None or status is None:
            return {}
        said = table[notes] if notes is not None else pd.Series("", index=table.index)
        return {
            str(name): (str(what), str(note))
            for name, what, note in zip(table[source], table[status], said, strict=True)
        }


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
