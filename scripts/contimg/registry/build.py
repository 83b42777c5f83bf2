"""The registries: two SQLite files that answer questions on the products of a tree, built from their sidecars.

The sidecars are the truth; a registry holds nothing that is not in them, and is built from nothing each time, in
one pass. Rows are numbered in order of path and no column tells when the registry was built: the same tree gives
the same content. The schemas are `products.sql` and `cal_registry.sql` beside this module, told in `docs/registry.md`.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from contimg.core.kinds import REGISTERED
from contimg.core.names import caltable_dir, strip_dec, tile_mjd
from contimg.registry.sidecars import Sidecar
from contimg.registry.verdicts import Record, Rows, add_row, record_rows

T = TypeVar("T")
SCHEMA_VERSION = 3
PRODUCTS = "products.sqlite3"
CALTABLES = "cal_registry.sqlite3"
_BATCH = 2000  # sidecars whose rows are held in memory


def build(
    sidecars: Iterable[Sidecar],
    products: Path,
    caltables: Path,
    records: Iterable[Record] = (),
    sources: Iterable[tuple[Any, ...]] = (),
) -> dict[str, int]:
    """Build both registries.

    Parameters
    ----------
    sidecars : iterable of Sidecar
        In order of path, each product once; it is read once.
    products, caltables : Path
        The files to write; nothing may be there.
    records : iterable of Record
        Verdicts and publications, in order of path.
    sources : iterable of tuple
        Sources that are measured, from `contimg.registry.sources.read_sources`.

    Returns
    -------
    dict
        How many products, caltables, verdicts, sources and unreadable sidecars there are.
    """
    with ExitStack() as stack:
        both = (_Database(products, "products"), _Database(caltables, "cal_registry"))
        for database in both:
            stack.callback(database.connection.close)
        counts = {"products": 0, "caltables": 0, "verdicts": 0, "sources": 0, "unreadable": 0}
        metric_names: dict[str, int] = {}
        for batch in _batches(sidecars):
            _insert(both, [_entry(sidecar, counts, metric_names) for sidecar in batch], counts)
        for some in _batches(records):
            _insert(both, [_verdict_entry(record, counts) for record in some], counts)
        for listed in _batches(sources):
            counts["sources"] += len(listed)
            both[0].insert({"sky_source": listed} if listed else {})
        for database in both:
            database.finish()
    return counts


@dataclass(frozen=True)
class _Entry:
    """The rows that one sidecar gives in each registry, and names of metrics that it is the first to have."""

    path: str
    kind: str = "unreadable"
    products: Rows = field(default_factory=dict)
    caltables: Rows = field(default_factory=dict)
    names: Rows = field(default_factory=dict)


_ODD = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError, sqlite3.Error)
"""What JSON that is no sidecar, or no value of SQLite, ends in; the sidecar is listed as unreadable and says so."""


def _unreadable(path: str, problem: str, counts: dict[str, int]) -> _Entry:
    counts["unreadable"] += 1
    return _Entry(path, products={"unreadable": [(path, problem.encode(errors="replace").decode())]})


def _odd(path: str, error: BaseException, counts: dict[str, int]) -> _Entry:
    return _unreadable(
        path, f"not what is expected of it: {type(error).__name__}: {str(error)[:200]}", counts
    )


def _entry(sidecar: Sidecar, counts: dict[str, int], metric_names: dict[str, int]) -> _Entry:
    path, of_products, of_caltables, fresh = sidecar.product.path, Rows(), Rows(), Rows()
    if sidecar.content is None:
        return _unreadable(path, sidecar.problem, counts)
    try:
        for name, _ in numbers(sidecar.content.get("metrics", {})):
            if name not in metric_names:
                name.encode()  # raises where SQLite would
                metric_names[name] = len(metric_names) + 1
                add_row(fresh, "metric_name", (metric_names[name], name))
        number, of_kind = counts["products"] + 1, counts["caltables"] + (sidecar.product.kind == "caltable")
        product_rows(sidecar, number, of_products, metric_names)
        caltable_rows(sidecar, of_kind, of_caltables)
    except _ODD as error:
        odd = _odd(path, error, counts)
        return replace(odd, names=fresh)
    counts["products"], counts["caltables"] = number, of_kind
    return _Entry(path, "products", of_products, of_caltables, fresh)


def _verdict_entry(record: Record, counts: dict[str, int]) -> _Entry:
    rows = Rows()
    try:
        record_rows(record, counts["verdicts"] + 1, rows)
    except _ODD as error:
        return _odd(record.path, error, counts)
    counts["unreadable"] += bool(record.problem)
    counts["verdicts"] += record.verdict is not None
    return _Entry(record.path, "verdicts" if record.verdict is not None else "publications", rows)


def _insert(both: tuple[_Database, _Database], entries: Sequence[_Entry], counts: dict[str, int]) -> None:
    """Insert entries together; where one of them is refused, one by one, so that the others are there."""
    both[0].insert(_joined(entry.names for entry in entries))
    try:
        with both[0].all_or_nothing(), both[1].all_or_nothing():
            both[0].insert(_joined(entry.products for entry in entries))
            both[1].insert(_joined(entry.caltables for entry in entries))
    except _ODD:
        for entry in entries:
            try:
                with both[0].all_or_nothing(), both[1].all_or_nothing():
                    both[0].insert(entry.products)
                    both[1].insert(entry.caltables)
            except _ODD as error:
                if entry.kind in counts:
                    counts[entry.kind] -= 1  # its number stays unused
                both[0].insert(_odd(entry.path, error, counts).products)


def _joined(some: Iterable[Rows]) -> Rows:
    rows = Rows()
    for one in some:
        for table, values in one.items():
            rows.setdefault(table, []).extend(values)
    return rows


def product_rows(sidecar: Sidecar, number: int, rows: Rows, metric_names: dict[str, int]) -> None:
    """Add the rows of products.sqlite3 that a sidecar gives, the product being row `number`.

    `metric_names` numbers the metrics in order of their first appearance.
    """
    product, content = sidecar.product, sidecar.content or {}
    metrics, software = content.get("metrics", {}), content.get("versions", {})
    pointing, centre = metrics.get("pointing", {}), metrics.get("phase_centre", {})
    inputs = [*content.get("inputs", ()), *(_table_dir(path) for path in content.get("caltables", ()))]
    inside = sorted({path for path in inputs if _in_tree(path)})
    add_row(
        rows,
        "product",
        (
            number,
            product.path,
            product.kind,
            product.date,
            product.name,
            product.tile,
            product.calibrator,
            content["status"],
            content["reason"],
            pointing.get("mjd_start", metrics.get("mjd_start")),
            pointing.get("mjd_end", metrics.get("mjd_end")),
            centre.get("ra_deg", metrics.get("center_ra_deg")),
            centre.get("dec_deg", metrics.get("center_dec_deg")),
            metrics.get("rms_jy", metrics.get("rms_median_jy")),
            metrics.get("flag_fraction"),
            sum(path.endswith(".hdf5") for path in inputs),
            software.get("contimg"),
            software.get("commit"),
        ),
    )
    for name, value in numbers(metrics):
        add_row(rows, "metric_value", (number, metric_names[name], value))
    for path in inside:
        add_row(rows, "source", (number, path, None))
    for tile in content.get("tiles", ()):
        add_row(
            rows,
            "mosaic_tile",
            (number, tile["tile"], None, tile["status"], tile.get("reason"), tile.get("weight")),
        )


def caltable_rows(sidecar: Sidecar, number: int, rows: Rows) -> None:
    """Add the rows of cal_registry.sqlite3 that a sidecar gives, a caltable being row `number`."""
    product, content = sidecar.product, sidecar.content or {}
    metrics, software = content.get("metrics", {}), content.get("versions", {})
    if product.kind == "caltable" and product.tile is not None:
        add_row(
            rows,
            "caltable",
            (
                number,
                product.path,
                product.date,
                product.tile,
                product.calibrator,
                tile_mjd(product.tile),
                None,
                None,
                content["status"],
                content["reason"],
                metrics.get("refant", {}).get("name"),
                *(metrics.get(name) for name in _QUALITY),
                software.get("contimg"),
                software.get("commit"),
            ),
        )
        for name, antenna in metrics.get("antennas", {}).items():
            add_row(rows, "antenna", (number, name, *(antenna.get(key) for key in _ANTENNA)))
    elif product.kind == "calibrator_ms" and "pointing" in metrics and product.tile and product.calibrator:
        pointing = metrics["pointing"]
        middle = 0.5 * (pointing["mjd_start"] + pointing["mjd_end"])
        dec = pointing["dec_deg"]
        add_row(
            rows, "pointing", (caltable_dir(product.tile, product.calibrator), middle, dec, strip_dec(dec))
        )
    elif product.kind in ("image", "calibrated_ms") and content["status"] == "ok" and content["caltables"]:
        borrowed = bool(content.get("parameters", {}).get("borrowed"))
        add_row(rows, "application", (_table_dir(content["caltables"][0]), None, product.path, borrowed))


_QUALITY = (
    "apparent_flux_jy", "n_antennas_solved", "flagged_fraction", "phase_scatter_deg", "amplitude_scatter", "snr_gain",
    "snr_bandpass",
)  # fmt: skip
_ANTENNA = (
    "flagged_fraction", "amplitude", "snr_gain", "snr_bandpass", "phase_scatter_deg", "amplitude_scatter",
)  # fmt: skip


def numbers(metrics: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a sidecar's metrics by dotted name; those of antennas and sources, and lists, are left out."""
    for key, value in metrics.items():
        name = prefix + key
        if isinstance(value, bool | int | float):
            if math.isfinite(value):
                yield name, float(value)
        elif isinstance(value, dict) and not _by_member(key):
            yield from numbers(value, f"{name}.")


def _by_member(key: str) -> bool:
    """Whether a metric is a table with a row for each antenna, subband or source."""
    return key in ("antennas", "neighbours", "sources", "dead_antennas") or "_by_" in key


def _table_dir(path: str) -> str:
    """Directory of a caltable that a sidecar names by one of its tables."""
    head, _, tail = path.rpartition("/")
    return head if tail in ("K", "BP", "G") else path


def _in_tree(path: str) -> bool:
    return "/" in path and not path.startswith("/") and not path.startswith("../")


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


class _Database:
    """One SQLite file while it is built: no journal, since nobody sees it before it is whole."""

    def __init__(self, path: Path, schema: str) -> None:
        self._schema = schema
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.executescript(_sql(schema))
        self.connection.execute("CREATE TEMP TABLE pointing (path TEXT PRIMARY KEY, mjd, dec_deg, strip_deg)")
        self.connection.execute("BEGIN")

    def insert(self, rows: Rows) -> None:
        """Insert rows of several tables."""
        for table, values in rows.items():
            places = ",".join("?" * len(values[0]))
            self.connection.executemany(f"INSERT INTO {table} VALUES ({places})", values)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is inserted in the block is undone if it raises."""
        self.connection.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO one")
            raise
        finally:
            self.connection.execute("RELEASE one")

    def finish(self) -> None:
        """Resolve references, make indices and views, and leave a file that any tool opens where nobody may write."""
        execute = self.connection.execute
        execute("COMMIT")
        if self._schema == "cal_registry":
            execute(
                "UPDATE caltable SET (mjd, dec_deg, strip_deg) = (SELECT mjd, dec_deg, strip_deg FROM pointing "
                "WHERE pointing.path = caltable.path) WHERE path IN (SELECT path FROM pointing)"
            )
        execute("DROP TABLE pointing")
        self.connection.executescript(_sql(f"{self._schema}_index"))
        execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        execute("ANALYZE")
        execute("PRAGMA journal_mode=DELETE")  # as the file's header has it; nothing is kept beside it


def _sql(name: str) -> str:
    text = (resources.files("contimg.registry") / f"{name}.sql").read_text()
    return text.replace("{kinds}", ", ".join(f"'{kind}'" for kind in REGISTERED))
