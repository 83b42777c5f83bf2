"""The frame of every job: log, threads, attempts, and what becomes of an error.

Bad data are a result: `Rejected` makes a rejected product at once. Any other exception fails the job, which
Snakemake starts again; on the last attempt the product is rejected with ``error: …``, so that the rest of
the night comes out, and the end of the run reports it as an error. A mistake in the configuration is no fault of any
product: the run stops (`contimg.jobs.stop`). A job that is killed can say nothing, so
each start leaves a record that only an orderly end removes. It counts as a kill if the run outlived the job: another
start in the same run proves it, or the run's own end. A product with too many kills is given up, by the next run or
by one more start in the same.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contimg.core import room
from contimg.core import threads as thread_limits
from contimg.core.errors import ConfigError, ContimgError, InputError, Rejected
from contimg.core.products import read_json, write_json
from contimg.jobs import disk, orphans, stop

RETRIES = 2
RESTARTS = RETRIES + 1
"""What rules ask of Snakemake: the last start rejects what was always killed, so that its mosaics come out."""
ERROR_PREFIX = "error: "
_RECORDS = Path("state/attempts")
Make = Callable[[], str]
Reject = Callable[[str], None]


class Job(Protocol):
    """What a rule's script hands over: the work of a stage on one product."""

    def make(self) -> str:
        """Make the product; returns one line that says what came out. Raises `Rejected` for bad data."""

    def reject(self, reason: str) -> None:
        """Make the rejected product."""


def _records(key: str, tree: Path = Path()) -> Path:
    return tree / _RECORDS / key.replace("/", "!")


def given_up(key: str, tree: Path = Path()) -> str | None:
    """Why a product of a tree is not tried again: its job was killed more than `RETRIES` times. None: it is tried."""
    kills = sum(bool(record.get("killed")) for record in _read(_records(key, tree)).values())
    if kills <= RETRIES:
        return None
    return (
        f"{ERROR_PREFIX}its job was killed {kills} times (memory, wall time or a lost node?); give it more, "
        f"then `contimg retry --products {shlex.quote(str(tree.absolute()))} {shlex.quote(key)}`"
    )


def _read(folder: Path) -> dict[Path, dict[str, Any]]:
    """Records of a folder; one that cannot be read counts for nothing, and the next run says so."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            found[path] = record
    return found


def count_kills(run: str | None, tree: Path = Path(), key: str | None = None) -> None:
    """Count what a run has left of jobs that ended under it, of one product or of all.

    It is called by what proves that the run outlived them: another start of the same product, or the run's end.
    """
    folders = [_records(key, tree)] if key is not None else sorted((tree / _RECORDS).glob("*"))
    for folder in folders:
        for path, record in _read(folder).items():
            if record.get("run") == run and not record.get("killed") and orphans.lives(record) is not True:
                write_json(path, {**record, "killed": True})


def killed(tree: Path = Path()) -> list[str]:
    """Keys of the products of a tree that have failure records."""
    folder = tree / _RECORDS
    if not folder.is_dir():
        return []
    return sorted(entry.name.replace("!", "/") for entry in folder.iterdir() if any(entry.iterdir()))


def forget(key: str, tree: Path = Path()) -> int:
    """Clear the failure records of a product of a tree; returns how many there were."""
    records = list(_records(key, tree).glob("*.json"))
    for record in records:
        record.unlink(missing_ok=True)
    return len(records)


@contextmanager
def _only_in_log(log: Path) -> Iterator[int]:
    """Send what this process and its children print to the log; yields a descriptor of the old stderr."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with log.open("a", buffering=1) as sink, redirect_stdout(sink), redirect_stderr(sink):
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield saved[1]
    finally:
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _interrupt(*_: object) -> None:
    """Leave in good order when the run is interrupted, or its terminal has gone: no fault of the job."""
    raise KeyboardInterrupt


def _end(*_: object) -> None:
    """Leave in good order, scratch removed, when SLURM announces that it will kill (wall time, scancel)."""
    raise SystemExit(128 + signal.SIGTERM)


def run_rule(rule: Any, job: Job, *, product: str | None = None) -> None:
    """Run the job of a rule's script: how every such script ends.

    Parameters
    ----------
    rule : snakemake.script.Snakemake
        What the engine hands to the script.
    job : Job
        The work.
    product : str, optional
        The output that the job is known by, which its rule's `gave_up` names too; by default the first.
    """
    run(
        rule.output[0] if product is None else product,
        job.make,
        job.reject,
        threads=rule.threads,
        log=rule.log[0],
        attempt=rule.resources.attempt,
        gave_up=rule.params.gave_up,
        disk_mb=rule.resources.get("disk_mb", 0.0),
    )


def run(
    key: str,
    make: Make,
    reject: Reject,
    *,
    threads: int,
    log: str,
    attempt: int,
    gave_up: str | None = None,
    disk_mb: float = 0.0,
) -> None:
    """Run one job to its product, its rejection or its failure.

    Parameters
    ----------
    key : str
        Path of the product, relative to the products tree (the working directory).
    make : callable
        Makes the product; returns one line that says what came out. Raises `Rejected` for bad data.
    reject : callable
        Makes the rejected product from a reason.
    threads : int
        Threads that this job may keep busy.
    log : str
        Path of the log file; everything printed goes there, and one line to the terminal.
    attempt : int
        1 for the first start of this job in a run; beyond `RESTARTS` it is given up if it was always killed.
    gave_up : str, optional
        From `given_up`: the product is rejected with it at once.
    disk_mb : float
        Most that the product takes. Without that much room beside the run's reserve the job fails at once,
        on every attempt: a full disk rejects nothing.

    Raises
    ------
    SystemExit
        The job failed; the reason is on the terminal and, with its traceback, in the log.
    """
    thread_limits.limit(threads)
    signal.signal(signal.SIGTERM, _end)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _interrupt)
    began = time.monotonic()
    lack = room.lacking(Path())
    if lack is not None:
        raise SystemExit(
            f"{key}: failed (attempt {attempt}): {lack}; make room and start the same command again"
        )
    stopped = stop.why(os.environ.get(orphans.MANIFEST_VARIABLE))
    if stopped is not None:
        raise SystemExit(f"{key}: not tried: {stopped}")
    count_kills(os.environ.get(orphans.MANIFEST_VARIABLE), key=key)
    if gave_up is None and attempt > RESTARTS:
        gave_up = given_up(key)
    record = _records(key) / f"{time.time_ns()}.{os.getpid()}.json"
    write_json(record, {"key": key, **orphans.identity(attempt)})
    if orphans.overtaken():
        record.unlink()
        raise SystemExit(f"{key}: a later run of this products tree has begun; this job is none of its own")
    ended = _Ended(attempt)
    with _only_in_log(Path(log)) as terminal:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", force=True)
        try:
            if gave_up is not None:
                raise Rejected(gave_up)
            disk.check(1e6 * disk_mb)
            ended.line = f"{make()}, {time.monotonic() - began:.0f} s"
        except Rejected as verdict:
            ended.rejected(str(verdict), reject, log)
        except KeyboardInterrupt:
            record.unlink(missing_ok=True)
            raise
        except Exception as error:  # noqa: BLE001  whatever it was, it is told, logged and counted
            ended.raised(error, reject, log)
        logging.getLogger(__name__).info("%s: %s", key, ended.line)
        os.write(terminal, f"{key}: {ended.line}\n".encode())
    if not ended.failed and gave_up is None:
        forget(key)
    else:
        record.unlink(missing_ok=True)
    if ended.failed:
        raise SystemExit(1)


@dataclass
class _Ended:
    """How a job ended: the line on it, and whether it failed."""

    attempt: int
    line: str = ""
    failed: bool = False

    def rejected(self, reason: str, reject: Reject, log: str) -> None:
        """Leave the rejected product."""
        try:
            reject(reason)
            self.line = f"rejected: {reason}"
        except Exception as error:  # noqa: BLE001  as below
            self._fail(error, log)

    def raised(self, error: Exception, reject: Reject, log: str) -> None:
        """Fail, to be tried again; or reject on the last attempt, but not for want of room or for a wrong setting."""
        self._fail(error, log)
        if isinstance(error, ConfigError):
            stop.ask(os.environ.get(orphans.MANIFEST_VARIABLE), str(error))
            return
        if self.attempt <= RETRIES or _for_want_of_room(error):
            return
        line, self.failed = self.line, False
        self.rejected(ERROR_PREFIX + _words(error), reject, log)
        if not self.failed:
            self.line = line

    def _fail(self, error: Exception, log: str) -> None:
        traceback.print_exception(error)
        self.failed = True
        self.line = (
            f"failed (attempt {self.attempt} of {max(self.attempt, RETRIES + 1)}): {_words(error)}; see {log}"
        )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ContimgError) else f"{type(error).__name__}: {error}"


def _for_want_of_room(error: Exception) -> bool:
    """Whether there was no room, or is none: such a failure rejects nothing, and the same command goes on."""
    places = [Path(), *([Path(os.environ["TMPDIR"])] if "TMPDIR" in os.environ else [])]
    return room.was_full(error) or any(room.lacking(place) is not None for place in places)


def errors(sidecars: list[Path]) -> list[str]:
    """Lines on the products of a run that were rejected for an error rather than for their data."""
    lines = []
    for sidecar in sidecars:
        if not sidecar.is_file():
            continue
        try:
            reason = read_json(sidecar)["reason"]
        except (InputError, LookupError, TypeError) as error:
            reason = f"{ERROR_PREFIX}its record cannot be read ({error})"
        if reason and str(reason).startswith(ERROR_PREFIX):
            lines.append(f"{sidecar.parent if sidecar.name == 'status.json' else sidecar}: {reason}")
    return lines
