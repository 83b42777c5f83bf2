"""What is published of a date, listed: every version, the ObsCore table of the current ones, their coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contimg.core.products import building, write_json
from contimg.publish import obscore
from contimg.publish.versions import Version, latest, published_versions

INDEX = "index.json"
OBSCORE_CSV = "obscore.csv"
OBSCORE_VOTABLE = "obscore.vot"
COVERAGE = "coverage.moc.fits"


def write_listing(folder: Path) -> dict[str, Any]:
    """Write the lists of `published/{date}/` anew from its manifests, each in one rename; the index last.

    Returns
    -------
    dict
        What the index says: by product its versions, each `current`, `superseded` or `withdrawn`.
    """
    products = {
        path.name: published_versions(path)
        for path in sorted(folder.iterdir())
        if path.is_dir() and _is_product(path)
    }
    current = [version for known in products.values() if (version := latest(known)) is not None]
    rows = [version.manifest["obscore"] for version in current]
    with building(folder / OBSCORE_CSV) as part:
        obscore.write_csv(part, rows)
    with building(folder / OBSCORE_VOTABLE) as part:
        obscore.write_votable(part, rows)
    with building(folder / COVERAGE) as part:
        _union(current).save(part, format="fits")
    index = {
        "date": folder.name,
        "products": {name: [entry(version, known) for version in known] for name, known in products.items()},
    }
    write_json(folder / INDEX, index)
    return index


def _is_product(path: Path) -> bool:
    return ".part." not in path.name


def entry(version: Version, known: list[Version]) -> dict[str, Any]:
    """What the index says of one of the known versions of a product."""
    state = (
        "withdrawn"
        if version.withdrawn is not None
        else "current"
        if version is latest(known)
        else "superseded"
    )
    return {
        "version": version.number,
        "state": state,
        "reason": version.withdrawn,
        "product": version.manifest["product"],
        "published": version.manifest["published"],
        "files": [entry["name"] for entry in version.manifest["files"]],
    }


def _union(versions: list[Version]) -> Any:
    from mocpy import MOC

    from contimg.publish.coverage import ORDER

    maps = [MOC.from_fits(path) for version in versions for path in version.path.glob("*.moc.fits")]
    return MOC.new_empty(ORDER) if not maps else maps[0].union(*maps[1:]) if len(maps) > 1 else maps[0]
