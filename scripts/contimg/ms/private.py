"""A Measurement Set that belongs to one job, in its scratch: the only kind whose data may be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.ms.meta import MsMeta, parallel_hands
from contimg.ms.sets import read_meta

Array = NDArray[Any]


@dataclass(frozen=True)
class PrivateSet:
    """A set that its job has written itself and will delete: DATA, FLAG and weights are changed in place.

    No product is ever one; a function that takes a `Path` reads, one that takes a `PrivateSet` may write.

    Attributes
    ----------
    path : Path
        In the job's scratch, as `contimg.gains.apply` writes it.
    """

    path: Path

    @cached_property
    def meta(self) -> MsMeta:
        """What it says about itself, which none of the changes touches."""
        return read_meta(self.path)

    def flag_hands(self, bad: NDArray[np.bool_]) -> None:
        """Flag the parallel hands of antennas.

        Parameters
        ----------
        bad : (nant, nhands) bool
        """
        rows = bad[self.meta.ant1] | bad[self.meta.ant2]
        hands = parallel_hands(self.meta)

        def flagged(_: int, flags: Array) -> None:
            flags[..., hands] |= rows[:, np.newaxis]

        with self._opened() as table:
            self._change(table, "FLAG", flagged)

    def divide(self, gains: Array) -> None:
        """Divide DATA by gains, and multiply the weights by their power.

        Parameters
        ----------
        gains : (nt, nant, nhands) complex
            Of each integration; a visibility of antennas 1 and 2 is divided by g₁ g₂*.
        """
        one, two, hands = self.meta.ant1, self.meta.ant2, parallel_hands(self.meta)

        def product(i: int) -> Array:
            return np.asarray(gains[i, one] * gains[i, two].conj())

        def divided(i: int, data: Array) -> None:
            data[..., hands] /= product(i)[:, np.newaxis]

        def weighted(i: int, weight: Array) -> None:
            power = (np.abs(product(i)) ** 2).astype(np.float32)
            weight[..., hands] *= power if weight.ndim == 2 else power[:, np.newaxis]

        with self._opened() as table:
            self._change(table, "DATA", divided)
            self._change(table, "WEIGHT", weighted)
            if "WEIGHT_SPECTRUM" in table.colnames():
                self._change(table, "WEIGHT_SPECTRUM", weighted)

    def subtract(self, model: Callable[[int], Array]) -> None:
        """Subtract a model from DATA.

        Parameters
        ----------
        model : callable
            Visibilities of an integration, Jy: (nbl, nchan), the same for the parallel hands, or
            (nbl, nchan, nhands).
        """
        hands = parallel_hands(self.meta)

        def subtracted(i: int, data: Array) -> None:
            visibilities = model(i)
            data[..., hands] -= visibilities[..., np.newaxis] if visibilities.ndim == 2 else visibilities

        with self._opened() as table:
            self._change(table, "DATA", subtracted)

    @contextmanager
    def _opened(self) -> Iterator[tables.table]:
        with tables.table(str(self.path), readonly=False, ack=False) as table:
            yield table

    def _change(self, table: tables.table, column: str, change: Callable[[int, Array], None]) -> None:
        """Let `change` alter a column's rows (nbl, ...) in place, integration by integration."""
        n_bl = self.meta.n_baselines
        for i in range(self.meta.n_times):
            values = table.getcol(column, i * n_bl, n_bl)
            change(i, values)
            table.putcol(column, values, i * n_bl, n_bl)
