"""What became of a night: facts gathered from the sidecars of a products tree, for the night's page.

Nothing is measured here. A tile's fate is where its chain of products broke first; a mosaic's causes are the fates
of the tiles that it lacks; the latency clock runs from the last raw file on disk to the mosaic's verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.qa import verdict as qa

STEPS = ("Measurement Sets", "caltables", "images", "verdicts on tiles", "mosaic", "verdict on the mosaic")


def gather(date: str, tree: Path, left_out: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Read everything that a products tree holds of a date.

    Parameters
    ----------
    date : str
        UTC date as products have it.
    tree : Path
        Products tree.
    left_out : sequence of (tile, reason)
        Groups of files of this date that made no tile.

    Returns
    -------
    dict
        `date`; `tiles` and `mosaics`, each verdict with what `fate` and `causes` say; `left_out`; `calibrations`;
        `lost`: groups that no mosaic of the date could have held, each with its reason; `injections`; `photometry`:
        what was measured of each mosaic.
    """
    # the second recurrence of a sidereal day within a UTC date has a directory of its own
    paths = [*sorted(tree.glob(f"qa/{date}/*.json")), *sorted(tree.glob(f"qa/{date}b/*.json"))]
    verdicts = [read_json(path) for path in paths]
    tiles = [_tile(record, tree) for record in verdicts if record["kind"] == "tile"]
    by_name = {tile["name"]: tile for tile in tiles}
    mosaics = [_mosaic(record, tree, by_name, left_out) for record in verdicts if record["kind"] == "mosaic"]
    told = {cause for mosaic in mosaics for cause in mosaic["causes"]}
    lost = [f"{tile}: left out: {reason}" for tile, reason in left_out]
    return {
        "date": date,
        "tiles": tiles,
        "mosaics": sorted(mosaics, key=lambda mosaic: mosaic["mid_mjd"] or 0.0),
        "left_out": [list(entry) for entry in left_out],
        "calibrations": [_calibration(path) for path in sorted(tree.glob(f"cal/{date}/*/{STATUS}"))],
        "lost": [line for line in lost if line not in told],
        "injections": [_beside(path) for path in sorted(tree.glob(f"qa/{date}/injection/*.json"))],
        "photometry": [
            _beside(path)
            for day in (date, f"{date}b")
            for path in sorted(tree.glob(f"photometry/{day}/*.json"))
        ],
    }


def _tile(record: Mapping[str, Any], tree: Path) -> dict[str, Any]:
    return {
        "name": Path(record["product"]).name,
        "state": state(record),
        "reason": record["reason"],
        "notes": record["notes"],
        "gates": record["gates"],
        "metrics": record["metrics"],
        "sources": _sources(record, tree),
    }


def state(record: Mapping[str, Any]) -> str:
    """`ok`, `failed` (a gate), `rejected` (when it was made) or `error`."""
    reason = record["reason"]
    if reason is None:
        return "ok"
    if "error: " in reason[:20]:
        return "error"
    return "failed" if record["gates"] else "rejected"


def _sources(record: Mapping[str, Any], tree: Path) -> str:
    """Path of the table of sources, relative to the tree."""
    name = Path(record["product"])
    is_tile = record["kind"] == "tile"
    verdict = (
        names.tile_verdict(name.name) if is_tile else names.mosaic_verdict(str(name), _stem(tree / name))
    )
    return verdict.removesuffix(".json") + ".sources.parquet"


def _stem(directory: Path) -> str:
    """Stem of a mosaic's files: the window's name, or the calibrator's and the date's."""
    weights = next(directory.glob("*.weights.fits"), None)
    if weights is not None:
        return weights.name.removesuffix(".weights.fits")
    window = read_json(directory / STATUS)["parameters"].get("window", {})
    return str(window.get("name", directory.name))


def _mosaic(
    record: Mapping[str, Any],
    tree: Path,
    tiles: Mapping[str, Mapping[str, Any]],
    left_out: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    directory = tree / record["product"]
    made = read_json(directory / STATUS)
    window = made["parameters"].get("window")
    return {
        "name": _stem(directory),
        "product": record["product"],
        "state": state(record),
        "reason": record["reason"],
        "notes": record["notes"],
        "gates": record["gates"],
        "metrics": record["metrics"],
        "best_rms_jy": made["metrics"].get("rms_min_jy") if record["gates"] else None,
        "mid_mjd": window["mid_mjd"] if window else record["metrics"].get("mid_mjd"),
        "used": sum(tile["weight"] > 0 for tile in made["tiles"]),
        "wanted": len(made["tiles"]),
        "causes": causes(made["tiles"], tiles, inside(left_out, window)),
        "latency": latency(made, record, tree),
        "sources": _sources(record, tree),
    }


def inside(left_out: Iterable[tuple[str, str]], window: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Groups left out whose start lies in the time that a mosaic's tiles span."""
    if window is None:
        return []
    half_days = window["width_minutes"] / 2880.0
    return [
        (tile, reason)
        for tile, reason in left_out
        if abs(names.tile_mjd(tile) - window["mid_mjd"]) <= half_days
    ]


def causes(
    tiles: Iterable[Mapping[str, Any]],
    verdicts: Mapping[str, Mapping[str, Any]],
    left_out: Iterable[tuple[str, str]],
) -> list[str]:
    """Why a mosaic lacks what it lacks: a line for each tile that it could not take, the first cause named.

    Parameters
    ----------
    tiles : iterable of mapping
        `tiles` of a mosaic's sidecar.
    verdicts : mapping
        Tiles as `gather` has them, by name: their reason is the first cause.
    left_out : iterable of (tile, reason)
        Groups that made no tile, in the mosaic's time.
    """
    lines = []
    for tile in tiles:
        if tile["status"] == "ok" and not tile["reason"]:
            continue
        known = verdicts.get(tile["tile"], {}).get("reason")
        lines.append(f"{tile['tile']}: {known or tile['reason']}")
    return lines + [f"{tile}: left out: {reason}" for tile, reason in left_out]


def latency(made: Mapping[str, Any], verdict: Mapping[str, Any], tree: Path) -> dict[str, Any] | None:
    """From the last raw file on disk to the verdict on the mosaic, by steps; None if the raw files are gone.

    Each step ends when the last of its products was there, and includes what its jobs waited for.

    Returns
    -------
    dict
        `seconds` in all, `steps` (seconds of each of `STEPS`), `slowest` (its name).
    """
    used = [tile["tile"] for tile in made["tiles"] if tile["weight"] > 0]
    sets = [tree / names.science_sidecar(tile) for tile in used]
    raw = [Path(path) for sidecar in sets if sidecar.is_file() for path in read_json(sidecar)["inputs"]]
    images = [tree / names.image_dir(tile) / STATUS for tile in used]
    tables = {
        tree / Path(path).parent / STATUS
        for image in images
        if image.is_file()
        for path in read_json(image)["caltables"]
    }
    begin = _last(raw)
    if begin is None:
        return None
    product = Path(verdict["product"])
    ends = [
        _last(sets),
        _last(tables),
        _last(images),
        _last([tree / names.tile_verdict(tile) for tile in used]),
        _last([tree / product / STATUS]),
        _last([tree / names.mosaic_verdict(str(product), _stem(tree / product))]),
    ]
    steps, reached = {}, begin
    for name, end in zip(STEPS, ends, strict=True):
        later = max(reached, end if end is not None else reached)
        steps[name], reached = later - reached, later
    return {"seconds": reached - begin, "steps": steps, "slowest": max(steps, key=lambda name: steps[name])}


def _last(paths: Iterable[Path]) -> float | None:
    """Latest modification (seconds since 1970) of the files that are there; None if one is not, or there is none."""
    paths = list(paths)
    if not paths or not all(path.exists() for path in paths):
        return None
    return max(path.stat().st_mtime for path in paths)


def _calibration(path: Path) -> dict[str, Any]:
    record = read_json(path)
    metrics = record["metrics"]
    return {
        "name": path.parent.name,
        "directory": str(path.parent),
        "reason": record["reason"],
        "refant": metrics.get("refant", {}).get("name"),
        "n_antennas": metrics.get("n_antennas_solved"),
        "phase_scatter_deg": metrics.get("phase_scatter_deg"),
    }


def _beside(path: Path) -> dict[str, Any]:
    """Name, reason and numbers of a sidecar of injected or measured sources."""
    record = read_json(path)
    return {"name": path.stem, "reason": record["reason"], "metrics": record["metrics"]}


def headline(facts: Mapping[str, Any]) -> tuple[str, bool]:
    """The verdict on the night in one sentence, and whether all its mosaics pass."""
    mosaics, tiles = facts["mosaics"], facts["tiles"]
    good = sum(mosaic["state"] == "ok" for mosaic in mosaics)
    usable = sum(tile["state"] == "ok" for tile in tiles)
    text = f"{good} of {len(mosaics)} mosaics pass; {usable} of {len(tiles) + len(facts['left_out'])} tiles are good"
    worst = worst_gate(facts)
    if worst:
        text += f"; most often fails: {worst}"
    return text, good == len(mosaics) > 0


def worst_gate(facts: Mapping[str, Any]) -> str | None:
    """The gate that fails most of the tiles and mosaics; None if none does."""
    counts: dict[str, int] = {}
    for product in (*facts["tiles"], *facts["mosaics"]):
        for name, gate in product["gates"].items():
            if gate["verdict"] == qa.FAIL:
                counts[name] = counts.get(name, 0) + 1
    if not counts:
        return None
    name = max(counts, key=lambda key: counts[key])
    return f"{name} ({counts[name]})"
