"""Watch mode: a simulated night comes faster than real time, the service is killed at random, nothing is lost."""

import os
import random
import time

import pytest

from builders import service_trees as trees
from contimg.core import names
from contimg.service.scheduler import Scheduler
from contimg.service.store import Store
from contimg.service.submit import Submitter
from contimg.service.watching import Watcher


class Watch:
    """One life of `contimg watch`."""

    def __init__(self, settings, clock=time.time):
        self.settings = settings
        self.store = Store(settings.state / "jobs.sqlite3")
        self.scheduler = Scheduler(settings, self.store)
        self.latencies = []
        submitter = Submitter(settings, self.store, self.scheduler)
        self.watcher = Watcher(settings, self.store, submitter, clock, self.latencies.append)
        self.scheduler.recover()

    def turn(self):
        self.watcher.look()
        self.scheduler.tick()

    def states(self):
        return dict(self.store.ask("SELECT name, state FROM watched"))

    def until(self, condition):
        return trees.until(lambda: self.turn() or condition())


@pytest.fixture
def settings(tmp_path):
    return trees.make(
        tmp_path,
        tiles=0,
        start="2025-10-30",
        min_subbands=14,
        service={"settle_minutes": 10.0, "watch_poll_s": 0.05},
    )


def test_a_night_fed_fast_and_a_watch_killed_at_random_make_every_tile_once(settings):
    rng = random.Random(3)
    watch = Watch(settings)
    for number in range(6):
        trees.add_tile(settings.config.incoming, number, n_subbands=16)
        for _ in range(rng.randint(0, 3)):
            watch.turn()
        if rng.random() < 0.5:  # kill -9: nothing is closed, the run goes on
            watch = Watch(settings)
    tiles = [trees.tile(number) for number in range(6)]
    watch.until(lambda: set(watch.states().values()) == {"done"} and len(watch.states()) == 6)
    assert sorted(trees.starts(settings)) == tiles  # each once
    assert all((settings.products / names.image_dir(tile) / "status.json").is_file() for tile in tiles)
    batches = [watch.store.get(number) for number in watch.store.ids("done")]
    assert sum(len(batch.items) for batch in batches) == 6  # nothing was asked for twice
    assert not watch.store.ids("pending", "running", "failed")
    assert Watch(settings).watcher.look().submitted == []


def test_a_tile_that_lacks_subbands_waits_until_it_is_quiet_and_a_late_one_makes_it_again(settings):
    now = time.time()
    moved = [0.0]
    watch = Watch(settings, clock=lambda: time.time() + moved[0])
    trees.add_tile(settings.config.incoming, 0, n_subbands=15)
    watch.turn()
    assert watch.states() == {trees.tile(0): "collecting"}
    moved[0] = 599.0 - (time.time() - now)
    watch.turn()
    assert watch.states() == {trees.tile(0): "collecting"}
    moved[0] = 660.0
    watch.until(lambda: watch.states() == {trees.tile(0): "done"})
    assert trees.starts(settings) == [trees.tile(0)]
    # the sixteenth comes after all: the tile is asked for again
    trees.add_tile(settings.config.incoming, 0, n_subbands=16)
    assert watch.watcher.look().submitted
    assert watch.states() == {trees.tile(0): "submitted"}


def test_a_tile_with_too_few_subbands_is_never_ready(settings):
    trees.add_tile(settings.config.incoming, 0, n_subbands=13)
    watch = Watch(settings, clock=lambda: time.time() + 1e5)
    watch.turn()
    assert watch.states() == {trees.tile(0): "collecting"}
    assert watch.store.ids("pending", "running") == []


def test_latency_is_from_the_last_subband_to_the_image(settings):
    trees.add_tile(settings.config.incoming, 0, n_subbands=16)
    written = time.time() - 100.0
    for path in settings.config.incoming.glob("*.hdf5"):
        os.utime(path, (written, written))
    watch = Watch(settings)
    watch.until(lambda: watch.latencies)
    (latency,) = watch.latencies
    assert 100.0 <= latency <= 100.0 + 60.0


def test_what_was_marked_and_what_was_listed_are_one_transaction(settings, monkeypatch):
    trees.add_tile(settings.config.incoming, 0, n_subbands=16)
    watch = Watch(settings)
    monkeypatch.setattr(watch.store, "_mark", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch.watcher.look()
    assert watch.store.ids("pending") == []  # the batch went with its mark
    again = Watch(settings)
    assert len(again.watcher.look().submitted) == 1
