"""Hold every library of a process to the threads its job was given."""

from __future__ import annotations

import os
import sys

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "DUCC0_NUM_THREADS",
)


def limit(threads: int) -> None:
    """Set the variables that OpenMP, BLAS, numexpr, numba and ducc0 read when they are first imported.

    Processes started later inherit it. A script may have imported numpy before: Snakemake gives the process of a
    script the variables of OpenMP and BLAS itself, and what is loaded only when a job is made (numba, ducc0) is not
    there yet. Where numba is there, its variable stays: it may not change once numba's threads have begun, and its
    loops are held to their job's threads by `numba.set_num_threads`.
    """
    for name in _VARIABLES:
        if name != "NUMBA_NUM_THREADS" or "numba" not in sys.modules:
            os.environ[name] = str(threads)
