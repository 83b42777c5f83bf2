"""A branch of the products tree: what changed settings touch is made there, what stands above is linked.

A branch has the layout of the tree: `batches/{id}/` of the service, or the directory of `contimg try`. Products of the
stages above the first changed one are symbolic links to the night's own, made when they are finished; nobody ever
writes through them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.night.night import Night

STAGES = ("convert", "calibrate", "image", "qa", "mosaic", "photometry", "variability", "ese")
_FIRST_TOUCHED = {
    "min_subbands": "convert",
    "flagging": "convert",
    "calibration": "calibrate",
    "beam": "calibrate",
    "catalog": "calibrate",
    "catalog_table": "calibrate",
    "imaging": "image",
    "qa": "qa",
    "mosaic": "mosaic",
    "photometry": "photometry",
    "variability": "variability",
    "ese": "ese",
}
CHANGEABLE = tuple(_FIRST_TOUCHED)
"""Keys of the configuration that say how products are made."""
_CURVES = tuple(
    f"variability/{name}"
    for name in ("lightcurves.json", "lightcurves.parquet", "sources.parquet", "epochs.parquet", "index.html")
)
_OF_IMAGES = {"interpolate", "tables"}
"""Keys of `calibration` that say which tables an image takes, not how they are made."""


def first_stage(changed: Mapping[str, Any]) -> int:
    """Number of the first stage that changed keys touch."""
    stages = []
    for section, value in changed.items():
        stage = _FIRST_TOUCHED.get(section, "convert")
        if section == "calibration" and isinstance(value, Mapping) and set(value) <= _OF_IMAGES:
            stage = "image"
        stages.append(STAGES.index(stage))
    return min(stages, default=len(STAGES))


def upstream(night: Night, stage: int) -> Iterable[tuple[str, list[str]]]:
    """Products above a stage that a night's tiles need: the file that says each is finished, and all its paths."""
    tiles = sorted(night.candidates)
    if stage > STAGES.index("convert"):
        for tile in tiles:
            yield names.science_sidecar(tile), [names.science_ms(tile), names.science_sidecar(tile)]
    if stage > STAGES.index("calibrate"):
        for table in night.needed_cal_dirs(tiles):
            transit = night.transit(table)
            calibrator_ms = names.calibrator_ms(transit.tile, transit.calibrator.name)
            sidecar = calibrator_ms.removesuffix(".ms") + ".json"
            yield f"{table}/status.json", [calibrator_ms, sidecar, table]
    if stage > STAGES.index("image"):
        for tile in tiles:
            yield f"{names.image_dir(tile)}/status.json", [names.image_dir(tile)]
    if stage > STAGES.index("qa"):
        for tile in tiles:
            verdict = names.tile_verdict(tile)
            yield verdict, [verdict, verdict.removesuffix(".json") + ".sources.parquet"]
    if stage > STAGES.index("mosaic"):
        for mosaic in night.mosaics():
            yield f"{mosaic}/status.json", [mosaic]
    if stage > STAGES.index("photometry"):
        for table in [names.SOURCE_LIST, *night.photometry()]:
            yield table, [table]
    if stage > STAGES.index("variability"):
        yield _CURVES[0], list(_CURVES)


def link(main: Path, branch: Path, night: Night, changed: Mapping[str, Any]) -> int:
    """Link the finished products above the first changed stage into a branch; returns how many are linked.

    A link has its product's time of change, so that the workflow takes one for the other. What is not finished in
    the main tree is made in the branch.
    """
    made = 0
    for sidecar, paths in upstream(night, first_stage(changed)):
        if not (main / sidecar).is_file() or not all((main / path).exists() for path in paths):
            continue
        for path in paths:
            target, at = main / path, branch / path
            if at.is_symlink() and at.readlink() == target:
                continue
            if os.path.lexists(at):
                if not at.is_symlink():
                    break  # made here, by an earlier run of this branch
                at.unlink()
            at.parent.mkdir(parents=True, exist_ok=True)
            at.symlink_to(target)
            when = target.stat().st_mtime_ns
            os.utime(at, ns=(when, when), follow_symlinks=False)
        else:
            made += 1
    return made
