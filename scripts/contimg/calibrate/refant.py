"""Which antenna the phases refer to: an outrigger that is healthy, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contimg.calibrate.average import CalibratorData
from contimg.core.casa import NAME_PREFIX
from contimg.core.errors import ConfigError, Rejected

OUTRIGGERS = tuple(str(name) for name in range(103, 118))
"""The DSA-110's outriggers by name, in the order in which the observatory tries them."""
MIN_UNFLAGGED = 0.7
"""A reference antenna has at least this part of the unflagged data that the best antenna has."""
MAX_AMPLITUDE_RATIO = 3.0
"""... and is at most this factor stronger or weaker than the median antenna."""


@dataclass(frozen=True)
class Refant:
    """The reference antenna.

    Attributes
    ----------
    index
        In the antenna table.
    name
        As in the raw data.
    reason
        Why this one.
    """

    index: int
    name: str
    reason: str


def choose_refant(data: CalibratorData, wanted: str, min_baselines: int) -> Refant:
    """Choose the reference antenna of a transit.

    Healthy is an antenna with enough baselines, nearly as much unflagged data as the best one and an
    ordinary amplitude. `wanted` is taken if it is healthy. Otherwise the first healthy outrigger in the
    observatory's order; where the array has none, the healthiest of the antennas in the outer half of the
    array (an outer antenna has the fewest baselines that are too short to enter).

    Parameters
    ----------
    data
        The averaged calibrator.
    wanted
        An antenna's NAME, or `auto`.
    min_baselines
        Fewest baselines with data.

    Raises
    ------
    ConfigError
        If there is no antenna of the wanted name.
    Rejected
        If no antenna is healthy.
    """
    names = [name.removeprefix(NAME_PREFIX) for name in data.meta.antenna_names]
    if wanted != "auto" and wanted not in names:
        raise ConfigError(
            f"calibration.refant: expected auto or the name of an antenna of this array, found {wanted!r}; "
            f"write one of {', '.join(names)}"
        )
    faults = _faults(data, min_baselines)
    healthy = [k for k, fault in enumerate(faults) if fault is None]
    if not healthy:
        raise Rejected(f"no antenna is fit to be the reference: {_summary(names, faults)}")
    replaced = ""
    if wanted != "auto":
        index = names.index(wanted)
        if faults[index] is None:
            return Refant(index, wanted, f"configured; {_state(data, index)}")
        replaced = f"in place of {wanted}, which {faults[index]}: "
    for name in OUTRIGGERS:
        if name in names and names.index(name) in healthy:
            index = names.index(name)
            passed = [n for n in OUTRIGGERS[: OUTRIGGERS.index(name)] if n in names and n != wanted]
            why = "first healthy outrigger"
            if passed:
                why += f" after {', '.join(f'{n} ({faults[names.index(n)]})' for n in passed)}"
            return Refant(index, name, f"{replaced}{why}; {_state(data, index)}")
    index = _healthiest_outer(data, healthy)
    return Refant(index, names[index], f"{replaced}healthiest of the outer antennas; {_state(data, index)}")


def most_isolated(data: CalibratorData, min_baselines: int) -> str | None:
    """Name of the healthy antenna whose median distance from the others is largest; None if none is healthy.

    Its baselines resolve best what is wide.
    """
    healthy = [k for k, fault in enumerate(_faults(data, min_baselines)) if fault is None]
    if not healthy:
        return None
    positions = data.meta.antenna_positions_m
    others = positions[data.unflagged > 0]
    far = [float(np.median(np.linalg.norm(others - positions[k], axis=1))) for k in healthy]
    return data.meta.antenna_names[healthy[int(np.argmax(far))]].removeprefix(NAME_PREFIX)


def _faults(data: CalibratorData, min_baselines: int) -> list[str | None]:
    """What is wrong with each antenna as a reference; None if nothing."""
    meta = data.meta
    ends = np.r_[meta.ant1[data.long], meta.ant2[data.long]]
    count = np.bincount(ends, minlength=len(meta.antenna_names))
    has_data = data.unflagged > 0
    usual = float(np.nanmedian(data.amplitude[has_data])) if has_data.any() else np.nan
    best = float(data.unflagged.max(initial=0.0))
    faults: list[str | None] = []
    for baselines, unflagged, amplitude in zip(count, data.unflagged, data.amplitude, strict=True):
        if not unflagged > 0:
            faults.append("has no data")
        elif baselines < min_baselines:
            faults.append(f"has {baselines} baselines beyond calibration.uvmin_klambda")
        elif unflagged < MIN_UNFLAGGED * best:
            faults.append(f"has {100 * (1 - unflagged):.0f} % of its data flagged")
        elif not usual / MAX_AMPLITUDE_RATIO <= amplitude <= usual * MAX_AMPLITUDE_RATIO:
            faults.append(f"has {amplitude / usual:.2g} times the median amplitude")
        else:
            faults.append(None)
    return faults


def _healthiest_outer(data: CalibratorData, healthy: list[int]) -> int:
    """Of the outer half of the healthy antennas, the one with most data, then most ordinary in amplitude."""
    positions = data.meta.antenna_positions_m
    distance = np.linalg.norm(positions - np.median(positions[healthy], axis=0), axis=1)
    outer = sorted(healthy, key=lambda k: -distance[k])[: max(1, len(healthy) // 2)]
    usual = float(np.nanmedian(data.amplitude[healthy]))
    return min(
        outer, key=lambda k: (-round(float(data.unflagged[k]), 2), abs(np.log(data.amplitude[k] / usual)))
    )


def _state(data: CalibratorData, index: int) -> str:
    usual = float(np.nanmedian(data.amplitude))
    return (
        f"{100 * (1 - data.unflagged[index]):.0f} % flagged, "
        f"{data.amplitude[index] / usual:.2f} of the median amplitude"
    )


def _summary(names: list[str], faults: list[str | None]) -> str:
    """The commonest fault, with how many antennas have it."""
    kinds = [" ".join(word for word in str(fault).split() if not word[0].isdigit()) for fault in faults]
    commonest = max(set(kinds), key=kinds.count)
    example = next(k for k, kind in enumerate(kinds) if kind == commonest)
    return f"{kinds.count(commonest)} of {len(names)} such as {names[example]}, which {faults[example]}"
