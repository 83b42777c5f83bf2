"""What the Snakefile calls: one run, from its configuration to its end."""

from __future__ import annotations

import gc
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from contimg.config.load import load
from contimg.config.model import Config
from contimg.core import products, provenance, room
from contimg.core.errors import ContimgError, SystemFault
from contimg.core.text import count_of
from contimg.image import programs
from contimg.index import retired
from contimg.jobs import disk, engine, frame, orphans, stop, treelock
from contimg.jobs.orphans import MANIFEST_VARIABLE
from contimg.night import advice
from contimg.night.manifest import freeze, thaw
from contimg.night.night import Night, plan
from contimg.plan import again, publishing
from contimg.plan.settings import Settings, settings
from contimg.plan.share import Threads, memory_mb, share
from contimg.run import slurm, trees
from contimg.run.watch import Watch

_KEPT_MANIFESTS = 20


@dataclass
class Run:
    """A run of the workflow: its configuration, its plan, and what happens when it starts and ends."""

    config: Config
    night: Night
    settings: Settings  # of each rule, among its params
    threads: Threads  # of the jobs that can use more than one
    retired_state: str | None = None  # when it was planned
    listener: engine.Listener | None = None  # in the process the user started
    interrupted: bool = False

    def started(self) -> None:
        """Take the lock of the products tree, freeze the plan for the jobs, end what a dead run left running."""
        gc.freeze()  # the graph stays as long as the process: it need not be looked through any more
        gc.enable()
        root = Path(self.config.products)
        treelock.hold(root / "state" / "lock")
        self._note_signals()
        orphans.enter_allocation()
        if retired.state(root) != self.retired_state:
            raise SystemFault(
                "raw files or sets were retired since this run was planned; start the same command again"
            )
        self._note_tree()
        runs = root / "state" / "runs"
        manifest = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.json"
        freeze(manifest, self.config, self.night)
        os.environ[MANIFEST_VARIABLE] = str(manifest)
        os.environ["PYTHONNOUSERSITE"] = "1"  # jobs in environments of their own see no packages of ~/.local
        os.environ[provenance.CONFIGURATION_VARIABLE] = products.keep_configuration(
            self.config.model_dump(mode="json"), root
        )
        os.environ[programs.VARIABLE] = programs.freeze()
        os.environ[disk.RESERVE_VARIABLE] = str(self.config.disk_reserve_bytes)
        for line in orphans.take_over(root, manifest):
            say(line)
        for old in sorted(runs.glob("*.json"))[:-_KEPT_MANIFESTS]:
            old.unlink(missing_ok=True)
            old.with_suffix(".stop").unlink(missing_ok=True)

    def succeeded(self) -> None:
        """Report; products that are rejected for an error end the run as failed."""
        found = self._errors()
        self._tell("failed" if found else "ok")
        if found:
            raise SystemFault(self._ended_with(found))

    def idle(self) -> None:
        """End a run that has nothing to do: as failed if what it was asked for ended with an error before."""
        self._note_tree()
        found = self._errors()
        if found:
            say(f"error: {self._ended_with(found)}")
            raise SystemExit(1)

    def _note_tree(self) -> None:
        """Note beside the raw files that products are made of them; a dry run makes none, and notes nothing."""
        one_each = (files[0] for tile in self.night.tiles.values() if (files := tile.files))
        unknown = trees.register(self.config.incoming, self.config.products, one_each)
        if unknown is not None:
            say(unknown)

    def _ended_with(self, found: list[str]) -> str:
        return (
            f"{len(found)} product(s) ended with an error; `contimg retry --products "
            f"{shlex.quote(str(self.config.products))}` lets the next run try them again"
        )

    def failed(self) -> None:
        """Report what the run has come to; jobs that were killed under it are counted, unless it was itself ended."""
        if not self.interrupted:
            frame.count_kills(os.environ.get(MANIFEST_VARIABLE), Path(self.config.products))
        self._errors()
        self._tell("failed")

    def _note_signals(self) -> None:
        """Remember that the run itself was to end: what becomes of its jobs then is no fault of theirs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, self._noting(before))

    def _noting(
        self, before: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], None]:
        def note(number: int, frame_: FrameType | None) -> None:
            self.interrupted = True
            before(number, frame_)

        return note

    def watch(self, workflow: Any, logger: logging.Logger) -> None:
        """Follow the run through Snakemake's logger: its table, how far it is, and whether the disk holds it."""
        engine.without_banner(logger)
        watch = Watch(
            say,
            free=lambda: disk.free_bytes(self.config.products),
            lacking=lambda: room.lacking(self.config.products),
            mistake=lambda: stop.why(os.environ.get(MANIFEST_VARIABLE)),
            stop=lambda: os.kill(os.getpid(), signal.SIGTERM),
            reserve_bytes=self.config.disk_reserve_bytes,
        )
        on_slurm = slurm.in_use()

        def planned(jobs: list[engine.Job]) -> None:
            watch.planned(jobs)
            settings = self.config.model_dump(mode="json")
            for line in again.lines(again.made_again(jobs, Path(self.config.products), settings)):
                say(line)
            for line in publishing.lines(jobs, Path(self.config.products)) if workflow.dryrun else []:
                say(line)
            for line in slurm.table(jobs) if on_slurm and workflow.dryrun else []:
                say(line)
            done = (path for job in jobs if not job.todo for path in job.output)
            if workflow.dryrun and (before := self._errors(done)):
                say(self._ended_with(before))

        self.listener = engine.Listener(
            workflow,
            planned,
            watch.started,
            watch.ended,
            detailed=on_slurm,
            idle=lambda: None if workflow.dryrun else self.idle(),
        )
        logger.addHandler(self.listener)

    def bound(self, workflow: Any) -> None:
        """Let no more jobs run at a time than this machine has memory for, unless the user said how much."""
        if workflow.local_exec and "mem_mb" not in workflow.global_resources:
            workflow.register_resource("mem_mb", memory_mb())

    def headline(self) -> str:
        """One line: tiles, groups left out, transits, mosaics."""
        night = self.night
        used = {path for tile in night.selected for path in night.candidates[tile]}
        return (
            f"{count_of(len(night.selected), 'tile')}, {count_of(len(night.left_out), 'group')} left out, "
            f"{count_of(len(used), 'transit')} to calibrate with, {count_of(len(night.windows), 'mosaic')}"
        )

    def _tell(self, status: str) -> None:
        """Write the run's report, say where it is, notify. Nothing here can make a run fail."""
        if self.listener is not None and not self.listener.has_work:
            return
        from contimg.report import contents, notices, notify
        from contimg.report import facts as report

        try:
            facts, page = report.make(self.config, self.night)
            front = contents.write(Path(self.config.products))
        except (ContimgError, OSError, KeyError, ValueError) as error:
            say(f"no report could be written: {type(error).__name__}: {error}")
            return
        text = report.summary(facts)
        for line in [*text, f"report: {page}", f"all products: {front}"]:
            say(line)
        message = notify.Message(status, facts["name"], "\n".join(text), facts["counts"], str(page))
        for line in notify.send(message, self.config.notify):
            say(line)
        for line in notices.send_new(Path(self.config.products), self.config.notify):
            say(line)

    def _errors(self, among: Iterable[str] | None = None) -> list[str]:
        """Say which products ended with an error: of those that the run was asked for, or of some of them."""
        from contimg.report.failures import sidecars_of

        if self.listener is not None and among is None:
            self.listener.look()
            among = self.listener.products
        found = frame.errors([Path(sidecar) for sidecar in sidecars_of(among or ())])
        for line in found:
            say(line)
        return found


def say(line: str) -> None:
    """Print one line on the terminal."""
    print(f"contimg: {line}", file=sys.stderr)


def begin(values: Mapping[str, Any], *, clone: Path, main: bool, cores: int | None) -> Run:
    """Begin a run while the Snakefile is read.

    Parameters
    ----------
    values : mapping
        Snakemake's merged configuration.
    clone : Path
        Directory of the Snakefile.
    main : bool
        True in the process the user started: it validates, searches `incoming` (through a cache) and says what
        it leaves out. False in a job of a cluster: it reads what the main process froze.
    cores : int or None
        Of the run, on this machine; None on a cluster.

    Returns
    -------
    Run

    Raises
    ------
    SystemExit
        The configuration cannot be used: one readable line has been printed.
    """
    if main:
        # The graph that follows is millions of objects, none of them garbage: looking for some costs a tenth of the
        # time of planning. A run enables the collector again when it starts.
        gc.disable()
    try:
        if main:
            config = load(values).resolved(Path.cwd())
            lack = room.lacking(config.products)
            if lack is not None or not os.access(room.there(config.products), os.W_OK):
                raise SystemFault(
                    f"products: {lack or f'{config.products}: you cannot write there'}; make room, or write another "
                    "directory"
                )
            before = retired.state(config.products)
            night = plan(config, cache=config.products / "state" / "index")
        else:
            config, night = thaw(_manifest())
            if orphans.overtaken(Path(config.products)):
                raise SystemFault("a later run of this products tree has begun; this job is none of its own")
        of_rules = settings(config)
    except ContimgError as error:
        say(f"error: {error}")
        raise SystemExit(2) from None
    threads = share(config.threads_per_job, night, Path(config.products), cores)
    run = Run(config, night, of_rules, threads)
    if main:
        run.retired_state = before
        for line in [*night.retired.said, *night.said]:
            say(line)
        for entry in night.left_out:
            say(f"left out: {entry.tile}: {entry.reason}")
        for tile in night.selected:
            for note in night.tiles[tile].notes:
                say(f"{tile}: {note}")
        say(run.headline())
        for line in advice.lines(config, night):
            say(line)
    return run


def frozen_configuration() -> dict[str, Any]:
    """The configuration of the run that a job belongs to, as plain values."""
    return thaw(_manifest())[0].model_dump(mode="json")


def _manifest() -> Path:
    if MANIFEST_VARIABLE not in os.environ:
        raise SystemFault(
            f"{MANIFEST_VARIABLE} is not set in this job: it names the frozen plan of the run; let the cluster pass "
            "the environment on to its jobs"
        )
    return Path(os.environ[MANIFEST_VARIABLE])
