"""Imaging weights: Briggs weighting on the uv plane, the beam it makes, and how it weighs times and channels.

The imagers weigh a visibility by w / (1 + f^2 W), where W is the sum of the weights w that fall into its cell
of the uv plane (cells of 1 / field) and f^2 = (5 x 10^-R)^2 / (sum W^2 / sum W) (Briggs 1995, PhD thesis,
section 3.2). The same is computed here for two purposes: to know the synthesised beam before anything is
imaged, so that pixels can be chosen, and to know with which weights a time and a channel enter the image. The
primary beam that belongs to an image is the mean over times and channels with exactly these weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy import ndimage, optimize

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.core.errors import Rejected
from contimg.ms.meta import MsMeta, parallel_hands

LOBE_LEVEL = 0.6
"""The Gaussian is fitted to the lobe above this. CLEAN puts its components on pixels, so that a source between two
is right only if the restoring beam falls off like the lobe over the first pixels."""
ROBUST_TRIED = (-1.0, -0.5, 0.0, 0.5)
"""Not beyond 0.5: near natural weighting the sidelobes of the short baselines stand as a plateau round every source.
CLEAN of a field of thirteen sources on 24 antennas left 5 mJy/beam with R = 0, 6 with 0.5, and dug a bowl with 1."""
MOST_KEPT_BYTES = 4e8
"""Of cells and weights, between the two times that they are gone over: a full tile averaged by four has 2.6e8."""
WORTH = 0.1
"""See `choose_weighting`."""


COVERAGE_CELLS = 120
"""Cells of a picture of the uv plane on either side of its middle."""


@dataclass(frozen=True)
class Coverage:
    """Where the uv plane is filled, for a picture.

    Attributes
    ----------
    density : (nv, nu) float64
        Sum of weights, v >= 0; u runs to either side of the middle column.
    u_klambda, v_klambda : float
        Ends of the axes, thousands of wavelengths.
    """

    density: np.ndarray
    u_klambda: float
    v_klambda: float


@dataclass
class UvPlane:
    """Sums of weights in cells of half of the uv plane (v >= 0; a visibility and its conjugate are one).

    Attributes
    ----------
    cell_u, cell_v : float
        Size of a cell in wavelengths: 1 / field of view (rad) along right ascension and declination.
    half : int
        Cells on either side of u = 0, and above v = 0; what lies beyond is not counted.
    density : (half, 2 * half) float64
        Sum of weights.
    """

    cell_u: float
    cell_v: float
    half: int
    density: np.ndarray

    @classmethod
    def empty(cls, fields_rad: tuple[float, float], longest_lambda: float) -> UvPlane:
        """A plane for a field of that width and height and baselines up to that length."""
        cells = 1 / fields_rad[0], 1 / fields_rad[1]
        half = int(np.ceil(longest_lambda / min(cells))) + 2
        return cls(*cells, half, np.zeros((half, 2 * half)))

    def cells(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Flat cell number of each point (wavelengths, any shape), int64; points outside are clipped."""
        u, v = np.broadcast_arrays(u, v)
        found = np.empty(u.shape, np.int64)
        _find_cells(np.ravel(u), np.ravel(v), 1 / self.cell_u, 1 / self.cell_v, self.half, found.reshape(-1))
        return found

    def add(self, cells: np.ndarray, weights: np.ndarray) -> None:
        """Add weights to cells (same shape)."""
        _add_to_cells(np.ravel(cells), np.ravel(weights), self.density.reshape(-1))

    def coverage(self) -> Coverage:
        """The filled part of the plane, in some `COVERAGE_CELLS` cells a side."""
        filled = self.density > 0
        rows = int(np.flatnonzero(filled.any(axis=1))[-1]) + 1
        columns = int(np.abs(np.flatnonzero(filled.any(axis=0)) - self.half).max()) + 1
        factor = -(-max(rows, columns) // COVERAGE_CELLS)
        rows, columns = (-(-size // factor) * factor for size in (rows, columns))
        part = np.zeros((rows, 2 * columns))
        low, high = max(0, self.half - columns), min(2 * self.half, self.half + columns)
        held = self.density[: min(rows, self.half), low:high]
        part[: len(held), low - self.half + columns : high - self.half + columns] = held
        coarse = part.reshape(rows // factor, factor, -1, factor).sum(axis=(1, 3))
        return Coverage(coarse, 1e-3 * columns * self.cell_u, 1e-3 * rows * self.cell_v)

    def briggs(self, robust: float) -> np.ndarray:
        """Factor 1 / (1 + f^2 W) of each cell, flat, float64."""
        total = self.density.sum()
        if total == 0:
            return np.zeros(self.density.size)
        f_squared = (5 * 10.0**-robust) ** 2 / (np.sum(self.density**2) / total)
        return 1 / (1 + f_squared * self.density.ravel())

    def noise(self, robust: float) -> float:
        """Noise of an image over that of natural weighting: sqrt(sum W B^2 sum W) / sum W B, B the Briggs factor."""
        weights, factor = self.density.ravel(), self.briggs(robust)
        return float(np.sqrt(np.sum(weights * factor**2) * weights.sum()) / np.sum(weights * factor))


@numba.njit(cache=True, nogil=True)
def _find_cells(
    u: np.ndarray, v: np.ndarray, per_u: float, per_v: float, half: int, out: np.ndarray
) -> None:  # pragma: no cover
    """See `UvPlane.cells`; all arrays are flat, `per_u` and `per_v` cells a wavelength."""
    for k in range(len(out)):
        flip = -1.0 if v[k] < 0 else 1.0
        column = int(np.rint(u[k] * flip * per_u)) + half
        row = int(np.rint(v[k] * flip * per_v))
        out[k] = min(max(row, 0), half - 1) * 2 * half + min(max(column, 0), 2 * half - 1)


@numba.njit(cache=True, nogil=True)
def _add_to_cells(cells: np.ndarray, weights: np.ndarray, density: np.ndarray) -> None:  # pragma: no cover
    """See `UvPlane.add`; all arrays are flat."""
    for k in range(len(cells)):
        density[cells[k]] += weights[k]


def synthesised_beam(plane: UvPlane, robust: float) -> tuple[float, float, float]:
    """Gaussian fitted to the main lobe of the point spread function.

    Parameters
    ----------
    plane : UvPlane
    robust : float
        Briggs R.

    Returns
    -------
    major_rad, minor_rad, angle_rad : float
        FWHM of the axes and position angle of the major one, north through east.
    """
    weights = (plane.density.ravel() * plane.briggs(robust)).reshape(plane.density.shape)
    rows, columns = weights.any(axis=1), weights.any(axis=0)
    u = ((np.arange(2 * plane.half) - plane.half) * plane.cell_u)[columns]
    v = (np.arange(plane.half) * plane.cell_v)[rows]
    weights = weights[np.ix_(rows, columns)]
    total = weights.sum()
    uu, vv = (weights * u**2).sum() / total, (weights * v[:, None] ** 2).sum() / total
    uv = (weights * u * v[:, None]).sum() / total
    # curvature at the peak, 1 - 2 pi^2 (l^2 <u^2> + ...): the narrowest scale of the lobe
    narrow = 1 / np.sqrt(np.linalg.eigvalsh([[uu, uv], [uv, vv]]).max())
    step = 0.06 * narrow
    for _ in range(6):  # widen the patch until the lobe lies inside
        offset = (np.arange(129) - 64) * step
        # the plane holds half of the visibilities: the pattern is the real part of the sum
        along_v, along_u = 2 * np.pi * np.outer(offset, v), 2 * np.pi * np.outer(u, offset)
        even, odd = np.cos(along_v) @ weights, np.sin(along_v) @ weights
        pattern = (even @ np.cos(along_u) - odd @ np.sin(along_u)) / total
        lobe, _ = ndimage.label(pattern > LOBE_LEVEL)
        inside = lobe == lobe[64, 64]
        if not (inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any()):
            break
        step *= 1.6
    m, l = np.meshgrid(offset, offset, indexing="ij")
    l, m, values = l[inside] / step, m[inside] / step, pattern[inside]

    def residual(p: np.ndarray) -> np.ndarray:
        return np.exp(-(p[0] * l**2 + p[1] * m**2 + 2 * p[2] * l * m)) - values

    log = -np.log(values)
    start = np.linalg.lstsq(np.column_stack([l**2, m**2, 2 * l * m]), log, rcond=None)[0]
    p = optimize.least_squares(residual, start).x
    eigenvalues, vectors = np.linalg.eigh([[p[0], p[2]], [p[2], p[1]]])
    fwhm = 2 * np.sqrt(np.log(2) / np.maximum(eigenvalues, 1e-12)) * step
    return float(fwhm[0]), float(fwhm[1]), float(np.arctan2(vectors[0, 0], vectors[1, 0]) % np.pi)


@dataclass(frozen=True)
class Weighting:
    """What a Briggs weighting makes of a uv plane.

    Attributes
    ----------
    robust : float
    noise : float
        Over that of natural weighting.
    beam_rad : (major, minor, angle)
        Of `synthesised_beam`.
    """

    robust: float
    noise: float
    beam_rad: tuple[float, float, float]

    @classmethod
    def of(cls, plane: UvPlane, robust: float) -> Weighting:
        """Compute both."""
        return cls(robust, plane.noise(robust), synthesised_beam(plane, robust))

    @property
    def cost_arcsec(self) -> float:
        """Noise times geometric mean FWHM: what the error of a faint source's place is proportional to."""
        return self.noise * float(np.degrees(np.sqrt(self.beam_rad[0] * self.beam_rad[1]))) * 3600


def choose_weighting(plane: UvPlane, preferred: float) -> tuple[Weighting, Weighting]:
    """Choose Briggs R by noise times beam: `preferred` unless another value of `ROBUST_TRIED` is better by `WORTH`.

    Noise falls and the beam grows with R; their product, with which the error of a source's place goes (FWHM over S/N,
    Condon 1997), has a broad minimum in between. `WORTH` keeps the tiles of a strip and the nights of a field at one
    weighting.

    Returns
    -------
    chosen, best : Weighting
        The choice, and the one with the least product.
    """
    tried = {robust: Weighting.of(plane, robust) for robust in (*ROBUST_TRIED, preferred)}
    best = min(tried.values(), key=lambda weighting: weighting.cost_arcsec)
    keep = tried[preferred].cost_arcsec <= (1 + WORTH) * best.cost_arcsec
    return (tried[preferred] if keep else best), best


@dataclass(frozen=True)
class DataWeights:
    """How the visibilities of a Measurement Set enter its image.

    Attributes
    ----------
    time_channel : (nt, nchan) float64
        Sum of the imaging weights of the unflagged visibilities.
    beam_rad : (major, minor, angle)
        Main lobe of the point spread function: FWHM, position angle north through east.
    thermal_jy : float
        Noise of the image that the data weights (1 / sigma^2 of a visibility's real part) stand for:
        sqrt(sum W_i^2 sigma_i^2) / sum W_i, W_i the imaging weights. As meaningful as the weights are.
    n_visibilities : int
        Stokes I visibilities used.
    noise_over_natural : float
        Of the weighting, see `UvPlane.noise`.
    coverage : Coverage
        Of the uv plane, before Briggs weighting.
    """

    time_channel: np.ndarray
    beam_rad: tuple[float, float, float]
    thermal_jy: float
    n_visibilities: int
    noise_over_natural: float
    coverage: Coverage

    @property
    def beam_arcsec(self) -> tuple[float, float, float]:
        """`beam_rad` in arcsec, arcsec and deg."""
        major, minor, angle = np.degrees(self.beam_rad)
        return float(major * 3600), float(minor * 3600), float(angle)

    def effective_freq_hz(self, freq_hz: np.ndarray) -> float:
        """Mean frequency, weighted as the image is."""
        weights = self.time_channel.sum(axis=0)
        return float(np.sum(weights * freq_hz) / np.sum(weights))


def weigh(
    ms: Path,
    meta: MsMeta,
    *,
    fields_rad: tuple[float, float],
    robust: float,
    uvmin_klambda: float,
    weighted_hands: bool = False,
) -> DataWeights:
    """Go twice over the weights and flags of a Measurement Set, an integration at a time.

    Parameters
    ----------
    ms : Path
        With WEIGHT_SPECTRUM, or WEIGHT (the same for each channel).
    meta : MsMeta
        Its own.
    fields_rad : (float, float)
        Width and height of the image: they set the cells of the uv plane that Briggs weighting counts in.
    robust : float
    uvmin_klambda : float
        Shorter baselines do not enter.
    weighted_hands : bool
        Whether Stokes I is the weighted mean of the hands that are good (`contimg.drift.data.StokesI`), of weight
        w1 + w2. Otherwise it is what imagers make of a set, the mean of the hands where all are good: WSClean gives
        (XX + YY) / 2 the weight 2 min(w1, w2); its variance is (1 / w1 + 1 / w2) / 4.

    Returns
    -------
    DataWeights

    Raises
    ------
    Rejected
        Nothing is unflagged.
    """
    from casacore import tables

    scale = meta.freq_hz / SPEED_OF_LIGHT_M_S
    with tables.table(str(ms), readonly=True, ack=False) as table:
        longest = float(np.hypot(*table.getcol("UVW")[:, :2].T).max() * scale.max())
        plane = UvPlane.empty(fields_rad, longest)
        kept = _Kept(table, meta, plane, scale, uvmin_klambda, weighted_hands)
        for _, cells, hands in kept:
            plane.add(cells, kept.stokes_i(hands))
        if not plane.density.any():
            raise Rejected("no visibility is left to image: all are flagged or have no weight")
        factor = plane.briggs(robust)
        time_channel = np.zeros((meta.n_times, len(meta.freq_hz)))
        noise, count = 0.0, 0
        for i, cells, hands in kept:
            weights = kept.stokes_i(hands)
            imaging = weights * factor[cells]
            time_channel[i] = np.sum(imaging, axis=0)
            noise += float(np.sum(imaging**2 * kept.variance(hands)))
            count += int(np.count_nonzero(weights))
    thermal = float(np.sqrt(noise) / time_channel.sum())
    return DataWeights(
        time_channel, synthesised_beam(plane, robust), thermal, count, plane.noise(robust), plane.coverage()
    )


@dataclass(frozen=True)
class _Kept:
    """The visibilities of a set that are imaged, an integration at a time.

    Iterated over, it gives the integration's number, the cells (nbl, nchan) and the weights of the parallel hands,
    (nhands, nbl, nchan), 0 where a visibility is not used; the second time from memory, where it all fits
    (`MOST_KEPT_BYTES`).
    """

    table: Any
    meta: MsMeta
    plane: UvPlane
    scale: np.ndarray
    uvmin_klambda: float
    weighted_hands: bool
    seen: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        if self.seen:
            yield from self.seen
            return
        size = self.meta.n_times * self.meta.n_baselines * len(self.scale)
        keep = 4 * size * (1 + len(parallel_hands(self.meta))) <= MOST_KEPT_BYTES
        for entry in self._read():
            if keep:
                self.seen.append(entry)
            yield entry

    def _read(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        table, meta = self.table, self.meta
        spectrum = "WEIGHT_SPECTRUM" in table.colnames() and table.iscelldefined("WEIGHT_SPECTRUM", 0)
        column = "WEIGHT_SPECTRUM" if spectrum else "WEIGHT"
        auto, hands = meta.ant1 == meta.ant2, parallel_hands(meta)
        for i in range(meta.n_times):
            start, rows = i * meta.n_baselines, meta.n_baselines
            uvw, flags, found = (table.getcol(name, start, rows) for name in ("UVW", "FLAG", column))
            u, v = uvw[:, :1] * self.scale, uvw[:, 1:2] * self.scale
            if not spectrum:
                found = found[:, np.newaxis, :]
            weights = np.empty((len(hands), *flags.shape[:2]), np.float32)
            for hand, kept in zip(hands, weights, strict=True):
                kept[:] = np.where(flags[..., hand], 0.0, found[..., hand])
            weights[:, auto] = 0.0
            if self.uvmin_klambda > 0:
                weights[:, np.hypot(u, v) < 1e3 * self.uvmin_klambda] = 0.0
            yield i, self.plane.cells(u, v).astype(np.int32), weights

    def stokes_i(self, hands: np.ndarray) -> np.ndarray:
        """Weights of Stokes I, (nbl, nchan), from those of the hands."""
        if self.weighted_hands:
            return np.asarray(hands.sum(axis=0))
        return np.asarray(len(hands) * hands.min(axis=0))

    def variance(self, hands: np.ndarray) -> np.ndarray:
        """Variances of Stokes I, (nbl, nchan), from the weights of the hands; 0 where it is not used."""
        if self.weighted_hands:
            weight = self.stokes_i(hands)
            return np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
        good = np.broadcast_to((hands > 0).all(axis=0), hands.shape)
        inverse = np.divide(1.0, hands, out=np.zeros_like(hands), where=good)
        return np.asarray(inverse.sum(axis=0) / len(hands) ** 2)
