"""Photometry of a strip of sky over many nights, with the errors that real nights share.

A flux as a mosaic gives it is

    S_true(source, night) × gain(mosaic, place) × offset(source, pointing) × (1 + residual) + noise,

    gain = 1 + scale of the mosaic + scale of the calibrator + season(solar time of the place) + slopes over the field.

Every night has its own stream of random numbers, so that a longer simulation begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from contimg.simulate.lightcurve_options import LightcurveOptions

Floats = npt.NDArray[np.float64]

SIDEREAL_DAY = 0.9972695663290843
LONGITUDE_DEG = -118.2830
FREQ_HZ = 1.405e9
BEAM_FWHM_DEG = 2.7
SLOPE_ERROR_SNR = 26.0
"""Error of the spectral index within the band, times the signal to noise of the flux."""
_CALIBRATORS = ("3C48", "3C147", "3C286", "3C295")
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_SKY, _NIGHT, _RED, _GAPS, _POINTINGS, _SCALES = range(6)  # streams of random numbers


@dataclass(frozen=True)
class Mosaic:
    """One window of one night: when, where, and what is wrong with its flux scale.

    Attributes
    ----------
    date, name : str
        UTC date and window, as in the path of a photometry table.
    day : int
        Sidereal days since the first night.
    mjd : float
        Its middle, MJD UTC.
    centre_ra_deg, half_width_deg : float
        Right ascension of its middle, and how far its sources lie from it.
    pointing, calibrator : int
        Which of the pointings and calibrators.
    scale : float
        Error of its flux scale in the middle, the calibrator's included.
    slope_ra, slope_dec : float
        Its change from the middle to the edge.
    """

    date: str
    name: str
    day: int
    mjd: float
    centre_ra_deg: float
    half_width_deg: float
    pointing: int
    calibrator: int
    scale: float
    slope_ra: float
    slope_dec: float


def iau_name(ra_deg: float, dec_deg: float) -> str:
    """IAU name of a place, ICRS, truncated: J083454.9+553421."""
    tenths = int(ra_deg % 360.0 / 15.0 * 36000.0 + 1e-6)
    seconds = int(abs(dec_deg) * 3600.0 + 1e-6)
    hours, minutes = divmod(tenths // 600, 60)
    sign = "-" if dec_deg < 0 else "+"
    degrees, rest = divmod(seconds, 3600)
    return (
        f"J{hours:02d}{minutes:02d}{tenths % 600 // 10:02d}.{tenths % 10}"
        f"{sign}{degrees:02d}{rest // 60:02d}{rest % 60:02d}"
    )


def era_deg(mjd: float | Floats) -> Any:
    """Earth rotation angle in degrees, not wrapped (IAU 2000; UT1 taken as UTC)."""
    return 360.0 * (0.7790572732640 + 1.00273781191135448 * (np.asarray(mjd) - 51544.5))


@dataclass(frozen=True)
class Simulation:
    """A strip, its sources and its nights.

    Attributes
    ----------
    options : LightcurveOptions
        What to simulate.
    factor : array (n_sources, days), optional
        What the sources' fluxes are multiplied with on each night, beside their red noise: events to be found.
        Sources are in the order of `sources`.
    slope : array (n_sources, days), optional
        What is added to their spectral index within the band on each night.
    """

    options: LightcurveOptions
    factor: npt.NDArray[np.floating] | None = None
    slope: npt.NDArray[np.floating] | None = None

    @cached_property
    def sources(self) -> pd.DataFrame:
        """The sources in order of name: source_id, ra_deg, dec_deg, flux_jy, slope, red (bool), neighbour_arcsec."""
        opt, rng = self.options, self._rng(_SKY)
        n = opt.n_sources
        ra = rng.uniform(opt.ra_min_deg, opt.ra_max_deg, n) % 360.0
        dec = opt.dec_deg + opt.half_height_deg * rng.uniform(-1.0, 1.0, n)
        # fluxes by inverting the cumulative number N(> S) ~ S ** (1 - slope)
        power = 1.0 - opt.flux_slope
        low, high = opt.flux_min_jy**power, opt.flux_max_jy**power
        flux = (low + rng.uniform(0.0, 1.0, n) * (high - low)) ** (1.0 / power)
        table = pd.DataFrame(
            {
                "source_id": [iau_name(*place) for place in zip(ra, dec, strict=True)],
                "ra_deg": ra,
                "dec_deg": dec,
                "flux_jy": flux,
                "slope": opt.slope_mean + opt.slope_rms * rng.standard_normal(n),
                "red": rng.uniform(0.0, 1.0, n) < opt.red_fraction,
            }
        )
        table = table.sort_values("source_id", ignore_index=True)
        twice = table["source_id"].duplicated()
        if twice.any():  # two within 0.1 s: the second moves on by its own length of name
            table.loc[twice, "source_id"] += "b"
        return table

    @cached_property
    def red_noise(self) -> npt.NDArray[np.float32]:
        """Factors of the sources that vary, shape (n_sources, days): exp of a damped random walk."""
        opt, rng = self.options, self._rng(_RED)
        red = self.sources["red"].to_numpy()
        walk = np.zeros((opt.n_sources, opt.days), dtype=np.float32)
        keep = np.exp(-SIDEREAL_DAY / opt.red_days)
        state = rng.standard_normal(int(red.sum()))
        for day in range(opt.days):
            walk[red, day] = state
            state = keep * state + np.sqrt(1.0 - keep**2) * rng.standard_normal(len(state))
        return np.exp(opt.red_rms * walk - 0.5 * opt.red_rms**2 * red[:, None]).astype(np.float32)

    @cached_property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Which nights there are, shape (days,)."""
        opt, rng = self.options, self._rng(_GAPS)
        begin = opt.gap_fraction / max(1.0 - opt.gap_fraction, 1e-9) / max(opt.gap_days, 1.0)
        there, gap = np.ones(opt.days, dtype=bool), False
        for day, (start, stop) in enumerate(rng.uniform(0.0, 1.0, (opt.days, 2))):
            gap = stop > 1.0 / max(opt.gap_days, 1.0) if gap else start < begin
            there[day] = not gap
        there[0] = True
        return there

    def mosaics(self) -> Iterator[Mosaic]:
        """Every mosaic that is not lost, in order of time."""
        opt = self.options
        first = (datetime.fromisoformat(opt.start).replace(tzinfo=UTC) - _MJD_EPOCH) / timedelta(days=1)
        half_deg = opt.width_minutes / 4.0 / 2.0
        step_deg = opt.stride_minutes / 4.0
        ras = (
            np.arange(np.ceil(opt.ra_min_deg / step_deg), np.floor(opt.ra_max_deg / step_deg) + 1) * step_deg
        )
        if len(ras) * step_deg >= 360.0:
            ras = ras[:-1]
        names = [
            f"{round(ra * 4) % 1440 // 60:02d}{round(ra * 4) % 1440 % 60:02d}{opt.dec_deg:+03.0f}"
            for ra in ras
        ]
        transit = first + (ras - LONGITUDE_DEG - era_deg(first)) % 360.0 / 360.0 * SIDEREAL_DAY
        scales = opt.calibrator_rms * self._rng(_SCALES).standard_normal(len(_CALIBRATORS))
        for day in np.flatnonzero(self.observed):
            random = self._rng(_NIGHT, int(day)).standard_normal((len(ras), 4))
            lost = self._rng(_NIGHT, int(day), 1).uniform(0.0, 1.0, len(ras)) < opt.lost_fraction
            calibrator = int(day) // opt.calibrator_days % len(_CALIBRATORS) if opt.calibrator_days else 0
            pointing = int(day) // opt.pointing_days if opt.pointing_days else 0
            for k in np.flatnonzero(~lost):
                mjd = float(transit[k] + day * SIDEREAL_DAY)
                yield Mosaic(
                    date=_date(mjd),
                    name=names[k],
                    day=int(day),
                    mjd=mjd,
                    centre_ra_deg=float(ras[k]),
                    half_width_deg=half_deg,
                    pointing=pointing,
                    calibrator=calibrator,
                    scale=float(opt.gain_rms * random[k, 0] + scales[calibrator]),
                    slope_ra=float(opt.field_rms * random[k, 1]),
                    slope_dec=float(opt.field_rms * random[k, 2]),
                )

    def in_mosaic(self, mosaic: Mosaic) -> npt.NDArray[np.intp]:
        """Rows of `sources` that a mosaic covers."""
        off = (self.sources["ra_deg"].to_numpy() - mosaic.centre_ra_deg + 180.0) % 360.0 - 180.0
        return np.flatnonzero(np.abs(off) <= mosaic.half_width_deg)

    def gain(self, mosaic: Mosaic, rows: npt.NDArray[np.intp]) -> Floats:
        """Flux scale of a mosaic at the places of some sources, shape (n,)."""
        opt = self.options
        ra, dec = (self.sources[name].to_numpy()[rows] for name in ("ra_deg", "dec_deg"))
        x = ((ra - mosaic.centre_ra_deg + 180.0) % 360.0 - 180.0) / mosaic.half_width_deg
        y = (dec - opt.dec_deg) / opt.half_height_deg
        sun_deg = 280.46 + 0.9856474 * (mosaic.mjd - 51544.5)
        hour = np.deg2rad(ra - sun_deg)
        season = opt.season_rms * (np.sin(hour + 0.6) + 0.5 * np.tanh(4.0 * np.cos(hour)))
        gain: Floats = (1.0 + mosaic.scale + season) * (1.0 + mosaic.slope_ra * x + mosaic.slope_dec * y)
        return gain

    def pointing_dec_deg(self, pointing: int) -> float:
        """Declination of a pointing: there and back again."""
        return self.options.dec_deg + self.options.pointing_step_deg * (pointing % 2)

    def offsets(self, pointing: int) -> Floats:
        """Factor of each source's flux in a pointing, shape (n_sources,)."""
        opt = self.options
        random = self._rng(_POINTINGS, pointing % 2).standard_normal(opt.n_sources)
        return 1.0 + opt.pointing_rms * random if opt.pointing_days else np.ones(opt.n_sources)

    def intrinsic(self, mosaic: Mosaic, rows: npt.NDArray[np.intp]) -> Floats:
        """True fluxes of some sources on the night of a mosaic, Jy."""
        flux: Floats = self.sources["flux_jy"].to_numpy()[rows] * self.red_noise[rows, mosaic.day]
        return flux if self.factor is None else flux * self.factor[rows, mosaic.day]

    def measure(self, mosaic: Mosaic) -> pd.DataFrame:
        """Photometry of a mosaic: the numbers of a photometry table, without those that are the same for all rows."""
        opt = self.options
        rows = self.in_mosaic(mosaic)
        part = self.sources.iloc[rows]
        window = round(mosaic.centre_ra_deg * 4)
        rng = self._rng(_NIGHT, mosaic.day, 2, window)
        distance = np.abs(part["dec_deg"].to_numpy() - self.pointing_dec_deg(mosaic.pointing))
        pb = np.exp(-4.0 * np.log(2.0) * (distance / BEAM_FWHM_DEG) ** 2)
        noise = opt.rms_jy / pb * (1.0 + 0.1 * rng.uniform(-1.0, 1.0))
        true = self.intrinsic(mosaic, rows)
        share = np.hypot(opt.residual_rms, opt.edge_rms * (2.0 * distance / BEAM_FWHM_DEG) ** 2)
        random = rng.standard_normal((5, len(rows)))
        scaled = (
            true * self.gain(mosaic, rows) * self.offsets(mosaic.pointing)[rows] * (1.0 + share * random[0])
        )
        flux = scaled + noise * random[1]
        wrong = rng.uniform(0.0, 1.0, len(rows)) < opt.outlier_fraction
        flux += wrong * opt.outlier_sigma * random[2] * np.hypot(noise, share * true)
        slope = part["slope"].to_numpy() + (0.0 if self.slope is None else self.slope[rows, mosaic.day])
        slope_err = SLOPE_ERROR_SNR * noise / np.maximum(true, 1e-9)
        vis_noise = opt.visibility_noise * noise
        transit = (
            mosaic.mjd + (part["ra_deg"].to_numpy() - mosaic.centre_ra_deg + 180.0) % 360.0 / 360.0 - 0.5
        )
        return pd.DataFrame(
            {
                "source_id": part["source_id"].to_numpy(),
                "ra_deg": part["ra_deg"].to_numpy(),
                "dec_deg": part["dec_deg"].to_numpy(),
                "mjd": transit,
                "flux_jy": flux,
                "local_rms_jy": opt.stated_noise * noise,
                "stat_err_jy": opt.stated_noise * noise,
                "cal_err_jy": opt.stated_calibration * np.abs(flux),
                "pb": pb,
                "beam_distance_deg": distance,
                "flux_vis_jy": scaled + vis_noise * random[3],
                "flux_vis_err_jy": np.hypot(vis_noise, opt.stated_calibration * flux),
                "band_slope": slope + slope_err * random[4],
                "band_slope_err": slope_err,
                "neighbour_arcsec": self._neighbour[rows],
            }
        )

    @cached_property
    def _neighbour(self) -> Floats:
        """Distance of each source's nearest neighbour in right ascension or declination, arcsec (small angles)."""
        from scipy.spatial import cKDTree

        ra, dec = (
            np.deg2rad(self.sources["ra_deg"].to_numpy()),
            np.deg2rad(self.sources["dec_deg"].to_numpy()),
        )
        vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
        if len(vectors) < 2:
            return np.full(len(vectors), np.nan)
        chord = cKDTree(vectors).query(vectors, k=2)[0][:, 1]
        return np.rad2deg(2.0 * np.arcsin(chord / 2.0)) * 3600.0

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, *stream])


def calibrator_name(number: int) -> str:
    """Name of a calibrator by its number."""
    return _CALIBRATORS[number % len(_CALIBRATORS)]


def _date(mjd: float) -> str:
    """UTC date; the second recurrence within a date gets a `b`."""
    date = (_MJD_EPOCH + timedelta(days=mjd)).strftime("%Y-%m-%d")
    earlier = (_MJD_EPOCH + timedelta(days=mjd - SIDEREAL_DAY)).strftime("%Y-%m-%d")
    return date + "b" if date == earlier else date
