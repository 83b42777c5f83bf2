"""The nights and logs of a products tree, counted anew only where a folder has changed since they were counted last.

Products appear by renaming, so that the folder which holds them changes with each. What was counted is kept in
`state/front.json` with the folders' times; if it is lost, all is counted once more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json, write_json
from contimg.core.provenance import versions
from contimg.core.text import count_of
from contimg.qa.night import state

KEPT = "state/front.json"
_ENTRIES = 2
"""Of what kind the kept entries are: raised when what an entry holds changes, so that older ones are counted anew."""
SETTLED_S = 2.0
"""A folder that changed this lately is looked at again: a change within a tick of the clock would not show."""


class Kept:
    """What was counted when this tree was looked at last, and what of it still holds.

    Parameters
    ----------
    tree : Path
        Products tree.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._by = f"{versions()['contimg']}, entries {_ENTRIES}"
        self._known = self._read()
        self._now: dict[str, dict[str, Any]] = {}
        self.counted: list[str] = []

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self._tree / KEPT
        try:
            kept = read_json(path) if path.is_file() else {}
        except (InputError, ValueError):  # cut short: it holds nothing that the tree does not
            return {}
        return dict(kept.get("entries", {})) if kept.get("by") == self._by else {}

    def of(self, name: str, folders: Iterable[Path], count: Callable[[], Any]) -> Any:
        """What `count` gives, called only if one of the folders has changed since it was called last.

        Parameters
        ----------
        name : str
            Of the entry.
        folders : iterable of Path
            That hold what is counted; one that is not there counts as such.
        count : callable
            Gives what JSON can hold.
        """
        times = {str(path.relative_to(self._tree)): _changed(path) for path in folders}
        entry = self._known.get(name)
        if entry is None or entry["seen"] != times:
            self.counted.append(name)
            entry = {"seen": times, "found": count()}
        newest = max(times.values(), default=0)
        if time.time_ns() - newest > 1e9 * SETTLED_S:
            self._now[name] = entry
        return entry["found"]

    def write(self) -> None:
        """Keep what was asked for this time; the rest is no longer there."""
        if self.counted or set(self._now) != set(self._known):
            write_json(self._tree / KEPT, {"by": self._by, "entries": self._now})


def _changed(folder: Path) -> int:
    """When a folder last changed (ns); 0 if it is not there."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def all_nights(tree: Path, kept: Kept, *, pictured: int) -> list[dict[str, Any]]:
    """Every night of the tree, newest first: `date`, `page`, `tiles`, `images`, `n_mosaics`, and `mosaics` of some.

    Parameters
    ----------
    tree : Path
        Products tree.
    kept : Kept
    pictured : int
        The newest so many nights have their `mosaics`, a dict each; those of others are an empty list.
    """
    dates = sorted(
        {
            path.name.removesuffix(".html")
            for pattern in ("ms/science/*", "images/*", "mosaics/*", "qa/*")
            for path in tree.glob(pattern)
            if re.fullmatch(names.DATE_PATTERN, path.name.removesuffix(".html"))
        },
        reverse=True,
    )
    transits = [
        path for path in sorted(tree.glob("mosaics/*")) if not re.fullmatch(names.DATE_PATTERN, path.name)
    ]
    return [_night(tree, date, transits, kept, pictured=place < pictured) for place, date in enumerate(dates)]


def _night(tree: Path, date: str, transits: list[Path], kept: Kept, *, pictured: bool) -> dict[str, Any]:
    own = tree / "mosaics" / date
    centred = [path / date for path in transits if (path / date).is_dir()]  # on a calibrator's transit

    def folders() -> list[Path]:
        return sorted(path for path in own.glob("*") if path.is_dir() and ".part." not in path.name) + centred

    looked = [tree / "ms/science" / date, tree / "images" / date, own, *centred]
    if pictured:
        looked += [*folders(), *(tree / "qa" / day for day in (date, f"{date}b"))]
    found: dict[str, Any] = kept.of(
        f"night {date}{' with pictures' if pictured else ''}",
        looked,
        lambda: _count(tree, date, folders(), pictured=pictured),
    )
    page = names.night_page(date) if (tree / names.night_page(date)).is_file() else None
    return {"date": date, "page": page, **found}


def _count(tree: Path, date: str, folders: list[Path], *, pictured: bool) -> dict[str, Any]:
    mosaics = [path for path in folders if (path / STATUS).is_file()]
    return {
        "tiles": sum(1 for _ in tree.glob(f"ms/science/{date}/*.json")),
        "images": sum(1 for _ in tree.glob(f"images/{date}/*/{STATUS}")),
        "n_mosaics": len(mosaics),
        "mosaics": [_mosaic(tree, path) for path in mosaics] if pictured else [],
    }


def _mosaic(tree: Path, folder: Path) -> dict[str, Any]:
    """A mosaic: its `name`, `state`, `reason`, `picture`, `caption` (lines), and `links` to the files that say more."""
    made = read_json(folder / STATUS)
    product = str(folder.relative_to(tree))
    picture = next(folder.glob("*.png"), None)
    name = folder.name if picture is None else picture.stem
    judged = names.mosaic_verdict(product, name)
    record = read_json(tree / judged) if (tree / judged).is_file() else None
    links = {"status": f"{product}/{STATUS}"}
    if record is not None:
        links["verdict"] = judged
    log = names.log_of(product)[1]
    if (tree / log).is_file():
        links["log"] = log
    image = folder / f"{name}.fits"
    if image.is_file():
        links["FITS"] = str(image.relative_to(tree))
    return {
        "name": name,
        "state": "rejected" if made["reason"] else "ok" if record is None else state(record),
        "reason": made["reason"] or (record or made)["reason"],
        "picture": None if picture is None else str(picture.relative_to(tree)),
        "caption": caption(made, record or {}),
        "links": links,
    }


def caption(made: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """What stands below the picture of a mosaic, of what is known: strip, hours and tiles; noise and sources.

    Parameters
    ----------
    made : mapping
        The mosaic's sidecar.
    record : mapping
        The verdict on it; empty where there is none.
    """
    metrics, judged = made.get("metrics", {}), record.get("metrics", {})
    window = made.get("parameters", {}).get("window") or {}
    dec_deg = window.get("dec_deg", metrics.get("center_dec_deg"))
    where = [] if dec_deg is None else [f"strip {dec_deg:+.1f}°"]
    if "mjd_start" in metrics:
        where.append(f"{names.utc(metrics['mjd_start']):%H:%M}–{names.utc(metrics['mjd_end']):%H:%M} UTC")
    elif "mid_mjd" in window:
        where.append(f"middle {names.utc(window['mid_mjd']):%H:%M} UTC")
    tiles = made.get("tiles", ())
    if tiles:
        where.append(f"{sum(tile['weight'] > 0 for tile in tiles)} of {count_of(len(tiles), 'tile')}")
    seen = []
    if metrics.get("rms_median_jy") is not None:
        lowest = f" (lowest {1e3 * metrics['rms_min_jy']:.2f})" if metrics.get("rms_min_jy") else ""
        seen.append(f"rms {1e3 * metrics['rms_median_jy']:.2f} mJy/beam{lowest}")
    if "n_sources" in judged:
        seen.append(count_of(judged["n_sources"], "source"))
    return [", ".join(part) for part in (where, seen) if part]


def logs(tree: Path, kept: Kept) -> dict[str, int]:
    """How many logs each rule has left: of a date or a calibrator in a folder of its own, or beside one another."""

    def count(folder: Path) -> int:
        name = f"logs {folder.relative_to(tree)}"
        return int(kept.of(name, [folder], lambda: sum(1 for _ in folder.glob("*.log"))))

    return {
        rule.name: count(rule) + sum(count(path) for path in rule.glob("*") if path.is_dir())
        for rule in sorted(tree.glob("logs/*"))
        if rule.is_dir()
    }
