"""Which products trees are made of a directory of raw files: none of them may delete what another one needs.

`{incoming}/.contimg/{name}.json` names a tree, written when a run of it begins (no dry run), and once more where links
in `incoming` lead. It stays until `contimg retention --release TREE` takes it away. Directories above and below count:
the one tree may be made of a night, the other of all nights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.products import read_json, write_json
from contimg.core.provenance import digest

FOLDER = ".contimg"


def _record(folder: Path, products: Path) -> Path:
    return folder / FOLDER / f"{digest(os.path.realpath(products))}.json"


def register(incoming: Path, products: Path, files: Iterable[str] = ()) -> str | None:
    """Note that a products tree is made of these raw files; returns a line where that cannot be written.

    Parameters
    ----------
    incoming, products : Path
        Of the run.
    files : iterable of str
        Raw files, one of each tile: where they are links, it is noted where those lead, too.
    """
    failed = None
    for folder in (incoming, *_elsewhere(incoming, files)):
        path = _record(folder, products)
        if path.is_file():
            continue
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            write_json(path, {"products": os.path.realpath(products), "since": since})
        except OSError as error:
            failed = failed or (
                f"{folder}: this products tree cannot be noted there ({error.strerror}): `contimg retention` of "
                "another tree will not know that it needs these raw files"
            )
    return failed


def _elsewhere(incoming: Path, files: Iterable[str]) -> list[Path]:
    """Directories outside `incoming` that files lie in, behind links of theirs or of their directories."""
    root, found, known = Path(os.path.realpath(incoming)), set(), {}
    for path in files:
        parent = path.rpartition(os.sep)[0]
        if parent not in known:
            known[parent] = Path(os.path.realpath(parent))
        real = Path(os.path.realpath(path)).parent if Path(path).is_symlink() else known[parent]
        if not real.is_relative_to(root):
            found.add(real)
    return sorted(found)


def _places(folders: Iterable[Path]) -> list[Path]:
    """Directories in which a tree may be noted that is made of what lies in some folders: those, and all above them."""
    reals = (Path(os.path.realpath(folder)) for folder in folders)
    return list(dict.fromkeys(place for real in reals for place in (real, *real.parents)))


def others(incoming: Path, products: Path, folders: Iterable[Path] = ()) -> list[str]:
    """Other products trees that are made of raw files of `incoming`, or of directories below or above it.

    Parameters
    ----------
    incoming, products : Path
        Of the run.
    folders : iterable of Path
        Directories in which the files lie that are asked about.
    """
    own, found = os.path.realpath(products), []
    for place in _places((incoming, *folders)):
        if (place / FOLDER).is_dir() and not os.access(place / FOLDER, os.R_OK | os.X_OK):
            found.append(f"(a directory that cannot be read, {place / FOLDER})")
        for path in sorted((place / FOLDER).glob("*.json")):
            try:
                tree = str(read_json(path)["products"])
            except (InputError, LookupError, TypeError):
                tree = f"(an unreadable record, {path})"
            if os.path.realpath(tree) != own and tree not in found:
                found.append(tree)
    return found


def release(incoming: Path, products: Path) -> None:
    """Forget a products tree: it is given up, or its raw files may go.

    Raises
    ------
    InputError
        It is not known there.
    """
    places = [*_places((incoming,)), *(Path(folder) for folder, _, _ in os.walk(incoming))]
    noted = {path for place in places if (path := _record(place, products)).is_file()}
    if not noted:
        known = ", ".join(others(incoming, Path(os.devnull), places)) or "none"
        raise InputError(f"--release: {products}: no products tree of {incoming}; known: {known}")
    for path in noted:
        path.unlink(missing_ok=True)  # the same by two names
