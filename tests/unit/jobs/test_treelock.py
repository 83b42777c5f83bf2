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
