from types import SimpleNamespace

import pytest

from contimg.core.names import image_dir
from contimg.plan import share

TILES = [f"2025-10-30T13:0{number}:00" for number in range(4)]
WINDOW = "mosaics/2025-10-30/0830+55"
NIGHT = SimpleNamespace(selected=TILES, windows={WINDOW: None})


@pytest.mark.parametrize(
    ("jobs", "cores", "threads"),
    [
        (12, 2, 1),  # a job for every core
        (2, 2, 1),
        (1, 2, 2),  # one job, two cores: the second thread serves latency
        (1, 32, 2),  # never more than are known to help
        (20, 32, 1),
        (16, 32, 2),
        (1, 1, 1),
        (0, 2, 2),
        (1, None, 1),  # a cluster
    ],
)
def test_a_job_has_a_second_thread_only_where_a_core_would_have_no_job(jobs, cores, threads):
    assert share.threads_of("auto", jobs, cores) == threads
    assert share.threads_of(3, jobs, cores) == 3


def test_what_counts_is_what_is_not_there_yet_and_of_a_whole_night_all_of_it(tmp_path):
    def made(*paths):
        for path in paths:
            (tmp_path / path).mkdir(parents=True)
            (tmp_path / path / "status.json").write_text("{}")

    assert share.share("auto", NIGHT, tmp_path, 2) == share.Threads(tile=1, mosaic=2)
    made(*map(image_dir, TILES[:3]))
    assert share.share("auto", NIGHT, tmp_path, 2) == share.Threads(tile=2, mosaic=2)
    made(image_dir(TILES[3]), WINDOW)
    assert (
        share.share("auto", NIGHT, tmp_path, 2).tile == 1
    )  # nothing is new: what is made again may be everything


def test_memory_is_what_the_machine_has_or_less_where_a_container_may_have_less(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(share, "_LIMIT", limit)
    whole = share.memory_mb()
    limit.write_text("max\n")
    assert share.memory_mb() == whole > 500
    limit.write_text("400000000\n")
    assert share.memory_mb() == 360
