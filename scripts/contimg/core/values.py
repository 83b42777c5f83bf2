"""What may stand in a configuration value, and how every spelling of it becomes one form.

The same setting reaches the pipeline as a YAML date, a number, a string of the command line or nothing at
all, depending on who parsed it. The functions here bring each to one form; they are the validators of the
field types in `contimg.config.model` and `contimg.core.options`, and know nothing of the keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import PurePath
from typing import Any

from contimg.core import names

_INSTANT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?))?"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}:\d{2})?",
    re.IGNORECASE,
)
_NOTHING = {"", "null", "none", "~"}
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_WINDOW_NAME = re.compile(r"\d{4}[+-]\d{2}(\.\d)?")


def nothing_to_none(value: Any) -> Any:
    """Turn the ways to write "no value" (empty, `null`, `none`, `~`) into None."""
    return None if isinstance(value, str) and value.strip().lower() in _NOTHING else value


def instant(value: Any) -> Any:
    """Bring a date or time to one form.

    Parameters
    ----------
    value
        `datetime.date`, `datetime.datetime` (naive means UTC) or a string `YYYY-MM-DD`,
        `YYYY-MM-DDTHH:MM[:SS[.ffffff]]`, with T or a space, with Z, UTC, an offset or nothing behind.

    Returns
    -------
    str or None
        `YYYY-MM-DDTHH:MM:SS[.ffffff]`, UTC; a bare date is its 00:00.

    Raises
    ------
    ValueError
        When it is no such thing.
    """
    value = nothing_to_none(value)
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.fromisoformat(value.isoformat())
    else:
        match = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError("not a UTC date or time")
        zone = (match["zone"] or "").upper()
        offset = zone if zone[:1] in ("+", "-") else ""
        moment = datetime.fromisoformat(f"{match['day']}T{match['clock'] or '00:00'}{offset}")
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat()


def day(value: Any) -> Any:
    """Bring a UTC date to `YYYY-MM-DD`; a time of day other than 00:00 is a ValueError."""
    moment = instant(value)
    if moment is None:
        return None
    if not moment.endswith("T00:00:00"):
        raise ValueError("a date without a time of day is expected")
    return str(moment[:10])


def tile_name(value: Any) -> Any:
    """Bring a tile's name, which YAML takes for a time, to `YYYY-MM-DDTHH:MM:SS`."""
    moment = instant(value)
    date_alone = ":" not in value if isinstance(value, str) else not isinstance(value, datetime)
    if moment is None or date_alone or "." in moment:
        raise ValueError("not the name of a tile")
    return moment


def mjd(moment: str | None) -> float | None:
    """Give the MJD (UTC, days) of an instant in the form that `instant` makes; None stays None."""
    return None if moment is None else names.mjd(datetime.fromisoformat(moment))


def not_bool(value: Any) -> Any:
    """Refuse true and false where a number is expected, which Python would take for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is expected")  # noqa: TRY004 (pydantic collects ValueError only)
    return value.strip() if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """Make a list of a comma-separated string, of a single value, or of nothing."""
    value = nothing_to_none(value)
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple | set) else [value]


def band(value: Any) -> Any:
    """Make a (low, high) pair of `1348-1352`; low must be below high."""
    pair = [part.strip() for part in value.split("-")] if isinstance(value, str) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError("not a band of two frequencies")
    low, high = (float(not_bool(edge)) for edge in pair)
    if not low < high:
        raise ValueError("the first frequency must be below the second")
    return low, high


def file_name(value: Any) -> Any:
    """Refuse a name that cannot be that of a file, or that is the form of a sidereal window's name."""
    if nothing_to_none(value) is None:
        return None
    written = name(value)
    if not _FILE_NAME.fullmatch(written):
        raise ValueError("not a file name of letters, digits and . _ + - that begins with a letter or digit")
    why = names.unusable(written)
    if why is not None:
        raise ValueError(why)
    if _WINDOW_NAME.fullmatch(written):
        raise ValueError("that is the form of a sidereal window's name")
    return written


def name(value: Any) -> Any:
    """Make a string of a name or path that was taken for a whole number (antenna 103)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | PurePath):
        raise ValueError("a name is expected")  # noqa: TRY004 (pydantic collects ValueError only)
    return str(value).strip()


def cleaned(data: Any, keep: Mapping[str, Any]) -> Any:
    """Prepare a section's mapping: keys are strings, "no value" is None, an empty list or section a default.

    Parameters
    ----------
    data
        What was found in the section's place: a mapping, or None for a section whose keys are all left out.
    keep
        For each key whose None means "as by default" (lists and sections), anything.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        return data
    values = {str(key): nothing_to_none(value) for key, value in data.items()}
    return {key: value for key, value in values.items() if not (value is None and key in keep)}


def none_is_a_word(value: Any) -> Any:
    """The word `none`, for a key where it is a choice and does not mean that nothing is given."""
    return "none" if value is None else value
