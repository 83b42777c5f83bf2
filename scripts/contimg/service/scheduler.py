"""The queue: starts runs one after the other, follows them, and knows after any death what became of them."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contimg.core.products import read_json, write_json
from contimg.jobs import treelock
from contimg.service import outcome, process
from contimg.service.settings import Settings
from contimg.service.store import BatchRow, ItemRow, Store

_LOG = logging.getLogger(__name__)
_LOCKED = "another run writes this products tree"
_STARTING_S = 30.0  # a run that has not said who it is after this long never began

Ended = Callable[[BatchRow], None]


@dataclass
class _Run:
    """What the scheduler knows of a run that goes on."""

    batch: int
    number: int
    folder: Path
    began: float = field(default_factory=time.monotonic)
    child: subprocess.Popen[bytes] | None = None
    offset: int = 0
    outputs: dict[int, list[str]] = field(default_factory=dict)
    plan: dict[str, dict[str, Any]] | None = None
    products: Path | None = None
    signalled: float | None = None

    def record(self, name: str) -> Path:
        """One of the run's records."""
        return self.folder / f"{name}.{self.number}.json"


class Scheduler:
    """Starts and follows runs, in a thread of its own or by calls of `tick`.

    Parameters
    ----------
    settings : Settings
    store : Store
    ended : callable
        Called with each batch that has ended.
    """

    def __init__(self, settings: Settings, store: Store, ended: Ended = lambda _: None) -> None:
        self.settings, self.store, self._ended = settings, store, ended
        self._runs: dict[int, _Run] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Find what earlier services left, and begin."""
        self.recover()
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following. Runs go on; the next service finds them."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look at once: something was put on the list, or is to be cancelled."""
        self._wake.set()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.tick()
            except Exception:  # noqa: BLE001  whatever it was, the next batch must not suffer
                _LOG.exception("the scheduler failed; it goes on")
            self._wake.wait(self.settings.options.poll_s)
            self._wake.clear()

    def recover(self) -> None:
        """Take over the runs of a service that is gone: follow those that live, settle those that do not."""
        for number in self.store.ids("running"):
            batch = self.store.get(number)
            if batch.attempt == 0:
                self.store.update_batch(number, status="pending")
                continue
            self._runs[number] = _Run(number, batch.attempt, self.settings.folder(number))
        self.tick(start=False)

    def tick(self, *, start: bool = True) -> None:
        """Look at every run once, then start what may start."""
        for run in list(self._runs.values()):
            self._follow(run)
        if not start:
            return
        room = self.settings.options.max_running - len(self._runs)
        if room <= 0:
            return
        for number in self.store.first_waiting():
            batch = self.store.get(number)
            if batch.status == "pending" and self._is_free(batch):
                self._begin(batch)
                room -= 1
            if room <= 0:
                break

    def running(self) -> int:
        """How many runs go on."""
        return len(self._runs)

    def _is_free(self, batch: BatchRow) -> bool:
        """Whether nobody, this service or another command, writes the batch's tree."""
        mine = {self.store.get(number).branch for number in self._runs}
        lock = self.settings.tree(batch.branch) / "state" / "lock"
        return batch.branch not in mine and treelock.holder(lock) is None

    def _begin(self, batch: BatchRow) -> None:
        """Start a run. What is written before the process is enough to find it again, or to know that it is not."""
        number = batch.attempt + 1
        folder = self.settings.folder(batch.id)
        folder.mkdir(parents=True, exist_ok=True)
        cores = batch.spec.get("cores")
        write_json(
            folder / "request.json",
            {
                "number": number,
                "config": self.settings.base,
                "spec": batch.spec,
                "items": [item.name for item in batch.items if item.status in ("pending", "running")],
                "tree": str(self.settings.tree(batch.branch)),
                "branch": batch.branch,
                "engine": list(self.settings.engine),
                "snakefile": str(self.settings.snakefile),
                "arguments": self.settings.arguments(cores),
                "cores": self.settings.cores(cores),
                "again": (batch.note or "").endswith("items again"),
            },
        )
        self.store.update_batch(
            batch.id, status="running", attempt=number, started=batch.started or time.time()
        )
        child = process.start("contimg.service.run", [str(folder), str(number)], output=folder / "output.log")
        self._runs[batch.id] = _Run(batch.id, number, folder, child=child)
        _LOG.info("batch %d: run %d started, process %d", batch.id, number, child.pid)

    def _follow(self, run: _Run) -> None:
        if run.child is not None:
            run.child.poll()  # else it stays as a zombie
        batch = self.store.get(run.batch)
        who = read_json(run.record("process")) if run.record("process").is_file() else None
        ended = run.record("exit").is_file()  # before the events: what was written before it is read below
        alive = bool(process.members(who)) if who is not None else self._may_yet_start(run)
        self._take_plan(run, batch)
        self._take_events(run, batch)
        if batch.cancelled and alive and who is not None:
            self._interrupt(run, who)
        if ended or run.record("exit").is_file():
            self._settle(run, read_json(run.record("exit")))
        elif not alive:
            self._settle(run, None)

    def _may_yet_start(self, run: _Run) -> bool:
        """Whether a run that has not said who it is may still do so."""
        if run.child is not None:
            return run.child.returncode is None
        return time.monotonic() - run.began < _STARTING_S and not run.record("exit").is_file()

    def _interrupt(self, run: _Run, who: dict[str, Any]) -> None:
        """End a group: first so that Snakemake can cancel its jobs, after a while for good."""
        now = time.monotonic()
        if run.signalled is None:
            run.signalled = now
            process.signal_group(who, signal.SIGINT)
        elif now - run.signalled >= self.settings.options.cancel_grace_s:
            process.signal_group(who, signal.SIGKILL)

    def _take_plan(self, run: _Run, batch: BatchRow) -> None:
        """Note what each item means, as soon as the run has planned."""
        if run.plan is not None or not run.record("items").is_file():
            return
        record = read_json(run.record("items"))
        run.products = Path(record["products"])
        run.plan = {item["name"]: item for item in record["items"]}
        for item in batch.items:
            told = run.plan.get(item.name)
            if told is None or item.status not in ("pending", "running"):
                continue
            if told["error"] is not None:
                self.store.update_item(item.id, status="failed", error=told["error"], ended=time.time())
            else:
                self.store.update_item(item.id, products=told["targets"], log=told["log"])

    def _take_events(self, run: _Run, batch: BatchRow) -> None:
        path = run.folder / f"events.{run.number}.jsonl"
        events, run.offset = outcome.read_events(path, run.offset)
        if run.plan is None or not events:
            return
        run.outputs |= outcome.job_outputs(events)
        begun = {path for event in events if event["event"] == "job_info" for path in event["output"]}
        over = {
            path
            for event in events
            if event["event"] in ("job_finished", "job_error")
            for path in run.outputs.get(event.get("job", -1), ())
        }
        for item in self.store.get(run.batch).items:
            targets = set(run.plan.get(item.name, {}).get("targets", ()))
            if item.status == "pending" and targets & begun:
                self.store.update_item(item.id, status="running", started=time.time())
                item.status = "running"
            if item.status == "running" and targets & over:
                self._judge(run, item)

    def _judge(self, run: _Run, item: ItemRow) -> bool:
        """Settle an item if its products are there."""
        if run.plan is None or run.products is None or item.name not in run.plan:
            return False
        told = outcome.judge(run.products, run.plan[item.name])
        if told is None:
            return False
        lines = self._lines(run, item) if told.status == "failed" else []
        now = time.time()
        self.store.update_item(
            item.id, status=told.status, error=told.error, started=item.started or now, ended=now, lines=lines
        )
        return True

    def _lines(self, run: _Run, item: ItemRow) -> list[str]:
        log = (run.plan or {}).get(item.name, {}).get("log")
        lines = outcome.decisive_lines(run.products / log) if log and run.products else []
        return lines or outcome.decisive_lines(run.folder / "output.log")

    def _settle(self, run: _Run, record: dict[str, Any] | None) -> None:
        """A run is over: judge its items, then end the batch or put it on the list again."""
        del self._runs[run.batch]
        self._take_plan(run, self.store.get(run.batch))
        batch = self.store.get(run.batch)
        if batch.spec["extra"].get("wait"):
            self._settle_unattended(run, batch, record)
        for item in self.store.get(run.batch).items:
            if item.status in ("pending", "running"):
                self._judge(run, item)
        batch = self.store.get(run.batch)
        still_open = [item for item in batch.items if item.status in ("pending", "running")]
        was_killed = record is None or record["returncode"] < 0
        if still_open and not batch.cancelled and self._again(run, batch, record, was_killed):
            return
        for item in still_open:
            if batch.cancelled:
                self.store.update_item(item.id, status="cancelled", error="cancelled", ended=time.time())
                continue
            self.store.update_item(
                item.id,
                status="failed",
                error=self._why(record, batch, was_killed),
                lines=self._lines(run, item),
                ended=time.time(),
            )
        ended = self.store.end(run.batch)
        _LOG.info("batch %d: %s", ended.id, ended.status)
        self._ended(ended)

    def _again(self, run: _Run, batch: BatchRow, record: dict[str, Any] | None, was_killed: bool) -> bool:
        """Put a batch on the list again whose run was killed, or came upon a tree that another command writes."""
        if was_killed and batch.killed < self.settings.options.max_restarts:
            self.store.update_batch(
                batch.id, status="pending", killed=batch.killed + 1, note="its run was killed; it is resumed"
            )
            return True
        if not was_killed and _LOCKED in _tail(run.folder / "output.log"):
            with (run.folder / "output.log").open("a") as stream:
                stream.write("contimg: waiting until the products tree is free\n")
            self.store.update_batch(
                batch.id, status="pending", note="waiting until the products tree is free"
            )
            return True
        return False

    def _why(self, record: dict[str, Any] | None, batch: BatchRow, was_killed: bool) -> str:
        if was_killed:
            return f"its run was killed {batch.killed + 1} times"
        if record is not None and record.get("error"):
            return str(record["error"])
        return "not made: the run ended without it"

    def _settle_unattended(self, run: _Run, batch: BatchRow, record: dict[str, Any] | None) -> None:
        """`contimg unattended` tells by its exit status and prints the directory that it published."""
        if record is None or record["returncode"] < 0 or batch.cancelled:
            return
        for item in batch.items:
            good = record["returncode"] == 0
            lines = outcome.decisive_lines(run.folder / "output.log")
            self.store.update_item(
                item.id,
                status="done" if good else "failed",
                error=None if good else f"contimg unattended ended with {record['returncode']}",
                lines=[] if good else lines,
                ended=time.time(),
            )


def _tail(path: Path, size: int = 20000) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - size))
        text = stream.read().decode(errors="replace")
    return text.rpartition("waiting until the products tree is free")[2]
