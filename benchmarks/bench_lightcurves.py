"""Light curves of 10,000 sources: how long they take, what they need, what a new night costs, how fast one is read.

    python benchmarks/bench_lightcurves.py [--epochs 10 100 1000 3650] [--sources 10000] [--scratch DIR]

Each number of epochs is measured on its own, in fresh processes: the light curves from nothing, then once more with a
night that was not there, then 1,000 sources drawn at random, one at a time, in a process that has read none of them.
Photometry is made for the purpose, one mosaic a night; it is not timed. At 3,650 epochs it takes some 5 GB of disk, the
light curves as much again, and the sort 8 GB while it works.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.simulate.lightcurve_files import METADATA_KEY, SCHEMA, photometry
from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import Simulation

START = datetime(2025, 10, 1)  # noqa: DTZ001  a date, without a time
RESULTS = Path(__file__).parent / "results" / "variability" / "lightcurves.json"


def make_photometry(tree: Path, n_sources: int, first: int, last: int) -> None:
    """Write one table a night: all sources, a flux scale with slopes, noise that differs, tiles that are named."""
    options = LightcurveOptions(
        n_sources=n_sources, days=1, ra_min_deg=91.0, ra_max_deg=149.0, width_minutes=240.0, stride_minutes=240.0,
        gap_fraction=0.0, lost_fraction=0.0,
    )  # fmt: skip
    simulation = Simulation(options)
    frame = photometry(simulation, next(simulation.mosaics()))
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False, safe=False)
    true, noise = frame["flux_jy"].to_numpy(), frame["stat_err_jy"].to_numpy()
    ra, dec = ((frame[name] - frame[name].mean()).to_numpy() for name in ("ra_deg", "dec_deg"))
    about = json.dumps({"status": "ok", "reason": None, "versions": {"contimg": "bench"}, "digests": {}})
    schema = SCHEMA.with_metadata({METADATA_KEY: about})
    for night in range(first, last):
        rng = np.random.default_rng([7, night])
        date = (START + timedelta(days=night)).strftime("%Y-%m-%d")
        path = tree / "photometry" / date / "0840+55.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        scale = (
            1.0
            + 0.03 * rng.standard_normal()
            + 0.0003 * rng.standard_normal() * ra
            + 0.005 * rng.standard_normal() * dec
        )
        error = noise * rng.uniform(0.9, 1.1, len(noise))
        flux = true * scale * (1.0 + 0.005 * rng.standard_normal(len(true))) + error * rng.standard_normal(
            len(true)
        )
        fresh = {
            "mjd": frame["mjd"].to_numpy() + night * 0.9972695663290843,
            "flux_jy": flux,
            "flux_err_jy": np.hypot(error, 0.03 * flux),
            "local_rms_jy": error,
            "stat_err_jy": error,
            "cal_err_jy": 0.03 * np.abs(flux),
            "snr": flux / error,
            "flux_int_jy": flux * (1.0 + 0.01 * rng.standard_normal(len(true))),
            "flux_vis_jy": flux + error * rng.standard_normal(len(true)),
            "band_slope": rng.standard_normal(len(true)),
            "hour_ut": rng.uniform(0.0, 24.0, len(true)),
            "solar_elongation_deg": rng.uniform(0.0, 180.0, len(true)),
        }
        one = table
        for name, values in fresh.items():
            place = SCHEMA.get_field_index(name)
            one = one.set_column(place, SCHEMA.field(place), pa.array(values, SCHEMA.field(place).type))
        tiles = [
            f"{date}T{hour:02d}:00:00;{date}T{hour:02d}:05:09;{date}T{hour:02d}:10:18"
            for hour in range(13, 17)
        ]
        names = {
            "mosaic": [f"{date}/0840+55"],
            "tiles": tiles,
            "caltable": [f"cal/{date}/{date}T13:40:00_0834+555"],
        }
        for name, words in names.items():
            codes = pa.array((np.arange(len(one)) * len(words) // len(one)).astype(np.int32))
            column = pa.DictionaryArray.from_arrays(codes, pa.array(words))
            place = SCHEMA.get_field_index(name)
            one = one.set_column(place, SCHEMA.field(place), column)
        pq.write_table(one.replace_schema_metadata(schema.metadata), path, compression="lz4")


def job(tree: Path, threads: int) -> None:
    """Make the light curves (in a process of its own) and print what it took."""
    os.chdir(tree)
    from contimg.core import threads as limits

    limits.limit(threads)
    from contimg.variability.job import Lightcurves
    from contimg.variability.options import VariabilityOptions

    began = time.monotonic()
    line = Lightcurves(VariabilityOptions(), threads).make()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall_s": time.monotonic() - began,
                "cpu_s": used.ru_utime + used.ru_stime,
                "max_rss_gb": used.ru_maxrss * 1024 / 1e9,
                "line": line,
                "base": json.loads(Path("variability/lightcurves.json").read_text())["metrics"]["base"],
            }
        )
    )


def read(tree: Path, number: int) -> None:
    """Read sources, one at a time, and print the quantiles of the time that takes."""
    from contimg.variability import curves

    folder = tree / "variability" / "lightcurves.parquet"
    names = np.array(sorted(curves.index(folder)))
    chosen = np.random.default_rng(3).choice(names, min(number, len(names)), replace=False)
    curves.read_source(folder, str(names[0]))  # imports, and the index
    took, cpu = [], []
    for name in chosen:
        began, before = time.perf_counter(), time.process_time()
        rows = len(curves.read_source(folder, str(name)))
        took.append(time.perf_counter() - began)
        cpu.append(time.process_time() - before)
    quantiles = dict(
        zip(("p50_ms", "p95_ms", "p99_ms"), (1e3 * np.percentile(took, [50, 95, 99])).round(2), strict=True)
    )
    print(
        json.dumps({**quantiles, "p95_cpu_ms": round(1e3 * float(np.percentile(cpu, 95)), 2), "rows": rows})
    )


def in_process(*words: str) -> dict:
    """Run this script for one measurement."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and keep the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 100, 1000, 3650])
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job(arguments.job, arguments.threads)
    elif arguments.read:
        read(arguments.read, 1000)
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Measure every number of epochs."""
    found = []
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        tree, there = Path(folder), 0
        for epochs in sorted(arguments.epochs):
            make_photometry(tree, arguments.sources, there, epochs)
            words = ("--job", str(tree), "--threads", str(arguments.threads))
            whole = in_process(*words)
            make_photometry(tree, arguments.sources, epochs, epochs + 1)
            there = epochs + 1
            night = in_process(*words)
            one = in_process("--read", str(tree))
            folder_bytes = sum(
                path.stat().st_size for path in (tree / "variability").rglob("*") if path.is_file()
            )
            found.append(
                {"epochs": epochs, "rows": epochs * arguments.sources, "whole": whole, "night": night, "one": one,
                 "bytes": folder_bytes, "load": os.getloadavg()[0]}
            )  # fmt: skip
            print(json.dumps(found[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
