"""Mosaics of simulated tile images: this pipeline's cost with their number, and reproject_and_coadd's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchlib.cost import Cost, measure
from benchlib.report import OURS, RIVAL, Row, row
from benchlib.tile import CLONE

SCRIPT = CLONE / "benchmarks" / "bench_mosaic.py"
FEW, MANY = 4, 12
"""Tiles of the mosaic that is made by both, and of an hour's."""


def _run(what: str, tiles: int, folder: Path, threads: int) -> Cost:
    command = [sys.executable, SCRIPT, "--run", what, "--tiles", tiles, "--threads", threads]
    command += ["--folder", folder / "images", "--out", folder / f"out{tiles}"]
    cost = measure([str(word) for word in command], cwd=CLONE, threads=threads)
    return replace(cost, said={} if what != "compare" else cost.said)


def mosaic(folder: Path, threads: int, rivals: bool) -> Iterator[Row]:
    """An hour's tiles, a few of them, and the few by the rival, with how far both differ."""
    if len(list((folder / "images").glob("*/status.json"))) != MANY:
        made = _run("simulate", MANY, folder, threads)
        if made.error:
            yield row("mosaic", "simulated tiles", OURS, made)
            return
    for tiles, beam, main in ((MANY, "common", False), (MANY, "native", False), (FEW, "native", True)):
        cost = _run(beam, tiles, folder, threads)
        yield row("mosaic", f"contimg, {tiles} tiles, {beam} beams", OURS, cost, main=main)
    if rivals:
        cost = _run("rival", FEW, folder, threads)
        note = ""
        if not cost.error:
            found = _run("compare", FEW, folder, threads)
            note = found.error or f"largest difference {found.said['difference']:.1e} of the peak"
        yield row("mosaic", f"reproject_and_coadd, {FEW} tiles", RIVAL, cost, main=True, note=note)
