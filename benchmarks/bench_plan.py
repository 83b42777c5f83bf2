"""How long planning takes, beside an empty Snakefile: `snakemake -n` and `contimg plan`.

    python benchmarks/bench_plan.py [--tiles 288] [--scratch DIR]
    python benchmarks/bench_plan.py --tiles 9000 --known --made      # a month

Makes a night of small but valid raw files in a temporary directory, plans it cold (headers are read), plans it
warm (only directories are), makes its page with `contimg plan`, and plans an empty Snakefile; prints a table of
seconds: wall, and processor time, which hardly depends on what else the machine does.

With `--made` everything that the plan asks for is then put there, by its name and with sidecars of the usual size, and
the plan that finds nothing to be done is timed too: it reads the sidecar of everything.

With `--known` the headers are not read once (some 17 minutes for 144,000 files): they are known from the templates that
the files are copies of, and the index's cache is written with them. There is then no cold plan in the table.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench_index import STEP_DAYS, Writer

CLONE = Path(__file__).parents[1]
sys.path.insert(0, str(CLONE / "scripts"))

from contimg.core.names import utc  # noqa: E402
from contimg.index.build import build_index  # noqa: E402
from contimg.index.cache import HeaderCache  # noqa: E402
from contimg.index.memory import note  # noqa: E402
from contimg.index.subband import parse_name, state_of  # noqa: E402
from contimg.index.uvh5 import read_header  # noqa: E402

SIDECAR_BYTES = 12_000
"""What a status.json takes."""
FILES = (".json", ".html", ".parquet", ".csv", ".sqlite3")
"""Outputs that are files; all others are directories."""


class Small(Writer):
    """Tiles of two antennas and one channel a file: a month of them takes 3 GB."""

    shape: ClassVar = {"n_times": 24, "n_antennas": 2, "n_channels": 1}


def write(incoming: Path, cache: Path, tiles: int, *, known: bool) -> None:
    """Write the raw files, and where the headers are to be known the cache of the index."""
    writer, store, headers = Small(incoming, flat=False), HeaderCache(cache), []
    for number in range(tiles):
        paths = writer.write(number)
        if not known:
            continue
        headers = headers or [read_header(path) for path in paths]
        shift = number * STEP_DAYS
        for path, header in zip(paths, headers, strict=True):
            name, info = parse_name(path.name), path.stat()
            moved = replace(
                header,
                path=str(path),
                size_bytes=info.st_size,
                mtime_ns=info.st_mtime_ns,
                time0_jd=header.time0_jd + shift,
                time_last_jd=header.time_last_jd + shift,
                start_mjd=header.start_mjd + shift,
            )
            store.add(utc(name.mjd).strftime("%Y-%m-%d"), str(path), state_of(info), moved)
    store.save(str(incoming), [str(path) for path in incoming.rglob("*.hdf5")])


def make(products: Path, summary: str, incoming: Path) -> int:
    """Put every output that `snakemake --summary` lists where it belongs; returns how many there are."""
    found = build_index(
        incoming, start_mjd=None, end_mjd=None, min_subbands=16, cache=products / "state" / "index"
    )
    slots = {tile.name: tile.slots for tile in found.tiles}
    header, *rows = (line.split("\t") for line in summary.splitlines() if "\t" in line)
    outputs = [row[header.index("output_file")] for row in rows]
    filler = {f"metric_{number}": number / 7 for number in range(SIDECAR_BYTES // 40)}
    for output in outputs:
        path = products / output
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "status": "ok",
            "reason": None,
            "verdict": "pass",
            "inputs": [],
            "digests": {},
            "metrics": filler,
        }
        if path.suffix not in FILES:  # a mosaic may be called 0830+55.2
            path.mkdir(exist_ok=True)
            (path / "status.json").write_text(json.dumps(record))
        elif path.suffix != ".json":
            path.write_text("")
        else:
            if output.startswith("ms/science/"):
                record["raw"] = note(slots[path.stem])
            path.write_text(json.dumps(record))
    now = time.time()
    for output in outputs:
        os.utime(products / output, (now, now))
    return len(outputs)


def show(name: str, arguments: list[str], cwd: Path, *, check: bool = True) -> None:
    """Print wall and processor time of a command, and its last line that counts jobs; with `check` it must succeed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        arguments, cwd=cwd, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    words = ("jobs: ", "contimg: total")
    said = [line for line in done.stdout.splitlines() if line.startswith(words)]
    print(f"{name:26s} {wall:6.2f} s  {processor:6.2f} s  {said[-1] if said else ''}", flush=True)


def main() -> None:
    """Make the night, time the plans, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=288)
    parser.add_argument(
        "--known", action="store_true", help="write the index's cache instead of reading headers"
    )
    parser.add_argument("--repeat", type=int, default=3, help="warm plans with `snakemake -n`")
    parser.add_argument("--scratch", type=Path, help="where the files go for the time of the run")
    parser.add_argument("--made", action="store_true", help="time the plan of what is all made, too")
    options = parser.parse_args()
    snakemake, tiles = [sys.executable, "-m", "snakemake", "-n"], options.tiles
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="bench_plan.") as name:
        folder = Path(name)
        (folder / "incoming").mkdir()
        write(folder / "incoming", folder / "products" / "state" / "index", tiles, known=options.known)
        (folder / "Snakefile").write_text("rule all:\n    input: []\n")
        pairs = ["--config", f"incoming={folder}/incoming", f"products={folder}/products"]
        plan = [*snakemake, "all", *pairs]
        # exit status 1 is a verdict: it does not fit on this disk
        page = [sys.executable, "-m", "contimg.cli.main", "plan", *pairs]
        print(f"{'':26s} {'wall':>6s}    {'processor':>6s}")
        show("empty Snakefile", snakemake, folder)
        first = f"{tiles} tiles, " + ("centres computed" if options.known else "cold")
        show(first, page, CLONE / "scripts", check=False)
        for number in (1, 2):
            show(f"contimg plan, warm ({number})", page, CLONE / "scripts", check=False)
        for number in range(options.repeat):
            show(f"snakemake -n, warm ({number + 1})", plan, CLONE)
        if options.made:
            listed = [*snakemake[:-1], "--summary", "all", *pairs]
            done = subprocess.run(listed, cwd=CLONE, check=True, stdout=subprocess.PIPE, text=True)
            count = make(folder / "products", done.stdout, folder / "incoming")
            print(f"{count} outputs put there", flush=True)
            for number in range(options.repeat):
                show(f"snakemake -n, all made ({number + 1})", plan, CLONE)


if __name__ == "__main__":
    main()
