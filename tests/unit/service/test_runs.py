"""Batches as they run: items by their products, failures alone, cancelled groups, and every way to die."""

import json
import os
import signal

import pytest

from builders import service_trees as trees
from contimg.api.bodies import ImageBody
from contimg.service import process
from contimg.service.scheduler import Scheduler
from contimg.service.store import Store
from contimg.service.submit import Submitter


class Desk:
    """A job list and its scheduler, as one server would have them."""

    def __init__(self, settings):
        self.settings = settings
        self.store = Store(settings.state / "jobs.sqlite3")
        self.scheduler = Scheduler(settings, self.store)
        self.submitter = Submitter(settings, self.store, self.scheduler)

    def submit(self, *tiles, **parameters):
        body = ImageBody(ms_paths=trees.paths(*tiles), parameters=parameters)
        return self.submitter.submit("image", body, by="test")

    def wait(self, number, seconds=60.0):
        return trees.until(lambda: trees.ended(self.store, number), seconds, self.scheduler)

    def leader(self, number, run=1):
        return trees.until(
            lambda: trees.run_record(self.settings, number, "process", run), scheduler=self.scheduler
        )

    def busy(self, number, tile):
        """Wait until the job of a tile is at work."""
        trees.until(lambda: trees.tile(tile) in trees.starts(self.settings), scheduler=self.scheduler)
        return self.leader(number)


@pytest.fixture
def settings(tmp_path):
    return trees.make(tmp_path, tiles=3, min_subbands=1)


@pytest.fixture
def under_snakemake(tmp_path):
    return trees.make(tmp_path, tiles=3, min_subbands=1, snakemake=True)


def items(batch):
    return {item.name.rpartition("/")[2].removesuffix(".ms"): item for item in batch.items}


def test_one_item_failing_never_stops_the_others_and_each_says_why(under_snakemake):
    trees.behave(under_snakemake.config.incoming, t1="reject", t2="fail")
    desk = Desk(under_snakemake)
    body = ImageBody(
        ms_paths=[*trees.paths(0, 1, 2), "ms/science/2025-11-01/2025-11-01T00:00:00.ms", "../x.ms"]
    )
    told = desk.submitter.submit("image", body, by="test")
    batch = desk.wait(told.id)
    assert batch.status == "partial"
    found = items(batch)
    assert [item.status for item in batch.items] == ["done", "failed", "failed", "failed", "failed"]
    assert found[trees.tile(0)].products == [f"images/2025-10-30/{trees.tile(0)}"]
    assert found[trees.tile(1)].error == "everything is flagged"
    assert found[trees.tile(1)].lines == ["rejected: everything is flagged"]
    assert "RuntimeError: the imager broke" in found[trees.tile(2)].lines
    assert "no complete tile of that name" in found["2025-11-01T00:00:00"].error
    assert "outside" in found["x"].error
    assert all(item.ended for item in batch.items)


def test_changed_parameters_get_a_branch_and_the_night_is_not_touched(settings):
    desk = Desk(settings)
    plain = desk.wait(desk.submit(0).id)
    before = (settings.products / plain.items[0].products[0] / "status.json").stat()
    changed = desk.wait(desk.submit(0, robust=0.25).id)
    again = desk.wait(desk.submit(1, robust=0.25).id)
    as_configured = desk.wait(desk.submit(1, robust=None).id)
    assert (changed.branch, again.branch, as_configured.branch) == (changed.id, changed.id, None)
    assert (settings.tree(changed.branch) / plain.items[0].products[0] / "status.json").is_file()
    after = (settings.products / plain.items[0].products[0] / "status.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    configured = json.loads((settings.folder(changed.id) / "config.1.json").read_text())
    assert configured["imaging"]["robust"] == 0.25


def test_cancel_ends_the_whole_group(under_snakemake):
    trees.behave(under_snakemake.config.incoming, t0=300)
    desk = Desk(under_snakemake)
    told = desk.submit(0, 1)
    who = desk.busy(told.id, 0)
    group = process.members(who)
    assert len(group) >= 3  # ours, Snakemake, the job
    assert desk.store.cancel(told.id)
    assert not desk.store.cancel(told.id)
    batch = desk.wait(told.id, 30)
    assert batch.status == "cancelled"
    trees.until(lambda: all(trees.gone(pid) for pid in group), 10)
    assert items(batch)[trees.tile(0)].status == "cancelled"


def test_what_waits_is_cancelled_at_once(settings):
    desk = Desk(settings)
    told = desk.submit(0)
    assert desk.store.cancel(told.id)
    assert desk.store.get(told.id).status == "cancelled"
    assert not (settings.folder(told.id)).exists()


def test_a_killed_run_is_resumed_and_what_was_done_is_kept(under_snakemake):
    trees.behave(under_snakemake.config.incoming, t1=300)
    desk = Desk(under_snakemake)
    told = desk.submit(0, 1)
    desk.busy(told.id, 1)
    trees.until(lambda: items(desk.store.get(told.id))[trees.tile(0)].status == "done", 30, desk.scheduler)
    who = desk.leader(told.id)
    os.killpg(who["pid"], signal.SIGKILL)
    trees.behave(under_snakemake.config.incoming)
    batch = desk.wait(told.id)
    assert batch.status == "done"
    assert (batch.attempt, batch.killed) == (2, 1)
    assert trees.starts(under_snakemake).count(trees.tile(0)) == 1


def test_a_run_that_is_always_killed_ends_as_failed(tmp_path):
    settings = trees.make(tmp_path, tiles=1, min_subbands=1, service={"max_restarts": 1})
    trees.behave(settings.config.incoming, t0=300)
    desk = Desk(settings)
    told = desk.submit(0)
    for run in (1, 2):
        os.killpg(desk.leader(told.id, run)["pid"], signal.SIGKILL)
    batch = desk.wait(told.id)
    assert batch.status == "failed"
    assert "killed 2 times" in batch.items[0].error


def test_when_snakemake_alone_is_killed_the_run_says_so_and_is_resumed(settings):
    trees.behave(settings.config.incoming, t0=300)
    desk = Desk(settings)
    told = desk.submit(0)
    who = desk.busy(told.id, 0)
    for pid in process.members(who):
        if pid != who["pid"]:
            os.kill(pid, signal.SIGKILL)
    trees.until(lambda: trees.run_record(settings, told.id, "exit"), 10)
    assert trees.run_record(settings, told.id, "exit")["returncode"] == -signal.SIGKILL
    trees.behave(settings.config.incoming)
    assert desk.wait(told.id).status == "done"


def test_a_service_that_dies_leaves_its_run_alone_and_the_next_one_finds_it(settings):
    trees.behave(settings.config.incoming, t0=4)
    first = Desk(settings)
    told = first.submit(0)
    first.busy(told.id, 0)
    first.store.close()  # what kill -9 of a server leaves: a job list, and a run that goes on
    second = Desk(settings)
    second.scheduler.recover()
    assert second.store.get(told.id).status == "running"
    batch = second.wait(told.id)
    assert batch.status == "done"
    assert batch.attempt == 1
    assert trees.starts(settings) == [trees.tile(0)]


def test_a_run_that_ended_while_no_service_lived_is_settled(settings):
    trees.behave(settings.config.incoming, t0="reject")
    first = Desk(settings)
    told = first.submit(0, 1)
    first.scheduler.tick()
    trees.until(lambda: trees.run_record(settings, told.id, "exit"))
    first.store.close()
    second = Desk(settings)
    second.scheduler.recover()
    batch = second.store.get(told.id)
    assert [item.status for item in batch.items] == ["failed", "done"]
    assert batch.status == "partial"


def test_service_and_run_killed_together_resume(settings):
    trees.behave(settings.config.incoming, t0=300)
    first = Desk(settings)
    told = first.submit(0)
    who = first.busy(told.id, 0)
    os.killpg(who["pid"], signal.SIGKILL)
    first.store.close()
    trees.behave(settings.config.incoming)
    second = Desk(settings)
    second.scheduler.recover()
    assert second.wait(told.id).status == "done"


def test_a_service_that_died_between_the_list_and_the_start_begins_again(settings):
    desk = Desk(settings)
    told = desk.submit(0)
    desk.store.update_batch(told.id, status="running", attempt=0)  # nothing was started
    again = Desk(settings)
    again.scheduler.recover()
    assert again.wait(told.id).status == "done"


def test_a_number_that_was_given_to_another_process_is_not_the_run(settings):
    mine = process.identity()
    assert process.members({**mine, "started": str(int(mine["started"]) + 1)}) == []
    assert process.members({**mine, "boot": "another"}) == []
    assert process.members({**mine, "host": "another"}) == []


def test_failed_items_are_made_again_as_the_same_batch(settings):
    trees.behave(settings.config.incoming, t1="fail")
    desk = Desk(settings)
    told = desk.submit(0, 1)
    assert desk.wait(told.id).status == "partial"
    trees.behave(settings.config.incoming)
    assert desk.store.retry(told.id) == 1
    batch = desk.wait(told.id)
    assert batch.status == "done"
    assert trees.starts(settings).count(trees.tile(0)) == 1


def test_two_batches_of_one_tree_never_run_together(tmp_path):
    settings = trees.make(tmp_path, tiles=2, min_subbands=1, service={"max_running": 4})
    trees.behave(settings.config.incoming, t0=2)
    desk = Desk(settings)
    one, two = desk.submit(0), desk.submit(1)
    desk.scheduler.tick()
    assert desk.store.get(one.id).status == "running"
    assert desk.store.get(two.id).status == "pending"
    assert desk.wait(two.id).status == "done"
    first, second = desk.store.get(one.id), desk.store.get(two.id)
    assert first.status == "done"
    assert second.started >= first.ended


def test_the_queue_waits_for_a_command_that_writes_the_tree(settings, tmp_path):
    from contimg.jobs import treelock

    code = "import sys, time; from pathlib import Path; from contimg.jobs import treelock; "
    code += "treelock.hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(100)"
    import subprocess
    import sys

    lock = settings.products / "state" / "lock"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        desk = Desk(settings)
        told = desk.submit(0)
        desk.scheduler.tick()
        assert desk.store.get(told.id).status == "pending"
        other.kill()
    assert treelock.holder(lock) is None
    assert desk.wait(told.id).status == "done"


def test_a_look_at_the_queue_costs_the_same_however_many_wait(settings, monkeypatch):
    from contimg.jobs import treelock

    desk = Desk(settings)
    numbers = [desk.submit(0, robust=0.1 * which).id for which in (1, 2, 2)]
    ours = [desk.submit(tile).id for tile in range(30)]
    assert numbers[1] == numbers[2]  # the same request twice
    assert desk.store.first_waiting() == [
        *numbers[:2],
        ours[0],
    ]  # of each tree the one that has waited longest
    asked = []
    monkeypatch.setattr(treelock, "holder", lambda lock: asked.append(lock) or "somebody")
    desk.scheduler.tick()
    assert len(asked) == 3
    assert desk.store.waiting() == 32
