"""The drift model on a simulated tile: seconds, memory, how right, and what it takes out of an image.

    python benchmarks/bench_drift_model.py [--preset full-tile] [--sources 50] [--average 4] [--threads 2]

Gains are perfect and there is no interference, so that what is left is the model's. Positions given to the fit are
wrong by 1 arcsec rms, fluxes by 20 %, spectral indices are not given. The images are WSClean's, 4 deg wide,
natural weighting, not cleaned: their thermal noise is 1/sqrt(sum of weights).
"""

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contimg.telescope.beam import AiryBeam

BEAM = AiryBeam(4.65)


def make_tile(folder, preset, step):
    """Simulate, convert and average one tile; return the set and the truth."""
    from builders.drift_tiles import PERFECT, average
    from builders.raw_tiles import slots
    from contimg.convert.options import FlaggingOptions
    from contimg.convert.tile import convert_tile
    from contimg.simulate import options as sim
    from contimg.simulate.night import simulate

    wanted = dataclasses.replace(
        sim.preset(preset),
        n_tiles=1,
        transit_tile=0,
        field_density_per_deg2=2.0,
        faults=(),
        dead_antennas=(),
        **PERFECT,
    )
    truth = simulate(wanted, folder / "raw", threads=2)
    flagging = FlaggingOptions(aoflagger=False, antenna_amplitude_sigma=1000.0)
    convert_tile(
        slots(truth.files(0)),
        truth.tiles[0].name,
        folder / "raw.ms",
        phase_centre=None,
        flagging=flagging,
        threads=2,
    )
    return average(folder / "raw.ms", folder / "tile.ms", step), truth


def known(truth, count):
    """What a catalogue would say of the sources with the largest apparent flux, and the truth of the same."""
    apparent = truth.tiles[0].apparent_jy
    names = sorted(apparent, key=lambda name: -apparent[name])[:count]
    columns = ("name", "ra_deg", "dec_deg", "flux_jy", "spectral_index")
    right = pd.DataFrame([{c: getattr(truth.source(n), c) for c in columns} for n in names])
    rng = np.random.default_rng(1)
    given = right.drop(columns="spectral_index")
    given["flux_jy"] *= rng.uniform(0.8, 1.2, len(given))
    given["ra_deg"] += rng.normal(0, 1 / 3600, len(given)) / np.cos(np.radians(given["dec_deg"]))
    given["dec_deg"] += rng.normal(0, 1 / 3600, len(given))
    return given, right


def image_rms(ms, threads):
    """Rms (Jy) of the inner quarter of a dirty image."""
    from astropy.io import fits

    with tempfile.TemporaryDirectory(dir=ms.parent) as work:
        subprocess.run(
            [
                "wsclean",
                "-j",
                str(threads),
                "-no-update-model-required",
                "-data-column",
                "DATA",
                "-pol",
                "I",
                "-weight",
            ]
            + [
                "natural",
                "-size",
                "2400",
                "2400",
                "-scale",
                "6asec",
                "-niter",
                "0",
                "-name",
                f"{work}/i",
                str(ms),
            ],
            check=True,
            capture_output=True,
        )
        image = np.squeeze(fits.getdata(f"{work}/i-image.fits"))
    return float(image[600:1800, 600:1800].std())


def child(arguments):
    """Fit and subtract, twice: the first run compiles."""
    from contimg.drift.fit import fit
    from contimg.drift.subtract import subtract
    from contimg.ms.private import PrivateSet

    given = pd.read_parquet(arguments.folder / "given.parquet")
    ms, options = arguments.folder / "tile.ms", {"beam": BEAM, "freq_average": arguments.average}
    fit(ms, given, **options, threads=arguments.threads)
    began, cpu = time.perf_counter(), time.process_time()
    found = fit(ms, given, **options, threads=arguments.threads)
    fitted, fit_cpu = time.perf_counter() - began, time.process_time() - cpu
    subtract(PrivateSet(ms), found.table.assign(flux_jy=0.0), **options, threads=arguments.threads)
    began = time.perf_counter()
    subtract(PrivateSet(ms), found.table, **options, threads=arguments.threads)
    found.table.to_parquet(arguments.folder / "found.parquet")
    row = {
        **found.summary(),
        "fit_s": fitted,
        "fit_cpu_s": fit_cpu,
        "subtract_s": time.perf_counter() - began,
        "rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    print(json.dumps(row))


def main():
    """Parse, make the tile, run the fit in a process of its own, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="full-tile", choices=["plain", "full-tile"])
    parser.add_argument("--sources", type=int, default=50)
    parser.add_argument("--average", type=int, default=4, help="channels averaged into one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        child(arguments)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        ms, truth = make_tile(folder, arguments.preset, arguments.average)
        given, right = known(truth, arguments.sources)
        given.to_parquet(folder / "given.parquet")
        from contimg.drift.data import StokesI
        from contimg.ms.sets import read_meta

        with StokesI(ms) as data:
            total = sum(float(data.read(i)[1].sum(dtype=np.float64)) for i in range(data.meta.n_times))
        before = image_rms(ms, arguments.threads)
        command = [sys.executable, __file__, "--folder", scratch, "--average", str(arguments.average)]
        command += ["--threads", str(arguments.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        after = image_rms(ms, arguments.threads)
        found, shape = pd.read_parquet(folder / "found.parquet"), read_meta(ms).shape
    ratio, pull = (
        found["flux_jy"] / right["flux_jy"],
        (found["flux_jy"] - right["flux_jy"]) / found["flux_err_jy"],
    )
    strong = found["snr"] > 50
    print(
        f"{arguments.preset}: {' x '.join(map(str, shape))}, {len(found)} sources, {arguments.threads} threads\n"
    )
    for what, value in (
        ("fit", f"{row['fit_s']:.1f} s ({row['fit_cpu_s']:.1f} s CPU), {row['passes']} passes"),
        ("subtract", f"{row['subtract_s']:.1f} s"),
        ("peak memory", f"{row['rss_gb']:.2f} GB"),
        (
            "flux ratio above 50 sigma",
            f"median {ratio[strong].median():.4f}, scatter {ratio[strong].std():.2%}",
        ),
        ("flux error", f"rms {np.sqrt(np.mean(pull**2)):.2f} of what is said"),
        ("brightest", f"{ratio.iloc[0]:.5f}"),
        ("reduced chi2", f"{row['chi2_reduced']:.4f}"),
        (
            "dirty image, rms",
            f"{before * 1e3:.3f} mJy before, {after * 1e3:.3f} after, thermal {total**-0.5 * 1e3:.3f}",
        ),
    ):
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
