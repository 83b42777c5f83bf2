"""The one door to CASA: imported only when asked for, quiet, logged where it is told, held to threads.

Importing casatasks costs seconds, so only jobs that solve or clean with CASA pass here. CASA otherwise
writes `casa-*.log` into the working directory, reads options such as `--configfile` from the command line
of whatever program imports it, may fetch data tables at import, and prints warnings (its leap-second table
is always called out of date, to no effect for these data) to the terminal: none of that happens behind this
door.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from contimg.core.errors import SystemFault

NAME_PREFIX = "DSA"
"""Put before antenna names in the set that CASA solves on: a bare `103` could be taken for an index."""


class CasaTasks:
    """casatasks, with every call logged to one file and held to a number of threads.

    A task is an attribute: `tasks.gaincal(vis=...)`. What a task prints goes to the log, errors are raised.
    """

    def __init__(self, module: ModuleType, threads: int, logfile: Path) -> None:
        self._module = module
        self.threads = threads
        self.logfile = logfile

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a task that runs quietly."""
        task = getattr(self._module, name)

        def run(**parameters: object) -> object:
            from threadpoolctl import threadpool_limits

            self._module.casalog.setlogfile(str(self.logfile))
            with _output_to(self.logfile), threadpool_limits(self.threads):
                return task(**parameters)

        return run


def casatasks(threads: int, logfile: str | Path) -> CasaTasks:
    """Import CASA's tasks, if that has not happened yet.

    Parameters
    ----------
    threads
        OpenMP and BLAS threads that a task may use.
    logfile
        Where CASA's log is appended; its directory must exist.

    Returns
    -------
    CasaTasks
        Call tasks as its methods, with named parameters.

    Raises
    ------
    SystemFault
        If CASA or its data tables are not installed, or the log cannot be written.
    """
    path = Path(logfile).resolve()
    try:
        path.touch()
    except OSError as exc:
        raise SystemFault(
            f"{path}: cannot write CASA's log ({exc.strerror}); make its directory writable"
        ) from exc
    if "casatasks" not in sys.modules:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        with _bare_command_line(), _output_to(path):
            _configure(path)
            module = importlib.import_module("casatasks")
    except ImportError as exc:
        raise SystemFault(
            f"CASA cannot be imported ({exc}); install casatasks, casadata and six as the lock file says"
        ) from exc
    return CasaTasks(module, threads, path)


def _configure(logfile: Path) -> None:
    """Set what CASA would else take from a user's or site's file: data in casadata, no updates, this log."""
    from casaconfig import config
    from casadata import datapath

    config.datapath = [datapath]
    config.measurespath = datapath
    config.data_auto_update = False
    config.measures_auto_update = False
    config.logfile = str(logfile)
    config.log2term = False
    config.nologger = True
    config.startupfile = ""


@contextmanager
def _bare_command_line() -> Iterator[None]:
    """Hide the program's own arguments: CASA's configuration parses them as if they were its own."""
    arguments = sys.argv
    sys.argv = arguments[:1] or [""]
    try:
        yield
    finally:
        sys.argv = arguments


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append what this process (Python and C++ alike) writes to standard output and error to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(log)
