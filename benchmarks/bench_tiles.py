"""How many rows a tile of the storage manager should hold: the ways a Measurement Set is written and read.

    python benchmarks/bench_tiles.py [--times 12] [--scratch DIR]

DATA of a full tile (4656 baselines, 768 channels, two correlations), or as many integrations of it as asked for. Each
layout is written integration by integration, as conversion does; then read integration by integration (as
`contimg.gains.apply` and CASA's solvers do), row by row (as WSClean does when it reorders) and by blocks of baselines
at all times (as the search for interference does). The table gives CPU seconds, and bytes read relative to DATA's.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from casacore import tables

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

N_BASELINES, N_CHANNELS, N_CORRELATIONS = 4656, 768, 2
BLOCK = 54
ROWS = (8, 48, 64, 97, 256, 1164, 4656)


def bytes_read():
    """Bytes that this process has read so far, through read()."""
    return int(Path("/proc/self/io").read_text().split()[1])


def write(path, rows, times, data):
    """Write DATA in tiles of so many rows."""
    description = tables.makearrcoldesc(
        "DATA", 0j, shape=[N_CHANNELS, N_CORRELATIONS], valuetype="complex", options=5,
        datamanagertype="TiledColumnStMan", datamanagergroup="TiledDATA",
    )  # fmt: skip
    manager = {
        "*1": {
            "TYPE": "TiledColumnStMan",
            "NAME": "TiledDATA",
            "SPEC": {"DEFAULTTILESHAPE": [N_CORRELATIONS, N_CHANNELS, rows]},
            "COLUMNS": ["DATA"],
        }
    }
    with tables.table(str(path), tables.maketabdesc([description]), dminfo=manager, ack=False) as table:
        table.addrows(times * N_BASELINES)
        for i in range(times):
            table.putcol("DATA", data, i * N_BASELINES, N_BASELINES)


def read_integrations(table, times):
    """All baselines of one integration after the other."""
    for i in range(times):
        table.getcol("DATA", i * N_BASELINES, N_BASELINES)


def read_rows(table, times):
    """One row after the other; every eighth integration, as Python's own time would drown the rest."""
    for i in range(0, times, 8):
        for row in range(i * N_BASELINES, (i + 1) * N_BASELINES):
            table.getcell("DATA", row)


def read_baselines(table, times, block):
    """A block of baselines at all integrations after the other."""
    for first in range(0, N_BASELINES, block):
        for i in range(times):
            table.getcol("DATA", i * N_BASELINES + first, min(block, N_BASELINES - first))


def timed(function, *arguments):
    """CPU seconds and bytes read."""
    began, read = time.process_time(), bytes_read()
    function(*arguments)
    return time.process_time() - began, bytes_read() - read


def main():
    """Write and read every layout, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    times = arguments.times
    rng = np.random.default_rng(1)
    data = (
        rng.normal(size=(N_BASELINES, N_CHANNELS, 2 * N_CORRELATIONS)).astype(np.float32).view(np.complex64)
    )
    size = data.nbytes * times
    print(f"{times} integrations, {size / 1e9:.2f} GB; CPU seconds (bytes read / bytes of DATA)\n")
    print(
        "| rows in a tile | MB | write | by integration | by row (an eighth) | by 54 baselines | by as many as a tile |"
    )
    print("|---|---|---|---|---|---|---|")
    for rows in ROWS:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            path = Path(folder, "table")
            cells = [f"{timed(write, path, rows, times, data)[0]:.1f}"]
            for reader in (
                (read_integrations,),
                (read_rows,),
                (read_baselines, BLOCK),
                (read_baselines, rows),
            ):
                with tables.table(str(path), ack=False) as table:
                    seconds, read = timed(reader[0], table, times, *reader[1:])
                cells.append(f"{seconds:.1f} ({read / size:.2f})")
        megabytes = 8 * rows * N_CHANNELS * N_CORRELATIONS / 1e6
        print(f"| {rows} | {megabytes:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
