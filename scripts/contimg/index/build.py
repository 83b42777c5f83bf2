"""The index: every tile of a range, and every group left out with its reason, before any job runs.

Names narrow the search, headers decide. What was read is kept by the state of each file, so that a second
call opens nothing; importing this module, and a call that finds all in the cache, need neither h5py nor
astropy. The rules are told to users in ``docs/index.md``.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from contimg.core.constants import MJD_EPOCH_JD, SECONDS_PER_DAY
from contimg.core.errors import InputError, SystemFault
from contimg.core.names import tile_date, tile_mjd, tile_name, utc
from contimg.index.cache import HeaderCache
from contimg.index.groups import NAME_MARGIN_S, NAME_TOLERANCE_S, Fate, RawFile, Reader, decide
from contimg.index.subband import RawName, State, SubbandHeader, looks_like, parse_name, state_of
from contimg.index.tile import Index, LeftOut, Tile

_LOG = logging.getLogger(__name__)
LOST_AND_FOUND = "lost+found"
"""At the top of a file system, only for root to list: nothing of ours is in it."""


def build_index(
    incoming: Path,
    *,
    start_mjd: float | None,
    end_mjd: float | None,
    min_subbands: int,
    exclude: Sequence[str] = (),
    cache: Path | None = None,
    reader: Reader = "auto",
) -> Index:
    """Find the tiles of a range among the raw files under a directory.

    Parameters
    ----------
    incoming
        Directory that is searched recursively.
    start_mjd, end_mjd
        A tile is in the range if its first integration starts in [start, end), MJD UTC; None is open.
    min_subbands
        A group with fewer good subbands is left out.
    exclude
        Names of tiles to leave out.
    cache
        Directory that keeps what was read between calls, made if it is not there; None keeps nothing.
    reader
        Which reader is to take the files: `raw.reader`.

    Returns
    -------
    Index

    Raises
    ------
    InputError
        `incoming` or a directory under it cannot be listed.
    """
    root = os.path.abspath(incoming)
    otherwise: list[tuple[float | bool, str]] = []
    present = list(_search(root, otherwise))
    near = [(entry, name) for entry, name in present if _near(name.mjd, start_mjd, end_mjd)]
    store = HeaderCache(cache)
    try:
        states: dict[str, State] = {}
        files = [_taken(file, reader) for file in _files(near, store, states)]
        fates = decide(files, min_subbands=min_subbands, exclude=exclude, reader=reader)
        fates = [fate for fate in fates if _within(fate.start_mjd, start_mjd, end_mjd)]
        tiles, undated = _tiles([fate for fate in fates if fate.reason is None], store)
    finally:  # an interrupted first call has not read for nothing
        store.save(root, (entry.path for entry, _ in present))
    left_out = [LeftOut(fate.tile, fate.reason, fate.files) for fate in fates if fate.reason is not None]
    for entry in _named_otherwise(otherwise, root):
        if _within(tile_mjd(entry.tile), start_mjd, end_mjd):
            left_out.append(entry)
    missing = tuple(sorted([*left_out, *undated], key=lambda entry: tile_mjd(entry.tile)))
    return Index(tiles, missing, states)


def _taken(file: RawFile, reader: Reader) -> RawFile:
    """A raw file, without its header if the reader asked for does not take it."""
    if reader != "own" or file.header is None or file.header.foreign is None:
        return file
    return RawFile(file.path, file.name, None, f"{file.header.foreign} (raw.reader is own)")


def _named_otherwise(found: Sequence[tuple[float | bool, str]], root: str) -> list[LeftOut]:
    """Files that may be raw files but for their names: those that state a time by it, the others in one warning."""
    groups: list[tuple[float, list[str]]] = []
    for mjd, path in sorted(entry for entry in found if not isinstance(entry[0], bool)):
        if groups and (mjd - groups[-1][0]) * SECONDS_PER_DAY <= NAME_TOLERANCE_S:
            groups[-1][1].append(path)
        else:
            groups.append((mjd, [path]))
    undated = sorted(path for mjd, path in found if isinstance(mjd, bool))
    if undated:
        _warn_once(root, len(undated), undated[0])
    return [
        LeftOut(
            tile_name(mjd),
            f"named otherwise than raw files: {Path(paths[0]).name}"
            + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
            + "; a raw file is called YYYY-MM-DDTHH:MM:SS_sbNN.hdf5: rename them",
            tuple(paths),
        )
        for mjd, paths in groups
    ]


@lru_cache(maxsize=64)
def _warn_once(root: str, count: int, first: str) -> None:
    _LOG.warning(
        "%s: %d HDF5 file(s) are not called as raw files are (YYYY-MM-DDTHH:MM:SS_sbNN.hdf5) and passed over: %s",
        root,
        count,
        first if count == 1 else f"{first} …",
    )


def _search(
    root: str, otherwise: list[tuple[float | bool, str]]
) -> Iterator[tuple[os.DirEntry[str], RawName]]:
    """Raw files under a directory by name; hidden directories are passed over, links followed once.

    What may be one under another name is added to `otherwise`.
    """
    folders, visited = [root], set()
    while folders:
        folder = folders.pop()
        try:
            info = Path(folder).stat()
            if (info.st_dev, info.st_ino) in visited:
                continue
            visited.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = parse_name(entry.name)
                    if name is not None:
                        yield entry, name
                    elif (like := looks_like(entry.name)) is not False and _is(entry, os.DirEntry.is_file):
                        otherwise.append((like, entry.path))
                    elif (
                        "." not in entry.name[:1]
                        and entry.name != LOST_AND_FOUND
                        and _is(entry, os.DirEntry.is_dir)
                    ):
                        folders.append(entry.path)
        except FileNotFoundError as error:
            if folder == root:
                raise InputError(f"{root}: no such directory; `incoming` must name the raw files'") from error
        except OSError as error:
            raise InputError(
                f"{folder}: expected a directory that can be listed ({error.strerror}); make it readable or move "
                "it out of `incoming`"
            ) from error


def _is(entry: os.DirEntry[str], what: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Whether an entry is a file, or a directory; a link to nothing, or round in a circle, is neither, and is said."""
    try:
        found = what(entry)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise InputError(
                f"{entry.path}: a link that cannot be followed ({error.strerror}); make readable what it leads to, or "
                "remove it"
            ) from error
        found = False
    if not found and entry.is_symlink() and not Path(entry.path).exists():
        _warn_of_link(entry.path)
    return found


@lru_cache(maxsize=64)
def _warn_of_link(path: str) -> None:
    _LOG.warning("%s: a link to nothing, passed over: is a disk not mounted?", path)


def _near(name_mjd: float, start_mjd: float | None, end_mjd: float | None) -> bool:
    margin = NAME_MARGIN_S / SECONDS_PER_DAY
    after = start_mjd is None or name_mjd >= start_mjd - margin
    return after and (end_mjd is None or name_mjd <= end_mjd + margin)


def _within(mjd: float, start_mjd: float | None, end_mjd: float | None) -> bool:
    return (start_mjd is None or mjd >= start_mjd) and (end_mjd is None or mjd < end_mjd)


def _files(
    near: Sequence[tuple[os.DirEntry[str], RawName]], store: HeaderCache, states: dict[str, State]
) -> list[RawFile]:
    """Headers of the files, from the cache or, where the state is not known, from the files; fills `states`."""
    found: list[RawFile] = []
    unknown: list[tuple[str, RawName, str, State]] = []
    for entry, name in near:
        path = entry.path
        if name.incomplete:
            found.append(RawFile(path, name, None))
            continue
        if "{" in path or "}" in path:
            found.append(
                RawFile(
                    path, name, None, "its path has braces, which Snakemake takes for a wildcard: rename it"
                )
            )
            continue
        try:
            state = states[path] = state_of(entry.stat())
        except FileNotFoundError:  # moved away since the directory was listed, unless it is a link to nothing
            if entry.is_symlink():
                found.append(RawFile(path, name, None, f"a link to nothing ({Path(path).readlink()})"))
            continue
        except OSError as error:
            found.append(RawFile(path, name, None, error.strerror))
            continue
        date = utc(name.mjd).strftime("%Y-%m-%d")
        known = store.header(date, path, state)
        if known is None:
            unknown.append((path, name, date, state))
        elif isinstance(known, str):
            found.append(RawFile(path, name, None, known))
        else:
            found.append(RawFile(path, name, known))
    if unknown:
        _LOG.info("reading the headers of %d of %d raw files", len(unknown), len(near))
        found.extend(_read(unknown, store))
    return found


def _read(unknown: Sequence[tuple[str, RawName, str, State]], store: HeaderCache) -> Iterator[RawFile]:
    from contimg.index.hdf5 import TransientInputError
    from contimg.index.raw import read_header

    for path, name, date, state in unknown:
        try:
            header = read_header(path)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ").partition("; ")[0]
            if not isinstance(error, TransientInputError):
                store.add(date, path, state, reason)
            yield RawFile(path, name, None, reason)
        else:
            store.add(date, path, state, header)
            yield RawFile(path, name, header)


def _tiles(fates: Sequence[Fate], store: HeaderCache) -> tuple[tuple[Tile, ...], list[LeftOut]]:
    """Tiles with their phase centres; and those whose times nobody knows the Earth's rotation of."""
    centres = _centres([(fate.tile, fate.reference) for fate in fates if fate.reference is not None], store)
    undated = [
        LeftOut(
            fate.tile,
            "its times are beyond the tables of the Earth's rotation that are installed: a clock that was wrong, or "
            "update astropy-iers-data",
            fate.files,
        )
        for fate in fates
        if fate.tile not in centres
    ]
    tiles = tuple(
        Tile(
            name=fate.tile,
            start_mjd=fate.start_mjd,
            mid_mjd=_mid_jd(header) - MJD_EPOCH_JD,
            n_times=header.n_times,
            integration_s=header.integration_s,
            dec_deg=math.degrees(header.dec_rad),
            ra_icrs_deg=centres[fate.tile][0],
            dec_icrs_deg=centres[fate.tile][1],
            longitude_deg=header.longitude_deg,
            latitude_deg=header.latitude_deg,
            height_m=header.height_m,
            slots=fate.slots,
            notes=fate.notes,
            bytes=fate.bytes,
        )
        for fate in fates
        if (header := fate.reference) is not None and fate.tile in centres
    )
    return tiles, undated


def _mid_jd(header: SubbandHeader) -> float:
    return 0.5 * (header.time0_jd + header.time_last_jd)


def _centres(
    tiles: Sequence[tuple[str, SubbandHeader]], store: HeaderCache
) -> dict[str, tuple[float, float]]:
    """Phase centre (ICRS, deg) of each tile: the meridian at its middle, from the cache or computed at once."""
    centres: dict[str, tuple[float, float]] = {}
    new: dict[tuple[float, float, float], list[tuple[str, str, SubbandHeader]]] = defaultdict(list)
    for tile, header in tiles:
        site = (header.longitude_deg, header.latitude_deg, header.height_m)
        key = " ".join(repr(value) for value in (_mid_jd(header), header.dec_rad, *site))
        known = store.centre(tile_date(tile), key)
        if known is None:
            new[site].append((tile, key, header))
        else:
            centres[tile] = known
    for site, entries in new.items():
        for tile, key, centre in _computed(site, entries):
            centres[tile] = centre
            store.add_centre(tile_date(tile), key, centre)
    return centres


def _computed(
    site: tuple[float, float, float], entries: Sequence[tuple[str, str, SubbandHeader]]
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Phase centres of tiles (name, key, header) of one site: all at once, or one by one if a time has none."""
    from contimg.telescope.geometry import location, meridian_icrs

    try:
        ra, dec = meridian_icrs(
            [_mid_jd(header) for _, _, header in entries],
            [header.dec_rad for _, _, header in entries],
            location(*site),
        )
    except SystemFault:
        if len(entries) > 1:
            for entry in entries:
                yield from _computed(site, [entry])
        return
    for (tile, key, _), ra_rad, dec_rad in zip(entries, ra, dec, strict=True):
        yield tile, key, (math.degrees(ra_rad), math.degrees(dec_rad))
