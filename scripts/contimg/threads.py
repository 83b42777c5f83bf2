"""Hold every library of a process to the threads its job was given."""

from __future__ import annotations

import os

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

    Must run before numpy is imported; processes started later inherit it.
    """
    for name in _VARIABLES:
        os.environ[name] = str(threads)
