"""A piece of a tile: one subband's visibilities, cross and auto apart, and where the array and the source were.

Signs: x_a is what an antenna makes of a source, and a visibility of (antenna 1, antenna 2) is x_2 conj(x_1), so that
x_a turns by exp(+2πi ν p_a·s / c) for an antenna at p toward s: pyuvdata's convention (`contimg.telescope.geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.index.tile import Tile
from contimg.index.uvh5 import Layout, open_data, read_layout
from contimg.telescope.geometry import antenna_uvw, antenna_w_meridian, location

HANDS = (-5, -6)
"""AIPS codes of XX and YY."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sky:
    """Where a tile's source is and where its data are thought to be stopped, along the array's axes.

    Attributes
    ----------
    source : ndarray, (nt, 3)
        Unit vector east, north, up toward the source at each integration.
    rate : ndarray, (nt, 3)
        Its change in a second of time.
    stop : ndarray, (3,)
        Toward (hour angle 0, pointing declination).
    """

    source: Array
    rate: Array
    stop: Array


@dataclass(frozen=True)
class Piece:
    """One subband of one tile.

    Attributes
    ----------
    vis : ndarray of complex64, (nt, nbl, nchan, 2)
        Cross-correlations of XX and YY, flagged ones zero; channels ascending in the stated frequency.
    autos : ndarray, (nt, nant, nchan, 2)
        Autocorrelations, real; zero where an antenna has none.
    ant1, ant2 : ndarray of int, (nbl,)
        Places in `names`.
    names : list of str
    enu_m : ndarray, (nant, 3)
        Antenna positions east, north, up of the reference point.
    beside_m : ndarray, (2, nant, 3)
        Those of the antenna before and of the one behind in the file's table.
    freq_hz : ndarray, (nchan,)
    """

    vis: NDArray[np.complex64]
    autos: Array
    ant1: NDArray[np.int64]
    ant2: NDArray[np.int64]
    names: list[str]
    enu_m: Array
    beside_m: Array
    times_jd: Array
    freq_hz: Array
    channel_hz: float
    integration_s: float
    dec_rad: float
    site: tuple[float, float, float]

    @property
    def baselines_m(self) -> Array:
        """Antenna 2 less antenna 1, (nbl, 3) along east, north, up."""
        return np.asarray(self.enu_m[self.ant2] - self.enu_m[self.ant1])


def axes(longitude_deg: float, latitude_deg: float) -> Array:
    """Unit vectors east, north, up in Earth-fixed axes, (3, 3)."""
    lon, lat = np.radians(longitude_deg), np.radians(latitude_deg)
    return np.array(
        [
            [-np.sin(lon), np.cos(lon), 0.0],
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
        ]
    )


def sky_of(piece: Piece, ra_deg: float, dec_deg: float) -> Sky:
    """Directions toward a source (ICRS, deg) over a piece's integrations."""
    loc = location(*piece.site)
    unit = axes(*piece.site[:2])
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)

    def toward(times_jd: Array) -> Array:
        return antenna_uvw(unit, float(ra), float(dec), times_jd, loc)[:, :, 2]

    step_s = 1.0
    later, sooner = (toward(piece.times_jd + sign * step_s / SECONDS_PER_DAY) for sign in (1, -1))
    return Sky(
        toward(piece.times_jd), (later - sooner) / (2 * step_s), antenna_w_meridian(unit, piece.dec_rad, loc)
    )


def spread(tile: Tile, count: int) -> list[str]:
    """Paths of so many subbands of a tile, spread over the band with both ends."""
    files = tile.files
    places = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[place] for place in places]


def read_piece(path: str, *, times: slice = slice(None)) -> Piece:
    """Read one subband file.

    Parameters
    ----------
    path
        The raw file.
    times
        Integrations, a slice of step 1.

    Raises
    ------
    InputError
        The file cannot be read, or has no XX and YY.
    """
    layout = read_layout(path)
    if not set(HANDS) <= set(layout.polarizations):
        raise InputError(
            f"{path}: polarisations {layout.polarizations} lack XX or YY (-5, -6); nothing to look at"
        )
    first, last, _ = times.indices(layout.times_jd.size)
    with open_data(path) as data:
        vis, flags, _ = data.read_times(first, last)
    hands = [layout.polarizations.index(code) for code in HANDS]
    order = np.argsort(layout.freq_hz)
    vis = np.where(flags, 0, vis)[..., hands][:, :, order]
    return _apart(layout, vis, slice(first, last), order)


def _apart(layout: Layout, vis: NDArray[np.complex64], times: slice, order: NDArray[np.int64]) -> Piece:
    """Autos and crosses, antennas counted by their place among those with data."""
    used = np.union1d(layout.ant1, layout.ant2)
    place = {int(number): k for k, number in enumerate(used)}
    rows = {int(number): k for k, number in enumerate(layout.antenna_numbers)}
    ant1, ant2 = (np.array([place[int(a)] for a in side]) for side in (layout.ant1, layout.ant2))
    auto, cross = ant1 == ant2, ant1 != ant2
    autos = np.zeros((vis.shape[0], used.size, *vis.shape[2:]))
    autos[:, ant1[auto]] = vis[:, auto].real
    site = (layout.longitude_deg, layout.latitude_deg, layout.height_m)
    table = np.array([rows[int(number)] for number in used])
    everyone = layout.antenna_positions_m @ axes(*site[:2]).T
    last = len(everyone) - 1
    return Piece(
        vis=vis[:, cross],
        autos=autos,
        ant1=ant1[cross],
        ant2=ant2[cross],
        names=[layout.antenna_names[row] for row in table],
        enu_m=everyone[table],
        beside_m=everyone[np.stack([np.maximum(table - 1, 0), np.minimum(table + 1, last)])],
        times_jd=layout.times_jd[times],
        freq_hz=layout.freq_hz[order],
        channel_hz=layout.channel_width_hz,
        integration_s=float(layout.integration_s[0]),
        dec_rad=layout.dec_rad,
        site=site,
    )
