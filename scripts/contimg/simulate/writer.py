"""Raw subband files: UVH5 in the layout of the meridian fringe stopper's writer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from contimg.simulate import geometry
from contimg.simulate.stations import (
    REFERENCE_HEIGHT_M,
    REFERENCE_LATITUDE_RAD,
    REFERENCE_LONGITUDE_RAD,
    Stations,
)

POLARIZATIONS = {2: (-5, -6), 4: (-5, -7, -8, -6)}


@dataclass(frozen=True)
class Subband:
    """What the header of one file says; rows run time by time over the baselines (ant1, ant2).

    Attributes
    ----------
    times_jd : ndarray, (nt,)
        Integration midpoints, JD UTC.
    ant1, ant2 : ndarray of int, (nbl,)
        Antenna numbers.
    freq_hz : ndarray, (nchan,)
        Channel centres in file order.
    """

    times_jd: np.ndarray
    integration_s: float
    ant1: np.ndarray
    ant2: np.ndarray
    freq_hz: np.ndarray
    channel_width_hz: float
    dec_rad: float
    dish_diameter_m: float
    spw_axis: bool


def file_name(start_iso: str, subband: int) -> str:
    """Return the name of a finished file: host time (to the second) and subband."""
    return f"{start_iso}_sb{subband:02d}.hdf5"


def write(
    path: Path, stations: Stations, head: Subband, vis: np.ndarray, *, all_flagged: bool = False
) -> None:
    """Write one raw file beside its final name and rename it.

    Parameters
    ----------
    vis : ndarray of complex64, (nt, nbl, nchan, npol)
    all_flagged : bool
        Set every flag; else none is.
    """
    n_times, n_baselines, n_channels, n_pols = vis.shape
    part = path.with_name(f".{path.name}.part.{os.getpid()}")
    shape: tuple[int, ...] = (n_times * n_baselines, n_channels, n_pols)
    if head.spw_axis:
        shape = (shape[0], 1, *shape[1:])
    try:
        with h5py.File(part, "w") as file:
            _write_header(file.create_group("Header"), stations, head, n_pols)
            data = file.create_group("Data")
            data.create_dataset("visdata", data=vis.reshape(shape), chunks=True)
            data.create_dataset("flags", data=np.full(shape, all_flagged), chunks=True)
            data.create_dataset("nsamples", data=np.ones(shape, np.float32), chunks=True)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write_header(header: h5py.Group, stations: Stations, head: Subband, n_pols: int) -> None:
    n_times, n_baselines = len(head.times_jd), len(head.ant1)
    used = np.union1d(head.ant1, head.ant2)
    position = np.zeros((int(stations.numbers.max()) + 1, 3))
    position[stations.numbers] = geometry.uvw_meridian(stations.positions_m, head.dec_rad)
    uvw = (position[head.ant2] - position[head.ant1]).astype(np.float32)
    fields = {
        "latitude": np.degrees(REFERENCE_LATITUDE_RAD),
        "longitude": np.degrees(REFERENCE_LONGITUDE_RAD),
        "altitude": REFERENCE_HEIGHT_M,
        "telescope_name": np.bytes_("OVRO_MMA"),
        "instrument": np.bytes_("DSA"),
        "object_name": np.bytes_("search"),
        "history": np.bytes_("contimg simulate"),
        "phase_type": np.bytes_("drift"),
        "phase_center_app_dec": head.dec_rad,
        "Nants_data": len(used),
        "Nants_telescope": len(stations.names),
        "Nbls": n_baselines,
        "Nblts": n_times * n_baselines,
        "Nfreqs": len(head.freq_hz),
        "Npols": n_pols,
        "Nspws": 1,
        "Ntimes": n_times,
        "antenna_diameters": np.full(len(stations.names), head.dish_diameter_m),
        "antenna_names": np.array(stations.names, dtype="S"),
        "antenna_numbers": stations.numbers.astype(np.int64),
        "antenna_positions": stations.positions_m,
        "ant_1_array": np.tile(head.ant1.astype(np.int64), n_times),
        "ant_2_array": np.tile(head.ant2.astype(np.int64), n_times),
        "uvw_array": np.tile(uvw, (n_times, 1)),
        "time_array": np.repeat(head.times_jd, n_baselines),
        "integration_time": np.full(n_times * n_baselines, head.integration_s),
        "freq_array": head.freq_hz[None, :] if head.spw_axis else head.freq_hz,
        "channel_width": head.channel_width_hz,
        "spw_array": np.array([1]),
        "polarization_array": np.array(POLARIZATIONS[n_pols]),
    }
    for name, value in fields.items():
        header[name] = value
    extra = header.create_group("extra_keywords")
    extra["phase_center_dec"] = head.dec_rad
    extra["ha_phase_center"] = 0.0
    extra["phase_center_epoch"] = "HADEC"
    extra["fs_table"] = "fringestopping_table.npz"
    extra["applied_delays_ns"] = " ".join(["0.0"] * (2 * len(used)))
