"""A bandpass solved in two processes at once, each for a part of the channels.

CASA's solver works on one thread, channel after channel, and a bandpass at full resolution is half of what a
transit costs. Channels have nothing to do with each other but where gaps are filled from both sides: each process
gets as many of the other's channels as a gap may have, and one more.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from casacore import tables

from contimg.core.casa import CasaTasks, casatasks
from contimg.core.errors import SystemFault
from contimg.core.processes import start_module

WORTH_VISIBILITIES = 2_000_000
"""A second process first imports CASA: of fewer visibilities the solutions would be there before."""
OTHER_SHARE = 0.42
"""Part of the channels that the other process gets, for the same reason."""
COLUMNS = ("CPARAM", "PARAMERR", "FLAG", "SNR")


def solve(
    casa: CasaTasks, ms: Path, table: Path, *, fillgaps: int, scratch: Path, threads: int, **settings: Any
) -> None:
    """Solve for one bandpass over all of a set, by CASA's `bandpass`.

    Parameters
    ----------
    casa
        What this process solves with.
    ms
        Averaged to one time, of one spectral window; only read.
    table
        The caltable to write; where not one solution is good there is none.
    fillgaps
        Gaps of at most so many channels are interpolated.
    scratch
        Existing directory.
    threads
        With two or more, and a set that is worth it, two processes work.
    **settings
        The task's other parameters.

    Raises
    ------
    SystemFault
        The other process failed.
    """
    parameters = {**settings, "fillgaps": fillgaps}
    with tables.table(str(ms), ack=False) as main:
        n_rows, (n_chan, n_pol) = main.nrows(), main.getcell("FLAG", 0).shape
    if threads < 2 or n_rows * n_chan * n_pol < WORTH_VISIBILITIES:
        casa.bandpass(vis=str(ms), caltable=str(table), **parameters)
        return
    cut = round(n_chan * (1 - OTHER_SHARE))
    other_ms, other_table, log = (scratch / f"other.{name}" for name in ("ms", "BP", "log"))
    _copy(ms, other_ms, slice(cut - fillgaps - 1, n_chan))
    request = {"vis": str(other_ms), "caltable": str(other_table), **parameters}
    process = start_module("contimg.calibrate.bandpass", json.dumps({"log": str(log), "parameters": request}))
    try:
        own_ms = scratch / "own.ms"
        _copy(ms, own_ms, slice(0, cut + fillgaps + 1))
        casa.bandpass(vis=str(own_ms), caltable=str(table), **parameters)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    said = log.read_text(errors="replace") if log.exists() else ""
    with casa.logfile.open("a", encoding="utf-8") as whole:
        whole.write(said)
    if code != 0:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise SystemFault(
            f"the process that solves for half of the bandpass ended with code {code}: {last} (a signal -9 is most "
            "often too little memory)"
        )
    _join(table, other_table, slice(cut, n_chan))
    for path in (own_ms, other_ms, other_table):
        shutil.rmtree(path, ignore_errors=True)


def _copy(ms: Path, path: Path, channels: slice) -> None:
    """Copy a set with all but some of its channels flagged."""
    shutil.copytree(ms, path)
    _flag(path, slice(0, channels.start))
    _flag(path, slice(channels.stop, None))


def _flag(path: Path, channels: slice) -> None:
    """Flag channels of a set or a caltable, in place."""
    with tables.table(str(path), readonly=False, ack=False) as main:
        flag = main.getcol("FLAG")
        flag[:, channels] = True
        main.putcol("FLAG", flag)


def _join(table: Path, other: Path, channels: slice) -> None:
    """Put some channels of the other table into the first; a table that is not there has no good solution."""
    if not other.exists():
        if table.exists():
            _flag(table, channels)
        return
    if not table.exists():
        shutil.copytree(other, table)
        _flag(table, slice(0, channels.start))
        return
    with (
        tables.table(str(table), readonly=False, ack=False) as kept,
        tables.table(str(other), ack=False) as new,
    ):
        if not np.array_equal(kept.getcol("ANTENNA1"), new.getcol("ANTENNA1")):
            raise SystemFault(f"{table}: the two halves of the bandpass have different antennas")
        for name in COLUMNS:
            values = kept.getcol(name)
            values[:, channels] = new.getcol(name)[:, channels]
            kept.putcol(name, values)


def main(arguments: list[str]) -> int:
    """Solve as the only argument, JSON, says: `log` and the task's `parameters`. Ends when its parent does."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    job = json.loads(arguments[0])
    casatasks(1, job["log"]).bandpass(**job["parameters"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
