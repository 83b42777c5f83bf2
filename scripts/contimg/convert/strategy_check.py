"""Whether AOFlagger takes a strategy: it is loaded and run on a little noise, in a process of its own.

A mistake in a Lua file is an exception of AOFlagger's, or the end of the process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from contimg.core.errors import NamedFileError

_TRY = """
import sys
import numpy as np
from contimg.convert.flag_worker import Strategy
rng = np.random.default_rng(1)
noise = rng.normal(size=(24, 1, 64, 1, 2)).astype(np.float32).view(np.complex64)[..., 0]
Strategy(sys.argv[1]).flag_block(noise, np.zeros(noise.shape, bool))
"""
PATIENCE_S = 60.0


def check_strategy(path: Path) -> None:
    """Raise `NamedFileError` where AOFlagger does not take the file; say nothing where there is no AOFlagger here."""
    import importlib.util

    if importlib.util.find_spec("aoflagger") is None:  # it is in the environment of the rules
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise NamedFileError(f"{path}: it does not come to an end on a little noise") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        why = said[-1] if said else f"AOFlagger ended with {done.returncode}"
        raise NamedFileError(f"{path}: AOFlagger does not take it: {why}")
