"""`contimg try`: a product made with other settings, in a directory of its own beside the night's."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from contimg.cli.verify import sidecar_of, tree_of
from contimg.config.files import read_configuration, take_configuration
from contimg.core.errors import ConfigError, InputError
from contimg.core.products import configuration_file, read_json, write_json
from contimg.run import child, trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg try`."""
    parser.add_argument(
        "product", type=Path, help="directory of an image, a mosaic or a caltable in the products tree"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        required=True,
        metavar="KEY=VALUE",
        help="settings that differ from those it was made with: imaging='{robust: 0}'; contimg config lists all",
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        help="where to make it (default: beside the tree, PRODUCTS.try/ and the settings)",
    )
    parser.add_argument("--cores", default="all", help="cores of the run (all)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be made, make nothing")
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Make the product; print where it is, its numbers and the night's, and how to compare them."""
    product = args.product.absolute()
    tree = tree_of(product)
    path = product.relative_to(tree).as_posix()
    values = _values(args, product, tree)
    if not args.dry_run:
        return _make(args, trial.prepare(path, tree, values, args.set, args.into))
    with tempfile.TemporaryDirectory(prefix="contimg-try-") as scratch:
        return _make(args, trial.prepare(path, tree, values, args.set, args.into, scratch=Path(scratch)))


def _make(args: argparse.Namespace, prepared: trial.Trial) -> int:
    """Run the workflow in the branch."""
    settings = prepared.made / "state" / "trial_config.json"
    write_json(settings, prepared.config.model_dump(mode="json"))
    _say(f"{prepared.into}: {prepared.linked} products of {prepared.tree} are shared")
    words = ["--cores", str(args.cores), "--configfile", str(settings)]
    # a dry run has one table of its own: the profile quiets Snakemake's two, and what it says of linked products
    words += ["--dry-run"] if args.dry_run else ["--quiet", "rules"]
    try:
        with child.signals_raise():
            status = child.workflow([*words, "--", prepared.product])
    except child.Ended as ended:
        _say(f"ended by {ended}; the same command goes on from here")
        return 128 + ended.number
    if status or args.dry_run:
        return status
    return _conclude(prepared.tree / prepared.product, prepared.into / prepared.product)


def _values(args: argparse.Namespace, product: Path, tree: Path) -> dict[str, Any]:
    """The configuration that the product was made with, or the one that was given."""
    if args.configfile or args.config:
        return read_configuration(args.configfile, args.config)
    kept = configuration_file(read_json(sidecar_of(product)).get("configuration"), tree)
    if kept is None or not kept.is_file():
        raise InputError(
            f"{product}: the configuration it was made with is not in {tree / 'state' / 'configs'}; give it with "
            "--configfile"
        )
    values: dict[str, Any] = read_json(kept)
    try:
        trial.load(values, check=False)
    except ConfigError as error:
        raise ConfigError(
            f"{kept}: {error}; another version made this product. Give today's configuration with --configfile"
        ) from None
    return values


def _conclude(before: Path, after: Path) -> int:
    """Say what came of it; 1 if it is rejected."""
    states = [read_json(sidecar_of(path)) for path in (before, after)]
    print(after)
    if states[1]["status"] != "ok":
        _say(f"rejected: {states[1]['reason']}")
        return 1
    numbers = [
        (name, *(state["metrics"].get(key) for state in states))
        for name, key in (("rms", "rms_jy"), ("median rms", "rms_median_jy"))
    ]
    for name, old, new in numbers:
        if old is not None and new is not None:
            _say(f"{name} {1e3 * new:.3g} mJy/beam, the night's {1e3 * old:.3g}")
    if any(after.glob("*.rms.fits")) and any(before.glob("*.rms.fits")):
        _say(f"compare them: contimg compare {shlex.quote(str(before))} {shlex.quote(str(after))}")
    return 0


def _say(line: str) -> None:
    print(f"contimg try: {line}", file=sys.stderr, flush=True)
