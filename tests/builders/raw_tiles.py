"""Small raw tiles for the tests of conversion and flagging, and the slots that stand for their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contimg.index import raw
from contimg.simulate.night import simulate
from contimg.simulate.options import SimOptions, Source

REAL_SKY = Path(__file__).parents[1] / "data" / "realsky" / "incoming"


@dataclass(frozen=True)
class RawSlot:
    """A subband slot, with the attributes of those that the index makes."""

    path: str | None
    freq_low_hz: float
    n_channels: int
    channel_width_hz: float
    reader: str = "auto"


def slots(files: Sequence[Path]) -> list[RawSlot]:
    """Return the slots of a tile's files, ascending in frequency."""
    found = []
    for path in files:
        header = raw.read_header(path)
        low_hz = min(header.freq_first_hz, header.freq_last_hz)
        found.append(RawSlot(str(path), low_hz, header.n_channels, header.channel_width_hz))
    return sorted(found, key=lambda slot: slot.freq_low_hz)


def raw_tile(folder: Path, **options: object) -> list[Path]:
    """Simulate one small tile with gains, delays and noise; its files."""
    settings: dict = {
        "antennas": ("1", "2", "40", "95", "103", "106", "116"),
        "n_integrations": 3,
        "n_subbands": 2,
        "n_channels": 8,
        "sources": (Source("bright", 130.0, 55.4, 8.8, -0.5), Source("other", 128.4, 54.2, 3.0, 0.0)),
        "transit_of": "bright",
        "phase_drift": "linear",
        "rfi_lines_mhz": (),
        "seed": 11,
    }
    simulate(SimOptions(**{**settings, **options}), folder, threads=1)
    return sorted(folder.glob("*.hdf5"))
