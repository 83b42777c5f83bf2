"""Tiny raw files in the format of the fringe-stopper, written here with h5py alone, for tests of the readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np

CHANNEL_HZ = 244140.625
LOWEST_HZ = 1311.25e6 + CHANNEL_HZ / 2
INTEGRATION_S = 12.884902
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def mjd(iso: str) -> float:
    return (datetime.fromisoformat(iso).replace(tzinfo=UTC) - MJD_EPOCH) / timedelta(days=1)


def stamp(start_mjd: float, late_s: float = 0.0) -> str:
    when = MJD_EPOCH + timedelta(days=start_mjd, seconds=late_s + 0.5)
    return when.strftime("%Y-%m-%dT%H:%M:%S")


def visibilities(n_times: int, n_bl: int, n_chan: int, n_pol: int, seed: int = 0) -> np.ndarray:
    """What `write_uvh5` puts into a file, (ntimes, nbl, nchan, npol) complex64."""
    rng = np.random.default_rng(seed)
    shape = (n_times, n_bl, n_chan, n_pol)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def write_uvh5(
    path: Path,
    start_mjd: float,
    *,
    freq_low_hz: float = LOWEST_HZ,
    n_channels: int = 2,
    channel_hz: float = CHANNEL_HZ,
    descending: bool = True,
    spw_axis: bool = True,
    dec_deg: float = 54.6,
    n_times: int = 3,
    n_antennas: int = 3,
    integration_s: float = INTEGRATION_S,
    polarizations: Sequence[int] = (-5, -6),
    chunks: tuple[int, ...] | bool | None = None,
    seed: int = 0,
) -> Path:
    """Write one subband file whose first integration starts at `start_mjd` (UTC)."""
    ant1, ant2 = np.triu_indices(n_antennas)
    n_bl = ant1.size
    middles = start_mjd + 2400000.5 + (np.arange(n_times) + 0.5) * integration_s / 86400.0
    freq_hz = freq_low_hz + channel_hz * np.arange(n_channels)
    freq_hz = freq_hz[::-1] if descending else freq_hz
    vis = visibilities(n_times, n_bl, n_channels, len(polarizations), seed)
    shape = (n_times * n_bl, *((1,) if spw_axis else ()), n_channels, len(polarizations))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        header = {
            "Nants_data": n_antennas,
            "Nants_telescope": n_antennas,
            "Nbls": n_bl,
            "Nblts": n_times * n_bl,
            "Nfreqs": n_channels,
            "Npols": len(polarizations),
            "Nspws": 1,
            "Ntimes": n_times,
            "altitude": 1188.0519,
            "ant_1_array": np.tile(ant1, n_times),
            "ant_2_array": np.tile(ant2, n_times),
            "antenna_diameters": np.full(n_antennas, 4.65),
            "antenna_names": np.array([str(n + 1) for n in range(n_antennas)], dtype="S"),
            "antenna_numbers": np.arange(n_antennas),
            "antenna_positions": np.arange(3.0 * n_antennas).reshape(n_antennas, 3),
            "channel_width": channel_hz,
            "freq_array": freq_hz[np.newaxis] if spw_axis else freq_hz,
            "history": np.bytes_("test"),
            "instrument": np.bytes_("DSA"),
            "integration_time": np.full(n_times * n_bl, integration_s),
            "latitude": 37.2334,
            "longitude": -118.2834,
            "object_name": np.bytes_("search"),
            "phase_center_app_dec": np.radians(dec_deg),
            "phase_type": np.bytes_("drift"),
            "polarization_array": np.asarray(polarizations),
            "spw_array": np.array([1]),
            "telescope_name": np.bytes_("OVRO_MMA"),
            "time_array": np.repeat(middles, n_bl),
            "uvw_array": np.zeros((n_times * n_bl, 3), dtype=np.float32),
            "extra_keywords/ha_phase_center": 0.0,
            "extra_keywords/phase_center_dec": np.radians(dec_deg),
        }
        for name, value in header.items():
            file[f"Header/{name}"] = value
        data = file.create_group("Data")
        data.create_dataset("visdata", data=vis.reshape(shape), chunks=chunks)
        data.create_dataset("flags", data=np.zeros(shape, dtype=bool), chunks=chunks)
        data.create_dataset("nsamples", data=np.ones(shape, dtype=np.float32), chunks=chunks)
    return path


def write_tile(
    folder: Path,
    start_mjd: float,
    *,
    n_subbands: int = 16,
    labels: Sequence[int] | None = None,
    late_s: Sequence[float] | float = 0.0,
    n_channels: int = 2,
    **how: object,
) -> list[Path]:
    """Write the files of a tile, adjoining subbands, in ascending frequency; labels fall unless given."""
    labels = range(n_subbands - 1, -1, -1) if labels is None else labels
    late = [late_s] * n_subbands if isinstance(late_s, (int, float)) else late_s
    return [
        write_uvh5(
            folder / f"{stamp(start_mjd, late[place])}_sb{labels[place]:02d}.hdf5",
            start_mjd,
            freq_low_hz=LOWEST_HZ + place * n_channels * CHANNEL_HZ,
            n_channels=n_channels,
            **how,
        )
        for place in range(n_subbands)
    ]
