"""Synthetic images of a strip of tiles, their mosaic, the verdict on it, and fits to the visibilities."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from builders.tile_images import write_strip
from contimg.core import names
from contimg.core.products import status, write_json
from contimg.mosaic.coadd import make_mosaic
from contimg.mosaic.options import MosaicOptions
from contimg.qa import verdict as qa

DATE, NAME = "2025-10-30", "0830+55"
RA, DEC, COUNT = 127.5, 55.0, 3
NOISE_JY = 2e-3
SLOPE = -0.7


def sky(count=40, seed=1):
    """Sources on a jittered grid over the strip, 0.1 to 2 Jy: ra, dec, flux at the image's frequency."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1.2, 1.2, 8), np.linspace(-0.9, 0.9, 6))
    chosen = rng.permutation(x.size)[:count]
    x, y = (axis.ravel()[chosen] + rng.uniform(-0.08, 0.08, count) for axis in (x, y))
    ra, dec = RA + x / np.cos(np.radians(DEC)), DEC + y
    return list(zip(ra, dec, np.geomspace(0.1, 2.0, count), strict=True))


def plant(tree: Path, sources, *, failed=None, date=DATE, noise_jy=NOISE_JY, seed=0):
    """Write images, mosaic and verdict below a tree, which is the working directory; returns the mosaic's path."""
    start = f"{date}T13:00:00"
    made = write_strip(
        tree / "images" / date, ra_deg=RA, dec_deg=DEC, count=COUNT, sources=sources, noise_jy=noise_jy,
        rms_jy=noise_jy, size=384,
    ) if date == DATE else []  # fmt: skip
    assert made, start
    images = [path.relative_to(tree) for path in made]
    for number, path in enumerate(images):
        table = f"cal/{date}/{date}T12:0{number // 2}:00_0834+555"
        record = {"status": "ok", "reason": None, "caltables": [f"{table}/{one}" for one in ("K", "BP", "G")]}
        (tree / path / "status.json").write_text(json.dumps(record))
        drift_table(sources, number).to_parquet(tree / path / f"{path.name}.sources.parquet")
    directory = tree / names.window_dir(date, NAME)
    result = make_mosaic(images, directory, name=NAME, options=MosaicOptions())
    write_json(directory / "status.json", status(tiles=result["tiles"], metrics=result["metrics"]))
    gates = [qa.judge("reliability", 0.99, qa.Limits(0.9, None))]
    verdict = qa.record(names.window_dir(date, NAME), "mosaic", gates, rejected=failed)
    write_json(tree / names.verdict(date, NAME), verdict)
    return names.window_dir(date, NAME)


def drift_table(sources, number):
    """What a drift fit leaves of sources: each flux 1 % high in the first tile, 1 % low in the second, slopes too."""
    ra, dec, flux = (np.array(column) for column in zip(*sources, strict=True))
    off = 1.0 + 0.01 * (1, -1, 0)[number]
    return pd.DataFrame(
        {
            "name": [f"S{i:03d}" for i in range(len(ra))],
            "ra_deg": ra,
            "dec_deg": dec,
            "flux_jy": flux * off,
            "flux_err_jy": 1e-3,
            "spectral_index": SLOPE,
            "flags": "",
            "band_slope": SLOPE + 0.1 * (1, -1, 0)[number],
            "band_slope_err": (0.1, 0.1, np.nan)[number],
        }
    )
