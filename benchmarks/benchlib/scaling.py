"""How cost grows with antennas, tiles and cores, and what that says of a night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TILES_A_NIGHT, WINDOWS_A_NIGHT, TRANSITS_A_NIGHT = 279, 48, 6
RAW_GB_A_TILE = 2.31
FIRST_STAGES = ("convert", "calibrate", "image")


@dataclass(frozen=True)
class Line:
    """CPU seconds = fixed + slope x (GB of raw files of a tile, or tiles of a mosaic)."""

    fixed_s: float
    slope_s: float

    def at(self, size: float) -> float:
        """CPU seconds at a size."""
        return self.fixed_s + self.slope_s * size


def fit(sizes: list[float], cpu_s: list[float]) -> Line:
    """Fit a line by least squares of relative errors, neither part negative."""
    design = np.stack([np.ones(len(sizes)), sizes], axis=1) / np.asarray(cpu_s)[:, None]
    from scipy.optimize import nnls

    fixed, slope = nnls(design, np.ones(len(sizes)))[0]
    return Line(float(fixed), float(slope))


def lines(rows: list[dict[str, Any]]) -> dict[str, Line]:
    """The line of each stage, from its rows on the most threads that were run."""
    found = {}
    for stage in FIRST_STAGES:
        of_stage = [row for row in rows if row["stage"] == stage and not row["error"]]
        most = max((row["threads"] for row in of_stage), default=0)
        used = [row for row in of_stage if row["threads"] == most]
        if len(used) > 1:
            found[stage] = fit([row["raw_gb"] for row in used], [row["cpu_s"] for row in used])
    return found


def efficiency(rows: list[dict[str, Any]]) -> float:
    """Part of the cores that was busy with all the tiles, on the most threads."""
    of_night = [row for row in rows if row["stage"] == "night" and not row["error"]]
    best = max(of_night, key=lambda row: (row["threads"], row["tiles"]), default=None)
    return 1.0 if best is None else min(1.0, best["cpu_s"] / (best["seconds"] * best["threads"]))


def night_hours(found: dict[str, Line], mosaic_s: float, *, cores: int, busy: float) -> float:
    """Hours that a whole night takes: tiles, transits and mosaics, with part `busy` of the cores at work."""
    a_tile = found["convert"].at(RAW_GB_A_TILE) + found["image"].at(RAW_GB_A_TILE)
    total = TILES_A_NIGHT * a_tile + TRANSITS_A_NIGHT * found["calibrate"].at(RAW_GB_A_TILE)
    return (total + WINDOWS_A_NIGHT * mosaic_s) / (cores * busy * 3600.0)


def plot(rows: list[dict[str, Any]], mosaic_s: float, path: Path) -> None:
    """Three pictures side by side: stages over raw bytes, time over tiles, a night over cores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    stages, tiles, night = figure.subplots(1, 3)
    _plot_stages(rows, stages)
    _plot_tiles(rows, tiles)
    _plot_night(rows, mosaic_s, night)
    for axes in (stages, tiles, night):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100, metadata={"Software": None})


STYLES = {1: "o--", 2: "s-"}


def _plot_stages(rows: list[dict[str, Any]], axes: Any) -> None:
    for number, stage in enumerate(FIRST_STAGES):
        for threads, style in STYLES.items():
            used = [r for r in rows if r["stage"] == stage and r["threads"] == threads and not r["error"]]
            label = f"{stage}, {threads} core{'s' * (threads > 1)}"
            sizes, seconds = [r["raw_gb"] for r in used], [r["seconds"] for r in used]
            axes.plot(sizes, seconds, style, color=f"C{number}", label=label)
    axes.axhline(309.24, color="0.5", lw=0.8, label="how long a tile lasts")
    axes.set(xscale="log", yscale="log", title="one tile of 8 integrations")
    axes.set(xlabel="antennas (raw files, GB)", ylabel="seconds")
    named = {r["raw_gb"]: r["antennas"] for r in rows if r["stage"] in FIRST_STAGES}
    sizes = {antennas: size for size, antennas in named.items()}  # one tick for each number of antennas
    _ticks(axes.xaxis, list(sizes.values()), [f"{n}\n({size:.2f})" for n, size in sizes.items()])
    _ticks(axes.yaxis, [10, 20, 50, 100, 200, 500, 1000])
    axes.set_ylim(8, 1000)
    axes.legend(fontsize=7, loc="upper center", ncols=2)


def _plot_tiles(rows: list[dict[str, Any]], axes: Any) -> None:
    for threads, style in STYLES.items():
        used = [r for r in rows if r["stage"] == "night" and r["threads"] == threads and not r["error"]]
        label = f"{threads} core{'s' * (threads > 1)}"
        axes.plot([r["tiles"] for r in used], [r["seconds"] for r in used], style, label=label)
    axes.set(title="raw files to images, 24 antennas", xlabel="tiles", ylabel="seconds")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=7)


def _plot_night(rows: list[dict[str, Any]], mosaic_s: float, axes: Any) -> None:
    found = lines(rows)
    if set(found) != set(FIRST_STAGES):
        return
    cores = [2, 32, 320]
    hours = [night_hours(found, mosaic_s, cores=n, busy=efficiency(rows)) for n in cores]
    axes.plot(cores, hours, "o-", color="C3")
    for n, value in zip(cores, hours, strict=True):
        axes.annotate(f"{value:.2g} h", (n, value), xytext=(8, 2), textcoords="offset points", fontsize=8)
    axes.axhline(23.93, color="0.5", lw=0.8, label="how long they last")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1.3, 1500),
        title=f"{TILES_A_NIGHT} tiles of 96 antennas, by the fits",
    )
    axes.set(xlabel="cores", ylabel="hours")
    _ticks(axes.xaxis, cores)
    _ticks(axes.yaxis, [0.1, 0.3, 1, 3, 10, 30])
    axes.legend(fontsize=7)


def _ticks(axis: Any, places: list[float], labels: list[str] | None = None) -> None:
    """Ticks of a logarithmic axis at these places alone: what it puts between them overlaps."""
    from matplotlib.ticker import NullLocator

    axis.set_ticks(places, labels or [f"{place:g}" for place in places])
    axis.set_minor_locator(NullLocator())


def page(rows: list[dict[str, Any]], mosaic_s: float, header: str) -> list[str]:
    """What was measured and what it says, as lines of a page."""
    text = [
        header,
        "",
        "| stage | antennas | tiles | cores | raw GB | seconds | CPU s | GB |",
        "|" + "---|" * 8,
    ]
    for row in rows:
        numbers = f"{row['seconds']:.0f} | {row['cpu_s']:.0f} | {row['peak_gb']:.1f}"
        text.append(
            f"| {row['stage']} | {row['antennas']} | {row['tiles']} | {row['threads']} | {row['raw_gb']:.2f} | "
            + (f"failed: {row['error'][:80]} | | |" if row["error"] else f"{numbers} |")
        )
    found, busy = lines(rows), efficiency(rows)
    if set(found) != set(FIRST_STAGES):
        return text
    text += ["", "CPU seconds of a tile with r GB of raw files, engine and Python starts included: " + "; ".join(
        f"{stage} {line.fixed_s:.0f} + {line.slope_s:.0f} r" for stage, line in found.items()
    ) + f". Cores were busy {100 * busy:.0f} % of the time with many tiles."]  # fmt: skip
    text += [
        "",
        f"A whole night ({TILES_A_NIGHT} tiles of 96 antennas, {TRANSITS_A_NIGHT} transits, {WINDOWS_A_NIGHT} mosaics "
        f"of {mosaic_s:.0f} CPU s), as long as the file system keeps up:",
        "",
        "| | hours | times faster than the telescope |",
        "|---|---|---|",
    ]
    for name, cores in (
        ("this machine, 2 cores", 2),
        ("one node of 32 cores", 32),
        ("ten nodes of 32 cores", 320),
    ):
        hours = night_hours(found, mosaic_s, cores=cores, busy=busy)
        text.append(f"| {name} | {hours:.2f} | {23.93 / hours:.1f} |")
    return text
