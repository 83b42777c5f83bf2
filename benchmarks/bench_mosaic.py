"""Mosaic of 12 tiles of 4096 x 4096 pixels: this pipeline against reproject's own `reproject_and_coadd`.

    python benchmarks/bench_mosaic.py [--tiles 12] [--size 4096] [--threads 2] [--dec 55] [--scratch DIR]

Both make the same mosaic of the same tiles (native beams, bicubic, weight 1/rms^2) on the same grid in the same
run, each in a process of its own. The rival gets what it needs to be right with splines: images without NaN,
weights of 0 outside the primary beam. The table gives wall seconds, CPU seconds, peak memory and the largest
difference relative to the peak, over pixels at least 8 from the border of every tile (there the rival's weights,
interpolated with a cubic spline, swing below zero). A third line is this pipeline with beams convolved to one.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

CELL_ARCSEC = 3.0
BEAM_ARCSEC = (36.0, 15.0, 20.0)
STEP_DEG = 309.24 / 240 * 1.0027379


def simulate(folder, *, count, size, dec_deg):
    """Write the tiles: sources of 0.05 to 5 Jy, 1 mJy noise with the beam's width, an Airy-like beam."""
    from astropy.io import fits
    from scipy.fft import irfft2, rfft2
    from scipy.ndimage import fourier_gaussian
    from scipy.special import j1

    from contimg.mosaic.common_beam import GaussianBeam
    from contimg.mosaic.grid import MosaicGrid

    rng = np.random.default_rng(110)
    side = size * CELL_ARCSEC / 3600
    spread = STEP_DEG * (count - 1) / 2 + side / 2 / np.cos(np.deg2rad(dec_deg))
    sources = [
        (
            150 + rng.uniform(-spread, spread),
            dec_deg + rng.uniform(-side / 2, side / 2),
            0.05 * 10 ** rng.uniform(0, 2),
        )
        for _ in range(60 * count)
    ]
    beam = GaussianBeam(BEAM_ARCSEC[0] / 3600, BEAM_ARCSEC[1] / 3600, BEAM_ARCSEC[2])
    inverse = np.linalg.inv(beam.covariance() * (3600 / CELL_ARCSEC) ** 2)
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(x - size // 2, y - size // 2) * np.deg2rad(CELL_ARCSEC / 3600)
    airy_x = np.pi * 4.65 / 0.21414 * radius + 1e-12
    power = ((2 * j1(airy_x) / airy_x) ** 2).astype(np.float32)
    for i in range(count):
        name = f"2025-10-30T13:{i * 5:02d}:00"
        (folder / name).mkdir(parents=True)
        wcs = MosaicGrid(150 + (i - (count - 1) / 2) * STEP_DEG, dec_deg, side, side, CELL_ARCSEC).wcs()
        white = rng.normal(size=(size, size)).astype(np.float32)
        image = irfft2(fourier_gaussian(rfft2(white), 3.3, n=size))
        image *= 1e-3 / image.std()
        for ra, dec, flux in sources:
            px, py = (float(v[0]) for v in wcs.wcs_world2pix([ra], [dec], 0))
            if not (60 < px < size - 60 and 60 < py < size - 60):
                continue
            part = np.s_[int(py) - 50 : int(py) + 51, int(px) - 50 : int(px) + 51]
            east, north = px - x[part], y[part] - py
            form = inverse[0, 0] * east**2 + 2 * inverse[0, 1] * east * north + inverse[1, 1] * north**2
            image[part] += flux * power[round(py), round(px)] * np.exp(-form / 2)
        header = wcs.to_header()
        header["BMAJ"], header["BMIN"], header["BPA"] = beam.major_deg, beam.minor_deg, beam.pa_deg
        header["RESTFRQ"], header["DATE-OBS"], header["DATE-END"] = 1.4e9, name, name[:-2] + "59"
        rms = 1e-3 / np.where(power >= 0.2, power, np.nan)
        for plane, data in (("image", image), ("pb", power), ("rms", rms)):
            fits.writeto(folder / name / f"{name}.{plane}.fits", data.astype(np.float32), header)
        (folder / name / "status.json").write_text('{"status": "ok", "reason": null}')


def settings(beam):
    """Options of our two runs."""
    from contimg.mosaic.options import MosaicOptions

    return MosaicOptions(beam=beam, pb_limit=0.2)


def directories(folder, tiles):
    """The first of the tiles' directories, in order of time."""
    return sorted(folder.iterdir())[:tiles]


def grid_of(folder, tiles):
    """The grid that all runs share, and the tiles."""
    from contimg.mosaic.grid import grid_from_tiles
    from contimg.mosaic.tiles import inspect_tiles

    good, _ = inspect_tiles(directories(folder, tiles))
    return grid_from_tiles([(tile.wcs, tile.shape) for tile in good]), good


def run_ours(folder, tiles, out, threads, beam):
    """Make the mosaic as the rule does."""
    from contimg.mosaic.coadd import make_mosaic

    out.mkdir(parents=True, exist_ok=True)
    make_mosaic(directories(folder, tiles), out, name=beam, options=settings(beam), threads=threads)


def run_rival(folder, count, out):
    """reproject_and_coadd as its documentation shows it; it has no threads for bicubic that would pay."""
    from astropy.io import fits
    from reproject import reproject_interp
    from reproject.mosaicking import reproject_and_coadd

    from contimg.mosaic.tiles import load_planes

    grid, tiles = grid_of(folder, count)

    def planes():
        for tile in tiles:
            image, weight = load_planes(tile, pb_limit=0.2)
            yield (image, tile.wcs), np.nan_to_num(weight)

    class Lazily:
        """One tile in memory at a time, in the order in which the rival asks for image and weight."""

        def __init__(self, which):
            self.which = which

        def __len__(self):
            return len(tiles)

        def __getitem__(self, i):
            if cache.get("i") != i:
                cache.update(i=i, planes=next(source))
            return cache["planes"][self.which]

    source, cache = planes(), {}
    image, weight = reproject_and_coadd(
        Lazily(0),
        grid.wcs(),
        shape_out=grid.shape,
        input_weights=Lazily(1),
        reproject_function=reproject_interp,
        order="bicubic",
    )
    out.mkdir(parents=True, exist_ok=True)
    fits.writeto(out / "rival.fits", image.astype(np.float32), overwrite=True)
    fits.writeto(out / "rival.weights.fits", weight.astype(np.float32), overwrite=True)


def compare(folder, count, out):
    """Largest difference relative to the peak, away from tiles' borders, and the pixels compared."""
    from astropy.io import fits
    from scipy.ndimage import binary_erosion

    from contimg.mosaic.regrid import covered_rectangle

    ours, rival = (fits.getdata(out / f"{name}.fits") for name in ("native", "rival"))
    grid, tiles = grid_of(folder, count)
    inner = fits.getdata(out / "native.weights.fits") > 0
    wcs = grid.wcs()
    for tile in tiles:
        y0, y1, x0, x1 = covered_rectangle(tile.wcs, tile.shape, wcs, grid.shape)
        y, x = np.mgrid[y0:y1, x0:x1]
        px, py = tile.wcs.wcs_world2pix(*wcs.wcs_pix2world(x.ravel(), y.ravel(), 0), 0)
        centre = tile.wcs.wcs.crpix - 1
        edge = np.minimum(
            np.minimum(px, tile.shape[1] - 1 - px), np.minimum(py, tile.shape[0] - 1 - py)
        ).reshape(x.shape)
        rows, columns = np.nonzero(np.isfinite(fits.getdata(tile.plane_path("rms"))))
        reach = float(np.hypot(columns - centre[0], rows - centre[1]).max())
        radius = np.hypot(px - centre[0], py - centre[1]).reshape(x.shape)
        inner[y0:y1, x0:x1] &= ~((np.abs(edge) < 8) | ((np.abs(radius - reach) < 8) & (edge > -8)))
    inner = binary_erosion(inner, iterations=8)
    peak = float(np.nanmax(ours))
    return float(np.abs(ours - rival)[inner].max()) / peak, int(inner.sum()), peak


def child(arguments):
    """Do one thing in a process of its own and print what it cost, or what it found, as JSON."""
    began = time.perf_counter()
    folder, tiles, out = arguments.folder, arguments.tiles, arguments.out
    if arguments.run == "simulate":
        simulate(folder, count=tiles, size=arguments.size, dec_deg=arguments.dec)
    elif arguments.run == "rival":
        run_rival(folder, tiles, out)
    elif arguments.run == "compare":
        difference, pixels, peak = compare(folder, tiles, out)
        print(json.dumps({"difference": difference, "pixels": pixels, "peak_jy": peak}))
        return
    else:
        run_ours(folder, tiles, out, arguments.threads, arguments.run)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "seconds": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_gb": usage.ru_maxrss * 1024 / 1e9,
    }
    print(json.dumps(cost))


def main():
    """Simulate, run all three, compare, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dec", type=float, default=55.0)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument(
        "--run", choices=["simulate", "native", "common", "rival", "compare"], help=argparse.SUPPRESS
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        child(arguments)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder, out = Path(scratch, "images"), Path(scratch, "out")
        said = {}
        for run in ("simulate", "native", "common", "rival", "compare"):
            command = [sys.executable, __file__, "--run", run, "--folder", str(folder), "--out", str(out)]
            for name in ("tiles", "size", "threads", "dec"):
                command += [f"--{name}", str(getattr(arguments, name))]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            said[run] = json.loads(done.stdout.splitlines()[-1])
        grid, _ = grid_of(folder, arguments.tiles)
    print(
        f"{arguments.tiles} tiles of {arguments.size}^2 at {CELL_ARCSEC} arcsec, dec {arguments.dec:+.0f}, onto "
        f"{grid.shape[1]} x {grid.shape[0]}, {arguments.threads} threads\n"
    )
    labels = {
        "native": "contimg, native beams",
        "common": "contimg, common beam",
        "rival": "reproject_and_coadd",
    }
    print("| | seconds | CPU seconds | peak RSS (GB) | against contimg native |\n|---|---|---|---|---|")
    for run, label in labels.items():
        row = said[run]
        ratio = row["seconds"] / said["native"]["seconds"]
        print(
            f"| {label} | {row['seconds']:.1f} | {row['cpu_s']:.1f} | {row['rss_gb']:.2f} | {ratio:.2f} x |"
        )
    found = said["compare"]
    print(
        f"\nlargest difference native - reproject_and_coadd: {found['difference']:.1e} of the peak "
        f"({found['peak_jy']:.2f} Jy), {found['pixels']} pixels"
    )


if __name__ == "__main__":
    main()
