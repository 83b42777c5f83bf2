"""`contimg retention`: show what may go and what holds the rest; with --apply, let it go."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

from contimg.core import names
from contimg.core.errors import InputError
from contimg.jobs import treelock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg retention`."""
    from contimg.config.files import take_configuration

    parser.add_argument("--apply", action="store_true", help="let go what may go; without it, only show")
    parser.add_argument(
        "--forget",
        nargs="+",
        default=[],
        metavar="TILE",
        help="clear the record of tiles: their products are made again",
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Print what may go, what is held and by what; carry it out if asked."""
    from contimg.config.files import read_configuration
    from contimg.config.load import load
    from contimg.night.night import plan
    from contimg.run import retention

    config = load(read_configuration(args.configfile, args.config)).resolved(Path.cwd())
    tree = config.products
    if args.apply or args.forget:
        treelock.hold(tree / "state" / "lock")
    for tile in args.forget:
        if not retention.forget(tile, tree):
            raise InputError(f"--forget: {tile} is not retired; state/retired/ has the tiles that are")
        print(f"{tile}: forgotten; what is missing of it is made again")
    if args.forget:
        return 0
    night = plan(config, cache=tree / "state" / "index" if (tree / "state").is_dir() else None)
    now = names.mjd(datetime.now(UTC))
    free: Counter[str] = Counter()
    held: dict[str, Counter[str]] = defaultdict(Counter)
    for item in retention.items(night, tree, config.retention, now):
        if item.held is not None:
            held[item.kind][item.held] += item.bytes
            continue
        free[item.kind] += item.bytes
        done = "gone" if args.apply else "may go"
        if args.apply:
            retention.retire(
                item, night.tiles[item.tile], tree, incoming=config.incoming, archive=config.retention.archive
            )
        print(f"{done}: {item.kind} {item.tile} {item.bytes / 1e9:.3f} GB")
    for kind, reasons in held.items():
        for reason, size in reasons.most_common():
            print(f"held: {kind} {size / 1e9:.3f} GB: {reason}")
    print(f"{sum(free.values()) / 1e9:.3f} GB {'gone' if args.apply else 'may go (--apply lets it)'}")
    return 0
