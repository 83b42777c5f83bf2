"""Opening one UVH5 file and checking what matters in it, with the least possible number of reads.

A night's index opens thousands of files, so headers are read with the low-level interface of h5py (a third
of the time) and nothing is read that the check does not need. What UVH5 allows and the instrument does not write is
`NotOurs`: pyuvdata reads it (`contimg.index.foreign`).
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.core.errors import InputError
from contimg.index import plausible
from contimg.index.hdf5 import array_of, dataset_of, element_of, group_of, reading_errors

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
    "antenna_names",
    "antenna_numbers",
    "antenna_positions",
    "channel_width",
    "freq_array",
    "integration_time",
    "latitude",
    "longitude",
    "polarization_array",
    "telescope_name",
    "time_array",
)
"""Header datasets without which a file cannot be converted."""
DATA_NAMES = ("visdata", "flags", "nsamples")
_KINDS = {
    "visdata": (("c", "V"), "complex numbers or pairs"),
    "flags": (("b", "i", "u"), "true or false"),
    "nsamples": (("f", "i", "u"), "numbers"),
}
"""What the data may be, by numpy's letter and in words; rows' arrays are numbers."""
ROW_ARRAYS = ("ant_1_array", "ant_2_array", "integration_time", "time_array")
"""Header datasets with one element a row (a baseline at a time)."""
DISH_M = 4.65
"""Diameter of the instrument's dishes, where a header has none."""
SPACING_TOLERANCE = 0.01
"""Times may be apart by so much more or less than an integration without a word."""
POLARIZATIONS = frozenset(range(-8, 0))
"""AIPS codes that a Measurement Set knows."""
DEC_AGREEMENT_RAD = math.radians(1e-3)
"""Two statements of the pointing in one header may differ by this much (a delay of 0.1 ns)."""


class NotOurs(InputError):
    """The file is UVH5 that our reader does not take: pyuvdata may."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}; raw.reader: auto or pyuvdata reads such files")
        self.why = why


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
        if not stat.S_ISREG(info.st_mode):  # to open a pipe would wait for ever, to read a device never end
            raise InputError(f"{path}: is {_kind(info.st_mode)}, not a file; move it out of `incoming`")
        if info.st_size == 0:
            raise InputError(f"{path}: zero length; copy the file again, or move it out of `incoming`")
        self.file = h5py.File(path, "r", locking=False)
        try:
            self._groups = {}
            for group, names in (("Header", HEADER_NAMES), ("Data", DATA_NAMES)):
                members = group_of(path, self.file.id, group)
                known: Any = () if members is None else members
                missing = [f"{group}/{name}" for name in names if name.encode() not in known]
                if missing:
                    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                    raise InputError(
                        f"{path}: not a UVH5 file as expected: no {', '.join(missing[:3])}{more}; copy "
                        "the file again or leave it out"
                    )
                self._groups[group] = members
            self._extra = group_of(path, self._groups["Header"], "extra_keywords")
        except BaseException:
            self.file.close()
            raise

    def dataset_id(self, name: str, *, group: str = "Header", access: Any = None) -> h5py.h5d.DatasetID:
        """The low-level dataset `group/name`, opened with the given access properties."""
        return dataset_of(self.path, self._groups[group], name, f"{group}/{name}", access)

    def has(self, name: str) -> bool:
        """Whether the header has `name`."""
        header = self._groups["Header"]
        return header is not None and name.encode() in header

    def array(self, name: str) -> NDArray[Any]:
        """The whole of the header's dataset `name`."""
        return array_of(self.path, self.dataset_id(name), f"Header/{name}")

    def text(self, name: str) -> str | None:
        """The header's text `name`; None if it has none."""
        return text(self.array(name)[()]) if self.has(name) else None

    def number(self, name: str, index: int = 0) -> float:
        """The header's scalar `name`, or element `index` (along the first axis) if it is an array."""
        return element_of(self.dataset_id(name), index)

    def extra(self, name: str) -> float | None:
        """The number `extra_keywords/name`, or None if the file does not have it."""
        if self._extra is None or name.encode() not in self._extra:
            return None
        return element_of(dataset_of(self.path, self._extra, name, f"extra_keywords/{name}"), 0)

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
        counts = {"Ntimes": n_times, "Nbls": n_bl, "Nfreqs": n_chan, "Npols": n_pol}
        plausible.check_counts(self.path, counts, 8)
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
            self._check_kind(dataset, f"Header/{name}", *_KINDS["nsamples"])
            needed += 8 * rows if dataset.get_create_plist().get_layout() != h5py.h5d.CHUNKED else 0
        for name in DATA_NAMES:
            dataset = self.dataset_id(name, group="Data")
            self._check_kind(dataset, f"Data/{name}", *_KINDS[name])
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
                f"{self.path}: Data/{unwritten[0]} was never written; copy the file again, or move it out of `incoming`"
            )
        if self.size_bytes < needed:
            raise InputError(
                f"{self.path}: part of the data was never written: {self.size_bytes} bytes, at least "
                f"{needed} expected; copy the file again, or move it out of `incoming`"
            )

    def _check_kind(
        self, dataset: h5py.h5d.DatasetID, title: str, kinds: tuple[str, ...], wanted: str
    ) -> None:
        """Require numpy's kinds of numbers."""
        dtype = h5py.Dataset(dataset).dtype
        if dtype.kind not in kinds:
            raise InputError(
                f"{self.path}: {title} holds {_dtype_text(dtype)}, expected {wanted}; leave the file out"
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
                f"{self.path}: Data/{name} has {found} of {n_chunks} chunks; copy the file again, or move "
                "it out of `incoming`"
            )
        return int(dataset.get_storage_size())

    @property
    def phased_elsewhere(self) -> bool:
        """Whether the header says itself where the data are phased, so that `phase_center_app_dec` is that place's."""
        return self.has("phase_center_catalog") or self.text("phase_type") == "phased"

    def require_ours(self) -> None:
        """Require what the instrument writes: fringe-stopped on the meridian, one spectral window, complex numbers.

        Raises
        ------
        NotOurs
            It is something else that UVH5 allows.
        """
        if self.has("phase_center_catalog"):
            raise NotOurs(self.path, "where the data are phased is in a phase_center_catalog")
        stated = self.text("phase_type")
        if stated is not None and stated not in ("drift", "unprojected"):
            raise NotOurs(self.path, f"phase_type is {stated}, not drift")
        if self.has("Nspws") and self.count("Nspws") > 1:
            raise NotOurs(self.path, f"{self.count('Nspws')} spectral windows in one file")
        dtype = h5py.Dataset(self.dataset_id("visdata", group="Data")).dtype
        if dtype.kind != "c":
            raise NotOurs(self.path, f"visibilities are {_dtype_text(dtype)}, not complex numbers")

    def first_time(self) -> float:
        """The first time (JD UTC), of rows that run time by time as far as the first integration tells.

        `contimg.index.uvh5.read_layout` looks at all of them.

        Raises
        ------
        NotOurs
            They do not.
        """
        n_times, n_bl, _, _ = self.shape()
        # in one read: each of its own takes HDF5's 64 KiB from the disk
        times = h5py.Dataset(self.dataset_id("time_array"))[: n_bl + 1]
        if not (times[:n_bl] == times[0]).all() or (n_times > 1 and not times[n_bl] > times[0]):
            raise NotOurs(self.path, "rows do not run time by time")
        return float(times[0])

    def antennas(
        self,
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Names, numbers (nant,), positions (nant, 3) and diameters (nant,), m, checked against each other."""
        names = [text(value) for value in self.array("antenna_names").reshape(-1)]
        numbers = self.array("antenna_numbers").astype(np.int64).reshape(-1)
        positions = self.array("antenna_positions").astype(np.float64)
        diameters = np.full(numbers.size, DISH_M)
        if self.has("antenna_diameters"):
            diameters = self.array("antenna_diameters").astype(np.float64)
        plausible.check_antennas(self.path, names, numbers, positions, diameters)
        return names, numbers, positions, diameters

    def frequencies(self) -> tuple[NDArray[np.float64], float]:
        """Channel centres in file order (nchan,) and channel width, both Hz, checked against each other.

        Raises
        ------
        InputError
            They are not positive, not as many as the header says, or not evenly spaced by the channel width.
        """
        freq_hz = self.array("freq_array").astype(np.float64).reshape(-1)
        width_hz = abs(self.number("channel_width"))
        plausible.check_frequencies(self.path, freq_hz, width_hz, self.count("Nfreqs"))
        return freq_hz, width_hz

    def pointing_dec_rad(self) -> float:
        """The pointing declination (rad, apparent of date), checked against every other statement of it.

        Raises
        ------
        InputError
            It is nowhere, is no declination, is stated twice and differently, or data are not stopped on the meridian.
        """
        stated = {}
        if self.has("phase_center_app_dec") and not self.phased_elsewhere:
            stated["phase_center_app_dec"] = self.number("phase_center_app_dec")
            if self.dataset_id("phase_center_app_dec").shape:
                stated["phase_center_app_dec of the last row"] = self.number("phase_center_app_dec", -1)
        in_extra = self.extra("phase_center_dec")
        if in_extra is not None:
            stated["extra_keywords/phase_center_dec"] = in_extra
        if not stated:
            raise InputError(
                f"{self.path}: nothing says where the dishes pointed: no extra_keywords/phase_center_dec (rad); "
                "write it into the header"
            )
        (first, dec_rad), *others = stated.items()
        plausible.check_pointing(self.path, first, dec_rad, self.number("latitude"))
        for name, value in others:
            if not abs(value - dec_rad) <= DEC_AGREEMENT_RAD:
                raise InputError(
                    f"{self.path}: the pointing is stated twice and differently: {first} = "
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
        plausible.check_site(self.path, longitude, latitude, height)
        return longitude, latitude, height

    def odd(self, integration_s: float, spacing_s: float | None) -> tuple[str, ...]:
        """What is not as the instrument writes it, and is taken all the same."""
        found = []
        if spacing_s is not None and abs(spacing_s - integration_s) > SPACING_TOLERANCE * integration_s:
            found.append(f"times are {spacing_s:.5g} s apart, integrations of {integration_s:.5g} s")
        if not self.has("antenna_diameters"):
            found.append(f"no antenna_diameters: {DISH_M} m")
        if not self.has("phase_center_app_dec") or self.phased_elsewhere:
            found.append("the pointing is in extra_keywords only")
        return tuple(found)

    def polarizations(self) -> tuple[int, ...]:
        """AIPS codes in file order."""
        codes = tuple(int(code) for code in self.array("polarization_array").reshape(-1))
        if len(codes) != self.count("Npols"):
            raise InputError(
                f"{self.path}: Header/polarization_array holds {codes}, Npols is "
                f"{self.count('Npols')}; repair the header"
            )
        if not set(codes) <= POLARIZATIONS or len(set(codes)) != len(codes):
            raise InputError(
                f"{self.path}: Header/polarization_array holds {codes}, expected AIPS codes of linear (-5 to -8) or "
                "circular (-1 to -4) products, each once; leave the file out"
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


def text(value: Any) -> str:
    """A string from what writers store: bytes, padded bytes or str."""
    return (value.decode() if isinstance(value, bytes) else str(value)).strip("\0 ")


def _kind(mode: int) -> str:
    """What a path that is no file is, in words."""
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for test, words in kinds if test(mode)), "a device")


def _dtype_text(dtype: np.dtype[Any]) -> str:
    """What visibilities are, in words."""
    parts = {part[0].name for part in (dtype.fields or {}).values()}
    return f"pairs of {', '.join(sorted(parts))}" if parts else dtype.name
