"""`contimg rerun`: the commands and the environment that make a product once more, as it was made."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from contimg.cli.verify import sidecar_of, tree_of
from contimg.core.errors import InputError
from contimg.core.products import configuration_file, read_json
from contimg.core.provenance import REPOSITORY, versions

_OF_SNAKEMAKE = re.compile(r"[0-9a-f]{8,40}_*")
"""Name of an environment that Snakemake made: a digest of what is in it."""


def recipe(product: Path) -> list[str]:
    """The commands that make a product again as it was made, and what is different here and now.

    Raises
    ------
    InputError
        The product does not say which configuration it was made with.
    """
    product = product.absolute()
    record, tree = read_json(sidecar_of(product)), tree_of(product)
    config = configuration_file(record.get("configuration"), tree)
    if config is None or not config.is_file():
        raise InputError(
            f"{product}: the configuration it was made with is not in {tree / 'state' / 'configs'}; it was made by an "
            "older version or copied without it"
        )
    then, now = record["versions"], versions()
    lines = []
    if then.get("commit") != now.get("commit"):
        lines.append(f"git -C {shlex.quote(str(REPOSITORY))} checkout {then.get('commit', '(not recorded)')}")
    lines.append(f"make -C {shlex.quote(str(REPOSITORY))} setup    # python {then['python']}")
    target = product.relative_to(tree).as_posix()
    environments = _environments(record.get("environment"))
    lines.append(
        f"{shlex.quote(str(REPOSITORY / '.venv' / 'bin' / 'snakemake'))} --snakefile "
        f"{shlex.quote(str(REPOSITORY / 'Snakefile'))} --cores 2 --force {environments}--configfile "
        f"{shlex.quote(str(config))} -- {shlex.quote(target)}"
    )
    if not environments:
        lines.append(
            "# made with .venv; with the rules' own environments: the same command with --sdm conda --conda-prefix DIR"
        )
    lines += [
        f"# {name}: made with {version}, here {now.get(name, 'not installed')}"
        for name, version in then.items()
        if name != "commit" and now.get(name) != version
    ]
    return lines


def _environments(prefix: str | None) -> str:
    """Options that name the environments of the rules which made a product; none if it was made with another Python."""
    if prefix is None or _OF_SNAKEMAKE.fullmatch(Path(prefix).name) is None:
        return ""
    return f"--sdm conda --conda-prefix {shlex.quote(str(Path(prefix).parent))} "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg rerun`."""
    parser.add_argument("product", type=Path, help="directory or Measurement Set of the products tree")


def run(args: argparse.Namespace) -> int:
    """Print the commands."""
    for line in recipe(args.product):
        print(line)
    return 0
