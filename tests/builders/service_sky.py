"""A products tree without images: registries, tables of sources and verdicts, for tests of what the service reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core import names
from contimg.core.products import write_json
from contimg.registry.files import rebuild
from contimg.variability import curves

SOURCES = (("J083454.9+553421", 128.728753, 55.572500), ("J000001.0-000030", 0.004200, -0.008350))
TILE = "2025-10-30T13:00:00"


def sidecar(status: str = "ok", reason: str | None = None, **more: Any) -> dict[str, Any]:
    """What a product says of itself, with what a registry reads."""
    return {
        "status": status,
        "reason": reason,
        "inputs": [],
        "caltables": [],
        "parameters": {},
        "metrics": {},
        "versions": {"contimg": "1", "commit": "c"},
        **more,
    }


def products(tree: Path, tiles: int = 3) -> list[str]:
    """Science sets, images, a caltable and a mosaic, and the registries made of them; the tiles' names."""
    found = [names.tile_name(names.tile_mjd(TILE) + step * 309.0 / 86400.0) for step in range(tiles)]
    for place, tile in enumerate(found):
        start = names.tile_mjd(tile)
        pointing = {"mjd_start": start, "mjd_end": start + 309.0 / 86400.0, "dec_deg": 54.6}
        metrics = {"pointing": pointing, "phase_centre": {"ra_deg": 120.0 + place, "dec_deg": 54.6}}
        write_json(tree / names.science_sidecar(tile), sidecar(metrics=metrics))
        bad = place == tiles - 1
        image = (
            sidecar("rejected", "everything is flagged")
            if bad
            else sidecar(metrics={"rms_jy": 1e-3 * (1 + place)})
        )
        write_json(tree / names.image_dir(tile) / "status.json", image)
    table = names.caltable_dir(found[0], "0834+555")
    write_json(tree / table / "status.json", sidecar(metrics={"apparent_flux_jy": 8.0}))
    ms = names.calibrator_ms(found[0], "0834+555").removesuffix(".ms") + ".json"
    start = names.tile_mjd(found[0])
    write_json(
        tree / ms,
        sidecar(metrics={"pointing": {"mjd_start": start, "mjd_end": start + 0.004, "dec_deg": 54.6}}),
    )
    mosaic = sidecar(tiles=[{"tile": tile, "status": "ok", "weight": 1.0} for tile in found[:-1]])
    write_json(tree / "mosaics/2025-10-30/0830+55/status.json", mosaic)
    gates = {
        "rms": {
            "value": 1.4,
            "low": None,
            "high": 3.0,
            "unit": "",
            "verdict": "pass",
            "reason": None,
            "advisory": False,
        }
    }
    for tile in found:
        write_json(
            tree / names.tile_verdict(tile),
            {
                "product": names.image_dir(tile),
                "kind": "tile",
                "verdict": "pass" if tile == found[0] else "fail",
                "reason": None if tile == found[0] else "rms",
                "gates": gates,
            },
        )
    rebuild(tree, keep=1)
    return found


def lightcurves(tree: Path, epochs: int = 20) -> pd.DataFrame:
    """Light curves and measures of two sources, the second with one flux that is missing."""
    rng = np.random.default_rng(5)
    rows = []
    for name, ra, dec in SOURCES:
        for epoch in range(epochs):
            rows.append(
                {
                    "source_id": name,
                    "ra_deg": ra,
                    "dec_deg": dec,
                    "mjd": 60978.5 + epoch,
                    "epoch": epoch,
                    "mosaic": f"2025-10-{epoch + 1:02d}/0830+55",
                    "flux_jy": 0.1 + 0.002 * rng.standard_normal(),
                    "flux_err_jy": 0.002,
                    "flux_norm": 1.0,
                    "flux_norm_err": 0.02,
                    "flags": 0,
                }
            )
    table = pd.DataFrame(rows).sort_values(["source_id", "mjd"])
    table.loc[table.index[3], "flux_jy"] = np.nan
    folder = tree / "variability"
    folder.mkdir(parents=True, exist_ok=True)
    curves.write(folder / "lightcurves.parquet", whole(table))
    measures = [
        {
            "source_id": name,
            "ra_deg": ra,
            "dec_deg": dec,
            "n_epochs": epochs,
            "mean_flux_jy": 0.1,
            "eta": 1.1,
            "v": 0.02,
            "vs_mean": np.nan,
            "m_mean": 0.01,
        }
        for name, ra, dec in SOURCES
    ]
    pd.DataFrame(measures).to_parquet(folder / "sources.parquet", index=False)
    (folder / "ese_candidates.csv").write_text(
        "source_id,ra_deg,dec_deg,n_epochs,sigma_max,mjd_max,eta,v,median_flux_jy,first_detection_mjd,last_detection_mjd,"
        "status\n"
        f"{SOURCES[0][0]},128.728753,55.5725,20,6.5,60990.5,4.0,0.3,0.1,60988.5,60992.5,active\n"
        f"{SOURCES[1][0]},0.0042,-0.00835,20,3.1,60990.5,2.0,0.1,0.1,,,active\n"
    )
    (folder / "vetting.csv").write_text(f"source_id,status,notes\n{SOURCES[1][0]},dismissed,sidelobe\n")
    return table


def whole(table: pd.DataFrame) -> pd.DataFrame:
    """A table with every column of light curves: what is not given is empty."""
    empty = {"f": np.nan, "i": 0, "b": True}
    missing = {
        name: empty.get(column.dtype.kind, "") for name, column in curves.empty().items() if name not in table
    }
    return table.assign(**missing)[list(curves.NAMES)]


def plain(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())
