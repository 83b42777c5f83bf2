"""The truth beside the data: everything that was put into a simulated night."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contimg.core.errors import InputError
from contimg.simulate import gains, options
from contimg.simulate.gains import AntennaGain
from contimg.simulate.options import SimOptions, Source
from contimg.simulate.rfi import Burst
from contimg.simulate.sky import SHAPE

FILE_NAME = "truth.json"


@dataclass(frozen=True)
class FaultTruth:
    """A fault that was made, and the files (names) that show it; none for what is missing."""

    kind: str
    subband: int | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class TileTruth:
    """One tile.

    Attributes
    ----------
    name : str
        UTC start of the first integration, rounded to the second.
    start_mjd, mid_mjd : float
        MJD UTC.
    lst_mid_deg : float
        Apparent local sidereal time at mid-tile.
    dec_deg : float
        Pointing declination, apparent of date.
    apparent_jy : dict of str to float
        Flux at 1.4 GHz times power beam, averaged over the integrations, by source name.
    place_deg : dict of str to (float, float)
        Apparent hour angle and declination at mid-tile, by source name.
    files : tuple of str
        Names of all files written, broken ones included, by subband.
    """

    index: int
    name: str
    start_mjd: float
    mid_mjd: float
    times_jd: tuple[float, ...]
    lst_mid_deg: float
    dec_deg: float
    apparent_jy: dict[str, float]
    place_deg: dict[str, tuple[float, float]]
    files: tuple[str, ...]
    faults: tuple[FaultTruth, ...]
    bursts: tuple[Burst, ...]


@dataclass(frozen=True)
class Truth:
    """A simulated night: what was asked for and everything that was drawn."""

    options: SimOptions
    start_mjd: float
    sources: tuple[Source, ...]
    antennas: tuple[AntennaGain, ...]
    tiles: tuple[TileTruth, ...]
    directory: Path = field(default=Path(), compare=False)

    def source(self, name: str) -> Source:
        """Return the source called `name`."""
        return next(s for s in self.sources if s.name == name)

    def tile(self, name: str) -> TileTruth:
        """Return the tile called `name`."""
        return next(t for t in self.tiles if t.name == name)

    def files(self, tile: int) -> list[Path]:
        """Return the paths of all files of a tile."""
        return [self.directory / name for name in self.tiles[tile].files]

    def gains(self, times_mjd: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
        """Return the true complex gains (nt, nant, nchan, 2) in the order of `antennas` (MJD UTC, Hz)."""
        return gains.evaluate(list(self.antennas), times_mjd, freq_hz)


def to_dict(truth: Truth) -> dict[str, Any]:
    """Return a truth as plain JSON types."""
    values = dataclasses.asdict(truth)
    del values["directory"]
    return values


def from_dict(values: dict[str, Any], directory: Path) -> Truth:
    """Return the truth of plain JSON types."""
    tiles = []
    for t in values["tiles"]:
        faults = tuple(FaultTruth(f["kind"], f["subband"], tuple(f["files"])) for f in t["faults"])
        place = {name: (p[0], p[1]) for name, p in t["place_deg"].items()}
        bursts = tuple(Burst(**b) for b in t["bursts"])
        lists = {"times_jd": tuple(t["times_jd"]), "files": tuple(t["files"])}
        tiles.append(TileTruth(**(t | lists | {"faults": faults, "bursts": bursts, "place_deg": place})))
    return Truth(
        options=options.from_dict(values["options"]),
        start_mjd=values["start_mjd"],
        sources=tuple(Source(**s) for s in values["sources"]),
        antennas=tuple(AntennaGain(**{k: _tuples(v) for k, v in a.items()}) for a in values["antennas"]),
        tiles=tuple(tiles),
        directory=directory,
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def write_truth(truth: Truth, out_dir: Path) -> Path:
    """Write truth.json (and sources.csv, for people) into a directory; return the first."""
    path = out_dir / FILE_NAME
    columns = ["name", "ra_deg", "dec_deg", "flux_jy", "spectral_index"]
    if any(s.major_arcsec or s.curvature for s in truth.sources):
        columns += SHAPE
    lines = [",".join(columns)]
    lines += [",".join(str(getattr(s, column)) for column in columns) for s in truth.sources]
    for target, text in (
        (out_dir / "sources.csv", "\n".join(lines) + "\n"),
        (path, json.dumps(to_dict(truth), indent=1) + "\n"),
    ):
        part = target.with_name(f".{target.name}.part.{os.getpid()}")
        part.write_text(text)
        os.replace(part, target)
    return path


def read_truth(path: str | Path) -> Truth:
    """Read the truth of a night from truth.json or the directory that holds it."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    try:
        return from_dict(json.loads(path.read_text()), path.parent)
    except OSError as exc:
        raise InputError(
            f"simulate: truth {path} cannot be read ({exc.strerror}); simulate the night first"
        ) from exc
    except (json.JSONDecodeError, KeyError, TypeError) as exc:
        raise InputError(f"simulate: {path} is not a truth file ({exc!r}); simulate the night again") from exc
