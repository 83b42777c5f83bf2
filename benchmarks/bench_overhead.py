"""What the engine costs a job of a cluster, and so a tile: everything but the work itself.

    python benchmarks/bench_overhead.py [--tiles 288] [--compute 154]

Makes a night of small but valid raw files in a temporary directory and freezes its plan, as a run does. Then it
starts jobs the way SLURM does, once as the job step that only reads the Snakefile and hands over, once as the
job itself on an attempt that rejects at once, so that nothing but starts and imports is left. Prints seconds of
CPU and of wall time; `--compute` is what a tile costs apart from that, in seconds, for the fraction.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_index import Writer

from contimg.config.load import load
from contimg.jobs.frame import RESTARTS
from contimg.jobs.orphans import MANIFEST_VARIABLE
from contimg.night.manifest import freeze
from contimg.night.night import plan

CLONE = Path(__file__).parents[1]
JOBS_PER_TILE = 2 + 2 / 6
"""convert_tile; image_tile with its verdict; a sixth of a mosaic, one every half hour, and of its verdict."""
REPEATS = 3


def cost(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of the processes that a function starts: the least of some repeats."""

    def once() -> tuple[float, float]:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run()
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall

    return min(once() for _ in range(REPEATS))


def job(tile: str, manifest: Path, *further: str) -> None:
    """Start a job of a tile as the SLURM plugin does."""
    words = ["--target-jobs", f"convert_tile:date={tile[:10]},tile={tile}", "--allowed-rules", "convert_tile"]
    words += [
        "--mode",
        "remote",
        "--cores",
        "all",
        "--force",
        "--nolock",
        "--no-hooks",
        "--ignore-incomplete",
    ]
    words += ["--retries", "0", "--attempt", str(RESTARTS + 1), *further]
    subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=CLONE,
        check=True,
        env={**os.environ, MANIFEST_VARIABLE: str(manifest)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Make the night, time the starts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=288)
    parser.add_argument("--compute", type=float, default=154.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "incoming").mkdir()
        writer = Writer(folder / "incoming", flat=False)
        for number in range(args.tiles):
            writer.write(number)
        config = load({"incoming": folder / "incoming", "products": folder / "products"}).resolved(CLONE)
        night = plan(config)
        manifest = folder / "products" / "run.json"
        freeze(manifest, config, night)
        tile, megabytes = night.selected[0], manifest.stat().st_size / 1e6
        step_cpu, step_wall = cost(lambda: job(tile, manifest, "--dry-run"))
        job_cpu, job_wall = cost(lambda: job(tile, manifest))
    cpu, wall = step_cpu + job_cpu, step_wall + job_wall
    print(f"{len(night.tiles)} tiles, manifest {megabytes:.1f} MB")
    print(f"{'':24s}   CPU/s  wall/s")
    print(f"{'job step':24s} {step_cpu:7.2f} {step_wall:7.2f}")
    print(f"{'job without its work':24s} {job_cpu:7.2f} {job_wall:7.2f}")
    print(f"{'a job':24s} {cpu:7.2f} {wall:7.2f}")
    print(f"{'a tile':24s} {JOBS_PER_TILE * cpu:7.2f} {JOBS_PER_TILE * wall:7.2f}")
    print(f"of {args.compute:g} s of compute: {100 * JOBS_PER_TILE * cpu / args.compute:.1f} % in CPU")


if __name__ == "__main__":
    main()
