"""Rivals and floors of each stage: what is run, on which data, with which settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchlib.cost import Cost, measure
from benchlib.report import FLOOR, RIVAL, Row, row
from benchlib.stages import no_cost
from benchlib.tile import Tile, sidecar
from contimg.simulate.truth import read_truth

TODAY = {"size": (2048, 2048), "cell_arcsec": 1.5, "robust": 0.5, "niter": 1000}
"""The field and depth that public pipelines of this telescope image with, on a smaller field than its beam."""


def _task(name: str, folder: Path, threads: int, /, **arguments: Any) -> Cost:
    script = Path(__file__).with_name("tasks.py")
    return measure([sys.executable, script, name, json.dumps(arguments)], cwd=folder, threads=threads)


def _files(tile: Tile) -> list[str]:
    return [str(path) for path in tile.raw_files]


def convert_floor(tile: Tile, folder: Path, threads: int) -> Iterator[Row]:
    """The raw bytes copied and synced."""
    cost = _task("copy_with_sync", folder, threads, files=_files(tile), out=str(folder / "copy"))
    shutil.rmtree(folder / "copy", ignore_errors=True)
    yield row("convert", "raw files copied, with sync", FLOOR, cost, main=True)


def convert(tile: Tile, folder: Path, threads: int) -> Iterator[Row]:
    """pyuvdata, told where the data are phased."""
    centre = sidecar(tile.science_ms.with_suffix(".json")).get("metrics", {}).get("phase_centre")
    if centre is None:
        yield row("convert", "pyuvdata", RIVAL, no_cost("contimg made no set to take the phase centre from"))
        return
    ra, dec = (float(np.radians(centre[key])) for key in ("ra_deg", "dec_deg"))
    out = folder / "pyuvdata.ms"
    cost = _task("pyuvdata", folder, threads, files=_files(tile), ra_rad=ra, dec_rad=dec, out=str(out))
    shutil.rmtree(out, ignore_errors=True)
    yield row("convert", "pyuvdata: read, phase, write_ms", RIVAL, cost, main=True)


def calibrate(tile: Tile, folder: Path, threads: int) -> Iterator[Row]:
    """CASA on all the data."""
    source = read_truth(tile.incoming).source(tile.calibrator)
    ms = folder / "calibrator.ms"
    prepared = _task(
        "calibrator_ms", folder, threads, files=_files(tile), tile=tile.name, name=source.name, ra_deg=source.ra_deg,
        dec_deg=source.dec_deg, out=str(ms), threads=threads,
    )  # fmt: skip
    cost = prepared
    if not prepared.error:
        cost = _task("casa_calibration", folder, threads, ms=str(ms), refant="103", folder=str(folder))
    shutil.rmtree(ms, ignore_errors=True)
    yield row("calibrate", "CASA on all data", RIVAL, cost, main=True)


def image(tile: Tile, folder: Path, threads: int) -> Iterator[Row]:
    """WSClean and tclean on all channels, and one gridding pass."""
    plan = sidecar(tile.image_dir / "status.json").get("parameters", {}).get("plan")
    ms = folder / "calibrated.ms"
    if plan is None:
        yield row("image", "all", RIVAL, no_cost("contimg made no image to take the field from"))
        return
    prepared = _task(
        "calibrated_ms",
        folder,
        threads,
        ms=str(tile.science_ms),
        tables=str(tile.caltables),
        out=str(ms),
        threads=threads,
    )
    if prepared.error:
        yield row("image", "all", RIVAL, prepared)
        return
    grid = {"size": (plan["nx"], plan["ny"]), "cell_arcsec": plan["cell_arcsec"]}
    cost = _task("ducc_pass", folder, threads, ms=str(ms), **grid, threads=threads)
    yield row("image", "one ducc0 gridding pass", FLOOR, cost, main=True)
    today = wsclean(ms, folder / "today", threads, **TODAY, mgain=0.8, auto_mask=5.0, auto_threshold=1.0)
    field = f"{TODAY['size'][0]}² at {TODAY['cell_arcsec']}″"
    yield row("image", f"WSClean {field}", RIVAL, measure(today, cwd=folder, threads=threads), main=True)
    same = {key: plan[key] for key in ("robust", "niter", "mgain", "auto_mask", "auto_threshold")}
    ours = wsclean(ms, folder / "ours", threads, **grid, **same, uvmin=plan["uvmin_klambda"])
    cost = measure(ours, cwd=folder, threads=threads)
    yield row(
        "image",
        f"WSClean {plan['nx']} × {plan['ny']} at {plan['cell_arcsec']:g}″, our settings",
        RIVAL,
        cost,
        main=True,
    )
    cost = _task("tclean", folder, threads, ms=str(ms), name="tclean", **TODAY)
    yield row("image", f"tclean {field}", RIVAL, cost, main=True)
    shutil.rmtree(ms, ignore_errors=True)


def wsclean(
    ms: Path,
    name: Path,
    threads: int,
    *,
    size: tuple[int, int],
    cell_arcsec: float,
    robust: float,
    niter: int,
    mgain: float,
    auto_mask: float,
    auto_threshold: float,
    uvmin: float = 1.0,
    extra: tuple[str, ...] = (),
) -> list[str]:
    """A plain WSClean command; `uvmin` in kλ, sizes in pixels."""
    command = [
        "wsclean",
        "-j",
        str(threads),
        "-no-update-model-required",
        "-data-column",
        "DATA",
        "-pol",
        "I",
    ]
    command += [
        "-weight",
        "briggs",
        f"{robust:g}",
        "-size",
        *map(str, size),
        "-scale",
        f"{cell_arcsec:g}asec",
    ]
    command += ["-niter", str(niter), "-mgain", f"{mgain:g}", "-auto-mask", f"{auto_mask:g}"]
    command += ["-auto-threshold", f"{auto_threshold:g}", "-minuv-l", f"{1e3 * uvmin:g}", *extra]
    return [*command, "-name", str(name), str(ms)]


def wsclean_version() -> str:
    """WSClean's version; empty where it is not installed."""
    if shutil.which("wsclean") is None:
        return "none"
    said = subprocess.run(["wsclean", "--version"], capture_output=True, text=True, check=False).stdout
    return next(
        (
            word
            for line in said.splitlines()
            if "version" in line
            for word in line.split()
            if word[0].isdigit()
        ),
        "?",
    )
