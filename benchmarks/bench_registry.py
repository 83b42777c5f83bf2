"""The registries of many products: how long a build takes, what it needs, and how fast the questions are.

    python benchmarks/bench_registry.py [--products 1000000] [--files 20000] [--scratch DIR]

Two measurements in a fresh process each: `files` sidecars of full size are written to disk and the registries are
built from them; then `products` sidecars are fed from memory, which leaves the database alone. The rows are those of
nights of 300 tiles: a Measurement Set and an image a tile, and a transit every tenth tile with 96 antennas.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from contimg.core import names
from contimg.core.products import write_json
from contimg.registry import questions
from contimg.registry.build import build
from contimg.registry.files import open_readonly, problems
from contimg.registry.sidecars import Sidecar, read_tree

FIRST_MJD = 60900.0
TILE_DAYS = 309.24 / 86400.0
VERSIONS = {"contimg": "0.1.0", "commit": "0" * 40}


def content(**fields: object) -> dict[str, object]:
    """A sidecar's content."""
    known = {"status": "ok", "reason": None, "inputs": [], "caltables": [], "parameters": {}, "metrics": {}}
    return {**known, "versions": VERSIONS, **fields}


def of_tile(number: int) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Path, sidecar and content of the products of a tile."""
    start = FIRST_MJD + number * TILE_DAYS
    tile = names.tile_name(start)
    pointing = {"dec_deg": 55.0, "mjd_start": start, "mjd_end": start + TILE_DAYS}
    metrics = {
        "flag_fraction": 0.01 * (number % 100),
        "flag_fraction_by_antenna": {str(antenna): 0.01 for antenna in range(96)},
        "phase_centre": {"name": "meridian", "ra_deg": number % 360, "dec_deg": 55.0},
        "pointing": pointing,
    }
    raw = [f"/data/incoming/{tile}_sb{subband:02d}.hdf5" for subband in range(16)]
    yield names.science_ms(tile), names.science_sidecar(tile), content(inputs=raw, metrics=metrics)
    nearest = names.tile_name(FIRST_MJD + (number - number % 10) * TILE_DAYS)
    tables = names.caltable_dir(nearest, "0834+555")
    image = {f"metric_{index}": number / (index + 1) for index in range(30)}
    yield (
        names.image_dir(tile),
        f"{names.image_dir(tile)}/status.json",
        content(
            inputs=[names.science_ms(tile)],
            caltables=[f"{tables}/{table}" for table in ("K", "BP", "G")],
            metrics={**image, "rms_jy": 2e-4 + 1e-6 * (number % 997)},
        ),
    )
    if number % 10 == 0:
        antennas = {str(antenna): {"amplitude": 1.0, "snr_gain": 50.0} for antenna in range(96)}
        ms = f"ms/calibrators/{names.tile_date(tile)}/{tile}_0834+555"
        yield f"{ms}.ms", f"{ms}.json", content(inputs=raw, metrics=metrics)
        yield (
            tables,
            f"{tables}/status.json",
            content(inputs=[f"{ms}.ms"], metrics={"antennas": antennas, "phase_scatter_deg": 3.0}),
        )


def synthetic(count: int) -> Iterator[Sidecar]:
    """So many sidecars, from memory."""
    made = number = 0
    while made < count:
        for path, _, values in of_tile(number):
            product = names.product_of(path)
            if product is not None:
                yield Sidecar(product, values)
                made += 1
        number += 1


def timed(what: str, began: float, cpu: float, counts: dict[str, int], files: list[Path]) -> None:
    """Print one measurement."""
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in files) / 1e6
    print(
        f"{what}: {counts['products']} products: {wall:.1f} s, {used:.1f} s CPU, "
        f"{1e6 * used / counts['products']:.0f} us each, peak {peak:.0f} MB, files {size:.0f} MB"
    )


def measure(kind: str, count: int, scratch: Path) -> None:
    """One measurement, in this process."""
    with tempfile.TemporaryDirectory(dir=scratch) as work:
        files = [Path(work, "products.sqlite3"), Path(work, "cal_registry.sqlite3")]
        tree, number, made = Path(work, "tree"), 0, 0
        while kind == "files" and made < count:
            for _, sidecar, values in of_tile(number):
                write_json(tree / sidecar, values)
                made += 1
            number += 1
        began, cpu = time.perf_counter(), time.process_time()
        counts = build(read_tree(tree) if kind == "files" else synthetic(count), *files)
        timed(kind, began, cpu, counts, files)
        if kind == "files":
            return
        began = time.perf_counter()
        found = [problem for path in files for problem in problems(path)]
        print(f"check: {time.perf_counter() - began:.1f} s, {len(found)} problems")
        middle = FIRST_MJD + 1000 * TILE_DAYS
        for name, path, ask in (
            ("tables", files[1], lambda c: questions.valid_tables(c, mjd=middle, dec_deg=55.0, hours=12.0)),
            (
                "tiles",
                files[0],
                lambda c: questions.noisy_tiles(
                    c, date=names.utc(middle).date().isoformat(), rms_above_jy=1e-3
                ),
            ),
            ("rejected", files[0], lambda c: questions.rejected(c, date=None)),
        ):
            connection = open_readonly(path)
            began = time.perf_counter()
            rows = ask(connection)[1]
            print(f"query {name}: {1e3 * (time.perf_counter() - began):.1f} ms, {len(rows)} rows")
            connection.close()


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one[0], int(args.one[1]), args.scratch)
        return
    for kind, count in (("files", args.files), ("memory", args.products)):
        command = [sys.executable, __file__, "--scratch", str(args.scratch), "--one", kind, str(count)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
