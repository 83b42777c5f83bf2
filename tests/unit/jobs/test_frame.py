import ast
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from contimg.core.errors import DiskFull, InputError, NamedFileError, Rejected, SystemFault
from contimg.jobs import disk, frame, orphans


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONTIMG_RUN", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def run(make, *, attempt=1, gave_up=None, disk_mb=0.0):
    rejected = []
    how = {"threads": 1, "log": "job.log", "attempt": attempt, "gave_up": gave_up, "disk_mb": disk_mb}
    frame.run("images/t", make, rejected.append, **how)
    return rejected


@dataclass
class Work:
    """A job that only says how it ended."""

    outcome: str | Exception
    rejected: list[str] = field(default_factory=list)

    def make(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def reject(self, reason):
        self.rejected.append(reason)


def rule(**resources):
    """What the engine hands to a script, as far as the end of it looks."""
    return SimpleNamespace(
        output=["ms/t.ms", "cal/t"],
        threads=1,
        log=["job.log"],
        params=SimpleNamespace(gave_up=None),
        resources=Resources(resources),
    )


class Resources(dict):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(("product", "known_as"), [(None, "ms/t.ms"), ("cal/t", "cal/t")])
def test_a_rules_job_is_known_by_its_first_output_or_by_the_one_it_names(tree, capfd, product, known_as):
    frame.run_rule(rule(attempt=1), Work("made"), product=product)
    assert capfd.readouterr().err.startswith(f"{known_as}: made, ")
    assert frame.killed() == []


def test_a_rules_job_is_given_its_attempt_and_looks_for_the_room_that_it_asks_for(tree, capfd):
    bad = Work(ValueError("no"))
    with pytest.raises(SystemExit):
        frame.run_rule(rule(attempt=frame.RETRIES), bad)
    frame.run_rule(rule(attempt=frame.RETRIES + 1), bad)
    assert bad.rejected == ["error: ValueError: no"]
    with pytest.raises(SystemExit):  # an exabyte: no disk has it
        frame.run_rule(rule(attempt=frame.RETRIES + 1, disk_mb=1e12), Work("not reached"))
    assert "make room and start the same command again" in capfd.readouterr().err


def raising(error):
    def make():
        raise error

    return make


def test_a_good_job_leaves_no_record(tree):
    assert run(lambda: "ok") == []
    assert frame.killed() == []


def test_what_a_job_prints_goes_to_its_log_and_one_line_to_the_terminal(tree, capfd):

    def make():
        print("noise from a library")
        subprocess.run(["echo", "noise from a tool"], check=True)
        return "rms 0.3 mJy"

    run(make)
    terminal = capfd.readouterr().err
    assert terminal.startswith("images/t: rms 0.3 mJy")
    assert "noise" not in terminal
    log = (tree / "job.log").read_text()
    assert "noise from a library" in log
    assert "noise from a tool" in log


def test_bad_data_reject_at_once(tree):
    assert run(raising(Rejected("all flagged"))) == ["all flagged"]


def test_an_exception_fails_the_job_until_the_last_attempt(tree, capfd):
    for attempt in (1, 2):
        with pytest.raises(SystemExit):
            run(raising(InputError("sb03 vanished")), attempt=attempt)
    assert run(raising(InputError("sb03 vanished")), attempt=3) == ["error: sb03 vanished"]
    assert "Traceback" in (tree / "job.log").read_text()
    assert "Traceback" not in capfd.readouterr().err
    assert frame.killed() == []


class Killed(BaseException):
    """A signal that nobody can catch: nothing of the orderly end runs."""


def kill(tree, monkeypatch, *, attempt=1, of_run="one"):
    """A start of the job in a run that ends by a kill -9."""
    monkeypatch.setenv(orphans.MANIFEST_VARIABLE, of_run)
    with pytest.raises(Killed):
        run(raising(Killed()), attempt=attempt)
    for path in tree.glob("state/attempts/images!t/*.json"):  # its process is gone
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "1"}))


def test_a_killed_job_is_given_up_after_its_retries(tree, monkeypatch):
    for attempt in range(1, frame.RETRIES + 2):
        assert frame.given_up("images/t") is None
        kill(tree, monkeypatch, attempt=attempt)
    assert frame.given_up("images/t") is None  # the run may have died with the last one
    frame.count_kills("one")  # it did not
    reason = frame.given_up("images/t")
    assert reason.startswith("error: its job was killed 3 times")
    assert run(lambda: "not reached", gave_up=reason) == [reason]
    assert frame.given_up("images/t") == reason
    assert frame.forget("images/t") == 3
    assert frame.given_up("images/t") is None


def test_a_kill_of_the_run_is_none_of_the_job(tree, monkeypatch):
    for number in range(5):
        kill(tree, monkeypatch, of_run=f"run {number}")
    frame.count_kills("run 9")
    assert frame.given_up("images/t") is None
    orphans.take_over(tree, tree / "next.json")
    assert frame.killed() == []


def test_a_job_that_still_works_is_not_counted_as_killed(tree, monkeypatch):
    monkeypatch.setenv(orphans.MANIFEST_VARIABLE, "one")
    with pytest.raises(Killed):
        run(raising(Killed()))  # its process, this one, lives
    frame.count_kills("one")
    assert [json.loads(path.read_text()).get("killed") for path in tree.glob("state/attempts/*/*")] == [None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_leaves_in_good_order_and_without_a_record(tree, number):
    left, before = [], {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background ignore it

    def make():
        try:
            os.kill(os.getpid(), number)
        finally:
            left.append("in good order")

    try:
        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                run(make)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert left == ["in good order"] * 4
    assert frame.killed() == []


def test_a_disk_without_room_fails_the_job_before_it_starts_and_rejects_nothing(tree, capfd, monkeypatch):
    free = shutil.disk_usage(tree).free
    monkeypatch.setenv(disk.RESERVE_VARIABLE, str(2 * free))
    with pytest.raises(SystemExit):
        run(lambda: "not reached", attempt=frame.RETRIES + 1)
    assert "disk_reserve_gb" in capfd.readouterr().err
    monkeypatch.setenv(disk.RESERVE_VARIABLE, "0")
    with pytest.raises(SystemExit):
        run(lambda: "not reached", attempt=frame.RETRIES + 1, disk_mb=2e-6 * free)
    assert frame.killed() == []
    assert run(lambda: "ok") == []


def test_a_disk_that_runs_full_under_a_job_rejects_nothing(tree, capfd):
    with pytest.raises(SystemExit):
        run(raising(OSError(errno.ENOSPC, "No space left on device")), attempt=frame.RETRIES + 1)
    assert "No space left" in capfd.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("FilebufIO: error while writing file x/table.f1: No space left on device"),
        SystemFault(
            "wsclean failed (exit status 255): Error writing to temporary file: No space left on device"
        ),
        DiskFull("the disk is full"),
    ],
)
def test_whatever_says_that_there_is_no_room_rejects_nothing(tree, error):
    with pytest.raises(SystemExit):
        run(raising(error), attempt=frame.RETRIES + 1)
    assert frame.killed() == []
    wrapped = RuntimeError("the step failed")
    wrapped.__cause__ = error
    with pytest.raises(SystemExit):
        run(raising(wrapped), attempt=frame.RETRIES + 1)


def test_the_file_system_is_asked_and_not_the_message(tree, monkeypatch, capfd):
    """An error without a word on room, while the products' file system lacks inodes: nothing is rejected."""
    state = os.statvfs(tree)
    lack = SimpleNamespace(
        f_flag=0, f_files=1000, f_favail=0, f_bavail=state.f_bavail, f_frsize=state.f_frsize
    )

    def make():
        monkeypatch.setattr("contimg.core.room.os.statvfs", lambda _: lack)
        raise RuntimeError("Error in creating TableDesc")

    with pytest.raises(SystemExit):
        run(make, attempt=frame.RETRIES + 1)
    with pytest.raises(SystemExit, match=r"no more files can be made \(inodes: 0 left of 1000\); make room"):
        run(lambda: "not reached")
    lack.f_flag = os.ST_RDONLY
    with pytest.raises(SystemExit, match="the file system is read-only"):
        run(lambda: "not reached")


def test_a_mistake_in_the_configuration_stops_the_run_and_rejects_nothing(tree, capfd, monkeypatch):
    run_of = tree / "state" / "runs" / "1.json"
    run_of.parent.mkdir(parents=True)
    monkeypatch.setattr(frame.stop, "_file", lambda run: run_of.with_suffix(".stop"))
    monkeypatch.setattr(orphans, "overtaken", lambda *_: False)

    def wrong():
        raise NamedFileError("catalog: no column flux_jy")

    for attempt in range(1, frame.RESTARTS + 1):
        with pytest.raises(SystemExit) as ended:
            run(wrong, attempt=attempt)
        assert ended.value.code
    assert "catalog: no column flux_jy" in capfd.readouterr().err
    assert frame.stop.why("1") == "catalog: no column flux_jy"
    with pytest.raises(
        SystemExit, match="not tried: catalog: no column flux_jy"
    ):  # another product of the run
        run(lambda: "made")
    assert frame.killed() == []
    assert not list(tree.glob("images/**/*"))


def test_a_product_that_cannot_even_be_rejected_fails_in_a_line(tree, capfd):
    def reject(_):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(SystemExit):
        frame.run("images/t", raising(Rejected("bad")), reject, threads=1, log="job.log", attempt=3)
    assert "failed (attempt 3 of 3): OSError" in capfd.readouterr().err
    assert frame.killed() == []


def test_what_was_always_killed_is_rejected_by_one_more_start(tree, monkeypatch):
    for attempt in range(1, frame.RESTARTS + 1):
        kill(tree, monkeypatch, attempt=attempt)
    (reason,) = run(lambda: "not reached", attempt=frame.RESTARTS + 1)
    assert reason.startswith("error: its job was killed 3 times")
    assert frame.killed() == ["images/t"]  # until `contimg retry`


def test_one_more_start_tries_again_what_was_not_always_killed(tree):
    assert run(lambda: "ok", attempt=frame.RESTARTS + 1) == []
    assert run(raising(InputError("sb03 vanished")), attempt=frame.RESTARTS + 1) == ["error: sb03 vanished"]


def test_a_job_that_is_told_to_end_leaves_in_good_order(tree):
    left = []

    def make():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            left.append("in good order")

    with pytest.raises(SystemExit):
        run(make)
    assert left == ["in good order"]
    assert frame.killed() == ["images/t"]


def test_no_script_has_loaded_what_reads_its_threads_before_they_are_set():
    """Of numpy's BLAS Snakemake takes care, before the script starts; numba and ducc0 are told by the job."""
    scripts = sorted((Path(__file__).parents[3] / "scripts").glob("*_*.py"))
    heads = [
        ast.unparse(line)
        for script in scripts
        for line in ast.parse(script.read_text()).body
        if isinstance(line, ast.Import | ast.ImportFrom)
    ]
    code = [*heads, "import sys", "print({'numba', 'ducc0', 'casatools', 'aoflagger'} & {*sys.modules})"]
    env = {**os.environ, "PYTHONPATH": str(scripts[0].parent)}
    call = [sys.executable, "-c", "\n".join(code)]
    assert subprocess.run(call, env=env, capture_output=True, text=True, check=True).stdout == "set()\n"
