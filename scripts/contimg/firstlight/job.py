"""The first look at raw files: choose a tile, read pieces of it, judge every assumption."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg import __version__
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transits import Transit, find_transits, worth
from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import InputError
from contimg.core.products import write_json
from contimg.firstlight import beamfit, fringes, interference, judge
from contimg.firstlight.finding import Finding, Verdict, judged, untold
from contimg.firstlight.frequencies import corrected, turning
from contimg.firstlight.headers import header_findings
from contimg.firstlight.options import FirstLightOptions
from contimg.firstlight.page import page
from contimg.firstlight.piece import read_piece, sky_of, spread
from contimg.firstlight.places import places
from contimg.firstlight.receivers import receivers
from contimg.index.build import build_index
from contimg.index.tile import Index, Tile
from contimg.sky.calibrators import Calibrator, read_calibrators
from contimg.sky.catalog import Catalog
from contimg.telescope.beam import drift_average, load_beam
from contimg.telescope.geometry import location
from contimg.telescope.options import BeamOptions

_LOG = logging.getLogger(__name__)
JSON, PAGE = "firstlight.json", "firstlight.html"


@dataclass(frozen=True)
class FirstLight:
    """A look at the raw files under a directory.

    Attributes
    ----------
    incoming : Path
    calibrators : Path
        The calibrator catalogue.
    catalog : Catalog or None
        Reference sources: without them, the pointing's declination cannot be told.
    start_mjd, end_mjd : float or None
        Tiles that start in [start, end); None is open.
    """

    incoming: Path
    calibrators: Path
    catalog: Catalog | None = None
    options: FirstLightOptions = field(default_factory=FirstLightOptions)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    beam: BeamOptions = field(default_factory=BeamOptions)
    start_mjd: float | None = None
    end_mjd: float | None = None

    def look(self) -> dict[str, Any]:
        """Measure and judge.

        Returns
        -------
        dict
            What firstlight.json holds: `findings` and the facts behind them.

        Raises
        ------
        InputError
            There is no readable tile.
        """
        index = build_index(self.incoming, start_mjd=self.start_mjd, end_mjd=self.end_mjd, min_subbands=1)
        if not index.tiles:
            reasons = (
                "; ".join(f"{entry.tile}: {entry.reason}" for entry in index.left_out[:3]) or "no raw file"
            )
            raise InputError(
                f"{self.incoming}: no tile to look at ({reasons}); name a directory of finished raw files"
            )
        known = read_calibrators(self.calibrators)
        transits = self._transits(index, known)
        best = max(transits, key=worth, default=None)
        tile = _tile(index, best.tile) if best else max(index.tiles, key=lambda one: len(one.files))
        findings = header_findings(index, tile)
        facts: dict[str, Any] = {"antennas": []}
        if best is None:
            why = f"no source of {self.options.min_flux_jy} Jy apparent transits in these tiles"
            findings.append(
                untold(
                    "fringes",
                    "Every antenna in the files sees the sky",
                    why,
                    "take a strip or an hour with one",
                )
            )
        else:
            measured, facts = self._measure(tile, best.calibrator)
            findings += measured
        heard = [interference.listen(one) for one in _spread(index.tiles, self.options.hours)]
        findings.append(_interference(heard))
        findings.append(self._calibration(index, transits))
        return {
            "incoming": str(self.incoming),
            "tiles": len(index.tiles),
            "left_out": [{"tile": entry.tile, "reason": entry.reason} for entry in index.left_out],
            "tile": tile.name,
            "calibrator": best.calibrator.name if best else None,
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "interference": [
                {"tile": one.tile, "part": float(np.mean(one.loud)), "mhz": interference.ranges_mhz([one])} for one
                in heard
            ],
            "transits": [
                {
                    "tile": t.tile, "calibrator": t.calibrator.name, "apparent_jy": t.apparent_jy, "beam": t.beam,
                    "a_team_jy": t.a_team_jy,
                }
                for t in sorted(transits, key=worth, reverse=True)
            ],
            **facts,
            "contimg": __version__,
        }  # fmt: skip

    def write(self, folder: Path) -> dict[str, Any]:
        """Look, and write firstlight.json and firstlight.html into a folder."""
        found = self.look()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JSON, found)
        (folder / PAGE).write_text(page(found), encoding="utf-8")
        return found

    def _transits(self, index: Index, known: Sequence[Calibrator]) -> list[Transit]:
        """Transits of listed calibrators; where there is none, of any bright source of the catalogue."""
        options = self.calibration.model_copy(update={"min_flux_jy": self.options.min_flux_jy})
        found = find_transits(index.tiles, known, options, self.beam)
        if found or self.catalog is None:
            return found
        table = self.catalog.read()
        bright = table[table["flux_jy"] >= self.options.min_flux_jy]
        others = [
            Calibrator(f"catalogue-{k}", ra, dec, flux, index_, "catalogue")
            for k, (ra, dec, flux, index_) in enumerate(
                bright[["ra_deg", "dec_deg", "flux_jy", "spectral_index"]].to_numpy().tolist()
            )
        ]
        return find_transits(index.tiles, others, options, self.beam)

    def _measure(self, tile: Tile, calibrator: Calibrator) -> tuple[list[Finding], dict[str, Any]]:
        """Everything that the calibrator's fringes tell."""
        files = spread(tile, self.options.subbands)
        pieces = interference.calm([interference.quiet(read_piece(path)) for path in files])
        sky = sky_of(pieces[0], calibrator.ra_deg, calibrator.dec_deg)
        turns = turning([fringes.rates(piece, sky) for piece in pieces], pieces[0].channel_hz)
        found = list(turns.findings)
        if turns.kind is None:
            found.append(
                untold("fringes", "Every antenna in the files sees the sky", "no fringes at any rate")
            )
            return found, {"antennas": []}
        tracked = turns.kind == 0
        solved = [
            fringes.solve(piece, fringes.expected(piece, sky, factor=1.0, tracked=tracked))
            for piece in corrected(pieces, turns)
        ]
        apparent = np.array([self._apparent_jy(part, calibrator) for part in solved])
        electronics = receivers(solved, apparent)
        seen = electronics.seen
        found.append(judge.stopping(solved, sky, seen, tracked))
        if seen.sum() >= 4 and not tracked and pieces[0].times_jd.size >= 4:
            stands = places(solved, sky, seen)
            found += judge.antennas(stands, seen, solved)
        found += judge.noise(electronics, solved, self.options)
        start_m = self.beam.diameter_m
        crossing = beamfit.drift(solved, calibrator.ra_deg, calibrator.dec_deg, start_m)
        by_field = None if tracked else self._by_field(solved, tile, calibrator)
        found += judge.beam(crossing, by_field, start_m, self.catalog is not None)
        rows = [
            {
                "name": name,
                "sefd_x_jy": float(electronics.sefd_jy[k, 0]),
                "sefd_y_jy": float(electronics.sefd_jy[k, 1]),
                "fringes": bool(seen[k]),
            }
            for k, name in enumerate(pieces[0].names)
        ]
        return found, {"antennas": rows}

    def _apparent_jy(self, part: fringes.Solved, calibrator: Calibrator) -> float:
        """Mean flux through the configured beam in one subband."""
        piece = part.piece
        middle = float(piece.freq_hz.mean())
        power = drift_average(
            np.radians(calibrator.ra_deg), np.radians(calibrator.dec_deg), piece.times_jd, location(*piece.site),
            piece.dec_rad, [middle], np.ones((piece.times_jd.size, 1)), load_beam(self.beam),
        )  # fmt: skip
        return float(calibrator.flux_at(middle) * power[0])

    def _by_field(
        self, solved: list[fringes.Solved], tile: Tile, calibrator: Calibrator
    ) -> beamfit.FieldBeam | None:
        """The beam by the catalogue's sources in the tile."""
        if self.catalog is None:
            return None
        radius = 2.5
        near = self.catalog.near(ra_deg=tile.ra_icrs_deg, dec_deg=tile.dec_icrs_deg, radius_deg=radius)
        away = np.hypot((near["ra_deg"] - calibrator.ra_deg) * np.cos(np.radians(calibrator.dec_deg)),
                        near["dec_deg"] - calibrator.dec_deg)  # fmt: skip
        others = near[away > 60.0 / 3600.0]
        distance = np.hypot((others["ra_deg"] - tile.ra_icrs_deg) * np.cos(np.radians(tile.dec_icrs_deg)),
                            others["dec_deg"] - tile.dec_icrs_deg)  # fmt: skip
        power = load_beam(self.beam).power(0.0, np.radians(distance.to_numpy()), 0.0, REFERENCE_HZ).ravel()
        chosen = others.iloc[np.argsort(-others["flux_jy"].to_numpy() * power)[: self.options.field_sources]]
        first = pd.DataFrame(
            [{"ra_deg": calibrator.ra_deg, "dec_deg": calibrator.dec_deg, "flux_jy": calibrator.flux_jy,
              "spectral_index": calibrator.spectral_index}]
        )  # fmt: skip
        listed = pd.concat([first, chosen[first.columns]], ignore_index=True)
        return beamfit.field_beam(
            solved, (calibrator.ra_deg, calibrator.dec_deg), listed, self.beam.diameter_m
        )

    def _calibration(self, index: Index, transits: list[Transit]) -> Finding:
        """Which calibrators, and how."""
        usable = [
            t
            for t in transits
            if t.apparent_jy >= self.calibration.min_flux_jy and t.calibrator.origin != "catalogue"
        ]
        listed = ", ".join(
            f"{t.calibrator.name} in {t.tile} ({t.apparent_jy:.1f} Jy, beam {t.beam:.2f}"
            + (f", A-team {t.a_team_jy:.1f} Jy" if t.a_team_jy > 0.05 * t.apparent_jy else "")
            + (", variable" if t.calibrator.variable else "") + ")"
            for t in sorted(usable, key=worth, reverse=True)[:4]
        )  # fmt: skip
        hours = self.calibration.valid_hours
        reached = sum(any(abs(t.mjd - tile.mid_mjd) * 24 <= hours for t in usable) for tile in index.tiles)
        return judged(
            "calibration",
            f"Every tile has the transit of a calibrator of {self.calibration.min_flux_jy} Jy apparent "
            f"within {hours:g} hours",
            reached == len(index.tiles),
            f"{reached} of {len(index.tiles)} tiles" + (f"; best: {listed}" if listed else ""),
            "tiles without one need the sky of a catalogue as their calibrator, or tables of another "
            "night of the strip",
            value=float(reached),
        )


def _tile(index: Index, name: str) -> Tile:
    return next(tile for tile in index.tiles if tile.name == name)


def _spread(tiles: Sequence[Tile], count: int) -> list[Tile]:
    places_ = np.unique(np.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().astype(int))
    return [tiles[k] for k in places_]


def _interference(heard: list[interference.Heard]) -> Finding:
    """What stands out in half of the tiles, and when it is worst."""
    ranges = interference.ranges_mhz(heard)
    width = heard[0].channel_hz / 1e6
    new = interference.unknown_mhz(ranges, width)
    worst = max(heard, key=lambda one: float(np.mean(one.loud)))
    shown = ", ".join(f"{low:.2f}–{high:.2f}" for low, high in ranges[:12]) or "none"
    return judged(
        "interference",
        "Narrow interference is near 1350, 1395, 1405, 1422 and 1475 MHz only, and little of the band at any hour",
        not new and float(np.mean(worst.loud)) < 0.1,
        f"loud in half of {len(heard)} tiles: {shown} MHz; worst {worst.tile} with "
        f"{np.mean(worst.loud):.1%} of the channels",
        "AOFlagger finds it; what is always there may be flagged for good"
        + (f": {', '.join(f'{low:.2f}–{high:.2f} MHz' for low, high in new[:8])}" if new else ""),
        value=float(np.mean(worst.loud)),
    )


def summary(found: dict[str, Any]) -> list[str]:
    """Lines for a terminal: what is not borne out first, each with what to do; the numbers of each verdict last."""
    lines = []
    for one in sorted(
        found["findings"], key=lambda entry: list(Verdict).index(entry["verdict"]), reverse=True
    ):
        lines.append(f"{one['verdict']:15} {one['name']:18} {one['measured']}")
        if one["advice"]:
            lines.append(f"{'':34} → {one['advice']}")
    return [*lines, ", ".join(f"{number} {verdict}" for verdict, number in verdicts(found).items())]


def verdicts(found: dict[str, Any]) -> dict[str, int]:
    """How many findings there are of each verdict."""
    return {str(verdict): sum(f["verdict"] == verdict for f in found["findings"]) for verdict in Verdict}
