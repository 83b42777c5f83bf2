"""The Measurement Set: how it is laid out, written once from front to back, and what it says about itself.

Rows run time by time, the same baselines at each time: nrow = nt x nbl, and every column can be viewed as (nt, nbl,
...). One field, spectral window and data description; DATA and, when asked for, WEIGHT_SPECTRUM; no model, no
corrected data.

Sign: visibilities are the conjugates of pyuvdata's, UVW (m) the negatives of (antenna 2 - antenna 1), as CASA,
WSClean and AOFlagger read them. Callers hand over data and uvw that already have it.

How columns are stored: docs/ms.md. Reference: CASA Memo 229 (Kemball & Wieringa, MS definition version 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from casacore import tables
from numpy.typing import NDArray

from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.ms import subtables as ms_subtables
from contimg.ms.meta import MsMeta, times_mjd_s

TILE_ROWS = 48
"""Rows in a tile, if the baselines allow: 0.6 MB of DATA for 768 channels and two correlations."""
KEYWORD = "CONTIMG"
"""Table keyword (a record) with what the Measurement Set standard has no place for."""
CORRELATIONS: Mapping[int, int] = {-5: 9, -7: 10, -8: 11, -6: 12, -1: 5, -3: 6, -4: 7, -2: 8}
"""AIPS polarisation code of a raw file -> CASA correlation type (XX 9, XY 10, YX 11, YY 12; RR 5 ... LL 8)."""
_TIMEWISE = (
    "ARRAY_ID", "DATA_DESC_ID", "EXPOSURE", "FEED1", "FEED2", "FIELD_ID", "FLAG_ROW", "INTERVAL", "OBSERVATION_ID",
    "PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID", "TIME", "TIME_CENTROID",
)  # fmt: skip
_ROWWISE = ("ANTENNA1", "ANTENNA2")


def tile_rows(n_baselines: int) -> int:
    """Rows of a tile: the divisor of the baselines nearest to `TILE_ROWS`, within a factor of two of it.

    The baselines of an integration then are whole tiles, and blocks of them can be read without their neighbours.
    Without such a divisor: `TILE_ROWS`, and tiles straddle integrations.
    """
    if n_baselines <= 2 * TILE_ROWS:
        return n_baselines
    divisors = [n for n in range(TILE_ROWS // 2, 2 * TILE_ROWS + 1) if n_baselines % n == 0]
    return min(divisors, key=lambda n: abs(n - TILE_ROWS), default=TILE_ROWS)


class MsWriter:
    """Write a Measurement Set from front to back; a context manager.

    All columns are described, and all rows exist, before the first visibility is written: nothing is written
    twice.

    Parameters
    ----------
    path
        Where to write; nothing may be there.
    meta
        Everything but the visibilities.
    weight_spectrum
        Whether there is a weight for each channel.

    Raises
    ------
    InputError
        Something is at `path` already.
    """

    def __init__(self, path: Path, meta: MsMeta, *, weight_spectrum: bool = False) -> None:
        if path.exists():
            raise InputError(
                f"{path}: expected nothing there to write a Measurement Set, found something; remove it"
            )
        self.meta = meta
        n_times, n_bl, n_chan, n_corr = meta.shape
        columns, managers = _layout(n_chan, n_corr, n_bl, weight_spectrum)
        self._table = tables.default_ms(str(path), tabdesc=columns, dminfo=managers)
        self._table.putkeyword(
            KEYWORD,
            {
                "tile": meta.tile,
                "pointing_dec_rad": float(meta.pointing_dec_rad),
                "longitude_deg": float(meta.longitude_deg),
                "latitude_deg": float(meta.latitude_deg),
                "height_m": float(meta.height_m),
            },
        )
        ms_subtables.fill(path, meta)
        # Not before: whoever else opens the table makes casacore flush it, and fill all rows there are with zeros.
        self._table.addrows(n_times * n_bl)
        self._fill_scalars()

    def write_time(
        self,
        i: int,
        uvw: NDArray[np.float64],
        data: NDArray[np.complex64],
        flag: NDArray[np.bool_] | None,
        weight: NDArray[np.float32] | None,
        weight_spectrum: NDArray[np.float32] | None = None,
    ) -> None:
        """Write one integration.

        Parameters
        ----------
        i
            Which, 0 <= i < nt.
        uvw
            (nbl, 3) m, in the Measurement Set's sign.
        data
            (nbl, nchan, ncorr), ascending in frequency, correlations in the order of the metadata.
        flag
            The same shape, true is bad; None if `write_flag` will write it.
        weight
            (nbl, ncorr), as in `write_weight`; None if that will write it.
        weight_spectrum
            (nbl, nchan, ncorr), the same per channel; only if the table has the column.
        """
        start, count = i * self.meta.n_baselines, self.meta.n_baselines
        put = self._table.putcol
        put("UVW", uvw, start, count)
        put("DATA", data, start, count)
        if weight is not None:
            self.write_weight(i, weight)
        if flag is not None:
            self.write_flag(i, flag)
        if weight_spectrum is not None:
            put("WEIGHT_SPECTRUM", weight_spectrum, start, count)

    def write_flag(self, i: int, flag: NDArray[np.bool_]) -> None:
        """Write one integration's flags, (nbl, nchan, ncorr), and FLAG_ROW where all of a row's are set."""
        start, count = i * self.meta.n_baselines, self.meta.n_baselines
        self._table.putcol("FLAG", flag, start, count)
        self._table.putcol("FLAG_ROW", flag.all(axis=(1, 2)), start, count)

    def write_weight(self, i: int, weight: NDArray[np.float32]) -> None:
        """Write one integration's WEIGHT and SIGMA.

        `weight` is (nbl, ncorr), 1 / sigma^2 of the real (or imaginary) part of one channel's visibility, in the
        inverse square of its unit; 0 where nothing is known, with a SIGMA of 0.
        """
        start, count = i * self.meta.n_baselines, self.meta.n_baselines
        sigma = np.zeros_like(weight)
        np.divide(1.0, np.sqrt(weight), out=sigma, where=weight > 0)
        self._table.putcol("WEIGHT", weight, start, count)
        self._table.putcol("SIGMA", sigma, start, count)

    def write_history(self, lines: list[str]) -> None:
        """Append to HISTORY, one row a line."""
        ms_subtables.append_history(Path(self._table.name()), self.meta, lines)

    def write_keyword(self, name: str, value: Any) -> None:
        """Keep something beside the standard's columns: an array, as a keyword of the main table."""
        self._table.putkeyword(name, value)

    def read_baselines(self, i: int, first: int, out: NDArray[np.complex64]) -> None:
        """Read back DATA of baselines first ... of one integration into `out`, (n, nchan, ncorr)."""
        self._table.getcolnp("DATA", out, i * self.meta.n_baselines + first, len(out))

    def close(self) -> None:
        """Flush and close the table."""
        self._table.close()

    def __enter__(self) -> MsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill_scalars(self) -> None:
        meta, table = self.meta, self._table
        n_times, n_bl, _, _ = meta.shape
        times = np.repeat(times_mjd_s(meta.times_jd), n_bl)
        seconds = np.repeat(np.asarray(meta.integration_s, dtype=np.float64), n_bl)
        zeros = np.zeros(n_times * n_bl, dtype=np.int32)
        for column, values in (
            ("TIME", times),
            ("TIME_CENTROID", times),
            ("INTERVAL", seconds),
            ("EXPOSURE", seconds),
            ("ANTENNA1", np.tile(np.asarray(meta.ant1, dtype=np.int32), n_times)),
            ("ANTENNA2", np.tile(np.asarray(meta.ant2, dtype=np.int32), n_times)),
            ("SCAN_NUMBER", zeros + 1),
            ("FLAG_ROW", zeros.astype(bool)),
        ):
            table.putcol(column, values)
        for column in (
            "ARRAY_ID", "DATA_DESC_ID", "FEED1", "FEED2", "FIELD_ID", "OBSERVATION_ID", "PROCESSOR_ID", "STATE_ID",
        ):  # fmt: skip
            table.putcol(column, zeros)


def _layout(
    n_chan: int, n_corr: int, n_bl: int, weight_spectrum: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Column descriptions and data managers of the main table."""
    cube, row_tile = [n_chan, n_corr], tile_rows(n_bl)
    shapes: dict[str, tuple[Any, str, list[int], int]] = {  # sample value, type, shape, rows in a tile
        "DATA": (0j, "complex", cube, row_tile),
        "FLAG": (False, "boolean", cube, 8 * row_tile),  # stored as bits
        "UVW": (0.0, "double", [3], 1024),
        "WEIGHT": (0.0, "float", [n_corr], 1024),
        "SIGMA": (0.0, "float", [n_corr], 1024),
    }
    if weight_spectrum:
        shapes["WEIGHT_SPECTRUM"] = (0.0, "float", cube, 2 * row_tile)
    required = tables.required_ms_desc("")
    columns, managers = {}, {}
    for number, (name, (sample, kind, shape, rows)) in enumerate(shapes.items(), start=1):
        group = f"Tiled{name}"
        description = tables.makearrcoldesc(
            name,
            sample,
            shape=shape,
            valuetype=kind,
            options=5,  # a fixed shape, stored directly
            datamanagertype="TiledColumnStMan",
            datamanagergroup=group,
            keywords=dict(required[name]["keywords"]) if name in required else {},
        )
        columns[name] = description["desc"]
        managers[f"*{number}"] = {
            "TYPE": "TiledColumnStMan",
            "NAME": group,
            "SPEC": {"DEFAULTTILESHAPE": [*shape[::-1], rows]},
            "COLUMNS": [name],
        }
    for manager, group, names in (
        ("IncrementalStMan", "Timewise", _TIMEWISE),
        ("StandardStMan", "Rowwise", _ROWWISE),
    ):
        for name in names:
            columns[name] = {**required[name], "dataManagerType": manager, "dataManagerGroup": group}
        managers[f"*{len(managers) + 1}"] = {
            "TYPE": manager,
            "NAME": group,
            "SPEC": {},
            "COLUMNS": list(names),
        }
    return columns, managers


def read_meta(ms: Path) -> MsMeta:
    """Read what a Measurement Set written by `MsWriter` says about itself.

    Raises
    ------
    InputError
        It cannot be opened, or was not written by this library.
    """
    try:
        table = tables.table(str(ms), readonly=True, ack=False)
    except RuntimeError as exc:
        raise InputError(
            f"{ms}: not a Measurement Set that can be opened ({exc}); convert the tile again"
        ) from exc
    with table:
        if KEYWORD not in table.keywordnames():
            raise InputError(
                f"{ms}: expected the table keyword {KEYWORD}, which convert writes; convert the tile again"
            )
        own = table.getkeyword(KEYWORD)
        all_times = table.getcol("TIME")
        n_bl = int(np.searchsorted(all_times > all_times[0], True)) if len(all_times) else 0
        if n_bl == 0 or len(all_times) % n_bl:
            raise InputError(
                f"{ms}: {len(all_times)} rows are not whole integrations of {n_bl} baselines; convert again"
            )
        seconds = table.getcol("EXPOSURE")[::n_bl]
        ant1, ant2 = (table.getcol(name, 0, n_bl).astype(np.int64) for name in ("ANTENNA1", "ANTENNA2"))
    subtables = ms_subtables.read(ms)
    reference = ms_subtables.reference_itrf_m(own["longitude_deg"], own["latitude_deg"], own["height_m"])
    return MsMeta(
        tile=own["tile"],
        times_jd=all_times[::n_bl] / SECONDS_PER_DAY + MJD_EPOCH_JD,
        integration_s=seconds,
        antenna_names=subtables["antenna_names"],
        antenna_positions_m=subtables["antenna_itrf_m"] - reference,
        diameters_m=subtables["diameters_m"],
        ant1=ant1,
        ant2=ant2,
        freq_hz=subtables["freq_hz"],
        channel_width_hz=subtables["channel_width_hz"],
        correlations=subtables["correlations"],
        phase_ra_rad=subtables["phase_ra_rad"],
        phase_dec_rad=subtables["phase_dec_rad"],
        field_name=subtables["field_name"],
        pointing_dec_rad=own["pointing_dec_rad"],
        longitude_deg=own["longitude_deg"],
        latitude_deg=own["latitude_deg"],
        height_m=own["height_m"],
        telescope_name=subtables["telescope_name"],
    )


def verify(ms: Path, meta: MsMeta) -> None:
    """Open a finished Measurement Set again and check that it is whole.

    Raises
    ------
    InputError
        Rows, subtables, coordinates or data are not there as they were written.
    """
    found = read_meta(ms)
    if found.shape != meta.shape:
        raise InputError(
            f"{ms}: expected data of shape {meta.shape}, found {found.shape} after writing; convert again"
        )
    for name in ms_subtables.REQUIRED:
        if not (ms / name / "table.dat").is_file():
            raise InputError(f"{ms}: subtable {name} is missing after writing; convert again")
    with tables.table(str(ms), readonly=True, ack=False) as table:
        if not np.isfinite(table.getcol("UVW")).all():
            raise InputError(
                f"{ms}: UVW are not finite after writing; check the antenna positions of the raw files"
            )
        last = table.nrows() - 1
        for column in ("DATA", "FLAG"):
            shape = table.getcell(column, last).shape
            if shape != meta.shape[2:]:
                raise InputError(
                    f"{ms}: the last row of {column} has shape {shape}, expected {meta.shape[2:]}"
                )
