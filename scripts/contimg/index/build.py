"""The index: every tile of a range, and every group left out with its reason, before any job runs.

Names narrow the search, headers decide. What was read is kept by the state of each file, so that a second
call opens nothing; importing this module, and a call that finds all in the cache, need neither h5py nor
astropy. The rules are told to users in ``docs/index.md``.
"""

from __future__ import annotations

import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.names import tile_date, utc
from contimg.index.cache import HeaderCache, State, state_of
from contimg.index.groups import NAME_MARGIN_S, Fate, RawFile, decide
from contimg.index.subband import RawName, SubbandHeader, parse_name
from contimg.index.tile import Index, LeftOut, Tile

_LOG = logging.getLogger(__name__)
LOST_AND_FOUND = "lost+found"
"""At the top of a file system, only for root to list: nothing of ours is in it."""
_MJD_EPOCH_JD = 2400000.5


def build_index(
    incoming: Path,
    *,
    start_mjd: float | None,
    end_mjd: float | None,
    min_subbands: int,
    exclude: Sequence[str] = (),
    cache: Path | None = None,
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

    Returns
    -------
    Index

    Raises
    ------
    InputError
        `incoming` or a directory under it cannot be listed.
    """
    root = os.path.abspath(incoming)
    present = list(_search(root))
    near = [(entry, name) for entry, name in present if _near(name.mjd, start_mjd, end_mjd)]
    store = HeaderCache(cache)
    try:
        fates = decide(_files(near, store), min_subbands=min_subbands, exclude=exclude)
        fates = [fate for fate in fates if _within(fate.start_mjd, start_mjd, end_mjd)]
        tiles = _tiles([fate for fate in fates if fate.reason is None], store)
    finally:  # an interrupted first call has not read for nothing
        store.save(root, (entry.path for entry, _ in present))
    left_out = tuple(LeftOut(fate.tile, fate.reason, fate.files) for fate in fates if fate.reason is not None)
    return Index(tiles, left_out)


def _search(root: str) -> Iterator[tuple[os.DirEntry[str], RawName]]:
    """Raw files under a directory by name; hidden directories are passed over, links followed once."""
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
                    elif "." not in entry.name[:1] and entry.name != LOST_AND_FOUND and entry.is_dir():
                        folders.append(entry.path)
        except FileNotFoundError as error:
            if folder == root:
                raise InputError(f"{root}: no such directory; `incoming` must name the raw files'") from error
        except OSError as error:
            raise InputError(
                f"{folder}: expected a directory that can be listed ({error.strerror}); make it readable or move "
                "it out of `incoming`"
            ) from error


def _near(name_mjd: float, start_mjd: float | None, end_mjd: float | None) -> bool:
    margin = NAME_MARGIN_S / 86400.0
    after = start_mjd is None or name_mjd >= start_mjd - margin
    return after and (end_mjd is None or name_mjd <= end_mjd + margin)


def _within(mjd: float, start_mjd: float | None, end_mjd: float | None) -> bool:
    return (start_mjd is None or mjd >= start_mjd) and (end_mjd is None or mjd < end_mjd)


def _files(near: Sequence[tuple[os.DirEntry[str], RawName]], store: HeaderCache) -> list[RawFile]:
    """Headers of the files, from the cache or, where the state is not known, from the files."""
    found: list[RawFile] = []
    unknown: list[tuple[str, RawName, str, State]] = []
    for entry, name in near:
        path = entry.path
        if name.incomplete:
            found.append(RawFile(path, name, None))
            continue
        try:
            state = state_of(entry.stat())
        except FileNotFoundError:  # moved away since the directory was listed
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
    from contimg.index.uvh5 import read_header
    from contimg.index.uvh5_file import TransientInputError

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


def _tiles(fates: Sequence[Fate], store: HeaderCache) -> tuple[Tile, ...]:
    """Tiles with their phase centres."""
    centres = _centres([(fate.tile, fate.reference) for fate in fates if fate.reference is not None], store)
    return tuple(
        Tile(
            name=fate.tile,
            start_mjd=fate.start_mjd,
            mid_mjd=_mid_jd(header) - _MJD_EPOCH_JD,
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
        if (header := fate.reference) is not None
    )


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
        from contimg.telescope.geometry import location, meridian_icrs

        mid_jd = [_mid_jd(header) for _, _, header in entries]
        dec_rad = [header.dec_rad for _, _, header in entries]
        ra, dec = meridian_icrs(mid_jd, dec_rad, location(*site))
        for (tile, key, _), ra_rad, icrs_rad in zip(entries, ra, dec, strict=True):
            centres[tile] = (math.degrees(ra_rad), math.degrees(icrs_rad))
            store.add_centre(tile_date(tile), key, centres[tile])
    return centres
