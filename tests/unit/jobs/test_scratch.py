import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contimg.core.errors import DiskFull, SystemFault
from contimg.jobs import scratch
from contimg.jobs.scratch import Scratch, clear_dead, in_memory, staging, working_folder

TOO_MUCH = 10**18


def test_the_folder_is_empty_after_success_and_failure(tmp_path):
    with working_folder(tmp_path) as folder:
        (folder / "data").write_text("x")
    with pytest.raises(ValueError, match="boom"), working_folder(tmp_path) as folder:
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_the_next_job_clears_what_a_killed_one_left_and_only_that(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from contimg.jobs.scratch import working_folder\n"
        "with working_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'data').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    (tmp_path / "somebody else's").mkdir()
    elsewhere = tmp_path / "contimg-job.anothernode.1.x"
    elsewhere.mkdir()
    with working_folder(tmp_path) as alive:
        assert clear_dead(tmp_path) == []
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == sorted([elsewhere.name, alive.name, "somebody else's"])
        assert socket.gethostname() in alive.name


def test_too_little_space_is_said(tmp_path):
    with pytest.raises(SystemFault, match="GB free"), working_folder(tmp_path, need_bytes=TOO_MUCH):
        pass


def test_a_full_scratch_is_told_and_the_disk_serves(tmp_path, caplog):
    full = Scratch(tmp_path / "fast", tmp_path / "disk", "disk", need_bytes=TOO_MUCH)
    with caplog.at_level(logging.WARNING), staging(full) as fast:
        assert fast is None
    assert "free (without what other jobs have reserved): working on disk instead" in caplog.text
    roomy = Scratch(None, tmp_path / "disk", "disk", need_bytes=1)
    with roomy.working_folder() as folder:
        assert folder.parent == tmp_path / "disk"


def test_what_other_jobs_have_reserved_and_not_filled_is_not_free(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with working_folder(tmp_path, need_bytes=int(0.6 * free)) as first:
        with (
            pytest.raises(SystemFault, match="working space expected"),
            working_folder(tmp_path, int(0.6 * free)),
        ):
            pass
        # what is filled already is no longer free by itself
        (first / "data").write_bytes(bytes(1 << 20))
        with working_folder(tmp_path, need_bytes=int(0.3 * free)):
            pass
    with working_folder(tmp_path, need_bytes=int(0.6 * free)):
        pass


def test_a_job_that_is_to_wait_gets_the_room_of_the_one_that_ends(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(scratch, "_LOOK_AGAIN_S", 0.01)
    need = int(0.6 * shutil.disk_usage(tmp_path).free)
    waiting = Scratch(tmp_path, tmp_path / "disk", "wait", need_bytes=need)
    got = []

    def wait():
        with staging(waiting) as folder:
            got.append(folder)

    with caplog.at_level(logging.WARNING):
        with working_folder(tmp_path, need):
            job = threading.Thread(target=wait)
            job.start()
            while "waiting for other jobs to end" not in caplog.text:
                pass
            assert got == []
        job.join(10)
    assert got[0].parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_to_wait_for_more_than_there_ever_is_fails_at_once(tmp_path):
    hopeless = Scratch(tmp_path, tmp_path, "wait", need_bytes=TOO_MUCH)
    with pytest.raises(SystemFault, match="and never more"), staging(hopeless):
        pass


def test_memory_is_told_from_a_disk_also_below_folders_that_are_not_there_yet():
    assert in_memory(Path("/dev/shm/contimg/not/yet"))
    assert in_memory(Path("/dev/shm"))
    assert not in_memory(Path("/proc"))


def test_the_folder_is_gone_after_a_job_was_told_to_end(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from contimg.jobs import frame; from contimg.jobs.scratch import working_folder\n"
        "def make():\n"
        "    with working_folder(Path(sys.argv[1])) as folder:\n"
        "        (folder / 'data').write_text('x'); os.kill(os.getpid(), signal.SIGTERM)\n"
        "frame.run('images/t', make, print, threads=1, log='job.log', attempt=1)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "tree").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "scratch")], cwd=tmp_path / "tree", env=env, check=False
    )
    assert ended.returncode == 128 + signal.SIGTERM
    assert list((tmp_path / "scratch").iterdir()) == []


IN_A_CONTAINER = (
    "import sys; from pathlib import Path; from contimg.jobs.scratch import working_folder\n"
    "with working_folder(Path(sys.argv[1]), 1000) as folder:\n"
    "    (folder / 'tile.ms').write_text('data'); print(folder, flush=True); sys.stdin.read()\n"
    "    print((folder / 'tile.ms').is_file())\n"
)


def test_a_living_job_is_told_by_its_lock_and_not_by_a_process_number(tmp_path, monkeypatch):
    """In another container of this host its number is unknown here, or is somebody else's."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-c", IN_A_CONTAINER, str(tmp_path)]
    with subprocess.Popen(call, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        folder = Path(other.stdout.readline().strip())
        assert clear_dead(tmp_path) == []
        with working_folder(tmp_path):
            pass
        assert other.communicate("go on")[0] == "True\n"
    folder.mkdir()
    assert clear_dead(tmp_path) == [folder]


def test_folders_of_like_names_and_absurd_reservations_stop_nothing(tmp_path):
    host = socket.gethostname()
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in (f"contimg-job.{host}.notes.a.b.c", f"contimg-job.{host}.1", "contimg-job."):
        (tmp_path / name).mkdir()
    (tmp_path / f"contimg-job.{host}.0.x").symlink_to(precious)
    (tmp_path / f"contimg-job.{host}.5.file").write_text("no folder")
    held = tmp_path / f"contimg-job.{host}.{10**15}.y"
    held.mkdir()
    lock = os.open(held, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # a living process reserves a petabyte
    before = sorted(tmp_path.iterdir())
    with working_folder(tmp_path, 1000):
        pass
    os.close(lock)
    assert sorted(tmp_path.iterdir()) == before


def test_nobody_who_locks_the_directory_is_waited_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(scratch, "_LONGEST_S", 0.05)
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with caplog.at_level(logging.WARNING), working_folder(tmp_path) as folder:
        assert folder.is_dir()
    os.close(lock)
    assert "somebody keeps it locked" in caplog.text


def test_a_step_that_fails_for_want_of_room_says_so_whatever_its_own_words(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="FilebufIO"), working_folder(tmp_path):
        raise RuntimeError("FilebufIO error")
    monkeypatch.setattr("contimg.core.room.lacking", lambda place: f"{place}: the disk is full (0.0 MB left)")
    with pytest.raises(DiskFull, match="the disk is full"), working_folder(tmp_path):
        raise RuntimeError("FilebufIO error")
    assert list(tmp_path.iterdir()) == []
