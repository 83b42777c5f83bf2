"""How good the products are: simulated nights through the workflow, compared with their truth.

    make scorecard                             docs/scorecard.md
    make scorecard SIZE=quick                  smaller tiles, to try it
    python benchmarks/scorecard.py --nights south sick

Two of the five nights are observed on two days, which tell how well fluxes repeat. The pipeline is given a calibrator
catalogue with an error in the calibrator's flux and a reference catalogue whose fluxes scatter by 3 %. Nights and
products are kept in bench/scorecard, and a second run makes only what is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchlib import lightcurve_year, report, rivals, scorecard, skies, tile
from benchlib.cost import Cost, measure

from contimg.simulate.night import simulate
from contimg.simulate.truth import read_truth

PAGE = tile.CLONE / "docs" / "scorecard.md"


def make(night: skies.Night, epoch: int, folder: Path, threads: int) -> Cost:
    """Simulate a day, unless it is there already, and take it to its mosaic."""
    incoming = folder / "incoming"
    options = night.epoch(epoch)
    if not (incoming / "truth.json").is_file() or read_truth(incoming).options != options:
        shutil.rmtree(folder, ignore_errors=True)
        simulate(options, incoming, threads=threads)
        sources = read_truth(incoming).sources
        (folder / "calibrators.csv").write_text(skies.calibrator_table(options, night.calibrator_error))
        (folder / "catalog.csv").write_text(skies.reference_table(sources, options.seed))
    command = [sys.executable, "-m", "snakemake", "--cores", str(threads), "mosaic", "--config"]
    command += [f"incoming={incoming}", f"products={folder / 'products'}", "mosaic_name=all"]
    command += [f"calibrators={folder / 'calibrators.csv'}", f"catalog={folder / 'catalog.csv'}"]
    return measure(command, cwd=tile.CLONE, threads=threads, timeout_s=4 * 3600.0)


def page(nights: list[skies.Night], parts: dict[str, scorecard.Measured], size: str, notes: list[str]) -> str:
    """The page: all nights together, then each."""
    asked = nights[0].options
    array = len(asked.antennas) or asked.n_antennas
    versions = report.versions(rivals.wsclean_version())
    made = f"{datetime.now(UTC):%Y-%m-%d}; WSClean {versions['wsclean']}, casatasks {versions['casatasks']}"
    lines = [
        "# Scorecard",
        "",
        "Simulated nights through the whole workflow, compared with the truth that they were made from:",
        f"`make scorecard{'' if size == 'standard' else f' SIZE={size}'}` ({made}).",
        f"Nights: {', '.join(night.name for night in nights)}; {_days(parts)} days with tiles,",
        f"{asked.n_tiles} tiles a day, {array} antennas, {asked.n_integrations} integrations, {asked.n_subbands} × "
        f"{asked.n_channels} channels.",
        "Default settings, one mosaic a day. The pipeline knows the calibrator's flux with the error stated, and a",
        f"reference catalogue that is off by {100 * skies.CATALOGUE_SCATTER:.0f} % rms. Sources count where a mosaic's "
        "best rms over its rms is above 0.3; ± is the",
        "standard error: by drawing sources with replacement, of shares the binomial one.",
        "",
        *scorecard.table(scorecard.together(list(parts.values()))),
        "",
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


def _days(parts: dict[str, scorecard.Measured]) -> int:
    """How many days have tiles."""
    return sum(part.tiles["epoch"].nunique() for part in parts.values() if len(part.tiles))


def main() -> None:
    """Make the nights, measure, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(skies.SIZES), default="standard")
    parser.add_argument("--nights", nargs="+", help="only these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench" / "scorecard")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    nights = [
        night
        for night in skies.nights(arguments.size)
        if not arguments.nights or night.name in arguments.nights
    ]
    parts, notes = {}, []
    for night in nights:
        days = []
        for epoch in range(night.days):
            folder = arguments.folder.resolve() / arguments.size / f"{night.name}{epoch}"
            cost = make(night, epoch, folder, arguments.threads)
            print(
                f"{night.name} {epoch}: {cost.seconds:.0f} s, {cost.cpu_s:.0f} s CPU {cost.error}",
                file=sys.stderr,
                flush=True,
            )
            if cost.error:
                notes.append(f"- {night.name}, day {epoch + 1}: {cost.error}")
            days.append(
                scorecard.measure_night(read_truth(folder / "incoming"), folder / "products", night, epoch)
            )
        parts[night.name] = scorecard.together(days)
    arguments.page.write_text(page(nights, parts, arguments.size, notes))
    print(arguments.page.read_text())


if __name__ == "__main__":
    main()
