"""The errors of light curves, from a simulated year: the budget, the pulls and the rows of the scorecard.

    python benchmarks/error_budget.py            docs/variability.md, docs/variability_errors.png, docs/scorecard.md
    python benchmarks/error_budget.py --folder DIR --days 100 --page /tmp/budget.md

Six hundred sources of 3 mJy to 2 Jy, windows of an hour every half hour, with the errors that nights share: a flux
scale off by 3 % with slopes of 1 %, seasons of 2 %, four calibrators off by 2 %, errors that grow to the beam's edge,
gaps, lost mosaics, outliers, sources that vary, and tables that state a tenth less noise than there is. The folder
keeps the simulated year; a second run makes the light curves again and measures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from pathlib import Path

from benchlib import lightcurve_year, tile

from contimg.simulate.lightcurve_files import simulate_lightcurves
from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import Simulation
from contimg.variability.job import Lightcurves
from contimg.variability.options import VariabilityOptions

DOCS = tile.CLONE / "docs"


def between(text: str, mark: str, lines: list[str]) -> str:
    """A page with the lines between the marks of a part replaced."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    return re.sub(f"{begin}.*?{end}", lambda _: "\n".join([begin, *lines, end]), text, flags=re.DOTALL)


def main() -> None:
    """Simulate, make the light curves, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=tile.CLONE / "bench" / "lightcurve_year")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write only the budget, here")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if not (folder / "truth.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = LightcurveOptions(days=arguments.days, n_sources=600, stated_noise=0.9)
        simulate_lightcurves(Simulation(options), folder)
    with contextlib.chdir(folder):
        Lightcurves(VariabilityOptions(), arguments.threads).make()
    year = lightcurve_year.measure(folder)
    model = json.loads((folder / "variability" / "lightcurves.json").read_text())["metrics"]["error_model"]
    lines = [
        "",
        f"**The budget**, from a simulated year ({year.n_mosaics} mosaics, {year.n_sources} sources; "
        "`python benchmarks/error_budget.py`, whose",
        "head says what was put in), of the median source of each bin of signal to noise:",
        "",
        *lightcurve_year.budget_lines(year),
        "",
        "Sidelobes are the noise that the tables do not state: found × "
        f"{model['noise_factor']:.3f}, put in × {1 / 0.9:.3f}; calibration: found {100 * model['residual']:.2f} % and "
        f"{100 * model['residual_edge']:.2f} % at the",
        "edge, put in 0.40 % and 1.00 %.",
        f"The zero points are right to {100 * year.zero_point_error:.2f} %; sources above 50 σ repeat to "
        f"{100 * year.repeatability:.2f} % beyond the noise, {100 * year.raw:.1f} % before.",
        "",
        "![Errors and pulls over signal to noise](variability_errors.png)",
        "",
    ]
    if arguments.page is not None:
        arguments.page.write_text("\n".join(lines) + "\n")
        lightcurve_year.plot(year, arguments.page.with_suffix(".png"))
        return
    page = DOCS / "variability.md"
    page.write_text(between(page.read_text(), "budget", lines))
    lightcurve_year.plot(year, DOCS / "variability_errors.png")
    lightcurve_year.RESULTS.write_text(json.dumps(lightcurve_year.as_dict(year), indent=1) + "\n")
    card = DOCS / "scorecard.md"
    card.write_text(between(card.read_text(), "lightcurves", lightcurve_year.section()[1:-1]))


if __name__ == "__main__":
    main()
