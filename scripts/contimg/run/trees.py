"""Which products trees are made of a directory of raw files: none of them may delete what another one needs.

`{incoming}/.contimg/{name}.json` names a tree, written when a run or a plan of it begins. It stays until
`contimg retention --release TREE` takes it away.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.products import read_json, write_json
from contimg.core.provenance import digest

FOLDER = ".contimg"


def _record(incoming: Path, products: Path) -> Path:
    return incoming / FOLDER / f"{digest(os.path.realpath(products))}.json"


def register(incoming: Path, products: Path) -> str | None:
    """Note that a products tree is made of these raw files; returns a line if that cannot be written there."""
    path = _record(incoming, products)
    if path.is_file():
        return None
    try:
        write_json(
            path, {"products": os.path.realpath(products), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        )
    except OSError as error:
        return (
            f"{incoming}: this products tree cannot be noted there ({error.strerror}): `contimg retention` of another "
            "tree will not know that it needs these raw files"
        )
    return None


def others(incoming: Path, products: Path) -> list[str]:
    """Other products trees that are made of these raw files."""
    own, found = os.path.realpath(products), []
    for path in sorted((incoming / FOLDER).glob("*.json")):
        try:
            tree = str(read_json(path)["products"])
        except (InputError, LookupError, TypeError):
            tree = f"(an unreadable record, {path})"
        if os.path.realpath(tree) != own:
            found.append(tree)
    return found


def release(incoming: Path, products: Path) -> None:
    """Forget a products tree: it is given up, or its raw files may go.

    Raises
    ------
    InputError
        It is not known there.
    """
    path = _record(incoming, products)
    if not path.is_file():
        known = ", ".join(others(incoming, Path(os.devnull))) or "none"
        raise InputError(f"--release: {products}: no products tree of {incoming}; known: {known}")
    path.unlink()
