"""Light curves as the search takes them: flat arrays, source after source, fluxes relative to their median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contimg.core.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHANGES = ("pointing_dec_deg", "calibrator", "software", "catalog_digest", "caltable")
"""What may change from epoch to epoch and make a flux step."""
MIN_EPOCHS = 4


@dataclass(frozen=True)
class Series:
    """Light curves of many sources; source s has the epochs ``starts[s]:starts[s + 1]``, in order of time.

    Attributes
    ----------
    source_ids : list of str
    ra_deg, dec_deg : ndarray, (S,)
        NaN where unknown.
    median_jy : ndarray, (S,)
        Of the fluxes: what they are relative to.
    starts : ndarray of int, (S + 1,)
    mjd : ndarray, (E,)
        Of all epochs, in d.
    flux, error : ndarray, (E,)
        Flux over the median, less 1, and its error.
    slope, slope_error : ndarray, (E,)
        Spectral index within the band; NaN where there is none.
    codes : dict of str to ndarray of int
        For each of `CHANGES` that the table has: a number for each value.
    """

    source_ids: list[str]
    ra_deg: Floats
    dec_deg: Floats
    median_jy: Floats
    starts: Ints
    mjd: Floats
    flux: Floats
    error: Floats
    slope: Floats
    slope_error: Floats
    codes: Mapping[str, Ints] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many sources."""
        return len(self.source_ids)

    @property
    def owner(self) -> Ints:
        """Number of each epoch's source, (E,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.starts))

    def of(self, s: int) -> slice:
        """Epochs of a source."""
        return slice(int(self.starts[s]), int(self.starts[s + 1]))

    def with_flux(self, flux: Floats, error: Floats | None = None) -> Series:
        """Give the same curves with other fluxes, and other errors where given."""
        changed = replace(self, flux=np.ascontiguousarray(flux, dtype=np.float64))
        return changed if error is None else replace(changed, error=np.ascontiguousarray(error))

    def chosen(self, sources: Sequence[int] | Ints, keep: NDArray[np.bool_] | None = None) -> Series:
        """Give some of the sources, in the order given, and of their epochs those that `keep` (E,) has."""
        pieces = [np.arange(self.starts[s], self.starts[s + 1]) for s in sources]
        return self._taken(sources, pieces if keep is None else [piece[keep[piece]] for piece in pieces])

    def until(self, sources: Sequence[int] | Ints, ends_mjd: Sequence[float] | Floats) -> Series:
        """Give some sources, each with the epochs not after its own end: what was known on that night."""
        pieces = []
        for s, end in zip(sources, ends_mjd, strict=True):
            a, b = int(self.starts[s]), int(self.starts[s + 1])
            pieces.append(np.arange(a, a + np.searchsorted(self.mjd[a:b], end, side="right")))
        return self._taken(sources, pieces)

    def _taken(self, sources: Sequence[int] | Ints, pieces: Sequence[Ints]) -> Series:
        places = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)
        rows = np.asarray(sources, dtype=np.int64)
        return Series(
            source_ids=[self.source_ids[s] for s in rows],
            ra_deg=self.ra_deg[rows],
            dec_deg=self.dec_deg[rows],
            median_jy=self.median_jy[rows],
            starts=np.append(0, np.cumsum([len(piece) for piece in pieces])).astype(np.int64),
            mjd=self.mjd[places],
            flux=self.flux[places],
            error=self.error[places],
            slope=self.slope[places],
            slope_error=self.slope_error[places],
            codes={name: code[places] for name, code in self.codes.items()},
        )


def from_frame(frame: pd.DataFrame, *, flux: str = "flux_norm", error: str = "flux_norm_err") -> Series:
    """Make curves from a table.

    Parameters
    ----------
    frame : DataFrame
        `source_id`, `mjd`, and the columns named by `flux` and `error` (Jy); with them, where there are any, `ra_deg`,
        `dec_deg`, `band_slope`, `band_slope_err`, those of `CHANGES`, and `used`: rows that do not count are left out.
    flux, error : str
        Columns of fluxes and errors.

    Raises
    ------
    InputError
        A column is missing.
    """
    missing = [name for name in ("source_id", "mjd", flux, error) if name not in frame]
    if missing:
        raise InputError(
            f"light curves: no column {', '.join(missing)}; found {', '.join(map(str, frame.columns))}; "
            "say what they are called: --column mjd=TIME"
        )
    good = np.isfinite(frame[[flux, error, "mjd"]].to_numpy(dtype=float)).all(axis=1)
    good &= frame[error].to_numpy(dtype=float) > 0
    if "used" in frame:
        good &= frame["used"].to_numpy(dtype=bool)
    table = frame[good]
    table = table.assign(source_id=table["source_id"].astype(str))  # numbers sort otherwise than their names
    table = table.sort_values(["source_id", "mjd"], kind="stable")
    names, first, counts = np.unique(
        table["source_id"].to_numpy(dtype=str), return_index=True, return_counts=True
    )
    starts = np.append(first, len(table)).astype(np.int64)
    values, errors = _floats(table, flux), _floats(table, error)
    median = np.array([np.median(values[a : a + n]) for a, n in zip(first, counts, strict=True)])
    scale = np.repeat(np.where(median > 0, median, np.nan), counts)
    relative = values / scale - 1.0
    series = Series(
        source_ids=[str(name) for name in names],
        ra_deg=_floats(table, "ra_deg")[first],
        dec_deg=_floats(table, "dec_deg")[first],
        median_jy=median,
        starts=starts,
        mjd=_floats(table, "mjd"),
        flux=relative,
        error=errors / scale,
        slope=_floats(table, "band_slope"),
        slope_error=_floats(table, "band_slope_err"),
        codes={name: _codes(table[name]) for name in CHANGES if name in table},
    )
    positive = np.nonzero(median > 0)[0]
    return series if len(positive) == len(series) else series.chosen(positive)


def _floats(table: pd.DataFrame, name: str) -> Floats:
    if name not in table:
        return np.full(len(table), np.nan)
    return np.ascontiguousarray(table[name].to_numpy(dtype=np.float64))


def _codes(column: pd.Series) -> Ints:
    if pd.api.types.is_numeric_dtype(column):
        column = column.round(2)
    return np.ascontiguousarray(pd.factorize(column)[0], dtype=np.int64)
