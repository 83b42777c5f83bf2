"""Which good products a run would make again, and why: said before it replaces them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.kinds import Kind
from contimg.core.products import configuration_file, read_json
from contimg.jobs.engine import REASONS, Job
from contimg.qa.options import NOT_JUDGED_BY

SETTINGS: dict[str, tuple[str, ...]] = {
    "set": ("flagging",),
    "caltable": ("flagging", "calibration", "beam", "catalog", "catalog_table"),
    "image": ("calibration", "imaging", "beam", "catalog", "catalog_table"),
    "verdict": ("qa", "catalog", "catalog_table"),
    "mosaic": ("mosaic",),
}
"""Sections of the configuration that each kind of product follows from."""
_SAID = {
    "science_ms": ("Measurement Set", "set"),
    "calibrator_ms": ("set of caltables", "caltable"),
    "caltable": ("set of caltables", "caltable"),
    "image": ("image", "image"),
    "mosaic": ("mosaic", "mosaic"),
    "transit_mosaic": ("mosaic", "mosaic"),
}
_MOST_SAID, _LONGEST = 3, 400
"""Changes of a section that are said one by one, and characters of one."""
_NOT_THERE = "output files have to be generated"


def section(values: Mapping[str, Any], name: str) -> Any:
    """What a configuration says in a section, as far as products follow from it."""
    found = values.get(name)
    if name != "qa" or found is None:
        return found
    return {key: value for key, value in found.items() if key not in NOT_JUDGED_BY}


def made_again(jobs: Iterable[Job], tree: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Count the good products that a run would replace.

    Parameters
    ----------
    jobs : iterable of Job
    tree : Path
        The products.
    settings : mapping
        Today's configuration, as plain values.

    Returns
    -------
    list of dict
        `what` (image, mosaic, …), `why`, `products`; in the order of the jobs.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    kept: dict[str | None, Any] = {}
    for job in jobs:
        if not job.todo or _NOT_THERE in job.reasons:
            continue
        try:
            kind: Kind = names.log_of(job.product)[0]
        except ValueError:
            continue
        said = _SAID.get(kind.name)
        record = _good(tree / kind.sidecar_of(job.product)) if said else None
        if said is None or record is None:
            continue
        digest = record.get("configuration")
        if digest not in kept:
            kept[digest] = _settings(digest, tree)
        changed = [
            name
            for name in SETTINGS[said[1]]
            if kept[digest] is not None and section(kept[digest], name) != section(settings, name)
        ]
        why = "; ".join(_change(name, kept[digest], settings) for name in changed) or _words(job.reasons)
        groups.setdefault((said[0], why), []).append(job.product)
    return [{"what": what, "why": why, "products": found} for (what, why), found in groups.items()]


def lines(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say the groups of `made_again`, one a line."""
    return [
        f"would make again {len(group['products'])} good "
        f"{_plural(group['what'], len(group['products']))}: {group['why']}"
        for group in groups
    ]


def _change(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of a section has changed, from what to what: `imaging.robust: 0.5 → 0`; where much has, only its name."""
    old, new = section(then, name), section(now, name)
    pairs = {name: (old, new)}
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        pairs = {f"{name}.{key}": (old.get(key), new.get(key)) for key in keys}
    said = [f"{key}: {_value(before)} → {_value(after)}" for key, (before, after) in pairs.items()]
    return ", ".join(said) if len(said) <= _MOST_SAID and all(map(_short, said)) else f"{name} changed"


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _short(text: str) -> bool:
    return len(text) <= _LONGEST


def _plural(what: str, number: int) -> str:
    return what if number == 1 else what.replace("set of", "sets of") if " of " in what else f"{what}s"


def _good(sidecar: Path) -> dict[str, Any] | None:
    """What the sidecar of a good product says; None for any other."""
    if not sidecar.is_file():
        return None
    try:
        record = read_json(sidecar)
    except InputError:
        return None
    return record if isinstance(record, dict) and record.get("status") == "ok" else None


def _settings(name: str | None, tree: Path) -> Any:
    path = configuration_file(name, tree)
    if path is None or not path.is_file():
        return None
    try:
        found = read_json(path)
    except InputError:
        return None
    return found if isinstance(found, dict) else None


def _words(reasons: Iterable[str]) -> str:
    return ", ".join(REASONS.get(reason, reason) for reason in reasons) or "asked for"
