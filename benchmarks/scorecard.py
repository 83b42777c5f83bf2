"""How good the products are: simulated nights through the workflow, compared with their truth.

    make scorecard                             docs/scorecard.md; an hour
    make scorecard SIZE=quick                  smaller tiles, to try it; some 15 CPU minutes
    python benchmarks/scorecard.py --nights south sick --days 1
    python benchmarks/scorecard.py --size quick --before /path/of/an/older/clone

Two of the six nights are observed on two days, which tell how well fluxes repeat (not in the size quick). The pipeline
is given a calibrator catalogue with an error in the calibrator's flux and a reference catalogue whose fluxes scatter by
3 %. Nights and products are kept in bench/scorecard: a second run makes only what is missing, and one that was
stopped goes on. The numbers of a run are kept in benchmarks/results/scorecard, by size. --before takes the same raw
nights through another clone's workflow (its own .venv) and keeps its numbers in before.json there, which the page shows
beside the last run of that size.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchlib import chain, lightcurve_year, report, rivals, scorecard, skies, tile
from benchlib.cost import Cost, measure

from contimg.simulate.night import simulate
from contimg.simulate.truth import read_truth

PAGE = tile.CLONE / "docs" / "scorecard.md"
ALL_NIGHTS = (
    "All nights have noise through the electronics, receivers of different noise, bands that fall and roll off, scales",
    "of subbands and antennas, a phase screen, refraction, X and Y that point apart, extended sources, a background of",
    "published counts from 3 mJy (`benchmarks/benchlib/skies.py`).",
)
COUNTED = (
    "best rms over its rms is above 0.3; ± is the standard error: by drawing sources with replacement, of shares the",
    "binomial one. The ideal noise is what clean data of the antennas that work would give with true weights and every",
    "gain known, in an image of the same weighting (`benchlib.ideal`); thermal is what the pipeline's own weights say.",
)
RESULTS = tile.CLONE / "benchmarks" / "results" / "scorecard"
NOTES = RESULTS / "notes.md"
"""What was found out about the numbers, with the date: kept by who found it, shown by the page."""
BEFORE = RESULTS / "before.json"


def make(night: skies.Night, epoch: int, folder: Path, threads: int, clone: Path | None) -> Cost:
    """Simulate a day, unless it is there already, and take it to its mosaic.

    This pipeline's jobs run in this process, without the engine, whose starts would cost a third more; another clone's
    by its own workflow.
    """
    incoming = folder / "incoming"
    options = night.epoch(epoch)
    if not (incoming / "truth.json").is_file() or read_truth(incoming).options != options:
        shutil.rmtree(folder, ignore_errors=True)
        simulate(options, incoming, threads=threads)
        sources = read_truth(incoming).sources
        (folder / "calibrators.csv").write_text(skies.calibrator_table(options, night.calibrator_error))
        (folder / "catalog.csv").write_text(skies.reference_table(sources, options.seed))
    lists = {name: str(folder / f"{name}.csv") for name in ("calibrators", "catalog")}
    if clone is None:
        return in_process(incoming, folder, {"mosaic_name": "all", **lists}, threads)
    command = [
        str(clone / ".venv" / "bin" / "python"),
        "-m",
        "snakemake",
        "--cores",
        str(threads),
        "mosaic",
        "--config",
    ]
    command += [f"incoming={incoming}", f"products={products(folder, clone)}", "mosaic_name=all"]
    command += [f"{name}={path}" for name, path in lists.items()]
    return measure(command, cwd=clone, threads=threads, timeout_s=4 * 3600.0)


def in_process(incoming: Path, folder: Path, settings: dict[str, str], threads: int) -> Cost:
    """Take a day to its mosaic by the jobs alone."""
    began, before = time.monotonic(), os.times()
    chain.judge(incoming, products(folder, None), settings, threads=threads)
    cpu_s = sum(os.times()[:4]) - sum(before[:4])
    return Cost(seconds=time.monotonic() - began, cpu_s=cpu_s)


def products(folder: Path, clone: Path | None) -> Path:
    """The tree that a day's products are made in."""
    return folder / ("products" if clone is None else "before")


def page(nights: list[skies.Night], parts: dict[str, scorecard.Measured], size: str, notes: list[str]) -> str:
    """The page: all nights together, then each."""
    asked = nights[0].options
    array = len(asked.antennas) or asked.n_antennas
    versions = report.versions(rivals.wsclean_version())
    made = f"{datetime.now(UTC):%Y-%m-%d}; ducc0 {versions['ducc0']}, casatasks {versions['casatasks']}"
    lines = [
        "# Scorecard",
        "",
        "Simulated nights through all jobs of the workflow, compared with the truth that they were made from:",
        f"`make scorecard{'' if size == 'standard' else f' SIZE={size}'}` ({made}).",
        f"Nights: {', '.join(night.name for night in nights)}; {_days(parts)} days with tiles,",
        f"{asked.n_tiles} tiles a day, {array} antennas, {asked.n_integrations} integrations, {asked.n_subbands} × "
        f"{asked.n_channels} channels of {1e-3 * asked.channel_width_hz:.0f} kHz.",
        *_left_out(nights, size),
        *ALL_NIGHTS,
        "Default settings, one mosaic a day. The pipeline knows the calibrator's flux with the error stated, and a",
        f"reference catalogue that is off by {100 * skies.CATALOGUE_SCATTER:.0f} % rms. Sources count where a mosaic's",
        *COUNTED,
        "",
        *scorecard.table(scorecard.together(list(parts.values()))),
        "",
        *_before_and_after(),
        *([NOTES.read_text()] if NOTES.is_file() else []),
        *lightcurve_year.section(),
        "",
        "## Night by night",
    ]
    for night in nights:
        measured = parts[night.name]
        rejected = measured.tiles[measured.tiles["reason"].notna()]
        lines += [
            "",
            f"### {night.name}",
            f"Declination {night.options.dec_deg:+.1f}°: {night.says}; the calibrator's flux is stated "
            f"{100 * night.calibrator_error:+.0f} % wrong. Days with tiles: {_days({night.name: measured})} of "
            f"{night.days}; {len(measured.tiles)} tiles, {len(rejected)} rejected.",
            "",
            *scorecard.table(measured),
            *(["", "Rejected:"] if len(rejected) else []),
            *(
                f"- {tile}: {reason}"
                for tile, reason in zip(rejected["tile"], rejected["reason"], strict=True)
            ),
        ]
    lines += ["", "## Scattering events"]
    lines += [
        "Recall and false alarms of the search for extreme scattering events, measured by the same command:"
    ]
    lines += ["[ese_truth.md](ese_truth.md)."]
    return "\n".join([*lines, *(["", "## What failed", ""] + notes if notes else [])]) + "\n"


def _before_and_after() -> list[str]:
    """What an older pipeline made of the same raw files, where this one was measured on all of these nights."""
    if not BEFORE.is_file():
        return []
    before: dict[str, Any] = json.loads(BEFORE.read_text())
    now = _results(before["size"])
    if not now.is_file():
        return []
    after: dict[str, Any] = json.loads(now.read_text())
    names = [name for name in before["nights"] if name in after["nights"]]
    lines = [
        "## Before and after",
        f"The same raw files, of the size {before['size']}, through the pipeline of {before['commit_date']} (commit "
        f"{before['commit'][:7]}; WSClean, measured {before['date']}) and through",
        f"this one ({after['commit'][:7]}, measured {after['date']}), by the same measurement.",
    ]
    tables = {f"Night {name}": (before["nights"][name], after["nights"][name]) for name in names}
    if names == list(after["nights"]) == list(before["nights"]):
        tables = {f"Nights {', '.join(names)} together": (before["all"], after["all"]), **tables}
    for title, pair in tables.items():
        lines += ["", f"{title}:", "", *scorecard.compared(*pair)]
    return [*lines, ""] if names else []


def _commit(clone: Path) -> tuple[str, str]:
    """Hash and date of what a clone has checked out."""
    said = ["git", "-C", str(clone), "log", "-1", "--format=%H %cs"]
    commit, date = subprocess.run(said, capture_output=True, text=True, check=True).stdout.split()
    return commit, date


def _results(size: str) -> Path:
    """Where the numbers of a size are kept."""
    return RESULTS / f"{size}.json"


def keep(parts: dict[str, scorecard.Measured], size: str, clone: Path, out: Path) -> None:
    """Keep what a clone's pipeline made of the nights."""
    commit, commit_date = _commit(clone)

    def shown(measured: scorecard.Measured) -> dict[str, str]:
        return {number.what: number.shown() for number in scorecard.numbers(measured)}

    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "what": "the nights of the scorecard through the pipeline of a commit, measured as the page's are",
        "commit": commit,
        "commit_date": commit_date,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "size": size,
        "all": shown(scorecard.together(list(parts.values()))),
        "nights": {name: shown(measured) for name, measured in parts.items()},
    }
    out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _left_out(nights: list[skies.Night], size: str) -> list[str]:
    """Which nights of the size this run had not."""
    days = {night.name: night.days for night in nights}
    names = [night.name for night in skies.nights(size) if night.name not in days]
    names += [f"the second day of {n.name}" for n in skies.nights(size) if days.get(n.name, n.days) < n.days]
    return [f"Not in this run: {', '.join(names)}."] if names else []


def _days(parts: dict[str, scorecard.Measured]) -> int:
    """How many days have tiles."""
    return sum(part.tiles["epoch"].nunique() for part in parts.values() if len(part.tiles))


def measure_all(
    nights: list[skies.Night], folder: Path, threads: int, clone: Path | None, size: str
) -> tuple[dict[str, scorecard.Measured], list[str]]:
    """Make every day of the nights and measure it; and what failed."""
    parts, notes = {}, []
    for night in nights:
        days = []
        for epoch in range(night.days):
            day = folder / f"{night.name}{epoch}"
            cost = make(night, epoch, day, threads, clone)
            print(
                f"{night.name} {epoch}: {cost.seconds:.0f} s, {cost.cpu_s:.0f} s CPU {cost.error}",
                file=sys.stderr,
                flush=True,
            )
            if cost.error:
                notes.append(f"- {night.name}, day {epoch + 1}: {cost.error}")
            days.append(
                scorecard.measure_night(read_truth(day / "incoming"), products(day, clone), night, epoch)
            )
        parts[night.name] = scorecard.together(days)
    return parts, notes


def main() -> None:
    """Make the nights, measure, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(skies.SIZES), default="standard")
    parser.add_argument("--nights", nargs="+", help="only these")
    parser.add_argument("--days", type=int, default=2, help="of each night, at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench" / "scorecard")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--before", type=Path, metavar="CLONE", help="measure this clone's pipeline instead")
    arguments = parser.parse_args()
    nights = [
        replace(night, days=min(night.days, arguments.days))
        for night in skies.nights(arguments.size)
        if not arguments.nights or night.name in arguments.nights
    ]
    logging.disable(logging.WARNING)
    folder = arguments.folder.resolve() / arguments.size
    parts, notes = measure_all(nights, folder, arguments.threads, arguments.before, arguments.size)
    if arguments.before is not None:
        keep(parts, arguments.size, arguments.before, BEFORE)
        print("\n".join([*scorecard.table(scorecard.together(list(parts.values()))), *notes]))
        return
    keep(parts, arguments.size, tile.CLONE, _results(arguments.size))
    arguments.page.write_text(page(nights, parts, arguments.size, notes))
    print(arguments.page.read_text())


if __name__ == "__main__":
    main()
