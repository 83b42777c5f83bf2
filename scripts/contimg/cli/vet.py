"""`contimg vet`: say what becomes of a candidate for a scattering event, and why."""

from __future__ import annotations

import argparse
import getpass

from contimg.cli.numbers import count
from contimg.core.errors import InputError

_STATES = ("active", "investigated", "dismissed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg vet`."""
    from contimg.config.files import take_tree

    parser.add_argument("source", nargs="?", help="source of the candidate; none: list what has been said")
    parser.add_argument("status", nargs="?", choices=_STATES, help="what becomes of it")
    parser.add_argument("--comment", default="", help="why")
    parser.add_argument(
        "--event", type=count(0, 10**9), help="number of the event; default: all of the source"
    )
    parser.add_argument("--by", help="who says so (default: the user's name)")
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Add a verdict, or list them."""
    from contimg.config.load import tree_of
    from contimg.core.names import ESE_CANDIDATES
    from contimg.variability import candidates, vetting

    tree = tree_of(args)
    if args.source is None or args.status is None:
        if args.source is not None:
            raise InputError(f"{args.source}: write a status behind it: {', '.join(_STATES)}")
        for row in vetting.read(tree / vetting.FILE).to_dict("records"):
            said = f"{row['status']}  {row['by']}: {row['comment']}"
            print(f"{row['at']}  {row['source_id']}  MJD {row['middle_mjd']:.1f}  {said}")
        return 0
    path = tree / ESE_CANDIDATES
    if not path.is_file():
        raise InputError(f"{path}: no candidates yet; make them: snakemake ese")
    listed = candidates.read(path)
    by = args.by or getpass.getuser()
    count = vetting.add(
        tree / vetting.FILE, listed, args.source, args.status, comment=args.comment, by=by, event=args.event
    )
    print(
        f"{args.source}: {args.status}, {count} event{'' if count == 1 else 's'}; the next search says so too"
    )
    return 0
