"""`contimg retention`: show what may go and what holds the rest; with --apply, let it go."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.core import names
from contimg.jobs import treelock

if TYPE_CHECKING:
    from contimg.config.model import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg retention`."""
    from contimg.config.files import take_configuration

    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="let go what may go; without it, only show")
    what.add_argument(
        "--forget",
        nargs="+",
        default=[],
        metavar="TILE",
        help="clear the record of tiles whose raw files are there (again): their products are made again",
    )
    what.add_argument(
        "--release",
        nargs="+",
        default=[],
        metavar="PRODUCTS",
        type=Path,
        help="other products trees that do not need these raw files any more",
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Print what may go, what is held and by what; carry it out if asked."""
    from contimg.config.load import of_arguments
    from contimg.run import trees

    config = of_arguments(args)
    if args.release:
        for products in args.release:
            trees.release(config.incoming, products.absolute())
            print(f"{products}: does not hold the raw files of {config.incoming} any more")
        return 0
    if args.apply or args.forget:
        treelock.hold(config.products / "state" / "lock")
    if args.forget:
        return _forget(config, args.forget)
    return _let_go(config, apply=args.apply)


def _forget(config: Config, tiles: list[str]) -> int:
    from contimg.index.build import build_index
    from contimg.run import retention

    index = build_index(
        config.incoming,
        start_mjd=None,
        end_mjd=None,
        min_subbands=config.min_subbands,
        cache=config.products / "state" / "index",
        reader=config.raw.reader,
    )
    for tile in tiles:
        retention.forget(tile, config.products, index)
        print(f"{tile}: forgotten; what is missing of it is made again")
    return 0


def _let_go(config: Config, *, apply: bool) -> int:
    from contimg.index.load import cache_of
    from contimg.night.night import plan
    from contimg.run import retention

    tree = config.products
    if apply:
        for path in retention.finish(tree):
            print(f"gone: {path}, half removed before")
    night = plan(config, cache=cache_of(tree))
    now = names.mjd(datetime.now(UTC))
    free: Counter[str] = Counter()
    held: dict[str, Counter[str]] = defaultdict(Counter)
    # all decided before anything goes: what is gone would hold what else may go
    found = list(retention.items(night, config, now))
    for item in found:
        if item.held is not None:
            held[item.kind][item.held] += item.bytes
            continue
        if apply:
            retention.retire(
                item, night.tiles[item.tile], tree, incoming=config.incoming, archive=config.retention.archive
            )
        free[item.kind] += item.bytes
        print(
            f"{'gone' if apply else 'may go'}: {item.kind} {item.tile} {item.bytes / 1e9:.3f} GB", flush=True
        )
    for kind, reasons in held.items():
        for reason, size in reasons.most_common():
            print(f"held: {kind} {size / 1e9:.3f} GB: {reason}")
    print(f"{sum(free.values()) / 1e9:.3f} GB {'gone' if apply else 'may go (--apply lets it)'}")
    return 0
