"""Publication: a copy of what passed, numbered, read-only, with a manifest; never written over.

`published/{date}/{name}/v1/` appears by one rename, complete. A mosaic whose pixels are those of the current
version is that version; with others it becomes the next one, and both stay listed. A withdrawn version leaves
`v1.withdrawn.json`, which says why; its files move to `state/withdrawn/`, and the same pixels are not published again.
`docs/publish.md` tells users.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.core import names, provenance
from contimg.core.digests import fingerprint, sha256
from contimg.core.errors import InputError, Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import building, read_json, write_json
from contimg.jobs.frame import ERROR_PREFIX

MANIFEST = "manifest.json"
VERDICT = "verdict.json"
CONFIGURATION = "config.yaml"
_VERSION = re.compile(r"v(\d+)(\.withdrawn\.json)?")
_CARD_BYTES = 80


@dataclass(frozen=True)
class Version:
    """One published version.

    Attributes
    ----------
    number : int
    path : Path
        Its directory, which a withdrawn one does not have any more.
    manifest : dict
    withdrawn : str or None
        Why it was withdrawn.
    """

    number: int
    path: Path
    manifest: dict[str, Any]
    withdrawn: str | None = None


def published_versions(folder: Path) -> list[Version]:
    """Every version ever published of a product, by number; `folder` is `published/{date}/{name}`."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _VERSION.fullmatch(path.name)
        if match is None:
            continue
        number = int(match[1])
        if match[2]:  # sorts behind the directory, and wins over one that is about to be moved away
            record = read_json(path)
            version = Version(number, folder / f"v{number}", record["manifest"], record["reason"])
        else:
            version = Version(number, path, read_json(path / MANIFEST))
        found[number] = version
    return [found[number] for number in sorted(found)]


def publish(
    product: str,
    verdict: Mapping[str, Any],
    configuration: str,
    *,
    tree: Path = Path(),
) -> Version:
    """Publish a mosaic, unless the same is published already.

    Parameters
    ----------
    product : str
        Directory of the mosaic, relative to the products tree.
    verdict : mapping
        What QA said of it (`contimg.qa.verdict.record`); it passed.
    configuration : str
        Configuration of the run, YAML, with which the mosaic can be made again.
    tree : Path
        The products tree.

    Returns
    -------
    Version
        The new one, or the one that holds the same.

    Raises
    ------
    Rejected
        The same pixels were published and withdrawn; or tiles of the current version are missing for an error.
    InputError
        The mosaic is not what QA judged.
    """
    folder = tree / names.publication(product)
    _require_as_judged(tree / product, product, verdict)
    sources = digests(tree / product)
    known = published_versions(folder)
    for version in reversed(known):
        if version.withdrawn is not None and version.manifest["sources"] == sources:
            raise Rejected(f"version {version.number} is the same and was withdrawn: {version.withdrawn}")
    current = latest(known)
    if current is not None and current.manifest["sources"] == sources and not damaged(current):
        return current
    if current is not None:
        _require_no_less(tree / product, current)
    number = known[-1].number + 1 if known else 1
    final = folder / f"v{number}"
    with building(final, seal=False, over=False) as part:
        part.mkdir()
        _fill(part, tree / product, product, number, verdict, configuration, sources)
        _require_as_judged(tree / product, product, verdict)  # now that all was read
    return Version(number, final, read_json(final / MANIFEST))


def latest(known: Sequence[Version]) -> Version | None:
    """The current version: the newest that is not withdrawn. Old pixels that come again get a new number."""
    return next((version for version in reversed(known) if version.withdrawn is None), None)


def _require_as_judged(directory: Path, product: str, verdict: Mapping[str, Any]) -> None:
    """Raise where a product is not what QA judged."""
    if fingerprint(directory) != verdict["digests"].get(product):
        raise InputError(
            f"{product}: its files are not those that QA judged; look who changed them, delete the verdict, and run "
            "again"
        )


def _require_no_less(directory: Path, current: Version) -> None:
    """Raise where a mosaic lacks tiles for an error that the published version has: it never supersedes that."""
    had = {
        entry["tile"] for entry in current.manifest["provenance"].get("tiles", ()) if entry["status"] == "ok"
    }
    for entry in read_json(directory / STATUS).get("tiles", ()):
        if entry["status"] != "ok" and entry["tile"] in had and ERROR_PREFIX in str(entry["reason"]):
            raise Rejected(
                f"{ERROR_PREFIX}tile {entry['tile']} is missing ({entry['reason']}), which version {current.number} "
                "has: that stays; `contimg retry`, then run again"
            )


def _fill(
    part: Path,
    directory: Path,
    product: str,
    number: int,
    verdict: Mapping[str, Any],
    configuration: str,
    sources: dict[str, str],
) -> None:
    """Write everything that a version holds, the manifest last, all of it read-only."""
    from contimg.publish.catalogue import write_catalogue
    from contimg.publish.images import write_images

    found = names.product_of(product)
    if found is None:
        raise InputError(f"{product}: expected the directory of a mosaic")
    state = read_json(directory / STATUS)
    stem = names.public_stem(found.name, found.date, number)
    row = write_images(directory, part, found, stem, number, state)
    counts = write_catalogue(directory, part, found, stem, configuration)
    shutil.copyfile(directory / f"{found.name}.png", part / f"{stem}.png")
    shutil.copyfile(directory / STATUS, part / STATUS)
    write_json(part / VERDICT, dict(verdict))
    (part / CONFIGURATION).write_text(configuration)
    files = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(part.iterdir())
    ]
    commit = state["versions"].get("commit")
    manifest = {
        "product": product,
        "version": number,
        "published": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": files,
        "sources": sources,
        "verdict": verdict["verdict"],
        "gates": verdict["gates"],
        "notes": verdict["notes"],
        "catalogue": counts,
        "provenance": {
            key: state[key]
            for key in ("inputs", "caltables", "parameters", "metrics", "versions", "tiles")
            if key in state
        },
        "published_with": provenance.versions(),
        "remake": [
            *([f"git checkout {commit}"] if commit else []),
            f"snakemake --cores all {product} --configfile {names.publication(product)}/v{number}/{CONFIGURATION}",
        ],
        "obscore": row,
    }
    write_json(part / MANIFEST, manifest)
    for path in part.iterdir():
        path.chmod(0o444)
    part.chmod(0o555)


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of the files of a product, by name; not of its status, which tells times, nor of the keyword DATE."""
    return {
        path.name: undated(path) if path.suffix == ".fits" else sha256(path)
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix in (".fits", ".png")
    }


def undated(path: Path) -> str:
    """SHA-256 of a FITS file without the card of its header that says when it was written."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while len(card := stream.read(_CARD_BYTES)) == _CARD_BYTES:
            if not card.startswith(b"DATE    ="):
                total.update(card)
            if card.startswith(b"END     "):
                break
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def damaged(version: Version) -> list[str]:
    """Files of a version that are missing or not what its manifest says, each with what was found."""
    found = []
    for entry in version.manifest["files"]:
        path = version.path / entry["name"]
        if not path.is_file():
            found.append(f"{path}: missing")
        elif path.stat().st_size != entry["bytes"]:
            found.append(f"{path}: {path.stat().st_size} bytes, expected {entry['bytes']}")
        elif sha256(path) != entry["sha256"]:
            found.append(f"{path}: another SHA-256 than the manifest's")
    return found


def withdraw(folder: Path, number: int, reason: str, *, tree: Path) -> Path:
    """Withdraw a version: leave the record of it, and move its files out of `published/`.

    Returns
    -------
    Path
        The record.
    """
    version = next((known for known in published_versions(folder) if known.number == number), None)
    if version is None:
        raise InputError(f"{folder}: found no version {number}; its index.json lists them")
    record = folder / f"v{number}.withdrawn.json"
    if version.withdrawn is None:
        write_json(
            record,
            {
                "reason": reason,
                "withdrawn": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "manifest": version.manifest,
            },
        )
    if version.path.is_dir():  # also when an earlier withdrawal was interrupted here
        kept = tree / "state" / "withdrawn" / folder.relative_to(tree / "published") / f"v{number}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        version.path.chmod(0o755)  # a directory that changes its parent is written
        os.rename(version.path, kept)
        kept.chmod(0o555)
    return record
