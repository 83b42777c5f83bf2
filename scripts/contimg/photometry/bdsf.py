"""PyBDSF as another finder of sources: a program in an environment of its own, on one thread, within a time limit.

PyBDSF is under the GPL and is no part of the pipeline's environment. Who wants it makes one
(`python -m venv ~/bdsf; ~/bdsf/bin/pip install bdsf`) and names its Python.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

from contimg.core.errors import InputError

COLUMNS = ["ra_deg", "dec_deg", "peak_jy", "flux_jy", "rms_jy"]
WORKER = Path(__file__).with_name("bdsf_worker.py")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def find(image: Path, *, python: Path, threshold_sigma: float, timeout_s: float) -> pd.DataFrame:
    """Let PyBDSF find the sources of an image.

    Parameters
    ----------
    image : Path
        FITS file with its beam, Jy/beam. Nothing is written beside it.
    python : Path
        The Python of an environment that has PyBDSF.
    threshold_sigma : float
        Peaks above this count.
    timeout_s : float
        Longest time it may take; then it is ended.

    Returns
    -------
    DataFrame
        ``ra_deg, dec_deg`` (ICRS), ``peak_jy, flux_jy, rms_jy`` as PyBDSF has them.

    Raises
    ------
    InputError
        There is no such Python, PyBDSF is not in it, fails, or takes too long.
    """
    with tempfile.TemporaryDirectory() as room:
        link, out = Path(room, image.name), Path(room, "found.csv")
        link.symlink_to(image.resolve())  # its log goes beside its input
        environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
        try:
            done = subprocess.run(
                [str(python), "-I", str(WORKER), str(link), str(out), f"{threshold_sigma:g}"],
                cwd=room,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"PyBDSF: no end after {timeout_s:g} s on {image}; give it more time") from error
        except OSError as error:
            raise InputError(
                f"{python}: expected the Python of an environment with PyBDSF ({error.strerror}): python -m venv DIR; "
                "DIR/bin/pip install bdsf"
            ) from error
        if done.returncode or not out.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            raise InputError(f"PyBDSF ended with {done.returncode} on {image}: {said[-1]}")
        return pd.read_csv(out)[COLUMNS]
