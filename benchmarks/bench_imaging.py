"""Imaging settings compared: noise over thermal, dynamic range, fluxes, time and memory. Writes docs/imaging_report.md.

    python benchmarks/bench_imaging.py                       48 antennas, half the time, a quarter of the channels
    python benchmarks/bench_imaging.py --size full-tile
    python benchmarks/bench_imaging.py --cases faint

Every tile is simulated, converted and calibrated once with the defaults, then imaged with each of the settings by
`snakemake`, without a reference catalogue. Products are removed when a tile is done, as a full one takes 6 GB. What is
measured is kept in benchmarks/results/imaging: a run of some cases replaces theirs in the file of the day.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchlib import imaging, noise_mosaic, report, rivals, skies, tile

from contimg.core import names
from contimg.simulate.night import simulate

PAGE = tile.CLONE / "docs" / "imaging_report.md"
RESULTS = tile.CLONE / "benchmarks" / "results" / "imaging"
DECLINATIONS = {0: 1.25, 37: 1.4, 70: 2.1}
"""Strips, and how far drift and overlap let the noise of an hour fall below a tile's."""


def images(
    case: imaging.Case, settings: dict[str, str], folder: Path, threads: int
) -> Iterator[dict[str, Any]]:
    """Simulate a case and image it with each of the settings."""
    shutil.rmtree(folder, ignore_errors=True)
    truth = simulate(case.options, folder / "incoming", threads=threads)
    made = tile.Tile(folder, truth.tiles[case.target].name, case.options.transit_of)
    (folder / "calibrators.csv").write_text(skies.calibrator_table(case.options))
    given = [f"calibrators={folder / 'calibrators.csv'}"]
    tables = names.caltable_dir(truth.tiles[0].name, made.calibrator)
    prepared = tile.snakemake(made, [names.science_ms(made.name), tables], threads=threads, settings=given)
    if prepared.error:
        yield imaging.result(case, "calibration", prepared, {}, made.image_dir, truth)
        return
    for name, setting in settings.items():
        tile.forget(made.image_dir)
        cost = tile.snakemake(made, [names.image_dir(made.name)], threads=threads, settings=[*given, setting])
        status = tile.sidecar(made.image_dir / "status.json")
        yield imaging.result(case, name, cost, status, made.image_dir, truth)


def page(found: dict[str, Any]) -> str:
    """The report on a record."""
    size, rows, host = found["size"], found["rows"], found["machine"]
    asked = imaging.shape(size)
    lines = [
        "# Imaging report",
        "",
        "Settings compared on simulated tiles of known truth: "
        f"`python benchmarks/bench_imaging.py{'' if size == 'reduced' else f' --size {size}'}`",
        f"({found['date']}; {host['cpu']}, {host['cores']} cores, load {host['load_before']} before; WSClean "
        f"{found['wsclean']}). {len(asked.antennas) or asked.n_antennas} antennas,",
        f"{asked.n_integrations} integrations, {asked.n_subbands} × {asked.n_channels} channels. Times are of "
        "`snakemake` for the image alone (apply, average, image, correct), its start included.",
        "`rms` is that of the middle third; *thermal* follows from the weights of the image. Fluxes are of all sources",
        "above 10 σ where the primary beam is above 0.3; `noise` is what their errors alone would scatter. There is no",
        "reference catalogue. Goals: rms within 1.3 times thermal, bright sources right to 0.5 %, 60 s.",
    ]
    if not rows:
        lines += ["", "No tile was imaged in this run: there is no comparison of settings yet."]
    for case in imaging.cases(size):
        of_case = [row for row in rows if row["tile"] == case.name]
        if of_case:
            lines += ["", f"## {case.name}: {case.says}", "", *imaging.table(of_case)]
    lines += [
        "",
        "## An hour's mosaic",
        "",
        "Noise in the middle of a tile over that in the middle of the mosaic of twelve: tiles of pure noise through",
        "the mosaic stage (`benchmarks/benchlib/noise_mosaic.py`). Expected is what drift and overlap allow, not √12.",
        "",
        "| declination | measured | expected |",
        "|---|---|---|",
        *(
            f"| {dec:+d}° | {gain:.2f} | {DECLINATIONS[dec]:.2f} |"
            for dec, gain in zip(DECLINATIONS, found["gains"], strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the cases, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=imaging.SIZES, default="reduced")
    parser.add_argument("--cases", nargs="+", help="only these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench" / "imaging")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    cases = [
        case for case in imaging.cases(arguments.size) if not arguments.cases or case.name in arguments.cases
    ]
    host, date = report.machine(), f"{datetime.now(UTC):%Y-%m-%d}"
    record = arguments.results / f"{date}-{arguments.size}-{report.host_kind(host)}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "date": date,
        "machine": host,
        "wsclean": report.versions(rivals.wsclean_version())["wsclean"],
        "size": arguments.size,
        "rows": json.loads(record.read_text())["rows"] if record.is_file() else [],
        "gains": [noise_mosaic.gain(dec, arguments.threads) for dec in DECLINATIONS],
    }
    for case in cases:
        folder = arguments.folder.resolve() / case.name
        rows = []
        for row in images(case, imaging.SETTINGS, folder, arguments.threads):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
        shutil.rmtree(folder, ignore_errors=True)
        found["rows"] = imaging.merge(found["rows"], rows)
        record.write_text(json.dumps(found, indent=1) + "\n")
        arguments.page.write_text(page(found))
    print(arguments.page.read_text())


if __name__ == "__main__":
    main()
