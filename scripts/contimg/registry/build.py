"""The registries: two SQLite files that answer questions on the products of a tree, built from their sidecars.

The sidecars are the truth; a registry holds nothing that is not in them, and is built from nothing each time, in
one pass. Rows are numbered in order of path and no column tells when the registry was built: the same tree gives
the same content. The schemas are `products.sql` and `cal_registry.sql` beside this module, told in `docs/registry.md`.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
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
            of_products: Rows = {}
            of_caltables: Rows = {}
            for sidecar in batch:
                if sidecar.content is None:
                    counts["unreadable"] += 1
                    add_row(of_products, "unreadable", (sidecar.product.path, sidecar.problem))
                    continue
                counts["products"] += 1
                product_rows(sidecar, counts["products"], of_products, metric_names)
                if sidecar.product.kind == "caltable":
                    counts["caltables"] += 1
                caltable_rows(sidecar, counts["caltables"], of_caltables)
            both[0].insert(of_products)
            both[1].insert(of_caltables)
        for some in _batches(records):
            told: Rows = {}
            for record in some:
                counts["unreadable"] += bool(record.problem)
                counts["verdicts"] += record.verdict is not None
                record_rows(record, counts["verdicts"], told)
            both[0].insert(told)
        for listed in _batches(sources):
            counts["sources"] += len(listed)
            both[0].insert({"sky_source": listed} if listed else {})
        for database in both:
            database.finish()
    return counts


def product_rows(sidecar: Sidecar, number: int, rows: Rows, metric_names: dict[str, int]) -> None:
    """Add the rows of products.sqlite3 that a sidecar gives, the product being row `number`.

    `metric_names` numbers the metrics in order of their first appearance; new ones are added to it.
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
        if name not in metric_names:
            metric_names[name] = len(metric_names) + 1
            add_row(rows, "metric_name", (metric_names[name], name))
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
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.executescript(_sql(schema))
        self.connection.execute("CREATE TEMP TABLE pointing (path TEXT PRIMARY KEY, mjd, dec_deg, strip_deg)")
        self.connection.execute("BEGIN")

    def insert(self, rows: Rows) -> None:
        """Insert rows of several tables."""
        for table, values in rows.items():
            places = ",".join("?" * len(values[0]))
            self.connection.executemany(f"INSERT INTO {table} VALUES ({places})", values)

    def finish(self) -> None:
        """Resolve references, make indices and views, check, and leave the file in WAL mode."""
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
        execute("PRAGMA journal_mode=WAL")


def _sql(name: str) -> str:
    text = (resources.files("contimg.registry") / f"{name}.sql").read_text()
    return text.replace("{kinds}", ", ".join(f"'{kind}'" for kind in REGISTERED))
