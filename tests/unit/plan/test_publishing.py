"""A dry run says by name which mosaics it would publish, and which it would not."""

from contimg.core.products import write_json
from contimg.jobs.engine import Job
from contimg.plan import publishing

PASSED, FAILED, NEW, DONE = (f"mosaics/2025-10-30/0{hour}30+55" for hour in range(4))


def verdict(mosaic):
    return f"qa/2025-10-30/{mosaic.rpartition('/')[2]}.json"


def publication(mosaic, *, todo=True):
    receipt = f"state/published/2025-10-30/{mosaic.rpartition('/')[2]}.json"
    return Job("publish_mosaic", (receipt,), (mosaic, verdict(mosaic)), todo, ())


def test_mosaics_that_passed_that_failed_and_that_are_not_judged_yet_are_told_apart(tmp_path):
    write_json(tmp_path / verdict(PASSED), {"verdict": "pass", "reason": None})
    write_json(tmp_path / verdict(FAILED), {"verdict": "fail", "reason": "rms 4 × expected, limit 3"})
    write_json(tmp_path / verdict(NEW), {"verdict": "pass", "reason": None})  # of before: it is made again
    jobs = [
        *map(publication, (PASSED, FAILED, NEW)),
        publication(DONE, todo=False),
        Job("qa_mosaic", (verdict(NEW),), (NEW,), True, ()),
    ]
    assert publishing.lines(jobs, tmp_path) == [
        f"would publish 1 mosaic: {PASSED}",
        f"would publish 1 mosaic, if it passes: {NEW}",
        f"would not publish 1 mosaic: {FAILED} (rms 4 × expected, limit 3)",
    ]


def test_a_run_that_publishes_nothing_says_nothing(tmp_path):
    assert publishing.lines([Job("qa_mosaic", ("a",), ("b",), True, ())], tmp_path) == []
