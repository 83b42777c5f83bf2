"""The primary beam from apparent fluxes: effective diameter per frequency, and where each correlation product points.

Model of a cell (see `contimg.beam.apparent`) of source s, product h (XX or YY), band k, tile t, caltable c:

    ln A = ln G_chk + ln g_th + ln S_s + α_s ln(ν / ν₀) + ln P((x, y) - (x_h, y_h), ν; D_k)

P is the Airy pattern of diameter D_k (m) about (x_h, y_h), in degrees west and north: XX at the common offset plus
the squint, YY at the offset less the squint. G (caltable, product, band) and g (tile, product) are free within
`SCALE` and `TILE_SCALE`. What constrains each parameter: docs/beam.md.

Weighted least squares in A by Gauss-Newton; outlying cells count less (Huber 1964, k = 3). Errors are those of the
inverse normal matrix, times the root of the reduced χ² where that exceeds 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import Rejected
from contimg.core.robust import mad_sigma
from contimg.telescope.beam import airy_power
from contimg.telescope.beam_file import SampledBeam

Array = NDArray[Any]
SCALE, TILE_SCALE = 0.5, 0.03
"""Standard deviation of ln G, and of ln g about it."""
KNOWN_FLUX, FREE_FLUX, FREE_INDEX = 0.1, 2.0, 0.5
"""Standard deviation of ln S about a catalogue's flux (sources vary) and about a fitted one; of α about either."""
SAME_SOURCE_ARCSEC = 20.0
MIN_POWER = 0.05
"""Cells where the pattern is below this are left out: there other things than the main lobe matter."""
MIN_SOURCES, MIN_CELLS = 3, 60
HUBER = 3.0
MAX_STEPS = 40
SMALLEST_STEP = 1e-3  # of an error
STEP_M, STEP_DEG = 1e-3, 1e-3  # for derivatives
SIGN = {"XX": 1.0, "YY": -1.0, "RR": 1.0, "LL": -1.0}
SIGNIFICANT = 3.0  # errors
FILE_REACH_DEG, FILE_STEP_DEG, FILE_PLANES = 4.5, 0.15, 8


@dataclass(frozen=True)
class BeamFit:
    """What the data say about the beam.

    Attributes
    ----------
    freq_hz, diameter_m, diameter_err_m : ndarray, (nband,)
        Effective diameter of each part of the band.
    mean_m, mean_err_m : float
        Over the band.
    offset_deg, offset_err_deg : ndarray, (2,)
        Where the mean of both polarisations points, west and north.
    squint_deg, squint_err_deg : ndarray, (2,)
        X points this much farther west and north, Y as much less; NaN with one polarisation.
    chi2 : float
        Reduced.
    n_sources, n_known, n_tiles : int
        Sources, those with a catalogue's flux, tiles.
    cells : DataFrame
        What was fitted, with ``measured`` (power that each cell shows), ``fitted`` (the model's) and their ``error``.
    """

    freq_hz: Array
    diameter_m: Array
    diameter_err_m: Array
    mean_m: float
    mean_err_m: float
    offset_deg: Array
    offset_err_deg: Array
    squint_deg: Array
    squint_err_deg: Array
    chi2: float
    n_sources: int
    n_known: int
    n_tiles: int
    cells: pd.DataFrame = field(repr=False)

    def diameters(self, freq_hz: Array) -> Array:
        """Diameter at each frequency (m): a straight line through the parts of the band."""
        if len(self.freq_hz) < 2:
            return np.full(len(freq_hz), self.mean_m)
        line = np.polynomial.Polynomial.fit(self.freq_hz, self.diameter_m, 1, w=1.0 / self.diameter_err_m)
        return np.asarray(line(np.asarray(freq_hz)))

    def sampled(self, low_hz: float, high_hz: float) -> SampledBeam:
        """The mean of both polarisations, sampled for a beam file over a band; what is not significant is left at 0."""
        steps = round(FILE_REACH_DEG / FILE_STEP_DEG)
        axis = np.radians(np.arange(-steps, steps + 1) * FILE_STEP_DEG)
        north, west = np.meshgrid(axis, axis, indexing="ij")
        freq = np.linspace(low_hz, high_hz, FILE_PLANES)
        offset = significant(self.offset_deg, self.offset_err_deg)
        squint = significant(self.squint_deg, self.squint_err_deg)
        planes = np.zeros((len(freq), len(axis), len(axis)))
        for sign in (1.0, -1.0):
            at = np.radians(offset + sign * squint)
            angle = np.hypot(west - at[0], north - at[1])
            for plane, f, diameter in zip(planes, freq, self.diameters(freq), strict=True):
                plane += 0.5 * airy_power(angle, f, float(diameter))
        return SampledBeam(axis, axis, freq, planes, origin="fitted beam")

    def summary(self) -> dict[str, Any]:
        """Plain values for a sidecar, None where nothing is known."""

        def plain(values: Array) -> list[float | None]:
            return [round(float(v), 5) if np.isfinite(v) else None for v in values]

        return {
            "diameter_m": round(self.mean_m, 4),
            "diameter_err_m": round(self.mean_err_m, 4),
            "band_mhz": plain(self.freq_hz / 1e6),
            "band_diameter_m": plain(self.diameter_m),
            "band_diameter_err_m": plain(self.diameter_err_m),
            "offset_west_north_deg": plain(self.offset_deg),
            "offset_err_deg": plain(self.offset_err_deg),
            "squint_west_north_deg": plain(self.squint_deg),
            "squint_err_deg": plain(self.squint_err_deg),
            "chi2_reduced": round(self.chi2, 3),
            "n_sources": self.n_sources,
            "n_sources_known": self.n_known,
            "n_tiles": self.n_tiles,
            "n_cells": len(self.cells),
        }


def significant(value: Array, error: Array) -> Array:
    """Values above `SIGNIFICANT` errors, 0 for the others and for NaN."""
    return np.where(np.abs(value) > SIGNIFICANT * error, value, 0.0)


def fit_beam(cells: pd.DataFrame, *, start_m: float, known: pd.DataFrame | None = None) -> BeamFit:
    """Fit diameters, offset and squint to apparent fluxes.

    Parameters
    ----------
    cells : DataFrame
        Rows of `contimg.beam.apparent.apparent` of all tiles, with ``tile`` and ``caltable``.
    start_m : float
        Diameter to begin with.
    known : DataFrame, optional
        Catalogue: ``ra_deg, dec_deg, flux_jy, spectral_index`` (at 1.4 GHz).

    Raises
    ------
    Rejected
        There is too little to fit.
    """
    cells = cells[(cells["power"] >= MIN_POWER) & (cells["ratio_err"] > 0)].reset_index(drop=True)
    source, places = _sources(cells)
    if len(places) < MIN_SOURCES or len(cells) < MIN_CELLS:
        raise Rejected(
            f"{len(cells)} cells of {len(places)} sources show the beam; at least {MIN_CELLS} of {MIN_SOURCES} are "
            "needed"
        )
    problem = _Problem(cells, source, places, start_m, known)
    return problem.solve()


def _sources(cells: pd.DataFrame) -> tuple[Array, pd.DataFrame]:
    """Number of each cell's source, the same in all tiles, and the sources' places and fluxes."""
    rows = cells[["ra_deg", "dec_deg"]].drop_duplicates()
    ra, dec = np.radians(rows.to_numpy()).T
    unit = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    near = cKDTree(unit).sparse_distance_matrix(cKDTree(unit), np.radians(SAME_SOURCE_ARCSEC / 3600.0))
    _, label = csgraph.connected_components(near + sparse.eye(len(rows)), directed=False)
    number = dict(zip(map(tuple, rows.to_numpy()), label, strict=True))
    source = np.array([number[place] for place in zip(cells["ra_deg"], cells["dec_deg"], strict=True)])
    best = cells.assign(source=source).sort_values("ratio_err").groupby("source").first()
    return source, best[["ra_deg", "dec_deg", "flux_jy", "spectral_index"]]


def _known(places: pd.DataFrame, known: pd.DataFrame | None) -> tuple[Array, Array, Array]:
    """Flux and spectral index that each source is held to, and whether a catalogue gives them."""
    flux, index = places["flux_jy"].to_numpy().copy(), places["spectral_index"].to_numpy().copy()
    listed = np.zeros(len(places), bool)
    if known is None or known.empty:
        return flux, index, listed
    from astropy.coordinates import SkyCoord

    here = SkyCoord(places["ra_deg"], places["dec_deg"], unit="deg")
    there = SkyCoord(known["ra_deg"], known["dec_deg"], unit="deg")
    nearest, distance, _ = here.match_to_catalog_sky(there)
    listed = distance.arcsec <= SAME_SOURCE_ARCSEC
    flux[listed] = known["flux_jy"].to_numpy()[nearest[listed]]
    index[listed] = known["spectral_index"].to_numpy()[nearest[listed]]
    return flux, index, listed


class _Problem:
    """The least-squares problem: parameters are [D_k, x, y, squint x, squint y, ln S, α, ln G, ln g]."""

    def __init__(
        self,
        cells: pd.DataFrame,
        source: Array,
        places: pd.DataFrame,
        start_m: float,
        known: pd.DataFrame | None,
    ) -> None:
        self.cells, self.source = cells, source
        self.n_sources = len(places)
        flux, index, self.listed = _known(places, known)
        log_freq = np.log(cells["freq_hz"].to_numpy() / REFERENCE_HZ)
        spectrum = np.exp(cells["spectral_index"].to_numpy() * log_freq)
        self.apparent = cells["flux_jy"].to_numpy() * spectrum * (cells["power"] * cells["ratio"]).to_numpy()
        self.error = cells["flux_jy"].to_numpy() * spectrum * (cells["power"] * cells["ratio_err"]).to_numpy()
        self.bands, band = np.unique(np.round(cells["freq_hz"].to_numpy() / 1e6), return_inverse=True)
        self.band = band
        self.freq_hz = np.array(
            [cells["freq_hz"].to_numpy()[band == k].mean() for k in range(len(self.bands))]
        )
        self.sign = cells["hand"].map(SIGN).to_numpy(dtype=float)
        table = pd.factorize(cells["caltable"] + cells["hand"] + band.astype(str))[0]
        tile = pd.factorize(cells["tile"] + cells["hand"])[0]
        n_band, both = len(self.bands), len(np.unique(self.sign)) == 2
        first = n_band + 4
        self.first = first
        columns = [
            (source, np.ones(len(cells)), np.log(flux), np.where(self.listed, KNOWN_FLUX, FREE_FLUX)),
            (source, log_freq, index, np.full(self.n_sources, FREE_INDEX)),
            (table, np.ones(len(cells)), np.zeros(table.max() + 1), np.full(table.max() + 1, SCALE)),
            (tile, np.ones(len(cells)), np.zeros(tile.max() + 1), np.full(tile.max() + 1, TILE_SCALE)),
        ]
        rows = np.arange(len(cells))
        blocks = [
            sparse.csr_matrix((value, (rows, number)), shape=(len(cells), len(mean)))
            for number, value, mean, _ in columns
        ]
        self.linear = sparse.hstack(blocks, format="csr")
        self.prior = np.concatenate(
            [np.full(n_band, start_m), np.zeros(4), *(mean for *_, mean, _ in columns)]
        )
        # a width of the prior on beam parameters only where the data say nothing: both squints of a single polarisation
        widths = [np.full(n_band, 10.0), np.full(2, 2.0), np.full(2, 2.0 if both else 1e-6)]
        self.width = np.concatenate([*widths, *(width for *_, width in columns)])
        self.both = both

    def log_power(self, beam: Array) -> Array:
        """ln of the pattern in every cell, for [D_k, x, y, squint x, squint y]."""
        n_band = len(self.bands)
        at = beam[n_band : n_band + 2, None] + self.sign * beam[n_band + 2 :, None]
        angle = np.radians(
            np.hypot(self.cells["west_deg"] - at[0], self.cells["north_deg"] - at[1])
        ).to_numpy()
        power = np.zeros(len(angle))
        for k in range(n_band):
            here = self.band == k
            power[here] = airy_power(angle[here], self.cells["freq_hz"].to_numpy()[here], float(beam[k]))
        return np.asarray(np.log(np.maximum(power, 1e-6)))

    def model(self, x: Array) -> tuple[Array, sparse.csr_matrix]:
        """Apparent fluxes, and their derivatives."""
        beam = x[: self.first]
        log = self.log_power(beam)
        slopes = []
        for j in range(self.first):
            step = np.zeros(self.first)
            step[j] = STEP_M if j < len(self.bands) else STEP_DEG
            slopes.append((self.log_power(beam + step) - self.log_power(beam - step)) / (2.0 * step[j]))
        flux = np.exp(log + self.linear @ x[self.first :])
        jacobian = sparse.hstack([sparse.csr_matrix(np.column_stack(slopes)), self.linear], format="csr")
        return flux, sparse.diags(flux) @ jacobian

    def solve(self) -> BeamFit:
        """Gauss-Newton to rest."""
        x = self.prior.copy()
        weight = 1.0 / self.error**2
        for number in range(MAX_STEPS):
            flux, jacobian = self.model(x)
            residual = (self.apparent - flux) / self.error
            scale = max(1.0, mad_sigma(residual, about=0.0))
            huber = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residual), 1e-12))
            normal = (jacobian.T @ sparse.diags(weight * huber) @ jacobian).toarray()
            normal[np.diag_indices_from(normal)] += self.width**-2.0
            gradient = (
                jacobian.T @ (weight * huber * (self.apparent - flux)) + (self.prior - x) / self.width**2
            )
            covariance = np.linalg.inv(normal)
            step = covariance @ gradient
            error = np.sqrt(np.diag(covariance))
            x = x + step * min(1.0, 0.3 / max(np.abs(step[: self.first]).max(), 1e-12))
            if number and np.abs(step[: self.first] / error[: self.first]).max() < SMALLEST_STEP:
                break
        return self._report(x, covariance)

    def _report(self, x: Array, covariance: Array) -> BeamFit:
        flux, _ = self.model(x)
        free = len(flux) - self.first - 2 * self.n_sources
        chi2 = float(np.sum(((self.apparent - flux) / self.error) ** 2)) / max(free, 1)
        covariance = covariance * max(1.0, chi2)
        error = np.sqrt(np.diag(covariance))
        n_band = len(self.bands)
        inverse = np.linalg.inv(covariance[:n_band, :n_band])
        mean_err = float(1.0 / np.sqrt(inverse.sum()))
        log_power = self.log_power(x[: self.first])
        unit = flux / np.exp(log_power)
        squint = x[n_band + 2 : n_band + 4], error[n_band + 2 : n_band + 4]
        return BeamFit(
            freq_hz=self.freq_hz,
            diameter_m=x[:n_band],
            diameter_err_m=error[:n_band],
            mean_m=float(inverse.sum(axis=0) @ x[:n_band]) * mean_err**2,
            mean_err_m=mean_err,
            offset_deg=x[n_band : n_band + 2],
            offset_err_deg=error[n_band : n_band + 2],
            squint_deg=squint[0] if self.both else np.full(2, np.nan),
            squint_err_deg=squint[1] if self.both else np.full(2, np.nan),
            chi2=chi2,
            n_sources=self.n_sources,
            n_known=int(self.listed.sum()),
            n_tiles=self.cells["tile"].nunique(),
            cells=self.cells.assign(
                measured=self.apparent / unit, fitted=np.exp(log_power), error=self.error / unit
            ),
        )
