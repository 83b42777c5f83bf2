"""The photometry table: its columns with units, its flags, and how it is written and read.

`photometry/{date}/{mosaic}.parquet` holds one row a source that the mosaic covers. The file explains itself: its
schema's metadata have, under the key ``contimg``, a JSON text with the columns' units and meanings, the bits of
``flags``, and the status, reason, inputs, parameters, metrics and versions that every product's sidecar has. A
rejected mosaic leaves a table without rows that says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.core import tables
from contimg.core.errors import InputError

METADATA_KEY = b"contimg"
FORMAT = 1
"""Version of the columns; another number is another contract."""


class Flag(IntFlag):
    """Bits of the column ``flags``; 0 is a clean measurement."""

    EDGE = 1
    """Part of the source's window lies outside the mosaic or on blank pixels."""
    BLENDED = 2
    """Another listed source is nearer than 1.5 beams: both were solved together."""
    RESOLVED = 4
    """More flux within a beam than a point of this peak would show: the peak is not the whole flux."""
    ARTEFACT = 8
    """Near a source so bright that its residual sidelobes count here."""
    LOW_WEIGHT = 16
    """The mosaic's noise here is above `photometry.max_rms_ratio` times its best."""
    NOT_SEEN = 32
    """Below the detection limit: the flux is as measured, and `upper_limit_jy` is given."""


FLAG_WORDS: dict[Flag, str] = {
    Flag.EDGE: "edge",
    Flag.BLENDED: "blended",
    Flag.RESOLVED: "resolved",
    Flag.ARTEFACT: "artefact",
    Flag.LOW_WEIGHT: "low weight",
    Flag.NOT_SEEN: "not seen",
}
UNRELIABLE = Flag.EDGE | Flag.ARTEFACT | Flag.LOW_WEIGHT
"""What makes a measurement unfit for statistics, whatever its error says."""


@dataclass(frozen=True)
class Column:
    """One column: its type in the file, its unit ("" for none) and what it means."""

    name: str
    type: pa.DataType
    unit: str
    text: str


_NAME = pa.dictionary(pa.int32(), pa.string())
_F64, _F32, _INT = pa.float64(), pa.float32(), pa.int32()

COLUMNS: tuple[Column, ...] = (
    Column("source_id", pa.string(), "", "IAU name of the source, JHHMMSS.s+DDMMSS, truncated"),
    Column("ra_deg", _F64, "deg", "right ascension of the listed place, ICRS"),
    Column("dec_deg", _F64, "deg", "declination of the listed place, ICRS"),
    Column("mjd", _F64, "d", "weighted mean time of the tiles that see the source, MJD UTC"),
    Column("mosaic", _NAME, "", "{date}/{mosaic}"),
    Column("flux_jy", _F32, "Jy", "peak flux density at freq_hz, corrected for the primary beam"),
    Column("flux_err_jy", _F32, "Jy", "error of flux_jy: stat_err_jy and cal_err_jy in quadrature"),
    Column("local_rms_jy", _F32, "Jy", "noise of the mosaic round the source"),
    Column("snr", _F32, "", "flux_jy / stat_err_jy"),
    Column("flags", _INT, "", "bit mask, 0: clean"),
    Column("flux_int_jy", _F32, "Jy", "flux density within one beam of the place, 1 / (its part of a point)"),
    Column("flux_int_err_jy", _F32, "Jy", "error of flux_int_jy, with the calibration term"),
    Column("background_jy", _F32, "Jy", "median of the mosaic round the source, subtracted"),
    Column("stat_err_jy", _F32, "Jy", "error from noise alone"),
    Column("cal_err_jy", _F32, "Jy", "error from calibration and primary beam"),
    Column("upper_limit_jy", _F32, "Jy", "upper limit where the source is not seen; NaN where it is"),
    Column("pb", _F32, "of peak", "primary-beam power response, mean over the tiles with their weights"),
    Column("beam_distance_deg", _F32, "deg", "distance from the tiles' pointing, mean with their weights"),
    Column("n_tiles", _INT, "", "tiles that contribute at the place"),
    Column("tiles", _NAME, "", "their names, joined by ;"),
    Column("neighbour_arcsec", _F32, "arcsec", "distance of the nearest other listed source"),
    Column("bmaj_arcsec", _F32, "arcsec", "major axis of the restoring beam, full width at half power"),
    Column("bmin_arcsec", _F32, "arcsec", "minor axis of the restoring beam"),
    Column("bpa_deg", _F32, "deg", "position angle of the restoring beam, north through east"),
    Column("freq_hz", _F64, "Hz", "effective frequency of the fluxes"),
    Column("flux_vis_jy", _F32, "Jy", "flux density fitted to the visibilities, at freq_hz; NaN: not fitted"),
    Column("flux_vis_err_jy", _F32, "Jy", "its error, with the calibration term"),
    Column("band_slope", _F32, "", "spectral index d ln S / d ln ν within the band, from the visibilities"),
    Column("band_slope_err", _F32, "", "its error"),
    Column("n_vis_tiles", _INT, "", "tiles in whose visibilities the source was fitted"),
    Column("pointing_dec_deg", _F32, "deg", "declination that the strip is pointed at"),
    Column("caltable", _NAME, "", "caltables of the tiles, joined by ;"),
    Column("calibrator", _NAME, "", "calibrators of these tables, joined by ;"),
    Column("hour_ut", _F32, "h", "UTC hour of mjd"),
    Column("solar_elongation_deg", _F32, "deg", "distance of the Sun from the source"),
)
NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)


def flag_words(flags: int) -> str:
    """The names of the bits that are set, joined by commas; "" for none."""
    return ", ".join(word for flag, word in FLAG_WORDS.items() if flags & flag)


def empty() -> pd.DataFrame:
    """A table without rows, all columns of their type."""
    return pd.DataFrame(
        {column.name: pd.Series(dtype=_pandas_type(column.type)) for column in COLUMNS}, columns=list(NAMES)
    )


def _pandas_type(kind: pa.DataType) -> Any:
    return "str" if kind in (pa.string(), _NAME) else np.dtype(kind.to_pandas_dtype())


def schema(about: Mapping[str, Any]) -> pa.Schema:
    """The file's schema, with what it says of itself.

    Parameters
    ----------
    about : mapping
        Fields of a product's sidecar (`contimg.core.products.status`), JSON-able.
    """
    fields = [
        pa.field(column.name, column.type, metadata={"unit": column.unit, "description": column.text})
        for column in COLUMNS
    ]
    text = {
        **about,
        "format": FORMAT,
        "columns": {column.name: {"unit": column.unit, "description": column.text} for column in COLUMNS},
        "flags": {word: int(flag) for flag, word in FLAG_WORDS.items()},
    }
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(text, allow_nan=False)})


def write(path: Path, frame: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a photometry table; the same rows and text give the same bytes.

    Parameters
    ----------
    path : Path
        The file, which appears as the caller arranges (`contimg.core.products.building`).
    frame : DataFrame
        Columns of `COLUMNS`, in any order.
    about : mapping
        See `schema`.

    Raises
    ------
    InputError
        A column is missing or one too many.
    """
    tables.require(path, frame, NAMES, "the photometry columns")
    table = pa.Table.from_pandas(
        frame[list(NAMES)], schema=schema(about), preserve_index=False, safe=False
    ).replace_schema_metadata(schema(about).metadata)
    pq.write_table(table, path, compression="zstd")


def read(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a photometry table, or some of its columns.

    Raises
    ------
    InputError
        The file cannot be read or lacks a column.
    """
    try:
        frame = pq.ParquetFile(path).read(columns=list(columns or NAMES)).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a photometry table ({error}); delete it and run again") from error
    lacking = sorted(set(columns or NAMES) - set(frame))
    if lacking:
        raise InputError(
            f"{path}: expected a photometry table, found none of {', '.join(lacking)}; make it again"
        )
    for name in frame.columns[frame.dtypes == "category"]:
        frame[name] = frame[name].astype("str")
    return frame


def about(path: Path) -> dict[str, Any]:
    """What a photometry table says of itself: status, reason, inputs, parameters, metrics, columns, flags."""
    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: expected a photometry table ({error}); delete it and run again") from error
    if METADATA_KEY not in found:
        raise InputError(
            f"{path}: expected a photometry table, found a file that says nothing of itself; make it again"
        )
    text: dict[str, Any] = json.loads(found[METADATA_KEY])
    return text
