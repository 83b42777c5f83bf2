"""The configuration, checked against the disk: directories, files, the calibrator."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contimg.config.files import read_configuration
from contimg.config.model import Config
from contimg.config.named import check_named
from contimg.core.errors import ConfigError, InputError
from contimg.core.messages import explain


def load(mapping: Mapping[str, Any] | None, *, base: Path | None = None, check: bool = True) -> Config:
    """Make the configuration of what a YAML file and the command line gave.

    Parameters
    ----------
    mapping : mapping
        Keys and values as Snakemake or `contimg` read them, in any spelling: dates, numbers or strings.
    base : Path, optional
        Directory that relative paths start from; by default the working directory.
    check : bool
        Whether to check that the directories and files are there, and that the calibrator is in the
        catalogue (whose way to write its name it then gets).

    Returns
    -------
    Config
        Validated; paths as they were written (`Config.resolved` makes them absolute).

    Raises
    ------
    ConfigError
        In one line: the key, what was found, what to write.
    """
    try:
        config = Config.model_validate({} if mapping is None else mapping)
    except ValidationError as error:
        raise ConfigError(explain(error, Config)) from None
    if not check:
        return config
    at = config.resolved(Path.cwd() if base is None else base)
    check_disk(at)
    if config.calibrator is None:
        return config
    return config.model_copy(update={"calibrator": catalogued(config.calibrator, at.calibrators)})


def of_arguments(args: argparse.Namespace, *, check: bool = True) -> Config:
    """Load what a command was given with `--config` and `--configfile`; paths are absolute."""
    values = read_configuration(args.configfile, args.config)
    return load(values, check=check).resolved(Path.cwd())


def tree_of(args: argparse.Namespace, config: Config | None = None) -> Path:
    """The products tree that a command is about: its `--products`, else that of the configuration."""
    if args.products is not None:
        return Path(args.products).absolute()
    return (config or of_arguments(args, check=False)).products


def check_disk(config: Config) -> None:
    """Check that what the configuration names is there.

    Parameters
    ----------
    config : Config
        With absolute paths.

    Raises
    ------
    ConfigError
        When a directory or file is missing, or the products would lie where raw files are searched.
    """
    for name, path in (
        ("incoming", config.incoming),
        ("products", config.products),
        ("scratch", config.scratch),
        ("retention.archive", config.retention.archive),
        ("calibrators", config.calibrators),
        ("catalog", config.catalog),
        ("flagging.strategy", config.flagging.strategy),
        ("beam.file", config.beam.file),
        ("photometry.sources", config.photometry.sources),
    ):
        _path(name, path)
    _directory("incoming", config.incoming, "write the directory that holds the raw files")
    if config.products == config.incoming or config.incoming in config.products.parents:
        raise ConfigError(
            f"products: found {config.products}, inside incoming, which is searched for raw files; write a "
            "directory outside it"
        )
    if config.products.exists():
        _directory("products", config.products, "write a directory")
    if config.scratch is not None:
        _directory("scratch", config.scratch, "write a directory of this machine, or null")
    _file("calibrators", config.calibrators, "write the path of a CSV file")
    for name, path in (
        ("catalog", config.catalog),
        ("flagging.strategy", config.flagging.strategy),
        ("beam.file", config.beam.file),
        ("photometry.sources", config.photometry.sources),
    ):
        if path is not None:
            _file(name, path, "write the path of a file, or null")
    check_named(config)


_ODD_IN_PATHS = re.compile(r"[{}\[\]*?\"'`\\$;|<>\x00-\x1f\x7f]")


def _path(name: str, path: Path | None) -> None:
    """Refuse what Snakemake, a shell, CASA or WSClean would take for something else than a path, before they do."""
    odd = _ODD_IN_PATHS.search(str(path)) if path is not None else None
    if odd is not None:
        raise ConfigError(
            f"{name}: found {str(path)!r}, with {odd[0]!r} in it, which a wildcard or a shell is made of; write a path "
            "without braces, brackets, quotes, *, ?, $, ; and control characters"
        )


def _directory(name: str, path: Path, write: str) -> None:
    if not path.is_dir():
        raise ConfigError(f"{name}: found {path}, {_state(path)}; {write}")


def _file(name: str, path: Path, write: str) -> None:
    if not path.is_file():
        raise ConfigError(f"{name}: found {path}, {_state(path)}; {write}")


def _state(path: Path) -> str:
    if path.is_dir():
        return "which is a directory"
    return "which is not a directory" if path.exists() else "which is not there"


def catalogued(calibrator: str, catalogue: Path) -> str:
    """Give a calibrator's name as its catalogue writes it.

    Raises
    ------
    ConfigError
        When the catalogue cannot be read, or nothing or more than one source in it goes by that name; the
        message has the nearest names.
    """
    from contimg.sky.calibrators import find_calibrator, read_calibrators

    try:
        known = read_calibrators(catalogue)
    except InputError as error:
        raise ConfigError(f"calibrators: {error}") from None
    try:
        return find_calibrator(known, calibrator).name
    except ConfigError as error:
        folded = {entry.name.lower(): entry.name for entry in known}
        near = difflib.get_close_matches(calibrator.lower(), list(folded), n=3, cutoff=0.5)
        if not near or any(entry.designation == calibrator for entry in known):
            raise ConfigError(f"calibrator: {error}") from None
        raise ConfigError(
            f"calibrator: found {calibrator!r}, which is not in {catalogue}; did you mean "
            f"{' or '.join(folded[name] for name in near)}?"
        ) from None
