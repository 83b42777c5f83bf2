"""How much of the interference the flagger finds, what good data it takes, and what it costs.

    python benchmarks/bench_flag.py [--antennas 24] [--integrations 24] [--strategy FILE.lua]

Simulates a tile twice, with and without its five lines and two bursts (`--antennas 96` is the full tile, which
`make bench` works on too), converts both, and compares the flags with the difference of the visibilities: the truth.
What is simulated is kept in bench/. Prints a table, and the same as JSON in the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from benchlib import tile
from casacore import tables
from numpy.typing import NDArray

from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import convert_tile
from contimg.index.build import build_index
from contimg.ms.sets import read_meta
from contimg.simulate.options import SimOptions, preset

RATIOS = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0, np.inf)
"""Edges of the ranges of interference over noise."""

HARMLESS = 0.1
"""Interference below this part of the noise is none: flagging it is a false alarm."""


@dataclass(frozen=True)
class Score:
    """What the flags of a tile are worth.

    Attributes
    ----------
    found : dict of str to float
        Flagged part of the visibilities in each range of interference over noise (amplitude over the standard
        deviation of the real part).
    false_alarms : float
        Flagged part of the rest, beside interference.
    """

    found: dict[str, float]
    false_alarms: float


def score(
    interference: NDArray[np.float32], noise: NDArray[np.float32], flags: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count visibilities and flagged ones in the ranges of interference over noise; arrays of one shape.

    Returns
    -------
    (ranges + 1, 2)
        The first row is of harmless visibilities, the others in the order of `RATIOS`.
    """
    ratio = interference / noise
    counts = [(ratio < HARMLESS), *((ratio >= low) & (ratio < high) for low, high in pairwise(RATIOS))]
    return np.array([(np.count_nonzero(chosen), np.count_nonzero(flags[chosen])) for chosen in counts])


def compare(with_ms: Path, without_ms: Path) -> Score:
    """Score the flags of a tile with interference by the same tile without it."""
    meta = read_meta(with_ms)
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    counts = np.zeros((len(RATIOS), 2), np.int64)
    with (
        tables.table(str(with_ms), ack=False) as dirty,
        tables.table(str(without_ms), ack=False) as clean,
    ):
        for i in range(meta.n_times):
            first = i * meta.n_baselines
            data, truth, flags, sigma = (
                table.getcol(name, first, meta.n_baselines)[cross]
                for table, name in ((dirty, "DATA"), (clean, "DATA"), (dirty, "FLAG"), (clean, "SIGMA"))
            )
            alive = sigma > 0
            noise = np.where(alive, sigma, np.inf)[:, np.newaxis, :]
            counts += score(np.abs(data - truth), np.broadcast_to(noise, data.shape), flags)
    shares = [float(flagged / total) if total else float("nan") for total, flagged in counts]
    names = [f"{low:g}-{high:g}" for low, high in pairwise(RATIOS)]
    return Score(dict(zip(names, shares[1:], strict=True)), shares[0])


@dataclass(frozen=True)
class Converted:
    """What a conversion says and costs.

    Attributes
    ----------
    flag_fraction : float
    flag_s : float
        Wall time of its search for interference alone.
    cpu_s : float
        CPU time of all of it, its processes included.
    """

    flag_fraction: float
    flag_s: float
    cpu_s: float


def convert(raw: Path, ms: Path, flagging: FlaggingOptions, threads: int) -> Converted:
    """Convert the tile in a directory."""
    index = build_index(raw, start_mjd=None, end_mjd=None, min_subbands=1, exclude=(), cache=None)
    (found,) = index.tiles
    before = _cpu_s()
    report = convert_tile(found.slots, found.name, ms, phase_centre=None, flagging=flagging, threads=threads)
    return Converted(report["flag_fraction"], report["seconds"]["flag"], _cpu_s() - before)


def measure(
    options: SimOptions, kept: Path, scratch: Path, *, strategy: Path | None = None, threads: int = 2
) -> dict[str, Any]:
    """Simulate, flag and score; what the benchmark prints.

    Parameters
    ----------
    options : SimOptions
        Of the tile with its interference.
    kept : Path
        Where simulated tiles stay; one that is there already with the same options is taken.
    scratch : Path
        Existing directory for the Measurement Sets.
    strategy : Path, optional
        AOFlagger's; the pipeline's own if left out.
    threads : int
    """
    flagging = FlaggingOptions(strategy=strategy)
    size = "full-tile" if options == preset("full-tile") else f"flag-{_size(options)}"
    clean_options = replace(options, rfi_lines_mhz=(), rfi_bursts=0)
    dirty = tile.prepare(kept / size, options, threads).incoming
    clean = tile.prepare(kept / f"flag-{_size(options)}-clean", clean_options, threads).incoming
    tiny = tile.prepare(kept / "warm", preset("tiny"), threads).incoming
    convert(tiny, scratch / "warm.ms", FlaggingOptions(aoflagger=False), threads)  # compiles
    without = convert(clean, scratch / "clean.ms", flagging, threads)
    found = convert(dirty, scratch / "dirty.ms", flagging, threads)
    result = compare(scratch / "dirty.ms", scratch / "clean.ms")
    return {
        "flag_fraction": found.flag_fraction,
        "flag_fraction_without_interference": without.flag_fraction,
        "found": result.found,
        "false_alarms": result.false_alarms,
        "flag_s": found.flag_s,
        "convert_cpu_s": found.cpu_s,
    }


def _size(options: SimOptions) -> str:
    return f"{options.n_antennas}x{options.n_integrations}"


def _cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--antennas", type=int, default=24)
    parser.add_argument("--integrations", type=int, default=24)
    parser.add_argument("--strategy", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench")
    arguments = parser.parse_args()
    options = replace(
        preset("full-tile"),
        n_antennas=arguments.antennas,
        n_integrations=arguments.integrations,
    )
    kept = arguments.folder.resolve()
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as name:
        result = measure(options, kept, Path(name), strategy=arguments.strategy, threads=arguments.threads)
    print(f"{'interference / noise':24s} found")
    for label, share in result["found"].items():
        print(f"{label:24s} {100 * share:6.2f} %")
    print(f"{'beside interference':24s} {100 * result['false_alarms']:6.2f} % flagged")
    print(f"{'without interference':24s} {100 * result['flag_fraction_without_interference']:6.3f} % flagged")
    print(
        f"search for interference: {result['flag_s']:.1f} s on {arguments.threads} cores; "
        f"{result['convert_cpu_s']:.1f} s of CPU time with the conversion"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
