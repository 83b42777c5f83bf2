"""Forced photometry of many sources in one mosaic: processor time, memory, bias and pulls.

    python benchmarks/bench_photometry.py [--sources 10000] [--rows 4500] [--columns 14000] [--tiles 12] [--scratch DIR]

A mosaic of known points in noise that is correlated like the beam, with the images of its tiles, is written to disk
once. Then what the rule's job does is measured in a fresh process on one core: the list is read by declination, the
mosaic measured, the tiles asked, the table written. A third of the sources are within three beams of another.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS
from scipy import fft

CELL_DEG = 6.0 / 3600
BEAM_PIX = (5.0, 3.6, 30.0)
RMS_JY = 3e-4
DATE, NAME = "2025-10-30", "0830+55"
TILE = 1500


def header(rows: int, columns: int, ra_deg: float = 127.5) -> fits.Header:
    """Of a plane round a right ascension at +55."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval, wcs.wcs.cdelt = [ra_deg, 55.0], [-CELL_DEG, CELL_DEG]
    wcs.wcs.crpix, wcs.wcs.radesys = [columns / 2, rows / 2], "ICRS"
    made = wcs.to_header()
    for key, value in (
        ("BMAJ", BEAM_PIX[0] * CELL_DEG), ("BMIN", BEAM_PIX[1] * CELL_DEG), ("BPA", BEAM_PIX[2]), ("RESTFRQ", 1.405e9),
        ("PBLIMIT", 0.2), ("MJD-AVG", 60978.55), ("DATE-OBS", f"{DATE}T13:00:00"), ("DATE-END", f"{DATE}T13:05:09"),
    ):  # fmt: skip
        made[key] = value
    return made


def widths() -> np.ndarray:
    """Covariance of the beam on the pixels."""
    angle = np.radians(BEAM_PIX[2])
    along, across = np.array([-np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    a, b = (axis**2 / (8 * np.log(2)) for axis in BEAM_PIX[:2])
    return a * np.outer(along, along) + b * np.outer(across, across)


def sky(rows: int, columns: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Places and fluxes: counts that fall as S^-1.5 from 3 σ on, a sixth of them beside another."""
    x, y = rng.uniform(30, columns - 30, count), rng.uniform(30, rows - 30, count)
    pairs = count // 6
    step, turn = rng.uniform(1.0, 3.0, pairs) * BEAM_PIX[0], rng.uniform(0, 2 * np.pi, pairs)
    x[:pairs], y[:pairs] = x[-pairs:] + step * np.cos(turn), y[-pairs:] + step * np.sin(turn)
    return x, y, 3 * RMS_JY * np.minimum(rng.uniform(size=count) ** (-1 / 1.5), 1e4)


def plant(root: Path, rows: int, columns: int, count: int, tiles: int) -> None:
    """Write the mosaic, its tiles and the list."""
    from contimg.photometry import positions

    rng = np.random.default_rng(20251030)
    x, y, flux = sky(rows, columns, count, rng)
    noise = fft.rfft2(rng.normal(size=(rows, columns)).astype(np.float32), workers=2)
    fy, fx = np.fft.fftfreq(rows)[:, np.newaxis], np.fft.rfftfreq(columns)
    c = widths()
    noise *= np.exp(-(np.pi**2) * (c[0, 0] * fx**2 + 2 * c[0, 1] * fx * fy + c[1, 1] * fy**2))
    image = fft.irfft2(noise, s=(rows, columns), workers=2)
    image *= RMS_JY / image.std()
    inverse = np.linalg.inv(c)
    half = 16
    for px, py, jy in zip(x, y, flux, strict=True):
        x1, x2 = max(0, round(px) - half), min(columns, round(px) + half + 1)
        y1, y2 = max(0, round(py) - half), min(rows, round(py) + half + 1)
        dy, dx = np.mgrid[y1:y2, x1:x2].astype(float)
        dx, dy = dx - px, dy - py
        square = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
        image[y1:y2, x1:x2] += jy * np.exp(-0.5 * square)
    folder, made = root / "mosaics" / DATE / NAME, header(rows, columns)
    folder.mkdir(parents=True)
    fits.writeto(folder / f"{NAME}.fits", image.astype(np.float32), made)
    fits.writeto(folder / f"{NAME}.rms.fits", np.full((rows, columns), RMS_JY, np.float32), made)
    listed = []
    for number in range(tiles):
        tile = f"{DATE}T{13 + number // 11}:{5 * (number % 11):02d}:00"
        at = root / "images" / DATE / tile
        at.mkdir(parents=True)
        own = header(TILE, TILE, 127.5 + 1.3 * (number - tiles / 2))
        fits.writeto(at / f"{tile}.rms.fits", np.full((TILE, TILE), RMS_JY * tiles**0.5, np.float32), own)
        fits.writeto(at / f"{tile}.pb.fits", np.full((TILE, TILE), 0.7, np.float32), own)
        (at / "status.json").write_text(json.dumps({"caltables": [f"cal/{DATE}/{DATE}T12:00:00_0834+555/K"]}))
        path = f"images/{DATE}/{tile}"
        listed.append({"tile": tile, "status": "ok", "weight": 1 / tiles, "path": path})
    (folder / "status.json").write_text(json.dumps({"status": "ok", "reason": None, "tiles": listed}))
    verdict = root / "qa" / DATE
    verdict.mkdir(parents=True)
    (verdict / f"{NAME}.json").write_text(json.dumps({"verdict": "pass", "reason": None}))
    places = WCS(made).pixel_to_world(x, y)
    truth = pd.DataFrame({"ra_deg": places.ra.deg, "dec_deg": places.dec.deg, "flux_jy": flux, "name": ""})
    (root / "photometry").mkdir()
    positions.write(
        root / "photometry/sources.parquet", positions.assemble(truth, None, None, same_arcsec=2.0)
    )


def measure(root: Path) -> dict[str, float]:
    """What the job takes in this process, and how good it is."""
    import os

    from contimg.core import names
    from contimg.photometry import positions, table
    from contimg.photometry.job import PhotometryMosaic
    from contimg.photometry.options import PhotometryOptions

    os.chdir(root)
    job = PhotometryMosaic(
        f"mosaics/{DATE}/{NAME}", f"qa/{DATE}/{NAME}.json", "photometry/sources.parquet",
        names.photometry(DATE, NAME), f"photometry/{DATE}/{NAME}.json", {}, PhotometryOptions(),
    )  # fmt: skip
    wall, cpu = time.monotonic(), time.process_time()
    print(job.make())
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()  # getrusage's would be the parent's, from before the exec
    peak_kb = float(status.split("VmHWM:")[1].split()[0])
    rows = table.read(Path(names.photometry(DATE, NAME))).set_index("source_id")
    truth = positions.read(Path("photometry/sources.parquet")).set_index("source_id")["flux_jy"]
    ratio, pull = (
        rows["flux_jy"] / truth[rows.index],
        (rows["flux_jy"] - truth[rows.index]) / rows["stat_err_jy"],
    )
    bright = truth[rows.index] > 50 * RMS_JY
    weight = (truth[rows.index] / rows["stat_err_jy"])[bright] ** 2
    alone = (rows["flags"] & int(table.Flag.BLENDED)) == 0
    return {
        "sources": len(rows),
        "wall_s": wall,
        "cpu_s": cpu,
        "memory_mb": peak_kb / 1e3,
        "bias_above_50_sigma": float(np.average(ratio[bright], weights=np.minimum(weight, 1e5))) - 1,
        "pull_width_alone": float(np.std(pull[alone])),
        "pull_width_blended": float(np.std(pull[~alone])),
        "pull_mean": float(np.mean(pull)),
    }


def main() -> None:
    """Plant once, measure in a process of its own, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("sources", 10_000), ("rows", 4500), ("columns", 14_000), ("tiles", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        for key, value in measure(args.measure).items():
            print(f"{key:22} {value:12.5g}")
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        plant(Path(folder), args.rows, args.columns, args.sources, args.tiles)
        subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


if __name__ == "__main__":
    main()
