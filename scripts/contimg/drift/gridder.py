"""Visibilities in memory and their images: Briggs weights, dirty images, predictions, by ducc0's gridder.

The uvw are slanted along the array's plane, w ← w - a u - b v, and images are slant orthographic, as their headers say
(`contimg.image.header.slant`). What w is left after that turns a source by so little that it is neglected, where it is
(`Gridder.wide`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.io.fits import Header
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.predict import DriftArray, PointSources
from contimg.ms.weights import UvPlane

Array = NDArray[Any]

FLAT_RAD = 0.1
"""Where the array is so flat that w, less its slant over u and v, turns a source at the edge of what is searched by no
more than this (rms), the images are made without w: the source loses half of the square of it, 0.5 %, of its peak."""

TO_GRIDDER = np.array([-1.0, 1.0, 1.0])
"""From the (v, u, w) of a set, V = exp(2πi (u l + v m + w (n - 1)) ν / c), to the first, second and third coordinate of
ducc0, whose sign is the opposite and whose w has another; l is turned round, so that x grows toward the west as in FITS
images. Images are (ny, nx)."""

BLOCK_BYTES = 4e8
"""Visibilities are predicted in blocks of about this size."""


@dataclass(frozen=True)
class Visibilities:
    """Stokes I of the cross-correlations of a tile, in memory.

    Attributes
    ----------
    uvw : (nrows, 3) float64
        In metres, in the sign of a Measurement Set, time by time.
    freq_hz : (nchan,) float64
    vis : (nrows, nchan) complex64
        Jy.
    weight : (nrows, nchan) float32
        1/σ² of the real part; 0: bad.
    n_times : int
    """

    uvw: Array
    freq_hz: Array
    vis: Array
    weight: Array
    n_times: int

    @classmethod
    def residual(
        cls, data: StokesI | AveragedI, array: DriftArray | None = None, sources: pd.DataFrame | None = None
    ) -> Visibilities:
        """What is left of data without sources.

        Parameters
        ----------
        data : StokesI or AveragedI
        array : DriftArray, optional
            Made from `data.meta`; needed where there are sources.
        sources : DataFrame, optional
            The table of `contimg.drift.fit.fit`.
        """
        meta = data.meta
        cross = np.flatnonzero(meta.ant1 != meta.ant2)
        shape = meta.n_times * len(cross), len(meta.freq_hz)
        made = cls(
            np.empty((shape[0], 3)),
            meta.freq_hz,
            np.empty(shape, np.complex64),
            np.empty(shape, np.float32),
            meta.n_times,
        )
        view = None
        if array is not None and sources is not None and len(sources):
            view = array.view(PointSources.from_table(sources))
        for i in range(meta.n_times):
            rows = slice(i * len(cross), (i + 1) * len(cross))
            vis, weight = data.read(i)
            made.vis[rows] = (vis if view is None else vis - view.predict(i))[cross]
            made.weight[rows] = weight[cross]
            made.uvw[rows] = data.uvw(i)[cross]
        return made


class Gridder:
    """Images of visibilities on a header's grid, and visibilities of such images.

    Parameters
    ----------
    data : Visibilities
        Their weights and coordinates are used; `vis` is not.
    header : Header
        2-D: the grid, slanted as PV2_1 and PV2_2 say.
    cell_rad : float
        The pixel on the axes that the uvw refer to; that of the header has aberration taken out (1e-4 at most).
    robust : float or None
        Briggs weighting; None: natural weights.
    uvmin_klambda : float
        Shorter baselines have no weight.
    farthest_rad : float
        Distance from the phase centre of the farthest source that matters, which decides on w.
    accuracy : float
        Of gridding, relative.
    threads : int
    """

    def __init__(
        self,
        data: Visibilities,
        header: Header,
        *,
        cell_rad: float,
        robust: float | None,
        uvmin_klambda: float,
        farthest_rad: float,
        accuracy: float,
        threads: int,
    ) -> None:
        self.cell_rad = cell_rad
        self.shape = int(header["NAXIS2"]), int(header["NAXIS1"])
        self.freq_hz = data.freq_hz
        self.accuracy, self.threads = accuracy, threads
        uvw = data.uvw.copy()
        uvw[:, 2] += uvw[:, :2] @ [header.get(key, 0.0) for key in ("PV2_1", "PV2_2")]
        self.uvw = uvw[:, [1, 0, 2]] * TO_GRIDDER
        self.wide = bool(self._turn_rad(farthest_rad) > FLAT_RAD)
        self.weight = self._weights(data, robust, uvmin_klambda)
        self.total = float(self.weight.sum(dtype=np.float64))

    def dirty(self, vis: Array) -> Array:
        """Image (ny, nx) of visibilities, float32, Jy/beam."""
        return self._grid(vis, slice(None), self.shape) / np.float32(self.total)

    def psf(self, shape: tuple[int, int] | None = None) -> Array:
        """Image of a source of 1 Jy at the middle, (ny, nx) or of another shape, float32."""
        ones = np.ones(self.weight.shape, np.complex64)
        return self._grid(ones, slice(None), shape or self.shape) / np.float32(self.total)

    def residual(self, vis: Array, model: Array) -> Array:
        """Image (ny, nx) of visibilities less those of a model (ny, nx, Jy/pixel), float32, Jy/beam.

        Without w it is the dirty image less the model convolved (`Convolution`), which costs less.
        """
        import ducc0

        image = np.zeros(self.shape, np.float32)
        for rows in self._blocks():
            predicted = ducc0.wgridder.dirty2vis(
                uvw=self.uvw[rows],
                freq=self.freq_hz,
                dirty=np.ascontiguousarray(model, np.float32),
                **self._how,
            )
            np.subtract(vis[rows], predicted, out=predicted)
            image += self._grid(predicted, rows, self.shape)
        return image / np.float32(self.total)

    def _grid(self, vis: Array, rows: slice, shape: tuple[int, int]) -> Array:
        import ducc0

        return ducc0.wgridder.vis2dirty(
            uvw=self.uvw[rows],
            freq=self.freq_hz,
            vis=vis,
            wgt=self.weight[rows],
            npix_x=shape[0],
            npix_y=shape[1],
            **self._how,
        )

    @property
    def _how(self) -> dict[str, Any]:
        return {
            "pixsize_x": self.cell_rad,
            "pixsize_y": self.cell_rad,
            "epsilon": self.accuracy,
            "do_wgridding": self.wide,
            "divide_by_n": False,  # an image holds the sources' fluxes, not what falls on dl dm
            "nthreads": self.threads,
        }

    def _blocks(self) -> Iterator[slice]:
        n_rows, n_chan = self.weight.shape
        count = max(1, int(np.ceil(8 * n_rows * n_chan / BLOCK_BYTES)))
        for part in np.array_split(np.arange(n_rows), count):
            yield slice(int(part[0]), int(part[-1]) + 1)

    def _turn_rad(self, farthest_rad: float) -> float:
        """What w turns the phase of a source so far out by, rms, at the upper end of the band."""
        w = float(np.sqrt(np.mean(self.uvw[:, 2] ** 2))) * self.freq_hz[-1] / SPEED_OF_LIGHT_M_S
        return float(2 * np.pi * w * (1 - np.sqrt(max(1 - farthest_rad**2, 0.0))))

    def _weights(self, data: Visibilities, robust: float | None, uvmin_klambda: float) -> Array:
        """Imaging weights of the visibilities, (nrows, nchan) float32."""
        scale = self.freq_hz / SPEED_OF_LIGHT_M_S
        weight = data.weight
        if uvmin_klambda > 0:
            length = np.hypot(*data.uvw[:, :2].T)
            weight = weight * (length[:, np.newaxis] * scale >= 1e3 * uvmin_klambda)
        if robust is None:
            return weight
        height, width = (size * self.cell_rad for size in self.shape)
        longest = float(np.hypot(*data.uvw[:, :2].T).max() * scale.max())
        plane = UvPlane.empty((width, height), longest)
        weight = weight.copy()
        cells = np.empty(weight.shape, np.int32)
        parts = [slice(k[0], k[-1] + 1) for k in np.array_split(np.arange(len(weight)), data.n_times)]
        for rows in parts:
            u, v = (data.uvw[rows, axis, np.newaxis] * scale for axis in (0, 1))
            cells[rows] = plane.cells(u, v)
            plane.add(cells[rows], weight[rows])
        factor = plane.briggs(robust).astype(np.float32)
        for rows in parts:
            weight[rows] *= factor[cells[rows]]
        return weight


class Convolution:
    """What images without w show of a model: its convolution with the point spread function.

    A model of one corner is seen in the other, so that the function is needed out to twice the field.

    Parameters
    ----------
    psf : (2 ny, 2 nx) float32
        Point spread function, its peak in the middle.
    threads : int
    """

    def __init__(self, psf: Array, threads: int) -> None:
        import ducc0

        self.shape = psf.shape[0] // 2, psf.shape[1] // 2
        self.threads = threads
        even = np.fft.ifftshift(psf)
        even[self.shape[0]], even[:, self.shape[1]] = 0.0, 0.0  # farther than any two pixels are apart
        # real, as the function is the same to either side
        self._transfer = ducc0.fft.r2c(even, axes=(0, 1), nthreads=threads).real.copy()

    def image(self, model: Array) -> Array:
        """Image (ny, nx), float32, Jy/beam, of a model (ny, nx), Jy/pixel."""
        import ducc0

        (ny, nx), how = self.shape, {"nthreads": self.threads}
        wide = np.zeros((ny, 2 * nx), np.float32)
        wide[:, :nx] = model
        # rows that are empty, or are not looked at, are not transformed
        plane = np.zeros((2 * ny, nx + 1), np.complex64)
        ducc0.fft.r2c(wide, axes=(1,), out=plane[:ny], **how)
        ducc0.fft.c2c(plane, axes=(0,), out=plane, **how)
        plane *= self._transfer
        ducc0.fft.c2c(plane, axes=(0,), out=plane, forward=False, **how)
        ducc0.fft.c2r(plane[:ny], axes=(1,), lastsize=2 * nx, forward=False, inorm=0, out=wide, **how)
        return wide[:, :nx] / np.float32(4 * ny * nx)
