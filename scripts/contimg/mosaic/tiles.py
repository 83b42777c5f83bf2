"""What a mosaic reads of a tile's image directory: verdict, headers, then planes, one tile at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.errors import InputError
from contimg.core.fits import read_plane
from contimg.mosaic.common_beam import GaussianBeam, convolve_gaussian, kernel_reach_px

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

PLANES = ("image", "pb", "rms")
SPLINE_REACH_PX = 4
"""A cubic spline carries 0.27 per pixel of a jump onward: 0.5 % is left after 4 pixels."""


@dataclass(frozen=True)
class TileImage:
    """A tile that may go into a mosaic, as its headers describe it (no pixels).

    ``wcs`` is celestial and ICRS, ``shape`` is (rows, columns), ``freq_hz`` the effective frequency, the
    times are MJD UTC of the first integration's start and the last one's end, ``band_hz`` the edges of its band.
    """

    name: str
    path: Path
    wcs: WCS
    shape: tuple[int, int]
    beam: GaussianBeam
    freq_hz: float
    start_mjd: float
    end_mjd: float
    telescope: str
    band_hz: tuple[float, float] | None = None

    def plane_path(self, plane: str) -> Path:
        """Path of one FITS file of the tile: image, pb or rms."""
        return self.path / f"{self.name}.{plane}.fits"


def inspect_tiles(
    tile_dirs: Sequence[Path], stopped: Mapping[str, str] | None = None
) -> tuple[list[TileImage], list[dict[str, Any]]]:
    """Sort tile directories into those that can be used and those that cannot, each with its reason.

    Parameters
    ----------
    tile_dirs : sequence of Path
        ``images/{date}/{tile}`` directories; they need not exist.
    stopped : mapping of str to str, optional
        Directories that are not to be used although they are good, and why: they count as rejected.

    Returns
    -------
    tiles : list of TileImage
        The usable ones, by name.
    left_out : list of dict
        ``tile``, ``status`` (missing, rejected or unreadable), ``reason``, ``weight`` (0) and ``path``.
    """
    tiles: list[TileImage] = []
    left_out: list[dict[str, Any]] = []
    for path in sorted({Path(p) for p in tile_dirs}, key=lambda p: (p.name, str(p))):
        try:
            verdict, reason = _read_verdict(path)
            if verdict == "ok" and stopped and str(path) in stopped:
                verdict, reason = "rejected", stopped[str(path)]
            if verdict == "ok":
                tiles.append(_read_tile(path))
                continue
        except InputError as error:
            verdict, reason = "unreadable", str(error)
        left_out.append(tile_record(path, verdict, reason))
    return tiles, left_out


def tile_record(path: Path, status: str, reason: str | None, *, weight: float = 0.0) -> dict[str, Any]:
    """Return the entry of one tile in a mosaic's list of tiles."""
    return {"tile": path.name, "status": status, "reason": reason, "weight": weight, "path": str(path)}


def _read_verdict(path: Path) -> tuple[str, str | None]:
    if not path.is_dir():
        return "missing", "there is no such image directory"
    sidecar = path / "status.json"
    try:
        content = json.loads(sidecar.read_text())
        status, reason = content["status"], content.get("reason")
    except FileNotFoundError:
        raise InputError(
            f"{sidecar}: expected the tile's verdict, found no such file: make the tile again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{sidecar}: expected JSON with a status, found {error!r}: make the tile again"
        ) from error
    if status == "ok":
        return "ok", None
    return "rejected", reason or "no reason given"


def _read_tile(path: Path) -> TileImage:
    from astropy.time import Time
    from astropy.wcs import WCS

    name = path.name
    headers = {plane: _read_header(path / f"{name}.{plane}.fits") for plane in PLANES}
    header = headers["image"]
    where = path / f"{name}.image.fits"
    shapes = {plane: (h["NAXIS2"], h["NAXIS1"]) for plane, h in headers.items()}
    if len(set(shapes.values())) != 1:
        raise InputError(
            f"{path}: expected image, pb and rms of one shape, found {shapes}: make the tile again"
        )
    try:
        wcs = WCS(header).celestial
        beam = GaussianBeam(float(header["BMAJ"]), float(header["BMIN"]), float(header["BPA"]))
        freq_hz = float(header["RESTFRQ"] if "RESTFRQ" in header else header["FREQ"])
        start_mjd = float(Time(header["DATE-OBS"], scale="utc").mjd)
        end_mjd = float(Time(header["DATE-END"], scale="utc").mjd)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{where}: the header lacks what a mosaic needs ({error}): make the tile again"
        ) from error
    if wcs.naxis != 2 or wcs.wcs.radesys != "ICRS":
        raise InputError(
            f"{where}: expected two ICRS axes, found {list(wcs.wcs.ctype)} in {wcs.wcs.radesys or 'no frame'}: "
            "make the tile again"
        )
    if not (
        np.isfinite([beam.major_deg, beam.minor_deg, beam.pa_deg]).all()
        and beam.major_deg >= beam.minor_deg > 0
    ):
        raise InputError(
            f"{where}: expected a restoring beam with BMAJ >= BMIN > 0, found {beam}: make the tile again"
        )
    return TileImage(
        name=name,
        path=path,
        wcs=wcs,
        shape=shapes["image"],
        beam=beam,
        freq_hz=freq_hz,
        start_mjd=start_mjd,
        end_mjd=end_mjd,
        telescope=str(header.get("TELESCOP", "")),
        band_hz=(float(header["FREQMIN"]), float(header["FREQMAX"])) if "FREQMIN" in header else None,
    )


def _read_header(path: Path) -> Header:
    """Header of a FITS image whose data are all there (the header says how many bytes that is)."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    try:
        # Of a file that is cut short astropy only warns; it is refused below.
        with (
            warnings.catch_warnings(action="ignore", category=AstropyUserWarning),
            fits.open(path, memmap=True, lazy_load_hdus=True) as hdus,
        ):
            hdu = hdus[0]
            info = hdu.fileinfo()
            expected, found = info["datLoc"] + hdu.size, path.stat().st_size
            header = hdu.header.copy()
    except FileNotFoundError:
        raise InputError(f"{path}: expected a FITS image, found no such file: make the tile again") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: expected a FITS image, found {error}: make the tile again") from error
    if found < expected:
        raise InputError(f"{path}: expected {expected} bytes, found {found} (cut short): make the tile again")
    if header.get("NAXIS", 0) < 2:
        raise InputError(f"{path}: expected an image, found NAXIS={header.get('NAXIS')}: make the tile again")
    return header


def load_planes(
    tile: TileImage,
    *,
    pb_limit: float,
    kernel_px: np.ndarray | None = None,
    jy_scale: float = 1.0,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a tile as what can be interpolated: a smooth image without gaps, and its inverse variance.

    The image is the apparent one over the primary beam. It is finite everywhere: where the beam is below
    ``pb_limit`` the division goes on with half the limit, so that a cubic spline meets no step at the edge
    of what is used. The inverse variance is NaN wherever a pixel is not to be used.

    With a kernel the *apparent* image is convolved, then divided: it has no gaps, and its noise is uniform.
    Over a beam of width sigma and a primary beam of logarithmic slope g the peak of a source then rises by
    exp(sigma^2 g^2 / 2) - 1 and its place moves by sigma^2 g, which is what division does to any image:
    6e-5 and 0.3 arcsec for a 62 arcsec beam where a primary beam of 2.7 degrees has fallen to 0.2. The noise
    changes by a factor taken from the images themselves: median absolute deviation after over before, on
    pixels in use.

    Parameters
    ----------
    tile : TileImage
    pb_limit : float
        Pixels where the power beam is lower are not used.
    kernel_px : numpy.ndarray (2, 2) or None
        Covariance of the convolving Gaussian in (x, y), pixels squared; None: none.
    jy_scale : float
        Ratio of the beams' solid angles, new over old.
    threads : int

    Returns
    -------
    image : numpy.ndarray (ny, nx) float32, Jy/beam
    inverse_variance : numpy.ndarray (ny, nx) float32, (Jy/beam)^-2, NaN where not to be used

    Raises
    ------
    InputError
        If a plane cannot be read or nothing in the tile can be used.
    """
    from scipy.ndimage import binary_dilation

    image = read_plane(tile.plane_path("image"))
    power = read_plane(tile.plane_path("pb"))
    rms = read_plane(tile.plane_path("rms"))
    np.nan_to_num(power, copy=False, nan=0.0)

    border = SPLINE_REACH_PX if kernel_px is None else SPLINE_REACH_PX + kernel_reach_px(kernel_px)
    usable = power >= np.float32(pb_limit)
    usable &= rms > 0
    gaps = ~np.isfinite(image)
    if gaps.any():
        image[gaps] = 0
        usable &= ~binary_dilation(gaps, np.ones((3, 3), bool), iterations=border)
    trim = border if kernel_px is not None else 1
    for edge in (np.s_[:trim], np.s_[-trim:]):
        usable[edge] = False
        usable[:, edge] = False
    if not usable.any():
        raise InputError(
            f"{tile.path}: no pixel has a finite rms and a primary beam of at least {pb_limit}: "
            "make the tile again"
        )

    noise = np.float32(1)
    if kernel_px is not None:
        sample = np.s_[::2, ::2]
        before = _absolute_deviation(image[sample][usable[sample]])
        image = convolve_gaussian(image, kernel_px, scale=jy_scale, threads=threads)
        after = _absolute_deviation(image[sample][usable[sample]])
        noise = np.float32(after / before) if before > 0 and after > 0 else np.float32(jy_scale)
    image /= np.maximum(power, np.float32(pb_limit / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        rms *= noise
        np.square(rms, out=rms)
        np.reciprocal(rms, out=rms)
    rms[~usable] = np.nan
    rms[~np.isfinite(rms)] = np.nan
    return image, rms


def _absolute_deviation(values: np.ndarray) -> float:
    """Median absolute deviation from the median (not scaled to a Gaussian)."""
    if values.size == 0:
        return 0.0
    return float(np.median(np.abs(values - np.median(values))))
