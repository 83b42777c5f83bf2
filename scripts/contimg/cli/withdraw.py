"""`contimg withdraw`: take back a published version, leaving a record of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.cli.numbers import count
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.jobs import treelock

if TYPE_CHECKING:
    from contimg.publish.versions import Version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg withdraw`."""
    parser.add_argument(
        "product", help="below the products tree: mosaics/{date}/{mosaic}, or published/{date}/{name}[/v1]"
    )
    parser.add_argument("--reason", required=True, help="why; users of the version will read it")
    parser.add_argument("--version", type=count(1, 10**6), help="which version (default: the current one)")
    parser.add_argument("--products", required=True, type=Path, help="the products tree")


def run(args: argparse.Namespace) -> int:
    """Withdraw a version and write the lists of its date anew."""
    from contimg.publish.listing import write_listing
    from contimg.publish.versions import published_versions, withdraw

    tree: Path = args.products.absolute()
    if not args.reason.strip():
        raise InputError("--reason: found nothing; say why, for those who used it")
    folder, number = _place(tree, args.product, args.version)
    with treelock.held(tree / "state" / "lock"):
        known = published_versions(folder)
        if not known:
            raise InputError(
                f"{folder}: nothing was published there; published/{{date}}/index.json lists what was"
            )
        if number is None:
            number = _current(folder, known)
        record = withdraw(folder, number, args.reason.strip(), tree=tree)
        write_listing(folder.parent)
    print(f"{folder.relative_to(tree)}: version {number} is withdrawn; {record.name} says why")
    return 0


def _current(folder: Path, known: list[Version]) -> int:
    """The version that is meant: one whose withdrawal was interrupted, or the current one."""
    from contimg.publish.listing import INDEX
    from contimg.publish.versions import latest

    index = folder.parent / INDEX
    listed = read_json(index)["products"].get(folder.name, []) if index.is_file() else []
    unsaid = {entry["version"] for entry in listed if entry["state"] != "withdrawn"}
    for version in reversed(known):
        if version.withdrawn is not None and (version.path.is_dir() or version.number in unsaid):
            return version.number
    current = latest(known)
    if current is None:
        raise InputError(f"{folder}: every version is withdrawn already")
    return current.number


def _place(tree: Path, product: str, version: int | None) -> tuple[Path, int | None]:
    """The product's folder under `published/`, and the version if one is named."""
    given = Path(product).absolute()
    path = given.relative_to(tree).as_posix() if given.is_relative_to(tree) else product.rstrip("/")
    found = names.product_of(path)
    if found is not None and found.kind == "mosaic":
        return tree / names.publication(path), version
    parts = path.split("/")
    if parts[0] != "published" or len(parts) not in (3, 4):
        raise InputError(f"{product}: expected mosaics/{{date}}/{{mosaic}} or published/{{date}}/{{name}}")
    if len(parts) == 4:
        if not parts[3].removeprefix("v").isdigit():
            raise InputError(f"{product}: expected a version such as v1, found {parts[3]}")
        version = int(parts[3].removeprefix("v"))
    return tree.joinpath(*parts[:3]), version
