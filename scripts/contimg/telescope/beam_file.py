"""A primary beam that was measured: a FITS file of samples, read, interpolated and written.

One image, primary HDU, float32 or float64: the absolute power response of the mean of the parallel products (1 is
what fluxes refer to), [frequency, declination, hour angle] in the order of numpy. Axes, each linear: FITS 1 ``HA``
(deg, west), 2 ``DEC`` (deg, apparent north), 3 ``FREQ`` (Hz). Offsets are great-circle distances from the pointing,
split along the direction in which it lies (ARC, Calabretta & Greisen 2002, section 5.1.5).

A cubic spline in both offsets on every plane, and one across the planes in frequency (of lower order where there are
fewer than four). Outside the samples the power is 0; negative powers are 0. How finely to sample: docs/beam.md, "A
beam file".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RectBivariateSpline, make_interp_spline

from contimg.core.errors import NamedFileError
from contimg.telescope.geometry import pointing_separation

if TYPE_CHECKING:
    from astropy.io.fits import Header

Array = NDArray[np.float64]
AXES = (("HA", "deg"), ("DEC", "deg"), ("FREQ", "Hz"))
MIN_SAMPLES = (4, 4, 2)
BAND_MARGIN = 0.5
"""A frequency may lie outside the planes by this part of their distance: a plane stands for its part of the band."""
DIRECTIONS = 72
RADIAL_STEP_RAD = np.radians(0.02)


def offsets(
    ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets west and north of the pointing, rad: the distance split along its direction (ARC)."""
    ha, dec = np.asarray(ha_rad, np.float64), np.asarray(dec_rad, np.float64)
    west = np.cos(dec) * np.sin(ha)
    # sin(dec - d0) + the rest: no cancellation near the pointing
    north = (
        np.sin(dec - pointing_dec_rad) + 2 * np.cos(dec) * np.sin(pointing_dec_rad) * np.sin(0.5 * ha) ** 2
    )
    sine = np.hypot(west, north)
    angle = pointing_separation(ha, dec, pointing_dec_rad)
    stretch = np.divide(angle, sine, out=np.ones_like(sine), where=sine > 0)
    return west * stretch, north * stretch


@dataclass(frozen=True)
class SampledBeam:
    """A power pattern on a grid; a `contimg.telescope.beam.PowerBeam`.

    Attributes
    ----------
    ha_rad, dec_rad : ndarray, (nha,), (ndec,)
        Offsets of the samples, ascending, rad.
    freq_hz : ndarray, (nfreq,)
        Ascending.
    samples : ndarray, (nfreq, ndec, nha)
        Power.
    origin : str
        Where it comes from, for messages.
    """

    ha_rad: Array
    dec_rad: Array
    freq_hz: Array
    samples: Array
    origin: str = "beam"

    @cached_property
    def _splines(self) -> list[RectBivariateSpline]:
        return [RectBivariateSpline(self.dec_rad, self.ha_rad, plane) for plane in self.samples]

    @cached_property
    def _frequency_spline(self) -> object:
        planes = len(self.freq_hz)
        # frequencies from -1 to 1: knots of 1e9 would make the spline's equations ill-conditioned
        return make_interp_spline(self._scaled(self.freq_hz), np.eye(planes), k=3 if planes >= 4 else 1)

    def _scaled(self, freq_hz: ArrayLike) -> Array:
        low, high = self.freq_hz[0], self.freq_hz[-1]
        return (2.0 * np.asarray(freq_hz, np.float64) - low - high) / (high - low)

    def mixture(self, freq_hz: ArrayLike) -> Array:
        """How much of each plane makes the pattern at each frequency, (nplanes, nchan).

        Raises
        ------
        NamedFileError
            A frequency lies outside the planes.
        """
        freq = np.atleast_1d(np.asarray(freq_hz, np.float64))
        margin = BAND_MARGIN * (self.freq_hz[1] - self.freq_hz[0])
        if freq.min() < self.freq_hz[0] - margin or freq.max() > self.freq_hz[-1] + margin:
            raise NamedFileError(
                f"{self.origin}: expected planes that cover {freq.min() / 1e6:.1f} to {freq.max() / 1e6:.1f} MHz, "
                f"found {self.freq_hz[0] / 1e6:.1f} to {self.freq_hz[-1] / 1e6:.1f} MHz; sample the beam over the band"
            )
        return np.asarray(self._frequency_spline(self._scaled(freq))).T  # type: ignore[operator]

    def planes(self, west_rad: ArrayLike, north_rad: ArrayLike) -> Array:
        """Power at offsets (...) in every plane, (..., nplanes); 0 outside the samples."""
        west, north = np.asarray(west_rad, np.float64), np.asarray(north_rad, np.float64)
        inside = (west >= self.ha_rad[0]) & (west <= self.ha_rad[-1])
        inside &= (north >= self.dec_rad[0]) & (north <= self.dec_rad[-1])
        found = np.zeros((*west.shape, len(self.freq_hz)))
        for number, spline in enumerate(self._splines):
            found[inside, number] = spline.ev(north[inside], west[inside])
        return found

    def power(
        self, ha_rad: ArrayLike, dec_rad: ArrayLike, pointing_dec_rad: float, freq_hz: ArrayLike
    ) -> Array:
        """See `contimg.telescope.beam.PowerBeam.power`."""
        at_planes = self.planes(*offsets(ha_rad, dec_rad, pointing_dec_rad))
        return np.maximum(at_planes @ self.mixture(freq_hz), 0.0)

    def weighted(
        self,
        ha_rad: ArrayLike,
        dec_rad: ArrayLike,
        pointing_dec_rad: float,
        freq_hz: ArrayLike,
        weights: Array,
    ) -> Array:
        """See `contimg.telescope.beam.PowerBeam.weighted`; a negative sum is 0."""
        at_planes = self.planes(*offsets(ha_rad, dec_rad, pointing_dec_rad))
        return np.maximum(np.einsum("...tp,tp->...", at_planes, weights @ self.mixture(freq_hz).T), 0.0)

    def radius(self, level: float, freq_hz: float) -> float:
        """See `contimg.telescope.beam.PowerBeam.radius`.

        Raises
        ------
        NamedFileError
            The power does not fall to `level` within the samples in every direction.
        """
        reach = min(-self.ha_rad[0], self.ha_rad[-1], -self.dec_rad[0], self.dec_rad[-1])
        angle = np.linspace(0.0, reach, max(2, int(np.ceil(reach / RADIAL_STEP_RAD)) + 1))
        azimuth = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
        west, north = np.outer(np.sin(azimuth), angle), np.outer(np.cos(azimuth), angle)
        power = self.planes(west, north) @ self.mixture(freq_hz)[:, 0]
        # the last sample above the level of the lobe that holds the maximum, then linearly to the first below
        first = np.array([_falls(line, level) for line in power])
        if not (first > 0).all():
            raise NamedFileError(
                f"{self.origin}: expected a beam that is above {level:g} and falls to it within its samples, found "
                f"otherwise within the {np.degrees(reach):.2f} deg from the pointing they reach; sample farther out"
            )
        above, below = (np.take_along_axis(power, (first - k)[:, np.newaxis], 1)[:, 0] for k in (1, 0))
        part = (above - level) / (above - below)
        return float(((first - 1 + part) * (angle[1] - angle[0])).max())


def _falls(line: Array, level: float) -> int:
    """Index of the first sample below `level` behind the highest, 0 if there is none or all are below."""
    top = int(np.argmax(line))
    below = np.flatnonzero(line[top:] < level)
    return top + int(below[0]) if len(below) and line[top] >= level else 0


def read_beam(path: Path) -> SampledBeam:
    """Read a beam file.

    Raises
    ------
    NamedFileError
        There is no such file, or it is not laid out as this module says.
    """
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            header = hdus[0].header
            data = None if hdus[0].data is None else np.array(hdus[0].data, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise NamedFileError(f"{path}: expected a beam file (FITS), found {error}") from None
    axes = [_axis(path, header, number) for number in range(1, 4)]
    if data is None or data.ndim != 3:
        raise NamedFileError(f"{path}: expected an image [FREQ, DEC, HA], found NAXIS = {header['NAXIS']}")
    for number, axis in enumerate(axes):
        data = np.flip(data, 2 - number) if axis[0] > axis[-1] else data
    if not np.isfinite(data).all():
        raise NamedFileError(f"{path}: expected finite powers everywhere, found NaN or infinity; fill them")
    ha, dec, freq = (np.sort(axis) for axis in axes)
    return SampledBeam(np.radians(ha), np.radians(dec), freq, data, origin=str(path))


def _axis(path: Path, header: Header, number: int) -> Array:
    """World coordinates of one linear axis, in the order of the file."""
    (name, unit), least = AXES[number - 1], MIN_SAMPLES[number - 1]
    kind, found_unit = (str(header.get(f"{key}{number}", "")).strip() for key in ("CTYPE", "CUNIT"))
    count = int(header.get(f"NAXIS{number}", 0))
    if kind != name or found_unit.lower() != unit.lower():
        raise NamedFileError(
            f"{path}: expected axis {number} to be {name} in {unit} (CTYPE{number}, CUNIT{number}), found "
            f"{kind or 'nothing'!r} in {found_unit or 'nothing'!r}; docs/beam.md has the layout"
        )
    step = float(header.get(f"CDELT{number}", 0.0))
    if count < least or step == 0.0:
        raise NamedFileError(
            f"{path}: expected at least {least} samples along {name}, found {count} in steps of {step:g} {unit}"
        )
    reference = float(header.get(f"CRPIX{number}", 1.0))
    pixels = np.arange(1, count + 1, dtype=np.float64)
    return np.asarray(float(header.get(f"CRVAL{number}", 0.0)) + (pixels - reference) * step)


def write_beam(path: Path, beam: SampledBeam, history: str = "") -> None:
    """Write a beam file; its axes must be equidistant."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(beam.samples.astype(np.float64))
    header = hdu.header
    for number, values in enumerate(
        (np.degrees(beam.ha_rad), np.degrees(beam.dec_rad), beam.freq_hz), start=1
    ):
        header[f"CTYPE{number}"], header[f"CUNIT{number}"] = AXES[number - 1]
        header[f"CRPIX{number}"], header[f"CRVAL{number}"] = 1.0, values[0]
        header[f"CDELT{number}"] = (values[-1] - values[0]) / (len(values) - 1)
    header["BTYPE"] = "Power beam"
    header["BUNIT"] = ""
    if history:
        header["HISTORY"] = history
    hdu.writeto(path, overwrite=True)
