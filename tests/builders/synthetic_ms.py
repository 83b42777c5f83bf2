"""Small Measurement Sets whose every visibility follows from stated gains and sources: truth for the tests.

The data are made by loops over stated formulas, apart from the library's own arithmetic; only geometry and
the layout of the set are the library's, and these have tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from contimg.ms.meta import MsMeta
from contimg.ms.sets import MsWriter
from contimg.sky.calibrators import Calibrator
from contimg.telescope import geometry
from contimg.telescope.beam import airy_power
from contimg.telescope.geometry import pointing_separation

C = 299792458.0
LONGITUDE_DEG, LATITUDE_DEG, HEIGHT_M = -118.2827, 37.2339, 1188.05
LOCATION = geometry.location(LONGITUDE_DEG, LATITUDE_DEG, HEIGHT_M)
START_JD = 2460978.0417
POINTING_DEC = np.radians(55.0)


@dataclass
class Sky:
    """A calibrator at its transit in mid-tile, and what else is there (dRA cos dec, ddec in deg, Jy)."""

    flux_jy: float = 8.0
    spectral_index: float = -0.5
    dec_offset_deg: float = 0.2
    others: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass
class Truth:
    """What a synthetic set was made of."""

    path: Path
    meta: MsMeta
    calibrator: Calibrator
    others: list[Calibrator]
    delay_ns: np.ndarray  # (nant, 2)
    gain: np.ndarray  # (nant, nchan, 2), without delay and drift
    drift_rad: np.ndarray  # (nt, nant)
    sigma: float


def antenna_positions(n_ant: int, rng: np.random.Generator) -> np.ndarray:
    """Antennas scattered over 1.2 km of the Earth's surface, ECEF axes relative to the reference point, m."""
    east, north = rng.uniform(-600, 600, (2, n_ant))
    up = rng.normal(0, 2, n_ant)
    lon, lat = np.radians(LONGITUDE_DEG), np.radians(LATITUDE_DEG)
    e = np.array([-np.sin(lon), np.cos(lon), 0])
    n = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    u = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return np.outer(east, e) + np.outer(north, n) + np.outer(up, u)


def make_calibrator_ms(
    path: Path,
    *,
    n_ant: int = 10,
    n_times: int = 12,
    n_chan: int = 32,
    sky: Sky | None = None,
    sigma: float = 0.1,
    drift_deg: float = 4.0,
    names: list[str] | None = None,
    dead: tuple[int, ...] = (),
    correlations: tuple[int, ...] = (9, 12),
    phase_to_meridian: bool = False,
    seed: int = 1,
) -> Truth:
    """Write a transit as `convert` leaves it: phased to the calibrator, flagged where an antenna is dead.

    V(1, 2) = g1 g2* Σ S P exp(-2πi ν/c (Δw2 - Δw1)) + noise of `sigma` Jy in each of the real and imaginary
    part.
    """
    rng = np.random.default_rng(seed)
    sky = sky or Sky()
    names = names or [str(k + 1) for k in range(n_ant)]
    times = START_JD + (np.arange(n_times) + 0.5) * 12.884902 / 86400
    freq = 1.36e9 + np.arange(n_chan) * 1.953125e6
    ra0, dec0 = (float(np.ravel(x)[0]) for x in geometry.meridian_icrs(times.mean(), POINTING_DEC, LOCATION))
    dec_cal = dec0 + np.radians(sky.dec_offset_deg)
    calibrator = Calibrator(
        "CAL", np.degrees(ra0), np.degrees(dec_cal), sky.flux_jy, sky.spectral_index, "test"
    )
    others = [
        Calibrator(
            f"N{k}", np.degrees(ra0) + dx / np.cos(dec_cal), np.degrees(dec_cal) + dy, jy, -0.7, "test"
        )
        for k, (dx, dy, jy) in enumerate(sky.others)
    ]
    ant1, ant2 = np.triu_indices(n_ant)
    meta = MsMeta(
        tile="2025-10-30T13:00:00",
        times_jd=times,
        integration_s=np.full(n_times, 12.884902),
        antenna_names=names,
        antenna_positions_m=antenna_positions(n_ant, rng),
        diameters_m=np.full(n_ant, 4.65),
        ant1=ant1,
        ant2=ant2,
        freq_hz=freq,
        channel_width_hz=1.953125e6,
        correlations=correlations,
        phase_ra_rad=ra0,
        phase_dec_rad=dec0 if phase_to_meridian else dec_cal,
        field_name="CAL",
        pointing_dec_rad=float(POINTING_DEC),
        longitude_deg=LONGITUDE_DEG,
        latitude_deg=LATITUDE_DEG,
        height_m=HEIGHT_M,
        telescope_name="OVRO_MMA",
    )
    delay_ns = rng.uniform(-20, 20, (n_ant, 2))
    slope = np.linspace(-1, 1, n_chan)[:, None]
    gain = (
        rng.uniform(0.6, 1.6, (n_ant, 1, 2))
        * (
            1
            + 0.1 * rng.normal(size=(n_ant, 1, 2)) * slope
            + 0.05 * rng.normal(size=(n_ant, 1, 2)) * slope**2
        )
        * np.exp(
            1j * (rng.uniform(-np.pi, np.pi, (n_ant, 1, 2)) + 0.3 * rng.normal(size=(n_ant, 1, 2)) * slope**2)
        )
    )
    drift = np.radians(drift_deg) * np.outer(np.linspace(-1, 1, n_times), rng.normal(size=n_ant))
    truth = Truth(path, meta, calibrator, others, delay_ns, gain, drift, sigma)
    _write(truth, dead, rng)
    return truth


def full_gain(truth: Truth, i: int) -> np.ndarray:
    """Gain of each antenna, channel and polarisation at integration `i`, with delay and drift; (nant, nchan, 2)."""
    cycles = truth.delay_ns[:, None, :] * 1e-9 * (truth.meta.freq_hz - truth.meta.freq_hz[0])[None, :, None]
    return truth.gain * np.exp(2j * np.pi * cycles) * np.exp(1j * truth.drift_rad[i])[:, None, None]


def _write(truth: Truth, dead: tuple[int, ...], rng: np.random.Generator) -> None:
    meta = truth.meta
    sources = [truth.calibrator, *truth.others]
    ra, dec = (np.radians([getattr(s, key) for s in sources]) for key in ("ra_deg", "dec_deg"))
    ha, dec_app = geometry.hour_angle_dec(ra, dec, meta.times_jd, LOCATION)
    separation = pointing_separation(ha, dec_app, meta.pointing_dec_rad)
    positions = meta.antenna_positions_m
    centre = geometry.antenna_uvw(positions, meta.phase_ra_rad, meta.phase_dec_rad, meta.times_jd, LOCATION)
    toward = [
        geometry.antenna_uvw(positions, a, d, meta.times_jd, LOCATION)[..., 2]
        for a, d in zip(ra, dec, strict=True)
    ]
    pols = {9: (0, 0), 10: (0, 1), 11: (1, 0), 12: (1, 1), 5: (0, 0), 8: (1, 1)}
    a, b = meta.ant1, meta.ant2
    bad_rows = (a == b) | np.isin(a, dead) | np.isin(b, dead)
    weight = np.full((meta.n_baselines, len(meta.correlations)), 1 / truth.sigma**2, np.float32)
    with MsWriter(truth.path, meta) as writer:
        for i in range(meta.n_times):
            coherency = np.zeros((meta.n_baselines, len(meta.freq_hz)), complex)
            for s, source in enumerate(sources):
                apparent = source.flux_at(meta.freq_hz) * airy_power(separation[s, i], meta.freq_hz, 4.65)
                delta = toward[s][i] - centre[i, :, 2]
                phase = -2 * np.pi * np.outer(delta[b] - delta[a], meta.freq_hz) / C
                coherency += apparent * np.exp(1j * phase)
            gain = full_gain(truth, i)
            data = np.empty((meta.n_baselines, len(meta.freq_hz), len(meta.correlations)), np.complex64)
            for k, correlation in enumerate(meta.correlations):
                p, q = pols[correlation]
                signal = coherency if p == q else 0 * coherency
                noise = rng.normal(0, truth.sigma, (2, *coherency.shape))
                data[..., k] = gain[a, :, p] * gain[b, :, q].conj() * signal + noise[0] + 1j * noise[1]
            flag = np.zeros(data.shape, bool)
            flag[bad_rows] = True
            uvw = centre[i, a] - centre[i, b]
            writer.write_time(i, uvw, data, flag, weight)
