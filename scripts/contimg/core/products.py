"""How a product comes to be: built beside its final name, flushed, renamed; and what its sidecar says."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contimg.core import room
from contimg.core.digests import fingerprint, fingerprints, whole
from contimg.core.errors import DiskFull, InputError, SystemFault
from contimg.core.kinds import STATUS
from contimg.core.provenance import CONFIGURATION_VARIABLE, digest, versions

log = logging.getLogger(__name__)


def flush(path: Path) -> None:
    """Force a file, or a directory's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(path: Path) -> None:
    """Force a file, or every file and folder under a directory, to disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                flush(Path(folder, name))
            flush(Path(folder))
    else:
        flush(path)


def remove(path: Path) -> None:
    """Remove a file or a whole directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        for folder, _, _ in os.walk(path):  # a publisher that was killed leaves what is read-only
            if not os.access(folder, os.W_OK):
                Path(folder).chmod(0o755)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace(part: Path, final: Path, *, over: bool) -> None:
    """Rename `part` to `final`; a directory in the way stays, or is moved aside and removed, as asked."""
    if not over:
        try:
            os.rename(part, final)  # fails on a directory with anything in it
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise SystemFault(
                f"{final}: somebody else has made it meanwhile, and it stays; look who, and start again"
            ) from error
    elif final.is_dir():
        aside = part.with_name(f"{final.name}.part.{os.getpid()}.replaced")
        os.rename(final, aside)
        os.rename(part, final)
        shutil.rmtree(aside)
    else:
        os.replace(part, final)
    flush(final.parent)


def _copy(built: Path, part: Path) -> None:
    """Copy a file or a directory; the log says how fast it was."""
    began = time.monotonic()
    if built.is_dir():
        shutil.copytree(built, part)
    else:
        shutil.copy2(built, part)
    size = sum(path.stat().st_size for path in [part, *part.rglob("*")] if path.is_file())
    log.info("%s: %.2f GB copied in %.1f s", part.name, size / 1e9, time.monotonic() - began)


@contextmanager
def building(
    final: Path, staged: Path | None = None, *, seal: bool = True, over: bool = True
) -> Iterator[Path]:
    """Build a product beside its final name; it appears by one rename, complete, or not at all.

    Parameters
    ----------
    final : Path
        The file or directory that the product is to become.
    staged : Path, optional
        Folder of a faster disk, or of memory, to build it in; it leaves by one sequential copy.
    seal : bool
        A directory's status.json gets the fingerprint of what is in it. Not for a copy with a manifest of its own.
    over : bool
        What is there by that name already is replaced; otherwise it stays, and a `SystemFault` says so.

    Yields
    ------
    Path
        `{final}.part.{host}.{pid}`, or a path below `staged`, which does not exist yet: a file or a directory to
        create. It is removed if the block raises. Parts that killed jobs left of the same product are removed
        first: one run at a time writes a products tree.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for stale in final.parent.glob(f"{_glob_escape(final.name)}.part.*"):
        remove(stale)
    part = final.with_name(f"{final.name}.part.{socket.gethostname()}.{os.getpid()}")
    built = part if staged is None else staged / final.name
    try:
        yield built
        if not built.exists():
            raise InputError(
                f"{final}: nothing was written at {built.name}; the step ended without a product"
            )
        if seal:
            _seal(built)
        if built != part:
            _copy(built, part)
            remove(built)
        flush_tree(part)
        _replace(part, final, over=over)
    except Exception as error:
        try:
            room.require(built.parent, final.parent)  # asked while what was written is still there
        except DiskFull as full:
            raise full from error
        raise
    finally:
        remove(part)


def _seal(part: Path) -> None:
    """Add the fingerprint of what is in a directory to its status.json, if it has one."""
    sidecar = part / "status.json"
    if sidecar.is_file():
        write_json(sidecar, {**read_json(sidecar), "contents": fingerprint(part), "whole": whole(part)})


def _glob_escape(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _plain(value: Any) -> Any:
    """A numpy scalar or array as plain Python values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one rename, indented, keys in the order given. NaN is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part.{os.getpid()}")
    part.write_text(json.dumps(value, indent=1, allow_nan=False, default=_plain) + "\n")
    flush(part)
    os.replace(part, path)


def read_json(path: Path) -> Any:
    """Read a JSON file; an unreadable one is an InputError that names it."""
    try:
        return json.loads(path.read_text())
    except PermissionError as error:
        raise InputError(f"{path}: you may not read it; ask whose it is to make it readable") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a readable JSON file ({error}); delete it and run again"
        ) from error


def status(
    reason: str | None = None,
    *,
    inputs: Sequence[str] = (),
    caltables: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """What a product's sidecar says.

    Parameters
    ----------
    reason : str or None
        Why the product is rejected; None means it is good (`status: ok`).
    inputs, caltables : sequence of str
        Paths the product was made from.
    parameters, metrics : dict
        Options in force, and numbers measured.
    **extra
        Further fields, such as a mosaic's `tiles`.

    Returns
    -------
    dict
        `status`, `reason`, `inputs`, `caltables`, `parameters`, `metrics`, `versions`, `environment` (prefix of the
        Python that made it), `configuration` (digest of the run's, null outside a run), `digests` (fingerprint of
        each input and caltable) and the extras.
    """
    return {
        "status": "ok" if reason is None else "rejected",
        "reason": reason,
        "inputs": list(inputs),
        "caltables": list(caltables),
        "parameters": parameters or {},
        "metrics": metrics or {},
        "versions": versions(),
        "environment": sys.prefix,
        "configuration": os.environ.get(CONFIGURATION_VARIABLE),
        "digests": fingerprints([*inputs, *caltables]),
        **extra,
    }


def keep_configuration(values: dict[str, Any], tree: Path) -> str:
    """Keep the configuration of a run below its products tree, for `contimg rerun`; gives its digest."""

    name = digest(values)
    path = tree / "state" / "configs" / f"{name}.json"
    if not path.is_file():
        write_json(path, values)
    return name


def configuration_file(name: str | None, tree: Path) -> Path | None:
    """Where the configuration of a digest is kept; None for a product made outside a run."""
    return None if name is None else tree / "state" / "configs" / f"{name}.json"


def reject_directory(final: Path, record: dict[str, Any]) -> None:
    """Make a rejected directory product: it holds its status.json only."""
    with building(final) as part:
        part.mkdir()
        write_json(part / STATUS, record)
