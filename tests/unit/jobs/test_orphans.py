import errno
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


def test_what_died_with_its_run_counts_for_nothing_even_if_its_number_lives_again(tree):
    gone, counted = record(tree, started="1"), tree / "state/attempts/images!t/2.json"
    write_json(counted, {"key": "images/t", **orphans.identity(1), "started": "1", "killed": True})
    assert orphans.take_over(tree, tree / "later.json") == []
    assert not gone.exists()
    assert counted.exists()


def test_a_process_of_an_earlier_boot_is_another_one(tree):
    with subprocess.Popen(["sleep", "60"]) as other:
        path = record(tree, pid=other.pid, started=processes.started(other.pid), boot="another")
        assert orphans.take_over(tree, tree / "later.json") == []
        assert other.poll() is None
        other.kill()
    assert not path.exists()


def test_a_process_of_another_machine_is_told_and_its_record_stays(tree):
    path = record(tree, host="anothernode", pid=77)
    (line,) = orphans.take_over(tree, tree / "later.json")
    assert "process 77 of an earlier run was at work on anothernode, which cannot be seen from here" in line
    assert path.exists()


@pytest.mark.parametrize(
    "text", ["", '{"key": "ima', "[]", '{"key": "images/t"}', '{"key": "images/t", "pid": -1}', '{"pid": 0}']
)
def test_a_record_that_cannot_be_read_ends_in_a_line(tree, text):
    path = record(tree)
    path.write_text(text)
    (line,) = orphans.take_over(tree, tree / "later.json")
    assert "cannot be read; it was removed and counts for nothing" in line
    assert not path.exists()


def test_the_allocation_that_a_run_stands_in_is_never_ended(tree, monkeypatch):
    """An interactive allocation: every process in it, the next run too, has its number."""
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    orphans.enter_allocation()
    assert orphans.identity(1)["slurm_job"] is None
    tool(tree, monkeypatch, "squeue", "echo 4711 interactive")
    tool(tree, monkeypatch, "scancel", f'echo "$@" >{tree}/gone')
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    path = tree / "state/attempts/images!t/1.json"
    with subprocess.Popen([sys.executable, "-c", LEFT_BEHIND, path], env=env, stdout=subprocess.PIPE) as left:
        left.stdout.readline()
        # an older version's record names the allocation
        write_json(path, {**json.loads(path.read_text()), "slurm_job": "4711"})
        (line,) = orphans.take_over(tree, tree / "later.json")
        assert f"ended process {left.pid}" in line
    assert not (tree / "gone").exists()
    monkeypatch.setenv("SLURM_JOB_ID", "4712")  # a job that the run submitted
    assert orphans.identity(1)["slurm_job"] == "4712"


def test_a_job_is_called_what_the_queue_calls_it_not_what_its_step_is_called(tree, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4712")
    monkeypatch.setenv("SLURM_JOB_NAME", "python")  # srun calls a step after its program
    monkeypatch.delenv("CONTIMG_ALLOCATION", raising=False)
    tool(tree, monkeypatch, "squeue", "echo a1b2-c3")
    assert orphans.identity(1)["slurm_name"] == "a1b2-c3"
    tool(tree, monkeypatch, "squeue", "echo no answer >&2; exit 1")
    assert orphans.identity(1)["slurm_name"] is None


def test_a_slurm_number_that_is_another_job_by_now_is_left_alone(tree, monkeypatch):
    path = record(tree, slurm_job="7", slurm_name="a1b2-c3")
    tool(tree, monkeypatch, "squeue", "echo '7 somebody elses'")
    tool(tree, monkeypatch, "scancel", f'echo "$@" >{tree}/gone')
    assert orphans.take_over(tree, tree / "later.json") == []
    assert not (tree / "gone").exists()
    assert not path.exists()


def test_a_job_that_cannot_be_cancelled_stops_the_run_and_keeps_its_record(tree, monkeypatch):
    path = record(tree, slurm_job="7", slurm_name="a1b2-c3")
    tool(tree, monkeypatch, "squeue", "echo '7 a1b2-c3'")
    tool(tree, monkeypatch, "scancel", "echo 'Access/permission denied' >&2; exit 1")
    with pytest.raises(orphans.SystemFault, match=r"jobs 7 .* cannot be ended \(Access/permission denied\)"):
        orphans.take_over(tree, tree / "later.json")
    assert path.exists()


def test_a_process_of_another_user_stops_the_run_and_keeps_its_record(tree, monkeypatch):
    def not_ours(*_):
        raise PermissionError

    with subprocess.Popen(["sleep", "60"]) as other:
        path = record(tree, pid=other.pid, started=processes.started(other.pid))
        with monkeypatch.context() as patch:
            patch.setattr("contimg.core.processes.os.kill", not_ours)
            with pytest.raises(orphans.SystemFault, match=f"process {other.pid} .* is another user's"):
                orphans.take_over(tree, tree / "later.json")
        other.kill()
    assert path.exists()


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


def test_a_record_that_one_may_not_read_stops_the_run_and_stays(tree, monkeypatch):
    path = record(tree)

    def not_ours(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_text", not_ours)
        with pytest.raises(
            orphans.SystemFault, match=r"1.json: the record .* cannot be read \(Permission denied\)"
        ):
            orphans.take_over(tree, tree / "later.json")
    assert path.exists()
