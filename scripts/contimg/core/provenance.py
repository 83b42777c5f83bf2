"""Where a product comes from: versions of the software and the commit of the pipeline."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import contimg

REPOSITORY = Path(__file__).resolve().parents[3]
_PACKAGES = (
    "aoflagger", "astropy", "casadata", "casatasks", "casatools", "ducc0", "h5py", "numba", "numpy", "pandas",
    "python-casacore", "radio-beam", "radler", "reproject", "scipy", "snakemake",
)  # fmt: skip


def _commit(root: Path) -> str | None:
    """Commit checked out at `root`, read from .git without starting git; None outside a clone."""
    git = root / ".git"
    if git.is_file():  # a worktree: the file says where its git directory is
        git = (root / git.read_text().removeprefix("gitdir:").strip()).resolve()
    head = git / "HEAD"
    if not head.is_file():
        return None
    text = head.read_text().strip()
    if not text.startswith("ref: "):
        return text
    name = text.removeprefix("ref: ")
    common = git / (git / "commondir").read_text().strip() if (git / "commondir").is_file() else git
    loose = common / name
    if loose.is_file():
        return loose.read_text().strip()
    packed = common / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


CONFIGURATION_VARIABLE = "CONTIMG_CONFIGURATION"
"""Carries the digest of the run's configuration to its jobs."""


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of the pipeline (with its commit, in a clone) and of the packages it stands on."""
    found = {"python": sys.version.split()[0], "contimg": contimg.__version__}
    commit = _commit(REPOSITORY)
    if commit:
        found["commit"] = commit
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def file_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a JSON-able value: equal values have equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
