"""Photometry tables to the table of light curves, with as little work as a new night allows.

The nights up to the last full period (`variability.recent_days`) make the base: their tables alone decide it, and while
they stay as they are it is kept (`state/variability`, hard links of the same files), so that a new night costs only
itself. What is written follows from the tables, not from the order in which they came.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from contimg.core import provenance
from contimg.core.products import building, remove
from contimg.variability import curves, part, solution, tables
from contimg.variability.options import VariabilityOptions
from contimg.variability.scale import ErrorModel

FORMAT = 2
"""Version of what a base holds; another number makes it again."""
BASE = "_base.json"
EPOCHS = "_epochs.parquet"
_BASE_INDEX = "_base_index.parquet"


@dataclass(frozen=True)
class Built:
    """What the light curves came to.

    Attributes
    ----------
    epochs : DataFrame
        One row a photometry table: what it is and how it was normalised.
    metrics : dict
        `tables`, `normalised`, `rows`, `sources`, `base` ("none", "kept" or "made"), `error_model`.
    """

    epochs: pd.DataFrame
    metrics: dict[str, Any]


def build(
    tree: Path,
    folder: Path,
    options: VariabilityOptions,
    *,
    kept: Path | None = None,
    scratch: Path | None = None,
    threads: int = 1,
) -> Built:
    """Make the light curves of a products tree.

    Parameters
    ----------
    tree : Path
        The products tree.
    folder : Path
        Becomes the table; it must not be there.
    options : VariabilityOptions
    kept : Path, optional
        Folder that keeps the base from one call to the next, on the same disk.
    scratch : Path, optional
        Where rows are sorted; beside the table by default.
    threads : int
        Threads to keep busy.

    Returns
    -------
    Built
    """
    folder.mkdir(parents=True)
    paths = tables.listed(tree)
    old, late = tables.split(paths, options.recent_days)
    key = provenance.digest([FORMAT, tables.state(tree, old), options.model_dump(mode="json")])
    base, known, model = "none", None, ErrorModel()
    index: list[pd.DataFrame] = []
    epochs: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory(dir=scratch or folder.parent) as room:
        if old:
            store = None if kept is None else kept / key
            if store is not None and (store / BASE).is_file():
                base = "kept"
                _link(store, folder)
            else:
                base = "made"
                made = part.make(tree, old, folder, options, scratch=Path(room), threads=threads)
                made.solution.write(folder)
                made.epochs.to_parquet(folder / EPOCHS)
                pd.concat(made.index).to_parquet(folder / _BASE_INDEX)
                (folder / BASE).write_text(json.dumps({"key": key}))
                if store is not None:
                    _keep(folder, store)
            known = solution.read(folder)
            model = known.model
            index.append(pd.read_parquet(folder / _BASE_INDEX))
            epochs.append(pd.read_parquet(folder / EPOCHS))
        if late:
            made = part.make(
                tree, late, folder, options, known=known, recent=True, scratch=Path(room), threads=threads
            )
            index += made.index
            epochs.append(made.epochs)
            model = made.solution.model
    curves.write_index(folder, index)
    none = pd.DataFrame({"path": [], "rows": [], "normalised": []})
    table = pd.concat(epochs, ignore_index=True) if epochs else none
    return Built(
        table,
        {
            "tables": len(paths),
            "normalised": int(table["normalised"].sum()),
            "rows": int(table["rows"].sum()),
            "sources": len(set().union(*(one["source_id"] for one in index))),
            "base": base,
            "error_model": asdict(model),
        },
    )


def _keep(folder: Path, store: Path) -> None:
    """Keep the base that was just made, and no other."""
    remove(store.parent)
    with building(store) as place:
        place.mkdir()
        _link(folder, place)


def _link(source: Path, target: Path) -> None:
    """Let another folder hold the files of a base, which never change: by links, or copies where there are none."""
    for path in [
        *curves.parts(source),
        *(source / name for name in (solution.FILE, EPOCHS, BASE, _BASE_INDEX)),
    ]:
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy2(path, target / path.name)
