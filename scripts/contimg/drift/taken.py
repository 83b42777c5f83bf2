"""What the free parameters of a fit take up of a source that is in no model.

A fit leaves of the data what is orthogonal to its parameters. Of sources that are too faint to be fitted, as of noise,
it takes the part that the parameters' columns can imitate, the leverage (Hoaglin & Welsch 1978, Am. Stat. 32, 17):

    t = gᵀ (Aᵀ W A)⁻¹ g / mᵀ W m,   g = Aᵀ W m,

A the columns of the fit, m what the sources show, W the weights. Their flux in the residuals is 1 − t of what it is,
and so is the variance of the noise at a place. With N baselines and P parameters t goes with P / N: three parameters of
each of 51 sources take 5 % on 27 antennas, and a twelfth of that on 96.

m is the sum of points at random places, of random signs, so that in the mean each of them counts for itself: a pass
over all data, which no sampling of them biases. A draw of the signs scatters by √(2 / P) of t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.coordinates import angular_separation
from numpy.typing import NDArray

from contimg.core.constants import SPEED_OF_LIGHT_M_S
from contimg.drift.normal import Limits, Problem, Visible
from contimg.drift.predict import PointSources

Array = NDArray[Any]
RADIUS_DEG = 2.0
LEAST_POWER = 0.25
"""Places are looked at where the mean power beam is above this part of its best,"""
APART = 3.0
"""and no nearer to a source than this times the narrowest fringe: nearer, a place is the source's own."""
DRAWS = 2
"""Of the signs, sum and difference of the same two predictions: with 100 parameters t is good to a tenth of it."""
MOST = 0.5
"""More is not taken out again: what is left of a faint source is no measurement then."""


class _Probes:
    """Data that show the probes and nothing else, with the weights of the true data.

    Two draws of the signs are the sum and the difference of the probes whose signs agree and of those whose signs do
    not: both cost one prediction of each probe.
    """

    def __init__(
        self, data: Visible, agreeing: Sequence[Array], opposite: Sequence[Array], sign: float
    ) -> None:
        self.data, self.agreeing, self.opposite, self.sign = data, agreeing, opposite, np.float32(sign)

    def read(self, i: int) -> tuple[Array, Array]:
        """Visibilities and weights of an integration."""
        return self.agreeing[i] + self.sign * self.opposite[i], self.data.read(i)[1]


def _shown(problem: Problem, points: PointSources) -> list[Array]:
    """What points show in each integration, (nbl, nchan) complex64."""
    view = problem.array.view(points)
    return [view.predict(i) for i in range(problem.array.meta.n_times)]


def probes(problem: Problem, sources: PointSources, count: int, draw: int = 0) -> PointSources:
    """Points of ± 1 Jy apparent at random places in the beam and beside the sources; `draw` sets the signs.

    The places are the same for every fit of a tile.
    """
    array, meta = problem.array, problem.array.meta
    rng = np.random.default_rng(20251031)
    radius = np.radians(RADIUS_DEG) * np.sqrt(rng.uniform(0, 1, 16 * count))
    angle = rng.uniform(0, 2 * np.pi, len(radius))
    dec = np.clip(meta.phase_dec_rad + radius * np.sin(angle), -1.57, 1.57)
    ra = meta.phase_ra_rad + radius * np.cos(angle) / np.cos(dec)
    fringe = SPEED_OF_LIGHT_M_S / float(np.max(array.freq_hz)) / float(array.uv_m().max())
    apart = angular_separation(ra[:, np.newaxis], dec[:, np.newaxis], sources.ra_rad, sources.dec_rad)
    power = array.power(ra, dec).mean(axis=(1, 2))
    seen = (power >= LEAST_POWER * power.max()) & (apart > APART * fringe).all(axis=1)
    chosen = np.flatnonzero(seen)[:count]
    sign = np.random.default_rng([20251101, draw]).choice([-1.0, 1.0], len(chosen))
    return PointSources(
        names=[f"place{k}" for k in chosen],
        ra_rad=ra[chosen],
        dec_rad=dec[chosen],
        flux_jy=sign / power[chosen],
        spectral_index=np.full(len(chosen), -0.7),
        widths=np.zeros((len(chosen), 3)),
    )


def taken(
    problem: Problem, sources: PointSources, source: Array, kind: Array, inverse: Array, count: int
) -> float:
    """Leverage t of random places in the beam.

    Parameters
    ----------
    problem : Problem
    sources : PointSources
        As fitted.
    source, kind : (npar,) int
        The free parameters.
    inverse : (npar, npar)
        (Aᵀ W A)⁻¹ of them.
    count : int
        Number of places; 0: nothing is computed.

    Returns
    -------
    float
        0 to `MOST`; 0 where no place is free of sources.
    """
    if not count:
        return 0.0
    one, two = (probes(problem, sources, count, draw) for draw in range(DRAWS))
    if not len(one):
        return 0.0
    dark = problem.array.view(replace(sources, flux_jy=np.zeros(len(sources))))
    same = one.flux_jy == two.flux_jy
    agreeing, opposite = (_shown(problem, one.take(chosen)) for chosen in (same, ~same))
    parts = []
    for sign in (1.0, -1.0):
        asked = Problem(_Probes(problem.data, agreeing, opposite, sign), problem.array)
        sweep = asked.sweep(dark, Limits(), places=True)
        g = sweep.gradient[source, kind]
        parts.append(g @ inverse @ g / sweep.chi2.sum())
    return float(np.clip(np.mean(parts), 0.0, MOST))
