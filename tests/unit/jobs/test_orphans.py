import json
import os
import subprocess
import sys

import pytest

from contimg.core import processes
from contimg.core.products import write_json
from contimg.jobs import frame, orphans

LEFT_BEHIND = (
    "import sys, subprocess; from pathlib import Path\n"
    "from contimg.jobs import orphans; from contimg.core.products import write_json\n"
    "child = subprocess.Popen(['sleep', '60'])\n"
    "write_json(Path(sys.argv[1]), {'key': 'images/t', **orphans.identity(1)})\n"
    "print(child.pid, flush=True); child.wait()\n"
)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(orphans.MANIFEST_VARIABLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def tool(tree, monkeypatch, name, script):
    """A command of SLURM, as a shell script."""
    path = tree / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


def record(tree, **changes):
    path = tree / "state/attempts/images!t/1.json"
    write_json(path, {"key": "images/t", **orphans.identity(1), **changes})
    return path


def test_a_process_that_a_dead_run_left_is_ended_with_all_it_started(tree):
    path = tree / "state/attempts/images!t/1.json"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", LEFT_BEHIND, path], env=env, stdout=subprocess.PIPE) as left:
        child = int(left.stdout.readline())
        assert orphans.take_over(tree, tree / "later.json") == [
            f"images/t: ended process {left.pid}, which an earlier run had left"
        ]
        assert left.wait(10) != 0
    assert processes.started(child) is None
    assert frame.killed() == []  # not the job's fault


def test_the_record_of_a_process_that_is_gone_stays_a_kill_even_if_its_number_lives_again(tree):
    path = record(tree, started="1")
    assert orphans.take_over(tree, tree / "later.json") == []
    assert path.exists()


def test_the_record_of_a_process_of_another_machine_is_left_alone(tree):
    record(tree, host="anothernode")
    assert orphans.take_over(tree, tree / "later.json") == []
    assert frame.killed() == ["images/t"]


def test_a_job_left_in_slurm_is_cancelled_and_waited_for(tree, monkeypatch):
    record(tree, slurm_job="7", host="node1")
    tool(tree, monkeypatch, "squeue", f"[ -e {tree}/gone ] && touch {tree}/seen || printf '6\\n7\\n'")
    tool(tree, monkeypatch, "scancel", f'echo "$@" >{tree}/gone')
    assert orphans.take_over(tree, tree / "later.json") == [
        "images/t: ended SLURM job 7, which an earlier run had left"
    ]
    assert (tree / "gone").read_text() == "7\n"
    assert (tree / "seen").exists()
    assert frame.killed() == []


def test_a_slurm_that_does_not_answer_stops_the_run(tree, monkeypatch):
    record(tree, slurm_job="7")
    tool(tree, monkeypatch, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(
        orphans.SystemFault, match="Unable to contact slurm controller: jobs 7 of an earlier run"
    ):
        orphans.take_over(tree, tree / "later.json")


def test_a_job_that_starts_when_a_later_run_has_the_tree_stops_and_leaves_no_trace(tree, monkeypatch):
    monkeypatch.setenv(orphans.MANIFEST_VARIABLE, str(tree / "mine.json"))
    orphans.take_over(tree, tree / "mine.json")
    assert not orphans.overtaken()
    orphans.take_over(tree, tree / "later.json")
    with pytest.raises(SystemExit, match="a later run of this products tree has begun"):
        frame.run("images/t", lambda: "not reached", [].append, threads=1, log="job.log", attempt=1)
    assert frame.killed() == []
    assert json.loads((tree / "state/run.json").read_text()) == {"manifest": str(tree / "later.json")}
