"""What somebody is told of: each thing once, until it is over."""

from builders import service_sky, service_trees
from contimg.core import names
from contimg.core.products import write_json
from contimg.registry.files import rebuild
from contimg.service.alerts import Alerts
from contimg.service.registry_reader import Registries
from contimg.service.store import BatchRow, ItemRow
from contimg.service.watching import Seen


class Watching:
    """A watcher that has looked."""

    def __init__(self, began, last):
        self.began, self.last = began, last


def alerts(tmp_path, watcher=None, **service):
    settings = service_trees.make(tmp_path, tiles=0, service=service)
    told = []
    made = Alerts(
        settings,
        Registries(settings.products / "state"),
        watcher,
        lambda message, _: told.append((message.status, message.name, message.text)) or [],
    )
    return settings, made, told


def drain(made):
    """Deliver what waits, as the thread does."""
    made._queue.put(None)
    made._deliver()


def test_a_low_disk_is_told_once(tmp_path):
    _, made, told = alerts(tmp_path, disk_low_gb=1e9)
    assert made.look() == made.look() == ["disk low"]
    drain(made)
    assert [name for _, name, _ in told] == ["disk low"]


def test_no_data_and_a_missed_calibrator(tmp_path):
    watcher = Watching(
        0.0, Seen(newest_file=0.0, missed=["transit of 3C286 on 2025-10-30: no complete tile"])
    )
    _, made, told = alerts(tmp_path, watcher, disk_low_gb=0.0, no_data_minutes=5.0)
    assert made.look() == ["calibrator missed: transit of 3C286 on 2025-10-30", "no data"]
    watcher.last = Seen(newest_file=4e9)
    assert made.look() == []
    watcher.last = Seen(newest_file=0.0)
    made.look()
    drain(made)
    assert [name for _, name, _ in told].count("no data") == 2  # over, and there again


def test_a_strip_that_fails_its_gates(tmp_path):
    settings, made, told = alerts(tmp_path, disk_low_gb=0.0)
    tiles = service_sky.products(settings.products, tiles=4)
    assert made.look() == ["qa: strip +54.6 of 2025-10-30"]
    for tile in tiles:
        path = settings.products / names.tile_verdict(tile)
        write_json(path, {**service_sky.plain(path), "verdict": "pass", "reason": None})
    rebuild(settings.products, keep=1)
    assert made.look() == []
    drain(made)
    assert "3 of 4 tiles" in told[0][2]


def test_the_end_of_a_batch_tells_what_failed(tmp_path):
    _, made, told = alerts(tmp_path)
    items = [ItemRow(2, 1, "a.ms", "done"), ItemRow(3, 1, "b.ms", "failed", error="everything is flagged")]
    made.ended(
        BatchRow(
            1, "image", "partial", 0.0, 0.0, 1.0, {}, {}, {}, "me", "", None, None, None, 1, 0, False, False, "request",
            items,
        )
    )  # fmt: skip
    drain(made)
    assert told == [("failed", "batch 1 partial", "image: 1 of 2 done\nb.ms: everything is flagged")]
