"""Shapes of extreme scattering events: the bank that the matched filter tries.

- A Gaussian plasma lens in one dimension (Clegg, Fey & Lazio 1998, ApJ 496, 253, equations 15 to 20): a ray at u (lens
  widths) reaches the observer's plane at u' = u [1 + α exp(−u²)], with strength α ∝ λ² N₀ D / a². Positive α is an
  overdense lens, which diverges: a dip between two caustics; negative α converges.
- A round Gaussian lens passed at an impact parameter (Dong, Petropoulou & Giannios 2018, MNRAS 481, 2685): the same map
  along the radius. A path that grazes the ring of its caustic shows no U.
- A single fold caustic crossed by a source of some size: one side only.

Magnifications are found by counting rays, which holds at caustics too, and are smoothed by the source's size. Each
shape is M − 1 on a grid of time in units of its full width at half maximum, about its middle; so is the change of its
logarithm with frequency: with α ∝ ν^(−2) (λ²), d ln M / d ln ν = −2 ∂ ln M / ∂ ln α.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

HALF_GRID = 320
"""Samples of a shape on each side of its middle."""
REACH = 2.5
"""The grid reaches so many full widths at half maximum to each side."""
STRENGTHS = (0.35, 0.9, 2.5, 7.0, 20.0)
CONVERGING = (-0.25, -0.6)
SIZES = (0.15, 0.4, 1.0)
IMPACTS = (0.6, 1.2)
_FALLS_TO = 0.02
_DALPHA = 0.04
_STEEPEST = 4.0  # |d ln M / d ln ν|: where a caustic moves, the difference has no limit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bank:
    """Shapes of events.

    Attributes
    ----------
    names : tuple of str
        Type of each shape: `lens`, `converging`, `grazing`, `cusp`.
    parameters : tuple of str
        What it was made with.
    shapes : ndarray, (S, 2 HALF_GRID + 1)
        M − 1 against time; x = REACH (k / HALF_GRID − 1) full widths at half maximum.
    slopes : ndarray, like shapes
        d ln M / d ln ν.
    first, last : ndarray, (S,)
        Where a shape begins and ends, in full widths: beyond, it is below 2 % of its peak, and 0.
    coarse : ndarray of int
        The shapes that a first pass tries.
    """

    names: tuple[str, ...]
    parameters: tuple[str, ...]
    shapes: Array
    slopes: Array
    first: Array
    last: Array
    coarse: NDArray[np.int64]


def _x() -> Array:
    return np.linspace(-REACH, REACH, 2 * HALF_GRID + 1)


def _plane(alpha: float) -> tuple[Array, float]:
    """Grid of the observer's plane in lens widths, wide enough for the caustics of a strength."""
    reach = 6.0 + 1.2 * abs(alpha) ** 0.5 + 0.9 * max(alpha, 0.0)
    plane = np.linspace(-reach, reach, 8001)
    return plane, float(plane[1] - plane[0])


def _magnification(alpha: float, size: float) -> tuple[Array, Array]:
    """Magnification of a lens in one dimension, over the observer's plane (lens widths)."""
    plane, step = _plane(alpha)
    u = np.linspace(plane[0] - 2.0, plane[-1] + 2.0, 1_000_001)
    rays, _ = np.histogram(
        u * (1.0 + alpha * np.exp(-u * u)),
        bins=np.append(plane - step / 2.0, plane[-1] + step / 2.0),
    )
    gain = rays * (u[1] - u[0]) / step
    return plane, gaussian_filter1d(gain, size / step, mode="nearest")


def _round(alpha: float, size: float, impact: float) -> tuple[Array, Array]:
    """Magnification along a path past a round lens, at an impact parameter in lens widths."""
    plane, step = _plane(alpha)
    radius = np.linspace(0.0, plane[-1] + 2.0, 2_000_001)
    rings = np.arange(0.0, plane[-1], step)
    landed = np.abs(radius * (1.0 + alpha * np.exp(-radius * radius)))
    weight, _ = np.histogram(landed, bins=rings, weights=radius * (radius[1] - radius[0]))
    middle = (rings[1:] + rings[:-1]) / 2.0
    gain = weight / (middle * step)
    # a source of some size sees rings of other impact parameters too: a mean across the path
    offsets, heights = np.linspace(-2.0, 2.0, 9) * size, np.exp(-0.5 * np.linspace(-2.0, 2.0, 9) ** 2)
    total = np.zeros_like(plane)
    for offset, height in zip(offsets, heights, strict=True):
        total += height * np.interp(np.hypot(plane, impact + offset), middle, gain)
    return plane, gaussian_filter1d(total / heights.sum(), size / step, mode="nearest")


def _fold(size: float) -> tuple[Array, Array]:
    """A fold caustic: two more images on one side, as the inverse root of the distance from it."""
    plane = np.linspace(-10.0, 10.0, 8001)
    step = float(plane[1] - plane[0])
    inside = np.where(plane > 0.0, np.exp(-plane / 3.0) / np.sqrt(np.maximum(plane, step / 4.0)), 0.0)
    return plane, 1.0 + 0.5 * gaussian_filter1d(inside, size / step, mode="nearest")


def _half_maximum(plane: Array, change: Array, sign: float) -> tuple[float, float]:
    """First and last place of the feature of a sign above half its peak; sign 0: of the larger one."""
    sign = sign or float(np.sign(change[np.argmax(np.abs(change))]))
    same = change * sign
    high = np.nonzero(same >= 0.5 * same.max())[0]
    return float(plane[high[0]]), float(plane[high[-1]])


def _on_grid(plane: Array, change: Array, slope: Array, sign: float = 0.0) -> tuple[Array, Array]:
    """Bring a shape to the common grid: time in its full widths at half maximum, about its middle."""
    low, high = _half_maximum(plane, change, sign)
    width = max(high - low, float(plane[1] - plane[0]))
    places = (low + high) / 2.0 + _x() * width
    shape = np.interp(places, plane, change)
    edge = np.abs(shape) < _FALLS_TO * np.abs(shape).max()
    return np.where(edge, 0.0, shape), np.where(edge, 0.0, np.interp(places, plane, slope))


def _lens_shape(alpha: float, size: float, impact: float | None) -> tuple[Array, Array]:
    """A lens's M − 1 and d ln M / d ln ν on the common grid."""

    def gain(strength: float) -> tuple[Array, Array]:
        return _magnification(strength, size) if impact is None else _round(strength, size, impact)

    plane, middle = gain(alpha)
    more, less = gain(alpha * (1.0 + _DALPHA)), gain(alpha * (1.0 - _DALPHA))
    floor = 0.02
    higher = np.log(np.maximum(np.interp(plane, *more), floor))
    lower = np.log(np.maximum(np.interp(plane, *less), floor))
    slope = np.clip(-2.0 * (higher - lower) / (2.0 * _DALPHA), -_STEEPEST, _STEEPEST)
    return _on_grid(plane, middle - 1.0, slope, 0.0 if impact is not None else -np.sign(alpha))


@cache
def bank() -> Bank:
    """Make the bank of shapes; the same one every time."""
    made: list[tuple[str, str, Array, Array]] = []
    for size in SIZES:
        for alpha in (*STRENGTHS, *CONVERGING):
            name = "lens" if alpha > 0 else "converging"
            if size >= 1.0 and alpha in (STRENGTHS[0], *CONVERGING):
                continue  # washed out: no shape that others lack
            made.append((name, f"alpha={alpha:g} size={size:g}", *_lens_shape(alpha, size, None)))
    for alpha in (2.5, 7.0):
        for impact in IMPACTS:
            made.append(
                (
                    "grazing",
                    f"alpha={alpha:g} size=0.3 impact={impact * (1 + alpha / 5):.2g}",
                    *_lens_shape(alpha, 0.3, impact * (1 + alpha / 5)),
                )
            )
    for size in (0.05, 0.5):
        plane, gain = _fold(size)
        shape, _ = _on_grid(plane, gain - 1.0, np.zeros_like(plane))
        for sign in (1.0, -1.0):
            for way in (1, -1):
                side = sign * 0.5 * (shape / np.abs(shape).max())[::way]
                says = f"size={size:g} {'up' if sign > 0 else 'down'} {'falling' if way > 0 else 'rising'}"
                made.append(("cusp", says, side, -2.0 * side))
    smooth = 0.5 * np.exp(-4.0 * np.log(2.0) * _x() ** 2)
    for sign in (-1.0, 1.0):
        says = "no caustics: a part of the source is lensed, the rest hides them"
        made.append(("lens" if sign < 0 else "converging", says, sign * smooth, -2.0 * sign * smooth))
    names, parameters, shapes, slopes = zip(*made, strict=True)
    table = np.ascontiguousarray(shapes)
    used = [np.nonzero(shape)[0] for shape in table]
    x = _x()
    return Bank(
        names=names,
        parameters=parameters,
        shapes=table,
        slopes=np.ascontiguousarray(slopes),
        first=np.array([x[places[0]] for places in used]),
        last=np.array([x[places[-1]] for places in used]),
        coarse=_coarse(names, parameters),
    )


def _coarse(names: tuple[str, ...], parameters: tuple[str, ...]) -> NDArray[np.int64]:
    """Shapes of the first pass: one of each kind, so that no event of the bank correlates badly with all."""
    wanted = {
        "alpha=0.9 size=0.4",
        "alpha=7 size=0.15",
        "alpha=-0.25 size=0.4",
        "size=0.5 up falling",
        "size=0.5 up rising",
        "size=0.5 down falling",
        "size=0.5 down rising",
    }
    places = [k for k, says in enumerate(parameters) if says in wanted]
    places += [k for k, name in enumerate(names) if name == "grazing"][1:2]
    return np.array(sorted(places), dtype=np.int64)
