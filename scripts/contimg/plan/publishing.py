"""Which mosaics a run would publish: said by its dry run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.core.text import count_of, some
from contimg.jobs.engine import Job
from contimg.qa.verdict import FAIL

RULE = "publish_mosaic"
NAMED = 20


def lines(jobs: Iterable[Job], tree: Path) -> list[str]:
    """Say which mosaics a run would publish, which it would once they pass, and which failed.

    Parameters
    ----------
    jobs : iterable of Job
        Of the run; those of `publish_mosaic` have the mosaic and its verdict as inputs.
    tree : Path
        The products.
    """
    every = list(jobs)
    made = {path for job in every if job.todo for path in job.output}
    passed, unjudged, failed = [], [], []
    for job in every:
        if job.rule != RULE or not job.todo:
            continue
        verdict = next(path for path in job.input if path.endswith(".json"))
        mosaic = next(path for path in job.input if path != verdict)
        record = {} if verdict in made else _read(tree / verdict)
        if not record:
            unjudged.append(mosaic)
        elif record["verdict"] == FAIL:
            failed.append(f"{mosaic} ({record['reason']})")
        else:
            passed.append(mosaic)
    if_so = f", if {'it passes' if len(unjudged) == 1 else 'they pass'}"
    said = (("publish", passed, ""), ("publish", unjudged, if_so), ("not publish", failed, ""))
    return [
        f"would {what} {count_of(len(found), 'mosaic')}{end}: {some(sorted(found), NAMED)}"
        for what, found, end in said
        if found
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path)
    except InputError:
        return {}
    return found
