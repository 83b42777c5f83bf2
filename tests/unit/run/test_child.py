import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contimg.core import processes
from contimg.run import child

RUN = (
    "import sys; from pathlib import Path; from contimg.run import child\n"
    "try:\n"
    "    print(child.run_to_end([sys.executable, '-c', sys.argv[1]], Path('/')))\n"
    "except child.Ended as ended:\n"
    "    sys.exit(128 + ended.number)\n"
)
# What a run is to us: it starts a job, notes an interrupt, and takes its time to end.
PATIENT = (
    "import subprocess, sys, time\n"
    "code = 'import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(60)'\n"
    "job = subprocess.Popen([sys.executable, '-c', code])\n"
    "print(job.pid, file=sys.stderr, flush=True)\n"
    "try:\n    time.sleep(60)\n"
    "except KeyboardInterrupt:\n    time.sleep({patience})\n"
)


@pytest.fixture
def started():
    """Start a patient run; gives the process that waits for it and the number of its job."""
    running = []

    def start(patience):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        call = [sys.executable, "-c", RUN, PATIENT.format(patience=patience)]
        one = subprocess.Popen(call, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(one)
        job = int(one.stderr.readline())
        time.sleep(0.2)
        return one, job

    yield start
    for one in running:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_leaves_nothing_running(started, number):
    one, job = started(0.1)
    one.send_signal(number)
    assert one.wait(20) == 128 + number
    assert processes.started(job) is None


def test_a_second_signal_does_not_wait(started):
    one, job = started(60)
    one.send_signal(signal.SIGINT)
    time.sleep(0.2)
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 128 + signal.SIGINT
    assert processes.started(job) is None


def test_the_exit_status_is_the_runs_and_what_it_left_is_ended():
    code = "import subprocess, sys; subprocess.Popen(['sleep', '61.5']); sys.exit(7)"
    assert child.run_to_end([sys.executable, "-c", code], Path("/")) == 7
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 61.5" not in left


def test_a_signal_while_nothing_runs_is_an_exception():
    with child.signals_raise(), pytest.raises(child.Ended, match="SIGHUP"):
        os.kill(os.getpid(), signal.SIGHUP)
