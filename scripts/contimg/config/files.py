"""The files and words that a configuration is read from, merged the way Snakemake does."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contimg.core.errors import ConfigError

_KEY = re.compile(r"[A-Za-z_][\w-]*\w")
SITE = Path("config/site.yaml")
"""What differs at a site, below the clone; not under version control."""


def take_tree(parser: argparse.ArgumentParser) -> None:
    """Declare `--products`, the tree that a command is about, beside what `take_configuration` declares."""
    parser.add_argument(
        "--products", type=Path, help="the products tree (default: that of the configuration)"
    )
    take_configuration(parser)


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
        For `contimg.config.load.load`.

    Raises
    ------
    ConfigError
        When a file cannot be read or holds no keys, or a pair is none.
    """
    from contimg.core.messages import found, read_yaml
    from contimg.core.provenance import REPOSITORY

    merged: dict[str, Any] = {}
    own = (REPOSITORY / "config" / "config.yaml", REPOSITORY / SITE)
    for path in [path for path in own if path.is_file()] + list(files):
        if "=" in path.name and not path.is_file():
            raise ConfigError(
                f"--configfile: found {path}, which is no file; settings stand behind --config: --config {path}"
            )
        content = read_yaml(path)
        if not isinstance(content, Mapping):
            raise ConfigError(
                f"{path}: found {found(content)}; write keys and values, such as `start: 2025-10-30`"
            )
        _merge(merged, content)
    return merge_pairs(merged, pairs, option="--config", example="start=2025-10-30")


def merge_pairs(merged: dict[str, Any], pairs: Sequence[str], *, option: str, example: str) -> dict[str, Any]:
    """Merge `key=value` pairs of a command line into a configuration, in place; returns it.

    Raises
    ------
    ConfigError
        What is no pair; the message names the option and gives the example.
    """
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ConfigError(f"{option}: found {pair!r}; write key=value, such as {example}")
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
