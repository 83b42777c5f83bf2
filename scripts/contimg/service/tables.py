"""Light curves, sources and candidates as the service reads them: one source's rows, not the table."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from contimg.core.errors import InputError
from contimg.service import wire
from contimg.service.registry_reader import Unreadable

if TYPE_CHECKING:
    import pandas as pd  # a second of the service's start: imported when a table is first read
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
LIGHTCURVES, SOURCES = Path("variability/lightcurves.parquet"), Path("variability/sources.parquet")
CANDIDATES = Path("variability/ese_candidates.csv")
VETTING = Path("variability/vetting.csv")
Row = dict[str, Any]
LISTED = ("source_id", "ra_deg", "dec_deg", "n_epochs", "mean_flux_jy", "eta", "v")
"""What a list of sources says of each."""


class _Kept(Generic[T]):
    """What was made of a file, made anew when the file changes."""

    def __init__(self, path: Path, make: Callable[[Path], T]) -> None:
        self._path, self._make = path, make
        self._stamp: tuple[int, int, int] | None = None
        self._value: T | None = None
        self._lock = threading.Lock()

    def get(self) -> T | None:
        """What it holds; None if there is no such file. Unreadable if it is damaged."""
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return None
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        with self._lock:
            if stamp != self._stamp:
                try:
                    self._value = self._make(self._path)
                except (OSError, ValueError, KeyError, InputError) as error:
                    raise _unreadable(self._path, error) from error
                self._stamp = stamp
            return self._value


def _unreadable(path: Path, error: Exception) -> Unreadable:
    _LOG.warning("%s: %s", path, error)  # a library's words may hold places of the machine
    how = "mend it" if path.name == VETTING.name else "make it anew: snakemake ese"
    return Unreadable(f"{path.parent.name}/{path.name} cannot be read; {how}")


class Sky:
    """The tables of a products tree that tell of sources."""

    def __init__(self, products: Path) -> None:
        self._products = products
        self._one = threading.Lock()
        self._newest: tuple[tuple[int, int], dict[str, float | None]] = ((0, 0), {})
        self._sources = _Kept(products / SOURCES, _read_sources)
        self._candidates = _Kept(products / CANDIDATES, _read_candidates)
        self._vetting = _Kept(products / VETTING, _read_vetting)

    def read(self) -> None:
        """Read the tables now, before somebody asks."""
        self._sources.get()
        self._candidates.get()
        self._vetting.get()

    def curve(self, source: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Rows of a source's light curve in order of time, all columns or some; None if there is no such source."""
        from contimg.variability.curves import INDEX, read_rows

        folder = self._products / LIGHTCURVES
        if not (folder / INDEX).is_file():
            return None
        try:
            with self._one:  # open files are kept, and Parquet's readers are for one thread
                rows = read_rows(folder, source, columns)
        except (OSError, ValueError, KeyError, InputError) as error:
            raise _unreadable(folder, error) from error
        if not rows.num_rows:
            return None
        mjd = rows["mjd"].to_numpy()
        return rows if (mjd[1:] >= mjd[:-1]).all() else rows.sort_by("mjd")

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
            known[source] = None if rows is None else wire.number(rows["flux_jy"][-1].as_py())
        return known[source]

    def measures(self, source: str) -> Row | None:
        """The row of a source in the table of measures."""
        found = self._sources.get()
        return None if found is None or source not in found.rows else found.row(found.rows[source])

    def cone(
        self, ra_deg: float | None, dec_deg: float | None, radius_deg: float, *, limit: int, offset: int
    ) -> tuple[list[Row], int]:
        """Sources (`LISTED`) within a radius of a position (ICRS, degrees), nearest first; all if there is none."""
        import numpy as np

        found = self._sources.get()
        if found is None:
            return [], 0
        if ra_deg is None or dec_deg is None:
            n = len(found.vectors)
            return [found.row(place, LISTED) for place in range(n)[offset : offset + limit]], n
        # chord of two unit vectors: right at every separation, also at the poles and across 0h
        apart = found.vectors - _vectors(np.array([ra_deg]), np.array([dec_deg]))
        chord = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        separation = np.degrees(2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))
        inside = np.flatnonzero(separation <= radius_deg)
        order = inside[np.argsort(separation[inside], kind="stable")]
        page = order[offset : offset + limit].tolist()
        apart_deg = separation[page].tolist()
        rows = [found.row(place, LISTED) for place in page]
        return [row | {"separation_deg": deg} for row, deg in zip(rows, apart_deg, strict=True)], len(order)

    def candidates(self) -> list[Row]:
        """Candidates, the most significant first; `id` is their place in the table, `significance` what sorts
        them. None of them if the search has not run."""
        return self._candidates.get() or []

    def vetted(self) -> dict[str, tuple[str, str]]:
        """Status and notes that people gave to candidates, by source; the last entry counts."""
        return self._vetting.get() or {}


class _Sources:
    """The table of measures: columns as lists, since one row of a DataFrame costs more than a whole answer."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._columns = {str(name): table[name].tolist() for name in table}
        self.rows = {str(name): place for place, name in enumerate(self._columns["source_id"])}
        self.vectors = _vectors(table["ra_deg"].to_numpy(float), table["dec_deg"].to_numpy(float))

    def row(self, place: int, names: Sequence[str] | None = None) -> Row:
        wanted = self._columns if names is None else names
        return {name: self._columns[name][place] for name in wanted if name in self._columns}


def _read_sources(path: Path) -> _Sources:
    import pandas as pd

    return _Sources(pd.read_parquet(path))


def _read_candidates(path: Path) -> list[Row]:
    import pandas as pd

    table = pd.read_csv(path, comment="#")
    sigma = "sigma_max" if "sigma_max" in table else "sigma_deviation"
    table = table.assign(id=range(1, len(table) + 1), significance=table[sigma])
    rows = table.sort_values(sigma, ascending=False, kind="stable").to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _read_vetting(path: Path) -> dict[str, tuple[str, str]]:
    import pandas as pd

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


def _vectors(ra_deg: Any, dec_deg: Any) -> Any:
    import numpy as np

    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
