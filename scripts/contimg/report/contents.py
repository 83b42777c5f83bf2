"""The front page of a products tree, `index.html`: nights, mosaics, runs, light curves, logs, each with its way in.

It is read off the tree: whatever pages and products are there when it is written, it links to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.html import Link, State, Table, render
from contimg.core.kinds import STATUS
from contimg.core.locks import alone
from contimg.core.products import building, read_json
from contimg.core.provenance import versions
from contimg.qa.night import state
from contimg.report.verdict import verdict

NAME = "index.html"
SHOWN_NIGHTS = 14
"""Nights whose mosaics are shown as pictures: the newest. Earlier ones are linked."""
SHOWN_RUNS = 30
_LOCK = "state/index.lock"


def gather(tree: Path) -> dict[str, Any]:
    """Look what a products tree holds.

    Parameters
    ----------
    tree : Path
        Products tree.

    Returns
    -------
    dict
        `nights`: newest first, each its `date`, `page` (or None), numbers of `tiles` and `images`, and `mosaics`
        of the newest `SHOWN_NIGHTS`; `runs` and `plans`: pages with what they came to; `candidates`; `published`;
        `logs`: folder and number of logs of each rule.
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
    nights = [_night(tree, date, pictures=place < SHOWN_NIGHTS) for place, date in enumerate(dates)]
    reports = sorted(tree.glob("plan/*.report.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    plans = sorted(path for path in tree.glob("plan/*.html") if not path.name.endswith(".report.html"))
    candidates = sorted(tree.glob("variability/candidates/*.html"))
    return {
        "nights": nights,
        "runs": [_run(path) for path in reports[:SHOWN_RUNS]],
        "plans": [path.stem for path in plans],
        "variability": (tree / "variability/index.html").is_file(),
        "candidates": [path.stem for path in candidates],
        "published": sorted((path.parent.name for path in tree.glob("published/*/index.json")), reverse=True),
        "logs": {
            folder.name: sum(1 for _ in folder.rglob("*.log"))
            for folder in sorted(tree.glob("logs/*"))
            if folder.is_dir()
        },
    }


def _night(tree: Path, date: str, *, pictures: bool) -> dict[str, Any]:
    folders = sorted(
        path for path in tree.glob(f"mosaics/{date}/*") if path.is_dir() and ".part." not in path.name
    )
    folders += sorted(tree.glob(f"mosaics/*[!0-9]*/{date}"))  # centred on a calibrator's transit
    mosaics = [path for path in dict.fromkeys(folders) if (path / STATUS).is_file()]
    return {
        "date": date,
        "page": names.night_page(date) if (tree / names.night_page(date)).is_file() else None,
        "tiles": sum(1 for _ in tree.glob(f"ms/science/{date}/*.json")),
        "images": sum(1 for _ in tree.glob(f"images/{date}/*/{STATUS}")),
        "n_mosaics": len(mosaics),
        "mosaics": [_mosaic(tree, path) for path in mosaics] if pictures else [],
    }


def _mosaic(tree: Path, folder: Path) -> dict[str, Any]:
    """A mosaic as the front page shows it: its picture, what became of it, and the files that say more."""
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
    fate = "rejected" if made["reason"] else "ok" if record is None else state(record)
    return {
        "name": name,
        "state": State(fate),
        "reason": made["reason"] or (record or made)["reason"],
        "picture": None if picture is None else str(picture.relative_to(tree)),
        "links": [Link(text, path) for text, path in links.items()],
    }


def _run(path: Path) -> dict[str, Any]:
    facts = read_json(path)
    name = path.name.removesuffix(".report.json")
    try:
        return {"name": name, "made": facts["made"], "said": verdict(facts)[1]}
    except KeyError as error:
        return {"name": name, "made": "", "said": f"written by another version: it has no {error}"}


def page(facts: Mapping[str, Any], tree: Path) -> str:
    """Show what `gather` found."""
    earlier = facts["nights"][SHOWN_NIGHTS:]
    return render(
        "report/templates/index.html",
        title="Products",
        tree=tree,
        **facts,
        newest=facts["nights"][:SHOWN_NIGHTS],
        earlier=Table(
            ("night", "tiles", "images", "mosaics"),
            [
                (Link(night["date"], night["page"]), night["tiles"], night["images"], night["n_mosaics"])
                for night in earlier
            ],
            (1, 2, 3),
        ),
        reports=Table(
            ("run", "made", "what it came to"),
            [
                (Link(run["name"], f"plan/{run['name']}.report.html"), run["made"], run["said"])
                for run in facts["runs"]
            ],
        ),
        log_folders=Table(
            ("rule", "logs"),
            [(Link(rule, f"logs/{rule}/"), count) for rule, count in facts["logs"].items()],
            (1,),
        ),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=versions()["contimg"],
    )


def write(tree: Path) -> Path:
    """Write the front page of a products tree, complete or not at all; two that write it wait for each other.

    Parameters
    ----------
    tree : Path
        Products tree.

    Returns
    -------
    Path
        The page.
    """
    path = tree / NAME
    with alone(tree / _LOCK), building(path) as part:
        part.write_text(page(gather(tree), tree), encoding="utf-8")
    return path
