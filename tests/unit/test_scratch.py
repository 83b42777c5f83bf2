import os
import socket
import subprocess
import sys

import pytest

from contimg.errors import SystemFault
from contimg.scratch import clear_dead, working_folder


def test_the_folder_is_empty_after_success_and_failure(tmp_path):
    with working_folder(tmp_path) as folder:
        (folder / "data").write_text("x")
    with pytest.raises(ValueError, match="boom"), working_folder(tmp_path) as folder:
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_the_next_job_clears_what_a_killed_one_left_and_only_that(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from contimg.scratch import working_folder\n"
        "with working_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'data').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    (tmp_path / "somebody else's").mkdir()
    elsewhere = tmp_path / "contimg.anothernode.1.1.x"
    elsewhere.mkdir()
    with working_folder(tmp_path) as alive:
        assert clear_dead(tmp_path) == []
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == sorted([elsewhere.name, alive.name, "somebody else's"])
        assert socket.gethostname() in alive.name


def test_too_little_space_is_said(tmp_path):
    with pytest.raises(SystemFault, match="GB free"), working_folder(tmp_path, need_bytes=10**18):
        pass
