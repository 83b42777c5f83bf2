"""CASA comes in through one door: late, quiet, with its log where it was told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contimg.core import casa
from contimg.core.errors import SystemFault

SCRIPTS = Path(__file__).parents[3] / "scripts"

# One interpreter of its own: the import is the thing that is tested, and it can happen only once in a
# process.
PROGRAM = """
import sys
import contimg.calibrate.transit, contimg.gains.apply, contimg.gains.tables, contimg.core.casa
assert "casatasks" not in sys.modules, "CASA came in before anything asked for it"
print("before")
tasks = contimg.core.casa.casatasks(threads=1, logfile="logs/one.log")
from casatools import measures
import os
assert os.environ["OMP_NUM_THREADS"] == "1"
tasks.casalog_probe = None
contimg.core.casa.casatasks(threads=1, logfile="logs/two.log")
try:
    tasks.listobs(vis="nothing.ms")
except Exception as exc:
    print("refused", type(exc).__name__)
print("arguments", sys.argv[1:])
"""


def test_casa_is_imported_late_writes_one_log_and_leaves_terminal_and_directory_alone(tmp_path):
    (tmp_path / "logs").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "7"}
    arguments = ["--configfile", "night.yaml", "--config", "start=2025-10-28", "--logfile", "mine.log"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["before", "refused AssertionError", f"arguments {arguments}"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["logs", "one.log", "two.log"]
    assert "CASA Version" in (tmp_path / "logs" / "one.log").read_text()


def test_a_log_that_cannot_be_written_is_a_fault_of_the_system(tmp_path):
    with pytest.raises(SystemFault, match=r"absent/casa.log: cannot write CASA's log \(No such file"):
        casa.casatasks(threads=1, logfile=tmp_path / "absent" / "casa.log")
