"""The page of a candidate: everything that speaks for or against it, in one file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core.html import Link, Table, render
from contimg.core.robust import mad_sigma
from contimg.variability.chromatic import predicted_slope, shape_at
from contimg.variability.series import Floats

SCRIPT = Path(__file__).with_name("candidate_page.js")
BANDS = 4
_MODEL_POINTS = 240
_BAND_HALF = 0.065  # of the frequency, to each side: 1.31 to 1.50 GHz


@dataclass(frozen=True)
class Content:
    """What a page shows.

    Attributes
    ----------
    candidate : mapping
        Row of the table of candidates.
    row : ndarray
        Of the search (`kernel.COLUMNS`).
    points : DataFrame
        The source's light curve: `mjd, flux_norm, flux_norm_err` and whatever else it has; `common` (relative, what was
        taken out) and `sigma` if known.
    others : mapping of str to DataFrame
        Curves of neighbours and references, by what they are called: `mjd, flux` relative to their medians.
    cutouts : mapping of int to str
        PNG, base64, by number of the point.
    bands : DataFrame
        Flux in parts of the band, Jy, measured (`tile_series.by_mosaic`), by mosaic; of some epochs, or of none.
    command : str
        What makes the page again.
    made : str
        When, and with which version.
    above : sequence of Link
        The ways back, where the page stands in a products tree.
    """

    candidate: Mapping[str, Any]
    row: Floats
    points: pd.DataFrame
    others: Mapping[str, pd.DataFrame]
    cutouts: Mapping[int, str]
    bands: pd.DataFrame
    command: str
    made: str
    above: Sequence[Link] = ()


def arguments(content: Content) -> tuple[list[str], list[str]]:
    """What speaks for an event, and what for an artefact."""
    c, points = content.candidate, content.points
    inside = points["mjd"].between(c["begin_mjd"], c["last_detection_mjd"])
    pro: list[str] = []
    con: list[str] = []
    far = float(c["far"])
    (pro if far <= 1.0 else con).append(
        f"chance makes {far:.2g} as significant per 10⁶ source-epochs, {c['far_per_1000_source_years']:.2g} in 1,000 "
        "source-years"
    )
    n = int(inside.sum())
    (pro if n >= 5 else con).append(f"{n} epochs in the event")
    _colour(c, pro, con)
    pro.append(
        f"an event's shape is likelier than its best rival ({c['rival']}) by {c['statistic']:.1f} in ln L"
    )
    for name, other in content.others.items():
        moved = _moved(other, float(c["begin_mjd"]), float(c["last_detection_mjd"]))
        if moved is not None:
            line = f"{name}: {100 * moved[0]:+.1f} ± {100 * moved[1]:.1f} % in these epochs"
            (con if abs(moved[0]) > 3 * moved[1] and abs(moved[0]) > 0.03 else pro).append(line)
    if "flux_vis_jy" in points and inside.any() and points["flux_vis_jy"].notna().sum() >= 4:
        vis = points["flux_vis_jy"] / points["flux_vis_jy"].median()
        change = (
            float(vis[inside].median() / vis[~inside].median() - 1.0) if (~inside).any() else float("nan")
        )
        peak = float(points["flux_norm"][inside].median() / points["flux_norm"][~inside].median() - 1.0)
        same = np.sign(change) == np.sign(peak) and abs(change) > 0.5 * abs(peak)
        (pro if same else con).append(
            f"the fit to the visibilities sees {100 * change:+.1f} %, the mosaic {100 * peak:+.1f} %"
        )
    for name, words in (
        ("calibrator", "calibrators"),
        ("pointing_dec_deg", "pointings"),
        ("software", "versions"),
    ):
        if name in points and inside.any():
            within, outside = set(points[name][inside].astype(str)), set(points[name][~inside].astype(str))
            alone = not within & outside and bool(outside)
            named = ", ".join(sorted(within)[:3])
            (con if alone else pro).append(
                f"the event's {words} ({named}) are {'not ' if alone else ''}those of other epochs"
            )
    if "solar_elongation_deg" in points and inside.any():
        least = float(points["solar_elongation_deg"][inside].min())
        (con if least < 15.0 else pro).append(f"the Sun is {least:.0f}° away or more")
    return pro, con


def _colour(c: Mapping[str, Any], pro: list[str], con: list[str]) -> None:
    sigma, expected = float(c["chromatic_sigma"]), float(c["chromatic_expected"])
    if not np.isfinite(sigma):
        return
    line = f"spectral index in the band: {sigma:+.1f} σ along α ∝ λ², {expected:.1f} expected of such a lens"
    if sigma > 2.5:
        pro.append(line)
    elif expected - sigma > 3.0:
        con.append(line)
    else:
        pro.append(line + ": it does not tell")


def _moved(other: pd.DataFrame, begin: float, end: float) -> tuple[float, float] | None:
    inside = other["mjd"].between(begin, end)
    if inside.sum() < 2 or (~inside).sum() < 2:
        return None
    scatter = mad_sigma(other["flux"])
    error = max(scatter, 1e-3) * np.sqrt(1.0 / inside.sum() + 1.0 / (~inside).sum())
    return float(other["flux"][inside].mean() - other["flux"][~inside].mean()), float(error)


def spectrum(
    points: pd.DataFrame, bands: pd.DataFrame, event: tuple[float, float]
) -> tuple[list[list[float | None]], list[bool]]:
    """Dynamic spectrum: flux of each epoch in parts of the band over the source's mean spectrum, less 1.

    Where the tiles' fits have the parts, they are what was measured, over their median outside the event (inside too,
    where fewer than three epochs are outside). Elsewhere they are made of the flux and the spectral index of the epoch.

    Returns
    -------
    list of list
        (N, BANDS), lowest frequency first; None where there is nothing.
    list of bool
        Which epochs were measured, (N,).
    """
    table = np.full((len(points), BANDS), np.nan)
    if "band_slope" in points:
        offset = np.log1p(np.linspace(-_BAND_HALF, _BAND_HALF, BANDS))
        slope = points["band_slope"].to_numpy(dtype=float)
        mean = np.nanmedian(slope) if np.isfinite(slope).any() else np.nan
        flux = points["flux_norm"].to_numpy(dtype=float) / np.nanmedian(points["flux_norm"])
        table = flux[:, None] * np.exp((slope - mean)[:, None] * offset) - 1.0
    measured = np.zeros(len(points), dtype=bool)
    if len(bands) and "mosaic" in points:
        own = bands.reindex(points["mosaic"].astype(str)).to_numpy(dtype=float)
        measured = np.isfinite(own).all(axis=1)
        outside = measured & ~points["mjd"].between(*event).to_numpy()
        level = np.median(own[outside if outside.sum() >= 3 else measured], axis=0) if measured.any() else 1.0
        table = np.where(measured[:, None], own / level - 1.0, table)
    rows = [[round(float(v), 4) if np.isfinite(v) else None for v in line] for line in table]
    return rows, measured.tolist()


def _data(content: Content) -> dict[str, Any]:
    """Everything that the page's script draws."""
    points, row = content.points, content.row
    t = points["mjd"].to_numpy(dtype=float)
    median = float(np.nanmedian(points["flux_norm"]))
    grid = np.linspace(t.min(), t.max(), _MODEL_POINTS)
    grid = np.unique(
        np.concatenate(
            [grid, np.linspace(content.candidate["begin_mjd"], content.candidate["last_detection_mjd"], 160)]
        )
    )
    slopes = predicted_slope(row, grid)
    event = (float(content.candidate["begin_mjd"]), float(content.candidate["last_detection_mjd"]))
    dynamic, measured = spectrum(points, content.bands, event)
    mean_slope = float(np.nanmedian(points["band_slope"])) if "band_slope" in points else 0.0
    shown = [
        "mjd", "flux_norm", "flux_norm_err", "flux_vis_jy", "flux_vis_err_jy", "band_slope", "band_slope_err", "pb",
        "beam_distance_deg", "pointing_dec_deg", "calibrator", "caltable", "solar_elongation_deg", "hour_ut",
        "zero_point", "local_rms_jy", "mosaic", "n_tiles", "flags", "software",
    ]  # fmt: skip
    return {
        "points": {name: _values(points[name]) for name in shown if name in points},
        "model": {
            "mjd": grid.round(3).tolist(),
            "flux": (median * (1.0 + shape_at(row, grid))).round(6).tolist(),
            "slope": (mean_slope + slopes - 0.0).round(4).tolist(),
        },
        "others": {
            name: {"mjd": _values(other["mjd"]), "flux": _values(other["flux"])}
            for name, other in content.others.items()
        },
        "spectrum": dynamic,
        "measured": measured,
        "cutouts": {str(k): png for k, png in content.cutouts.items()},
        "event": list(event),
        "first": float(content.candidate["first_detection_mjd"]),
    }


def _values(column: pd.Series) -> list[Any]:
    if pd.api.types.is_numeric_dtype(column):
        return [None if not np.isfinite(v) else float(f"{v:.9g}") for v in column.astype(float)]
    return [str(value) for value in column]


def page(content: Content) -> str:
    """Render the page of a candidate."""
    c = content.candidate
    data = _data(content)
    pro, con = arguments(content)
    return render(
        "variability/templates/candidate.html",
        candidate=c,
        above=content.above,
        title=f"{c['source_id']}, event {int(c['event'])}: {c['type']}",
        good=float(c["far"]) <= 1,
        headline=_headline(c),
        pro=pro,
        con=con or ["nothing found"],
        facts=Table(("what", "value"), _facts(c)),
        command=content.command,
        made=content.made,
        data=data,
        n_measured=sum(data["measured"]),
        script=SCRIPT.read_text(),
    )


def _headline(c: Mapping[str, Any]) -> str:
    colour = float(c["chromatic_sigma"])
    words = "" if not np.isfinite(colour) else f", in the band {colour:+.1f} σ"
    return (
        f"{c['sigma_max']:.1f} σ on MJD {c['mjd_max']:.2f}; {c['duration_d']:.1f} d wide about MJD "
        f"{c['middle_mjd']:.1f}{words}; {float(c['far']):.2g} false alarms per 10⁶ source-epochs; {c['status']}"
    )


def _facts(c: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    from contimg.variability.candidates import COLUMNS

    def text(value: Any) -> str:
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return [(f"{name}: {COLUMNS[name]}", text(c[name])) for name in COLUMNS if name in c]
