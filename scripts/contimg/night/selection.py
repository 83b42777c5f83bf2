"""What a range selects: its tiles and mosaics, or those round a calibrator's transit."""

from __future__ import annotations

from datetime import datetime

from contimg.calibrate.transits import transit_mjd
from contimg.config.model import Config
from contimg.core import names
from contimg.core.errors import ConfigError
from contimg.index.tile import Tile
from contimg.mosaic.windows import Window, find_windows
from contimg.sky.calibrators import Calibrator


def midnight(day: str | None) -> datetime:
    """Start of a UTC date."""
    if day is None:
        raise ConfigError("transit_date: expected a UTC date with `calibrator`; write for example 2025-10-30")
    return datetime.fromisoformat(day)


def in_range(start_mjd: float, config: Config) -> bool:
    """Whether a tile that starts then (MJD UTC) belongs to the range."""
    after = config.start_mjd is None or start_mjd >= config.start_mjd
    return after and (config.end_mjd is None or start_mjd < config.end_mjd)


def windows_of(config: Config, tiles: tuple[Tile, ...], selected: list[Tile]) -> list[Window]:
    """The mosaics that hold a tile of the range; or the named one of all of it."""
    chosen = {tile.name for tile in selected}
    if config.mosaic_name is not None:
        return _named(config.mosaic_name, selected)
    return [window for window in find_windows(tiles, config.mosaic) if chosen.intersection(window.tiles)]


def _named(name: str, selected: list[Tile]) -> list[Window]:
    if not selected:
        return []
    strips = sorted({names.strip_name(tile.dec_deg) for tile in selected})
    if len(strips) > 1:
        raise ConfigError(
            f"mosaic_name: {name}: the range holds {len(strips)} strips (declinations {', '.join(strips)}); "
            "narrow start and end to one of them"
        )
    middle = 0.5 * (selected[0].mid_mjd + selected[-1].mid_mjd)
    path = names.window_dir(names.utc(middle).strftime("%Y-%m-%d"), name)
    dec = names.strip_dec(selected[0].dec_deg)
    names_of_tiles = tuple(tile.name for tile in selected)
    span = selected[-1].mid_mjd - selected[0].mid_mjd
    return [Window(path, name, None, dec, middle, names_of_tiles, 1440.0 * span)]


def round_transit(
    config: Config, tiles: tuple[Tile, ...], calibrators: list[Calibrator]
) -> tuple[list[Tile], list[Window]]:
    """Tiles whose middle is within half a window of a calibrator's transit on a UTC date, and their mosaic."""
    calibrator = next(entry for entry in calibrators if entry.name == config.calibrator)
    instants = {tile.name: transit_mjd(tile, calibrator.ra_deg) for tile in tiles}
    day = midnight(config.transit_date).strftime("%Y-%m-%d")
    crossed = [tile for tile in tiles if tile.holds(instants[tile.name])]
    crossed = [tile for tile in crossed if names.utc(instants[tile.name]).strftime("%Y-%m-%d") == day]
    if not crossed:
        raise ConfigError(
            f"calibrator: {calibrator.name} transits in no complete tile of {day}; `contimg tiles` lists what is there"
        )
    half_days = (config.window_minutes or config.mosaic.width_minutes) / 2880.0
    windows, selected = [], {}
    for centre in crossed:
        instant, strip = instants[centre.name], names.strip_dec(centre.dec_deg)
        members = [
            tile
            for tile in tiles
            if names.strip_dec(tile.dec_deg) == strip and abs(tile.mid_mjd - instant) <= half_days
        ]
        selected.update({tile.name: tile for tile in members})
        dated = names.dated(instant)
        windows.append(
            Window(
                names.transit_dir(calibrator.name, dated),
                f"{calibrator.name}_{dated}",
                calibrator.ra_deg,
                strip,
                instant,
                tuple(tile.name for tile in members),
                2880.0 * half_days,
            )
        )
    return sorted(selected.values(), key=lambda tile: tile.start_mjd), windows
