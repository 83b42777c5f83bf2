"""Which imager a run uses, by path and version: said in its plan and in every image, and never another unsaid.

A job may see another PATH than the run that planned it: that of a conda environment, or of another machine. The run
hands on which WSClean it found; a job takes that one, or one of the same version, or none.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from contimg.core.errors import SystemFault

VARIABLE = "CONTIMG_WSCLEAN"
"""Carries path and version of the WSClean of a run to its jobs; empty: the run has none."""


@dataclass(frozen=True)
class Program:
    """A program: where it is, and its version (None where it does not say)."""

    path: str
    version: str | None


def freeze() -> str:
    """What a run hands on to its jobs, by `VARIABLE`."""
    here = _on_path()
    return "" if here is None else json.dumps([here.path, here.version])


def wsclean() -> Program | None:
    """The WSClean to use: that of the run, or, outside a run, the one on PATH; None if there is none.

    Raises
    ------
    SystemFault
        The run has one that is not here, and what is here is another version.
    """
    said = os.environ.get(VARIABLE)
    if said is None:
        return _on_path()
    if not said:
        return None
    wanted = Program(*json.loads(said))
    same = Program(wanted.path, _version(wanted.path)) if os.access(wanted.path, os.X_OK) else None
    here = _on_path()
    for found in (same, here):
        if found is not None and found.version == wanted.version:
            return found
    there = "none" if here is None else f"{here.version or 'one without a version'} ({here.path})"
    raise SystemFault(
        f"the run was planned with WSClean {wanted.version or 'without a version'} ({wanted.path}), and there is "
        f"{there} where this job runs; install the same everywhere"
    )


def _on_path() -> Program | None:
    path = shutil.which("wsclean")
    return None if path is None else Program(os.path.abspath(path), _version(path))


@cache
def _version(path: str) -> str | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"version (\S+)", said.stdout, re.IGNORECASE)
    return found.group(1) if found else None


def available_backend(channels_out: int = 1) -> tuple[str, str]:
    """The imager that `auto` takes, and why: ducc0 with Radler where it can be, else WSClean, else CASA tclean.

    Parameters
    ----------
    channels_out : int
        Parts of the band cleaned jointly; the first does one.
    """
    if channels_out > 1:
        reason = f"ducc0 images the band as one, not in {channels_out} parts"
    else:
        missing = [name for name in ("ducc0", "radler") if not _importable(name)]
        if not missing:
            return "ducc0", "ducc0 and radler can be imported"
        reason = f"{' and '.join(missing)} cannot be imported"
    if wsclean() is not None:
        return "wsclean", f"{reason}; wsclean is on PATH"
    return "tclean", f"{reason}; wsclean is not on PATH"


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:  # not installed, or built for another machine
        return False
    return True


def describe(backend: str) -> dict[str, Any]:
    """What an image's status.json and a plan say of the imager: its name, versions, and a program's path."""
    if backend == "wsclean":
        found = wsclean()
        return {
            "backend": backend,
            "version": None if found is None else found.version,
            "path": None if found is None else found.path,
        }
    packages = {"ducc0": ("ducc0", "radler"), "tclean": ("casatasks",)}[backend]
    return {"backend": backend, **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def sentence(described: dict[str, Any]) -> str:
    """The same in one line."""
    if described["backend"] == "wsclean":
        where = described["path"] or "not on PATH"
        return f"WSClean {described['version'] or ''} ({where})".replace("  ", " ")
    versions = [
        f"{name} {version or '(not installed)'}" for name, version in described.items() if name != "backend"
    ]
    return ("CASA tclean: " if described["backend"] == "tclean" else "") + ", ".join(versions)
