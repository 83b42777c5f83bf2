"""The stages of the pipeline on one tile, each by `snakemake TARGET`, and what their products say they spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchlib.cost import Cost
from benchlib.report import OURS, Row, row
from benchlib.tile import Tile, forget, prepare, sidecar, snakemake
from contimg.core import names
from contimg.simulate.options import preset

QUICK = ("calibration={find_neighbours: false}", "imaging={quality_tier: development}")
NO_AOFLAGGER = "flagging={aoflagger: false}"


def warm(folder: Path, threads: int, target: str = "image") -> Cost:
    """Take a tiny tile through the workflow, so that compiled loops are in their cache as on any later day."""
    tiny = prepare(folder, preset("tiny"), threads)
    forget(tiny.products)
    return snakemake(tiny, [target], threads=threads, settings=QUICK)


def convert(tile: Tile, threads: int) -> Iterator[Row]:
    """Raw files to the science Measurement Set, without and with the search for interference."""
    target = names.science_ms(tile.name)
    for what, settings in (("without AOFlagger", (NO_AOFLAGGER,)), ("with AOFlagger", ())):
        forget(tile.science_ms)
        cost = snakemake(tile, [target], threads=threads, settings=settings)
        yield row("convert", f"contimg, {what}", OURS, cost, main=bool(settings), note=_converted(tile))


def _converted(tile: Tile) -> str:
    metrics = sidecar(tile.products / names.science_sidecar(tile.name)).get("metrics", {})
    spent = metrics.get("seconds", {})
    return ", ".join(f"{step} {value:.1f} s" for step, value in spent.items())


def calibrate(tile: Tile, threads: int) -> Iterator[Row]:
    """Raw files of the transit to caltables: neighbours from a catalogue, then found in the data."""
    target = names.caltable_dir(tile.name, tile.calibrator)
    ms = (
        tile.products
        / "ms"
        / "calibrators"
        / names.tile_date(tile.name)
        / f"{tile.name}_{tile.calibrator}.ms"
    )
    catalog = f"catalog={tile.incoming / 'sources.csv'}"
    for what, settings in (("neighbours from a catalogue", (catalog,)), ("neighbours found in the data", ())):
        forget(tile.caltables, ms)
        cost = snakemake(tile, [target], threads=threads, settings=settings)
        record = sidecar(tile.caltables / "status.json")
        note = "; ".join(
            part
            for part in (record.get("reason"), _spent(sidecar(ms.with_suffix(".json")).get("metrics", {})))
            if part
        )
        yield row("calibrate", f"contimg, {what}", OURS, cost, main=not settings, note=note)


def _spent(metrics: dict) -> str:
    seconds = metrics.get("seconds", {})
    return f"of it flagging {seconds['flag']:.1f} s" if "flag" in seconds else ""


def image(tile: Tile, threads: int) -> Iterator[Row]:
    """Apply, average, fit the bright sources, CLEAN the rest, correct for the beam."""
    forget(tile.image_dir)
    cost = snakemake(tile, [names.image_dir(tile.name)], threads=threads)
    metrics = sidecar(tile.image_dir / "status.json").get("metrics", {})
    parts = [
        f"{key.removeprefix('seconds_')} {value:.1f} s"
        for key, value in metrics.items()
        if key.startswith("seconds_")
    ]
    if "rms_jy" in metrics:
        parts.append(
            f"rms {1e3 * metrics['rms_jy']:.3f} mJy, thermal {1e3 * metrics['thermal_from_weights_jy']:.3f}"
        )
    yield row("image", "contimg", OURS, cost, main=True, note=", ".join(parts))


def whole(tile: Tile, threads: int) -> Iterator[Row]:
    """Raw files to the image in one run: with its transit's calibration, and with tables at hand as most tiles."""
    forget(tile.products)
    target = [names.image_dir(tile.name)]
    with_calibration = snakemake(tile, target, threads=threads)
    forget(tile.image_dir, tile.science_ms)
    yield row("whole", "contimg", OURS, snakemake(tile, target, threads=threads), main=True)
    yield row("whole", "contimg, with the calibration of the transit", OURS, with_calibration)


def no_cost(error: str) -> Cost:
    """The cost of what could not be started."""
    return replace(Cost(), error=error)
