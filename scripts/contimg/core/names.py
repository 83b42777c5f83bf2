"""Every name the pipeline makes or parses: tiles, dates, windows and the paths of the products.

Nothing else in the library joins these strings. All paths are relative to the products tree. Times are
MJD UTC (a day of 86400 s); a name never depends on anything but the instant, the strip or the calibrator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contimg.core.kinds import BY_NAME, KINDS, Kind
from contimg.core.rules import BY_NAME as BY_RULE

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
DATE_PATTERN = r"\d{4}-\d{2}-\d{2}b?"
TILE_PATTERN = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"
TILE_RE = re.compile(TILE_PATTERN)
NOT_A_TILE_PATTERN = rf"(?!{TILE_PATTERN}[./])[^/]+"
NOT_A_DATE_PATTERN = r"(?!\d{4}-\d{2}-\d{2}b?$)(?!\d{4}-\d{2}-\d{2}b?/)[^/]+"
SIDEREAL_DAY = 0.9972695663290843  # mean sidereal day in days: a turn against the moving equinox
STRIP_STEP_DEG = 0.1


_ENDS_LIKE_A_FILE = re.compile(
    r"\.(ms|json|html|fits|png|csv|vot|parquet|sqlite3|part|withdrawn)$", re.IGNORECASE
)


def unusable(name: str) -> str | None:
    """Why a name that people give cannot be part of a product's path; None if it can."""
    if not name.strip(".") or ".." in name or name.startswith((".", "-")):
        return "a path would take it for something else"
    if re.search(rf"{DATE_PATTERN}$", name) or TILE_RE.match(name):
        return "it is, or ends like, a date: other products are called so"
    if ".part." in name or _ENDS_LIKE_A_FILE.search(name):
        return "it ends like a file, or like a product in the making"
    return None


def utc(mjd: float) -> datetime:
    """Calendar UTC of an MJD, to the microsecond."""
    return _MJD_EPOCH + timedelta(days=mjd)


def mjd(when: datetime) -> float:
    """MJD UTC of a timezone-aware (or naive UTC) datetime."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - _MJD_EPOCH) / timedelta(days=1)


def tile_name(start_mjd: float) -> str:
    """Name of the tile whose first integration starts at `start_mjd`, rounded to the second."""
    when = utc(start_mjd) + timedelta(microseconds=500_000)
    return when.strftime("%Y-%m-%dT%H:%M:%S")


def tile_date(tile: str) -> str:
    """UTC date of a tile's start."""
    return tile[:10]


def tile_mjd(tile: str) -> float:
    """MJD UTC that a tile's name states (to the second)."""
    return mjd(datetime.fromisoformat(tile))


def strip_dec(dec_deg: float) -> float:
    """Declination that names a strip: the pointing declination rounded to 0.1 degree."""
    return round(round(dec_deg / STRIP_STEP_DEG) * STRIP_STEP_DEG, 1) + 0.0


def strip_name(dec_deg: float) -> str:
    """`+55` for a strip within 0.05 degree of a whole degree, `+54.6` for one between."""
    dec = strip_dec(dec_deg)
    return f"{dec:+03.0f}" if dec == round(dec) else f"{dec:+05.1f}"


def window_name(center_ra_deg: float, dec_deg: float) -> str:
    """Name of the sidereal window centred on a right ascension of a strip, such as `0830+55`."""
    minutes = round(center_ra_deg / 15.0 * 60.0) % 1440
    return f"{minutes // 60:02d}{minutes % 60:02d}{strip_name(dec_deg)}"


def dated(instant_mjd: float) -> str:
    """UTC date of the recurrence of a sidereal event; the second one within a UTC date gets a `b`."""
    date = utc(instant_mjd).strftime("%Y-%m-%d")
    earlier = utc(instant_mjd - SIDEREAL_DAY).strftime("%Y-%m-%d")
    return date + "b" if earlier == date else date


def _path(kind: str, **wildcards: str) -> str:
    """Path of a product of a kind; a tile brings its date."""
    if "tile" in wildcards:
        wildcards.setdefault("date", tile_date(wildcards["tile"]))
    return BY_NAME[kind].path.format(**wildcards)


def of_tile(kind: Kind, tile: str) -> str:
    """Path of the one product of a kind that is made of a tile (`Kind.of_tile`)."""
    return _path(kind.name, tile=tile)


def science_ms(tile: str) -> str:
    return _path("science_ms", tile=tile)


def science_sidecar(tile: str) -> str:
    return BY_NAME["science_ms"].sidecar_of(science_ms(tile))


def calibrator_ms(tile: str, calibrator: str) -> str:
    return _path("calibrator_ms", tile=tile, calibrator=calibrator)


def calibrated_ms(tile: str) -> str:
    return _path("calibrated_ms", tile=tile)


def caltable_dir(tile: str, calibrator: str) -> str:
    return _path("caltable", tile=tile, calibrator=calibrator)


def image_dir(tile: str) -> str:
    return _path("image", tile=tile)


def beam_dir(tile: str) -> str:
    return _path("tile_beam", tile=tile)


def span_beam_dir(first: str, last: str) -> str:
    return _path("beam", first=first, last=last)


def window_dir(date: str, mosaic: str) -> str:
    return _path("mosaic", date=date, mosaic=mosaic)


def transit_dir(calibrator: str, date: str) -> str:
    return _path("transit_mosaic", calibrator=calibrator, date=date)


def verdict(date: str, product: str) -> str:
    """Sidecar of a product's quality; `product` is a tile's name or a mosaic's."""
    return _path("mosaic_verdict", date=date, product=product)


def mosaic_verdict(path: str, name: str) -> str:
    """Sidecar of a mosaic's quality, from its directory and the stem of its files."""
    _, one, two = path.split("/")
    return verdict(one if re.fullmatch(DATE_PATTERN, one) else two, name)


def tile_verdict(tile: str) -> str:
    return _path("tile_verdict", tile=tile)


def photometry(date: str, product: str) -> str:
    """Table of the sources measured in a mosaic; `product` is the stem of its files. Its sidecar is beside it."""
    return _path("photometry", date=date, product=product)


SOURCE_LIST = BY_NAME["source_list"].path
"""What is measured in every mosaic."""
LIGHTCURVES = BY_NAME["lightcurves"].path
"""The light curves of all sources: a folder."""
VARIABILITY = "variability/sources.parquet"
"""How much each source varies."""
EPOCHS = "variability/epochs.parquet"
"""The zero point of each mosaic, or why it has none."""

ESE_CANDIDATES = BY_NAME["ese_candidates"].path
"""Candidates for scattering events."""
ESE_RECORD = BY_NAME["ese_candidates"].sidecar_of(ESE_CANDIDATES)
NOTICES = "variability/notices.json"


def injection_record(tile: str) -> str:
    """What became of sources injected into a tile's data."""
    return _path("injection", tile=tile)


def night_page(date: str) -> str:
    return f"qa/{date}.html"


def log_of(path: str) -> tuple[Kind, str]:
    """The kind of a product's path and the log of its job, as `contimg.core.rules` has it."""
    for kind, pattern in _PATTERNS.items():
        match = pattern.fullmatch(path)
        if match is not None:
            return BY_NAME[kind], BY_RULE[BY_NAME[kind].rule].log.format(**match.groupdict())
    raise ValueError(f"{path}: expected the path of a product (contimg.core.kinds)")


@dataclass(frozen=True)
class ProductName:
    """What the path of a product tells.

    Attributes
    ----------
    path : str
        The product, relative to the products tree.
    kind : str
        `science_ms`, `calibrator_ms`, `calibrated_ms`, `caltable`, `image`, `mosaic` or `photometry`.
    date : str
        UTC date in the path.
    name : str
        Stem of its files.
    tile, calibrator : str or None
        Where the name holds one.
    """

    path: str
    kind: str
    date: str
    name: str
    tile: str | None = None
    calibrator: str | None = None


_WILDCARDS = {
    "date": DATE_PATTERN,
    "tile": TILE_PATTERN,
    "first": TILE_PATTERN,
    "last": TILE_PATTERN,
    "calibrator": NOT_A_DATE_PATTERN,
    "mosaic": NOT_A_DATE_PATTERN,
    "product": NOT_A_TILE_PATTERN,
}


def _pattern(path: str) -> re.Pattern[str]:
    """The expression that a path of a kind matches, with its wildcards as named groups."""
    parts = re.split(r"\{(\w+)\}", path)
    pairs = zip(parts[::2], [*parts[1::2], ""], strict=True)
    return re.compile(
        "".join(re.escape(text) + (f"(?P<{name}>{_WILDCARDS[name]})" if name else "") for text, name in pairs)
    )


_PATTERNS = {kind.name: _pattern(kind.path) for kind in KINDS}


def product_of(path: str) -> ProductName | None:
    """Parse the path of a registered product, relative to the products tree; None if it is none."""
    for kind in KINDS:
        match = _PATTERNS[kind.name].fullmatch(path)
        if match is None or not (kind.registered or kind.name == "transit_mosaic"):
            continue
        found = match.groupdict()
        tile, calibrator = found.get("tile"), found.get("calibrator")
        if kind.name == "transit_mosaic":
            stem = f"{calibrator}_{found['date']}"
            return ProductName(path, "mosaic", found["date"], stem, calibrator=calibrator)
        stem = path.rpartition("/")[2].removesuffix(".ms").removesuffix(".parquet")
        return ProductName(path, kind.name, found["date"], stem, tile, calibrator)
    return None


def publication(product: str) -> str:
    """Directory of the published versions of a mosaic, by its product directory."""
    found = product_of(product)
    if found is None or found.kind != "mosaic":
        raise ValueError(f"{product}: expected the directory of a mosaic")
    return f"published/{found.date}/{found.name}"


def receipt(date: str, product: str) -> str:
    """What became of a mosaic that was to be published; `product` is the stem of its files."""
    return f"state/published/{date}/{product}.json"


def published_list(date: str) -> str:
    """What the job that lists a date's publications leaves."""
    return f"state/published/{date}.json"


def published_index(date: str) -> str:
    """List of all versions that were published of a date."""
    return f"published/{date}/index.json"


def public_stem(name: str, date: str, version: int) -> str:
    """Stem of published files: unlike a product's, of one date and version, wherever they are copied to."""
    dated_name = name if name.endswith(date) else f"{name}_{date}"
    return f"{dated_name}.v{version}"
