"""A tile's image: imager, primary beam, noise, picture, and the numbers that say how good it is.

The Measurement Set that comes in is calibrated and on scratch. `resolve` (`contimg.image.plan`) fixes the
settings, `image_tile` goes step by step: weights, bright sources out (`contimg.image.bright`), header and primary beam,
CLEAN of the rest (`contimg.image.deconvolve`), bright sources back, its place against the catalogue, files, numbers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.io.fits import Header

from contimg.core import tables
from contimg.core.constants import MJD_EPOCH_JD, REFERENCE_HZ
from contimg.core.errors import Rejected
from contimg.drift.sources import COLUMNS
from contimg.drift.subtract import restore
from contimg.image import bright
from contimg.image import header as fitsimage
from contimg.image.check import Planes
from contimg.image.deconvolve import MEMORY_GB, Cleaned, Imager, beam_pixels, deconvolve
from contimg.image.picture import save_picture
from contimg.image.place import Shift
from contimg.image.place import measure as measure_shift
from contimg.image.plan import ImagingPlan
from contimg.image.steps import save_steps
from contimg.ms.meta import MsMeta
from contimg.ms.private import PrivateSet
from contimg.ms.weights import DataWeights, weigh
from contimg.sky.measure import find
from contimg.sky.noise import local_rms, robust_rms
from contimg.telescope.beam import PowerBeam, load_beam
from contimg.telescope.beam_map import beam_map
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    from contimg.drift.fit import Fit
    from contimg.sky.catalog import Catalog

FOUND_SIGMA = 7.0  # sources circled in the picture and counted
SLANTED = ("ducc0", "tclean")
"""Backends whose images are slanted along the array's plane."""


def image_tile(
    ms: PrivateSet,
    out_dir: Path,
    *,
    plan: ImagingPlan,
    beam: BeamOptions,
    weights: np.ndarray | None = None,
    origin: Mapping[str, str] | None = None,
    scratch: Path,
    threads: int,
    log: Path,
    memory_gb: float = MEMORY_GB,
    catalog: Catalog | None = None,
) -> dict[str, Any]:
    """Image a calibrated tile and write its files.

    Writes ``{tile}.image.fits`` (apparent, Jy/beam), ``.pbcor.fits`` (over the power beam, NaN below
    `pb_limit`), ``.pb.fits`` (absolute drift-averaged power beam, everywhere), ``.rms.fits`` (local rms of
    pbcor, Jy/beam, NaN below `pb_limit`), ``.png`` and ``.steps.png``; with ``sky_model: drift`` also
    ``.sources.parquet``, the table of `contimg.drift.fit.fit`; with `keep` ``.dirty.fits``, ``.psf.fits``,
    ``.model.fits`` and ``.residual.fits`` of CLEAN.

    Parameters
    ----------
    ms : PrivateSet
        Calibrated, with weights; another one afterwards if far sources or gains are taken out of it.
    out_dir : Path
        Existing directory.
    plan : ImagingPlan
        From `contimg.image.plan.resolve`.
    beam : BeamOptions
        Primary beam.
    weights : (nt, nchan) float, optional
        Sums of the data weights. The primary beam is averaged with the weights of the image, which Briggs
        weighting changes; with `weights` the metrics tell how much that matters.
    origin : mapping, optional
        Further FITS keywords (at most 8 letters) and their values.
    scratch : Path
        Existing directory for temporary files; left as it was found.
    threads : int
    log : Path
        The imager's output is appended.
    memory_gb : float
        What WSClean may take.
    catalog : Catalog, optional
        Reference sources: with ``sky_model: drift`` those that should be bright are fitted first.

    Returns
    -------
    dict
        Metrics, JSON-able, with units in the names.

    Raises
    ------
    Rejected
        Everything is flagged, the image is blank, or CLEAN diverged twice.
    SystemFault
        The imager failed.
    """
    seconds = _Seconds()
    pattern = load_beam(beam)
    used = weigh_image(ms, plan)
    seconds.lap("seconds_weights")
    with _folder(scratch / f"rest.{ms.path.stem}") as folder:
        if plan.options.sky_model == "drift":
            rest = bright.subtract_bright(
                ms, plan, used, beam=pattern, catalog=catalog, folder=folder, threads=threads, log=log
            )
            used = weigh_image(ms, plan) if rest.reweighted else used
        else:
            rest = bright.everything(ms, plan)
        seconds.lap("seconds_sky_model")
        plan = for_resolved_sources(plan, rest.fit)
        header = image_header(ms, plan, used, origin)
        pb = beam_map(header, ms.meta, used.time_channel, pattern)
        work = scratch / f"image.{ms.path.stem}"
        more: dict[str, Any] = {"work": work, "threads": threads, "memory_gb": memory_gb, "log": log}
        cleaned = deconvolve(Imager.of(rest, ms.meta, plan, header, pb, **more), plan)
    rest = replace(rest, visibilities=None)  # as large as the data, and of no more use
    seconds.lap("seconds_imager")
    image = restored(cleaned, rest.fit, header, pb, plan)
    shift = None
    if rest.fit is not None:
        table, shift = placed(rest.fit.table, header, used, catalog if plan.options.place == "auto" else None)
        path = out_dir / f"{ms.meta.tile}.sources.parquet"
        middle = float(np.mean(ms.meta.times_jd)) - MJD_EPOCH_JD
        tables.write(path, table, COLUMNS, {"freq_hz": REFERENCE_HZ, "mjd": middle})
    write_planes(out_dir / ms.meta.tile, image, cleaned.planes, plan.options.keep)
    sources = image.sources()
    write_picture(out_dir / f"{ms.meta.tile}.png", image, sources)
    write_steps(
        out_dir / f"{ms.meta.tile}.steps.png", image, cleaned.planes, used, fitted=rest.fit is not None
    )
    metrics = {**image.describe(sources), **describe_weights(used, ms.meta), **describe_clean(cleaned)}
    metrics["sky_model"] = None if rest.fit is None else rest.fit.summary()
    metrics |= {"outside": rest.outside, "selfcal": rest.selfcal}
    metrics |= {"shift": None if shift is None else shift.to_json(), **seconds.all()}
    if weights is not None:
        metrics["beam_change_by_weighting"] = weighting_change(header, ms.meta, used, weights, pattern)
    return metrics


def weigh_image(ms: PrivateSet, plan: ImagingPlan) -> DataWeights:
    """What the data's weights, as they are now, and the plan's make of the image: beam, noise, times and channels."""
    return weigh(
        ms.path,
        ms.meta,
        fields_rad=(
            float(np.radians(plan.nx * plan.cell_arcsec / 3600)),
            float(np.radians(plan.ny * plan.cell_arcsec / 3600)),
        ),
        robust=plan.robust,
        uvmin_klambda=plan.uvmin_klambda,
        weighted_hands=plan.in_memory or plan.options.sky_model == "drift",
    )


def for_resolved_sources(plan: ImagingPlan, fit: Fit | None) -> ImagingPlan:
    """The plan with components of several sizes, where that is on `auto` and sources fitted are resolved."""
    if plan.options.multiscale != "auto" or fit is None or not fit.n_resolved:
        return plan
    why = f"{fit.n_resolved} of the sources fitted are resolved"
    return replace(plan, multiscale=True, why={**plan.why, "multiscale": why})


def image_header(
    ms: PrivateSet, plan: ImagingPlan, used: DataWeights, origin: Mapping[str, str] | None = None
) -> Header:
    """Header of the tile's images, as the backend projects them, with further keywords."""
    header = fitsimage.tile_header(
        ms.meta,
        plan,
        axes=fitsimage.imager_axes(ms.path, ms.meta),
        slope=fitsimage.slant(ms.path, ms.meta) if plan.backend in SLANTED else (0.0, 0.0),
        beam_arcsec=used.beam_arcsec,
        freq_hz=used.effective_freq_hz(ms.meta.freq_hz),
        n_visibilities=used.n_visibilities,
    )
    header.update({key.upper()[:8]: str(value)[-68:] for key, value in (origin or {}).items()})
    return header


@dataclass(frozen=True)
class TileImage:
    """The planes of a tile's image, each (ny, nx) float32.

    Attributes
    ----------
    header : Header
    apparent, noise : (ny, nx)
        Jy/beam, not corrected for the beam; local rms.
    pb : (ny, nx)
        Absolute drift-averaged power beam.
    residual_rms_jy : float
        Of the middle of what CLEAN left.
    pb_limit : float
        Below it there is no beam-corrected image.
    """

    header: Header
    apparent: np.ndarray
    noise: np.ndarray
    pb: np.ndarray
    residual_rms_jy: float
    pb_limit: float

    @property
    def inside(self) -> np.ndarray:
        """Where the power beam is above its limit."""
        return np.asarray(self.pb >= self.pb_limit)

    @property
    def seen(self) -> np.ndarray:
        """The apparent image, NaN below the limit."""
        return np.where(self.inside, self.apparent, np.nan)

    @property
    def centre_rms_jy(self) -> float:
        """Median of the local rms in the middle."""
        return float(np.nanmedian(self.noise[_central(self.noise.shape)]))

    def over_beam(self, plane: np.ndarray) -> np.ndarray:
        """A plane over the power beam, NaN below the limit."""
        return np.where(self.inside, plane / np.maximum(self.pb, 1e-6), np.nan)

    def sources(self) -> pd.DataFrame:
        """Sources above `FOUND_SIGMA`, as `contimg.sky.measure.find` measures them in the apparent image."""
        return find(self.seen, self.header, self.noise, FOUND_SIGMA)

    def describe(self, sources: pd.DataFrame) -> dict[str, Any]:
        """Numbers for a sidecar."""
        peak = float(np.nanmax(self.seen))
        return {
            "rms_jy": self.centre_rms_jy,
            "residual_rms_jy": self.residual_rms_jy,
            "peak_jy": peak,
            "dynamic_range": peak / self.centre_rms_jy,
            "pb_max": float(self.pb.max()),
            "n_sources": len(sources),
            "found_sigma": FOUND_SIGMA,
        }


def restored(
    cleaned: Cleaned, fit: Fit | None, header: Header, pb: np.ndarray, plan: ImagingPlan
) -> TileImage:
    """The image with the fitted sources back in it; its noise is that of the image without them.

    What is left of the data without them is multiplied by what the fit took of it (`Fit.gain`).

    Raises
    ------
    Rejected
        The power beam is nowhere above its limit.
    """
    planes, options = cleaned.planes, plan.options
    if not (pb >= options.pb_limit).any():
        raise Rejected(
            f"the image lies outside the primary beam: nowhere is it above pb_limit {options.pb_limit:g}"
        )
    gain = np.float32(1.0 if fit is None else fit.gain)
    rest = gain * planes.restored
    beam_arcsec = (3600 * header["BMAJ"], 3600 * header["BMIN"], header["BPA"])
    return TileImage(
        header,
        rest if fit is None else restore(rest, header, pb, fit.table),
        local_rms(rest, options.rms_box_beams * beam_pixels(beam_arcsec, plan)),
        pb,
        float(gain) * robust_rms(planes.residual[_central(planes.residual.shape)]),
        options.pb_limit,
    )


def placed(
    table: pd.DataFrame, header: Header, used: DataWeights, catalog: Catalog | None
) -> tuple[pd.DataFrame, Shift | None]:
    """Take a significant shift against the catalogue out of the fitted sources, and out of the header, in place."""
    if catalog is None:
        return table, None
    shift = measure_shift(
        table,
        catalog,
        ra_deg=float(header["CRVAL1"]),
        dec_deg=float(header["CRVAL2"]),
        radius_deg=bright.SEARCH_RADIUS_DEG,
        beam_arcsec=used.beam_arcsec,
    )
    if shift is not None and shift.taken_out:
        table = shift.move(header, table)
    return table, shift


_OF_CLEAN = {
    "dirty": ("Jy/beam", "Dirty intensity"),
    "psf": ("", "Point spread function"),
    "model": ("Jy/pixel", "Intensity of CLEAN components"),
    "residual": ("Jy/beam", "Residual intensity"),
}
"""Unit and meaning of CLEAN's own planes."""


def write_planes(stem: Path, image: TileImage, planes: Planes, keep: tuple[str, ...]) -> None:
    """Write ``{stem}.image.fits``, ``.pbcor``, ``.pb``, ``.rms``, and what is asked for of CLEAN's own planes."""
    kinds = [
        ("image", image.apparent, "Jy/beam", "Intensity"),
        ("pbcor", image.over_beam(image.apparent), "Jy/beam", "Intensity"),
        ("pb", image.pb, "", "Power beam"),
        ("rms", image.over_beam(image.noise), "Jy/beam", "Local rms"),
    ]
    kinds += [(kind, getattr(planes, kind), *_OF_CLEAN[kind]) for kind in keep]
    for kind, plane, unit, what in kinds:
        path = stem.with_name(f"{stem.name}.{kind}.fits")
        fitsimage.write(path, plane, image.header, bunit=unit, btype=what)


def write_picture(path: Path, image: TileImage, sources: pd.DataFrame) -> None:
    """Draw the apparent image with its sources and contours of the power beam."""
    save_picture(
        path,
        image.apparent,
        image.header,
        pb=image.pb,
        rms_jy=image.centre_rms_jy,
        pb_levels=(image.pb_limit, 0.5),
        sources=list(zip(sources["x_pix"], sources["y_pix"], strict=True)),
    )


def write_steps(path: Path, image: TileImage, planes: Planes, used: DataWeights, *, fitted: bool) -> None:
    """Draw what CLEAN began with and what it left, beside the image; and the uv coverage."""
    save_steps(
        path,
        image.apparent,
        image.header,
        dirty=planes.dirty,
        residual=planes.residual,
        coverage=used.coverage,
        rms_jy=image.centre_rms_jy,
        fitted=fitted,
    )


def describe_weights(used: DataWeights, meta: MsMeta) -> dict[str, Any]:
    """Numbers for a sidecar: what the weights say of the image."""
    major, minor, angle = used.beam_arcsec
    return {
        "thermal_from_weights_jy": used.thermal_jy,
        "noise_over_natural": used.noise_over_natural,
        "beam_major_arcsec": major,
        "beam_minor_arcsec": minor,
        "beam_angle_deg": angle,
        "effective_freq_hz": used.effective_freq_hz(meta.freq_hz),
        "n_visibilities": used.n_visibilities,
    }


def describe_clean(cleaned: Cleaned) -> dict[str, Any]:
    """Numbers for a sidecar: what CLEAN did."""
    return {
        "clean_iterations": cleaned.record.n_iter,
        "clean_passes": len(cleaned.record.majors),
        "clean_stopped": cleaned.record.stopped,
        "clean_tries": cleaned.tries,
        "clean_multiscale": cleaned.plan.multiscale,
        "backend": cleaned.plan.backend,
    }


def weighting_change(
    header: Header, meta: MsMeta, used: DataWeights, weights: np.ndarray, beam: PowerBeam
) -> float:
    """Largest relative change of the beam, where it is above one half, that the image's weighting makes."""
    small = header.copy()
    for axis in (1, 2):  # the same sky in 32 x 32 pixels
        ratio = small[f"NAXIS{axis}"] / 32
        small[f"CDELT{axis}"] *= ratio
        small[f"CRPIX{axis}"], small[f"NAXIS{axis}"] = 16.5, 32
    imaged, plain = (beam_map(small, meta, w, beam) for w in (used.time_channel, weights))
    main = plain > 0.5
    return float(np.max(np.abs(imaged[main] / plain[main] - 1))) if main.any() else 0.0


class _Seconds:
    """How long each step took, and all together."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """What passed since the last call was spent on this."""
        now = time.monotonic()
        self._laps[name], self._last = now - self._last, now

    def all(self) -> dict[str, float]:
        return {**self._laps, "seconds": time.monotonic() - self._started}


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """A scratch directory that is gone afterwards."""
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _central(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The middle third of an image along each axis."""
    return slice(shape[0] // 3, -(shape[0] // 3)), slice(shape[1] // 3, -(shape[1] // 3))
