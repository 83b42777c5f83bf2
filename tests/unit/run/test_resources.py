from pathlib import Path
from types import SimpleNamespace

from contimg.jobs.frame import RESTARTS
from contimg.run.resources import needs

NIGHT = SimpleNamespace(bytes_of=lambda tile: 2.2e9)
TILE = SimpleNamespace(tile="2025-10-30T13:00:00")


def asked(what, attempt=1, scratch=None):
    config = SimpleNamespace(scratch=scratch, scratch_full="disk")
    resource = needs("image_tile", NIGHT, config)[what]
    return resource(TILE, attempt) if what in ("mem_mb", "runtime") else resource(TILE)


def test_memory_and_time_grow_with_each_attempt_and_the_last_start_asks_as_the_first():
    for what in ("mem_mb", "runtime"):
        first, *_ = amounts = [asked(what, attempt) for attempt in range(1, RESTARTS + 1)]
        assert amounts == sorted(set(amounts))
        assert asked(what, RESTARTS + 1) == first


def test_what_a_job_fills_in_memory_is_part_of_its_memory_and_grows_with_no_attempt():
    for attempt in (1, 2):
        more = asked("mem_mb", attempt, scratch=Path("/dev/shm")) - asked("mem_mb", attempt)
        assert abs(more - asked("scratch_mb")) <= 1  # each is rounded
    assert asked("mem_mb", scratch=Path("/proc")) == asked("mem_mb")  # no disk, but no memory either
