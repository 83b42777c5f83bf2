"""Watch mode: a batch for each tile and transit as it becomes complete on disk, without repeating or forgetting.

`incoming` is looked at again and again (no inotify: it must work on NFS) through the index, which opens no file twice.
A tile with all its subbands is ready at once; one that lacks some, but has `min_subbands`, when none of its files
changed for `settle_minutes`; a subband that comes later makes it ready again. Tiles that are ready while a batch of
earlier ones still waits or runs go together into the next: so it keeps up however fast the telescope is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contimg.api.bodies import ImageBody
from contimg.core import names
from contimg.core.constants import MJD_UNIX_EPOCH, SECONDS_PER_DAY
from contimg.core.errors import ContimgError
from contimg.index.build import build_index
from contimg.index.tile import Index, Tile
from contimg.night.readiness import Wanted, newest_change, next_transit, placed, readiness
from contimg.service.orders import Order
from contimg.service.settings import Settings
from contimg.service.store import Store
from contimg.service.submit import Submitter
from contimg.sky.calibrators import Calibrator, read_calibrators

_LOG = logging.getLogger(__name__)
BY = "watch"
_BACK_DAYS = 2.0


@dataclass
class Row:
    """What is known of a tile or a transit that is watched."""

    name: str
    state: str  # collecting, ready, submitted, done, failed
    present: int
    expected: int
    last_file: float | None  # seconds since 1970
    first_seen: float = 0.0
    last_update: float = 0.0
    batch_id: int | None = None
    image_at: float | None = None


@dataclass
class Seen:
    """What one look found."""

    newest_file: float | None = None
    submitted: list[int] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


class Watcher:
    """Looks at `incoming` and submits what is ready.

    Parameters
    ----------
    settings, store, submitter
        Of the service.
    clock : callable
        Seconds since 1970.
    latency : callable
        Called with the seconds from a tile's last subband to its image.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        submitter: Submitter,
        clock: Callable[[], float] = time.time,
        latency: Callable[[float], Any] = lambda _: None,
    ) -> None:
        self._settings, self._store, self._submitter = settings, store, submitter
        self._clock, self._latency = clock, latency
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.last: Seen | None = None
        self.began = clock()

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.last = self.look()
            except (ContimgError, OSError):
                _LOG.exception("incoming cannot be looked at; next try in a while")
            self._stop.wait(self._settings.options.watch_poll_s)

    def look(self) -> Seen:
        """Look once: note what is there, submit what is ready, and see what was made of it."""
        config, now = self._settings.config, self._clock()
        since = config.start_mjd
        if since is None:
            since = now / SECONDS_PER_DAY + MJD_UNIX_EPOCH - _BACK_DAYS
        state = self._settings.products / "state"
        index = build_index(
            Path(config.incoming),
            start_mjd=since,
            end_mjd=config.end_mjd,
            min_subbands=config.min_subbands,
            exclude=config.exclude,
            cache=state / "index",
            reader=config.raw.reader,
        )
        known = self._known()
        seen = Seen()
        for row in [*self._tiles(index, now), *self._collecting(index)]:
            self._note(row, known, now)
            seen.newest_file = max(filter(None, (seen.newest_file, row.last_file)), default=None)
        self._look_at_images(known, now)
        seen.submitted = self._submit_tiles(known) + self._transits(index, known, now, seen)
        return seen

    def _known(self) -> dict[str, Row]:
        rows = self._store.ask(
            "SELECT name, state, present, expected, last_file, first_seen, last_update, batch_id, image_at FROM watched"
        )
        return {row[0]: Row(*row) for row in rows}

    def _tiles(self, index: Index, now: float) -> Iterable[Row]:
        settle_s = 60.0 * self._settings.options.settle_minutes
        for tile in index.tiles:
            last = _changed(tile.files)
            whole = len(tile.files) == len(tile.slots)
            quiet = last is None or now - last >= settle_s
            yield Row(
                tile.name, "ready" if whole or quiet else "collecting", len(tile.files), len(tile.slots), last
            )

    def _collecting(self, index: Index) -> Iterable[Row]:
        for entry in index.left_out:
            yield Row(entry.tile, "collecting", len(entry.files), 16, _changed(entry.files))

    def _note(self, row: Row, known: dict[str, Row], now: float) -> None:
        """Keep what is new of a tile. One that was submitted is ready again when it has more subbands than then."""
        old = known.get(row.name)
        if old is not None:
            over = old.state not in ("collecting", "ready")
            if over and row.present <= old.present:
                return
            if (old.state, old.present, old.last_file) == (row.state, row.present, row.last_file):
                return
        row.first_seen = old.first_seen if old is not None else now
        row.last_update = now
        known[row.name] = row
        with self._store.writing() as db:
            db.execute(
                "INSERT INTO watched (name, state, first_seen, last_update, present, expected, last_file) "
                "VALUES (?,?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, "
                "last_update = excluded.last_update, present = excluded.present, expected = excluded.expected, "
                "last_file = excluded.last_file, batch_id = NULL, image_at = NULL",
                (row.name, row.state, row.first_seen, now, row.present, row.expected, row.last_file),
            )

    def _busy(self) -> bool:
        """Whether a batch of watched tiles waits or runs."""
        numbers = self._store.ids("pending", "running")
        return any(self._store.get(number).origin == BY for number in numbers)

    def _submit_tiles(self, known: dict[str, Row]) -> list[int]:
        ready = sorted(row.name for row in known.values() if row.state == "ready" and "_" not in row.name)
        if not ready or self._busy():
            return []
        chosen = ready[: self._settings.options.max_items]
        order = self._submitter.order(
            "image", ImageBody(ms_paths=[names.science_ms(tile) for tile in chosen]), single=False
        )
        batch = self._submitter.add(order, by=BY, key=None, single=False, origin=BY, watched=chosen)
        for tile in chosen:
            known[tile].state, known[tile].batch_id = "submitted", batch.id
        return [batch.id]

    def _look_at_images(self, known: dict[str, Row], now: float) -> None:
        """Settle what was submitted: when its image came, and how long after its last subband."""
        open_rows = [row for row in known.values() if row.state == "submitted" and row.batch_id is not None]
        for number in {row.batch_id for row in open_rows if row.batch_id is not None}:
            items = {item.name: item for item in self._store.get(number).items}
            for row in open_rows:
                item = items.get(row.name if "_" in row.name else names.science_ms(row.name))
                if row.batch_id != number or item is None or item.status in ("pending", "running"):
                    continue
                row.state = "done" if item.status == "done" else "failed"
                row.image_at = item.ended
                if row.state == "done" and row.image_at is not None and row.last_file is not None:
                    self._latency(max(0.0, row.image_at - row.last_file))
                with self._store.writing() as db:
                    db.execute(
                        "UPDATE watched SET state = ?, image_at = ?, last_update = ? WHERE name = ?",
                        (row.state, row.image_at, now, row.name),
                    )

    def _transits(self, index: Index, known: dict[str, Row], now: float, seen: Seen) -> list[int]:
        wanted_names = self._settings.options.watch_calibrators
        if not wanted_names or not index.tiles:
            return []
        catalogue = {one.name: one for one in read_calibrators(self._settings.config.calibrators)}
        submitted = []
        for name in wanted_names:
            for wanted in self._recent(catalogue[name], index.tiles, now):
                number = self._transit(wanted, index, known, now, seen)
                submitted += [] if number is None else [number]
        return submitted

    def _recent(self, calibrator: Calibrator, tiles: tuple[Tile, ...], now: float) -> Iterable[Wanted]:
        """Transits of a calibrator from the first tile known to now."""
        half = self._settings.config.mosaic.width_minutes / 2880.0
        instant = next_transit(calibrator.ra_deg, tiles[0].start_mjd)
        while instant <= now / SECONDS_PER_DAY + MJD_UNIX_EPOCH:
            yield Wanted(calibrator, instant, half)
            instant = next_transit(calibrator.ra_deg, instant + 0.5)

    def _transit(
        self, wanted: Wanted, index: Index, known: dict[str, Row], now: float, seen: Seen
    ) -> int | None:
        day = names.utc(wanted.mjd).strftime("%Y-%m-%d")
        name = f"{wanted.calibrator.name}_{day}"
        if name in known:
            return None
        here = placed(index, wanted)
        settle = self._settings.options.settle_minutes
        now_mjd = now / SECONDS_PER_DAY + MJD_UNIX_EPOCH
        found = readiness(
            index, here, now_mjd=now_mjd, changed_mjd=newest_change(index, here), settle_minutes=settle
        )
        if not found.ready:
            if here.end_mjd + settle / 1440.0 < now_mjd and "no complete tile" in found.said:
                seen.missed.append(f"transit of {wanted.calibrator.name} on {day}: {found.said}")
            return None
        order = Order("mosaic", items=[(name, None)], wanted={name: "all"})
        order.params = {"calibrator_name": wanted.calibrator.name, "transit_date": day}
        order.selection = {
            "calibrator": wanted.calibrator.name,
            "transit_date": day,
            "window_minutes": self._settings.config.mosaic.width_minutes,
        }
        with self._store.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO watched (name, state, first_seen, last_update, present, expected) "
                "VALUES (?, 'ready', ?, ?, 0, 0)",
                (name, now, now),
            )
        return self._submitter.add(order, by=BY, key=name, single=True, origin=BY, watched=[name]).id


def _changed(files: Iterable[str]) -> float | None:
    """When the newest of some files changed, seconds since 1970."""
    times = []
    for path in files:
        try:
            times.append(Path(path).stat().st_mtime)
        except FileNotFoundError:  # moved away since the index was made
            continue
    return max(times, default=None)
