"""Raw UVH5 subband files: what a header says, how the rows lie, and the data, streamed in time.

Only what the headers say is believed: array, band, integration time and pointing are never assumed. Both
layouts are accepted, with and without the length-1 spectral-window axis. Times are JD or MJD in UTC.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.core.provenance import digest
from contimg.index import plausible
from contimg.index.hdf5 import reading_errors
from contimg.index.phased import Phased, unprojected
from contimg.index.subband import SubbandHeader
from contimg.index.uvh5_file import DATA_NAMES, ROW_ARRAYS, NotOurs, Uvh5File, opened, text

Samples = tuple[NDArray[np.complex64], NDArray[np.bool_], NDArray[np.float32]]


@dataclass(frozen=True)
class Layout:
    """Everything in a header that conversion needs; rows run time by time, baselines inside a time."""

    antenna_names: list[str]
    antenna_numbers: NDArray[np.int64]  # (nant,)
    antenna_positions_m: NDArray[np.float64]  # (nant, 3) along ECEF axes, relative to the reference point
    diameters_m: NDArray[np.float64]  # (nant,)
    ant1: NDArray[np.int64]  # (nbl,) antenna NUMBERS of the baselines of every time
    ant2: NDArray[np.int64]  # (nbl,)
    times_jd: NDArray[np.float64]  # (ntimes,) integration midpoints, UTC
    integration_s: NDArray[np.float64]  # (ntimes,)
    longitude_deg: float  # of the reference point, WGS84, east positive
    latitude_deg: float
    height_m: float
    telescope_name: str
    dec_rad: float  # pointing declination, apparent of date
    freq_hz: NDArray[np.float64]  # (nchan,) channel centres in file order
    channel_width_hz: float
    polarizations: tuple[int, ...]  # AIPS codes in file order
    phased: Phased | None = None  # where the data are phased; None: (hour angle 0, `dec_rad`)
    foreign: str | None = None  # why pyuvdata reads the file; None: this module does


def read_header(path: str | os.PathLike[str]) -> SubbandHeader:
    """Read and check what the index needs from one subband file, without reading its data.

    Besides the values, this checks that the file is whole: HDF5 itself compares the stored end of file with
    the real size, the data have the shape that the header announces, and the file is large enough for them.

    Parameters
    ----------
    path
        The UVH5 file.

    Returns
    -------
    SubbandHeader

    Raises
    ------
    InputError
        The file is empty, truncated, not HDF5, lacks something or contradicts itself: the message says which.
    TransientInputError
        It could not be opened because of permissions, I/O errors or because it is gone.
    """
    with opened(path) as file:
        n_times, _, _, _ = file.shape()
        file.require_ours()
        file.check_data()
        time0, time_last = file.first_time(), file.number("time_array", -1)
        return header_of(file, (time0, time_last, n_times, file.number("integration_time")))


def header_of(
    file: Uvh5File,
    times: tuple[float, float, int, float],
    *,
    dec_rad: float | None = None,
    foreign: str | None = None,
) -> SubbandHeader:
    """Make a header of an open file, checked: what both readers share.

    Parameters
    ----------
    file
        The open file.
    times
        First and last integration's midpoint (JD UTC), how many there are, and their length (s).
    dec_rad
        Pointing, if not from the header.
    foreign
        Why it is pyuvdata that reads the file.
    """
    time0, time_last, n_times, integration_s = times
    _, n_bl, n_chan, _ = file.shape()
    names, numbers, positions_m, _ = file.antennas()
    plausible.check_placed(file.path, positions_m, file.count("Nants_data"))
    freq_hz, width_hz = file.frequencies()
    plausible.check_times(file.path, time0, time_last, integration_s)
    spacing_s = (time_last - time0) * SECONDS_PER_DAY / (n_times - 1) if n_times > 1 else None
    longitude, latitude, height = file.site()
    return SubbandHeader(
        path=file.path,
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        time0_jd=time0,
        time_last_jd=time_last,
        start_mjd=time0 - MJD_EPOCH_JD - 0.5 * integration_s / SECONDS_PER_DAY,
        n_times=n_times,
        n_baselines=n_bl,
        integration_s=integration_s,
        dec_rad=file.pointing_dec_rad() if dec_rad is None else dec_rad,
        freq_first_hz=float(freq_hz[0]),
        freq_last_hz=float(freq_hz[-1]),
        n_channels=n_chan,
        channel_width_hz=width_hz,
        polarizations=file.polarizations(),
        n_antennas_data=file.count("Nants_data"),
        longitude_deg=longitude,
        latitude_deg=latitude,
        height_m=height,
        foreign=foreign,
        odd=(*file.odd(integration_s, spacing_s), *_tilted(positions_m, longitude, latitude)),
        antennas=digest([names, numbers.tolist()]),
        array_m=_array_m(positions_m),
    )


def _tilted(positions_m: NDArray[np.float64], longitude_deg: float, latitude_deg: float) -> tuple[str, ...]:
    """A note where the antennas do not stand on the ground of their site."""
    tilt_deg = plausible.tilt_deg(positions_m, longitude_deg, latitude_deg)
    if tilt_deg is None or tilt_deg <= plausible.TILT_DEG:
        return ()
    return (
        f"the plane of the antennas is tilted by {tilt_deg:.0f} deg from the horizon of longitude {longitude_deg:.4f}, "
        f"latitude {latitude_deg:.4f} deg: is the site in degrees, are positions along Earth-fixed axes?",
    )


def _array_m(positions_m: NDArray[np.float64]) -> float:
    """One number of an array of positions (nant, 3): to move an antenna by 0.1 m changes it by a millimetre or more."""
    weights = np.sqrt(np.arange(1.0, positions_m.size + 1)).reshape(positions_m.shape)
    return float(np.nansum(weights * positions_m) / len(positions_m))


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """Read everything that conversion needs beside the data.

    Parameters
    ----------
    path
        The UVH5 file.

    Returns
    -------
    Layout

    Raises
    ------
    InputError
        As `read_header`; and if rows do not run time by time with the same baselines each time, times do not
        increase, or a baseline names an antenna that the table lacks.
    """
    with opened(path) as file:
        file.require_ours()
        file.check_data()
        layout = layout_of(file, _rows(file), dec_rad=file.pointing_dec_rad())
        table = layout.antenna_numbers, layout.antenna_positions_m
        if unprojected(file, *table, layout.ant1, layout.ant2, layout.dec_rad):
            raise NotOurs(file.path, "uvw_array says that the data are raw correlations, not fringe-stopped")
        return layout


def layout_of(
    file: Uvh5File,
    rows: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
    *,
    dec_rad: float,
    phased: Phased | None = None,
    foreign: str | None = None,
) -> Layout:
    """Make a layout of an open file, checked: what both readers share.

    Parameters
    ----------
    file
        The open file.
    rows
        Times (nt,) JD, integrations (nt,) s and the baselines' antenna numbers (nbl,), (nbl,).
    dec_rad
        Pointing.
    phased
        Where the data are phased; None: (hour angle 0, `dec_rad`).
    foreign
        Why it is pyuvdata that reads the file.
    """
    times_jd, integration_s, ant1, ant2 = rows
    names, numbers, positions, diameters = file.antennas()
    unknown = np.setdiff1d(np.concatenate([ant1, ant2]), numbers)
    if unknown.size:
        raise InputError(
            f"{file.path}: baselines name antenna number {unknown[0]}, which Header/antenna_numbers "
            "lacks; repair the header"
        )
    freq_hz, width_hz = file.frequencies()
    longitude, latitude, height = file.site()
    return Layout(
        antenna_names=names,
        antenna_numbers=numbers,
        antenna_positions_m=positions,
        diameters_m=diameters,
        ant1=ant1,
        ant2=ant2,
        times_jd=times_jd,
        integration_s=integration_s,
        longitude_deg=longitude,
        latitude_deg=latitude,
        height_m=height,
        telescope_name=text(file.array("telescope_name")[()]),
        dec_rad=dec_rad,
        freq_hz=freq_hz,
        channel_width_hz=width_hz,
        polarizations=file.polarizations(),
        phased=phased,
        foreign=foreign,
    )


class RawData:
    """The data of one open subband file, a context manager; made by `open_data`, read by `read_times`.

    Attributes
    ----------
    path
        The file's path, for messages.
    n_times, n_baselines, n_channels, n_polarizations
        The shape of the data.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        with reading_errors(self.path):
            self._file = Uvh5File(self.path)
            try:
                self.n_times, self.n_baselines, self.n_channels, self.n_polarizations = self._file.shape()
                self._file.check_data()
                self._data = {name: _with_chunk_cache(self._file, name) for name in DATA_NAMES}
            except BaseException:
                self._file.close()
                raise

    def read_times(self, t0: int, t1: int) -> Samples:
        """As the function `read_times`."""
        if not 0 <= t0 <= t1 <= self.n_times:
            raise ValueError(f"{self.path}: integrations {t0}:{t1} asked for, the file has {self.n_times}")
        rows = slice(t0 * self.n_baselines, t1 * self.n_baselines)
        shape = (t1 - t0, self.n_baselines, self.n_channels, self.n_polarizations)
        with reading_errors(self.path):
            vis, flags, nsamples = (self._data[name][rows].reshape(shape) for name in DATA_NAMES)
        with np.errstate(over="ignore"):  # what single precision does not hold is flagged
            return (
                vis.astype(np.complex64, copy=False),
                flags.astype(np.bool_, copy=False),
                nsamples.astype(np.float32, copy=False),
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_data(path: str | os.PathLike[str]) -> RawData:
    """Open a subband file for streaming in time order.

    The chunk cache of each dataset holds the chunks that two neighbouring integrations share, so reading the
    integrations one after the other reads every byte of the file once.

    Raises
    ------
    InputError
        As `read_header`.
    """
    return RawData(path)


def read_times(handle: RawData, t0: int, t1: int) -> Samples:
    """Read integrations t0 <= t < t1.

    Returns
    -------
    vis : (t1 - t0, nbl, nchan, npol) complex64
        In the file's units; channels and polarisations in file order.
    flags : the same shape, bool
        True is bad.
    nsamples : the same shape, float32
        The fraction of the integration that went into the visibility.

    Raises
    ------
    InputError
        The data cannot be read.
    ValueError
        The file has no such integrations.
    """
    return handle.read_times(t0, t1)


def _rows(
    file: Uvh5File,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Times (nt,) JD, integrations (nt,) s and the baselines' antenna numbers (nbl,), (nbl,)."""
    n_times, n_bl, _, _ = file.shape()
    rows: dict[str, NDArray[Any]] = {name: file.array(name).reshape(n_times, n_bl) for name in ROW_ARRAYS}
    for name, values in rows.items():
        across = 0 if name.startswith("ant_") else 1
        if np.ptp(values, axis=across).any():
            raise NotOurs(
                file.path,
                f"rows do not run time by time with the same baselines each time (Header/{name} varies)",
            )
    times_jd = rows["time_array"][:, 0].astype(np.float64)
    if not np.all(np.diff(times_jd) > 0):
        raise NotOurs(file.path, "times do not increase from one integration to the next")
    integration_s = rows["integration_time"][:, 0].astype(np.float64)
    for length_s in (integration_s.min(), integration_s.max()):
        plausible.check_times(file.path, times_jd[0], times_jd[-1], length_s)
    ant1, ant2 = (rows[name][0].astype(np.int64) for name in ("ant_1_array", "ant_2_array"))
    return times_jd, integration_s, ant1, ant2


def _with_chunk_cache(file: Uvh5File, name: str) -> h5py.Dataset:
    """Open a dataset with a chunk cache that holds two rows of chunks along time, so none is read twice."""
    dataset = file.dataset_id(name, group="Data")
    plist = dataset.get_create_plist()
    if plist.get_layout() != h5py.h5d.CHUNKED:
        return h5py.Dataset(dataset)
    chunk = plist.get_chunk()
    n_chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape[1:], chunk[1:], strict=True))
    n_bytes = n_chunks * math.prod(chunk) * dataset.get_type().get_size()
    del dataset  # the cache of a dataset that is open already cannot be changed
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    # Slots: odd and far above the chunks held, against collisions; 1.0: chunks read to the end go first.
    access.set_chunk_cache(max(521, 20 * n_chunks + 1), max(1 << 20, 2 * n_bytes), 1.0)
    return h5py.Dataset(file.dataset_id(name, group="Data", access=access))
