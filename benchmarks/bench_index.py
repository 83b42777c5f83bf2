"""The index of many tiles: first call, second call, and with everything already read once.

    python benchmarks/bench_index.py [--tiles 300] [--flat] [--scratch DIR]

Writes that many tiles of 16 tiny but valid raw files (header layout, integrations and channels as the telescope
writes them, 3 antennas), by day or all in one directory, then times `build_index` in fresh processes:

cold disk   nothing cached; the kernel was asked to forget the files' pages
cold        nothing cached but the kernel's pages
warm        the same again with the cache that the call before left
one new     one tile has come since
one night   warm, a range of 24 hours

`call` is the call itself, `process` includes starting Python and its imports. The limits for 300 tiles: cold
30 s, warm 1 s.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from builders.uvh5_files import mjd, stamp, write_tile  # noqa: E402

FIRST = mjd("2025-10-30T00:00:00")
STEP_DAYS = 24 * 12.884902 / 86400.0
CHILD = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
from contimg.index import build_index
incoming, cache, start, end = json.loads(sys.argv[1])
call = time.perf_counter()
found = build_index(Path(incoming), start_mjd=start, end_mjd=end, min_subbands=16, exclude=(), cache=Path(cache))
print(json.dumps([len(found.tiles), len(found.left_out), time.perf_counter() - call]))
"""


class Writer:
    """Writes tiles fast: one real file a subband, then copies of its bytes with other times."""

    shape: ClassVar = {"n_times": 24, "n_antennas": 3, "n_channels": 48}

    def __init__(self, incoming, flat):
        self.incoming, self.flat = incoming, flat
        self.templates = []
        with tempfile.TemporaryDirectory(dir=incoming.parent) as folder:
            for path in write_tile(Path(folder), FIRST, **self.shape):
                with h5py.File(path) as file:
                    times = file["Header/time_array"]
                    offset, values = times.id.get_offset(), times[()]
                self.templates.append((path.name[19:], bytearray(path.read_bytes()), offset, values))

    def write(self, number):
        """Write tile `number`, its names late by 0 to 2 s."""
        start = FIRST + number * STEP_DAYS
        folder = self.incoming if self.flat else self.incoming / stamp(start)[:10]
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for place, (ending, content, offset, values) in enumerate(self.templates):
            times = (values + number * STEP_DAYS).tobytes()
            content[offset : offset + len(times)] = times
            path = folder / f"{stamp(start, place % 3)}{ending}"
            path.write_bytes(content)
            paths.append(path)
        return paths


def forget(paths):
    """Write the files back and ask the kernel to drop their pages."""
    os.sync()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def timed(incoming, cache, start=None, end=None):
    """One call in a process of its own: tiles, left out, seconds of the call and of the process."""
    began = time.perf_counter()
    arguments = json.dumps([str(incoming), str(cache), start, end])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    tiles, left_out, call = json.loads(done.stdout)
    return tiles, left_out, call, time.perf_counter() - began


def main():
    """Write the tiles, time the calls, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=300)
    parser.add_argument("--flat", action="store_true", help="all files in one directory, not one a day")
    parser.add_argument("--scratch", type=Path, help="where the files go for the time of the run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="bench_index.") as folder:
        incoming, cache = Path(folder, "incoming"), Path(folder, "cache")
        incoming.mkdir()
        writer = Writer(incoming, options.flat)
        paths = [path for number in range(options.tiles) for path in writer.write(number)]
        size = sum(path.stat().st_size for path in paths)
        print(f"{options.tiles} tiles, {len(paths)} files, {size / 1e6:.0f} MB; {sys.executable}")
        print(f"{'':10} {'tiles':>6} {'left out':>8} {'call s':>8} {'process s':>10}")

        def row(name, *limits):
            tiles, left_out, call, process = timed(incoming, cache, *limits)
            print(f"{name:10} {tiles:6d} {left_out:8d} {call:8.3f} {process:10.3f}", flush=True)

        forget(paths)
        row("cold disk")
        shutil.rmtree(cache)
        row("cold")
        row("warm")
        writer.write(options.tiles)
        row("one new")
        middle = FIRST + np.floor(options.tiles * STEP_DAYS / 2)
        row("one night", float(middle), float(middle) + 1.0)
        kept = sum(path.stat().st_size for path in cache.iterdir())
        print(f"the cache holds {kept / 1e6:.1f} MB in {len(list(cache.iterdir()))} files")


if __name__ == "__main__":
    main()
