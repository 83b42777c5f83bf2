"""The command ``contimg simulate``: options from the command line, one call, what was written."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

from contimg.cli.numbers import any_of, count
from contimg.core.errors import ConfigError
from contimg.simulate.options import (
    FAULT_KINDS,
    PRESETS,
    SimOptions,
    field_types,
    preset,
)
from contimg.simulate.parse import parse_fault, parse_jump, parse_source, parse_variation

REPEATED = {
    "sources": ("--source", parse_source),
    "far_sources": ("--far-source", parse_source),
    "variations": ("--vary", parse_variation),
    "faults": ("--fault", parse_fault),
    "jumps": ("--jump", parse_jump),
}
PROGRESS_EVERY_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``contimg simulate``: a directory, a preset, and every option by its name."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = "\n".join(f"  {kind:18s} {text}" for kind, text in FAULT_KINDS.items())
    parser.epilog = f"fault kinds:\n{kinds}"
    parser.add_argument("out_dir", help="directory for the raw files and truth.json")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="start from these options; single ones win")
    parser.add_argument(
        "--threads", type=count(1, 1024), default=2, help="threads of the numeric core (default: 2)"
    )
    parser.add_argument("--overwrite", action="store_true", help="remove raw files that are there already")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    types = field_types()
    for item in dataclasses.fields(SimOptions):
        text = item.metadata["help"].replace("%", "%%")
        flag = "--" + item.name.replace("_", "-")
        if item.name in REPEATED:
            flag, read = REPEATED[item.name]
            text += " (repeat for more; added to the preset's)"
            parser.add_argument(flag, dest=item.name, action="append", type=_argument(read), help=text)
        elif types[item.name] is bool:
            parser.add_argument(flag, dest=item.name, action=argparse.BooleanOptionalAction, help=text)
        elif isinstance(item.default, tuple):
            parser.add_argument(
                flag,
                dest=item.name,
                type=_argument(_list_of(any_of(types[item.name]))),
                help=text + " (comma list)",
            )
        else:
            default = f" (default: {item.default})" if item.default != "" else ""
            parser.add_argument(flag, dest=item.name, type=any_of(types[item.name]), help=text + default)


def _argument(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `read` with the library's errors turned into argparse's."""

    def convert(text: str) -> Any:
        try:
            return read(text)
        except (ConfigError, ValueError) as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return convert


def _list_of(element: Callable[[str], Any]) -> Callable[[str], tuple]:
    def read(text: str) -> tuple:
        return tuple(element(part.strip()) for part in text.split(",") if part.strip())

    return read


def make_options(args: argparse.Namespace) -> SimOptions:
    """Return the options that parsed arguments ask for."""
    base = preset(args.preset) if args.preset else SimOptions()
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(SimOptions)}
    changes = {name: value for name, value in given.items() if value is not None}
    for name in REPEATED:
        if name in changes:
            changes[name] = (*getattr(base, name), *changes[name])
    return dataclasses.replace(base, **changes)


def run(args: argparse.Namespace) -> int:
    """Simulate what parsed arguments ask for and print what was written; return the exit code 0."""
    options = make_options(args)
    from contimg.simulate.night import simulate

    shown = 0.0

    def progress(line: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PROGRESS_EVERY_S:
            shown = now
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    begin = time.monotonic()
    watch = None if args.quiet or not sys.stderr.isatty() else progress
    result = simulate(options, args.out_dir, threads=args.threads, overwrite=args.overwrite, progress=watch)
    if watch:
        print("\r" + " " * 78 + "\r", end="", file=sys.stderr, flush=True)
    size = sum(path.stat().st_size for t in result.tiles for path in result.files(t.index))
    count = sum(len(t.files) for t in result.tiles)
    print(
        f"{count} files, {size / 1e6:.0f} MB, {len(result.antennas)} antennas, {len(result.sources)} sources "
        f"in {args.out_dir} ({time.monotonic() - begin:.0f} s)"
    )
    for tile in result.tiles:
        brightest = sorted(tile.apparent_jy.items(), key=lambda item: -item[1])[:1]
        sky = "".join(f", {name} {flux:.2f} Jy apparent" for name, flux in brightest)
        broken = "".join(
            f", {f.kind}" + ("" if f.subband is None else f" sb{f.subband:02d}") for f in tile.faults
        )
        print(f"  {tile.name}  dec {tile.dec_deg:+.2f}  {len(tile.files)} files{sky}{broken}")
    print(f"truth: {result.directory / 'truth.json'}")
    return 0
