"""The command `contimg`: the tools beside the workflow.

Whatever a subcommand needs is imported when that subcommand is used.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contimg import __version__
from contimg.errors import ConfigError, ContimgError

_KEY = re.compile(r"[A-Za-z_][\w-]*\w")

# Subcommands that bring their own arguments: module, help, example.
_DELEGATED = {
    "simulate": (
        "contimg.simulate.command",
        "write raw files of a simulated night, and the truth beside them",
        "contimg simulate --preset demo demo/incoming",
    ),
    "compare": (
        "contimg.compare",
        "compare the fluxes and places measured in products with those simulated",
        "contimg compare --truth demo/incoming/truth.json --products demo/products",
    ),
    "plan": (
        "contimg.plan",
        "plan a run: tiles, transits, mosaics, jobs, time and disk, as a page and a JSON file",
        "contimg plan --config incoming=/data/raw products=/data/products start=2025-10-30 end=2025-10-31",
    ),
    "report": (
        "contimg.report",
        "report what a run has come to: failures by cause, numbers at a glance, times against the plan",
        "contimg report --config incoming=/data/raw products=/data/products start=2025-10-30 end=2025-10-31",
    ),
    "verify": (
        "contimg.verify",
        "check whether products and their inputs are still what they were",
        "contimg verify /data/products/images/2025-10-30/2025-10-30T13:00:00",
    ),
    "rerun": (
        "contimg.rerun",
        "print the commands and the environment that make a product once more",
        "contimg rerun /data/products/images/2025-10-30/2025-10-30T13:00:00",
    ),
    "transits": (
        "contimg.transit_list",
        "list a calibrator's transits, with their data and what has been made of them",
        "contimg transits --calibrator 0834+555 --from 2025-10-28 --to 2025-10-31",
    ),
    "mosaic": (
        "contimg.mosaic_command",
        "wait for a calibrator's transit, make and publish its mosaic, print where it is",
        "contimg mosaic --calibrator 0834+555 --timespan-minutes 60 --configfile night.yaml",
    ),
    "retention": (
        "contimg.retention_command",
        "show what raw files and Measurement Sets may go, and what holds the rest; with --apply, let them go",
        "contimg retention --configfile night.yaml --config start=2025-10-28 end=2025-10-31",
    ),
    "withdraw": (
        "contimg.withdraw",
        "take back a published version, leaving a record of why",
        "contimg withdraw mosaics/2025-10-30/0830+55 --reason 'gains of antenna 51 wrong' --products /data/products",
    ),
    "registry": (
        "contimg.registry_command",
        "build, back up, restore or check the registries of a products tree",
        "contimg registry check --products /data/products",
    ),
    "query": (
        "contimg.query",
        "ask the registries: valid caltables, noisy tiles, products of a calibrator, what was rejected",
        "contimg query --products /data/products tables --at 2025-10-30T13:00:00 --dec 55",
    ),
    "retry": (
        "contimg.retry",
        "let the next run make again what ended with an error or was killed too often",
        "contimg retry --products /data/products",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 where the subcommand's own verdict is bad, 2 for an error said in one line.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words[0] if words else "").parse_args(words)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except ContimgError as error:
        print(f"contimg: error: {error}", file=sys.stderr)
        return 2


def _parser(command: str) -> argparse.ArgumentParser:
    """Build the parser; only the subcommand that is used imports what brings its arguments."""
    parser = argparse.ArgumentParser(
        prog="contimg",
        description="Tools beside the workflow. The workflow itself is run by snakemake.",
        epilog="`contimg COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"contimg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, example: str, detail: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}{detail}.\n\nexample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    config = add(
        "config",
        "show the configuration of a run",
        "contimg config --configfile night.yaml --config start=2025-10-28 end=2025-10-31",
        ": files and --config merged, paths absolute, the quality tier filled in",
    )
    take_configuration(config)
    derived = config.add_mutually_exclusive_group()
    derived.add_argument(
        "--write",
        action="store_true",
        help="regenerate config/config.yaml (edits in it are lost), its schema and docs/configuration.md",
    )
    derived.add_argument(
        "--check", action="store_true", help="exit with 1 if one of those files is not as regenerated"
    )
    config.set_defaults(run=_config)

    tiles = add(
        "tiles",
        "list the tiles of a range",
        "contimg tiles --config incoming=/data/raw start=2025-10-30 end=2025-10-31",
        ": complete or left out and why, with the calibrators whose transits each may use, best first",
    )
    take_configuration(tiles)
    tiles.set_defaults(run=_tiles)

    for name, (module, text, example) in _DELEGATED.items():
        delegated = add(name, text, example)
        if name == command:
            implementation = importlib.import_module(module)
            implementation.add_arguments(delegated)
            delegated.set_defaults(run=implementation.run)
    return parser


def take_configuration(parser: argparse.ArgumentParser) -> None:
    """Declare `--config` and `--configfile`, as Snakemake has them."""
    parser.add_argument(
        "--config",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="values that win over those of the files; imaging='{robust: 0}' for a key of a section",
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE",
        help="YAML files read after config/config.yaml of the clone; the later wins",
    )


def read_configuration(files: Sequence[Path], pairs: Sequence[str]) -> dict[str, Any]:
    """Merge configurations the way Snakemake does.

    Parameters
    ----------
    files : sequence of Path
        YAML files; each wins over those before it, and all over the clone's `config/config.yaml` and `site.yaml`.
    pairs : sequence of str
        `key=value`, winning over the files. A value is read as a number, as True or False, or as YAML.

    Returns
    -------
    dict
        For `contimg.config.load`.

    Raises
    ------
    ConfigError
        When a file cannot be read or holds no keys, or a pair is none.
    """
    from contimg.config import REPOSITORY, SITE
    from contimg.config_checks import found, read_yaml

    merged: dict[str, Any] = {}
    own = (REPOSITORY / "config" / "config.yaml", REPOSITORY / SITE)
    for path in [path for path in own if path.is_file()] + list(files):
        content = read_yaml(path)
        if not isinstance(content, Mapping):
            raise ConfigError(
                f"{path}: found {found(content)}; write keys and values, such as `start: 2025-10-30`"
            )
        _merge(merged, content)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ConfigError(f"--config: found {pair!r}; write key=value, such as start=2025-10-30")
        _merge(merged, {key: _value(value)})
    return merged


def _merge(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping):
            below = into.get(key)
            section = dict(below) if isinstance(below, Mapping) else {}
            _merge(section, value)
            into[key] = section
        else:
            into[key] = value


def _value(text: str) -> Any:
    import yaml

    if text in ("True", "False"):
        return text == "True"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return text


def _config(args: argparse.Namespace) -> int:
    if args.write or args.check:
        return _derived(write=args.write)
    import yaml

    from contimg.config import load, load_tiers, resolve_imaging
    from contimg.config_checks import check_disk

    config = load(read_configuration(args.configfile, args.config), check=False).resolved(Path.cwd())
    filled = config.model_copy(update={"imaging": resolve_imaging(config.imaging, load_tiers())})
    print(yaml.safe_dump(filled.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    check_disk(config)
    return 0


def _derived(*, write: bool) -> int:
    from contimg import config_docs

    changed = config_docs.write() if write else list(config_docs.stale())
    for path in changed:
        print(f"{'written' if write else 'not as regenerated'}: {path}")
    return 1 if changed and not write else 0


def _tiles(args: argparse.Namespace) -> int:
    from contimg.config import load

    config = load(read_configuration(args.configfile, args.config)).resolved(Path.cwd())
    from contimg.night import plan

    state = config.products / "state"
    night = plan(config, cache=state / "index" if state.is_dir() else None)
    rows = []
    for name in night.selected:
        tile = night.tiles[name]
        tables = [Path(path).name.partition("_")[2] for path in night.cal_dirs(name)]
        fate = "; ".join(["complete" if len(tile.files) == len(tile.slots) else "partial", *tile.notes])
        subbands = f"{len(tile.files)}/{len(tile.slots)}"
        rows.append((name, f"{tile.dec_deg:+.2f}", subbands, ",".join(tables) or "none", fate))
    rows += [(entry.tile, "", "", "", f"left out: {entry.reason}") for entry in night.left_out]
    line = "{:19}  {:>6}  {:>8}  {:20}  {}".format
    print(line("tile", "dec", "subbands", "calibrators", "fate"))
    for row in sorted(rows):
        print(line(*row))
    print(f"{len(night.selected)} tiles, {len(night.left_out)} left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
