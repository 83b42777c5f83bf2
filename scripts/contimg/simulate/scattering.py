"""Extreme scattering events as rays make them: lenses of plasma before a source of some size.

Rays are shot from the observer's plane through a thin lens in two dimensions onto the source's plane; the magnification
is the brightness of the source summed over the rays (surface brightness is kept). Nothing here knows the shapes that
the search tries.

A lens of electron column N(x, y) bends a ray by the gradient of its phase: β = θ + α ∇ψ/2 with ψ = −exp(−x²/q² − y²),
that is β_x = x (1 + α exp(…)/q²), β_y = y (1 + α exp(…)): α > 0 is an overdense lens, which diverges (Clegg, Fey &
Lazio 1998, ApJ 496, 253, equation 10; Dong, Petropoulou & Giannios 2018, MNRAS 481, 2685). A filament has q → ∞ along
the motion's normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_STEP = 0.002  # between rays, lens widths
_STEP_ROUND = 0.04
_THIN = 3  # a round lens's path has a third of the places
_TIMES = 481


@dataclass(frozen=True)
class Lens:
    """A lens, and the path of the source behind it.

    Attributes
    ----------
    kind : {"filament", "round", "gaussian dip"}
        Bends along the motion only; along both axes; or no lens at all, a plain Gaussian dip.
    strength : float
        α at the band's middle, ∝ λ².
    size : float
        Standard deviation of the source's brightness in lens widths.
    impact : float
        Distance of the path from the lens's middle in lens widths.
    """

    kind: str
    strength: float = 0.0
    size: float = 0.3
    impact: float = 0.0


TYPES: dict[str, Lens] = {
    "U": Lens("filament", 2.0, 0.5),
    "U weak": Lens("filament", 0.8, 0.4),
    "U strong": Lens("filament", 8.0, 0.5),
    "round": Lens("round", 3.0, 0.4, 0.3),
    "grazing": Lens("round", 3.0, 0.3, 2.1),
    "converging": Lens("filament", -0.4, 0.3),
    "off-centre converging": Lens("round", -0.5, 0.3, 0.4),
    "dip": Lens("gaussian dip"),
}
"""Types of events, by name; those without a U are grazing and the converging ones."""
WITHOUT_U = ("grazing", "converging", "off-centre converging")


@lru_cache(maxsize=64)
def magnification(lens: Lens, frequency: float = 1.0) -> tuple[Floats, Floats]:
    """Magnification along a path.

    Parameters
    ----------
    lens : Lens
    frequency : float
        Over that of the strength given.

    Returns
    -------
    place : ndarray, (481,)
        Along the path, in lens widths, 0 nearest to the lens's middle.
    gain : ndarray, (481,)
        Flux over that without a lens.
    """
    reach = 5.0 + 1.1 * abs(lens.strength) ** 0.7
    place = np.linspace(-reach, reach, _TIMES)
    if lens.kind == "gaussian dip":
        return place, 1.0 - 0.5 * np.exp(-4.0 * np.log(2.0) * place**2)
    alpha = lens.strength / frequency**2
    margin = 4.0 * lens.size + 0.5
    # A ray that ends within the source began within its reach of it, or inside the lens, which spreads it.
    if lens.kind == "filament":
        gain = np.empty(_TIMES)
        for k, x in enumerate(place):
            along = np.arange(min(-3.2, x - margin), max(3.2, x + margin), _STEP)
            beta = along * (1.0 + alpha * np.exp(-(along**2)))
            gain[k] = _gauss((beta - x) / lens.size).sum() * _STEP / lens.size
        return place, gain
    thinned = place[::_THIN]
    gain = np.empty(len(thinned))
    tall = np.arange(min(-3.2, lens.impact - margin), max(3.2, lens.impact + margin), _STEP_ROUND)[:, None]
    for k, x in enumerate(thinned):
        along = np.arange(min(-3.2, x - margin), max(3.2, x + margin), _STEP_ROUND)[None, :]
        bend = 1.0 + alpha * np.exp(-(along**2) - tall**2)
        light = _gauss((along * bend - x) / lens.size) * _gauss((tall * bend - lens.impact) / lens.size)
        gain[k] = light.sum() * (_STEP_ROUND / lens.size) ** 2
    return place, np.interp(place, thinned, gain)


def _gauss(x: Floats) -> Floats:
    scaled: Floats = np.exp(-0.5 * np.minimum(x * x, 80.0)) / np.sqrt(2.0 * np.pi)
    return scaled


@dataclass(frozen=True)
class Event:
    """One event of one source.

    Attributes
    ----------
    lens : Lens
    depth : float
        Largest change of the flux, of its value: 0.3 is 30 % down (or up, of a type that only brightens).
    middle_mjd, duration_d : float
        Middle and full width at half maximum of the main feature.
    """

    lens: Lens
    depth: float
    middle_mjd: float
    duration_d: float

    def factor(self, mjd: Floats, frequency: float = 1.0) -> Floats:
        """Flux over that without the event, at times (MJD) and a frequency over the band's middle."""
        place, gain = magnification(self.lens, frequency)
        _, middle_gain = magnification(self.lens)
        low, high, peak = _main_feature(self.lens, place, middle_gain)
        x = 0.5 * (low + high) + (mjd - self.middle_mjd) / self.duration_d * (high - low)
        compact = self.depth / abs(peak)  # so much of the source lies behind the lens
        seen: Floats = 1.0 + compact * np.interp(x, place, gain - 1.0, left=0.0, right=0.0)
        return seen

    def slope(self, mjd: Floats, width: float = 0.06) -> Floats:
        """Change of the spectral index: d ln(factor) / d ln ν across `width` of the frequency to each side."""
        up, down = self.factor(mjd, 1.0 + width), self.factor(mjd, 1.0 - width)
        change: Floats = np.log(np.maximum(up, 0.02) / np.maximum(down, 0.02)) / np.log(
            (1.0 + width) / (1.0 - width)
        )
        return change if self.lens.kind != "gaussian dip" else np.zeros_like(change)

    def span_mjd(self) -> tuple[float, float]:
        """When it begins and ends: where the flux is off by more than a tenth of the depth."""
        place, gain = magnification(self.lens)
        low, high, peak = _main_feature(self.lens, place, gain)
        off = np.nonzero(np.abs(gain - 1.0) > 0.1 * abs(peak))[0]
        scale = self.duration_d / (high - low)
        middle = 0.5 * (low + high)
        return (
            self.middle_mjd + (place[off[0]] - middle) * scale,
            self.middle_mjd + (place[off[-1]] - middle) * scale,
        )


def _main_feature(lens: Lens, place: Floats, gain: Floats) -> tuple[float, float, float]:
    """First and last place of the main feature above half its peak, and the peak: the dip of a lens that makes one."""
    change = gain - 1.0
    dip = lens.kind == "gaussian dip" or (lens.strength > 0.0 and -change.min() > 0.3 * change.max())
    sign = -1.0 if dip else 1.0
    peak = float((sign * change).max())
    high = np.nonzero(sign * change >= 0.5 * peak)[0]
    return float(place[high[0]]), float(place[high[-1]]), sign * peak
