"""Simulated nights of raw DSA-110 subband files with a known truth.

The package shares no phasing, beam or coordinate code with the pipeline, so that an error in one cannot
hide in the other. See ``docs/simulate.md``. What needs numba and astropy is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from contimg.simulate.options import PRESETS, Fault, SimOptions, Source, preset

if TYPE_CHECKING:
    from contimg.simulate.night import simulate
    from contimg.simulate.truth import Truth, read_truth

__all__ = ["PRESETS", "Fault", "SimOptions", "Source", "Truth", "preset", "read_truth", "simulate"]

_LATER = {"simulate": "night", "Truth": "truth", "read_truth": "truth"}


def __getattr__(name: str) -> Any:
    """Import `simulate`, `Truth` and `read_truth` at their first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
