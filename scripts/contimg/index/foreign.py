"""Whatever UVH5 the instrument does not write, read by pyuvdata: slower, into a temporary file, wherever it is phased.

Integers for visibilities, rows baseline by baseline or in any other order, places on the sky in a
`phase_center_catalog`: pyuvdata knows them. What comes out is what `contimg.index.uvh5` gives of a file of
ours: rows time by time, baselines in one order. Where the data are phased comes from pyuvdata as hour angle and
apparent declination of each integration, and conversion takes it from there.

pyuvdata is imported when a file needs it (a second and 0.2 GB).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.index import plausible
from contimg.index.hdf5 import reading_errors
from contimg.index.phased import RAW, Phased, unprojected
from contimg.index.subband import SubbandHeader
from contimg.index.uvh5 import Layout, Samples, header_of, layout_of
from contimg.index.uvh5_file import Uvh5File, opened

if TYPE_CHECKING:
    from pyuvdata import UVData

NOTED = ("sidereal", "driftscan", "ephem", "unprojected")
"""Kinds of phase centres that are honoured; near-field ones are not."""
ON_MERIDIAN_RAD = 1e-6


@dataclass(frozen=True)
class _Rows:
    """How the rows of a file become (integrations, baselines)."""

    order: NDArray[np.int64]  # (nt * nbl,) rows time by time, baselines in one order
    times_jd: NDArray[np.float64]  # (nt,)
    integration_s: NDArray[np.float64]
    ant1: NDArray[np.int64]  # (nbl,) antenna numbers, ant1 <= ant2
    ant2: NDArray[np.int64]

    @property
    def first(self) -> NDArray[np.int64]:
        """The first row of each integration, (nt,)."""
        return self.order.reshape(len(self.times_jd), -1)[:, 0]


def read_header(path: str, why: str) -> SubbandHeader:
    """Read and check what the index needs, as `contimg.index.uvh5.read_header` does.

    Parameters
    ----------
    path
        The file.
    why
        Why it is no file of ours.

    Raises
    ------
    InputError
        pyuvdata does not take it, or it cannot be made into a tile: the message says why.
    """
    with opened(path) as file:
        file.check_data()
        _check_times(file)
        data = _read(path, read_data=False)
        rows = _rows(path, data)
        phased, dec_rad = _phased(file, data, rows)
        words = why if phased is None else f"{why}: {phased.words}"
        times = float(rows.times_jd[0]), float(rows.times_jd[-1])
        return header_of(
            file, (*times, len(rows.times_jd), float(rows.integration_s[0])), dec_rad=dec_rad, foreign=words
        )


def read_layout(path: str, why: str) -> Layout:
    """Read everything that conversion needs beside the data; errors as `read_header`."""
    with opened(path) as file:
        file.check_data()
        _check_times(file)
        data = _read(path, read_data=False)
        rows = _rows(path, data)
        phased, dec_rad = _phased(file, data, rows)
        of_rows = rows.times_jd, rows.integration_s, rows.ant1, rows.ant2
        return layout_of(file, of_rows, dec_rad=dec_rad, phased=phased, foreign=why)


def _check_times(file: Uvh5File) -> None:
    """Hold all times to their bounds before pyuvdata, in a thread of its own, fails on them with a traceback."""
    times_jd, lengths_s = file.array("time_array"), file.array("integration_time")
    for length_s in (lengths_s.min(), lengths_s.max()):
        plausible.check_times(file.path, float(times_jd.min()), float(times_jd.max()), float(length_s))


class ForeignData:
    """The data of a file as `contimg.index.uvh5.RawData` gives them: read whole, then from a temporary file.

    Parameters
    ----------
    path
        The file. What it holds goes into an unnamed file in TMPDIR, 13 bytes a visibility.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        data = _read(path, read_data=True)
        rows = _rows(path, data)
        _point_upwards(data)
        self.n_times, self.n_baselines = len(rows.times_jd), rows.ant1.size
        self.n_channels, self.n_polarizations = data.data_array.shape[-2:]
        shape = (self.n_times, self.n_baselines, self.n_channels, self.n_polarizations)
        self._files = []
        self._kept: list[NDArray[Any]] = []
        for values, dtype in (
            (data.data_array, np.complex64),
            (data.flag_array, np.bool_),
            (data.nsample_array, np.float32),
        ):
            spool = tempfile.TemporaryFile(prefix="contimg-raw-")  # noqa: SIM115  closed by close()
            self._files.append(spool)
            kept: NDArray[Any] = np.memmap(spool, dtype=dtype, mode="w+", shape=shape)
            for i, chosen in enumerate(rows.order.reshape(self.n_times, -1)):
                kept[i] = values[chosen]
            self._kept.append(kept)

    def read_times(self, t0: int, t1: int) -> Samples:
        """As the function `contimg.index.uvh5.read_times`."""
        if not 0 <= t0 <= t1 <= self.n_times:
            raise ValueError(f"{self.path}: integrations {t0}:{t1} asked for, the file has {self.n_times}")
        vis, flags, nsamples = (np.array(kept[t0:t1]) for kept in self._kept)
        return vis, flags, nsamples

    def close(self) -> None:
        """Give the temporary files back."""
        self._kept.clear()
        for spool in self._files:
            spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(path: str, *, read_data: bool) -> UVData:
    """Read a file with pyuvdata, its checks of positions against uvw off: ours are on."""
    with _foreign_errors(path), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        from pyuvdata import UVData
        from pyuvdata.uvdata.uvh5 import FastUVH5Meta

        # opened here, because of the locks that some network file systems refuse (`Uvh5File`)
        meta = stack.enter_context(closing(FastUVH5Meta(h5py.File(path, "r", locking=False))))
        data = UVData()
        data.read_uvh5(
            meta,
            read_data=read_data,
            data_array_dtype=np.complex64,
            run_check=False,
            fix_old_proj=None if read_data else False,
        )
        return data


@contextmanager
def _foreign_errors(path: str) -> Iterator[None]:
    """Turn what pyuvdata raises into an InputError."""
    try:
        yield
    except OSError:
        with reading_errors(path):
            raise
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError, MemoryError) as error:
        words = " ".join(str(error).split())[:200] or "no message"
        raise InputError(
            f"{path}: pyuvdata does not take it either ({type(error).__name__}: {words}); leave the file out"
        ) from error


def _rows(path: str, data: UVData) -> _Rows:
    """Find the integrations and baselines in rows of any order.

    Raises
    ------
    InputError
        Not every baseline is there at every time.
    """
    integration_s = np.asarray(data.integration_time, dtype=np.float64)
    times_jd = np.asarray(data.time_array, dtype=np.float64)
    in_time = np.argsort(times_jd, kind="stable")
    half_days = 0.5 * float(integration_s.min()) / SECONDS_PER_DAY
    steps = np.diff(times_jd[in_time]) > half_days
    when = np.empty(times_jd.size, dtype=np.int64)
    when[in_time] = np.concatenate([[0], np.cumsum(steps)])
    one = np.minimum(data.ant_1_array, data.ant_2_array)
    two = np.maximum(data.ant_1_array, data.ant_2_array)
    order = np.lexsort((two, one, when))
    n_times = int(when.max()) + 1
    n_bl, left = divmod(order.size, n_times)
    shape = (n_times, n_bl)
    pairs = np.stack([one[order], two[order]], axis=1)
    whole = left == 0 and (when[order].reshape(shape) == np.arange(n_times)[:, np.newaxis]).all()
    if (
        not whole
        or (pairs.reshape(*shape, 2) != pairs[:n_bl]).any()
        or len(np.unique(pairs[:n_bl], axis=0)) < n_bl
    ):
        raise InputError(
            f"{path}: {order.size} rows are not every baseline, once, at each of {n_times} times (averaged by baseline?"
            "); write the file with all baselines at every time"
        )
    first = order.reshape(shape)[:, 0]
    for what, values in (("times", times_jd * SECONDS_PER_DAY), ("integration_time", integration_s)):
        if np.ptp(values[order].reshape(shape), axis=1).max() > 1e-3:
            raise InputError(
                f"{path}: {what} differ between the baselines of one integration; write them alike"
            )
    return _Rows(order, times_jd[first], integration_s[first], pairs[:n_bl, 0], pairs[:n_bl, 1])


def _point_upwards(data: UVData) -> None:
    """Turn baselines that run from the later antenna to the earlier."""
    if (data.ant_1_array > data.ant_2_array).any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.conjugate_bls(convention="ant1<ant2")


def _phased(file: Uvh5File, data: UVData, rows: _Rows) -> tuple[Phased | None, float]:
    """Where the data are phased (None: the meridian), and the pointing declination (rad)."""
    ids = np.asarray(data.phase_center_id_array)
    catalog = data.phase_center_catalog
    kinds = {str(catalog[int(number)]["cat_type"]) for number in np.unique(ids)}
    if not kinds <= set(NOTED):
        raise InputError(
            f"{file.path}: phased to a place of kind {', '.join(sorted(kinds - set(NOTED)))}, expected one of "
            f"{', '.join(NOTED)}; rephase the file"
        )
    if "unprojected" in kinds:
        if len(kinds) > 1:
            raise InputError(f"{file.path}: some rows are phased and some are not; write them alike")
        dec_rad = file.pointing_dec_rad()
        # of the instrument's own layout, too, the uvw decide between fringe-stopped and raw
        numbers, positions = file.antennas()[1:3]
        n_bl = rows.ant1.size
        of_file = np.asarray(data.ant_1_array)[:n_bl], np.asarray(data.ant_2_array)[:n_bl]
        raw = unprojected(file, numbers, positions, *of_file, dec_rad)
        return (RAW if raw else None), dec_rad
    where = []
    for values in (data.lst_array - data.phase_center_app_ra, data.phase_center_app_dec):
        shaped = np.asarray(values, dtype=np.float64)[rows.order].reshape(len(rows.times_jd), -1)
        if np.abs(np.exp(1j * shaped) - np.exp(1j * shaped[:, :1])).max() > 1e-9:
            raise InputError(
                f"{file.path}: baselines of one integration are phased to different places; write them alike"
            )
        where.append(shaped[:, 0])
    ha_rad = np.mod(where[0] + np.pi, 2 * np.pi) - np.pi
    names = ", ".join(sorted({str(catalog[int(number)]["cat_name"]) for number in np.unique(ids)}))
    phased = Phased(f"phased to {names} ({', '.join(sorted(kinds))})", ha_rad, where[1])
    on_meridian = np.abs(ha_rad).max() < ON_MERIDIAN_RAD and np.ptp(where[1]) < ON_MERIDIAN_RAD
    if file.extra("phase_center_dec") is None and on_meridian:
        return phased, float(where[1][0])
    return phased, file.pointing_dec_rad()
