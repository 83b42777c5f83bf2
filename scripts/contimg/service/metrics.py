"""`/metrics`: what a monitor wants to know, gathered when it asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from contimg.service.registry_reader import Registries, Unreadable
from contimg.service.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_S = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400)
_GATES = {"rms": "rms_over_expected", "flux_ratio": "flux_scale"}


class Metrics:
    """The metrics of one service."""

    def __init__(self, store: Store, registries: Registries, products: Path) -> None:
        self._registry = CollectorRegistry()
        self.ended = Counter(
            "contimg_batches_ended", "Batches that ended", ["kind", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "contimg_tile_latency_seconds", "From the last subband of a tile to its image",
            buckets=_LATENCY_S, registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Now(store, registries, products))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What is counted when it is asked for."""

    def __init__(self, store: Store, registries: Registries, products: Path) -> None:
        self._store, self._registries, self._products = store, registries, products

    def describe(self) -> Iterator[Any]:
        """Nothing: the names are known when they are collected."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Gather."""
        batches = GaugeMetricFamily("contimg_batches", "Batches by state", labels=["status"])
        counts = self._store.counts()
        for status in ("pending", "running", "done", "partial", "failed", "cancelled"):
            batches.add_metric([status], counts.get(status, 0))
        yield batches
        tiles = GaugeMetricFamily("contimg_tiles", "Tiles' images by state", labels=["status"])
        sql = "SELECT status, count(*) AS n FROM product WHERE kind = 'image' GROUP BY status"
        for row in self._rows(sql):
            tiles.add_metric([row["status"]], row["n"])
        yield tiles
        usage = shutil.disk_usage(self._products)
        yield GaugeMetricFamily("contimg_disk_free_bytes", "Room where the products are", usage.free)
        yield GaugeMetricFamily("contimg_disk_total_bytes", "Size of that disk", usage.total)
        readable = all(not told.startswith("cannot") for told in self._registries.health().values())
        yield GaugeMetricFamily("contimg_registry_readable", "0: a registry is damaged", float(readable))
        age = self._registries.age().age_s
        if age is not None:
            yield GaugeMetricFamily("contimg_registry_age_seconds", "Since the registry was built", age)
        for gate, name in _GATES.items():
            found = self._rows(_MEDIAN, {"gate": gate})
            if found and found[0]["value"] is not None:
                yield GaugeMetricFamily(
                    f"contimg_{name}",
                    f"Median of the gate {gate} over the newest night's tiles",
                    found[0]["value"],
                )

    def _rows(self, sql: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a registry; none if it is damaged, which does not keep the rest from being told."""
        try:
            return self._registries.rows(sql, values or {})
        except Unreadable:
            return []


_MEDIAN = """
WITH of_night AS (
    SELECT gate.value AS value, row_number() OVER (ORDER BY gate.value) AS place, count(*) OVER () AS n
    FROM gate JOIN verdict ON verdict.id = gate.verdict_id
    WHERE gate.name = :gate AND gate.value IS NOT NULL AND verdict.date = (SELECT max(date) FROM verdict)
)
SELECT avg(value) AS value FROM of_night WHERE place IN ((n + 1) / 2, (n + 2) / 2)
"""
