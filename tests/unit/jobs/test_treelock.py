import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from contimg.core.errors import SystemFault
from contimg.jobs import treelock


def test_a_second_run_is_told_who_holds_the_tree_and_a_killed_one_holds_nothing(tmp_path):
    lock = tmp_path / "state" / "lock"
    code = (
        "import sys, time; from pathlib import Path; from contimg.jobs import treelock\n"
        "treelock.hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], env=env, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SystemFault, match=f"another run writes this products tree .pid {other.pid} on"):
            treelock.hold(lock)
        other.send_signal(signal.SIGKILL)
        other.wait()
    time.sleep(0.05)
    treelock.hold(lock)
    assert f"pid {os.getpid()}" in lock.read_text()
    treelock.release()


def test_a_lock_file_that_is_removed_lets_no_second_run_in(tmp_path):
    lock = tmp_path / "state" / "lock"
    with treelock.held(lock):
        assert treelock.holder(lock).startswith(f"pid {os.getpid()} on")
        lock.unlink()
        assert "removed" in treelock.holder(lock)
        with pytest.raises(
            SystemFault, match=r"another run writes this products tree .*its lock file was removed"
        ):
            treelock.hold(lock)
    assert treelock.holder(lock) is None
    with treelock.held(lock):
        pass


def test_who_only_looks_keeps_nobody_from_starting(tmp_path):
    """As many looks as the machine can do beside 50 starts: a start is refused for what stays, not for a moment."""
    lock = tmp_path / "state" / "lock"
    with treelock.held(lock):
        pass
    code = (
        "import sys; from pathlib import Path; from contimg.jobs import treelock\n"
        "print('looking', flush=True)\n"
        "while True: treelock.holder(Path(sys.argv[1]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], env=env, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        started = 0
        for _ in range(50):
            with treelock.held(lock):
                started += 1
        assert other.poll() is None  # it looked all the time
        other.kill()
    assert started == 50


def test_a_file_system_without_locks_or_a_tree_that_is_read_only_is_said_in_a_line(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("contimg.jobs.treelock.fcntl.flock", no_locks)
        with pytest.raises(SystemFault, match=r"no locks \(No locks available\).*mount it with flock"):
            treelock.hold(tmp_path / "state" / "lock")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemFault, match="cannot be written"):
        treelock.hold(tmp_path / "file" / "state" / "lock")
