"""How cost grows: 24, 48, 96 antennas and 1 to 12 tiles, on one and two cores; and what that makes of a night.

    python benchmarks/bench_scaling.py                          docs/scaling.png and its part of docs/performance.md
    python benchmarks/bench_scaling.py --antennas 24 48 --tiles 1 4

Every stage is run by `snakemake`, as by `make bench`. Cost is told over the bytes of a tile, so that a third of
the integrations will do; a night is of small tiles with the quickest images, and on fewer cores than the most of
no more than `FEW_TILES`. What is simulated lies in bench/scaling.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchlib import report, scaling, stages, tile

from contimg.core import names
from contimg.simulate.options import SimOptions, preset

DOCS = tile.CLONE / "docs"
MARKS = "<!-- scaling: benchmarks/bench_scaling.py -->", "<!-- /scaling -->"
RESULTS = tile.CLONE / "benchmarks" / "results" / "scaling"
QUICK = ("imaging={quality_tier: development}",)
MOSAIC_CPU_S = 62.0
"""Of twelve tiles of 4096 x 4096 pixels, where no result of `make bench` says better."""


FEW_TILES = 4
NIGHT_ANTENNAS = 24


def options(antennas: int, integrations: int) -> SimOptions:
    """A full tile of fewer antennas and integrations."""
    return replace(preset("full-tile"), n_antennas=antennas, n_integrations=integrations)


def night(tiles: int, integrations: int) -> SimOptions:
    """Several small tiles, of a quarter of the channels."""
    small = options(NIGHT_ANTENNAS, integrations)
    return replace(small, n_channels=small.n_channels // 4, n_tiles=tiles, transit_tile=tiles // 2)


def by_antennas(
    counts: list[int], integrations: int, threads: list[int], folder: Path
) -> Iterator[dict[str, Any]]:
    """Each stage of one tile."""
    for antennas in counts:
        made = tile.prepare(folder / f"{antennas}antennas", options(antennas, integrations), max(threads))
        tables = names.caltable_dir(made.name, made.calibrator)
        targets = {
            "convert": names.science_ms(made.name),
            "calibrate": tables,
            "image": names.image_dir(made.name),
        }
        for count in threads:
            tile.forget(made.products)
            for stage, target in targets.items():
                yield row(stage, made, [target], antennas=antennas, tiles=1, threads=count)


def by_tiles(
    counts: list[int], integrations: int, threads: list[int], folder: Path
) -> Iterator[dict[str, Any]]:
    """Raw files to images of several tiles, with the calibration of their transit."""
    for tiles in counts:
        made = tile.prepare(folder / f"{tiles}tiles", night(tiles, integrations), max(threads))
        for count in threads:
            if count == max(threads) or tiles <= FEW_TILES:
                tile.forget(made.products)
                yield row(
                    "night", made, ["image"], QUICK, antennas=NIGHT_ANTENNAS, tiles=tiles, threads=count
                )


def row(
    stage: str, made: tile.Tile, targets: list[str], settings: Sequence[str] = (), **what: int
) -> dict[str, Any]:
    """Run targets and say what they cost."""
    catalog = f"catalog={made.incoming / 'sources.csv'}"
    cost = tile.snakemake(made, targets, threads=what["threads"], settings=[catalog, *settings])
    raw_gb = sum(path.stat().st_size for path in made.raw_files) / 1e9
    said = {"stage": stage, **what, "raw_gb": raw_gb, "seconds": cost.seconds, "cpu_s": cost.cpu_s}
    found = {**said, "peak_gb": cost.peak_gb, "error": cost.error}
    print(found, file=sys.stderr, flush=True)
    return found


def mosaic_cpu_s() -> float:
    """CPU seconds of an hour's mosaic by the newest result of `make bench`."""
    found = report.newest(report_folder()) or {"rows": []}
    wanted = [
        entry
        for entry in report.rows_of(found)
        if entry.stage == "mosaic" and "12 tiles, common" in entry.what
    ]
    return wanted[0].cpu_s if wanted and not wanted[0].error else MOSAIC_CPU_S


def report_folder() -> Path:
    """Where `make bench` leaves its results."""
    return RESULTS.parent


def main() -> None:
    """Measure, plot, write the part of the page between its marks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--antennas", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--integrations", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench" / "scaling")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the picture and the page are")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    host, folder = report.machine(), arguments.folder.resolve()
    stages.warm(folder / "warm", max(arguments.threads))
    rows = [
        *by_antennas(arguments.antennas, arguments.integrations, arguments.threads, folder),
        *by_tiles(arguments.tiles, arguments.integrations, arguments.threads, folder),
    ]
    arguments.results.mkdir(parents=True, exist_ok=True)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    stem = f"{date}-{report.host_kind(host)}"
    (arguments.results / f"{stem}.json").write_text(
        json.dumps({"date": date, "machine": host, "rows": rows}, indent=1) + "\n"
    )
    mosaic_s = mosaic_cpu_s()
    scaling.plot(rows, mosaic_s, arguments.docs / "scaling.png")
    machine = f"{host['cpu']}, {host['cores']} cores, {host['memory_gb']:.0f} GB"
    header = f"{machine}, load before {host['load_before']}, {date}."
    lines = ["![Cost over size](scaling.png)", "", *scaling.page(rows, mosaic_s, header)]
    target = arguments.docs / "performance.md"
    target.write_text(report.quote(target.read_text(), lines, MARKS))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
