"""The registries as files: checked, then put in place of the old ones, of which the last few are kept.

A registry is never changed where it lies. Its successor is built beside it and renamed over it; the old file stays as
`state/backups/{name}.{time}.sqlite3`, which costs no copy. Whoever has it open goes on reading what was opened.
"""

from __future__ import annotations

import filecmp
import os
import shlex
import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from contimg.core.errors import InputError
from contimg.core.locks import alone
from contimg.core.products import building, remove
from contimg.registry.build import CALTABLES, PRODUCTS, SCHEMA_VERSION, build
from contimg.registry.sidecars import read_tree
from contimg.registry.sources import read_sources
from contimg.registry.verdicts import read_records

NAMES = (PRODUCTS, CALTABLES)
_LOCK = "registry.lock"


def rebuild(tree: Path, *, keep: int) -> dict[str, int]:
    """Build the registries of a tree anew and put them in place of those that are there.

    Parameters
    ----------
    tree : Path
        The products tree.
    keep : int
        How many earlier versions of each registry to keep.

    Returns
    -------
    dict
        From `contimg.registry.build.build`.
    """
    first, second = (tree / "state" / name for name in NAMES)
    # Two builds would take each other's parts for leftovers of the dead.
    with alone(tree / "state" / _LOCK), building(first) as one, building(second) as other:
        counts = build(read_tree(tree), one, other, read_records(tree), read_sources(tree))
        for part, final in ((one, first), (other, second)):
            require_sound(part)
            _make_way(part, final, keep=keep)
    return counts


def backup(final: Path, *, keep: int) -> Path | None:
    """Keep a copy of a registry under `state/backups/`; None if the newest backup holds the same already."""
    require_there(final)
    earlier = backups(final)
    if earlier and filecmp.cmp(earlier[-1], final, shallow=False):
        return None
    kept = _backup_path(final)
    with building(kept) as part:
        shutil.copyfile(final, part)
        part.chmod(0o444)
    _rotate(final, keep)
    return kept


def restore(final: Path, source: Path | None, *, keep: int) -> Path:
    """Put a backup (by default the newest) in place of a registry, which itself becomes a backup.

    Returns
    -------
    Path
        The backup that was taken.
    """
    known = backups(final)
    if source is None and not known:
        raise InputError(
            f"{final}: found no backup of it in {final.parent / 'backups'}; build it anew: contimg registry build"
        )
    chosen = known[-1] if source is None else source
    require_there(chosen)
    with alone(final.parent / _LOCK), building(final) as part:
        shutil.copyfile(chosen, part)
        require_sound(part)
        if kind_of(part) != final.name:
            raise InputError(
                f"{chosen}: a {kind_of(part)}, expected a {final.name}; give one of its own backups"
            )
        _make_way(part, final, keep=keep)
    return chosen


def backups(final: Path) -> list[Path]:
    """The backups of a registry, oldest first."""
    return sorted((final.parent / "backups").glob(f"{final.stem}.*{final.suffix}"))


def problems(path: Path) -> list[str]:
    """What is wrong with a registry file; empty for a sound one."""
    try:
        with closing(open_readonly(path)) as connection:
            found = [
                str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"
            ]
            if found:
                return found
            rows = connection.execute("PRAGMA foreign_key_check").fetchmany(20)
            found = [
                f"{table}: row {row} refers to a {parent} that is not there" for table, row, parent, _ in rows
            ]
            version = dict(connection.execute("SELECT key, value FROM meta")).get("schema_version")
    except sqlite3.DatabaseError as error:
        return [f"not a registry: {error}"]
    if version != str(SCHEMA_VERSION):
        found.append(f"schema version {version}, expected {SCHEMA_VERSION}: build it anew")
    return found


def kind_of(path: Path) -> str:
    """Which registry a file is, by its tables: one of `NAMES`."""
    with closing(open_readonly(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return PRODUCTS if "product" in tables else CALTABLES


def require_sound(path: Path) -> None:
    """Raise where a registry file is damaged."""
    found = problems(path)
    if found:
        raise InputError(f"{path}: {'; '.join(found)}; build it anew: contimg registry build")


def require_there(path: Path) -> None:
    """Raise where there is no file."""
    if not path.is_file():
        tree = shlex.quote(str(path.parent.parent))
        raise InputError(
            f"{path}: no such file; build it: contimg registry build --products {tree}, or the target `registry`"
        )


def as_rebuilt(tree: Path) -> list[str]:
    """Names of the registries of a tree that differ from what its sidecars say now."""
    state = tree / "state"
    with tempfile.TemporaryDirectory(
        dir=state if os.access(state, os.W_OK) else None, prefix="check.part."
    ) as work:
        fresh = [Path(work, name) for name in NAMES]
        build(read_tree(tree), fresh[0], fresh[1], read_records(tree), read_sources(tree))
        return [path.name for path in fresh if not same_content(path, tree / "state" / path.name)]


def same_content(one: Path, other: Path) -> bool:
    """Whether two registries hold the same: schema, rows and order, statement by statement of their dumps."""
    with closing(open_readonly(one)) as first, closing(open_readonly(other)) as second:
        return all(a == b for a, b in zip_longest(first.iterdump(), second.iterdump()))


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open a registry for reading only. It never changes where it lies, so no lock and no file beside it are needed."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _make_way(part: Path, final: Path, *, keep: int) -> None:
    """Before the renaming: the old file becomes a backup, and what a crashed writer left beside it goes."""
    part.chmod(0o444)
    for suffix in ("-wal", "-shm"):  # of the old file: SQLite would take them for the new one's
        remove(final.with_name(final.name + suffix))
    if final.is_file() and not filecmp.cmp(final, part, shallow=False):
        kept = _backup_path(final)
        kept.parent.mkdir(exist_ok=True)
        os.link(final, kept)  # the renaming takes the name away and leaves the file to the backup
        _rotate(final, keep)


def _backup_path(final: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return final.parent / "backups" / f"{final.stem}.{stamp}{final.suffix}"


def _rotate(final: Path, keep: int) -> None:
    for old in backups(final)[:-keep] if keep else backups(final):
        remove(old)
