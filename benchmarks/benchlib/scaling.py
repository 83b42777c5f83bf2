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


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Two pictures side by side: stages over raw bytes, and tiles over cores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    styles = {1: "o--", 2: "s-"}
    for number, stage in enumerate(FIRST_STAGES):
        for threads, style in styles.items():
            used = [r for r in rows if r["stage"] == stage and r["threads"] == threads and not r["error"]]
            label = f"{stage}, {threads} core{'s' * (threads > 1)}"
            left.plot(
                [r["raw_gb"] for r in used],
                [r["seconds"] for r in used],
                style,
                color=f"C{number}",
                label=label,
            )
    left.axhline(309.24, color="0.5", lw=0.8, label="how long a tile lasts")
    left.set(
        xscale="log", yscale="log", xlabel="raw files of a tile (GB): 24, 48, 96 antennas", ylabel="seconds"
    )
    sizes = sorted({round(r["raw_gb"], 2) for r in rows if r["stage"] in FIRST_STAGES})
    left.set_xticks(sizes, [f"{size:g}" for size in sizes])
    left.xaxis.set_minor_formatter(NullFormatter())
    left.legend(fontsize=7)
    for threads, style in styles.items():
        used = [r for r in rows if r["stage"] == "night" and r["threads"] == threads and not r["error"]]
        label = f"{threads} core{'s' * (threads > 1)}"
        right.plot([r["tiles"] for r in used], [r["seconds"] for r in used], style, label=label)
    right.set(
        xlabel="tiles, 24 antennas: raw files to images", ylabel="seconds", xlim=(0, None), ylim=(0, None)
    )
    right.legend(fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})


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
