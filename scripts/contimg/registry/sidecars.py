"""What the registries are built from: the sidecars of a products tree, one after the other in order of path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core.errors import InputError
from contimg.core.kinds import KINDS, STATUS
from contimg.core.names import ProductName, product_of
from contimg.core.products import read_json
from contimg.core.provenance import digest

_DIRECTORIES = tuple(
    sorted(kind.path.split("/")[0] for kind in KINDS if kind.registered and kind.sidecar == "inside")
)
_FILES = dict(
    sorted(
        (kind.path.partition("/{")[0], f".{kind.path.rpartition('.')[2]}")
        for kind in KINDS
        if kind.registered and kind.sidecar == "beside"
    )
)
"""Folders of products that have their sidecars beside them, and the suffix of those products."""
_VERDICTS, _PUBLISHED, _RECEIPTS = "qa", "published", "state/published"


@dataclass(frozen=True)
class Sidecar:
    """What a product says of itself.

    Attributes
    ----------
    product : ProductName
    content : dict or None
        `status`, `reason`, `inputs`, `metrics` … as `products.status` made them; None if it cannot be used.
    problem : str
        Why not.
    """

    product: ProductName
    content: dict[str, Any] | None
    problem: str = ""


def read_tree(tree: Path) -> Iterator[Sidecar]:
    """Read every sidecar of a products tree, in order of the products' paths.

    One folder's names are in memory at a time. Parts of products that are being made, and whatever else is not
    named like a product, are passed over; a sidecar that cannot be read is yielded with its problem.
    """
    for kind in _DIRECTORIES:
        for path in two_below(tree / kind):
            product = product_of(str(path.relative_to(tree)))
            if product is not None and (path / STATUS).is_file():
                yield _read(product, path / STATUS)
    for kind, suffix in _FILES.items():
        for path in two_below(tree / kind):
            product = product_of(str(path.relative_to(tree).with_suffix(suffix)))
            if path.suffix == ".json" and product is not None:
                yield _read(product, path)


def state_of_others(tree: Path, own: Iterable[str]) -> str:
    """Digest of the state of the tree's products but for those of a run.

    The rule that builds the registries has a run's products as input, its verdicts and what it published; this as
    a parameter lets it see what other runs made, and what was withdrawn. Folders in which the run has nothing are
    told by their time of change alone.

    Parameters
    ----------
    tree : Path
        The products tree.
    own : iterable of str
        Products of the run, relative to the tree.
    """
    theirs: dict[str, set[str]] = {}
    for product in own:
        parent, _, name = product.rpartition("/")
        if parent.startswith(_RECEIPTS):
            parent = parent.removeprefix("state/")
        theirs.setdefault(parent, set()).add(_stem(name))
    seen = []
    for kind in (*_DIRECTORIES, *_FILES, _VERDICTS, _PUBLISHED):
        for folder in _listed(tree / kind):
            relative = str(folder.relative_to(tree))
            if relative in theirs:
                seen += [
                    [str(path.relative_to(tree)), path.stat().st_mtime_ns]
                    for path in _listed(folder)
                    if _stem(path.name) not in theirs[relative] and _counts(kind, path)
                ]
            elif folder.is_dir():
                seen.append([relative, folder.stat().st_mtime_ns])
    seen += [
        [str(path.relative_to(tree))] for path in sorted(tree.glob(f"{_PUBLISHED}/*/*/*.withdrawn.json"))
    ]
    return digest(seen)


def _stem(name: str) -> str:
    return name.removesuffix(".ms").removesuffix(".parquet").removesuffix(".json")


def _counts(kind: str, path: Path) -> bool:
    """Whether an entry of a folder is a product, a verdict or a publication, and no part of one."""
    of_kind = {_VERDICTS: path.suffix == ".json", _PUBLISHED: path.is_dir()}
    return ".part." not in path.name and of_kind.get(kind, True)


def two_below(folder: Path) -> Iterator[Path]:
    """What lies in the folders of a folder, in order of path."""
    for middle in _listed(folder):
        yield from _listed(middle)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _read(product: ProductName, path: Path) -> Sidecar:
    try:
        content = read_json(path)
    except InputError as error:
        return Sidecar(product, None, str(error).removeprefix(f"{path}: "))
    verdict = content.get("status") if isinstance(content, dict) else None
    if verdict not in ("ok", "rejected") or (verdict == "ok") != (content.get("reason") is None):
        return Sidecar(product, None, "expected status ok, or rejected with a reason")
    return Sidecar(product, content)
