"""The front page of a products tree, `index.html`: nights, mosaics, runs, light curves, logs, each with its way in.

It is read off the tree: whatever pages and products are there when it is written, it links to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.html import Link, State, Table, render
from contimg.core.locks import alone
from contimg.core.products import building, read_json
from contimg.core.provenance import versions
from contimg.report import nights
from contimg.report.verdict import verdict

NAME = "index.html"
SHOWN_NIGHTS = 14
"""Nights whose mosaics are shown as pictures: the newest. Earlier ones are linked."""
SHOWN_RUNS = 30
_LOCK = "state/index.lock"
_GOOD = {"images": "tiles", "mosaics": "mosaics"}
"""Products of a run that are counted, and the rows of its report that say how many there could be."""
_MOODS = {"yes": "ok", "part": "failed", "no": "error"}
"""The mark that stands before what a run has come to."""


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
        of the newest `SHOWN_NIGHTS`; `left_out`: groups of files that are no tile, by date; `runs` and
        `plans`: pages with what they came to; `candidates`; `published`; `logs`: folder and number of
        logs of each rule.
    """
    kept = nights.Kept(tree)
    reports = sorted(tree.glob("plan/*.report.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    runs = {path: read_json(path) for path in reports[:SHOWN_RUNS]}
    plans = sorted(path for path in tree.glob("plan/*.html") if not path.name.endswith(".report.html"))
    candidates = sorted(tree.glob("variability/candidates/*.html"))
    found = {
        "nights": nights.all_nights(tree, kept, pictured=SHOWN_NIGHTS),
        "left_out": _left_out(tree, runs.values()),
        "runs": [_run(path, facts) for path, facts in runs.items()],
        "plans": [path.stem for path in plans],
        "variability": (tree / "variability/index.html").is_file(),
        "candidates": [path.stem for path in candidates],
        "published": sorted((path.parent.name for path in tree.glob("published/*/index.json")), reverse=True),
        "logs": nights.logs(tree, kept),
    }
    kept.write()
    return found


def _left_out(tree: Path, runs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many groups of files of each date runs left out, from their reports; not those that became a tile later."""
    groups = {entry["tile"] for facts in runs for entry in facts.get("left_out", ())}
    lost = (group[:10] for group in groups if not (tree / names.science_sidecar(group)).is_file())
    return dict(Counter(lost))


def _run(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    name = path.name.removesuffix(".report.json")
    try:
        mood, said = verdict(facts)
        good = [f"{facts['counts'][what]['ok']} of {len(facts[rows])}" for what, rows in _GOOD.items()]
        return {"name": name, "made": facts["made"], "good": good, "mood": mood, "said": said}
    except KeyError as error:
        said = f"written by another version: it has no {error}"
        return {"name": name, "made": "", "good": ["", ""], "mood": "", "said": said}


def page(facts: Mapping[str, Any], tree: Path) -> str:
    """Show what `gather` found."""
    earlier = facts["nights"][SHOWN_NIGHTS:]
    return render(
        "report/templates/index.html",
        title="Products",
        tree=tree,
        **facts,
        newest=[
            {**_shown(night), "left_out": facts["left_out"].get(night["date"], 0)}
            for night in facts["nights"][:SHOWN_NIGHTS]
        ],
        earlier=Table(
            ("night", "tiles", "images", "mosaics"),
            [
                (Link(night["date"], night["page"]), night["tiles"], night["images"], night["n_mosaics"])
                for night in earlier
            ],
            (1, 2, 3),
        ),
        pictures=any(night["mosaics"] for night in facts["nights"][:SHOWN_NIGHTS]),
        reports=Table(
            ("run", "finished (UTC)", "good images", "good mosaics", "what it came to"),
            [
                (
                    Link(run["name"].replace("_", " – "), f"plan/{run['name']}.report.html"),
                    run["made"].replace("T", " ").rstrip("Z"),
                    *run["good"],
                    State(_MOODS.get(run["mood"], ""), said=run["said"]),
                )
                for run in facts["runs"]
            ],
        ),
        log_folders=Table(
            ("rule", "logs"),
            [(Link(rule, f"logs/{rule}/"), count) for rule, count in facts["logs"].items()],
        ),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=versions()["contimg"],
    )


def _shown(night: Mapping[str, Any]) -> dict[str, Any]:
    """A night with its mosaics' states as marks, and their files as links."""
    mosaics = [
        {
            **mosaic,
            "state": State(mosaic["state"]),
            "links": [Link(text, path) for text, path in mosaic["links"].items()],
        }
        for mosaic in night["mosaics"]
    ]
    return {**night, "mosaics": mosaics}


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
