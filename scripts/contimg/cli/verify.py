"""`contimg verify`: whether a product and its inputs are still what they were when it was made."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contimg.core.apart import Fingerprints, fingerprints
from contimg.core.digests import whole
from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json

MANIFEST = "manifest.json"
AS_IT_WAS, NOT_RECORDED = "as it was", "not recorded"


def sidecar_of(product: Path) -> Path:
    """The sidecar of a product: inside a directory, or beside a Measurement Set."""
    inside, beside = product / STATUS, product.with_suffix(".json")
    if product.suffix == ".ms" and beside.is_file():
        return beside
    if inside.is_file():
        return inside
    if product.suffix == ".json" and product.is_file():
        return product
    if (product.parent / STATUS).is_file() and product.is_file():
        raise InputError(f"{product}: a file of a product; give the directory: {product.parent}")
    if not product.exists():
        raise InputError(
            f"{product}: no such file or directory; `contimg query --products PRODUCTS tiles`, or mosaics, lists "
            "what there is"
        )
    raise InputError(
        f"{product}: expected a product with its sidecar ({STATUS} in it, or a .json beside a Measurement Set); "
        "give its path in the products tree"
    )


def tree_of(product: Path) -> Path:
    """The products tree that a product is in: the directory above it with `state/`."""
    for folder in product.absolute().parents:
        if (folder / "state").is_dir():
            return folder
    raise InputError(f"{product}: expected in a products tree (a directory above with state/ in it)")


def check(
    product: Path, record: Mapping[str, Any], tree: Path, *, in_full: bool = False
) -> list[tuple[str, str]]:
    """Compare a product and its inputs with what its sidecar recorded, or a published version with its manifest.

    Parameters
    ----------
    product : Path
    record : mapping
        Its sidecar.
    tree : Path
        The products tree.
    in_full : bool
        Whether to read every byte of the product. A fingerprint reads 0.2 MB of a large file, and misses most changes
        of less than a sixteenth of it.

    Returns
    -------
    list of (path, state)
        State is `as it was`, `changed`, `gone`, `not recorded`, or `added` (a file of a version that no manifest has).
    """
    if (product / MANIFEST).is_file():
        return _version(product)
    with fingerprints() as marks:
        state = _state(record.get("contents"), product, marks)
        if in_full and state == AS_IT_WAS:
            recorded = record.get("whole")
            state = (
                NOT_RECORDED if recorded is None else AS_IT_WAS if whole(product) == recorded else "changed"
            )
        rows = [(str(product), state)]
        rows += [(path, _state(mark, tree / path, marks)) for path, mark in record.get("digests", {}).items()]
    return rows


def _version(folder: Path) -> list[tuple[str, str]]:
    """The files of a published version, all of them read in full."""
    from contimg.publish.versions import Version, damaged

    manifest = read_json(folder / MANIFEST)
    broken = {
        line.partition(": ")[0]: line.partition(": ")[2] for line in damaged(Version(0, folder, manifest))
    }
    known = {entry["name"] for entry in manifest["files"]} | {MANIFEST}
    states = {str(folder / name): AS_IT_WAS for name in sorted(known)}
    states |= {path: "gone" if why == "missing" else "changed" for path, why in broken.items()}
    states |= {str(path): "added" for path in sorted(folder.iterdir()) if path.name not in known}
    wrong = [state for state in states.values() if state != AS_IT_WAS]
    return [(str(folder), "changed" if wrong else AS_IT_WAS), *states.items()]


def _state(recorded: str | None, place: Path, marks: Fingerprints) -> str:
    if not place.exists():
        return "gone"
    if recorded is None:
        return NOT_RECORDED
    return AS_IT_WAS if recorded == marks.of(place) else "changed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg verify`."""
    parser.add_argument(
        "product",
        nargs="+",
        type=Path,
        help="directory or Measurement Set of the products tree, or a published version",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="read every byte of the product; without it, samples of each large file, which miss most changes of less "
        "than a sixteenth of it (a published version is always read in full)",
    )


def run(args: argparse.Namespace) -> int:
    """Print what is not as it was; exit status 1 if anything is."""
    changed = False
    for product in args.product:
        record = read_json(sidecar_of(product))
        rows = check(product, record, tree_of(product), in_full=args.whole)
        wrong = [(path, state) for path, state in rows if state != AS_IT_WAS]
        changed |= any(state != NOT_RECORDED or args.whole for _, state in wrong)
        for path, state in wrong:
            print(f"{product}: {state}: {path}")
        if not wrong:
            version = (product / MANIFEST).is_file()
            how = "every byte" if args.whole or version else "by samples of large files; --whole reads all"
            print(
                f"{product}: as it was, with its {len(rows) - 1} {'files' if version else 'inputs'} ({how})"
            )
    return 1 if changed else 0
