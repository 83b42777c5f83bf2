"""What a request asks for: its items, what differs from the configuration, and what has no meaning here."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contimg.api import bodies
from contimg.core import names
from contimg.core.errors import InputError

PRESETS = {"conservative": 5.0, "moderate": 3.5, "sensitive": 2.5}
_TABLE = re.compile(rf"(?:^|/)(cal/{names.DATE_PATTERN}/{names.TILE_PATTERN}_[^/]+?)(?:/(?:K|BP|G))?/?$")
_TILE_AT_START = re.compile(rf"({names.TILE_PATTERN})(?=$|[._])")


@dataclass(frozen=True)
class Place:
    """Where paths of requests may lie: the products tree, that relative paths start from, and all roots."""

    products: Path
    roots: tuple[Path, ...]

    def confine(self, text: str) -> Path:
        """A path with its links followed; InputError if it lies outside the roots. Nothing of it is opened."""
        if not text or "\0" in text or any(ord(letter) < 32 for letter in text) or len(text) > 1000:
            raise InputError("expected a path")
        real = Path(os.path.realpath(self.products / text))
        if not any(real.is_relative_to(os.path.realpath(root)) for root in self.roots):
            raise InputError(
                "lies outside the directories that requests may name (products, incoming, service.roots)"
            )
        return real

    def tile(self, text: str) -> str:
        """The tile that a path names: in its last part."""
        self.confine(text)
        found = _TILE_AT_START.match(text.rstrip("/").rpartition("/")[2])
        if found is None:
            raise InputError(
                "names no tile; expected a path such as ms/science/2025-10-30/2025-10-30T13:00:00.ms"
            )
        try:
            names.tile_mjd(found[1])
        except ValueError:
            raise InputError(f"names no tile: {found[1]} is no time") from None
        return found[1]

    def table(self, text: str) -> str:
        """The caltable directory that a path names, relative to the products tree."""
        self.confine(text)
        found = _TABLE.search(text)
        if found is None or ".." in found[1]:
            raise InputError(
                "names no caltable; expected a path such as cal/2025-10-30/2025-10-30T13:00:00_3C286/G"
            )
        return found[1]

    def mosaic(self, text: str) -> str:
        """The mosaic directory that a name or a path tells, relative to the products tree."""
        self.confine(text)
        root = os.path.realpath(self.products)
        path = text.rstrip("/")
        if Path(path).is_absolute():
            path = os.path.relpath(os.path.realpath(path), root)
        if path.endswith(".fits"):
            path = path.rpartition("/")[0]
        path = path if path.startswith("mosaics/") else f"mosaics/{path}"
        found = names.product_of(path)
        if found is None or found.kind != "mosaic" or ".." in path.split("/"):
            raise InputError(
                "names no mosaic; expected one such as 2025-10-30/0830+55 or mosaics/3C286/2025-10-30"
            )
        return path


@dataclass
class Order:
    """A request, understood.

    Attributes
    ----------
    kind : str
    items : list of (str, str or None)
        Names as the client gave them, each with why it cannot be done.
    wanted : dict of str to str
        By item: the tile, mosaic, window … that it means, for the plan of the run.
    changed : dict
        What differs from the configuration, by section.
    selection : dict
        Keys of the configuration that only select: start, end, calibrator …
    params : dict
        As the answer tells them.
    ignored : dict of str to str
        Parameters without a meaning here, each with why.
    cores : int or None
        Asked for by `max_workers`.
    extra : dict
        What else the plan of the run needs.
    """

    kind: str
    items: list[tuple[str, str | None]] = field(default_factory=list)
    wanted: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    cores: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """Plain values, for the job list and the run."""
        return {
            "kind": self.kind,
            "wanted": self.wanted,
            "changed": self.changed,
            "selection": self.selection,
            "cores": self.cores,
            "extra": self.extra,
        }

    def digest(self) -> str:
        """The same for the same work."""
        return digest([self.kind, self.items, self.spec()])


def digest(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def understand(kind: str, body: BaseModel, place: Place) -> Order:
    """Make an order of a request's body.

    Raises
    ------
    InputError
        The body as a whole cannot be served.
    """
    order = Order(kind)
    parameters = getattr(body, "parameters", body)
    told = _told(parameters)
    if parameters is not body:
        told = {**_told(body), **told}
    told.pop("parameters", None)
    order.params = {key: value for key, value in told.items() if key != "ms_paths"}
    for name, why in bodies.IGNORED.get(kind, {}).items():
        if name in told:
            order.ignored[name] = why
    _MAKERS[kind](body, order, place)
    order.selection = {key: value for key, value in order.selection.items() if value is not None}
    return order


def _told(body: BaseModel) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _each(order: Order, texts: Iterable[str], meaning: Any) -> None:
    """One item for each text; what cannot be understood fails alone."""
    for text in dict.fromkeys(texts):
        try:
            order.wanted[text] = meaning(text)
        except InputError as error:
            order.items.append((text, str(error)))
        else:
            order.items.append((text, None))


def _set(order: Order, section: str, values: Mapping[str, Any]) -> None:
    given = {key: value for key, value in values.items() if value is not None}
    if given:
        order.changed.setdefault(section, {}).update(given)


def _convert(body: bodies.ConvertBody, order: Order, place: Place) -> None:
    ways = [bool(body.time_windows), bool(body.start or body.end), body.calibrator is not None]
    if sum(ways) != 1:
        raise InputError("expected time_windows, or start and end, or calibrator and transit_date")
    if body.calibrator is not None:
        if body.transit_date is None:
            raise InputError("transit_date: expected the UTC date of the calibrator's transit")
        name = f"{body.calibrator}_{body.transit_date}"
        order.items.append((name, None))
        order.wanted[name] = "all"
        order.selection = {
            "calibrator": body.calibrator,
            "transit_date": body.transit_date,
            "window_minutes": body.window_minutes,
        }
    else:
        windows = [(window.start_time, window.end_time) for window in body.time_windows]
        if not windows:
            if not (body.start and body.end):
                raise InputError("start, end: expected both")
            windows = [(body.start, body.end)]
        for start, end in windows:
            _window(order, start, end)
    if body.parameters.stage_to_tmpfs is False:
        order.extra["scratch"] = None
    elif body.parameters.stage_to_tmpfs:
        order.extra["scratch"] = "/dev/shm"
    order.cores = body.parameters.max_workers


def _window(order: Order, start: str, end: str) -> None:
    name = f"{start}/{end}"
    if name in order.wanted:
        return
    try:
        first, last = instant(start), instant(end)
        if last <= first:
            raise InputError(f"ends at {end}, which is not after {start}")
    except InputError as error:
        order.items.append((name, str(error)))
        return
    order.items.append((name, None))
    order.wanted[name] = [first, last]


def instant(text: str) -> str:
    """A UTC time in the configuration's form; InputError if it is none."""
    from contimg.core.values import instant as read

    try:
        found = read(text)
        names.tile_mjd(str(found).removesuffix("Z"))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{text}: {error}"[:300]) from None
    return str(found)


def _seconds(name: str, value: str | float | None) -> str | float | None:
    """A solution interval: seconds, as a number or with `s` or `min`, or `inf`."""
    if not isinstance(value, str) or value == "inf":
        return value
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*(s|min|)", value)
    if found is None:
        raise InputError(f"{name}: found {value!r}; write inf, or seconds such as 60s")
    return float(found[1]) * (60.0 if found[2] == "min" else 1.0)


def _calibrate(body: bodies.CalibrateBody, order: Order, place: Place) -> None:
    _each(order, body.ms_paths, place.tile)
    p = body.parameters
    for name in ("delay_solint", "bandpass_solint"):
        if getattr(p, name) not in (None, "inf"):
            raise InputError(f"{name}: delays and bandpass are solved over the whole transit; write inf")
    _set(
        order,
        "calibration",
        {
            "refant": None if p.refant is None else str(p.refant),
            "solve_delay": p.solve_delay,
            "solve_bandpass": p.solve_bandpass,
            "solve_gains": p.solve_gains,
            "gain_solint": _seconds("gain_solint", p.gain_solint),
            "gain_calmode": p.gain_calmode,
            "search_radius_deg": p.search_radius_deg,
            "min_pb": p.min_pb,
        },
    )
    if p.do_flagging is not None:
        _set(order, "flagging", {"aoflagger": p.do_flagging})
    order.extra["calibrator"] = p.field
    if p.use_existing_tables == "manual":
        tables = [p.existing_k_table, p.existing_bp_table, p.existing_g_table]
        found = {place.table(path) for path in tables if path is not None}
        if len(found) != 1:
            raise InputError(
                "existing_k_table, existing_bp_table, existing_g_table: expected tables of one transit"
            )
        order.extra["tables"] = sorted(found)
    order.extra["again"] = p.use_existing_tables == "none"


def _apply(body: bodies.ApplyBody, order: Order, place: Place) -> None:
    _each(order, body.ms_paths, place.tile)
    paths = body.caltable_paths or body.parameters.gaintables or []
    try:
        tables = sorted({place.table(path) for path in paths})
    except InputError as error:
        raise InputError(f"caltable_paths: {error}") from None
    if tables:
        _set(order, "calibration", {"tables": tables})


def _image(body: bodies.ImageBody, order: Order, place: Place) -> None:
    _each(order, body.ms_paths, place.tile)
    p = body.parameters
    _set(
        order,
        "imaging",
        {
            "imsize": p.imsize,
            "cell_arcsec": p.cell_arcsec,
            "niter": p.niter,
            "robust": p.robust,
            "quality_tier": p.quality_tier,
            "backend": p.backend,
        },
    )


def _mosaic(body: bodies.MosaicBody, order: Order, place: Place) -> None:
    _set(order, "mosaic", {"method": body.method or body.parameters.method})
    if body.calibrator_name is not None:
        name = body.calibrator_name
        order.items.append((name, None))
        order.wanted[name] = "transit"
        order.extra |= {"wait": body.wait_for_published, "start": body.start}
        order.selection = {"calibrator": name, "window_minutes": body.timespan_minutes}
        return
    start, end = body.start, body.end
    if body.since is not None and body.until is not None:
        if not 15020.0 <= body.since < body.until <= 88069.0:  # 1900 to 2100
            raise InputError("since, until: expected MJD (UTC), the earlier first")
        start, end = (names.utc(when).strftime("%Y-%m-%dT%H:%M:%S") for when in (body.since, body.until))
    if not (start and end):
        raise InputError("expected start and end, since and until, or calibrator_name")
    first, last = instant(start), instant(end)
    if last <= first:
        raise InputError(f"end: {end} is not after {start}")
    name = body.name or f"{start}_{end}"
    order.items.append((name, None))
    order.wanted[name] = "all"
    order.selection = {"start": first, "end": last, "mosaic_name": body.name}


def _photometry(body: bodies.PhotometryBody, order: Order, place: Place) -> None:
    _each(order, [*body.mosaics, *body.fits_paths], place.mosaic)
    if not order.items:
        raise InputError("mosaics: expected at least one, such as 2025-10-30/0830+55")
    places = {(one.ra_deg, one.dec_deg) for one in (*body.coordinates, *body.parameters.coordinates)}
    if places:
        order.extra["coordinates"] = sorted(places)
    if body.normalize or body.parameters.normalize:
        order.extra["normalize"] = True


def _ese(body: bodies.EseParameters, order: Order, place: Place) -> None:
    sigma = body.min_sigma if body.preset is None else PRESETS[body.preset]
    _set(order, "ese", {"min_sigma": sigma, "source_ids": body.source_ids})
    if body.recompute:
        _set(order, "ese", {"recompute": True})
    for source in dict.fromkeys(body.source_ids or ["all_sources"]):
        order.items.append((source, None))
        order.wanted[source] = source


def _publish(body: bodies.PublishBody, order: Order, place: Place) -> None:
    _each(order, body.data_ids, place.mosaic)


_MAKERS: dict[str, Any] = {
    "convert": _convert,
    "calibrate": _calibrate,
    "apply": _apply,
    "image": _image,
    "mosaic": _mosaic,
    "photometry": _photometry,
    "ese-detect": _ese,
    "publish": _publish,
}
