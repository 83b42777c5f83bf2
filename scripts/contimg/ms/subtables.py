"""The subtables of a Measurement Set: filled in a form that CASA (listobs, gaincal) and WSClean accept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import EarthLocation
from casacore import tables
from numpy.typing import NDArray

from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY

if TYPE_CHECKING:
    from contimg.ms.meta import MsMeta

REQUIRED = (
    "ANTENNA", "DATA_DESCRIPTION", "FEED", "FIELD", "FLAG_CMD", "HISTORY", "OBSERVATION", "POINTING", "POLARIZATION",
    "PROCESSOR", "SPECTRAL_WINDOW", "STATE",
)  # fmt: skip
"""Subtables that the standard wants; POINTING and FLAG_CMD stay empty (the array does not track)."""
TOPOCENTRIC = 5
"""CASA's code of the frequency frame TOPO."""
_FEEDS_OF_CORRELATION = {
    5: (0, 0),
    6: (0, 1),
    7: (1, 0),
    8: (1, 1),
    9: (0, 0),
    10: (0, 1),
    11: (1, 0),
    12: (1, 1),
}


def reference_itrf_m(longitude_deg: float, latitude_deg: float, height_m: float) -> NDArray[np.float64]:
    """Geodetic (WGS84) to geocentric ITRF coordinates, (3,), m."""
    place = EarthLocation.from_geodetic(longitude_deg, latitude_deg, height_m)
    return np.array([axis.to_value("m") for axis in place.geocentric])


def fill(ms: Path, meta: MsMeta) -> None:
    """Write all subtables of a new Measurement Set."""
    start_s, end_s = _span_s(meta)
    middle_s, length_s = (start_s + end_s) / 2, end_s - start_s
    _fill_antennas(ms, meta)
    _fill_feeds(ms, meta, middle_s, length_s)
    _fill_field(ms, meta, middle_s)
    _fill_band(ms, meta)
    _fill_observation(ms, meta, start_s, end_s)
    _write_source(ms, meta, middle_s, length_s)
    _set_icrs(ms)
    append_history(ms, meta, [f"tile {meta.tile}: raw subband files brought to one ICRS phase centre"])


def _fill_antennas(ms: Path, meta: MsMeta) -> None:
    """ANTENNA, at geocentric places."""
    n_ant = len(meta.antenna_names)
    reference = reference_itrf_m(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    _put(
        ms,
        "ANTENNA",
        n_ant,
        NAME=list(meta.antenna_names),
        STATION=[f"DSA-{int(name):03d}" if name.isdecimal() else name for name in meta.antenna_names],
        TYPE=["GROUND-BASED"] * n_ant,
        MOUNT=["ALT-AZ"] * n_ant,
        POSITION=reference + meta.antenna_positions_m,
        OFFSET=np.zeros((n_ant, 3)),
        DISH_DIAMETER=np.asarray(meta.diameters_m, dtype=np.float64),
        FLAG_ROW=np.zeros(n_ant, dtype=bool),
    )


def _fill_feeds(ms: Path, meta: MsMeta, middle_s: float, length_s: float) -> None:
    """FEED: two receptors at right angles on each antenna, valid over the whole set."""
    n_ant = len(meta.antenna_names)
    receptors = ["X", "Y"] if min(meta.correlations) >= 9 else ["R", "L"]
    _put(
        ms,
        "FEED",
        n_ant,
        ANTENNA_ID=np.arange(n_ant, dtype=np.int32),
        FEED_ID=_integers(n_ant, 0),
        SPECTRAL_WINDOW_ID=_integers(n_ant, -1),
        BEAM_ID=_integers(n_ant, -1),
        NUM_RECEPTORS=_integers(n_ant, 2),
        TIME=np.full(n_ant, middle_s),
        INTERVAL=np.full(n_ant, length_s),
        BEAM_OFFSET=np.zeros((n_ant, 2, 2)),
        POLARIZATION_TYPE={"shape": [n_ant, 2], "array": receptors * n_ant},
        POL_RESPONSE=np.tile(np.eye(2, dtype=np.complex64), (n_ant, 1, 1)),
        POSITION=np.zeros((n_ant, 3)),
        RECEPTOR_ANGLE=np.zeros((n_ant, 2)),
    )


def _fill_field(ms: Path, meta: MsMeta, middle_s: float) -> None:
    """FIELD: the phase centre."""
    direction = np.array([[[meta.phase_ra_rad, meta.phase_dec_rad]]])
    _put(
        ms,
        "FIELD",
        1,
        NAME=[meta.field_name],
        CODE=[""],
        TIME=np.array([middle_s]),
        NUM_POLY=_integers(1, 0),
        SOURCE_ID=_integers(1, 0),
        PHASE_DIR=direction,
        DELAY_DIR=direction,
        REFERENCE_DIR=direction,
        FLAG_ROW=np.zeros(1, dtype=bool),
    )


def _fill_band(ms: Path, meta: MsMeta) -> None:
    """SPECTRAL_WINDOW, POLARIZATION, and the DATA_DESCRIPTION that ties them together."""
    n_chan = len(meta.freq_hz)
    widths = np.full((1, n_chan), float(meta.channel_width_hz))
    _put(
        ms,
        "SPECTRAL_WINDOW",
        1,
        NAME=["band"],
        NUM_CHAN=_integers(1, n_chan),
        CHAN_FREQ=np.asarray(meta.freq_hz, dtype=np.float64)[np.newaxis],
        CHAN_WIDTH=widths,
        EFFECTIVE_BW=widths,
        RESOLUTION=widths,
        REF_FREQUENCY=np.array([float(np.mean(meta.freq_hz))]),
        TOTAL_BANDWIDTH=np.array([n_chan * float(meta.channel_width_hz)]),
        MEAS_FREQ_REF=_integers(1, TOPOCENTRIC),
        NET_SIDEBAND=_integers(1, 1),
        IF_CONV_CHAIN=_integers(1, 0),
        FREQ_GROUP=_integers(1, 0),
        FREQ_GROUP_NAME=["band"],
        FLAG_ROW=np.zeros(1, dtype=bool),
    )
    products = [_FEEDS_OF_CORRELATION[code] for code in meta.correlations]
    _put(
        ms,
        "POLARIZATION",
        1,
        NUM_CORR=_integers(1, len(meta.correlations)),
        CORR_TYPE=np.array([meta.correlations], dtype=np.int32),
        CORR_PRODUCT=np.array([products], dtype=np.int32),
        FLAG_ROW=np.zeros(1, dtype=bool),
    )
    _put(
        ms,
        "DATA_DESCRIPTION",
        1,
        SPECTRAL_WINDOW_ID=_integers(1, 0),
        POLARIZATION_ID=_integers(1, 0),
        FLAG_ROW=np.zeros(1, dtype=bool),
    )


def _fill_observation(ms: Path, meta: MsMeta, start_s: float, end_s: float) -> None:
    """OBSERVATION, PROCESSOR and STATE: one row each."""
    _put(
        ms,
        "OBSERVATION",
        1,
        TELESCOPE_NAME=[meta.telescope_name],
        TIME_RANGE=np.array([[start_s, end_s]]),
        OBSERVER=["meridian drift"],
        PROJECT=[meta.tile],
        SCHEDULE_TYPE=["none"],
        SCHEDULE={"shape": [1, 1], "array": ["none"]},
        LOG={"shape": [1, 1], "array": [""]},
        RELEASE_DATE=np.array([end_s]),
        FLAG_ROW=np.zeros(1, dtype=bool),
    )
    _put(
        ms,
        "PROCESSOR",
        1,
        TYPE=["CORRELATOR"],
        SUB_TYPE=["DSA"],
        TYPE_ID=_integers(1, -1),
        MODE_ID=_integers(1, -1),
        FLAG_ROW=np.zeros(1, dtype=bool),
    )
    _put(
        ms,
        "STATE",
        1,
        SIG=np.ones(1, dtype=bool),
        REF=np.zeros(1, dtype=bool),
        CAL=np.zeros(1),
        LOAD=np.zeros(1),
        SUB_SCAN=_integers(1, 0),
        OBS_MODE=["OBSERVE_TARGET#ON_SOURCE"],
        FLAG_ROW=np.zeros(1, dtype=bool),
    )


def append_history(ms: Path, meta: MsMeta, lines: list[str]) -> None:
    """Append one HISTORY row a line."""
    with tables.table(f"{ms}/HISTORY", readonly=False, ack=False) as table:
        first = table.nrows()
        table.addrows(len(lines))
        for row, line in enumerate(lines, start=first):
            for column, value in (
                ("TIME", _span_s(meta)[1]),
                ("OBSERVATION_ID", 0),
                ("MESSAGE", line),
                ("PRIORITY", "INFO"),
                ("ORIGIN", "contimg"),
                ("APPLICATION", "contimg"),
                ("OBJECT_ID", -1),
            ):
                table.putcell(column, row, value)
            table.putcell("CLI_COMMAND", row, [""])
            table.putcell("APP_PARAMS", row, [""])


def read(ms: Path) -> dict[str, Any]:
    """Read back what `fill` wrote and `contimg.ms.sets.read_meta` needs."""
    with tables.table(f"{ms}/ANTENNA", ack=False) as table:
        antennas = {
            "antenna_names": list(table.getcol("NAME")),
            "antenna_itrf_m": table.getcol("POSITION"),
            "diameters_m": table.getcol("DISH_DIAMETER"),
        }
    with tables.table(f"{ms}/SPECTRAL_WINDOW", ack=False) as table:
        band = {
            "freq_hz": table.getcell("CHAN_FREQ", 0),
            "channel_width_hz": float(table.getcell("CHAN_WIDTH", 0)[0]),
        }
    with tables.table(f"{ms}/POLARIZATION", ack=False) as table:
        correlations = tuple(int(code) for code in table.getcell("CORR_TYPE", 0))
    with tables.table(f"{ms}/FIELD", ack=False) as table:
        ra, dec = table.getcell("PHASE_DIR", 0)[0]
        field = {
            "field_name": table.getcell("NAME", 0),
            "phase_ra_rad": float(ra),
            "phase_dec_rad": float(dec),
        }
    with tables.table(f"{ms}/OBSERVATION", ack=False) as table:
        telescope = table.getcell("TELESCOPE_NAME", 0)
    return {**antennas, **band, **field, "correlations": correlations, "telescope_name": telescope}


def _integers(count: int, value: int) -> NDArray[np.int32]:
    return np.full(count, value, dtype=np.int32)


def _span_s(meta: MsMeta) -> tuple[float, float]:
    """Start of the first and end of the last integration, MJD in seconds, UTC."""
    seconds = (meta.times_jd[[0, -1]] - MJD_EPOCH_JD) * SECONDS_PER_DAY
    return float(seconds[0] - meta.integration_s[0] / 2), float(seconds[1] + meta.integration_s[-1] / 2)


def _put(ms: Path, subtable: str, n_rows: int, **columns: Any) -> None:
    """Add rows to a subtable and fill its columns."""
    with tables.table(f"{ms}/{subtable}", readonly=False, ack=False) as table:
        table.addrows(n_rows)
        for name, values in columns.items():
            table.putcol(name, values)


def _write_source(ms: Path, meta: MsMeta, middle_s: float, length_s: float) -> None:
    """Make the optional SOURCE subtable, which listobs and the gain solver look into."""
    with tables.default_ms_subtable("SOURCE", name=f"{ms}/SOURCE") as table:
        table.addrows(1)
        for name, value in (
            ("SOURCE_ID", 0),
            ("TIME", middle_s),
            ("INTERVAL", length_s),
            ("SPECTRAL_WINDOW_ID", -1),
            ("NUM_LINES", 0),
            ("NAME", meta.field_name),
            ("CALIBRATION_GROUP", 0),
            ("CODE", ""),
            ("DIRECTION", np.array([meta.phase_ra_rad, meta.phase_dec_rad])),
            ("PROPER_MOTION", np.zeros(2)),
        ):
            table.putcell(name, 0, value)
    with tables.table(str(ms), readonly=False, ack=False) as main:
        main.putkeyword("SOURCE", f"Table: {ms}/SOURCE", makesubrecord=False)


def _set_icrs(ms: Path) -> None:
    """Say ICRS wherever a subtable's direction has a reference frame (the default is J2000)."""
    columns: Mapping[str, tuple[str, ...]] = {
        "FIELD": ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"),
        "SOURCE": ("DIRECTION",),
    }
    for subtable, names in columns.items():
        with tables.table(f"{ms}/{subtable}", readonly=False, ack=False) as table:
            for name in names:
                table.putcolkeyword(name, "MEASINFO", {"type": "direction", "Ref": "ICRS"})
