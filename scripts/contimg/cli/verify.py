"""`contimg verify`: whether a product and its inputs are still what they were when it was made."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contimg.core.digests import fingerprint
from contimg.core.errors import InputError
from contimg.core.products import read_json

STATUS = "status.json"


def sidecar_of(product: Path) -> Path:
    """The sidecar of a product: inside a directory, or beside a Measurement Set."""
    inside, beside = product / STATUS, product.with_suffix(".json")
    if product.suffix == ".ms" and beside.is_file():
        return beside
    if inside.is_file():
        return inside
    if product.suffix == ".json" and product.is_file():
        return product
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


def check(product: Path, record: Mapping[str, Any], tree: Path) -> list[tuple[str, str]]:
    """Compare a product and its inputs with what its sidecar recorded.

    Returns
    -------
    list of (path, state)
        State is `as it was`, `changed`, `gone`, or `not recorded`.
    """
    rows = [(str(product), _state(record.get("contents"), fingerprint(product), product.exists()))]
    for path, recorded in record.get("digests", {}).items():
        place = tree / path
        rows.append((path, _state(recorded, fingerprint(place), place.exists())))
    return rows


def _state(recorded: str | None, found: str | None, there: bool) -> str:
    if not there:
        return "gone"
    if recorded is None:
        return "not recorded"
    return "as it was" if recorded == found else "changed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg verify`."""
    parser.add_argument(
        "product", nargs="+", type=Path, help="directory or Measurement Set of the products tree"
    )


def run(args: argparse.Namespace) -> int:
    """Print what is not as it was; exit status 1 if anything is."""
    changed = False
    for product in args.product:
        record = read_json(sidecar_of(product))
        rows = check(product, record, tree_of(product))
        wrong = [(path, state) for path, state in rows if state != "as it was"]
        changed |= any(state != "not recorded" for _, state in wrong)
        for path, state in wrong:
            print(f"{product}: {state}: {path}")
        if not wrong:
            print(f"{product}: as it was, with its {len(rows) - 1} inputs")
    return 1 if changed else 0
