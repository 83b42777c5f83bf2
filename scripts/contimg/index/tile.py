"""What the index knows of a tile: plain values that cross process borders as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from contimg.core.angles import drift_deg
from contimg.core.constants import SECONDS_PER_DAY
from contimg.index.subband import State

_STATED = ("path", "freq_low_hz", "n_channels", "channel_width_hz")


@dataclass(frozen=True)
class Slot:
    """One subband of the strip's channel grid, in one tile."""

    path: str | None  # None: this subband is missing in the tile
    freq_low_hz: float  # centre of the lowest channel
    n_channels: int
    channel_width_hz: float
    reader: Literal["auto", "own", "pyuvdata"] = "auto"
    spares: tuple[str, ...] = ()  # other files of this subband, should the data in this one be damaged
    mark: str | None = None  # `contimg.index.memory.Recalled`
    ahead: bool = False

    def params(self) -> dict[str, Any]:
        """Plain values for a rule: what another value of makes the product again. Spares do not."""
        values = {key: getattr(self, key) for key in _STATED}
        return values | ({} if self.reader == "auto" else {"reader": self.reader}) | self.recalled()

    def recalled(self) -> dict[str, Any]:
        """What is known of the file's past, if it is not plain."""
        return ({} if self.mark is None else {"mark": self.mark}) | ({"ahead": True} if self.ahead else {})

    @classmethod
    def of(cls, values: dict[str, Any]) -> Slot:
        """Make a slot from plain values."""
        return cls(**{**values, "spares": tuple(values.get("spares", ()))})


@dataclass(frozen=True)
class Tile:
    """A group of subband files that makes one product; times MJD UTC, positions of the reference point WGS84."""

    name: str
    start_mjd: float  # start of the first integration
    mid_mjd: float  # middle of the first and last integrations' midpoints
    n_times: int
    integration_s: float
    dec_deg: float  # pointing, apparent of date
    ra_icrs_deg: float  # phase centre: the meridian at mid-time, pointing declination
    dec_icrs_deg: float
    longitude_deg: float
    latitude_deg: float
    height_m: float
    slots: tuple[Slot, ...]  # ascending in frequency
    notes: tuple[str, ...]  # what is not as it should be, yet leaves the tile in
    bytes: int  # of the files present

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files present, ascending in frequency."""
        return tuple(raw_paths(self.slots))

    @property
    def end_mjd(self) -> float:
        """End of the last integration, MJD UTC."""
        return self.start_mjd + self.n_times * self.integration_s / SECONDS_PER_DAY

    @property
    def half_deg(self) -> float:
        """Half of the right ascension that it drifts over."""
        return 0.5 * drift_deg(self.n_times * self.integration_s)

    def holds(self, instant_mjd: float) -> bool:
        """Whether an instant falls between the start of the first and the end of the last integration."""
        return self.start_mjd <= instant_mjd < self.end_mjd

    def holds_multiple(self, minutes: float | None) -> bool:
        """Whether a multiple of so many minutes of right ascension passes the meridian meanwhile; never for None."""
        if minutes is None:
            return False
        step_deg = minutes / 4.0
        west, east = self.ra_icrs_deg - self.half_deg, self.ra_icrs_deg + self.half_deg
        return east // step_deg > west // step_deg


@dataclass(frozen=True)
class LeftOut:
    """A group of files that is no tile, and why."""

    tile: str  # its name from the header; from the earliest file name if no header can be read
    reason: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """Every tile of a range and everything left out, both in order of time."""

    tiles: tuple[Tile, ...]
    left_out: tuple[LeftOut, ...]
    states: Mapping[str, State] = field(
        default_factory=dict, compare=False
    )  # of the files, when they were looked at

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes an equal index, without the states of its files."""
        return {
            "tiles": [{**vars(tile), "slots": [vars(slot) for slot in tile.slots]} for tile in self.tiles],
            "left_out": [vars(entry) for entry in self.left_out],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Index:
        """Make an index from what `to_json` gave, also after a way through JSON."""
        tiles = tuple(
            Tile(
                **{
                    **tile,
                    "slots": tuple(Slot.of(slot) for slot in tile["slots"]),
                    "notes": tuple(tile["notes"]),
                }
            )
            for tile in values["tiles"]
        )
        left_out = tuple(LeftOut(**{**entry, "files": tuple(entry["files"])}) for entry in values["left_out"])
        return cls(tiles, left_out)


def raw_paths(slots: Sequence[Slot]) -> list[str]:
    """Give the files of a tile's slots that are there."""
    return [slot.path for slot in slots if slot.path is not None]
