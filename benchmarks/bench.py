"""What a full tile costs, stage by stage, beside what a user would do instead and what the machine allows.

    make bench                                everything: a page and a JSON file in benchmarks/results/
    make bench STAGES="convert image"         parts of it, minutes each
    make bench RIVALS=0                       without the rivals (most of the time is theirs)
    python benchmarks/bench.py --readme       put the newest result into README.md

A tile is simulated once (96 antennas, 24 integrations, 768 channels, XX and YY: 2.3 GB) and kept in bench/, which git
ignores. Every stage is run as a user runs it, `snakemake TARGET`, in processes of its own. What fails is a line of the
table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchlib import mosaics, report, rivals, stages, tile

from contimg.simulate.options import preset

RESULTS = tile.CLONE / "benchmarks" / "results"
README = tile.CLONE / "README.md"
TILE_STAGES = {
    "convert": (stages.convert, (rivals.convert_floor,), (rivals.convert,)),
    "calibrate": (stages.calibrate, (), (rivals.calibrate,)),
    "image": (stages.image, (), (rivals.image,)),
}
ALL_STAGES = ("whole", *TILE_STAGES, "mosaic")


def run(
    wanted: Sequence[str], folder: Path, *, preset_name: str, threads: int, with_rivals: bool
) -> Iterator[report.Row]:
    """Run the stages that are wanted, in order; yields their rows."""
    if set(wanted) != {"mosaic"}:
        last = [name for name in TILE_STAGES if name in wanted or "whole" in wanted][-1]
        stages.warm(folder / "warm", threads, last)
        full = tile.prepare(folder / preset_name, preset(preset_name), threads)
        if "whole" in wanted:
            yield from stages.whole(full, threads)
        work = folder / "work"
        for name, (ours, floors, others) in TILE_STAGES.items():
            if name not in wanted:
                continue
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            for floor in floors:
                yield from floor(full, work, threads)
            yield from ours(full, threads)
            if with_rivals:
                for rival in others:
                    yield from rival(full, work, threads)
        shutil.rmtree(work, ignore_errors=True)
    if "mosaic" in wanted:
        yield from mosaics.mosaic(folder / "mosaic", threads, with_rivals)


def write_readme() -> None:
    """Put the newest result into the README."""
    found = report.newest(RESULTS)
    if found is None:
        raise SystemExit(f"{RESULTS}: no result yet; run `make bench`")
    README.write_text(report.quote(README.read_text(), report.readme(found)))


def main() -> None:
    """Parse, run, write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", choices=ALL_STAGES, default=list(ALL_STAGES))
    parser.add_argument("--rivals", type=int, choices=(0, 1), default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--preset", default="full-tile", choices=("full-tile", "demo", "tiny"))
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true", help="only put the newest result into README.md")
    arguments = parser.parse_args()
    if arguments.readme:
        write_readme()
        return
    host = report.machine()
    rows = []
    for entry in run(
        arguments.stages,
        arguments.folder.resolve(),
        preset_name=arguments.preset,
        threads=arguments.threads,
        with_rivals=bool(arguments.rivals),
    ):
        rows.append(entry)
        outcome = entry.error or f"{entry.seconds:.1f} s, {entry.cpu_s:.1f} s CPU, {entry.peak_gb:.2f} GB"
        print(f"{entry.stage:10s} {entry.what}: {outcome}", file=sys.stderr, flush=True)
    described = tile.prepare(
        arguments.folder.resolve() / arguments.preset, preset(arguments.preset), arguments.threads
    ).describe()
    found = report.record(
        rows, threads=arguments.threads, tile=described, host=host, wsclean=rivals.wsclean_version()
    )
    page = report.write(found, arguments.results)
    print(page.read_text())


if __name__ == "__main__":
    main()
