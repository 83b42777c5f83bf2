"""Opening one UVH5 file and checking what matters in it, with the least possible number of reads.

A night's index opens thousands of files, so headers are read with the low-level interface of h5py (a third
of the time) and nothing is read that the check does not need.
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.core.errors import InputError

HEADER_NAMES = (
    "Nants_data",
    "Nbls",
    "Nblts",
    "Nfreqs",
    "Npols",
    "Ntimes",
    "altitude",
    "ant_1_array",
    "ant_2_array",
    "antenna_diameters",
    "antenna_names",
    "antenna_numbers",
    "antenna_positions",
    "channel_width",
    "freq_array",
    "integration_time",
    "latitude",
    "longitude",
    "phase_center_app_dec",
    "polarization_array",
    "telescope_name",
    "time_array",
)
"""Header datasets without which a file cannot be converted."""
DATA_NAMES = ("visdata", "flags", "nsamples")
ROW_ARRAYS = ("ant_1_array", "ant_2_array", "integration_time", "time_array")
"""Header datasets with one element a row (a baseline at a time)."""
DEC_AGREEMENT_RAD = math.radians(1e-3)
"""Two statements of the pointing in one header may differ by this much (a delay of 0.1 ns)."""
FREQ_TOLERANCE = 0.01
"""Channel spacing may depart from `channel_width` by this fraction of it."""
_TRANSIENT = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOENT}
"""Errors of the system rather than of the file's content: they may be gone at the next try."""


class TransientInputError(InputError):
    """The file could not be opened for a reason that its content did not cause (permission, I/O, gone)."""


class Uvh5File:
    """One open UVH5 file: values by their header's key, and the checks that every reader needs.

    Parameters
    ----------
    path
        The file. Opened without HDF5's lock: raw files are only read, and some network file systems refuse
        locks.

    Raises
    ------
    InputError
        The file is empty, truncated, not HDF5, or lacks a dataset.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        info = Path(path).stat()
        self.size_bytes, self.mtime_ns = info.st_size, info.st_mtime_ns
        if info.st_size == 0:
            raise InputError(f"{path}: zero length; copy the file again or delete it")
        self.file = h5py.File(path, "r", locking=False)
        try:
            root = self.file.id
            self._groups = {}
            for group, names in (("Header", HEADER_NAMES), ("Data", DATA_NAMES)):
                members = h5py.h5g.open(root, group.encode()) if group.encode() in root else ()
                missing = [f"{group}/{name}" for name in names if name.encode() not in members]
                if missing:
                    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                    raise InputError(
                        f"{path}: not a UVH5 file as expected: no {', '.join(missing[:3])}{more}; copy "
                        "the file again or leave it out"
                    )
                self._groups[group] = members
            header = self._groups["Header"]
            self._extra = h5py.h5g.open(header, b"extra_keywords") if b"extra_keywords" in header else ()
        except BaseException:
            self.file.close()
            raise

    def dataset_id(self, name: str, *, group: str = "Header", access: Any = None) -> h5py.h5d.DatasetID:
        """The low-level dataset `group/name`, opened with the given access properties."""
        return h5py.h5d.open(self._groups[group], name.encode(), access)

    def array(self, name: str) -> NDArray[Any]:
        """The whole of the header's dataset `name`."""
        return np.asarray(h5py.Dataset(self.dataset_id(name))[()])

    def number(self, name: str, index: int = 0) -> float:
        """The header's scalar `name`, or element `index` (along the first axis) if it is an array."""
        return _element(self.dataset_id(name), index)

    def extra(self, name: str) -> float | None:
        """The number `extra_keywords/name`, or None if the file does not have it."""
        if name.encode() not in self._extra:
            return None
        return _element(h5py.h5d.open(self._extra, name.encode()), 0)

    def count(self, name: str) -> int:
        """The header's count `name`, at least 1."""
        value = int(self.number(name))
        if value < 1:
            raise InputError(f"{self.path}: Header/{name} = {value}, expected at least 1; repair the header")
        return value

    def shape(self) -> tuple[int, int, int, int]:
        """(integrations, baselines, channels, polarisations), checked against the number of rows."""
        n_times, n_bl, n_chan, n_pol = (self.count(name) for name in ("Ntimes", "Nbls", "Nfreqs", "Npols"))
        n_rows = self.count("Nblts")
        if n_rows != n_times * n_bl:
            raise InputError(
                f"{self.path}: expected Ntimes x Nbls rows, found Ntimes = {n_times}, Nbls = {n_bl}, Nblts = "
                f"{n_rows}; write the file again with all baselines at every time"
            )
        return n_times, n_bl, n_chan, n_pol

    def check_data(self) -> None:
        """Check the shapes of the data and that the file is large enough for all of them.

        Reading the index of a chunked dataset costs hundreds of small reads; the sum of what the chunks must
        occupy against the size of the file costs none, and tells an interrupted writer as well. `flags` that
        were created and never written take no space and read as false, which is what they say.

        Raises
        ------
        InputError
            A shape differs from the header's, or data were never written.
        """
        n_times, n_bl, n_chan, n_pol = self.shape()
        rows = n_times * n_bl
        needed = 0
        unwritten = []
        for name in ROW_ARRAYS:
            dataset = self.dataset_id(name)
            if dataset.shape != (rows,):
                raise InputError(
                    f"{self.path}: Header/{name} has shape {dataset.shape}, the header says ({rows},); "
                    "leave the file out or repair its header"
                )
            needed += 8 * rows if dataset.get_create_plist().get_layout() != h5py.h5d.CHUNKED else 0
        for name in DATA_NAMES:
            dataset = self.dataset_id(name, group="Data")
            if dataset.shape not in ((rows, n_chan, n_pol), (rows, 1, n_chan, n_pol)):
                raise InputError(
                    f"{self.path}: Data/{name} has shape {dataset.shape}, the header says "
                    f"{(rows, 1, n_chan, n_pol)}; leave the file out or repair its header"
                )
            needed += self._full_bytes(dataset, name)
            if (
                dataset.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
                and dataset.get_offset() is None
            ):
                unwritten.append(name)
        if "flags" in unwritten or self.size_bytes < needed:
            flags = self.dataset_id("flags", group="Data")
            if flags.get_storage_size() == 0:
                needed -= self._full_bytes(flags, "flags")
                unwritten = [name for name in unwritten if name != "flags"]
        if unwritten:
            raise InputError(
                f"{self.path}: Data/{unwritten[0]} was never written; copy the file again or delete it"
            )
        if self.size_bytes < needed:
            raise InputError(
                f"{self.path}: part of the data was never written: {self.size_bytes} bytes, at least "
                f"{needed} expected; copy the file again or delete it"
            )

    def _full_bytes(self, dataset: h5py.h5d.DatasetID, name: str) -> int:
        """Bytes in the file of a completely written dataset (compressed ones: what they occupy now)."""
        plist = dataset.get_create_plist()
        if plist.get_layout() != h5py.h5d.CHUNKED:
            return math.prod(dataset.shape) * dataset.get_type().get_size()
        chunk = plist.get_chunk()
        n_chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape, chunk, strict=True))
        if not plist.get_nfilters():
            return n_chunks * math.prod(chunk) * dataset.get_type().get_size()
        found = dataset.get_num_chunks()
        if found < n_chunks and not (name == "flags" and found == 0):
            raise InputError(
                f"{self.path}: Data/{name} has {found} of {n_chunks} chunks; copy the file again or delete it"
            )
        return int(dataset.get_storage_size())

    def frequencies(self) -> tuple[NDArray[np.float64], float]:
        """Channel centres in file order (nchan,) and channel width, both Hz, checked against each other.

        Raises
        ------
        InputError
            They are not positive, not as many as the header says, or not evenly spaced by the channel width.
        """
        n_chan = self.count("Nfreqs")
        freq_hz = self.array("freq_array").astype(np.float64).reshape(-1)
        width_hz = abs(self.number("channel_width"))
        if freq_hz.shape != (n_chan,) or not np.all(np.isfinite(freq_hz) & (freq_hz > 0)) or not width_hz > 0:
            raise InputError(
                f"{self.path}: Header/freq_array holds {freq_hz.size} channels of {width_hz} Hz, expected "
                f"{n_chan}, positive and finite; leave the file out or repair its header"
            )
        steps = np.diff(freq_hz)
        if steps.size and np.max(np.abs(np.sign(steps[0]) * steps - width_hz)) > FREQ_TOLERANCE * width_hz:
            raise InputError(
                f"{self.path}: channels are not evenly spaced by channel_width = {width_hz} Hz (steps of "
                f"{steps.min()} to {steps.max()} Hz); leave the file out or repair its header"
            )
        return freq_hz, width_hz

    def pointing_dec_rad(self) -> float:
        """The pointing declination (rad, apparent of date), checked against every other statement of it.

        Raises
        ------
        InputError
            It is no declination, is stated twice and differently, or data are not stopped on the meridian.
        """
        dec_rad = self.number("phase_center_app_dec")
        if not -math.pi / 2 <= dec_rad <= math.pi / 2:
            raise InputError(
                f"{self.path}: Header/phase_center_app_dec = {dec_rad} rad is no declination; "
                "repair the header"
            )
        stated = {"extra_keywords/phase_center_dec": self.extra("phase_center_dec")}
        if self.dataset_id("phase_center_app_dec").shape:
            stated["phase_center_app_dec of the last row"] = self.number("phase_center_app_dec", -1)
        for name, value in stated.items():
            if value is not None and not abs(value - dec_rad) <= DEC_AGREEMENT_RAD:
                raise InputError(
                    f"{self.path}: the pointing is stated twice and differently: phase_center_app_dec = "
                    f"{math.degrees(dec_rad):.4f} deg, {name} = {math.degrees(value):.4f} deg; "
                    "repair the header"
                )
        hour_angle = self.extra("ha_phase_center")
        if hour_angle is not None and not abs(hour_angle) <= DEC_AGREEMENT_RAD:
            raise InputError(
                f"{self.path}: fringe-stopped at hour angle {hour_angle} rad, only the meridian (0) is "
                "understood; leave the file out"
            )
        return dec_rad

    def site(self) -> tuple[float, float, float]:
        """Longitude (deg, east positive), latitude (deg) and height (m) of the reference point."""
        longitude, latitude, height = (self.number(name) for name in ("longitude", "latitude", "altitude"))
        if not (abs(longitude) <= 360 and abs(latitude) <= 90 and -1e4 < height < 1e5):
            raise InputError(
                f"{self.path}: the site cannot be right: longitude {longitude} deg, latitude {latitude} deg, "
                f"altitude {height} m; repair the header"
            )
        return longitude, latitude, height

    def polarizations(self) -> tuple[int, ...]:
        """AIPS codes in file order."""
        codes = tuple(int(code) for code in self.array("polarization_array").reshape(-1))
        if len(codes) != self.count("Npols"):
            raise InputError(
                f"{self.path}: Header/polarization_array holds {codes}, Npols is "
                f"{self.count('Npols')}; repair the header"
            )
        return codes

    def close(self) -> None:
        """Close the file and everything opened in it."""
        self.file.close()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Uvh5File]:
    """Open a UVH5 file for reading; what h5py raises inside becomes an InputError."""
    name = os.fspath(path)
    with reading_errors(name):
        file = Uvh5File(name)
        try:
            yield file
        finally:
            file.close()


@contextmanager
def reading_errors(path: str) -> Iterator[None]:
    """Turn what h5py raises on bad content into an InputError that says what is wrong."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _TRANSIENT:
            raise TransientInputError(
                f"{path}: {os.strerror(exc.errno or 0)}; check the file system and permissions"
            ) from exc
        raise InputError(f"{path}: {_hdf5_reason(str(exc))}; copy the file again or delete it") from exc
    except (KeyError, RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError) as exc:
        raise InputError(
            f"{path}: damaged or not UVH5 ({type(exc).__name__}: {_first_line(str(exc))}); copy the file "
            "again or delete it"
        ) from exc


def _hdf5_reason(message: str) -> str:
    """What is wrong with the file, in words, from the message of an OSError of h5py."""
    truncated = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", message)
    if truncated:
        return f"truncated: {truncated[1]} of {truncated[2]} bytes"
    if "file signature not found" in message:
        return "not an HDF5 file (no HDF5 signature)"
    return f"damaged HDF5 ({_first_line(message)})"


def _first_line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[0] if lines else "no message"


def _element(dataset: h5py.h5d.DatasetID, index: int) -> float:
    """A scalar dataset's value, or element `index` along the first axis of an array (0 along the others)."""
    value = np.empty((), dtype=np.float64)
    if not dataset.shape:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, value)
        return float(value)
    start = (index % dataset.shape[0], *(0 for _ in dataset.shape[1:]))
    space = dataset.get_space()
    space.select_hyperslab(start, (1,) * len(start))
    dataset.read(h5py.h5s.create(h5py.h5s.SCALAR), space, value)
    return float(value)
