"""Raw files that are not as the telescope is said to write them: simulated ones, altered in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np

C = 299792458.0


def alter(files: Iterable[Path], change: Callable[[np.ndarray, h5py.Group], np.ndarray]) -> None:
    """Replace visdata (nblts, 1, nchan, npol) by what `change` makes of it and of the header."""
    for path in files:
        with h5py.File(path, "r+") as file:
            data = file["Data/visdata"]
            data[...] = change(data[...], file["Header"])


def conjugate(files: Iterable[Path]) -> None:
    alter(files, lambda vis, _: np.conj(vis))


def swap_hands(files: Iterable[Path]) -> None:
    alter(files, lambda vis, _: vis[..., ::-1])


def turn(files: Iterable[Path], paths_m: Callable[[h5py.Group], np.ndarray]) -> None:
    """Multiply by exp(+2πi ν path / c), the path (nblts,) made of the header."""

    def change(vis: np.ndarray, header: h5py.Group) -> np.ndarray:
        cycles = paths_m(header)[:, None] * np.ravel(header["freq_array"][()]) / C
        return vis * np.exp(2j * np.pi * cycles)[:, None, :, None]

    alter(files, change)


def reverse_frequencies(files: Iterable[Path]) -> None:
    """The header's channels run the other way inside each file; the data stay."""
    for path in files:
        with h5py.File(path, "r+") as file:
            file["Header/freq_array"][...] = file["Header/freq_array"][()][:, ::-1]


def shift_times(files: Iterable[Path], late_s: float) -> None:
    """Stamps are so late; the data stay."""
    for path in files:
        with h5py.File(path, "r+") as file:
            file["Header/time_array"][...] += late_s / 86400.0


def shift_antennas(files: Iterable[Path], step: int) -> None:
    """The table gives each antenna the place of the one `step` before it."""
    for path in files:
        with h5py.File(path, "r+") as file:
            table = file["Header/antenna_positions"]
            table[...] = np.roll(table[...], step, axis=0)


def stopped_w(header: h5py.Group, hour_angle_rad: float = 0.0, *, rate_rad_s: float = 0.0) -> np.ndarray:
    """w (nblts,) m of each row toward the pointing declination at an hour angle, which may grow from mid-time on.

    Thompson, Moran & Swenson, 3rd ed., eq. 4.1, with the antennas' places in Earth-fixed axes.
    """
    dec = float(header["phase_center_app_dec"][()])
    seconds = 86400.0 * (header["time_array"][()] - header["time_array"][()].mean())
    west = hour_angle_rad + rate_rad_s * seconds - np.radians(float(header["longitude"][()]))
    toward = np.stack(
        [np.cos(dec) * np.cos(west), -np.cos(dec) * np.sin(west), np.full(west.size, np.sin(dec))]
    )
    places = header["antenna_positions"][()]
    baselines = places[header["ant_2_array"][()]] - places[header["ant_1_array"][()]]
    return np.sum(baselines * toward.T, axis=1)
