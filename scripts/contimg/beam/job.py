"""The beam of a strip from its data: the jobs of the rules `beam_tile` and `beam_measure`, the plot and the advice.

`BeamTile` calibrates a tile again in scratch and measures how its bright sources drift through the beam
(`contimg.beam.apparent`); `BeamMeasure` fits the beam to all tiles of a span (`contimg.beam.fit`), and writes it as a
beam file, a plot and a recommendation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.errors import Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import building, read_json, reject_directory, status, write_json
from contimg.image.job import Calibrated
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    import pandas as pd

    from contimg.beam.fit import BeamFit
    from contimg.jobs.scratch import Scratch
    from contimg.ms.private import PrivateSet
    from contimg.sky.catalog import Catalog

WORTH_CHANGING = 0.01
"""Largest error of the configured power, inside half power, that is left as it is."""
MIN_OFFSET_DEG = 0.01
KNOWN_MIN_JY = 0.02
RADII_DEG = np.arange(0.0, 2.41, 0.15)


@dataclass(frozen=True)
class BeamTile(Calibrated):
    """Measurement Set, caltables and fitted sources to the apparent fluxes of a tile."""

    image: str
    directory: str
    scratch: Scratch

    def make(self) -> str:
        """Calibrate in scratch, measure every bright source in parts of the tile and of the band."""
        from contimg.beam.apparent import apparent
        from contimg.image.made import Made
        from contimg.image.plan import resolve
        from contimg.ms.private import PrivateSet
        from contimg.ms.sets import read_meta
        from contimg.telescope.beam import load_beam

        imaged = Made.read(Path(self.image), self.tile, without="image")
        between = self.choose_gains()
        sources = imaged.fitted()
        if sources is None:
            raise Rejected("no source was fitted to the tile's visibilities: nothing shows the beam")
        plan = resolve(read_meta(Path(self.ms)), self.imaging, self.beam)
        with self.scratch.working_folder() as work, building(Path(self.directory)) as part:
            part.mkdir()
            calibrated = work / f"{self.tile}.ms"
            self.apply(between, calibrated, plan.freq_average)
            beam = load_beam(self.beam)
            model: dict[str, Any] = {
                "beam": beam,
                "freq_average": plan.freq_average,
                "threads": self.threads,
            }
            far = without_far(PrivateSet(calibrated), sources, imaged.record["metrics"], **model)
            cells = apparent(calibrated, sources, **model)
            cells.to_parquet(part / f"{self.tile}.cells.parquet")
            n_sources = len(cells[["ra_deg", "dec_deg"]].drop_duplicates())
            metrics = {"n_sources": n_sources, "n_cells": len(cells), "outside": far}
            write_json(part / STATUS, self.record(between, metrics))
        return f"{n_sources} sources in {len(cells)} cells"

    def reject(self, reason: str) -> None:
        """Leave a directory that says why the tile does not show the beam."""
        reject_directory(Path(self.directory), status(reason, inputs=[self.ms, self.image]))


def without_far(
    ms: PrivateSet, sources: pd.DataFrame, imaged: Mapping[str, Any], **model: Any
) -> dict[str, Any] | None:
    """Subtract from a calibrated set the far sources that were subtracted from the data of its image, if any.

    Parameters
    ----------
    ms : PrivateSet
    sources : DataFrame
        The field's, as fitted for the image.
    imaged : mapping
        Metrics of the image.
    **model
        `beam`, `freq_average`, `threads` of `contimg.drift.outside.remove_outside`.

    Returns
    -------
    dict or None
        What `remove_outside` says; None if there was nothing to subtract.
    """
    from contimg.drift.outside import remove_outside

    if not any(entry["removed"] for entry in (imaged.get("outside") or {}).values()):
        return None
    return remove_outside(ms, sources, **model)


@dataclass(frozen=True)
class BeamMeasure:
    """Apparent fluxes of the tiles of a span to the beam."""

    tiles: tuple[str, ...]
    directory: str
    beam: BeamOptions
    catalog: Catalog | None

    def make(self) -> str:
        """Fit, write the beam file, draw, advise."""
        from contimg.beam.fit import fit_beam
        from contimg.telescope.beam import describe_beam, load_beam
        from contimg.telescope.beam_file import write_beam

        cells, used = self._cells()
        found = fit_beam(cells, start_m=self.beam.diameter_m, known=self._known(cells))
        name = Path(self.directory).name
        half_band = (
            0.5 * (found.freq_hz[1] - found.freq_hz[0]) if len(found.freq_hz) > 1 else 0.05 * found.freq_hz[0]
        )
        sampled = found.sampled(found.freq_hz[0] - half_band, found.freq_hz[-1] + half_band)
        configured = load_beam(self.beam)
        freq_hz = float(found.freq_hz.mean())
        wrong = largest_difference(sampled.power, configured.power, freq_hz)
        file = f"{self.directory}/{name}.beam.fits"
        advice = recommend(found, self.beam, wrong, file)
        with building(Path(self.directory)) as part:
            part.mkdir()
            plain = advice.replace("±", "+-").replace("°", " deg")  # a FITS header is ASCII
            write_beam(part / f"{name}.beam.fits", sampled, history=plain)
            found.cells.to_parquet(part / f"{name}.cells.parquet")
            draw(
                found,
                part / f"{name}.beam.png",
                title=f"{name}: {len(used)} tiles, {found.n_sources} sources",
            )
            record = status(
                inputs=used,
                parameters={
                    "beam": describe_beam(self.beam),
                    "catalog": self.catalog and str(self.catalog.path),
                },
                metrics={
                    **found.summary(),
                    "configured_differs_by": round(wrong, 4),
                    "recommendation": advice,
                },
            )
            write_json(part / STATUS, record)
        return advice

    def reject(self, reason: str) -> None:
        """Leave a directory that says why no beam was measured."""
        reject_directory(Path(self.directory), status(reason, inputs=self.tiles))

    def _cells(self) -> tuple[pd.DataFrame, list[str]]:
        """The cells of all good tiles, with ``tile`` and ``caltable``, and the directories they came from."""
        import pandas as pd

        tables, used = [], []
        for path in self.tiles:
            record = read_json(Path(path) / STATUS)
            if record["reason"] is None:
                tile = Path(path).name
                caltable = str(Path(record["caltables"][0]).parent)
                read = pd.read_parquet(Path(path) / f"{tile}.cells.parquet")
                tables.append(read.assign(tile=tile, caltable=caltable))
                used.append(path)
        if not tables:
            raise Rejected(f"none of {len(self.tiles)} tiles shows the beam; each one's status.json says why")
        return pd.concat(tables, ignore_index=True), used

    def _known(self, cells: pd.DataFrame) -> pd.DataFrame | None:
        if self.catalog is None:
            return None
        known = self.catalog.read()
        low, high = cells["dec_deg"].min() - 0.1, cells["dec_deg"].max() + 0.1
        return known[known["dec_deg"].between(low, high) & (known["flux_jy"] >= KNOWN_MIN_JY)]


def largest_difference(fitted: Any, configured: Any, freq_hz: float) -> float:
    """Largest relative difference of two patterns' `power` where the fitted one is above one half."""
    angle, azimuth = np.radians(np.arange(0.0, 2.0, 0.05)), np.radians(np.arange(0.0, 360.0, 15.0))
    ha, dec = np.outer(angle, np.sin(azimuth)), np.outer(angle, np.cos(azimuth))
    one, two = (power(ha, dec, 0.0, freq_hz)[..., 0] for power in (fitted, configured))
    inside = one > 0.5
    return float(np.max(np.abs(two[inside] / one[inside] - 1.0)))


def recommend(found: BeamFit, options: BeamOptions, wrong: float, file: str) -> str:
    """Say in words what was found and what to write into the configuration."""
    from contimg.beam.fit import SIGNIFICANT, significant

    configured = f"{options.diameter_m:g} m" if options.file is None else str(options.file)
    displaced = any(
        (np.abs(significant(value, error)) > MIN_OFFSET_DEG).any()
        for value, error in (
            (found.offset_deg, found.offset_err_deg),
            (found.squint_deg, found.squint_err_deg),
        )
    )
    spread = float(np.ptp(found.diameters(found.freq_hz)))
    sloped = spread > max(SIGNIFICANT * float(np.max(found.diameter_err_m)), WORTH_CHANGING * found.mean_m)
    said = [
        f"effective diameter {found.mean_m:.3f} ± {found.mean_err_m:.4f} m",
        f"pointing {_pair(found.offset_deg, found.offset_err_deg)}",
    ]
    if np.isfinite(found.squint_deg).all():
        said.append(f"squint ± {_pair(found.squint_deg, found.squint_err_deg)}")
    said.append(f"{configured} is wrong by up to {100 * wrong:.1f} % inside half power")
    if wrong <= WORTH_CHANGING:
        said.append("keep it")
    elif displaced or sloped:
        said.append(f"recommended: beam: {{model: file, file: {file}}}")
    else:
        said.append(f"recommended: beam: {{model: airy, diameter_m: {found.mean_m:.2f}}}")
    return "; ".join(said)


def _pair(value: np.ndarray, error: np.ndarray) -> str:
    words = (f"{v:+.3f} ± {e:.3f}° {way}" for v, e, way in zip(value, error, ("west", "north"), strict=True))
    return ", ".join(words)


def draw(found: BeamFit, out_png: Path, *, title: str) -> None:
    """Draw the power against the distance from the beam's centre, its departure from the fit, and the diameters."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([["power", "diameter"], ["rest", "diameter"]], width_ratios=[2, 1])
    figure.suptitle(title)
    cells = found.cells
    radius = np.hypot(
        cells["west_deg"] - found.offset_deg[0], cells["north_deg"] - found.offset_deg[1]
    ).to_numpy()
    axes["power"].plot(radius, cells["measured"], ".", ms=2, alpha=0.4, label="measured")
    axes["power"].plot(radius, cells["fitted"], ".", ms=1, color="k", alpha=0.4, label="fitted")
    axes["power"].set(ylabel="power", ylim=(-0.1, 1.2))
    axes["power"].legend()
    middle, mean, error = binned_rest(found)
    axes["rest"].errorbar(middle, mean, error, fmt="o", color="k")
    axes["rest"].axhline(0.0, color="0.7")
    axes["rest"].set(xlabel="distance from the beam's centre (deg)", ylabel="measured less fitted power")
    mhz = found.freq_hz / 1e6
    axes["diameter"].errorbar(mhz, found.diameter_m, found.diameter_err_m, fmt="o")
    axes["diameter"].plot(mhz, found.diameters(found.freq_hz))
    axes["diameter"].set(xlabel="frequency (MHz)", ylabel="effective diameter (m)")
    figure.savefig(out_png, dpi=80)


def binned_rest(found: BeamFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean of measured less fitted power in rings: middle (deg), mean, error; rings without cells left out."""
    cells = found.cells
    radius = np.hypot(cells["west_deg"] - found.offset_deg[0], cells["north_deg"] - found.offset_deg[1])
    ring = np.digitize(radius, RADII_DEG) - 1
    weight = cells["error"].to_numpy() ** -2.0
    total = np.bincount(ring, weight, minlength=len(RADII_DEG))
    rest = np.bincount(ring, weight * (cells["measured"] - cells["fitted"]), minlength=len(RADII_DEG))
    some = np.flatnonzero(total > 0)
    middle = np.append(0.5 * (RADII_DEG[1:] + RADII_DEG[:-1]), RADII_DEG[-1])
    return middle[some], rest[some] / total[some], np.sqrt(max(found.chi2, 1.0) / total[some])
