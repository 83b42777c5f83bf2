"""A whole simulated night: its tiles one after the other, their files, their faults and the truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numba
import numpy as np

from contimg.core.errors import ConfigError, InputError
from contimg.simulate import faults, gains, geometry, rfi, signal, sky, stations, truth, writer
from contimg.simulate.model import TileModel
from contimg.simulate.options import MJD_EPOCH, SimOptions, Source, mjd
from contimg.simulate.streams import Stream, generator

CLOCK_SPREAD_S = 2


@dataclass(frozen=True)
class Night:
    """What all tiles of a night share; `used` holds the indices of the stations that take data."""

    options: SimOptions
    start_mjd: float
    sources: list[Source]
    stations: stations.Stations
    used: np.ndarray
    antennas: list[gains.AntennaGain]
    out: Path


def iso_second(mjd_utc: float) -> str:
    """Return an MJD UTC as YYYY-MM-DDTHH:MM:SS, rounded to the second."""
    return (MJD_EPOCH + timedelta(seconds=round(mjd_utc * 86400.0))).strftime("%Y-%m-%dT%H:%M:%S")


def start_mjd(options: SimOptions, sources: list[Source]) -> float:
    """Return the start of tile 0 (MJD UTC): as given, or such that `transit_of` transits where it should."""
    if not options.transit_of:
        return mjd(options.start)
    found = [s for s in sources if s.name == options.transit_of]
    if not found:
        raise ConfigError(
            f"simulate: transit_of is {options.transit_of!r}, which is none of the sources; add that source"
        )
    transit = geometry.transit_jd(found[0].ra_deg, found[0].dec_deg, options.start) - geometry.MJD_TO_JD
    tile_days = options.n_integrations * options.integration_s / 86400.0
    return transit - (options.transit_tile + 0.5) * tile_days


def tile_times_jd(options: SimOptions, first_mjd: float, tile: int) -> np.ndarray:
    """Return the integration midpoints (nt,) of a tile, JD UTC."""
    number = tile * options.n_integrations + np.arange(options.n_integrations) + 0.5
    return (first_mjd + geometry.MJD_TO_JD) + number * (options.integration_s / 86400.0)


def simulate(
    options: SimOptions,
    out_dir: str | Path,
    *,
    threads: int = 2,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> truth.Truth:
    """Simulate a night: write its raw files, truth.json and sources.csv into a directory.

    The files depend on the options alone: the same options give the same visibilities bit for bit, and a
    tile's files do not depend on how many tiles are made.

    Parameters
    ----------
    options : SimOptions
    out_dir : path
        Made if it is not there. Several nights go into several directories below one.
    threads : int
        Threads of the numeric core.
    overwrite : bool
        Remove the raw files that are in `out_dir` first, instead of refusing.
    progress : callable, optional
        Called with a line of text as work goes on.

    Returns
    -------
    Truth

    Raises
    ------
    ConfigError
        An option cannot be used.
    InputError
        `out_dir` holds raw files already, or the catalogue cannot be read.
    """
    night = prepare(options, Path(out_dir))
    _make_room(night.out, overwrite)
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    tiles = [_write_tile(night, index, progress) for index in range(options.n_tiles)]
    seen = {name for tile in tiles for name in tile.apparent_jy} | {s.name for s in options.sources}
    kept = tuple(s for s in night.sources if s.name in seen)
    result = truth.Truth(options, night.start_mjd, kept, tuple(night.antennas), tuple(tiles), night.out)
    truth.write_truth(result, night.out)
    return result


def prepare(options: SimOptions, out: Path) -> Night:
    """Draw everything that all tiles share; writes nothing."""
    table = stations.read_stations()
    used = stations.choose(
        table, names=options.antennas, n_antennas=options.n_antennas, max_radius_m=options.max_radius_m
    )
    names = [table.names[i] for i in used]
    for key in ("dead_antennas", "sick_antennas", "clipped_antennas"):
        strangers = [n for n in getattr(options, key) if n not in names]
        if strangers:
            raise ConfigError(
                f"simulate: {key} {', '.join(strangers)} take no data; name some of {', '.join(names)}"
            )
    sources = sky.all_sources(options)
    unknown = {v.source for v in options.variations} - {s.name for s in sources}
    if unknown:
        raise ConfigError(
            f"simulate: variations of {', '.join(sorted(unknown))}, which are none of the sources"
        )
    first_mjd = start_mjd(options, sources)
    antennas = [gains.draw(options, name, first_mjd) for name in names]
    return Night(options, first_mjd, sources, table, used, antennas, out)


def tile_model(night: Night, index: int, dec_deg: float) -> TileModel:
    """Return the model of a tile at a pointing declination (apparent, deg)."""
    times_jd = tile_times_jd(night.options, night.start_mjd, index)
    begin = tile_start_mjd(night.options, times_jd)
    return signal.make_tile(
        night.options,
        times_jd=times_jd,
        start_mjd=begin,
        dec_deg=dec_deg,
        sources=sky.at(night.options, night.sources, begin),
        stations=night.stations,
        used=night.used,
        antenna_gains=night.antennas,
        bursts=rfi.draw_bursts(night.options, index, signal.tile_key(begin)),
    )


def tile_start_mjd(options: SimOptions, times_jd: np.ndarray) -> float:
    """Return the start of the first integration (MJD UTC) from the midpoints that the headers give."""
    return float(times_jd[0] - geometry.MJD_TO_JD - 0.5 * options.integration_s / 86400.0)


def _make_room(out: Path, overwrite: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    old = sorted(out.glob("*.hdf5"))
    if old and not overwrite:
        raise InputError(
            f"simulate: {out} holds {len(old)} raw files already; give an empty directory or ask to overwrite"
        )
    for path in (*old, out / truth.FILE_NAME):
        path.unlink(missing_ok=True)


def _write_tile(night: Night, index: int, progress: Callable[[str], None] | None) -> truth.TileTruth:
    options = night.options
    model = tile_model(night, index, options.dec_deg)
    begin = tile_start_mjd(options, model.times_jd)
    clock = generator(options.seed, Stream.CLOCK, model.key)
    late_s = clock.integers(0, CLOCK_SPREAD_S + 1, options.n_subbands).tolist()
    made: dict[int, list[str]] = {}
    for subband in range(options.n_subbands):
        plan = faults.plan(options, index, subband)
        first = writer.file_name(iso_second(begin + late_s[subband] / 86400.0), subband)
        again_s = late_s[subband] + faults.DUPLICATE_DELAY_S
        second = writer.file_name(iso_second(begin + again_s / 86400.0), subband)
        use = model
        if "other_declination" in plan.kinds:
            use = tile_model(night, index, options.dec_deg + faults.OTHER_DECLINATION_DEG)
        made[subband] = _write_subband(night, use, subband, plan, first, second)
        if progress:
            name = iso_second(begin)
            progress(f"tile {index + 1}/{options.n_tiles} {name} subband {subband + 1}/{options.n_subbands}")
    return _tile_truth(model, index, made)


def _write_subband(
    night: Night, model: TileModel, subband: int, plan: faults.Plan, first: str, second: str
) -> list[str]:
    """Write the files of one subband of a tile as its faults want them.

    `first` is the name of the file, `second` that of a duplicate. Returns the names written.
    """
    options = night.options
    target = night.out / (first if plan.written else faults.incomplete_name(first))
    if not plan.needs_data:
        if not plan.written:
            return []
        if "garbage" in plan.kinds:
            faults.write_garbage(target, options.seed, model.key, subband)
        else:
            target.write_bytes(b"")
        return [first]
    vis = signal.subband_visibilities(model, subband)
    if "all_zero" in plan.kinds:
        vis[...] = 0
    head = writer.Subband(
        times_jd=model.times_jd,
        integration_s=options.integration_s,
        ant1=model.antenna_numbers[model.ant1],
        ant2=model.antenna_numbers[model.ant2],
        freq_hz=signal.subband_freq_hz(options, subband),
        channel_width_hz=options.channel_width_hz,
        dec_rad=float(np.radians(model.dec_deg)),
        dish_diameter_m=options.dish_diameter_m,
        spw_axis=options.spw_axis,
    )
    writer.write(target, night.stations, head, vis, all_flagged="all_flagged" in plan.kinds)
    names = [target.name]
    if "duplicate_subband" in plan.kinds:
        shutil.copyfile(target, night.out / second)
        names.append(second)
    if "stale_incomplete" in plan.kinds:
        stale = night.out / faults.incomplete_name(first)
        shutil.copyfile(target, stale)
        faults.truncate(stale)
        names.append(stale.name)
    if "truncated" in plan.kinds or not plan.written:
        faults.truncate(target)
    return names


def _showing(fault: faults.Fault, made: dict[int, list[str]]) -> tuple[str, ...]:
    """Return the files that show a fault: a duplicate's both, of stale_incomplete only the cut-short one."""
    subbands = made if fault.subband is None else [fault.subband]
    names = [n for sb in subbands for n in made[sb]]
    if fault.kind == "stale_incomplete":
        names = [n for n in names if n.endswith("_incomplete.hdf5")]
    return tuple(names)


def _tile_truth(model: TileModel, index: int, made: dict[int, list[str]]) -> truth.TileTruth:
    options = model.options
    begin = tile_start_mjd(options, model.times_jd)
    mid_mjd = begin + 0.5 * options.n_integrations * options.integration_s / 86400.0
    mid_jd = mid_mjd + geometry.MJD_TO_JD
    names = [s.name for s in model.sources]
    flux = signal.apparent_flux(model, np.array([sky.REFERENCE_HZ])).mean(axis=(0, 1)).tolist()
    place: dict[str, tuple[float, float]] = {}
    if names:
        ra, dec = np.array([(s.ra_deg, s.dec_deg) for s in model.sources]).T
        hour_angle, apparent_dec = geometry.hour_angle_dec(ra, dec, np.array([mid_jd]))
        degrees = np.degrees(hour_angle[0]).tolist(), np.degrees(apparent_dec[0]).tolist()
        place = dict(zip(names, zip(*degrees, strict=True), strict=True))
    return truth.TileTruth(
        index=index,
        name=iso_second(begin),
        start_mjd=begin,
        mid_mjd=mid_mjd,
        times_jd=tuple(model.times_jd.tolist()),
        lst_mid_deg=float(np.degrees(geometry.lst_rad(mid_jd))),
        dec_deg=options.dec_deg,
        apparent_jy=dict(zip(names, flux, strict=True)),
        place_deg=place,
        files=tuple(name for subband in made.values() for name in subband),
        faults=tuple(
            truth.FaultTruth(f.kind, f.subband, _showing(f, made)) for f in faults.of_tile(options, index)
        ),
        bursts=tuple(model.bursts),
    )
