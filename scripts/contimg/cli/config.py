"""`contimg config`: show the configuration, or write what is derived from its model."""

from __future__ import annotations

import argparse

from contimg.config.files import take_configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg config`."""
    take_configuration(parser)
    derived = parser.add_mutually_exclusive_group()
    derived.add_argument(
        "--write",
        action="store_true",
        help="regenerate config/config.yaml (edits in it are lost), its schema and docs/configuration.md",
    )
    derived.add_argument(
        "--check", action="store_true", help="exit with 1 if one of those files is not as regenerated"
    )


def run(args: argparse.Namespace) -> int:
    """Print the configuration with its files merged, its paths absolute and its quality tier filled in."""
    if args.write or args.check:
        return _derived(write=args.write)
    import yaml

    from contimg.config.load import check_disk, of_arguments
    from contimg.image.options import load_tiers, resolve_imaging

    config = of_arguments(args, check=False)
    filled = config.model_copy(update={"imaging": resolve_imaging(config.imaging, load_tiers())})
    print(yaml.safe_dump(filled.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    check_disk(config)
    return 0


def _derived(*, write: bool) -> int:
    from contimg.config import docs

    changed = docs.write() if write else list(docs.stale())
    for path in changed:
        print(f"{'written' if write else 'not as regenerated'}: {path}")
    return 1 if changed and not write else 0
