"""`contimg rerun`: the commands and the environment that make a product once more, as it was made."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from contimg.cli.verify import sidecar_of, tree_of
from contimg.core.errors import InputError
from contimg.core.products import configuration_file, read_json
from contimg.core.provenance import REPOSITORY, versions


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
    lines.append(
        f"{shlex.quote(str(REPOSITORY / '.venv' / 'bin' / 'snakemake'))} --snakefile "
        f"{shlex.quote(str(REPOSITORY / 'Snakefile'))} --cores 2 --force --configfile {shlex.quote(str(config))} "
        f"-- {shlex.quote(target)}"
    )
    lines.append(
        f"# with the environments of the rules instead of .venv: the same command with --sdm conda --conda-prefix "
        f"{shlex.quote(str(REPOSITORY / '.conda'))}"
    )
    lines += [
        f"# {name}: made with {version}, here {now.get(name, 'not installed')}"
        for name, version in then.items()
        if name != "commit" and now.get(name) != version
    ]
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg rerun`."""
    parser.add_argument("product", type=Path, help="directory or Measurement Set of the products tree")


def run(args: argparse.Namespace) -> int:
    """Print the commands."""
    for line in recipe(args.product):
        print(line)
    return 0
