"""Notices of candidates, as JSON in the shape of GCN's core schema: one for each candidate, updated, never repeated.

`variability/notices.json` holds them all. Its fields are those of the schema's core (identity, time, place,
statistics); `alert_type` is `initial` at first, `update` where what is known has changed since, and
`retraction` where people dismissed the candidate, or a search with more nights makes none of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from contimg.core.constants import SECONDS_PER_DAY

SCHEMA = "https://gcn.nasa.gov/schema/main/gcn/notices/core/Alert.schema.json"
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_POSITION_ERROR_DEG = 2.0 / 3600.0
_FAR_CHANGE = 10.0
_YEAR_S = 365.25 * SECONDS_PER_DAY


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table by the names of its columns."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def identity(candidate: Mapping[str, Any]) -> str:
    """Name of a candidate that its fits do not change: the source, and the month of the event's middle."""
    return f"{candidate['source_id']}_{_utc(float(candidate['middle_mjd']))[:7]}"


def notice(candidate: Mapping[str, Any], *, alert_type: str, issued: str) -> dict[str, Any]:
    """Make the notice of a candidate.

    Parameters
    ----------
    candidate : mapping
        Row of the table of candidates.
    alert_type : {"initial", "update", "retraction"}
    issued : str
        When, UTC.
    """
    content: dict[str, Any] = {
        "$schema": SCHEMA,
        "mission": "DSA-110",
        "instrument": "DSA-110",
        "messenger": "EM",
        "record_number": 1,
        "alert_datetime": issued,
        "alert_tense": "current",
        "alert_type": alert_type,
        "id": [identity(candidate)],
        "event_name": [identity(candidate)],
        "trigger_time": _utc(float(candidate["first_detection_mjd"])),
        "observation_start": _utc(float(candidate["begin_mjd"])),
        "observation_stop": _utc(float(candidate["last_detection_mjd"])),
        "ra": _number(candidate["ra_deg"]),
        "dec": _number(candidate["dec_deg"]),
        "ra_dec_error": _POSITION_ERROR_DEG,
        "containment_probability": 0.9,
        "p_astro": None,
        "far": float(candidate["far_per_1000_source_years"]) / 1000.0 / _YEAR_S,
        "net_count_rate": None,
        "additional_info": (
            f"Candidate for an extreme scattering event of {candidate['source_id']}: {candidate['type']}, "
            f"{float(candidate['duration_d']):.1f} d wide, median flux density "
            f"{1e3 * float(candidate['median_flux_jy']):.2f} mJy at 1.4 GHz, "
            f"{float(candidate['sigma_max']):.1f} sigma, {float(candidate['far']):.2g} false alarms "
            "per million source-epochs"
        ),
    }
    return {key: value for key, value in content.items() if value is not None}


def notices(
    candidates: pd.DataFrame, earlier: Sequence[Mapping[str, Any]] = (), *, whole: bool = True
) -> list[dict[str, Any]]:
    """Make the notices of all candidates, keeping those that have not changed.

    Parameters
    ----------
    candidates : DataFrame
        With the status that people gave.
    earlier : sequence of mapping
        Those made before.
    whole : bool
        Whether every source was searched: then what is no candidate any more is taken back.

    Returns
    -------
    list of dict
        Each with its `digest`, which changes with what matters: the type, the time of the last detection, the rate of
        false alarms by a factor of ten, the status.
    """
    known = {item["id"][0]: item for item in earlier}
    issued = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    made: dict[str, dict[str, Any]] = {}
    for row in records(candidates):
        name = identity(row)
        if name in made:
            continue  # a second event of the month
        step = round(math.log(max(float(row["far"]), 1e-9), _FAR_CHANGE))
        text = f"{row['type']} {row['status']} {float(row['last_detection_mjd']):.0f} {step}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        before = known.get(name)
        if before is not None and before["digest"] == digest:
            made[name] = dict(before)
            continue
        if row["status"] == "dismissed":
            kind = "retraction"
        else:
            kind = "initial" if before is None else "update"
        number = 1 if before is None else int(before["record_number"]) + 1
        content = notice(row, alert_type=kind, issued=issued)
        made[name] = {**content, "record_number": number, "digest": digest}
    for name, before in known.items():
        if name in made:
            continue
        made[name] = dict(before)
        if whole and before["alert_type"] != "retraction":
            made[name] |= {
                "alert_type": "retraction",
                "alert_datetime": issued,
                "record_number": int(before["record_number"]) + 1,
                "digest": "no candidate any more",
            }
    return list(made.values())


def _utc(mjd: float) -> str:
    return f"{_MJD_EPOCH + timedelta(days=mjd):%Y-%m-%dT%H:%M:%SZ}"


def _number(value: Any) -> float | None:
    return None if not math.isfinite(float(value)) else float(value)
