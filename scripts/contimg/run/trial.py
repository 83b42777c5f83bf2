"""Another setting, tried on one product: made in a directory of its own, sharing what the setting does not touch.

The directory is a branch of the night's products tree (`contimg.night.branches`): sets and caltables are links to the
night's own. Nothing is written in the night's tree.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.config.files import merge_pairs
from contimg.config.load import load
from contimg.config.model import Config
from contimg.core import names
from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import ConfigError, InputError
from contimg.core.products import read_json, write_json
from contimg.core.provenance import digest
from contimg.index import retired
from contimg.night import branches
from contimg.night.night import Night, plan

RECORD = "state/trial.json"
_STAGE_OF = {
    "science_ms": "convert",
    "calibrator_ms": "calibrate",
    "caltable": "calibrate",
    "image": "image",
    "calibrated_ms": "image",
    "mosaic": "mosaic",
    "photometry": "photometry",
}
_SELECTION = ("start", "end", "calibrator", "transit_date", "window_minutes", "mosaic_name")
_LONGEST = 60


@dataclass(frozen=True)
class Trial:
    """A product that is to be made with other settings.

    Attributes
    ----------
    product : str
        Its path in a products tree.
    tree : Path
        The night's own.
    into : Path
        The branch, in which it gets the same path.
    made : Path
        Where the branch is: `into`, or the scratch directory of a dry run.
    config : Config
        Of the run that makes it.
    changed : dict
        What differs from the settings that the night's was made with.
    linked : int
        How many products of the night the branch shares.
    """

    product: str
    tree: Path
    into: Path
    made: Path
    config: Config
    changed: Mapping[str, Any]
    linked: int


def prepare(
    product: str,
    tree: Path,
    values: Mapping[str, Any],
    settings: Sequence[str],
    into: Path | None = None,
    *,
    scratch: Path | None = None,
) -> Trial:
    """Make a branch of a products tree ready in which one product is made with other settings.

    Parameters
    ----------
    product : str
        Path in the products tree.
    tree : Path
        The products tree; it is only read.
    values : mapping
        The configuration that the product was made with.
    settings : sequence of str
        ``key=value`` pairs that differ, as on a command line.
    into : Path, optional
        Directory of the branch; by default beside the tree, named after the settings.
    scratch : Path, optional
        Directory, removed afterwards, in which a dry run gets a branch like it: `into` stays as it is.

    Raises
    ------
    ConfigError, InputError
        Settings that cannot be used or change nothing of the product; a directory that is something else's.
    """
    found = names.product_of(product)
    if found is None:
        raise InputError(
            f"{product}: expected the path of an image, a mosaic, a caltable or a Measurement Set in a products tree"
        )
    base = {**values, "products": str(tree)}
    base.pop("notify", None)  # nobody waits for this
    if found.tile is not None:
        base |= dict.fromkeys(_SELECTION)
        base |= {
            "start": found.tile,
            "end": names.tile_name(names.tile_mjd(found.tile) + 1 / SECONDS_PER_DAY),
        }
    changed = changes(base, settings)
    _touches(product, found.kind, changed)
    where = tree.with_name(f"{tree.name}.try") / words(changed) if into is None else into.absolute()
    record = _claim(where, tree, changed)
    made = where if scratch is None else scratch
    if not (made / RECORD).is_file():
        write_json(made / RECORD, record)
    _take_along(tree, made)
    asked = merge_pairs({**base, "products": str(made)}, settings, option="--set", example=_EXAMPLE)
    config = load(asked).resolved(Path.cwd())
    night = plan(config, cache=made / "state" / "index")
    _is_there(product, found.tile, night)
    linked = branches.link(tree, made, night, changed)
    if made != where:
        branches.link(where, made, night, {})  # what an earlier try has made
    return Trial(product, tree, where, made, config, changed, linked)


_EXAMPLE = "imaging='{robust: 0}'"


def changes(base: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """What pairs change of a configuration, by section.

    Raises
    ------
    ConfigError
        A wrong key or value, a key that does not say how products are made, or no change at all.
    """
    asked = merge_pairs(dict(base), settings, option="--set", example=_EXAMPLE)
    before, after = (load(values, check=False).model_dump(mode="json") for values in (base, asked))
    changed: dict[str, Any] = {}
    for key, value in after.items():
        if value == before[key]:
            continue
        if key not in branches.CHANGEABLE:
            raise ConfigError(
                f"--set: {key} says what is made or where, not how; what can be tried: {', '.join(branches.CHANGEABLE)}"
            )
        if isinstance(value, dict) and isinstance(before[key], dict):
            value = {name: one for name, one in value.items() if one != before[key].get(name)}
        changed[key] = value
    if not changed:
        raise ConfigError("--set: the product was made with these settings; give others")
    return changed


def words(changed: Mapping[str, Any]) -> str:
    """Name of a directory after the settings in it, such as ``imaging.robust_0``; long ones end with a digest."""
    parts = []
    for key, value in changed.items():
        pairs = value.items() if isinstance(value, Mapping) else [("", value)]
        parts += [f"{key}{'.' if name else ''}{name}_{_word(one)}" for name, one in pairs]
    text = re.sub(r"[^\w.+-]+", "-", "_".join(parts)).strip("-")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 9]}-{digest(dict(changed))[:8]}"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "-".join(map(_word, value)) if isinstance(value, list | tuple) else str(value)


def _touches(product: str, kind: str, changed: Mapping[str, Any]) -> None:
    """Refuse settings of stages below the product's: nothing of it would change."""
    own = branches.STAGES.index(_STAGE_OF[kind])
    late = [key for key, value in changed.items() if branches.first_stage({key: value}) > own]
    if late:
        raise ConfigError(
            f"--set: {', '.join(late)} changes nothing of {product}; try it on what is made of it, such as a mosaic"
        )


def _claim(where: Path, tree: Path, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a directory may hold a trial: a new or empty one, or that of the same settings; its record."""
    real, night = where.resolve(), tree.resolve()
    if real == night or night in real.parents or real in night.parents:
        raise ConfigError(
            f"--into: {where} is, holds or lies in the night's tree, {tree}; give another directory"
        )
    record = {"tree": str(night), "changed": dict(changed)}
    if (where / RECORD).is_file():
        before = read_json(where / RECORD)
        if before != record:
            raise ConfigError(
                f"--into: {where} holds a trial of {before['changed']} with {before['tree']}; give another directory"
            )
    elif where.is_dir() and any(where.iterdir()):
        raise ConfigError(f"--into: {where} is not empty, and no trial; give another directory")
    return record


def _take_along(tree: Path, where: Path) -> None:
    """Copy what a plan of the night knows: the cache of its index, and which raw files are gone on purpose."""
    for folder in ("state/index", retired.FOLDER):
        if (tree / folder).is_dir():
            shutil.copytree(tree / folder, where / folder, dirs_exist_ok=True)


def _is_there(product: str, tile: str | None, night: Night) -> None:
    if tile is not None and tile not in night.tiles:
        why = next(
            (entry.reason for entry in night.left_out if entry.tile == tile), "no files of it in incoming"
        )
        raise InputError(f"{product}: its tile cannot be made again: {why}")
    if tile is None and product.startswith("mosaics/") and product not in night.windows:
        raise InputError(f"{product}: no tile of incoming, in the range it was made of, is in this mosaic")
