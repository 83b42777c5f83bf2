"""What a run of a batch makes: Snakemake's targets for each item, and the configuration. In the run's own process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contimg.config.load import load
from contimg.config.model import Config
from contimg.core import names
from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import ConfigError, ContimgError
from contimg.core.provenance import REPOSITORY
from contimg.night.night import Night, plan

RULES = {"photometry": "photometry_mosaic", "ese-detect": "ese_search"}
"""Kinds whose rule the workflow need not have."""


@dataclass
class Planned:
    """An item of a run: what is made for it, where that says how it went, and the log of its job."""

    name: str
    targets: list[str] = field(default_factory=list)
    sidecars: list[str] = field(default_factory=list)
    log: str | None = None
    error: str | None = None
    any_good: bool = False  # one good product is enough

    def plain(self) -> dict[str, Any]:
        """For `items.N.json`."""
        return dict(vars(self))


def has_rule(name: str, folder: Path = REPOSITORY / "rules") -> bool:
    """Whether the workflow has a rule."""
    pattern = re.compile(rf"^(?:use )?rule (?:\w+ as )?{re.escape(name)}\b", re.MULTILINE)
    return any(pattern.search(path.read_text()) for path in sorted(folder.glob("*.smk")))


def missing(kind: str) -> str | None:
    """Why a kind of batch cannot be done by this workflow; None if it can."""
    rule = RULES.get(kind)
    if rule is None or has_rule(rule):
        return None
    return f"{kind}: this version of the workflow has no rule {rule}"


def configuration(base: Mapping[str, Any], spec: Mapping[str, Any], products: Path | None = None) -> Config:
    """The configuration of a batch: what the service runs with, what the batch selects and what it changes.

    Raises
    ------
    ConfigError
        A key or a value that cannot be used.
    """
    values: dict[str, Any] = dict(base)
    values |= dict.fromkeys(("start", "end", "calibrator", "transit_date", "window_minutes", "mosaic_name"))
    for section, changes in spec["changed"].items():
        known = values.get(section)
        values[section] = {**known, **changes} if isinstance(known, Mapping) else changes
    values |= spec["selection"]
    if "scratch" in spec["extra"]:
        values["scratch"] = spec["extra"]["scratch"]
    if products is not None:
        values["products"] = str(products)
    if values.get("calibrator") and not values.get("transit_date"):
        values |= {"calibrator": None, "window_minutes": None}  # found with the night, later
    return load(values, check=False)


def spanned(spec: Mapping[str, Any]) -> dict[str, str]:
    """`start` and `end` round the tiles and windows that a batch names; nothing where its selection says it."""
    kind, wanted = spec["kind"], spec["wanted"].values()
    if kind in ("calibrate", "apply", "image"):
        tiles = sorted(wanted)
        return {"start": tiles[0], "end": _later(tiles[-1])} if tiles else {}
    if kind == "convert" and "calibrator" not in spec["selection"]:
        windows = list(wanted)
        return {"start": min(w[0] for w in windows), "end": max(w[1] for w in windows)} if windows else {}
    if kind == "ese-detect":  # no night: the curves there are, of whatever nights
        return {"start": "1990-01-01T00:00:00", "end": "1990-01-02T00:00:00"}
    if kind in ("photometry", "publish"):
        dates = sorted(
            str(found.date).removesuffix("b") for path in wanted if (found := names.product_of(path))
        )
        if dates:  # a window's tiles may start on the day before or after
            first, last = (names.tile_mjd(f"{day}T00:00:00") for day in (dates[0], dates[-1]))
            return {"start": names.tile_name(first - 0.5), "end": names.tile_name(last + 1.5)}
    return {}


def _later(tile: str) -> str:
    return names.tile_name(names.tile_mjd(tile) + 1.0 / SECONDS_PER_DAY)


def items_of(spec: Mapping[str, Any], night: Night, config: Config) -> list[Planned]:
    """What each item of a batch means in a night."""
    found = []
    for name, wanted in spec["wanted"].items():
        item = Planned(name)
        try:
            _MEANING[spec["kind"]](item, wanted, night, spec, config)
        except ContimgError as error:
            item.error = str(error)
        found.append(item)
    return found


def _tile(night: Night, tile: str) -> str:
    if tile in night.tiles:
        return tile
    for entry in night.left_out:
        if entry.tile == tile:
            raise ConfigError(f"{tile}: left out: {entry.reason}")
    raise ConfigError(f"{tile}: no complete tile of that name in incoming")


def _convert(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    tiles = list(night.selected)
    if wanted != "all":
        first, last = (names.tile_mjd(edge) for edge in wanted)
        tiles = [tile for tile in tiles if first <= names.tile_mjd(tile) < last]
    if not tiles:
        raise ConfigError("no complete tile starts in this window; `contimg tiles` lists what is there")
    item.targets = [names.science_ms(tile) for tile in tiles]
    item.sidecars = [names.science_sidecar(tile) for tile in tiles]
    item.log = f"logs/convert_tile/{names.tile_date(tiles[0])}/{tiles[0]}.log"


def _calibrate(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    tile = _tile(night, wanted)
    tables = night.cal_dirs(tile)
    own = [path for path in tables if night.transit(path).tile == tile]
    chosen, calibrator = own or tables, spec["extra"].get("calibrator")
    if calibrator:
        chosen = [path for path in tables if night.transit(path).calibrator.name == calibrator]
    if not chosen:
        why = f" of {calibrator}" if calibrator else ""
        raise ConfigError(
            f"{tile}: no transit{why} within calibration.valid_hours is bright enough to calibrate it"
        )
    item.targets, item.any_good = chosen, True
    item.sidecars = [f"{path}/status.json" for path in chosen]
    item.log = f"logs/calibrate_transit/{chosen[0].removeprefix('cal/')}.log"


def _apply(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    tile = _tile(night, wanted)
    item.targets = [names.calibrated_ms(tile)]
    item.sidecars = [names.calibrated_ms(tile).removesuffix(".ms") + ".json"]
    item.log = f"logs/apply_tile/{names.tile_date(tile)}/{tile}.log"


def _image(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    tile = _tile(night, wanted)
    item.targets = [names.image_dir(tile)]
    item.sidecars = [f"{names.image_dir(tile)}/status.json"]
    item.log = f"logs/image_tile/{names.tile_date(tile)}/{tile}.log"


def _mosaic(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    if not night.mosaics():
        raise ConfigError("no complete tile is in this range; `contimg tiles` lists what is there")
    item.targets = night.mosaics()
    item.sidecars = [f"{path}/status.json" for path in item.targets]
    one, two = item.targets[0].split("/")[1:]
    rule = "mosaic_window" if re.fullmatch(names.DATE_PATTERN, one) else "mosaic_transit"
    item.log = f"logs/{rule}/{one}/{two}.log"


def _known_mosaic(night: Night, path: str) -> str:
    if path not in night.windows:
        raise ConfigError(f"{path}: no tile of incoming is in this mosaic")
    return path


def _photometry(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    window = night.window(_known_mosaic(night, wanted))
    date = names.mosaic_verdict(wanted, window.name).split("/")[1]
    item.targets = [names.photometry(date, window.name)]
    item.sidecars = list(item.targets)
    item.log = f"logs/photometry_mosaic/{date}/{window.name}.log"
    if spec["extra"].get("normalize"):  # one scale for all: that is what light curves are
        item.targets.append(names.LIGHTCURVES)
        item.sidecars.append(names.LIGHTCURVES.removesuffix(".parquet") + ".json")


def _ese(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    item.targets = ["variability/ese_candidates.csv"]
    item.sidecars = ["variability/ese_candidates.json"]
    item.log = "logs/ese_search/all.log"


def _publish(item: Planned, wanted: Any, night: Night, spec: Mapping[str, Any], config: Config) -> None:
    window = night.window(_known_mosaic(night, wanted))
    date = names.mosaic_verdict(wanted, window.name).split("/")[1]
    item.targets = [names.receipt(date, window.name), names.published_list(date)]
    item.sidecars = [names.receipt(date, window.name)]
    item.log = f"logs/publish_mosaic/{date}/{window.name}.log"


_MEANING: dict[str, Any] = {
    "convert": _convert,
    "calibrate": _calibrate,
    "apply": _apply,
    "image": _image,
    "mosaic": _mosaic,
    "photometry": _photometry,
    "ese-detect": _ese,
    "publish": _publish,
}


def transit_selection(base: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Date of the newest transit of a calibrator that complete tiles hold (from `extra.start` on, if that is given).

    Raises
    ------
    ConfigError
        No complete tile holds one.
    """
    from contimg.calibrate.transits import transit_mjd
    from contimg.config.load import catalogued
    from contimg.sky.calibrators import read_calibrators

    config = load(base, check=False).resolved(Path.cwd())
    name = catalogued(spec["selection"]["calibrator"], config.calibrators)
    calibrator = next(entry for entry in read_calibrators(config.calibrators) if entry.name == name)
    start = spec["extra"].get("start")
    open_range = configuration(base, {"changed": {}, "selection": {"start": start}, "extra": {}}).resolved(
        Path.cwd()
    )
    night = plan(open_range, cache=config.products / "state" / "index")
    held = [
        instant
        for tile in night.tiles.values()
        if tile.holds(instant := transit_mjd(tile, calibrator.ra_deg))
    ]
    if not held:
        raise ConfigError(f"{name}: no complete tile of incoming holds a transit of it")
    chosen = held[0] if start else held[-1]
    return {"calibrator": name, "transit_date": names.utc(chosen).strftime("%Y-%m-%d")}
