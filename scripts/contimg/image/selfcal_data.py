"""A tile's data over what its sources should show: what self-calibration works on.

The fitted sources (`contimg.drift.fit`) say what every visibility should be, m. Divided by it and averaged over the
band, D = Σ w V m* / Σ w |m|², of weight W = Σ w |m|², each baseline shows the product of two antennas' remaining gains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
from casacore import tables
from numpy.typing import NDArray

from contimg.drift.predict import DriftArray, PointSources
from contimg.ms.meta import MsMeta, parallel_hands
from contimg.ms.sets import read_meta
from contimg.telescope.beam import PowerBeam

Array = NDArray[Any]
SIGNIFICANT = 6.0
"""Standard deviations by which gains must do better than noise, and an antenna worse, to be acted upon."""


@dataclass(frozen=True)
class Divided:
    """A tile's data over what its sources should show, averaged over the band: D and its weight.

    Attributes
    ----------
    meta : MsMeta
        Of the tile.
    ratio, weight : (nt, nbl, nhands)
        The weight is 0 for autocorrelations.
    n_visibilities : int
        That were averaged into D.
    """

    meta: MsMeta
    ratio: Array
    weight: Array
    n_visibilities: int

    def over(self, gains: Array) -> Divided:
        """The same without gains (nt, nant, 2)."""
        product = gains[:, self.meta.ant1] * gains[:, self.meta.ant2].conj()
        return replace(self, ratio=self.ratio / product, weight=self.weight * np.abs(product) ** 2)

    def without(self, bad: Array) -> Divided:
        """The same without hands of antennas, (nant, nhands)."""
        return replace(self, weight=np.where(bad[self.meta.ant1] | bad[self.meta.ant2], 0.0, self.weight))

    def spans(self, count: int) -> list[Array]:
        """Integrations of each of so many intervals."""
        return np.array_split(np.arange(self.meta.n_times), count)

    def binned(self, count: int) -> tuple[Array, Array]:
        """D averaged over so many intervals, and its weight, (count, nbl cross, nhands)."""
        cross = np.flatnonzero(self.meta.ant1 != self.meta.ant2)
        spans = self.spans(count)
        total = np.stack([self.weight[span][:, cross].sum(axis=0) for span in spans])
        mean = np.stack([(self.ratio * self.weight)[span][:, cross].sum(axis=0) for span in spans])
        return np.divide(mean, total, out=mean, where=total > 0), total

    def excess(self, count: int) -> float:
        """χ² of D = 1 in so many intervals, beyond what the weights promise; at least 0."""
        mean, total = self.binned(count)
        return max(0.0, float(np.sum(total * np.abs(mean - 1.0) ** 2)) - 2.0 * np.count_nonzero(total))


def divide(ms: Path, sources: pd.DataFrame, *, beam: PowerBeam | None, freq_average: int = 1) -> Divided:
    """Divide the data of a set by what its sources should show; arguments as for `contimg.image.selfcal.calibrate`."""
    meta = read_meta(ms)
    view = DriftArray(meta, beam=beam, freq_average=freq_average).view(PointSources.from_table(sources))
    hands = parallel_hands(meta)
    n_times, n_bl, n_chan, n_corr = meta.shape
    ratio = np.zeros((n_times, n_bl, len(hands)), complex)
    weight = np.zeros(ratio.shape)
    n_visibilities = 0
    cross = meta.ant1 != meta.ant2
    data, flag = np.empty((n_bl, n_chan, n_corr), np.complex64), np.empty((n_bl, n_chan, n_corr), bool)
    found = np.empty((n_bl, n_chan, n_corr), np.float32)
    with tables.table(str(ms), ack=False) as table:
        spectrum = "WEIGHT_SPECTRUM" in table.colnames()
        for i in range(n_times):
            table.getcolnp("DATA", data, i * n_bl, n_bl)
            table.getcolnp("FLAG", flag, i * n_bl, n_bl)
            if spectrum:
                table.getcolnp("WEIGHT_SPECTRUM", found, i * n_bl, n_bl)
            else:
                found[:] = table.getcol("WEIGHT", i * n_bl, n_bl)[:, np.newaxis]
            count = _products(data, flag, found, hands, cross, view.predict(i), ratio[i], weight[i])
            n_visibilities += int(count.sum())
    return Divided(meta, np.divide(ratio, weight, out=ratio, where=weight > 0), weight, n_visibilities)


@numba.njit(parallel=True, cache=True, nogil=True)
def _products(
    data: Array,
    flag: Array,
    weight: Array,
    hands: Array,
    cross: Array,
    model: Array,
    out: Array,
    out_weight: Array,
) -> Array:  # pragma: no cover
    """Fill `out` and `out_weight` (nbl, nhands) with Σ w V m* and Σ w |m|²; returns how many each row has, (nbl,)."""
    count = np.zeros(len(data), np.int64)
    for b in numba.prange(len(data)):
        if not cross[b]:
            continue
        for h in range(len(hands)):
            hand = hands[h]
            total, norm, n = 0j, 0.0, 0
            for c in range(data.shape[1]):
                w = weight[b, c, hand]
                if flag[b, c, hand] or w == 0:
                    continue
                m = np.complex128(model[b, c])
                total += w * (data[b, c, hand] * m.conjugate())
                norm += w * (m.real * m.real + m.imag * m.imag)
                n += 1
            out[b, h], out_weight[b, h] = total, norm
            count[b] += n
    return count


def by_antenna(per_baseline: Array, meta: MsMeta, *, cross: bool = False) -> Array:
    """Sum over the baselines of each antenna as its own gain enters them, (nant, …), of (nbl, …).

    `cross`: of the cross-correlations alone, which are all that is given.
    """
    chosen = meta.ant1 != meta.ant2 if cross else slice(None)
    out = np.zeros((len(meta.antenna_names), *per_baseline.shape[1:]), np.result_type(per_baseline, float))
    np.add.at(out, meta.ant1[chosen], per_baseline)
    np.add.at(out, meta.ant2[chosen], per_baseline.conj())
    return out
