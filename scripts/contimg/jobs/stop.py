"""A job asks its run to stop: the configuration cannot be used, so no further job would come to anything.

The wish lies beside the frozen plan of the run, `state/runs/{run}.stop`, where every machine of the run sees it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


def _file(run: str | None) -> Path | None:
    return None if run is None else Path(run).with_suffix(".stop")


def ask(run: str | None, why: str) -> None:
    """Ask the run of a manifest to stop, in one line; nothing outside a run."""
    path = _file(run)
    if path is not None:
        with contextlib.suppress(OSError):  # the job fails in any case
            path.write_text(" ".join(why.split()))


def why(run: str | None) -> str | None:
    """Why a run is to stop; None: it goes on."""
    path = _file(run)
    if path is None:
        return None
    try:
        return path.read_text()
    except OSError:
        return None
