"""What somebody is told of without asking, through the notifier: each thing once, until it is over."""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from typing import Literal

from contimg.config.notify import NotifyOptions
from contimg.report.notify import Message, send
from contimg.service.registry_reader import Registries, Unreadable
from contimg.service.settings import Settings
from contimg.service.store import BatchRow
from contimg.service.watching import Watcher

_LOG = logging.getLogger(__name__)
_EVERY_S = 60.0

Send = Callable[[Message, NotifyOptions], list[str]]


class Alerts:
    """Looks for what should be told, every minute, and tells it in a thread of its own."""

    def __init__(
        self, settings: Settings, registries: Registries, watcher: Watcher | None, sender: Send = send
    ) -> None:
        self._settings, self._registries, self._watcher, self._send = settings, registries, watcher, sender
        self._told: set[str] = set()
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=loop, name=name, daemon=True)
            for name, loop in (("alerts", self._loop), ("notify", self._deliver))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop, when what is waiting has been told."""
        self._stop.set()
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def ended(self, batch: BatchRow) -> None:
        """Tell that a batch has ended."""
        states = [item.status for item in batch.items]
        status: Literal["ok", "failed"] = "ok" if batch.status in ("done", "cancelled") else "failed"
        lines = [f"{batch.kind}: {states.count('done')} of {len(states)} done"]
        lines += [f"{item.name}: {item.error}" for item in batch.items if item.status == "failed"][:5]
        self._tell(status, f"batch {batch.id} {batch.status}", lines, str(self._settings.folder(batch.id)))

    def _tell(self, status: Literal["ok", "failed"], name: str, lines: list[str], where: str) -> None:
        self._queue.put(Message(status, name, "\n".join(lines), {}, where))

    def _loop(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.look()
            except OSError:
                _LOG.exception("alerts")

    def look(self) -> list[str]:
        """Look once; tell what is new; returns the names of what holds now."""
        holds = dict(self._conditions())
        for name in holds.keys() - self._told:
            self._tell("failed", name, [holds[name]], str(self._settings.products))
        self._told = set(holds)
        return sorted(holds)

    def _conditions(self) -> list[tuple[str, str]]:
        options, found = self._settings.options, []
        free = shutil.disk_usage(self._settings.products).free / 1e9
        if free < options.disk_low_gb:
            found.append(("disk low", f"{free:.1f} GB free where the products are"))
        seen = None if self._watcher is None else self._watcher.last
        if self._watcher is not None and seen is not None:
            since = time.time() - (seen.newest_file or self._watcher.began)
            if options.no_data_minutes and since > 60.0 * options.no_data_minutes:
                found.append(("no data", f"no new file for {since / 60.0:.0f} minutes"))
            found += [("calibrator missed: " + one.split(":")[0], one) for one in seen.missed]
        try:
            strips = self._registries.rows(_STRIPS)
        except Unreadable as error:
            return [*found, ("registry", str(error))]
        for row in strips:
            if row["n"] >= 3 and row["failed"] > options.qa_fail_fraction * row["n"]:
                where = f"{row['date']} at {row['strip']:+.1f} deg"
                what = f"{row['failed']} of {row['n']} tiles of {where} fail their gates"
                found.append((f"qa: strip {row['strip']:+.1f} of {row['date']}", what))
        return found

    def _deliver(self) -> None:
        while (message := self._queue.get()) is not None:
            for line in self._send(message, self._settings.config.notify):
                _LOG.warning("%s", line)


_STRIPS = """
SELECT verdict.date AS date, round(product.dec_deg, 1) AS strip, count(*) AS n, sum(verdict.verdict = 'fail') AS failed
FROM verdict JOIN product ON product.id = verdict.product_id
WHERE product.kind = 'image' AND product.dec_deg IS NOT NULL AND verdict.date = (SELECT max(date) FROM verdict)
GROUP BY verdict.date, round(product.dec_deg, 1)
"""
