"""One raw subband file: its name, and what the index knows from its header. Light: opens nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from contimg.core.names import TILE_PATTERN, mjd

_NAME = re.compile(rf"({TILE_PATTERN}(?:\.\d+)?)Z?_sb(\d{{1,3}})(?!\d)(.*)\.hdf5", re.IGNORECASE)

_LIKE = re.compile(
    r"(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)[T_ .-]?(\d\d)[-_.:]?(\d\d)[-_.:]?(\d\d)(?!\d).*\.(?:hdf5|h5|hdf|uvh5)",
    re.IGNORECASE,
)
_HDF5 = (".hdf5", ".h5", ".uvh5")
_POLARIZATIONS = dict(zip(range(-8, 0), ("YX", "XY", "YY", "XX", "LR", "RL", "LL", "RR"), strict=True))
State = tuple[int, int, int, int]
"""Size (bytes), time of modification, time of change (ns) and inode of a file."""


def polarization_words(codes: Iterable[int]) -> str:
    """AIPS codes of polarisations as they are called: `XX, YY` for -5 and -6."""
    return ", ".join(_POLARIZATIONS.get(code, str(code)) for code in codes)


def state_of(info: os.stat_result) -> State:
    """The state that decides whether a file has to be read again."""
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


@dataclass(frozen=True, slots=True)
class RawName:
    """What the name of a raw file says."""

    mjd: float  # MJD UTC of the writing host's clock when it opened the file
    label: int  # the NN of sbNN
    suffix: str  # what stands between sbNN and .hdf5 (normally nothing)

    @property
    def incomplete(self) -> bool:
        """Whether the name says that the file is still being written."""
        return "incomplete" in self.suffix.lower()


@dataclass(frozen=True)
class SubbandHeader:
    """What the index needs to know about one subband file."""

    path: str
    size_bytes: int
    mtime_ns: int
    time0_jd: float  # time_array[0], midpoint of the first integration, JD UTC, bit for bit
    time_last_jd: float  # time_array[-1], midpoint of the last integration, JD UTC
    start_mjd: float  # start of the first integration, MJD UTC
    n_times: int
    n_baselines: int  # with autocorrelations
    integration_s: float
    dec_rad: float  # pointing declination, apparent of date
    freq_first_hz: float  # centre of the first channel in file order (ascending or descending)
    freq_last_hz: float
    n_channels: int
    channel_width_hz: float
    polarizations: tuple[int, ...]  # AIPS codes in file order
    n_antennas_data: int
    longitude_deg: float  # of the reference point, WGS84, east positive
    latitude_deg: float
    height_m: float
    foreign: str | None = None  # why it is no file of our reader, but one of pyuvdata's
    odd: tuple[str, ...] = ()  # what is not as the instrument writes it
    antennas: str = ""  # digest of the antennas' names and numbers
    array_m: float = 0.0  # a weighted sum of their positions: another array has another

    @property
    def freq_low_hz(self) -> float:
        """Centre of the lowest channel, whatever the order in the file."""
        return min(self.freq_first_hz, self.freq_last_hz)


def parse_name(name: str) -> RawName | None:
    """Time and label that the name of a raw file states; None if it is not the name of a raw file.

    Parameters
    ----------
    name
        File name without its directory: ``YYYY-MM-DDTHH:MM:SS_sbNN.hdf5``, with or without a fraction of the
        second, and with anything between ``sbNN`` and ``.hdf5`` (``_incomplete``, or the mark of a copy).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    stamp = _stamp_mjd(match[1])
    return None if stamp is None else RawName(stamp, int(match[2]), match[3])


def looks_like(name: str) -> float | bool:
    """Whether a file may be a raw file under another name: the time (MJD UTC) that its name states, else yes or no.

    Parameters
    ----------
    name
        File name without its directory, which `parse_name` does not take.
    """
    if name.startswith("."):
        return False
    match = _LIKE.fullmatch(name)
    stamp = _stamp_mjd("{}-{}-{}T{}:{}:{}".format(*match.groups())) if match else None
    return name.lower().endswith(_HDF5) if stamp is None else stamp


@lru_cache(maxsize=65536)
def _stamp_mjd(stamp: str) -> float | None:
    """MJD of a name's time; None if there is no such time."""
    try:
        return mjd(datetime.fromisoformat(stamp.upper()))
    except ValueError:
        return None
