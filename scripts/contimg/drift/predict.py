"""Sources as a drifting array sees them: predicted into the rows and channels of a Measurement Set.

    V(1, 2, t, ν) = Σₛ Sₛ (ν / ν₀)^αₛ · P(θₛ(t), ν) · e(1, 2, t, ν) · g(1, 2, t, ν) · exp(2πi (τₛ₁ - τₛ₂) ν)

S (Jy) and α at ν₀; P: power beam at θ from (hour angle 0, pointing declination) at the integration's midpoint; e, g:
what a Gaussian's size (`contimg.drift.shape`) and averaging take. τₛₐ = (wₛₐ - w₀ₐ) / c (s): antenna a's w toward the
source less its w toward the phase centre, from apparent places, exact. A Measurement Set holds the conjugate of
pyuvdata's visibilities and the negative of its uvw (antenna 2 - antenna 1): hence 1 - 2, and 2πi (u l + v m + w (n -
1)) ν / c with the UVW of the set. Sources are unpolarised: the same in both parallel products, nothing in the others.

The factors of g, and what is left out: docs/drift.md, "The model". Source: Thompson, Moran & Swenson (2017), sections
6.4.1 and 6.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from contimg.core.constants import REFERENCE_HZ, SPEED_OF_LIGHT_M_S
from contimg.core.errors import InputError
from contimg.drift import kernels
from contimg.drift import shape as drift_shape
from contimg.ms.meta import MsMeta
from contimg.telescope import geometry
from contimg.telescope.beam import PowerBeam, drift_power

Array = NDArray[Any]
EARTH_ROTATION_RAD_S = 7.2921151467e-5
UNIFORM_HZ = 0.1
"""Channels this close to equidistant are done by recurrence: the phase on 10 µs of delay is off by < 6e-6 rad."""
PLACE_STEP_RAD = 1e-6
"""Half of the arc over which delays are differentiated: the curvature's error is 1e-12 of the derivative."""
BEAM_NODES = 8
"""Frequencies at which the beam is computed; a polynomial through them is exact to 1e-8 over 14 % of bandwidth."""


@dataclass(frozen=True)
class PointSources:
    """Points and Gaussians, as arrays of the same length (nsrc,).

    Attributes
    ----------
    names : list of str
    ra_rad, dec_rad : ndarray
        ICRS.
    flux_jy : ndarray
        Flux density at `freq0_hz`.
    spectral_index : ndarray
        α of S ∝ ν^α.
    widths : ndarray, (nsrc, 3)
        Of a Gaussian, rad², as `contimg.drift.shape` has them; 0 for a point.
    freq0_hz : float
        Reference frequency ν₀.
    curvature : ndarray, optional
        β of S ∝ x^(α + β log10 x), x = ν / ν₀; None: 0.
    """

    names: list[str]
    ra_rad: Array
    dec_rad: Array
    flux_jy: Array
    spectral_index: Array
    widths: Array
    freq0_hz: float = REFERENCE_HZ
    curvature: Array | None = None

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, default_index: float = -0.7) -> PointSources:
        """Read ``ra_deg, dec_deg`` and, where given, ``name, flux_jy, spectral_index`` (flux at 1.4 GHz).

        A flux that is missing is 0, a spectral index that is missing `default_index`. ``major_arcsec, minor_arcsec,
        angle_deg`` are the axes (FWHM) of a Gaussian and its position angle, 0 where they are missing.

        Raises
        ------
        InputError
            A column is missing, or a position is not finite.
        """
        missing = [column for column in ("ra_deg", "dec_deg") if column not in table]
        if missing:
            raise InputError(f"a table of sources needs the columns ra_deg and dec_deg; missing {missing}")

        def column(name: str, default: float) -> Array:
            if name not in table:
                return np.full(len(table), default)
            values = table[name].to_numpy(dtype=np.float64)
            return np.where(np.isfinite(values), values, default)

        place = table[["ra_deg", "dec_deg"]].to_numpy(dtype=np.float64)
        if not np.isfinite(place).all():
            bad = int(np.flatnonzero(~np.isfinite(place).all(axis=1))[0])
            raise InputError(f"source {bad} has no finite position; drop it from the table")
        names = table["name"].astype(str) if "name" in table else [f"S{i:03d}" for i in range(len(table))]
        return cls(
            names=list(names),
            ra_rad=np.radians(place[:, 0]),
            dec_rad=np.radians(place[:, 1]),
            flux_jy=column("flux_jy", 0.0),
            spectral_index=column("spectral_index", default_index),
            widths=drift_shape.widths_of(
                *(column(name, 0.0) for name in ("major_arcsec", "minor_arcsec", "angle_deg"))
            ),
            curvature=column("curvature", 0.0) if "curvature" in table else None,
        )

    def to_table(self) -> pd.DataFrame:
        """Columns ``name, ra_deg, dec_deg, flux_jy, spectral_index, major_arcsec, minor_arcsec, angle_deg``."""
        major, minor, angle = drift_shape.axes_of(self.widths)
        return pd.DataFrame(
            {
                "name": self.names,
                "ra_deg": np.degrees(self.ra_rad) % 360.0,
                "dec_deg": np.degrees(self.dec_rad),
                "flux_jy": self.flux_jy,
                "spectral_index": self.spectral_index,
                "major_arcsec": major,
                "minor_arcsec": minor,
                "angle_deg": angle,
            }
        )

    def take(self, chosen: ArrayLike) -> PointSources:
        """Those of some indices or of a mask."""
        index = np.arange(len(self))[np.asarray(chosen)]
        return replace(
            self,
            names=[self.names[i] for i in index],
            ra_rad=self.ra_rad[index],
            dec_rad=self.dec_rad[index],
            flux_jy=self.flux_jy[index],
            spectral_index=self.spectral_index[index],
            widths=self.widths[index],
            curvature=None if self.curvature is None else self.curvature[index],
        )

    def spectrum(self, freq_hz: ArrayLike) -> Array:
        """(ν / ν₀)^(α + β log10(ν / ν₀)), (nsrc, nfreq)."""
        ratio = np.log(np.atleast_1d(np.asarray(freq_hz, dtype=np.float64)) / self.freq0_hz)
        slope = self.spectral_index[:, np.newaxis]
        if self.curvature is not None:
            slope = slope + self.curvature[:, np.newaxis] * ratio / np.log(10.0)
        return np.exp(slope * ratio)


@dataclass(frozen=True)
class Integration:
    """Everything that one integration's compiled loops need of the sources."""

    real: Array  # float32, (nsrc, nant, nchan), phasors
    imag: Array
    shape: Array  # float32, (nsrc, nchan), beam times (ν / ν₀)^α
    smear_turns: Array  # float64, (nsrc, nant, 11)
    turn_per_rad: Array  # float64, (nsrc, nant, 2)


class DriftArray:
    """What of a tile does not depend on the sources: its antennas, channels, times and beam.

    Parameters
    ----------
    meta
        Of the Measurement Set that is predicted.
    beam
        Power pattern of a dish; None: it is 1 everywhere.
    freq_average
        Raw channels that were averaged into each channel of the set.
    smearing
        Whether averaging in time and frequency is in the model.

    Attributes
    ----------
    ant1, ant2 : ndarray, (nbl,)
        Indices into the antennas that take part.
    """

    def __init__(
        self, meta: MsMeta, *, beam: PowerBeam | None, freq_average: int = 1, smearing: bool = True
    ) -> None:
        self.meta = meta
        self.beam = beam
        self.smearing = smearing
        self.freq_average = freq_average if smearing else 1
        self.place = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
        members, index = np.unique([meta.ant1, meta.ant2], return_inverse=True)
        self.ant1, self.ant2 = index.reshape(2, -1)
        self.positions_m = np.asarray(meta.antenna_positions_m[members], dtype=np.float64)
        freq = np.asarray(meta.freq_hz, dtype=np.float64)
        self.freq_hz = freq
        self.uniform = bool(np.abs(freq - np.linspace(freq[0], freq[-1], len(freq))).max() < UNIFORM_HZ)
        self.edges_hz = np.array([freq[0], 0.5 * (freq[0] + freq[-1]), freq[-1]])
        span = freq[-1] - freq[0]
        # -1 to 1 across the band, 0 for a single channel
        self.f = (2.0 * (freq - self.edges_hz[1]) / span if span > 0 else 0.0 * freq).astype(np.float32)
        self.w_centre = self.w(np.array([meta.phase_ra_rad]), np.array([meta.phase_dec_rad]))[0]
        self.w_stopped = geometry.antenna_w_meridian(self.positions_m, meta.pointing_dec_rad, self.place)
        self.stopper_rate = self.rates(np.zeros(1), np.full(1, meta.pointing_dec_rad))[0]
        self._nodes_hz, self._to_channels = _chebyshev(freq)

    @property
    def n_antennas(self) -> int:
        """Antennas that take part."""
        return len(self.positions_m)

    def uv_m(self) -> Array:
        """Length of each baseline across the direction to (hour angle 0, pointing declination), m, (nbl,)."""
        baseline = self.positions_m[self.ant2] - self.positions_m[self.ant1]
        along = self.w_stopped[self.ant2] - self.w_stopped[self.ant1]
        return np.sqrt(np.maximum(np.sum(baseline**2, axis=1) - along**2, 0.0))

    def power(self, ra_rad: Array, dec_rad: Array) -> Array:
        """Power beam at every integration and channel, (nsrc, nt, nchan)."""
        n_times, _, n_chan, _ = self.meta.shape
        if self.beam is None:
            return np.ones((len(ra_rad), n_times, n_chan))
        coarse = drift_power(
            ra_rad,
            dec_rad,
            self.meta.times_jd,
            self.place,
            self.meta.pointing_dec_rad,
            self._nodes_hz,
            self.beam,
        )
        return coarse @ self._to_channels

    def directions(self, ha: Array, dec: Array) -> Array:
        """Unit vectors of the Earth-fixed frame, (..., 3)."""
        gha = ha - self.place.lon.rad
        return np.stack([np.cos(dec) * np.cos(gha), -np.cos(dec) * np.sin(gha), np.sin(dec)], axis=-1)

    def rates(self, ha: Array, dec: Array) -> Array:
        """How fast w toward directions (...) grows as the Earth turns, m/s, (..., nant)."""
        gha = ha - self.place.lon.rad
        rate = np.stack([-np.cos(dec) * np.sin(gha), -np.cos(dec) * np.cos(gha), np.zeros_like(gha)], axis=-1)
        return EARTH_ROTATION_RAD_S * (rate @ self.positions_m.T)

    def w(self, ra: Array, dec: Array) -> Array:
        """Antennas' w toward ICRS directions, m, (nsrc, nt, nant)."""
        ha, dec_app = geometry.hour_angle_dec(ra, dec, self.meta.times_jd, self.place)
        return self.directions(ha, dec_app) @ self.positions_m.T

    def view(self, sources: PointSources) -> DriftView:
        """Return the sources as this array sees them."""
        return DriftView(self, sources)


class DriftView:
    """Sources over an array: delays, smearing and beam at all integrations, fringes one integration at a time.

    Parameters
    ----------
    array
    sources
        Their fluxes are those that `predict` shows.

    Attributes
    ----------
    power : ndarray, (nsrc, nt, nchan)
        Power beam.
    """

    def __init__(self, array: DriftArray, sources: PointSources) -> None:
        self.array = array
        self.sources = sources
        meta, ra, dec = array.meta, sources.ra_rad, sources.dec_rad
        ha, dec_app = geometry.hour_angle_dec(ra, dec, meta.times_jd, array.place)
        w = array.directions(ha, dec_app) @ array.positions_m.T
        self._delay_s = (w - array.w_centre) / SPEED_OF_LIGHT_M_S
        self._smear_turns = np.zeros((*w.shape, kernels.SMEAR_TURNS))
        if array.smearing:
            width = meta.channel_width_hz / array.freq_average
            self._smear_turns[..., 0] = (w - array.w_stopped) * (width / SPEED_OF_LIGHT_M_S)
            self._smear_turns[..., 1] = self._delay_s * width
            turns = (array.rates(ha, dec_app) - array.stopper_rate) / SPEED_OF_LIGHT_M_S
            turns *= meta.integration_s[:, np.newaxis]
            self._smear_turns[..., 2:5] = turns[..., np.newaxis] * array.edges_hz
        wide = np.flatnonzero(sources.widths.any(axis=1))
        if len(wide):
            uv = self._moved_turns(ra[wide], dec[wide])
            across = np.einsum("sij,staj->stai", drift_shape.roots(sources.widths[wide]), uv)
            ratio = array.edges_hz / sources.freq0_hz
            self._smear_turns[wide, ..., 5:] = (ratio[:, np.newaxis] * across[..., np.newaxis, :]).reshape(
                *across.shape[:-1], 6
            )
        self.power = array.power(ra, dec)
        self._shape = (self.power * sources.spectrum(array.freq_hz)[:, np.newaxis]).astype(np.float32)
        self._turn_per_rad: Array | None = None

    @property
    def log_freq(self) -> Array:
        """ln(ν / ν₀), (nchan,), float32."""
        return np.log(self.array.freq_hz / self.sources.freq0_hz).astype(np.float32)

    def turn_per_rad(self) -> Array:
        """Turns at ν₀ of an antenna's phasor as a source moves east or north by a radian, (nsrc, nt, nant, 2)."""
        if self._turn_per_rad is None:
            self._turn_per_rad = self._moved_turns(self.sources.ra_rad, self.sources.dec_rad)
        return self._turn_per_rad

    def _moved_turns(self, ra: Array, dec: Array) -> Array:
        step = PLACE_STEP_RAD
        east = self.array.w(ra + step / np.cos(dec), dec) - self.array.w(ra - step / np.cos(dec), dec)
        north = self.array.w(ra, dec + step) - self.array.w(ra, dec - step)
        per_rad = self.sources.freq0_hz / (2.0 * step * SPEED_OF_LIGHT_M_S)
        return np.stack([east, north], axis=-1) * per_rad

    def integration(self, i: int, *, places: bool = False) -> Integration:
        """Fringes of integration `i`; with the derivatives by place if `places`."""
        array, n_src = self.array, len(self.sources)
        size = (n_src, array.n_antennas, len(array.freq_hz))
        real, imag = np.empty(size, np.float32), np.empty(size, np.float32)
        kernels.antenna_phasors(self._delay_s[:, i], array.freq_hz, array.uniform, real, imag)
        per_rad = self.turn_per_rad()[:, i] if places else np.zeros((n_src, array.n_antennas, 2))
        return Integration(
            real=real,
            imag=imag,
            shape=np.ascontiguousarray(self._shape[:, i]),
            smear_turns=np.ascontiguousarray(self._smear_turns[:, i]),
            turn_per_rad=np.ascontiguousarray(per_rad),
        )

    def predict(self, i: int, rows: Array | None = None) -> Array:
        """Visibilities of integration `i`, (nbl, nchan), complex64, Jy, autocorrelations too; or of some `rows`."""
        array, chosen = self.array, slice(None) if rows is None else rows
        ant1, ant2 = array.ant1[chosen], array.ant2[chosen]
        out = np.empty((len(ant1), len(array.freq_hz)), np.complex64)
        part = self.integration(i)
        apparent = part.shape * self.sources.flux_jy[:, np.newaxis].astype(np.float32)
        kernels.predict_rows(
            ant1,
            ant2,
            part.real,
            part.imag,
            apparent,
            array.f,
            part.smear_turns,
            array.freq_average,
            out,
        )
        return out

    def adjoint(self, i: int, vis: Array) -> Array:
        """Re Σ m* x over rows and channels of integration `i`, with m the visibility of 1 Jy, (nsrc,).

        The adjoint of `predict` (which maps fluxes to visibilities, linearly), for the real scalar product
        Re Σ x* y.
        """
        blocks = self.project(i, vis, np.ones(vis.shape, np.float32), np.ones(len(vis), bool))
        return blocks[..., 0].sum(axis=(0, 2), dtype=np.float64)

    def project(
        self, i: int, residual: Array, weight: Array, used: Array, largest: float = float("inf")
    ) -> Array:
        """See `kernels.residual_rows`; (nbl, nsrc, CHANNEL_BLOCKS, 3), float32."""
        array, part = self.array, self.integration(i)
        out = np.empty((len(array.ant1), len(self.sources), kernels.CHANNEL_BLOCKS, 3), np.float32)
        kernels.residual_rows(
            residual.astype(np.complex64, copy=False),
            weight,
            used,
            array.ant1,
            array.ant2,
            part.real,
            part.imag,
            part.shape,
            array.f,
            part.smear_turns,
            array.freq_average,
            largest,
            out,
        )
        return out


def _chebyshev(freq_hz: Array) -> tuple[Array, Array]:
    """Nodes of the first kind over the band, and the matrix (nnodes, nchan) from values there to channels."""
    n = min(BEAM_NODES, len(freq_hz))
    middle, half = 0.5 * (freq_hz[0] + freq_hz[-1]), 0.5 * (freq_hz[-1] - freq_hz[0])
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    x = (freq_hz - middle) / half if half > 0 else np.zeros(len(freq_hz))
    order = np.arange(n)[:, np.newaxis]
    fit = np.cos(order * np.arccos(nodes)) * (2.0 - (order == 0)) / n  # (order, node)
    return middle + half * nodes, fit.T @ np.cos(order * np.arccos(np.clip(x, -1.0, 1.0)))
