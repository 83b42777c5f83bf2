"""`contimg registry`: build, back up, restore and check the registries of a products tree."""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.core.errors import InputError

_ACTIONS = ("build", "backup", "restore", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg registry`."""
    from contimg.config.files import take_tree

    parser.add_argument(
        "action",
        choices=_ACTIONS,
        help="build: anew from the sidecars; backup: keep a copy; restore: put a backup in its place; check: damaged, "
        "or not what the sidecars say",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, help="restore: the backup; default: the newest of each"
    )
    take_tree(parser)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; `check` returns 1 if something is wrong."""
    from contimg.config.load import of_arguments, tree_of
    from contimg.registry import files

    config = of_arguments(args, check=False)
    tree = tree_of(args, config)
    if not tree.is_dir():
        raise InputError(f"{tree}: no such directory; give the products tree with --products")
    if args.source is not None and args.action != "restore":
        raise InputError("--from: found it without `restore`; write contimg registry restore --from FILE")
    registries = [tree / "state" / name for name in files.NAMES]
    keep = config.registry.backups
    if args.action == "check":
        return _check(tree, registries)
    if args.action == "build":
        counts = files.rebuild(tree, keep=keep)
        print(", ".join(f"{count} {what}" for what, count in counts.items()))
        return 0
    for path in registries:
        if args.action == "backup":
            kept = files.backup(path, keep=keep)
            print(f"{path.name}: {f'kept as {kept.name}' if kept else 'the newest backup is the same'}")
        elif args.source is None or path.name == _kind(args.source):
            print(f"{path.name}: restored from {files.restore(path, args.source, keep=keep).name}")
    return 0


def _kind(source: Path) -> str:
    """Which registry a backup is of, whatever it is called."""
    from contimg.registry import files

    files.require_there(source)
    files.require_sound(source)
    return files.kind_of(source)


def _check(tree: Path, registries: list[Path]) -> int:
    from contimg.registry import files

    bad = 0
    for path in registries:
        files.require_there(path)
        found = files.problems(path)
        bad += bool(found)
        for problem in found:
            print(f"{path.name}: {problem}")
    if not bad:
        for name in files.as_rebuilt(tree):
            bad += 1
            print(f"{name}: differs from the sidecars; build it anew: contimg registry build")
    if not bad:
        print(f"{', '.join(path.name for path in registries)}: sound, and what the sidecars say")
    return 1 if bad else 0
