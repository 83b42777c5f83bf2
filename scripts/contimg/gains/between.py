"""Gains between two transits: phases and amplitudes linear in time where the calibrators before and after are good.

    g(t) = exp(i u φ) [(1 − u) g₁ + u g₂ exp(−iφ)],   u = (t − t₁) / (t₂ − t₁)

for each antenna and product (XX, YY), φ (radians) the phase of Σ g₂ g₁* over the band, relative to the mean of all
antennas. With a rms of φ above `MAX_TURN_DEG` over the antennas the better table is used alone. An antenna whose
amplitude departs by more than `MAX_CHANGE` from what the other good transits found is left out in any case
(`contimg.calibrate.depart`).

How the scales of two transits compare is recorded: the fluxes that one gives over the other's, and their SEFD. Which
transits are candidates, and how right this is: docs/calibrate.md, "Between two transits".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.core.robust import nanmedian
from contimg.gains.tables import TABLES, Gains, choose_tables, read_gains, read_solutions
from contimg.ms.meta import MsMeta, times_mjd_s

MAX_CHANGE = 0.3
"""Of an amplitude, between two transits. Gains of a healthy receiver hold to a few per cent."""
NO_SOLUTION = "it has data, and shows no calibrator (no signal, exchanged cables, a wrong place)"
MAX_TURN_DEG = 60.0
"""At 60 deg rms one antenna in 400 turned by more than half a turn, and goes the wrong way."""


@dataclass(frozen=True)
class Between:
    """The gains of a tile, and the tables they are from.

    Attributes
    ----------
    gains : Gains
    tables : tuple of Path
        The best, and the one on the other side of the tile if it has a part in the gains.
    metrics : dict
        For a sidecar: `weight` of the second table, `turn_deg` (rms φ), `n_changed` (antennas left out), or why there
        is no second table; `departed` (antennas that other transits contradict, by name) and `compared` (how many
        other transits there were); `scales`, of each other transit by name: `fluxes`, what it gives over what the best
        gives, and `sefd`, its SEFD over the best's (None where a sidecar has none); `left_out`, antennas with data that
        the best transit has no solution for, and why, and `with_data`, how many have data there.
    """

    gains: Gains
    tables: tuple[Path, ...]
    metrics: dict[str, Any]

    @property
    def name(self) -> str:
        """What the gains are called."""
        return " and ".join(path.name for path in self.tables)


def gains_of(candidates: Sequence[Path], meta: MsMeta, *, interpolate: bool) -> Between:
    """Choose the tables of a tile, and evaluate its gains.

    Parameters
    ----------
    candidates
        Directories of caltables with status.json, best first.
    meta
        Of the tile's Measurement Set.
    interpolate
        Whether two transits may be used.

    Raises
    ------
    Rejected
        No candidate is good.
    """
    best = choose_tables(candidates)
    gains = read_gains(best, meta)
    good = [path for path in candidates if read_json(path / STATUS)["status"] == "ok"]
    others = {path: read_gains(path, meta) for path in good if path != best}
    departed = changed(gains, list(others.values()))
    gains = replace(gains, good=gains.good & ~departed[:, np.newaxis, :])
    chosen = _between(best, gains, others, meta, interpolate=interpolate)
    told = [meta.antenna_names[k] for k in np.flatnonzero(departed.any(axis=1))]
    scales = {path.name: scale(best, path, gains, other) for path, other in others.items()}
    left_out, with_data = _left_out(best)
    return replace(
        chosen,
        metrics={
            **chosen.metrics,
            "departed": told,
            "compared": len(others),
            "scales": scales,
            "left_out": left_out,
            "with_data": with_data,
        },
    )


def _left_out(tables: Path) -> tuple[dict[str, str], int]:
    """Antennas with data that a transit has no solution for, and why, and how many have data there."""
    about = read_json(tables / STATUS).get("metrics", {})
    departed: dict[str, str] = about.get("departed", {}).get("antennas", {})
    seen = {name: one for name, one in about.get("antennas", {}).items() if one["data_flagged_fraction"] < 1}
    silent = [name for name, one in seen.items() if one["flagged_fraction"] == 1 and name not in departed]
    return {**dict.fromkeys(silent, NO_SOLUTION), **departed}, len({*seen, *departed})


def scale(best: Path, other: Path, gains: Gains, others: Gains) -> dict[str, float | None]:
    """Fluxes and SEFD that another transit gives, over those that the best one gives."""
    both = gains.good & others.good
    ratio = np.where(both, np.abs(gains.at(0)) / np.abs(np.where(both, others.at(0), 1.0)), np.nan)
    fluxes = float(nanmedian(ratio**2, axis=(0, 1, 2))) if both.any() else None
    mine, theirs = (read_json(path / STATUS).get("metrics", {}).get("sefd_jy") for path in (best, other))
    return {
        "fluxes": None if fluxes is None else round(fluxes, 4),
        "sefd": round(theirs / mine, 4) if mine and theirs else None,
    }


def _between(
    best: Path, gains: Gains, others: dict[Path, Gains], meta: MsMeta, *, interpolate: bool
) -> Between:
    """The gains of the best table, or between it and the nearest good one on the other side of the tile."""
    if not interpolate:
        return Between(gains, (best,), {"alone": "calibration.interpolate is false"})
    middle = float(times_mjd_s(meta.times_jd).mean())
    when = {path: _when(path) for path in (best, *others)}
    other_side = [path for path in when if (when[path] - middle) * (when[best] - middle) < 0]
    if not other_side:
        return Between(gains, (best,), {"alone": "no good transit on the other side of the tile"})
    other = min(other_side, key=lambda path: abs(when[path] - middle))
    between = interpolated(gains, others[other], (when[best], when[other]))
    if between is None:
        reason = f"the antennas turned by more than {MAX_TURN_DEG:g} deg rms from {best.name} to {other.name}"
        return Between(gains, (best,), {"alone": reason})
    return Between(between[0], (best, other), between[1])


def interpolated(
    first: Gains, second: Gains, solved_mjd_s: tuple[float, float]
) -> tuple[Gains, dict[str, Any]] | None:
    """Gains between two solutions on the same antennas, channels and times.

    Parameters
    ----------
    first, second
        Each constant in time, as a table of one solution is.
    solved_mjd_s
        When they were solved.

    Returns
    -------
    Gains and metrics, or None
        None if the phases turned too far to say how. Where only `first` is good its gain is taken as it is.
    """
    one, two = first.at(0).astype(np.complex128), second.at(0).astype(np.complex128)
    both = first.good & second.good
    if not both.any():
        return None
    two = two * _reference(one, two, both)[np.newaxis, np.newaxis, :]
    product = np.where(both, two * one.conj(), 0.0).sum(axis=1)  # (nant, 2)
    known = both.any(axis=1)
    turn = np.angle(product)
    rms_deg = float(np.degrees(np.sqrt(np.mean(turn[known] ** 2))))
    if rms_deg > MAX_TURN_DEG:
        return None
    change = np.ones(turn.shape)
    power = np.where(both, np.abs(one) ** 2, 0.0).sum(axis=1)
    np.divide(np.abs(product), power, out=change, where=known)
    changed = np.abs(np.log(change)) > np.log1p(MAX_CHANGE)
    start, end = solved_mjd_s
    u = (first.times_mjd_s - start) / (end - start)
    middle = float(u.mean())
    aligned = two * np.exp(-1j * turn)[:, np.newaxis, :]
    steady = np.where(both, (1 - middle) * one + middle * aligned, one)
    varying = np.exp(1j * u[:, np.newaxis, np.newaxis] * np.where(known, turn, 0.0))
    good = first.good & ~changed[:, np.newaxis, :]
    metrics = {
        "weight": middle,
        "turn_deg": rms_deg,
        "n_changed": int(changed.any(axis=1).sum()),
    }
    return Gains(np.where(good, steady, 1.0), good, first.times_mjd_s, varying), metrics


def _reference(
    one: NDArray[np.complex128], two: NDArray[np.complex128], both: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """Phase factors, (2,), that give the second solution the first one's reference: the least turn of all antennas.

    Σ over antennas of the unit phasors of their turns points where most of them agree.
    """
    product = np.where(both, two * one.conj(), 0.0).sum(axis=1)
    size = np.abs(product)
    phasors = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    total = phasors.sum(axis=0)
    length = np.abs(total)
    return np.divide(total.conj(), length, out=np.ones_like(total), where=length > 0)


def _when(tables: Path) -> float:
    """Mean time of the gain solutions of a directory, MJD s."""
    return float(read_solutions(tables / TABLES[-1]).times_mjd_s.mean())


def changed(chosen: Gains, others: Sequence[Gains]) -> NDArray[np.bool_]:
    """Antennas whose amplitude departs from that in other transits by more than `MAX_CHANGE`, (nant, 2).

    Parameters
    ----------
    chosen, others
        On the same antennas, channels and hands. The scale of each transit is that of its calibrator's flux: the
        median antenna defines it. Of several others the median counts.
    """
    if not others:
        return np.zeros((len(chosen.good), 2), bool)
    mine = np.abs(chosen.at(0)).astype(np.float64)
    ratios = []
    for other in others:
        both = chosen.good & other.good
        ratio = np.where(both, np.log(mine / np.abs(other.at(0))), np.nan)
        ratio = nanmedian(ratio, axis=1)
        ratios.append(ratio - nanmedian(ratio, axis=0))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(nanmedian(np.array(ratios), axis=0)) > np.log1p(MAX_CHANGE))


def filled(values: NDArray[np.complex128], good: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """Bad channels by a line between good ones, constant beyond; 0 where an antenna has none."""
    filled = np.where(good, values, 0)
    place = np.arange(values.shape[1])
    for k, hand in np.argwhere(~good.all(axis=1) & good.any(axis=1)):
        known = good[k, :, hand]
        filled[k, :, hand] = np.interp(place, place[known], values[k, known, hand])
    return filled
