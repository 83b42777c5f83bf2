"""What a run is made of: the tiles of a range, the caltables they may use and the mosaics that hold them.

A range only selects. Which caltables a tile may use and which tiles a mosaic holds follow from the tiles,
`incoming` and the catalogue alone, so two overlapping runs never undo each other; what a selected mosaic
needs is made, outside the range too. Everything here is known before the first job runs and is frozen as
one file that the jobs of a cluster read instead of searching directories again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from contimg.calibrate.ensemble import find_fields
from contimg.calibrate.transits import Transit, find_transits, rank
from contimg.config.model import Config
from contimg.core import names
from contimg.core.errors import ConfigError
from contimg.index.load import load_index
from contimg.index.memory import PLAIN, Recalled
from contimg.index.retired import NOTHING, Retired
from contimg.index.tile import Index, LeftOut, Tile
from contimg.mosaic.windows import Window
from contimg.night.recall import Memory, recall_all
from contimg.night.remains import settle
from contimg.night.selection import in_range, midnight, round_transit, windows_of
from contimg.sky.calibrators import Calibrator, read_calibrators
from contimg.sky.catalog import Catalog


@dataclass(frozen=True)
class Night:
    """A run, planned: every product it may make and what each needs.

    Attributes
    ----------
    tiles : dict of str to Tile
        Complete tiles, of the range and round it, by name.
    selected : tuple of str
        The tiles of the range.
    left_out : tuple of LeftOut
        Groups of the range that are no tile, with their reason.
    transits : dict of str to Transit
        By caltable directory.
    candidates : dict of str to tuple of str
        Caltable directories each needed tile may use, best first.
    windows : dict of str to Window
        Mosaics of this run, by product directory.
    injected : tuple of str
        Tiles of the range into which known sources are injected.
    measured : bool
        Whether there is a list of sources, so that they are measured in the mosaics.
    retired : Retired
        Tiles whose raw files or Measurement Set are gone on purpose.
    memory : dict
        What is known of the past of raw files, by the Measurement Set made of them (`contimg.night.recall`).
    said : tuple of str
        Lines on raw files for whoever starts a run.
    """

    tiles: dict[str, Tile]
    selected: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    transits: dict[str, Transit]
    candidates: dict[str, tuple[str, ...]]
    windows: dict[str, Window]
    injected: tuple[str, ...] = ()
    measured: bool = False
    retired: Retired = NOTHING
    memory: Memory = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def files(self, tile: str, calibrator: str | None = None) -> list[str]:
        """Raw files whose times decide about a tile's set, or about that of a transit; ascending in frequency."""
        past = self._past(tile, calibrator)
        return [path for path in self._tile(tile).files if not past.get(path, PLAIN).ahead]

    def slots(self, tile: str, calibrator: str | None = None) -> list[dict[str, Any]]:
        """Subband slots of a tile, for its set or for that of a transit, as plain values for a rule's params."""
        past = self._past(tile, calibrator)
        return [
            (slot if slot.path is None else replace(slot, **vars(past.get(slot.path, PLAIN)))).params()
            for slot in self._tile(tile).slots
        ]

    def _past(self, tile: str, calibrator: str | None) -> Mapping[str, Recalled]:
        ms = names.science_ms(tile) if calibrator is None else names.calibrator_ms(tile, calibrator)
        return self.memory.get(ms, {})

    def cal_dirs(self, tile: str) -> list[str]:
        """Caltable directories that a tile may use, best first."""
        self._tile(tile)
        return list(self.candidates.get(tile, ()))

    def nearest(self, tile: str) -> str | None:
        """The candidate whose transit is nearest in time: a tile that uses another one borrows it."""
        middle = self._tile(tile).mid_mjd
        return min(
            self.candidates.get(tile, ()),
            key=lambda path: abs(self.transits[path].mjd - middle),
            default=None,
        )

    def transit(self, cal_dir: str) -> Transit:
        """The transit that makes a caltable directory."""
        if cal_dir not in self.transits:
            raise ConfigError(
                f"{cal_dir}: no such transit; `contimg tiles` lists the tiles, and the calibrator must reach "
                "calibration.min_flux_jy in one of them"
            )
        return self.transits[cal_dir]

    def window(self, path: str) -> Window:
        """The mosaic of a product directory."""
        if path not in self.windows:
            raise ConfigError(
                f"{path}: no tile of `incoming` is in this mosaic; expected one of {_some(self.windows)}"
            )
        return self.windows[path]

    def mosaic_images(self, path: str) -> list[str]:
        """Image directories of a mosaic's tiles, in order of time."""
        return [names.image_dir(tile) for tile in self.window(path).tiles]

    def science_sets(self) -> list[str]:
        """Measurement Sets of the range."""
        return self._sets(self.selected)

    def _sets(self, tiles: Iterable[str]) -> list[str]:
        """Science Measurement Sets of tiles, without those that are retired."""
        return [names.science_ms(tile) for tile in tiles if tile not in self.retired.sets]

    def calibrated_sets(self) -> list[str]:
        """Calibrated Measurement Sets of the range: made only when asked for."""
        return [names.calibrated_ms(tile) for tile in self.selected if tile not in self.retired.sets]

    def needed_cal_dirs(self, tiles: Iterable[str] | None = None) -> list[str]:
        """Caltable directories that tiles (of the range, unless given) may use."""
        wanted = self.selected if tiles is None else tiles
        return sorted({path for tile in wanted for path in self.candidates[tile]})

    def images(self) -> list[str]:
        """Image directories of the range."""
        return self._images(self.selected)

    def _images(self, tiles: Iterable[str]) -> list[str]:
        """Images of tiles, without those that are lost."""
        return [names.image_dir(tile) for tile in tiles if tile not in self.retired.lost]

    def mosaics(self) -> list[str]:
        """Mosaic directories of the range."""
        return list(self.windows)

    def span_beams(self, first: str, last: str) -> list[str]:
        """Beam directories of the tiles from one to another, those of the first one's strip."""
        strip = names.strip_dec(self._tile(first).dec_deg)
        low, high = self._tile(first).start_mjd, self._tile(last).start_mjd
        tiles = (tile for tile in self.tiles.values() if low <= tile.start_mjd <= high)
        unmade = set(self.retired.unmade)
        there = (tile for tile in tiles if names.beam_dir(tile.name) not in unmade)
        return [names.beam_dir(tile.name) for tile in there if names.strip_dec(tile.dec_deg) == strip]

    def beams(self) -> list[str]:
        """Directories of the beams of the range, one for each strip: from its first to its last tile."""
        strips: dict[float, list[str]] = {}
        for name in self.selected:
            strips.setdefault(names.strip_dec(self.tiles[name].dec_deg), []).append(name)
        spans = [(tiles[0], tiles[-1]) for tiles in strips.values()]
        return [names.span_beam_dir(*span) for span in spans if self.span_beams(*span)]

    def up_to_images(self, tiles: Iterable[str] | None = None) -> list[str]:
        """What the images of tiles (of the range, unless given) are made from, and they themselves.

        The targets ask for all of it, so that a product deleted half-way is made again, and what follows it.
        """
        wanted = list(self.selected if tiles is None else tiles)
        return [
            *self._sets(wanted),
            *self.needed_cal_dirs(wanted),
            *self._images(wanted),
        ]

    def up_to_mosaics(self) -> list[str]:
        """The same for the mosaics of the range, with the tiles outside it that they hold."""
        return [*self.up_to_images(self._wanted()), *self.windows]

    def _wanted(self) -> list[str]:
        """Tiles of the range and of its mosaics."""
        return sorted(
            {name for window in self.windows.values() for name in window.tiles} | set(self.selected)
        )

    def pointing(self, tile: str) -> dict[str, float]:
        """Where and when a tile was observed, as plain values (`contimg.qa.conditions.Pointing`)."""
        at = self._tile(tile)
        return {
            "mid_mjd": at.mid_mjd,
            "ra_deg": at.ra_icrs_deg,
            "dec_deg": at.dec_icrs_deg,
            "longitude_deg": at.longitude_deg,
            "latitude_deg": at.latitude_deg,
            "height_m": at.height_m,
        }

    def mosaic_gates(self, path: str) -> list[str]:
        """Verdicts on a mosaic's tiles, in order of time."""
        return self.tile_verdicts(self.window(path).tiles)

    def tile_verdicts(self, tiles: Iterable[str]) -> list[str]:
        """Verdicts on tiles, in their order."""
        return [names.tile_verdict(tile) for tile in tiles if tile not in self.retired.unjudged]

    @cached_property
    def mosaic_verdicts(self) -> dict[str, Window]:
        """Verdicts on the mosaics of the range, each with its mosaic."""
        # asked for by every job of every mosaic: made each time, it would cost the square of their number
        return {names.mosaic_verdict(path, window.name): window for path, window in self.windows.items()}

    def judged(self, date: str, product: str) -> Window:
        """The mosaic that a verdict is on."""
        found = self.mosaic_verdicts
        path = names.verdict(date, product)
        if path not in found:
            raise ConfigError(f"{path}: no such tile or mosaic; expected one of {_some(found)}")
        return found[path]

    def up_to_qa(self) -> list[str]:
        """What `up_to_mosaics` gives, the verdicts on all of it, and the pages of the nights."""
        pages = map(names.night_page, self.dates())
        return [*self.up_to_mosaics(), *self.verdicts(), *map(names.injection_record, self.injected), *pages]

    def verdicts(self) -> list[str]:
        """Verdicts on every tile that is needed and every mosaic."""
        return [*self.tile_verdicts(self._wanted()), *self.mosaic_verdicts]

    def dates(self) -> list[str]:
        """UTC dates of the range's tiles, groups left out and mosaics: one page each."""
        tiles = [*self.selected, *(entry.tile for entry in self.left_out)]
        dates = {names.tile_date(tile) for tile in tiles}
        return sorted(dates | {path.split("/")[1].removesuffix("b") for path in self.mosaic_verdicts})

    def verdicts_of(self, date: str) -> list[str]:
        """Verdicts of a date, and what became of the sources injected."""
        paths = [*self.verdicts(), *map(names.injection_record, self.injected)]
        return [path for path in paths if path.split("/")[1].removesuffix("b") == date]

    def photometry_of(self, date: str) -> list[str]:
        """Photometry of the mosaics of a date."""
        return [path for path in self.photometry() if path.split("/")[1].removesuffix("b") == date]

    def left_out_of(self, date: str) -> list[tuple[str, str]]:
        """Groups of files of a date that are no tile, and why."""
        return [(entry.tile, entry.reason) for entry in self.left_out if names.tile_date(entry.tile) == date]

    def receipts(self, date: str) -> list[str]:
        """Receipts of the publication of the range's mosaics of a date."""
        return [
            names.receipt(date, window.name)
            for verdict, window in self.mosaic_verdicts.items()
            if names.verdict(date, window.name) == verdict
        ]

    def publication_records(self) -> list[str]:
        """Receipts of the range's mosaics, and the lists of their dates."""
        dates = sorted({Path(verdict).parent.name for verdict in self.mosaic_verdicts})
        receipts = [receipt for date in dates for receipt in self.receipts(date)]
        return [*receipts, *(names.published_list(date) for date in dates)]

    def up_to_publication(self) -> list[str]:
        """What `up_to_qa` gives, and the records of what was published of it."""
        return [*self.up_to_qa(), *self.publication_records()]

    def up_to_photometry(self) -> list[str]:
        """What `up_to_qa` gives, the list of sources and their photometry in every mosaic, where there is a list."""
        return [*self.up_to_qa(), *([names.SOURCE_LIST] if self.measured else ()), *self.photometry()]

    def up_to_lightcurves(self) -> list[str]:
        """What `up_to_photometry` gives, and the light curves of all nights, where there is a list of sources."""
        curves = [names.LIGHTCURVES, names.VARIABILITY] if self.measured else []
        return [*self.up_to_photometry(), *curves]

    def photometry(self) -> list[str]:
        """Photometry of the mosaics of the range; nothing where there is no list of sources."""
        tables = (
            names.photometry(Path(verdict).parent.name, Path(verdict).stem)
            for verdict in self.mosaic_verdicts
        )
        return list(tables) if self.measured else []

    def found(self) -> list[str]:
        """What QA found in the mosaics of the range."""
        return [verdict.removesuffix(".json") + ".sources.parquet" for verdict in self.mosaic_verdicts]

    def pointings(self, date: str, product: str) -> dict[str, float]:
        """Declination that each tile of a mosaic was pointed at, degrees."""
        return {tile: self._tile(tile).dec_deg for tile in self.judged(date, product).tiles}

    def registered(self, targets: Iterable[str]) -> list[str]:
        """What the registries come after in a run with these targets: they alone publish nothing."""
        published = self.publication_records() if "publish" in targets else []
        return [*self.up_to_lightcurves(), *published]

    def bytes_of(self, tile: str) -> int:
        """Size of a tile's raw files in bytes."""
        return self._tile(tile).bytes

    def _tile(self, tile: str) -> Tile:
        if tile not in self.tiles:
            reason = next((entry.reason for entry in self.left_out if entry.tile == tile), None)
            raise ConfigError(
                f"tile {tile}: "
                + (f"left out: {reason}" if reason else "not in `incoming`; `contimg tiles` lists them")
            )
        return self.tiles[tile]


def _some(paths: Iterable[str]) -> str:
    known = sorted(paths)
    return (
        ", ".join(known[:4]) + (" …" if len(known) > 4 else "") if known else "none (the range holds no tile)"
    )


def plan(config: Config, *, cache: Path | None = None) -> Night:
    """Plan a run.

    Parameters
    ----------
    config : Config
        Validated, with absolute paths.
    cache : Path, optional
        File that keeps the state of `incoming` between calls.

    Returns
    -------
    Night

    Raises
    ------
    ConfigError
        A calibrator that does not transit on the date asked for; a named mosaic across two strips.
    """
    calibrators = read_calibrators(Path(config.calibrators))
    start, end = config.start_mjd, config.end_mjd
    if config.calibrator is not None:
        day = names.mjd(midnight(config.transit_date))
        round_it = (config.window_minutes or config.mosaic.width_minutes) / 1440.0
        start, end = day - round_it, day + 1.0 + round_it
    reach_days = (config.calibration.valid_hours + 2.0 * config.mosaic.width_minutes / 60.0) / 24.0
    reach = {
        "start_mjd": None if start is None else start - reach_days,
        "end_mjd": None if end is None else end + reach_days,
    }
    there = load_index(config, **reach, cache=cache)
    _require_known(config, there.known)
    night = arrange(config, there.index, calibrators, there.retired)
    parts = ("transits", "candidates", "windows", "injected")
    night = replace(
        night, **settle(config.products, there.retired, **{name: getattr(night, name) for name in parts})
    )
    memory, said = recall_all(
        config.products, night.tiles, night.transits, there.index.states, selected=night.selected, cache=cache
    )
    return replace(night, memory=memory, said=said)


def _require_known(config: Config, left_out: Set[str]) -> None:
    """Refuse tiles to leave out that are not there: a slip of the pen would leave the bad one in."""
    if config.calibrator is not None:
        return
    unknown = [
        tile for tile in config.exclude if in_range(names.tile_mjd(tile), config) and tile not in left_out
    ]
    if unknown:
        raise ConfigError(
            f"exclude: found {', '.join(unknown)}, which is no tile of `incoming`; `contimg tiles` lists them by name"
        )


def _fields(config: Config, index: Index, transits: list[Transit]) -> list[Transit]:
    """Tiles that may be calibrated on all their sources: with a catalogue, where a mode asks for it."""
    if config.calibration.mode == "transit":
        return []
    catalog = Catalog.of(config.catalog_params)
    if catalog is None:
        if config.calibration.mode == "field":
            raise ConfigError(
                "calibration.mode: found field without a catalogue, whose sources are the model; set `catalog`"
            )
        return []
    return find_fields(index.tiles, catalog, transits, config.calibration, config.beam)


def arrange(config: Config, index: Index, calibrators: list[Calibrator], gone: Retired = NOTHING) -> Night:
    """Plan a run on an index that is already made; see `plan`."""
    tiles = {tile.name: tile for tile in index.tiles}
    transits = find_transits(index.tiles, calibrators, config.calibration, config.beam)
    transits += _fields(config, index, transits)
    if config.calibrator is not None:
        selected, windows = round_transit(config, index.tiles, calibrators)
    else:
        # by their names, which are rounded: `start: NAME` includes the tile of that name, `end: NAME` does not
        selected = [tile for tile in index.tiles if in_range(names.tile_mjd(tile.name), config)]
        windows = windows_of(config, index.tiles, selected)
    needed = {name for window in windows for name in window.tiles} | {tile.name for tile in selected}
    candidates = {
        name: tuple(transit.cal_dir for transit in rank(tiles[name], transits, tiles, config.calibration))
        for name in sorted(needed)
    }
    return Night(
        tiles=tiles,
        selected=tuple(tile.name for tile in selected),
        left_out=tuple(entry for entry in index.left_out if in_range(names.tile_mjd(entry.tile), config)),
        transits={transit.cal_dir: transit for transit in transits},
        candidates=candidates,
        windows={window.path: window for window in windows},
        injected=tuple(tile.name for tile in selected if tile.holds_multiple(config.qa.injection_minutes)),
        measured=config.has_sources,
        retired=gone,
    )
