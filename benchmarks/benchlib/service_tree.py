"""A year's products tree as the service reads it: registries, light curves, candidates, a job list; no images but one.

100,000 tiles with their images, verdicts and caltables, a mosaic a night, 10,000 sources with 365 nights each. The
registries are built by the code that builds them of sidecars, the light curves written by the code that writes them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from contimg.core import names
from contimg.core.products import write_json
from contimg.registry.build import CALTABLES, PRODUCTS, build
from contimg.registry.sidecars import Sidecar
from contimg.registry.verdicts import Record
from contimg.service.store import Store
from contimg.variability import curves

NIGHTS = 365
FIRST_MJD = 60676.0
"""2025-01-01."""
TILE_DAYS = 309.24 / 86400.0
GATES = ("rms", "flux_ratio", "offset", "dynamic_range", "flag_fraction", "beam", "sources", "clean")
CALIBRATOR = "0834+555"
_VERSIONS = {"contimg": "0.1.0", "commit": "0" * 40}


def tile_of(number: int, n_tiles: int) -> str:
    """Name of a tile: nights from midnight on, one tile after the other."""
    a_night = -(-n_tiles // NIGHTS)
    night, place = divmod(number, a_night)
    return names.tile_name(FIRST_MJD + night + place * TILE_DAYS)


def date_of(night: int) -> str:
    """UTC date of a night."""
    return names.tile_date(names.tile_name(FIRST_MJD + night + 0.5))


def mosaic_of(night: int) -> str:
    """Name of a night's mosaic."""
    return f"mosaics/{date_of(night)}/0830+55"


def _content(**fields: object) -> dict[str, Any]:
    known = {"status": "ok", "reason": None, "inputs": [], "caltables": [], "parameters": {}, "metrics": {}}
    return {**known, "versions": _VERSIONS, **fields}


def _sidecar(path: str, **fields: object) -> Sidecar:
    product = names.product_of(path)
    if product is None:
        raise ValueError(f"{path}: no product")
    return Sidecar(product, _content(**fields))


def sidecars(n_tiles: int) -> Iterator[Sidecar]:
    """What the products of a year say of themselves."""
    by_night: dict[int, list[str]] = {}
    table = ""
    for number in range(n_tiles):
        tile = tile_of(number, n_tiles)
        start = names.tile_mjd(tile)
        by_night.setdefault(int(start - FIRST_MJD), []).append(tile)
        metrics: dict[str, Any] = {
            "flag_fraction": 0.01 * (number % 100),
            "phase_centre": {"ra_deg": number % 360, "dec_deg": 55.0},
            "pointing": {"dec_deg": 55.0, "mjd_start": start, "mjd_end": start + TILE_DAYS},
        }
        raw = [f"/data/incoming/{tile}_sb{subband:02d}.hdf5" for subband in range(16)]
        if number % 10 == 0:
            ms = names.calibrator_ms(tile, CALIBRATOR)
            yield _sidecar(ms, inputs=raw, metrics=metrics)
            table = names.caltable_dir(tile, CALIBRATOR)
            yield _sidecar(table, inputs=[ms], metrics={"apparent_flux_jy": 8.0, "phase_scatter_deg": 3.0})
        yield _sidecar(names.science_ms(tile), inputs=raw, metrics=metrics)
        bad = number % 50 == 49
        yield _sidecar(
            names.image_dir(tile),
            status="rejected" if bad else "ok",
            reason="everything is flagged" if bad else None,
            inputs=[names.science_ms(tile)],
            caltables=[f"{table}/G"],
            metrics={"rms_jy": 2e-4 + 1e-6 * (number % 997), "dynamic_range": 500.0 + number % 100},
        )
    for night, tiles in by_night.items():
        parts = [{"tile": tile, "status": "ok", "weight": 1.0} for tile in tiles]
        yield _sidecar(mosaic_of(night), metrics={"rms_median_jy": 1e-4}, tiles=parts)


def verdicts(n_tiles: int) -> Iterator[Record]:
    """What the gates said of every image."""
    for number in range(n_tiles):
        tile, failed = tile_of(number, n_tiles), number % 20 == 19
        gates = {
            name: {
                "value": 1.0 + 0.001 * (number % 100),
                "low": None,
                "high": 3.0,
                "unit": "",
                "verdict": "fail" if failed and name == "rms" else "pass",
                "reason": "rms" if failed and name == "rms" else None,
                "advisory": False,
            }
            for name in GATES
        }
        record = {
            "product": names.image_dir(tile),
            "kind": "tile",
            "verdict": "fail" if failed else "pass",
            "reason": "rms" if failed else None,
            "gates": gates,
        }
        yield Record(names.tile_verdict(tile), verdict=record)


def source_name(number: int) -> str:
    """Name of a source."""
    return f"J08{number // 60 % 60:02d}{number % 60:02d}.{number // 3600 % 10}+55{number // 36000:02d}00"


def light_curves(tree: Path, n_sources: int) -> None:
    """Write light curves, measures and candidates of sources; every column is there, most of them constant."""
    folder = tree / "variability" / "lightcurves.parquet"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(18)
    ids = sorted(source_name(number) for number in range(n_sources))
    ra, dec = rng.uniform(90.0, 150.0, n_sources), rng.uniform(53.0, 57.0, n_sources)
    level = 0.005 * rng.pareto(1.0, n_sources) + 0.005
    empty = curves.empty()
    index = []
    for part, first in enumerate(range(0, n_sources, 1000)):
        which = np.arange(first, min(first + 1000, n_sources))
        at = np.repeat(which, NIGHTS)
        flux = level[at] * (1.0 + 0.03 * rng.standard_normal(len(at)))
        night = np.tile(np.arange(NIGHTS), len(which))
        mosaics = np.array([f"{date_of(n)}/0830+55" for n in range(NIGHTS)])
        known = {
            "source_id": np.array(ids)[at], "ra_deg": ra[at], "dec_deg": dec[at], "epoch": night,
            "mjd": FIRST_MJD + 0.5 + night * names.SIDEREAL_DAY, "mosaic": mosaics[night],
            "flux_jy": flux, "flux_err_jy": 0.03 * level[at], "flux_norm": flux, "flux_norm_err": 0.03 * level[at],
            "normalised": np.ones(len(at), bool), "used": np.ones(len(at), bool),
        }  # fmt: skip
        filler = {"f": np.nan, "i": 0, "b": True}
        columns = {
            name: known.get(name, np.full(len(at), filler.get(column.dtype.kind, "")))
            for name, column in empty.items()
        }
        frame = pd.DataFrame(columns)[list(curves.NAMES)]
        table = pa.Table.from_pandas(frame, schema=curves.schema(), preserve_index=False, safe=False)
        index.append(curves.write_part(folder / f"base-{part:04d}.parquet", curves.block_of(table)))
    curves.write_index(folder, index)
    measures = pd.DataFrame(
        {
            "source_id": ids,
            "ra_deg": ra,
            "dec_deg": dec,
            "n_epochs": NIGHTS,
            "mean_flux_jy": level,
            "eta": 1.0,
            "v": 0.03,
            "vs_mean": 0.1,
            "m_mean": 0.01,
        }
    )
    measures.to_parquet(tree / "variability" / "sources.parquet", index=False)
    chosen = measures.iloc[:: max(1, n_sources // 200)]
    chosen.assign(
        sigma_max=rng.uniform(3.0, 12.0, len(chosen)), mjd_max=FIRST_MJD + 100, median_flux_jy=chosen["mean_flux_jy"],
        first_detection_mjd=FIRST_MJD + 90, last_detection_mjd=FIRST_MJD + 110, status="active",
    ).to_csv(tree / "variability" / "ese_candidates.csv", index=False)  # fmt: skip


def job_list(tree: Path, n_batches: int, n_tiles: int, items: int = 20) -> None:
    """Fill the job list with batches that have ended."""
    store = Store(tree / "state" / "service" / "jobs.sqlite3")
    spec = {"kind": "image", "wanted": {}, "changed": {}, "selection": {}, "cores": None, "extra": {}}
    now = time.time()
    with store.writing() as db:
        number = 1
        for batch in range(n_batches):
            tiles = [names.science_ms(tile_of((batch * items + k) % n_tiles, n_tiles)) for k in range(items)]
            db.execute(
                "INSERT INTO batch (id, kind, status, created, started, ended, params, spec, ignored, digest, attempt) "
                "VALUES (?, 'image', 'done', ?, ?, ?, '{}', ?, '{}', ?, 1)",
                (number, now, now, now, json.dumps(spec), f"old {batch}"),
            )
            db.executemany(
                "INSERT INTO item (id, batch_id, position, name, status, started, ended, products) "
                "VALUES (?, ?, ?, ?, 'done', ?, ?, ?)",
                [
                    (number + 1 + place, number, place, tile, now, now, '["images/x"]')
                    for place, tile in enumerate(tiles)
                ],
            )
            number += items + 1
        db.execute("UPDATE number SET next = ?", (number,))
    store.close()


def picture(tree: Path, night: int, pixels: int = 2048) -> None:
    """Write the mosaic of a night, for cut-outs."""
    from astropy.io import fits

    path = tree / mosaic_of(night)
    path.mkdir(parents=True)
    header = fits.Header()
    cards = {
        "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 128.7, "CRVAL2": 55.5, "CDELT1": -5.0 / 3600.0,
        "CDELT2": 5.0 / 3600.0, "CRPIX1": pixels / 2, "CRPIX2": pixels / 2, "CUNIT1": "deg", "CUNIT2": "deg",
        "BUNIT": "Jy/beam",
    }  # fmt: skip
    header.update(cards)
    data = np.random.default_rng(1).normal(0.0, 1e-3, (pixels, pixels)).astype(np.float32)
    fits.PrimaryHDU(data, header).writeto(path / f"{path.name}.fits")
    write_json(path / "status.json", _content())


def make(tree: Path, n_tiles: int, n_sources: int, n_batches: int) -> dict[str, int]:
    """Make the tree; returns what its registries hold."""
    (tree / "state").mkdir(parents=True)
    counts = build(
        sidecars(n_tiles), tree / "state" / PRODUCTS, tree / "state" / CALTABLES, verdicts(n_tiles)
    )
    light_curves(tree, n_sources)
    job_list(tree, n_batches, n_tiles)
    picture(tree, 300)
    return counts
