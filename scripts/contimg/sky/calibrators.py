"""The calibrator catalogue: which sources may calibrate, where they are, how bright, and who says so.

A CSV file with the columns `name,ra_deg,dec_deg,flux_jy,spectral_index,origin`: ICRS degrees, flux density at
1.4 GHz in Jy, S ∝ ν^index. `origin` names the source of the flux. Lines that start with # are comments.
Two more columns may be there: `curvature` of the spectrum, and `components` of a source that is no point
(`contimg.sky.components`).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from contimg.core import names
from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import ConfigError, NamedFileError
from contimg.sky.components import parse_components

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

Frequency = TypeVar("Frequency", float, "NDArray[float64]")
FIELD = "field"
"""What stands for a calibrator's name where a tile is calibrated on all sources of a catalogue in it."""
OPTIONAL = ("curvature", "components")
COLUMNS = ("name", "ra_deg", "dec_deg", "flux_jy", "spectral_index", "origin")
_BOUNDS = {
    "ra_deg": (0.0, 360.0),
    "dec_deg": (-90.0, 90.0),
    "flux_jy": (0.0, 1e6),
    "spectral_index": (-5.0, 5.0),
}
_NAME = re.compile(r"[A-Za-z0-9+.\-]+")


@dataclass(frozen=True)
class Calibrator:
    """A source of known position and flux density, a point unless its components say otherwise.

    Attributes
    ----------
    name
        Unique in its catalogue; part of product names, hence letters, digits, `+`, `-` and `.` only.
    ra_deg, dec_deg
        ICRS position.
    flux_jy
        Flux density at 1.4 GHz.
    spectral_index
        α of S ∝ ν^α at 1.4 GHz.
    origin
        Where the flux density comes from.
    curvature
        β of log S = log S₀ + α x + β x², x = log10(ν / 1.4 GHz).
    components
        As the catalogue has them; empty for a point.
    """

    name: str
    ra_deg: float
    dec_deg: float
    flux_jy: float
    spectral_index: float
    origin: str
    curvature: float = 0.0
    components: str = ""

    def flux_at(self, freq_hz: Frequency) -> Frequency:
        """Flux density in Jy at `freq_hz` (scalar or array, Hz): S(1.4 GHz) x^(α + β log10 x), x = ν / 1.4 GHz."""
        ratio = freq_hz / REFERENCE_HZ
        if not self.curvature:
            return self.flux_jy * ratio**self.spectral_index
        return self.flux_jy * ratio ** (self.spectral_index + self.curvature * np.log10(ratio))

    @property
    def variable(self) -> bool:
        """Whether the origin says that its flux changes."""
        return "variable" in self.origin.lower()

    @property
    def is_field(self) -> bool:
        """Whether it stands for all sources of a catalogue in a tile: the tile's place, the strength of them all."""
        return self.name == FIELD

    @property
    def designation(self) -> str:
        """Name from the position as the VLA manual makes it: `HHMM+DDd`, truncated."""
        minutes = int(self.ra_deg * 4.0 + 1e-9) % 1440
        tenths = int(abs(self.dec_deg) * 10.0 + 1e-9)
        sign = "-" if self.dec_deg < 0 else "+"
        return f"{minutes // 60:02d}{minutes % 60:02d}{sign}{tenths:03d}"


def read_calibrators(path: str | Path) -> list[Calibrator]:
    """Read and check a calibrator catalogue.

    Parameters
    ----------
    path
        CSV file with the columns of this module's heading, in any order.

    Returns
    -------
    list of Calibrator
        In the order of the file.

    Raises
    ------
    NamedFileError
        If the file cannot be read, a column is missing or unknown, a value is not a number within its bounds,
        a name is repeated or cannot be part of a file name. The message names the file, line and column.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise NamedFileError(
            f"{path}: cannot read the calibrator catalogue ({exc}); set `calibrators`"
        ) from exc
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    if not numbered:
        raise NamedFileError(
            f"{path}: the calibrator catalogue is empty; expected the columns {','.join(COLUMNS)}"
        )
    rows = csv.reader(line for _, line in numbered)
    header = [column.strip() for column in next(rows)]
    _check_header(path, header)
    found: dict[str, Calibrator] = {}
    for (number, _), row in zip(numbered[1:], rows, strict=True):
        if len(row) != len(header):
            raise NamedFileError(
                f"{path}, line {number}: expected {len(header)} values, found {len(row)}; quote text that "
                "holds a comma"
            )
        calibrator = _calibrator(path, number, dict(zip(header, (v.strip() for v in row), strict=True)))
        if calibrator.name in found:
            raise NamedFileError(
                f"{path}, line {number}: {calibrator.name!r} is listed twice; keep one of the two"
            )
        found[calibrator.name] = calibrator
    if not found:
        raise NamedFileError(f"{path}: the calibrator catalogue lists no source; add at least one line")
    return list(found.values())


def find_calibrator(calibrators: Sequence[Calibrator], name: str) -> Calibrator:
    """Find a calibrator by its name or by the designation that its position gives.

    Parameters
    ----------
    calibrators
        The catalogue.
    name
        Such as `3C286`, `3c 286` or `1331+305`; case and blanks do not matter.

    Raises
    ------
    ConfigError
        If nothing has that name, or a designation is shared by several sources.
    """
    wanted = _key(name)
    for calibrator in calibrators:
        if _key(calibrator.name) == wanted:
            return calibrator
    by_place = [calibrator for calibrator in calibrators if calibrator.designation == wanted]
    if len(by_place) == 1:
        return by_place[0]
    if by_place:
        names = ", ".join(c.name for c in by_place)
        raise ConfigError(f"calibrator {name!r} may be {names}; write one of these names")
    names = ", ".join(sorted(c.name for c in calibrators))
    raise ConfigError(f"calibrator {name!r} is not in the catalogue; it holds {names}")


def others_in_field(
    calibrator: Calibrator, sources: Iterable[Calibrator], radius_deg: float, beam_arcsec: float = 5.0
) -> list[Calibrator]:
    """Sources within `radius_deg` of a calibrator, brightest first, the calibrator itself left out.

    What lies within `beam_arcsec` (never less than 5 arcsec), which the array does not tell apart, or has its name, is
    taken for the calibrator itself: catalogues disagree by seconds of arc, and what is twice in a model makes all
    fluxes wrong by a factor of two.
    """
    near = []
    for source in sources:
        distance = _separation_deg(calibrator, source)
        if source.name != calibrator.name and _itself_deg(beam_arcsec) < distance <= radius_deg:
            near.append(source)
    return sorted(near, key=lambda source: -source.flux_jy)


def same_source(
    calibrator: Calibrator, sources: Iterable[Calibrator], beam_arcsec: float
) -> list[tuple[Calibrator, float]]:
    """What a catalogue has in the calibrator's place, by `others_in_field`'s measure: with distances, arcsec."""
    found = []
    for source in sources:
        distance = _separation_deg(calibrator, source)
        if distance <= _itself_deg(beam_arcsec):
            found.append((source, 3600.0 * distance))
    return sorted(found, key=lambda entry: -entry[0].flux_jy)


def _itself_deg(beam_arcsec: float) -> float:
    return max(5.0, beam_arcsec) / 3600.0


def _key(name: str) -> str:
    return "".join(name.split()).upper()


def _separation_deg(one: Calibrator, two: Calibrator) -> float:
    from astropy.coordinates import angular_separation

    places = (math.radians(angle) for angle in (one.ra_deg, one.dec_deg, two.ra_deg, two.dec_deg))
    return math.degrees(angular_separation(*places))


def _check_header(path: Path, header: list[str]) -> None:
    missing = [column for column in COLUMNS if column not in header]
    unknown = [column for column in header if column not in (*COLUMNS, *OPTIONAL)]
    faults = [f"missing {column}" for column in missing] + [f"unknown {column}" for column in unknown]
    if not faults and len(set(header)) != len(header):
        faults = ["a column is repeated"]
    if faults:
        raise NamedFileError(f"{path}: expected the columns {','.join(COLUMNS)}; {', '.join(faults)}")


def _calibrator(path: Path, number: int, row: dict[str, str]) -> Calibrator:
    values = {}
    for column, (low, high) in _BOUNDS.items():
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        inside = low < value <= high if column == "flux_jy" else low <= value <= high
        if not inside:
            raise NamedFileError(
                f"{path}, line {number}: {column} must be a number from {low:g} to {high:g}, "
                f"found {row[column]!r}"
            )
        values[column] = value
    if not _NAME.fullmatch(row["name"]):
        raise NamedFileError(
            f"{path}, line {number}: the name {row['name']!r} becomes part of file names; use letters, "
            "digits, +, - and . only"
        )
    why = "it stands for a whole tile" if row["name"] == FIELD else names.unusable(row["name"])
    if why is not None:
        raise NamedFileError(
            f"{path}, line {number}: the name {row['name']!r} becomes part of file names: {why}"
        )
    if not row["origin"]:
        raise NamedFileError(
            f"{path}, line {number}: origin is empty; say where the flux of {row['name']} comes from"
        )
    components = row.get("components", "")
    try:
        parse_components(components)
        curvature = float(row.get("curvature") or 0.0)
    except ValueError as exc:
        raise NamedFileError(
            f"{path}, line {number}: curvature or components of {row['name']}: {exc}"
        ) from exc
    return Calibrator(
        name=row["name"], origin=row["origin"], curvature=curvature, components=components, **values
    )
