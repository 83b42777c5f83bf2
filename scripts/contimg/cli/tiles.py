"""`contimg tiles`: the tiles of a range."""

from __future__ import annotations

import argparse
from pathlib import Path

from contimg.config.files import take_configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg tiles`."""
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each tile of the range."""
    from contimg.config.load import of_arguments
    from contimg.night import advice
    from contimg.night.night import plan

    config = of_arguments(args)
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
    for lack in advice.lines(config, night):
        print(lack)
    return 0
