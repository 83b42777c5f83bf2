"""`contimg transits`: every transit of a calibrator in a range, with its data and what has been made of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.calibrate import transits
from contimg.core import names
from contimg.core.constants import REFERENCE_HZ, SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.index.retired import NOTHING, Retired
from contimg.index.tile import Index, Tile
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions


@dataclass(frozen=True)
class Passage:
    """One transit of a calibrator across the meridian, observed or not.

    Attributes
    ----------
    mjd : float
        UTC instant.
    tile : Tile or None
        The complete (or allowed partial) tile that it falls in.
    lacking : str or None
        Why there is no tile: the reason a group was left out for, or that there are no files.
    tiles : int
        Complete tiles of the strip in the window round the transit.
    dec_offset_deg : float or None
        Calibrator minus pointing centre; None without a tile.
    beam : float or None
        Power of the primary beam at transit, at 1.4 GHz.
    """

    mjd: float
    tile: Tile | None
    lacking: str | None
    tiles: int
    dec_offset_deg: float | None = None
    beam: float | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the subbands that the tile lacks, ascending in frequency from 0."""
        slots = self.tile.slots if self.tile is not None else ()
        return tuple(number for number, slot in enumerate(slots) if slot.path is None)


def passages(
    index: Index,
    calibrator: Calibrator,
    *,
    start_mjd: float | None,
    end_mjd: float | None,
    window_minutes: float,
    beam: BeamOptions,
) -> list[Passage]:
    """List the transits of a calibrator in a range, in order of time.

    Parameters
    ----------
    index : Index
        Of the range and half a window round it.
    calibrator : Calibrator
    start_mjd, end_mjd : float or None
        Transits in [start, end), MJD UTC; None: from the first, to the last tile.
    window_minutes : float
        Full width of time in which a mosaic of the transit takes its tiles.
    beam : BeamOptions

    Returns
    -------
    list of Passage
        One for each sidereal day, with or without data; none if the index holds no tile at all, whose
        place on Earth would tell when a source transits.
    """
    from contimg.telescope.beam import load_beam

    if not index.tiles:
        return []
    pattern = load_beam(beam)
    first = index.tiles[0].start_mjd if start_mjd is None else start_mjd
    last = index.tiles[-1].end_mjd if end_mjd is None else end_mjd
    anchor = transits.transit_mjd(index.tiles[0], calibrator.ra_deg)
    number = math.ceil((first - anchor) / names.SIDEREAL_DAY)
    found = []
    while (expected := anchor + number * names.SIDEREAL_DAY) < last:
        number += 1
        nearest = min(index.tiles, key=lambda tile: abs(tile.mid_mjd - expected))
        # a transit counted in sidereal days from another one drifts by precession, seconds in a year
        instant = transits.transit_mjd(nearest, calibrator.ra_deg)
        if abs(instant - expected) > 0.25:
            instant = expected
        if not nearest.holds(instant):
            found.append(Passage(instant, None, _lacking(index, instant), 0))
            continue
        strip = names.strip_dec(nearest.dec_deg)
        half_days = window_minutes / 2880.0
        around = [
            tile
            for tile in index.tiles
            if names.strip_dec(tile.dec_deg) == strip and abs(tile.mid_mjd - instant) <= half_days
        ]
        offset = calibrator.dec_deg - nearest.dec_icrs_deg
        power = float(pattern.power(0.0, math.radians(offset), 0.0, REFERENCE_HZ)[0])
        found.append(Passage(instant, nearest, None, len(around), offset, power))
    return found


def _lacking(index: Index, instant_mjd: float) -> str:
    duration = max(tile.n_times * tile.integration_s for tile in index.tiles) / SECONDS_PER_DAY
    for entry in index.left_out:
        if names.tile_mjd(entry.tile) <= instant_mjd < names.tile_mjd(entry.tile) + duration:
            return f"{entry.tile} left out: {entry.reason}"
    return "no files"


def made(passage: Passage, calibrator: str, products: Path) -> list[str]:
    """What has been made of a transit: `caltable ok`, `image rejected`, `mosaic ok` …, of what is there."""
    if passage.tile is None:
        return []
    tile = passage.tile.name
    sidecars = {
        "caltable": f"{names.caltable_dir(tile, calibrator)}/{STATUS}",
        "image": f"{names.image_dir(tile)}/{STATUS}",
        "mosaic": f"{names.transit_dir(calibrator, names.dated(passage.mjd))}/{STATUS}",
    }
    return [
        f"{kind} {read_json(products / path)['status']}"
        for kind, path in sidecars.items()
        if (products / path).is_file()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg transits`."""
    from contimg.config.files import take_configuration

    parser.add_argument("--calibrator", metavar="NAME", help="of the calibrator catalogue")
    parser.add_argument("--from", dest="first", metavar="UTC", help="first time, inclusive (default: start)")
    parser.add_argument("--to", dest="last", metavar="UTC", help="last time, exclusive (default: end)")
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table of transits."""
    from contimg.config.files import read_configuration
    from contimg.config.load import catalogued, load
    from contimg.config.model import Config
    from contimg.index.load import cache_of, load_index

    values = read_configuration(args.configfile, args.config)
    wanted = args.calibrator or values.pop("calibrator", None)
    if not wanted:
        raise InputError("--calibrator: found nothing; write a name of the calibrator catalogue")
    values = {**values, "calibrator": None, "transit_date": None, "window_minutes": None} | _range(args)
    config: Config = load(values).resolved(Path.cwd())
    calibrator = _entry(catalogued(wanted, config.calibrators), config.calibrators)
    margin = config.mosaic.width_minutes / 1440.0
    there = load_index(
        config,
        start_mjd=None if config.start_mjd is None else config.start_mjd - margin,
        end_mjd=None if config.end_mjd is None else config.end_mjd + margin,
        cache=cache_of(config.products),
    )
    listed = passages(
        there.index,
        calibrator,
        start_mjd=config.start_mjd,
        end_mjd=config.end_mjd,
        window_minutes=config.mosaic.width_minutes,
        beam=config.beam,
    )
    for line in table(listed, calibrator, config.products, there.retired):
        print(line)
    return 0


def table(
    listed: Sequence[Passage], calibrator: Calibrator, products: Path, gone: Retired = NOTHING
) -> list[str]:
    """Lines of text: a heading, one for each transit, and a sum; of tiles whose files are `gone` it says so."""
    line = "{:20} {:19} {:>8} {:>8} {:>6} {:>9} {:>6}  {}".format
    lines = [line("transit (UTC)", "tile", "subbands", "ddec/deg", "beam", "apparent", "tiles", "made of it")]
    for passage in listed:
        when = names.utc(passage.mjd).strftime("%Y-%m-%dT%H:%M:%SZ")
        if passage.tile is None or passage.beam is None:
            lines.append(f"{when:20} {passage.lacking}")
            continue
        slots = passage.tile.slots
        subbands = f"{len(slots) - len(passage.missing)}/{len(slots)}"
        lacks = [f"lacks sb{','.join(f'{n:02d}' for n in passage.missing)}"] if passage.missing else []
        lost = {"raw files retired": gone.raw, "Measurement Set retired": gone.sets}
        went = [what for what, tiles in lost.items() if passage.tile.name in tiles]
        lines.append(
            line(
                when,
                passage.tile.name,
                subbands,
                f"{passage.dec_offset_deg:+.2f}",
                f"{passage.beam:.3f}",
                f"{calibrator.flux_jy * passage.beam:.2f} Jy",
                passage.tiles,
                "; ".join([*made(passage, calibrator.name, products), *lacks, *went]) or "nothing",
            )
        )
    observed = sum(passage.tile is not None for passage in listed)
    return [*lines, f"{len(listed)} transits of {calibrator.name}, {observed} with a tile"]


def _range(args: argparse.Namespace) -> dict[str, Any]:
    given = {"start": args.first, "end": args.last}
    return {key: value for key, value in given.items() if value is not None}


def _entry(name: str, catalogue: Path) -> Calibrator:
    from contimg.sky.calibrators import read_calibrators

    return next(entry for entry in read_calibrators(catalogue) if entry.name == name)
