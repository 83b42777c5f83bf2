"""How a tile will be imaged: every setting resolved from the data, the quality tier and explicit values.

Nothing here reads visibilities: the field follows from the primary beam and the drift, the pixel from the
synthesised beam of the baselines, the averaging from the smearing it may cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.fft import next_fast_len

from contimg.core.angles import drift_deg
from contimg.core.constants import SECONDS_PER_DAY, SPEED_OF_LIGHT_M_S
from contimg.core.errors import Rejected
from contimg.image.options import ImagingOptions, Tier, load_tiers, resolve_imaging
from contimg.image.programs import available_backend
from contimg.ms.meta import MsMeta
from contimg.ms.weights import ROBUST_TRIED, UvPlane, choose_weighting, synthesised_beam
from contimg.telescope import geometry
from contimg.telescope.beam import PowerBeam, load_beam
from contimg.telescope.options import BeamOptions

PIXELS_PER_BEAM = 3.0  # across the minor axis; fluxes of sources between pixels are then right to 0.3 %
LOOP_GAIN = {"ducc0": 0.1, "wsclean": 0.1, "tclean": 0.2}  # a component costs tclean a hundred times more
MAX_MAJOR = {"ducc0": 16, "wsclean": 8, "tclean": 8}  # those of ducc0 take smaller steps, and cost a tenth
SPARSE_BASELINES = 1500
"""With fewer (55 antennas) CLEAN's components take more than 3 % of a source of 5 σ: on 351 baselines 13 %, and it goes
with their inverse (docs/image.md)."""
SPARSE_MASK, SPARSE_THRESHOLD = 5.0, 3.0
PLAN_TIMES, PLAN_CHANNELS = (
    12,
    96,
)  # so many that no cell of the uv plane is missed, and Briggs weights are right


@dataclass(frozen=True)
class ImagingPlan:
    """What will be done, and why.

    Attributes
    ----------
    backend : str
        ``ducc0``, ``wsclean`` or ``tclean``.
    nx, ny : int
        Pixels along right ascension and declination.
    cell_arcsec : float
        Side of a pixel.
    freq_average : int
        Channels averaged into one before imaging.
    robust : float
        Briggs weighting.
    uvmin_klambda : float
        Shorter baselines are left out.
    channels_out : int
        Parts of the band cleaned jointly.
    niter, gain, mgain, max_major
        CLEAN: most components, loop gain, part of the peak removed between passes, most passes.
    auto_mask, auto_threshold : float
        CLEAN finds components to `auto_mask` times the noise and goes on inside them to `auto_threshold`.
    beam_arcsec : (major, minor, angle)
        Expected synthesised beam, FWHM in arcsec, angle in deg.
    no_small_inversion : bool
        True when the pixels are much finer than the data need (see `resolve`).
    multiscale : bool
        CLEAN with components of several sizes.
    why : dict of str
        One line for each setting.
    options : ImagingOptions
        The configuration, its quality tier filled in: what needs no data to be resolved is read there.
    """

    backend: str
    nx: int
    ny: int
    cell_arcsec: float
    freq_average: int
    robust: float
    uvmin_klambda: float
    channels_out: int
    niter: int
    gain: float
    mgain: float
    max_major: int
    auto_mask: float
    auto_threshold: float
    beam_arcsec: tuple[float, float, float]
    no_small_inversion: bool
    multiscale: bool = False
    why: dict[str, str] = field(default_factory=dict)
    options: ImagingOptions = field(default_factory=ImagingOptions)

    @property
    def in_memory(self) -> bool:
        """Whether the backend takes visibilities in memory, not Measurement Sets."""
        return self.backend == "ducc0"

    def describe(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {name: value for name, value in asdict(self).items() if name != "options"}


def resolve(
    meta: MsMeta,
    options: ImagingOptions,
    beam: BeamOptions | None = None,
    tiers: Mapping[str, Tier] | None = None,
) -> ImagingPlan:
    """Resolve every imaging setting for the data of one tile.

    Parameters
    ----------
    meta : MsMeta
        Of the science Measurement Set, before averaging.
    options : ImagingOptions
        The configuration; what it names explicitly is taken as it is.
    beam : BeamOptions, optional
        The primary beam; the default one if left out.
    tiers : mapping, optional
        From `contimg.image.options.load_tiers`; the shipped ones if left out.

    Returns
    -------
    ImagingPlan

    Raises
    ------
    Rejected
        No baseline is left to image.
    """
    pattern = load_beam(beam or BeamOptions())
    said = resolve_imaging(options, load_tiers() if tiers is None else tiers)
    why = _origins(options, said)
    backend: str = said.backend
    if backend == "auto":
        backend, why["backend"] = available_backend(int(said.channels_out))
    fields_deg = field_of_view(meta, said.pb_limit, pattern)
    baselines = _baselines(meta)
    plane, sampled = _fill_plane(meta, baselines, np.radians(fields_deg), float(said.uvmin_klambda))
    if not plane.density.any():
        raise Rejected(
            f"none of {np.count_nonzero(meta.ant1 != meta.ant2)} baselines is longer than imaging.uvmin_klambda, "
            f"{said.uvmin_klambda:g} klambda"
        )
    robust, beam_arcsec = _weighting(plane, options, said, why)
    cell, (nx, ny) = _grid(said, fields_deg, beam_arcsec[1], why)
    offsets = _half_power_offsets(meta, pattern)
    average, loss = _averaging(meta, baselines, plane, sampled, robust, offsets, said.smearing_loss)
    why["freq_average"] = (
        f"{average} channels of {meta.channel_width_hz / 1e3:.0f} kHz: a source at half power loses {loss:.2%} of its "
        f"peak (weighted mean over baselines), {said.smearing_loss:.2%} allowed"
    )
    fine = bool(beam_arcsec[1] / cell > 5)
    if fine:
        why["no_small_inversion"] = (
            "more than 5 pixels a beam: WSClean's inversion at a smaller size can diverge"
        )
    mask, threshold = _depth(meta, options, said, why)
    return ImagingPlan(
        backend=backend,
        nx=nx,
        ny=ny,
        cell_arcsec=cell,
        freq_average=average,
        robust=robust,
        uvmin_klambda=float(said.uvmin_klambda),
        channels_out=int(said.channels_out),
        niter=int(said.niter),
        gain=LOOP_GAIN[backend],
        mgain=float(said.mgain),
        max_major=MAX_MAJOR[backend],
        auto_mask=mask,
        auto_threshold=threshold,
        beam_arcsec=beam_arcsec,
        no_small_inversion=fine,
        multiscale=said.multiscale is True,
        why=why,
        options=said,
    )


def _depth(
    meta: MsMeta, options: ImagingOptions, said: ImagingOptions, why: dict[str, str]
) -> tuple[float, float]:
    """How deep CLEAN goes: the tier's mask and threshold, but shallower on few baselines, whose data it would use up.

    Only with sky_model drift: then the bright sources are fitted, and CLEAN is left with what is faint.
    """
    depth = {"auto_mask": float(said.auto_mask), "auto_threshold": float(said.auto_threshold)}
    n_cross = int(np.count_nonzero(meta.ant1 != meta.ant2))
    for name, least in (("auto_mask", SPARSE_MASK), ("auto_threshold", SPARSE_THRESHOLD)):
        asked = getattr(options, name) == "auto" and options.sky_model == "drift"
        if asked and n_cross < SPARSE_BASELINES and depth[name] < least:
            depth[name] = least
            why[name] = (
                f"{n_cross} baselines, fewer than {SPARSE_BASELINES}: a deeper CLEAN takes from faint sources"
            )
    return depth["auto_mask"], depth["auto_threshold"]


def _weighting(
    plane: UvPlane, options: ImagingOptions, said: ImagingOptions, why: dict[str, str]
) -> tuple[float, tuple[float, float, float]]:
    """Briggs weighting, and the beam (arcsec, deg) that it makes: the tier's, unless another is much better."""
    robust = float(said.robust)
    if options.robust == "auto":
        chosen, best = choose_weighting(plane, robust)
        origin = f"tier {options.quality_tier}" if chosen.robust == robust else "least noise x beam"
        tried = ", ".join(f"{value:g}" for value in ROBUST_TRIED)
        why["robust"] = (
            f"{origin}: noise (over natural) x beam is {chosen.cost_arcsec:.1f} arcsec; of the tier's and {tried} the "
            f"least is {best.cost_arcsec:.1f} at {best.robust:g}"
        )
        robust, (major, minor, angle) = chosen.robust, chosen.beam_rad
    else:
        major, minor, angle = synthesised_beam(plane, robust)
    return robust, (
        float(np.degrees(major)) * 3600,
        float(np.degrees(minor)) * 3600,
        float(np.degrees(angle)),
    )


def _grid(
    said: ImagingOptions, fields_deg: tuple[float, float], minor_arcsec: float, why: dict[str, str]
) -> tuple[float, tuple[int, int]]:
    """Side of a pixel (arcsec) and their number: the synthesised beam resolved, the whole field of view."""
    if said.cell_arcsec == "auto":
        cell = _round_down(minor_arcsec / PIXELS_PER_BEAM)
        why["cell_arcsec"] = (
            f"{PIXELS_PER_BEAM:g} pixels across the {minor_arcsec:.1f} arcsec minor axis of the expected beam"
        )
    else:
        cell = float(said.cell_arcsec)
    if said.imsize == "auto":
        nx, ny = (fft_size(degrees * 3600 / cell) for degrees in fields_deg)
        why["imsize"] = (
            f"{fields_deg[0]:.2f} x {fields_deg[1]:.2f} deg: the beam down to {said.pb_limit:g} at the lowest "
            "frequency, and the drift in right ascension; sizes have factors 2, 3 and 5 only"
        )
    else:
        nx = ny = int(said.imsize)
    return cell, (nx, ny)


def field_of_view(meta: MsMeta, pb_limit: float, beam: PowerBeam) -> tuple[float, float]:
    """Width (right ascension) and height (declination) in degrees of everything the tile sees above `pb_limit`.

    The beam at the lowest frequency out to `pb_limit`, moved by half the drift on either side in right
    ascension. A smaller field leaves the sidelobes of the sources outside it in the image.
    """
    radius = beam.radius(pb_limit, float(np.min(meta.freq_hz)))
    seconds = SECONDS_PER_DAY * (meta.times_jd[-1] - meta.times_jd[0]) + float(np.mean(meta.integration_s))
    drift = drift_deg(seconds) * float(np.cos(meta.pointing_dec_rad))
    return float(np.degrees(2 * radius)) + drift, float(np.degrees(2 * radius))


def fft_size(pixels: float) -> int:
    """Smallest even number not below `pixels`, nor 64, whose prime factors are 2, 3 and 5."""
    return 2 * int(next_fast_len(max(32, int(np.ceil(pixels / 2))), real=True))


def _origins(options: ImagingOptions, resolved: ImagingOptions) -> dict[str, str]:
    """Where each setting comes from: the configuration or the tier."""
    names = ("robust", "niter", "mgain", "auto_mask", "auto_threshold", "uvmin_klambda", "channels_out")
    why = {
        name: f"tier {options.quality_tier}" if getattr(options, name) == "auto" else "configured"
        for name in names
    }
    for name in ("imsize", "cell_arcsec"):
        if getattr(options, name) != "auto":
            why[name] = "configured"
        elif getattr(resolved, name) != "auto":
            why[name] = f"tier {options.quality_tier}"
    if options.backend != "auto":
        why["backend"] = "configured"
    return why


def _round_down(value: float) -> float:
    """Two significant digits, rounded down: 4.27 -> 4.2, so that the grid is easy to name."""
    digits = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(round(np.floor(value / digits + 1e-9) * digits, 6))


def _baselines(meta: MsMeta) -> np.ndarray:
    """(PLAN_TIMES, nbl, 3) uvw in metres of the cross-correlations at a few times of the tile."""
    loc = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    times = np.linspace(meta.times_jd[0], meta.times_jd[-1], min(PLAN_TIMES, len(meta.times_jd)))
    uvw = geometry.antenna_uvw(meta.antenna_positions_m, meta.phase_ra_rad, meta.phase_dec_rad, times, loc)
    cross = meta.ant1 != meta.ant2
    return uvw[:, meta.ant2[cross]] - uvw[:, meta.ant1[cross]]


def _fill_plane(
    meta: MsMeta, baselines: np.ndarray, fields_rad: np.ndarray, uvmin_klambda: float
) -> tuple[UvPlane, np.ndarray]:
    """The uv plane filled with unit weights at sampled times and channels, and those channels' frequencies."""
    step = max(1, len(meta.freq_hz) // PLAN_CHANNELS)
    freq = meta.freq_hz[step // 2 :: step]
    longest = (
        float(np.hypot(baselines[..., 0], baselines[..., 1]).max(initial=1.0))
        * float(freq.max())
        / SPEED_OF_LIGHT_M_S
    )
    plane = UvPlane.empty((float(fields_rad[0]), float(fields_rad[1])), longest)
    for value in freq:
        u, v = (baselines[..., axis] * value / SPEED_OF_LIGHT_M_S for axis in (0, 1))
        kept = np.hypot(u, v) >= 1e3 * uvmin_klambda
        plane.add(plane.cells(u[kept], v[kept]), np.ones(np.count_nonzero(kept)))
    return plane, freq


def _half_power_offsets(meta: MsMeta, beam: PowerBeam) -> np.ndarray:
    """(n, 2) direction cosines (l, m) round the half-power circle at the band's middle."""
    radius = np.sin(beam.radius(0.5, float(np.mean(meta.freq_hz))))
    angle = np.arange(0, np.pi, np.pi / 8)
    return radius * np.column_stack([np.sin(angle), np.cos(angle)])


def _averaging(
    meta: MsMeta,
    baselines: np.ndarray,
    plane: UvPlane,
    freq: np.ndarray,
    robust: float,
    offsets: np.ndarray,
    allowed: float,
) -> tuple[int, float]:
    """Most channels that may be averaged, a divisor of their number, and the loss of peak that it costs.

    A channel of width D averages the fringe of a source at (l, m), exp(2 pi i (u l + v m)), over frequency:
    each baseline keeps sinc(D tau), tau = (u l + v m) / nu (Thompson, Moran & Swenson 2017, section 6.4). The
    image's peak loses the mean of 1 - sinc over the imaging weights; the worst direction counts.
    """
    factor = plane.briggs(robust)
    middle = freq[len(freq) // 2]
    u, v = (baselines[..., axis] * middle / SPEED_OF_LIGHT_M_S for axis in (0, 1))
    weights = factor[plane.cells(u, v)]
    delay = np.abs(np.tensordot(np.stack([u, v], axis=-1), offsets.T, axes=1)) / middle
    best, cost = 1, 0.0
    for count in (n for n in range(1, len(meta.freq_hz) + 1) if len(meta.freq_hz) % n == 0):
        lost = 1 - np.sinc(delay * (count * meta.channel_width_hz))
        loss = float(np.max(np.tensordot(weights, lost, axes=2) / weights.sum()))
        if count == 1 or loss <= allowed:
            best, cost = count, loss
        else:
            break
    return best, cost
