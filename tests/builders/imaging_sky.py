"""A calibrated tile of a known sky that drifts through the beam: truth for the imaging tests.

Visibilities are the direct sum S (nu/1.4 GHz)^a B(t, nu) exp(2 pi i nu b.(s - s0) / c), b = antenna 2 - antenna 1
in pyuvdata's sense conjugated into the Measurement Set's; directions come from astropy's HADec frame and the beam
from scipy's j1, so that only the layout of the Measurement Set is the library's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time
from scipy.special import j1

from contimg.image import bright
from contimg.image.options import ImagingOptions
from contimg.image.plan import resolve
from contimg.image.tile import image_tile
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet
from contimg.ms.sets import MsWriter
from contimg.simulate.stations import read_stations
from contimg.telescope.options import BeamOptions

C = 299792458.0
SITE = EarthLocation.from_geodetic(-2.064427799136453 * u.rad, 0.6498455107238486 * u.rad, 1188.0519 * u.m)
ANTENNAS_24 = (
    1, 6, 13, 20, 30, 38, 47, 51, 70, 76, 84, 92, 99, 102, 104, 105, 107, 109, 110, 112, 113, 114, 115, 116,
)  # fmt: skip
DIAMETER_M = 4.65


@dataclass(frozen=True)
class Truth:
    """What is in the tile."""

    positions: SkyCoord  # (nsrc,) ICRS
    flux_jy: np.ndarray  # (nsrc,) at 1.4 GHz
    alpha: np.ndarray  # (nsrc,)
    beam: np.ndarray  # (nt, nchan, nsrc) power beam
    thermal_jy: float  # noise of a naturally weighted image
    meta: MsMeta

    def flux_at(self, freq_hz: float) -> np.ndarray:
        """True flux densities at a frequency."""
        return self.flux_jy * (freq_hz / 1.4e9) ** self.alpha


def clean_alone(**changes: object) -> ImagingOptions:
    """Imaging options without a sky model: what CLEAN by itself makes of the data."""
    return ImagingOptions(**changes).model_copy(update={"sky_model": "none"})


def through_image_job(
    ms: Path, truth: Truth, out: Path, *, options: ImagingOptions, scratch: Path, log: Path, **more: object
) -> dict:
    """Image a tile with what the options choose for it; returns the metrics."""
    return image_tile(
        PrivateSet(ms),
        out,
        plan=resolve(truth.meta, options),
        beam=BeamOptions(),
        scratch=scratch,
        threads=2,
        log=log,
        **more,
    )


class FoundOnce:
    """Search and self-calibration of a tile, done for its first image and taken over by those after it.

    Neither asks which imager follows: its residuals, CLEAN and image are made by each, of what the first one found.
    """

    def __init__(self) -> None:
        self.found: dict[str, object] = {}

    @contextmanager
    def imaging(self) -> Iterator[None]:
        """Image the tile within."""
        once = self

        class Kept(bright._Subtraction):
            def calibrate(self) -> None:
                super().calibrate()
                names = ("fit", "outside", "corrections", "reweighted")
                once.found.update({name: deepcopy(getattr(self, name)) for name in names})

        class Reused(bright._Subtraction):
            def subtract_near_sidelobes(self, known: object) -> None:
                pass

            def find(self, known: object) -> None:
                pass

            def subtract_outside(self, known: object) -> None:
                pass

            def calibrate(self) -> None:
                vars(self).update(deepcopy(once.found))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bright, "_Subtraction", Reused if once.found else Kept)
            yield


def bright_field(count: int = 12, seed: int = 3) -> list[tuple[float, float, float, float]]:
    """An 8.8 Jy source 0.2 deg off axis, and others of 0.3-1.7 Jy within 1 deg: (east, north, Jy, index)."""
    rng = np.random.default_rng(seed)
    sources = [(0.14, 0.14, 8.8, -0.5)]
    while len(sources) <= count:
        east, north = rng.uniform(-1, 1, 2)
        apart = min(np.hypot(east - s[0], north - s[1]) for s in sources)
        if np.hypot(east, north) < 1 and apart > 0.1:
            flux = float(np.exp(rng.uniform(np.log(0.3), np.log(1.7))))
            sources.append((float(east), float(north), flux, float(rng.normal(-0.7, 0.2))))
    return sources


def antenna_positions_m(names: tuple[int, ...]) -> np.ndarray:
    """Antennas of the station table, relative to the reference point, ECEF axes."""
    table = read_stations()
    rows = [table.names.index(str(name)) for name in names]
    return table.positions_m[rows]


def _vectors(coordinates: SkyCoord, time: Time) -> np.ndarray:
    """Unit vectors (n, 3) toward apparent places; x on the meridian at the equator, y to the east, z north."""
    place = coordinates.transform_to(HADec(obstime=time, location=SITE))
    ha, dec = np.atleast_1d(place.ha.rad), np.atleast_1d(place.dec.rad)
    return np.stack([np.cos(dec) * np.cos(ha), -np.cos(dec) * np.sin(ha), np.sin(dec)], axis=-1)


def make_tile(
    path: Path,
    sources: Sequence[tuple[float, ...]],
    *,
    dec_deg: float,
    antennas: tuple[int, ...] = ANTENNAS_24,
    n_times: int = 12,
    n_channels: int = 192,
    start: str = "2025-10-30T13:00:00",
    sefd_jy: float = 6500.0,
    seed: int = 1,
) -> Truth:
    """Write a calibrated Measurement Set of 309 s and the whole band, all gains 1.

    Sources are (east, north, Jy, index) or, for circular Gaussians, (east, north, Jy, index, FWHM in arcsec).
    """
    rng = np.random.default_rng(seed)
    seconds = 309.24 / n_times
    width = 187.5e6 / n_channels
    freq = 1311.25e6 + (np.arange(n_channels) + 0.5) * width
    begin = Time(start, scale="utc")
    times = begin + (np.arange(n_times) + 0.5) * seconds * u.s
    middle = begin + 0.5 * n_times * seconds * u.s
    overhead = SkyCoord(HADec(ha=0 * u.rad, dec=dec_deg * u.deg, obstime=middle, location=SITE)).icrs
    centre = SkyCoord(overhead.ra, overhead.dec)
    north = SkyCoord(centre.ra, centre.dec + 0.5 * u.arcmin)
    columns = np.array([(*source, 0.0)[:5] for source in sources], dtype=float).reshape(-1, 5)
    east_deg, north_deg, flux, alpha, fwhm_arcsec = columns.T
    sigma_rad = np.radians(fwhm_arcsec / 3600) / np.sqrt(8 * np.log(2))
    offsets = SkyCoord(east_deg * u.deg, north_deg * u.deg, frame=centre.skyoffset_frame()).icrs
    positions = SkyCoord(offsets.ra, offsets.dec)
    ecef = antenna_positions_m(antennas)
    lon = SITE.lon.rad
    local = ecef @ np.array([[np.cos(lon), -np.sin(lon), 0], [np.sin(lon), np.cos(lon), 0], [0, 0, 1]])
    ant1, ant2 = np.triu_indices(len(antennas))
    baselines = local[ant2] - local[ant1]
    meta = MsMeta(
        tile=start,
        times_jd=times.jd,
        integration_s=np.full(n_times, seconds),
        antenna_names=[str(n) for n in antennas],
        antenna_positions_m=ecef,
        diameters_m=np.full(len(antennas), DIAMETER_M),
        ant1=ant1,
        ant2=ant2,
        freq_hz=freq,
        channel_width_hz=width,
        correlations=(9, 12),
        phase_ra_rad=centre.ra.rad,
        phase_dec_rad=centre.dec.rad,
        field_name="tile",
        pointing_dec_rad=np.radians(dec_deg),
        longitude_deg=SITE.lon.deg,
        latitude_deg=SITE.lat.deg,
        height_m=SITE.height.value,
        telescope_name="OVRO_MMA",
    )
    sigma = sefd_jy / np.sqrt(2 * width * seconds)  # of the real and of the imaginary part
    spectrum = flux * (freq[:, None] / 1.4e9) ** alpha
    pointing = np.array([np.cos(np.radians(dec_deg)), 0.0, np.sin(np.radians(dec_deg))])
    beam = np.zeros((n_times, n_channels, len(flux)))
    flag = np.zeros((len(ant1), n_channels, 2), bool)
    flag[ant1 == ant2] = True
    weight = np.full((len(ant1), 2), 1 / sigma**2, np.float32)
    cube = np.full((len(ant1), n_channels, 2), 1 / sigma**2, np.float32)
    with MsWriter(path, meta, weight_spectrum=True) as writer:
        for k in range(n_times):
            toward = _vectors(centre, times[k])[0]
            v_axis = _vectors(north, times[k])[0] - toward
            v_axis -= toward * (v_axis @ toward)
            v_axis /= np.linalg.norm(v_axis)
            axes = np.stack([np.cross(v_axis, toward), v_axis, toward])
            signal = np.zeros((len(ant1), n_channels), complex)
            for j, direction in enumerate(_vectors(positions, times[k]) if len(flux) else ()):
                sine = np.linalg.norm(np.cross(direction, pointing))
                x = np.maximum(np.pi * DIAMETER_M * freq * sine / C, 1e-9)
                beam[k, :, j] = (2 * j1(x) / x) ** 2
                delay = baselines @ (direction - toward) / C
                along = baselines @ direction
                across = np.sqrt(np.maximum((baselines**2).sum(axis=1) - along**2, 0.0)) / C
                size = np.exp(-2 * (np.pi * sigma_rad[j] * np.outer(across, freq)) ** 2)
                signal += spectrum[:, j] * beam[k, :, j] * size * np.exp(-2j * np.pi * np.outer(delay, freq))
            noise = rng.normal(0, sigma, (2, *signal.shape, 2))
            data = (signal[..., None] + noise[0] + 1j * noise[1]).astype(np.complex64)
            writer.write_time(k, -baselines @ axes.T, data, flag, weight, cube)
    count = np.count_nonzero(ant1 != ant2) * n_times * n_channels * 2
    return Truth(positions, flux, alpha, beam, sigma / np.sqrt(count), meta)
