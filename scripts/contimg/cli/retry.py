"""`contimg retry`: give products that ended with an error, or whose job kept being killed, another chance."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from contimg.config.load import tree_of
from contimg.core.errors import ContimgError, InputError
from contimg.core.kinds import KINDS
from contimg.core.products import read_json, remove
from contimg.jobs import frame, treelock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg retry`."""
    from contimg.config.files import take_tree

    parser.add_argument(
        "product", nargs="*", help="paths below the products tree; none: all that ended with an error"
    )
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Clear failure records and remove products that are rejected for an error; the next run makes them."""
    tree = tree_of(args)
    if not tree.is_dir():
        raise InputError(f"{tree}: no such directory; give the products tree with --products")
    with treelock.held(tree / "state" / "lock"):
        return _clear(tree, args.product)


def _clear(tree: Path, products: list[str]) -> int:
    failed = with_errors(tree)
    named = {str(path.relative_to(tree)): product for product, paths in failed.items() for path in paths}
    given = [_below(product, tree) for product in products]
    chosen = [named.get(product, product) for product in given]
    unknown = sorted(set(chosen) - failed.keys() - set(frame.killed(tree)))
    if unknown:
        raise InputError(
            f"{', '.join(unknown)}: neither ended with an error nor was killed; expected one of "
            f"{', '.join(sorted({*failed, *frame.killed(tree)})) or 'none'}"
        )
    every = sorted({*failed, *frame.killed(tree)})
    if not every:
        print("nothing ended with an error or was killed; `contimg query rejected` lists what has bad data")
    for product in chosen or every:
        records = frame.forget(product, tree)
        removed = failed.get(product, [])
        for path in removed:
            remove(path)
        print(
            f"{product}: {records} failure records cleared, {'product removed' if removed else 'no product yet'}"
        )
    return 0


def _below(product: str, tree: Path) -> str:
    """A product's path below its tree, however it was given."""
    path = Path(os.path.abspath(product))
    return str(path.relative_to(tree)) if path.is_relative_to(tree) else product.rstrip("/")


def with_errors(tree: Path) -> dict[str, list[Path]]:
    """Products of a tree that are rejected for an error, each with the paths to remove."""
    found: dict[str, list[Path]] = {}
    for kind in KINDS:
        for sidecar in sorted(tree.glob(kind.glob)):
            try:
                reason = read_json(sidecar)["reason"]
            except (ContimgError, LookupError, TypeError):
                continue  # `contimg query` lists what cannot be read
            if not (isinstance(reason, str) and reason.startswith(frame.ERROR_PREFIX)):
                continue
            if kind.sidecar == "beside":
                product = sidecar.with_suffix(Path(kind.path).suffix)
                found[str(product.relative_to(tree))] = [product, sidecar]
            else:
                product = sidecar.parent if kind.sidecar == "inside" else sidecar
                found[str(product.relative_to(tree))] = [product]
    return found
